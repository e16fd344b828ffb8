"""Score base, adapter, champion and cheap baselines on the same held-out notes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.data.tables import SPLITS, label_counts, read_split, write_table
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import ClassifyCard
from clinadapt.models.calibration import fit_temperature
from clinadapt.models.classifier import Classifier, TokenizedNotes
from clinadapt.storage import open_store
from components.evaluate.answer_cache import Kept
from components.evaluate.baselines import majority, tfidf
from components.evaluate.champion import Champion
from components.evaluate.metrics import CONFIDENCE, Held, compare, measure, probabilities, roc

TITLES = {
    "candidate": "Adapter (after)",
    "base": "Base, untrained head (before)",
    "majority": "Majority class",
    "tfidf": "TF-IDF + logistic regression",
    "champion": "Champion",
}


def run(splits: Path, adapter: Path, output: Path, champion: Champion, seed: int) -> dict[str, Any]:
    """Write evaluation.json, predictions.parquet (note, one column of logits a label) and the manifest; return
    evaluation.json's content. What a model says of a side is kept in the store, and an evaluation that was cut goes on.

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
    prepared = {name: classifier.tokenize(texts[name]) for name in ("validation", "test")}
    logits: dict[str, dict[str, np.ndarray]] = {}
    seconds: dict[str, float] = {}
    store = open_store(champion.store)
    log("evaluate", f"scoring {len(texts['test'])} held-out notes after and before training")
    asked = [texts[part] for part in prepared]
    after, before = (Kept(store, adapter, classifier.card, adapted, asked) for adapted in (True, False))
    scored = {part: after.piece(part, partial(_scored, classifier.logits, prepared[part])) for part in prepared}
    logits["candidate"] = {part: np.array(made["logits"]) for part, made in scored.items()}
    seconds["candidate"] = sum(made["seconds"] for made in scored.values())
    of_base = before.piece("test", partial(_scored, classifier.base_logits, prepared["test"]))
    logits["base"] = {"test": np.array(of_base["logits"])}
    log("evaluate", "fitting TF-IDF + logistic regression")
    start = time.monotonic()
    logits["tfidf"] = tfidf(texts, counts)
    seconds["tfidf"] = time.monotonic() - start
    temperatures = {
        name: fit_temperature(logits[name]["validation"], counts["validation"]) for name in ("candidate", "tfidf")
    }
    temperatures["candidate"] *= classifier.card.temperature_ratio
    if champion.version:
        _score_champion(champion, labels, asked, logits, temperatures)

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
    models["candidate"]["temperature_ratio"] = classifier.card.temperature_ratio

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
                "a": "candidate",
                "b": other,
                "metric": "accuracy",
                **compare(predicted["candidate"], predicted[other], held, seed),
            }
            for other in models
            if other != "candidate"
        ],
        "champion_version": champion.version,
        "champion_etag": champion.etag,
        "unseen_token_share": prepared["test"].unseen_token_share(),
        "tokens_mean": float(prepared["test"].token_counts.mean()),
        "windows_mean": float(np.mean([len(cut) for cut in prepared["test"].windows])),
    }
    _write(output, evaluation, tables["test"]["note_id"], logits["candidate"]["test"], splits, adapter)
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
    asked: list[list[str]],
    logits: dict[str, dict[str, np.ndarray]],
    temperatures: dict[str, float],
) -> None:
    """Add the champion's logits of the last of the sides that are asked, and the temperature that it was published
    with, if it knows the same labels."""
    log("evaluate", f"scoring the champion, version {champion.version}")

    def ask(folder: Path) -> dict[str, Any]:
        classifier = Classifier(folder)
        return _scored(classifier.logits, classifier.tokenize(asked[-1]))

    def score(folder: Path) -> None:
        card = ClassifyCard.read(folder)
        if card.labels == labels:
            kept = Kept(open_store(champion.store), folder, card, True, asked)
            temperatures["champion"] = card.temperature
            logits["champion"] = {"test": np.array(kept.piece("test", partial(ask, folder))["logits"])}

    champion.load(score)


def _scored(logits: Callable[[TokenizedNotes], np.ndarray], prepared: TokenizedNotes) -> dict[str, Any]:
    start = time.monotonic()
    found = logits(prepared)
    return {"logits": found.tolist(), "seconds": time.monotonic() - start}


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
    write_table(pa.table({"note_id": notes, **columns}), output / "predictions.parquet")
    write_json(output / "evaluation.json", evaluation)
    made = read_json(adapter / MANIFEST)
    inputs = {"splits": read_json(splits / MANIFEST)["digest"], "adapter": made["digest"]}
    write_manifest(output, {f"{name}_digest": each for name, each in inputs.items()}, "evaluate", inputs, [made])
