"""Score base, adapter, champion and cheap baselines on the same held-out notes."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.common.adapter import download_adapter
from components.common.calibration import temperature
from components.common.classifier import Classifier
from components.common.dataset import SPLITS, label_counts, read_split, write_table
from components.common.errors import UserError
from components.common.provenance import MANIFEST, read_json, write_json, write_manifest
from components.common.steps import say
from components.evaluate.baselines import majority, tfidf
from components.evaluate.metrics import CONFIDENCE, Held, compare, measure, probabilities, roc


@dataclass(frozen=True)
class Champion:
    """What runs today: store, adapter name, version and etag of the pointer (both empty where there is none)."""

    store: str
    name: str
    version: str
    etag: str


TITLES = {
    "after": "Adapter (after)",
    "before": "Base, untrained head (before)",
    "majority": "Majority class",
    "tfidf": "TF-IDF + logistic regression",
    "champion": "Champion",
}


def run(splits: Path, adapter: Path, output: Path, champion: Champion, seed: int) -> dict[str, Any]:
    """Write evaluation.json, predictions.parquet (note, one column of logits a label) and the manifest; return
    evaluation.json's content.

    Raises:
        UserError: the champion or the base model cannot be loaded.
        Leakage: a score is above the ceiling of the rows that are scored.
    """
    data = read_json(splits / MANIFEST)
    labels = data["labels"]
    tables = {name: read_split(splits, name) for name in SPLITS}
    texts = {name: table["text"].to_pylist() for name, table in tables.items()}
    counts = {name: label_counts(table, labels) for name, table in tables.items()}
    held = Held(counts["test"], tables["test"]["cluster"].to_numpy())

    classifier = Classifier(adapter)
    prepared = {name: classifier.prepare(texts[name]) for name in ("validation", "test")}
    logits: dict[str, dict[str, np.ndarray]] = {}
    seconds: dict[str, float] = {}
    say("evaluate", f"scoring {len(texts['test'])} held-out notes after and before training")
    start = time.monotonic()
    logits["after"] = {part: classifier.logits(prepared[part]) for part in prepared}
    seconds["after"] = time.monotonic() - start
    logits["before"] = {"test": classifier.base_logits(prepared["test"])}
    say("evaluate", "fitting TF-IDF + logistic regression")
    start = time.monotonic()
    logits["tfidf"] = tfidf(texts, counts)
    seconds["tfidf"] = time.monotonic() - start
    temperatures = {name: temperature(logits[name]["validation"], counts["validation"]) for name in ("after", "tfidf")}
    temperatures["after"] *= classifier.card.temperature_ratio
    if champion.version:
        _score_champion(champion, labels, texts["test"], logits, temperatures)

    models: dict[str, dict[str, Any]] = {}
    predicted: dict[str, np.ndarray] = {}
    for name in (n for n in TITLES if n == "majority" or n in logits):
        scaled = None
        if name == "majority":
            raw = majority(counts["train"], len(held.counts))
        else:
            raw = probabilities(logits[name]["test"])
        if name in temperatures:
            scaled = probabilities(logits[name]["test"], temperatures[name])
        predicted[name] = raw.argmax(axis=1)
        models[name] = {"title": TITLES[name], **measure(raw, scaled, held, seed)}
        for entry, label in zip(models[name]["per_class"], labels, strict=True):
            entry["label"] = label
        if name in temperatures:
            models[name]["temperature"] = temperatures[name]
        if name in logits:
            models[name]["roc"] = roc(raw, held, labels)
        if name in seconds:
            models[name]["seconds"] = seconds[name]
        refuse_leakage(name, models[name]["metrics"]["accuracy"]["value"], held.ceiling())
    models["after"]["temperature_ratio"] = classifier.card.temperature_ratio

    evaluation = {
        "labels": labels,
        "rows": int(held.counts.sum()),
        "notes": len(held.counts),
        "clusters": len(np.unique(held.cluster)),
        "ceiling": held.ceiling(),
        "confidence": CONFIDENCE,
        "models": models,
        "comparisons": [
            {
                "a": "after",
                "b": other,
                "metric": "accuracy",
                **compare(predicted["after"], predicted[other], held, seed),
            }
            for other in models
            if other != "after"
        ],
        "champion_version": champion.version,
        "champion_etag": champion.etag,
        "unseen_token_share": prepared["test"].unseen_share(),
        "tokens_mean": float(prepared["test"].tokens.mean()),
        "windows_mean": float(np.mean([len(cut) for cut in prepared["test"].windows])),
    }
    _write(output, evaluation, tables["test"]["note"], logits["after"]["test"], splits, adapter)
    return evaluation


class Leakage(UserError):
    """A score that no function of the text can reach."""


def refuse_leakage(name: str, accuracy: float, ceiling: float) -> None:
    """Raises Leakage when an accuracy is above the ceiling of the rows that were scored."""
    if accuracy > ceiling + 1e-9:
        raise Leakage(
            f"{name} scores {accuracy:.4f} where no function of the text can pass {ceiling:.4f}: "
            "labels have leaked into the text or the splits, look at the columns that were joined"
        )


def _score_champion(
    champion: Champion,
    labels: list[str],
    texts: list[str],
    logits: dict[str, dict[str, np.ndarray]],
    temperatures: dict[str, float],
) -> None:
    """Add the champion's logits and the temperature that it was published with, if it knows the same labels."""
    say("evaluate", f"scoring the champion, version {champion.version}")
    try:
        folder, _ = download_adapter(f"{champion.name}/{champion.version}", champion.store)
        classifier = Classifier(folder)
        shutil.rmtree(folder)
    except UserError as error:
        raise UserError(f"the champion cannot be loaded, mend it or choose another --adapter-name: {error}") from error
    if classifier.card.labels == labels:
        temperatures["champion"] = classifier.card.temperature
        logits["champion"] = {"test": classifier.logits(classifier.prepare(texts))}


def _write(
    output: Path,
    evaluation: dict[str, Any],
    notes: pa.ChunkedArray,
    logits: np.ndarray,
    splits: Path,
    adapter: Path,
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    columns = {f"logit_{i}": logits[:, i] for i in range(logits.shape[1])}
    write_table(pa.table({"note": notes, **columns}), output / "predictions.parquet")
    write_json(output / "evaluation.json", evaluation)
    digests = {
        f"{name}_digest": read_json(folder / MANIFEST)["digest"]
        for name, folder in (("splits", splits), ("adapter", adapter))
    }
    write_manifest(output, digests)
