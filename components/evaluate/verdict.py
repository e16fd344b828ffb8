"""The gate as a step: decide on an evaluation and write the report."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.common.adapter import Card
from components.common.provenance import (
    MANIFEST,
    code_version,
    read_json,
    run_key,
    sha256_json,
    write_json,
    write_manifest,
)
from components.common.recipe import Gate
from components.common.steps import RUN
from components.common.store import open_store
from components.evaluate.gate import decide
from components.evaluate.report import render


def run(
    splits: Path, adapter: Path, evaluation: Path, output: Path, settings: Gate, store_uri: str, name: str
) -> dict[str, Any]:
    """Write verdict.json and report.html, the latter also to `runs/<run>/` in the store; return the verdict."""
    scores = read_json(evaluation / "evaluation.json")
    verdict = decide(scores, settings)
    data, training = read_json(splits / MANIFEST), read_json(adapter / "training.json")
    card = Card.read(adapter)
    version = run_key(splits, adapter)
    facts = {
        "title": f"classify · {name}",
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "verdict": verdict,
        "evaluation": scores,
        "training": training,
        "data": data,
        "provenance": {
            "run key (the version)": version,
            "run": os.environ.get(RUN, "by hand"),
            "data source": data["source"],
            "dataset digest": data["dataset_digest"],
            "splits digest": data["digest"],
            "base model": card.base_model,
            "base model digest": card.base_digest,
            "adapter digest": read_json(adapter / MANIFEST)["digest"],
            "settings digest": sha256_json(training["settings"]),
            "code version": code_version(),
            "seeds": f"split {data['settings']['seed']}, training {card.seed}",
            "champion at the time": scores["champion_version"] or "none",
        },
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.html").write_text(render(facts), encoding="utf-8")
    write_json(output / "verdict.json", {**verdict, "version": version, "evaluation": scores})
    write_manifest(output, {"evaluation_digest": read_json(evaluation / MANIFEST)["digest"]})
    if run_name := os.environ.get(RUN):
        open_store(store_uri).upload(output / "report.html", f"runs/{run_name}/report.html")
    return {**verdict, "version": version, "metrics": scores["models"]["after"]["metrics"]}
