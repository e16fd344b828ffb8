"""What a catalogue of components asks of ours, and two of them in a pipeline of another team."""

from __future__ import annotations

import csv
import inspect
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from kfp import local
from kfp.local.config import LocalExecutionConfig

from clinadapt.config.classify import Notes, Split
from pipelines.catalogue import EXAMPLE, ROOT, STEPS, compile_example, components, readme
from pipelines.example import build

# Of the semantic versions that scripts/validate_metadata of kubeflow/pipelines-components accepts
VERSION = re.compile(r"(==|>=|<=|~=)?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def metadata_faults(metadata: dict[str, Any], step: str) -> list[str]:
    """What the catalogue's schema of metadata.yaml would say."""
    faults = [f"no {field}" for field in ("name", "stability", "dependencies", "lastVerified") if field not in metadata]
    known = {"name", "stability", "dependencies", "lastVerified", "tags", "links", "ci", "description", "managed"}
    faults += [f"unknown field {field}" for field in metadata.keys() - known]
    if metadata.get("name") != step:
        faults.append("another name than its folder")
    if metadata.get("stability") not in ("alpha", "beta", "stable"):
        faults.append("stability")
    needed = metadata.get("dependencies", {}).get("kubeflow", [])
    if "Pipelines" not in [each["name"] for each in needed]:
        faults.append("does not need Pipelines")
    faults += [f"version of {each['name']}" for each in needed if not VERSION.fullmatch(each["version"])]
    if not isinstance(when := metadata.get("lastVerified"), datetime) or when.tzinfo is None:
        faults.append("no time with a zone")
    if not all(isinstance(tag, str) for tag in metadata.get("tags", [])):
        faults.append("tags")
    return faults


def metadata_of(step: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / f"components/{step}/metadata.yaml").read_text())


@pytest.mark.parametrize("step", STEPS)
def test_metadata_and_readme(step: str) -> None:
    assert metadata_faults(metadata_of(step), step) == []
    written = ROOT / f"components/{step}/README.md"
    assert written.read_text() == readme(step), f"{written} is out of date: run make compile"


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("name", "other", "another name than its folder"),
        ("stability", "good", "stability"),
        ("dependencies", {"kubeflow": [{"name": "Pipelines", "version": ">=2.17"}]}, "version of Pipelines"),
        ("dependencies", {"kubeflow": []}, "does not need Pipelines"),
        ("lastVerified", "yesterday", "no time with a zone"),
        ("tier", "core", "unknown field tier"),
    ],
)
def test_a_fault_of_metadata_is_found(field: str, value: Any, fault: str) -> None:
    assert metadata_faults(metadata_of("train") | {field: value}, "train") == [fault]


@pytest.mark.parametrize("step", STEPS)
def test_every_input_and_output_is_described(step: str) -> None:
    for component in components(step):
        spec = component.component_spec
        fields = {**(spec.inputs or {}), **(spec.outputs or {})}
        assert spec.description and all(field.description for field in fields.values()), component.name
        parameters = inspect.signature(component.python_func).parameters.keys() - {"status"}  # filled in by KFP
        assert parameters <= fields.keys(), component.name


def test_the_example_is_compiled(tmp_path: Path) -> None:
    assert compile_example(tmp_path).read_text() == (ROOT / "pipelines/compiled" / EXAMPLE).read_text(), "make compile"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another team would run it, without our other steps."""
    monkeypatch.chdir(tmp_path)
    words = ["cough", "fever", "rash", "pain", "swelling", "nausea", "chills", "fatigue", "tremor", "vertigo"]
    with Path("notes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["note", "specialty"])
        for number in range(40):
            text = " ".join(f"{words[(number * step) % 10]}{number * step}" for step in range(1, 30))
            table.writerow([f"Note {number}: {text}", ("Cardiology", "Neurology")[number % 2]])
    monkeypatch.setattr(LocalExecutionConfig, "instance", None)  # restored for the tests after this one
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "outputs"))
    pipeline = build((tmp_path / "notes.csv").as_uri(), Notes(columns={"text": "note", "label": "specialty"}), Split())
    splits = Path(pipeline(store=(tmp_path / "store").as_uri()).output.path)
    rows = {side: pq.read_table(splits / f"{side}.parquet").num_rows for side in ("train", "validation", "test")}
    assert sum(rows.values()) == 40 and min(rows.values()) >= 4
