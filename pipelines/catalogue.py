"""What a catalogue of components shows of ours: a README per step, from the signatures and metadata.yaml.

kubeflow/pipelines-components asks for metadata.yaml (name, stability, dependencies, lastVerified) and a README with
overview, inputs, outputs and metadata. `make compile` writes the READMEs.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.structures import InputSpec, OutputSpec

from clinadapt.config.classify import Notes, Split
from pipelines.example import build

ROOT = Path(__file__).parents[1]
STEPS = sorted(path.parent.name for path in (ROOT / "components").glob("*/component.py"))
EXAMPLE = "example-split-notes.yaml"  # in the folder of compiled pipelines


def components(step: str) -> list[BaseComponent]:
    """The components of a step, in the order of its component.py."""
    module = import_module(f"components.{step}.component")
    return [value for value in vars(module).values() if isinstance(value, BaseComponent)]


def readme(step: str) -> str:
    """The README of a step's folder."""
    metadata = yaml.safe_load((ROOT / f"components/{step}/metadata.yaml").read_text(encoding="utf-8"))
    dependencies = [f"{each['name']} {each['version']}" for each in metadata["dependencies"]["kubeflow"]]
    lines = [f"# {step}", ""]
    for component in components(step):
        spec = component.component_spec
        function = component.python_func.__name__
        lines += [f"## {function}", "", spec.description, ""]
        lines += [f"`from components.{step}.component import {function}`", ""]
        lines += _table("input", (spec.inputs or {}).items())
        lines += _table("output", (spec.outputs or {}).items())
    lines += ["## Metadata", "", f"- stability: {metadata['stability']}", f"- needs: {', '.join(dependencies)}"]
    lines += [f"- tags: {', '.join(metadata['tags'])}", f"- last verified: {metadata['lastVerified']:%Y-%m-%d}"]
    return "\n".join(lines) + "\n"


def _table(title: str, fields: Iterable[tuple[str, InputSpec | OutputSpec]]) -> list[str]:
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)}{' '.join(field.description.split())} |"
        for name, field in fields
    ]
    return [f"| {title} | type | |", "|---|---|---|", *rows, ""] if rows else []


def _type(field: InputSpec | OutputSpec) -> str:
    return str(field.type).removeprefix("system.").partition("@")[0]


def _default(field: Any) -> str:
    return f"Optional, `{field.default!r}` by default. " if getattr(field, "optional", False) else ""


def write() -> None:
    """Write every README, and the compiled example."""
    for step in STEPS:
        (ROOT / f"components/{step}/README.md").write_text(readme(step), encoding="utf-8")
    compile_example(ROOT / "pipelines/compiled")


def compile_example(folder: Path) -> Path:
    """Compile the example of another team's pipeline into a folder; return its path."""
    path = folder / EXAMPLE
    notes = Notes(columns={"text": "note", "label": "specialty"})
    compiler.Compiler().compile(build("s3://clinadapt/notes.csv", notes, Split()), str(path))
    return path


if __name__ == "__main__":
    write()
