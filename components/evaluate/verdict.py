"""The gate as a step: decide on an evaluation and write the report."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from clinadapt.artifacts.code_version import adapter_version
from clinadapt.artifacts.hashing import read_json, sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import RUN
from clinadapt.config.classify import ClassifyGate
from clinadapt.config.instruct import InstructGate
from clinadapt.models.adapter_card import AdapterCard, adapter_recipe
from clinadapt.storage import open_store
from components.evaluate.gate import classify as gate
from components.evaluate.gate import instruct as instruct_gate
from components.evaluate.report import classify as report
from components.evaluate.report import instruct as instruct_report


class _Recipe(NamedTuple):
    settings: type[ClassifyGate] | type[InstructGate]
    decide: Callable[[dict[str, Any], Any], dict[str, Any]]
    render: Callable[[dict[str, Any]], str]


RECIPES = {
    "classify": _Recipe(ClassifyGate, gate.decide, report.render),
    "instruct": _Recipe(InstructGate, instruct_gate.decide, instruct_report.render),
}


def run(
    splits: Path,
    adapter: Path,
    evaluation: Path,
    output: Path,
    settings: ClassifyGate | InstructGate | dict[str, Any],
    store_uri: str,
    name: str,
) -> dict[str, Any]:
    """Write verdict.json and report.html, the latter also to `runs/<run>/` in the store; return the verdict.

    Args:
        splits, adapter, evaluation: what format, train and evaluate wrote.
        output: the folder to write to.
        settings: of the gate, as the adapter's recipe has them.
        store_uri: of the store.
        name: of the adapter.

    Raises:
        ValidationError: the settings are of another recipe.
    """
    recipe = adapter_recipe(adapter)
    rules = RECIPES[recipe]
    scores = read_json(evaluation / "evaluation.json")
    verdict = rules.decide(scores, rules.settings.model_validate(settings))
    data, training = read_json(splits / MANIFEST), read_json(adapter / "training.json")
    card = AdapterCard.read(adapter)
    version = adapter_version(splits, adapter)
    facts = {
        "title": f"{recipe} · {name}",
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "verdict": verdict,
        "evaluation": scores,
        "training": training,
        "data": data,
        "provenance": {
            "run key (the version)": version,
            "run": os.environ.get(RUN, "by hand"),
            "data source": _source(data["source"]),
            "dataset digest": data["dataset_digest"],
            "splits digest": data["digest"],
            "base model": card.base_model,
            "base model digest": card.base_digest,
            "adapter digest": read_json(adapter / MANIFEST)["digest"],
            "settings digest": sha256_json(training["settings"]),
            "code version": training["code_version"],
            "seeds": f"split {data['settings']['seed']}, training {card.seed}",
            "champion at the time": scores["champion_version"] or "none",
        },
    }
    if (evaluation / "examples.json").exists():
        facts["examples"] = read_json(evaluation / "examples.json")
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.html").write_text(rules.render(facts), encoding="utf-8")
    fields = {"version": version, "code_version": training["code_version"], "evaluation": scores}
    write_json(output / "verdict.json", {**verdict, **fields})
    scored = read_json(evaluation / MANIFEST)
    write_manifest(output, {"evaluation_digest": scored["digest"]}, "gate", {"evaluation": scored["digest"]}, [scored])
    if run_name := os.environ.get(RUN):
        open_store(store_uri).upload(output / "report.html", f"runs/{run_name}/report.html")
    return {**verdict, "version": version, "metrics": scores["models"]["candidate"]["metrics"]}


def _source(source: str | list[dict[str, str]]) -> str:
    """One source, or those of an instruct run: `notes file:///notes.csv; pairs s3://bucket/pairs.csv`."""
    return source if isinstance(source, str) else "; ".join(f"{entry['kind']} {entry['uri']}" for entry in source)
