"""Score adapter, base model, champion and cheap baselines on the same held-out notes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Review
from clinadapt.config.classify import ClassifyEvaluation
from clinadapt.data.schemas.classify import SPLIT
from clinadapt.data.tables import SPLITS, label_counts, read_split, write_table
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import ClassifyCard
from clinadapt.models.calibration import fit_temperature
from clinadapt.models.classifier import Classifier, TokenizedNotes
from clinadapt.storage import open_store
from components.evaluate.abstention import measure_abstention
from components.evaluate.aggregates import prediction_aggregates
from components.evaluate.answer_cache import AnswerCache
from components.evaluate.baselines import majority, tfidf
from components.evaluate.champion import Champion
from components.evaluate.corrections import labels_on_corrections, read_corrected
from components.evaluate.counterfactual_labels import measure_labels, score_changed
from components.evaluate.metrics import CONFIDENCE, HeldOutNotes, compare, measure, probabilities, roc
from components.evaluate.results import write_results
from components.evaluate.review_cases import DEFAULT_REVIEW, Candidate, label_risks, write_cases
from components.evaluate.subgroups import label_subgroups

MODEL_TITLES = {
    "candidate": "Adapter",
    "base": "Base model, untrained head",
    "majority": "Majority class",
    "tfidf": "TF-IDF + logistic regression",
    "champion": "Champion",
}


class Leakage(UserError):
    """A score that no function of the text can reach."""


@dataclass(frozen=True)
class Scores:
    """Output of one model for the test notes.

    Attributes:
        logits: shape (notes, labels).
        temperature: None for a model that is not scaled.
        seconds: of inference, or of fitting for TF-IDF; None where it was not measured.
    """

    logits: np.ndarray
    temperature: float | None = None
    seconds: float | None = None


def run(
    splits: Path,
    adapter: Path,
    output: Path,
    champion: Champion,
    settings: ClassifyEvaluation,
    seed: int,
    review: Review = DEFAULT_REVIEW,
    private: bool = True,
) -> dict[str, Any]:
    """Score every model, compare the adapter with each other model and write the results.

    Writes evaluation.json, predictions.parquet (note_id and one column of logits per label), cases.parquet and the
    manifest. Logits are cached in the store, so an interrupted evaluation resumes.

    Args:
        splits, adapter: output of format and of train.
        output: folder to write to.
        champion: to compare with, and the store.
        settings: of counterfactual notes and of abstention.
        seed: of the bootstrap, the permutation tests and the answers drawn for review.
        review: which predictions people are asked to judge.
        private: whether the notes are: then `review` says whether any may be judged.

    Returns:
        Content of evaluation.json.

    Raises:
        UserError: the champion or the base model cannot be loaded. Leakage: an accuracy is above the ceiling.
    """
    labels = read_json(splits / MANIFEST)["labels"]
    tables = {name: read_split(splits, name) for name in SPLITS}
    texts = {name: table["text"].to_pylist() for name, table in tables.items()}
    counts = {name: label_counts(table, labels) for name, table in tables.items()}
    notes = HeldOutNotes(counts["test"], tables["test"]["cluster"].to_numpy())
    classifier = Classifier(adapter)
    prepared = {name: classifier.tokenize(texts[name]) for name in ("validation", "test")}
    scores, logits = _score_models(classifier, adapter, champion, prepared, texts, counts)
    validation = logits, counts["validation"]
    predicted = _predicted(scores, majority(counts["train"], len(notes.counts)))
    cache = partial(AnswerCache, open_store(champion.store), adapter, classifier.card, True)
    evaluation = {
        "labels": labels,
        **_sizes(notes, prepared["test"]),
        "confidence": CONFIDENCE,
        "models": {name: _summary(name, p, scores.get(name), notes, labels, seed) for name, p in predicted.items()},
        "comparisons": _comparisons(predicted, notes, seed),
        "subgroups": label_subgroups(tables["test"], predicted["candidate"], notes, seed),
        **_when_it_differs(classifier, cache, texts["test"], scores["candidate"], validation, notes, settings, seed),
        "held_out_digest": sha256_json([tables["test"]["note_id"].to_pylist(), counts["test"].tolist()]),
        **champion.reference(),
        **_on_corrections(splits, classifier, champion, labels, seed),
    }
    evaluation["models"]["candidate"]["temperature_ratio"] = classifier.card.temperature_ratio
    evaluation["aggregates"] = prediction_aggregates(_calibrated(scores["candidate"]), tables["test"], labels)
    _write_predictions(output, note_ids := tables["test"]["note_id"], scores["candidate"].logits)
    evaluation["review"] = _write_cases(output, note_ids.to_pylist(), scores, labels, review, private, seed)
    write_results(output, evaluation, splits, adapter)
    return evaluation


def _predicted(scores: dict[str, Scores], most_frequent: np.ndarray) -> dict[str, np.ndarray]:
    """Model -> probabilities, shape (notes, labels), in the order of MODEL_TITLES."""
    predicted = {name: probabilities(model.logits) for name, model in scores.items()} | {"majority": most_frequent}
    return {name: predicted[name] for name in MODEL_TITLES if name in predicted}


def _sizes(notes: HeldOutNotes, tokenized: TokenizedNotes) -> dict[str, Any]:
    """How many notes are held out, and how they are read."""
    return {
        "rows": int(notes.counts.sum()),
        "notes": len(notes.counts),
        "clusters": len(np.unique(notes.cluster)),
        "ceiling": notes.ceiling(),
        "unseen_token_share": tokenized.unseen_token_share(),
        "tokens_mean": float(tokenized.token_counts.mean()),
        "windows_mean": float(np.mean([len(windows) for windows in tokenized.windows])),
    }


def _calibrated(scores: Scores) -> np.ndarray:
    """Calibrated probabilities of one model, shape (notes, labels)."""
    return probabilities(scores.logits, scores.temperature or 1.0)


def check_ceiling(name: str, accuracy: float, ceiling: float) -> None:
    """Raise Leakage when the accuracy of a model is above the ceiling of the rows that were scored."""
    if accuracy > ceiling + 1e-9:
        raise Leakage(
            f"{name} has an accuracy of {accuracy:.4f}, above the ceiling of {ceiling:.4f}: labels have leaked into "
            "the text or across the splits, check the columns that were joined"
        )


def _score_models(
    classifier: Classifier,
    adapter: Path,
    champion: Champion,
    prepared: dict[str, TokenizedNotes],
    texts: dict[str, list[str]],
    counts: dict[str, np.ndarray],
) -> tuple[dict[str, Scores], np.ndarray]:
    """Scores of all models but the majority class, and the candidate's logits of the validation notes."""
    prompts = [texts[name] for name in prepared]
    scores, validation = _score_adapter(classifier, adapter, champion.store, prepared, prompts, counts["validation"])
    scores["tfidf"] = _score_tfidf(texts, counts)
    if champion.version:
        scores |= _score_champion(champion, classifier.card.labels, prompts)
    return scores, validation


def _score_adapter(
    classifier: Classifier,
    folder: Path,
    store_uri: str,
    prepared: dict[str, TokenizedNotes],
    prompts: list[list[str]],
    validation_counts: np.ndarray,
) -> tuple[dict[str, Scores], np.ndarray]:
    """Score candidate and base; the candidate's temperature is fitted on the validation notes, whose logits, shape
    (notes, labels), come with it."""
    log("evaluate", f"scoring {len(prompts[-1])} held-out notes with and without the adapter")
    store = open_store(store_uri)
    cache, base_cache = (AnswerCache(store, folder, classifier.card, flag, prompts) for flag in (True, False))
    results = {name: cache.get(name, partial(_timed, classifier.logits, notes)) for name, notes in prepared.items()}
    base_result = base_cache.get("test", partial(_timed, classifier.base_logits, prepared["test"]))
    logits = {name: np.array(result["logits"]) for name, result in results.items()}
    fitted = fit_temperature(logits["validation"], validation_counts) * classifier.card.temperature_ratio
    seconds = sum(result["seconds"] for result in results.values())
    scores = {"candidate": Scores(logits["test"], fitted, seconds), "base": Scores(np.array(base_result["logits"]))}
    return scores, logits["validation"]


def _when_it_differs(
    classifier: Classifier,
    cache: Callable[[Any], AnswerCache],
    texts: list[str],
    candidate: Scores,
    validation: tuple[np.ndarray, np.ndarray],
    notes: HeldOutNotes,
    settings: ClassifyEvaluation,
    seed: int,
) -> dict[str, Any]:
    """When the candidate is unsure (`abstention`), and how it predicts `counterfactuals`.

    Args:
        cache: opens the cache of the candidate for prompts.
        texts: of the held-out notes.
        validation: logits and counts of the validation notes, each of shape (notes, labels).
    """
    temperature = candidate.temperature or 1.0
    calibrated = probabilities(candidate.logits, temperature)
    chosen_by = probabilities(validation[0], temperature), validation[1]
    changed = score_changed(classifier, cache, texts, temperature, settings.counterfactual_notes, seed)
    return {
        "abstention": measure_abstention(chosen_by, calibrated, notes, settings.sure_accuracy, seed),
        "counterfactuals": measure_labels(calibrated, changed, notes.cluster, seed),
    }


def _score_tfidf(texts: dict[str, list[str]], counts: dict[str, np.ndarray]) -> Scores:
    log("evaluate", "fitting TF-IDF + logistic regression")
    start = time.monotonic()
    logits = tfidf(texts, counts)
    seconds = time.monotonic() - start
    fitted = fit_temperature(logits["validation"], counts["validation"])
    return Scores(logits["test"], fitted, seconds)


def _score_champion(champion: Champion, labels: list[str], prompts: list[list[str]]) -> dict[str, Scores]:
    """Score the champion with the temperature it was published with; empty where its labels are different."""
    log("evaluate", f"scoring the champion, version {champion.version}")

    def compute(folder: Path) -> dict[str, Any]:
        classifier = Classifier(folder)
        return _timed(classifier.logits, classifier.tokenize(prompts[-1]))

    def score(folder: Path) -> dict[str, Scores]:
        card = ClassifyCard.read(folder)
        if card.labels != labels:
            return {}
        cache = AnswerCache(open_store(champion.store), folder, card, True, prompts)
        logits = np.array(cache.get("test", partial(compute, folder))["logits"])
        return {"champion": Scores(logits, card.temperature)}

    return champion.load(score)


def _on_corrections(
    splits: Path, classifier: Classifier, champion: Champion, labels: list[str], seed: int
) -> dict[str, Any]:
    """`feedback` of evaluation.json: what candidate and champion, where it knows the same labels, predict for notes
    with a corrected label. Empty without such notes."""
    notes = read_corrected(splits, SPLIT)
    if not len(notes):
        return {}

    def predict(model: Classifier) -> list[str]:
        return [labels[number] for number in model.logits(model.tokenize(notes["text"].to_pylist())).argmax(axis=1)]

    def of_champion(folder: Path) -> dict[str, list[str]]:
        model = Classifier(folder)
        return {"champion": predict(model)} if model.card.labels == labels else {}

    predicted = {"candidate": predict(classifier)} | (champion.load(of_champion) if champion.version else {})
    return {"feedback": labels_on_corrections(notes, predicted, MODEL_TITLES, seed)}


def _timed(logits: Callable[[TokenizedNotes], np.ndarray], prepared: TokenizedNotes) -> dict[str, Any]:
    start = time.monotonic()
    result = logits(prepared)
    return {"logits": result.tolist(), "seconds": time.monotonic() - start}


def _summary(
    name: str, predicted: np.ndarray, scores: Scores | None, notes: HeldOutNotes, labels: list[str], seed: int
) -> dict[str, Any]:
    """Entry of a model in evaluation.json. Raises Leakage when its accuracy is above the ceiling.

    Args:
        predicted: probabilities before temperature scaling, shape (notes, labels).
        scores: None for the majority class, which has no logits.
    """
    temperature = scores.temperature if scores else None
    scaled = probabilities(scores.logits, temperature) if scores and temperature is not None else None
    summary = {"title": MODEL_TITLES[name], **measure(predicted, scaled, notes, seed)}
    for entry, label in zip(summary["per_class"], labels, strict=True):
        entry["label"] = label
    if temperature is not None:
        summary["temperature"] = temperature
    if scores:
        summary["roc"] = roc(predicted, notes, labels)
        if scores.seconds is not None:
            summary["seconds"] = scores.seconds
    check_ceiling(name, summary["metrics"]["accuracy"]["value"], notes.ceiling())
    return summary


def _comparisons(predicted: dict[str, np.ndarray], notes: HeldOutNotes, seed: int) -> list[dict[str, Any]]:
    """Paired comparisons of the candidate's accuracy with that of every other model.

    Args:
        predicted: model -> probabilities, shape (notes, labels).
    """
    classes = {name: p.argmax(axis=1) for name, p in predicted.items()}
    return [
        {"a": "candidate", "b": name, "metric": "accuracy", **compare(classes["candidate"], other, notes, seed)}
        for name, other in classes.items()
        if name != "candidate"
    ]


def _write_cases(
    output: Path,
    note_ids: list[str],
    scores: dict[str, Scores],
    labels: list[str],
    review: Review,
    private: bool,
    seed: int,
) -> dict[str, int]:
    """Write cases.parquet; return what evaluation.json says of it."""
    candidate = scores["candidate"]
    shares = probabilities(candidate.logits, candidate.temperature or 1.0)
    other = scores["champion"].logits.argmax(axis=1).tolist() if "champion" in scores else [None] * len(note_ids)
    answers = [
        Candidate(i, note_id, "", labels[int(share.argmax())], private, label_risks(share, champion))
        for i, (note_id, share, champion) in enumerate(zip(note_ids, shares, other, strict=True))
    ]
    return write_cases(output, "classify", answers, review, seed)


def _write_predictions(output: Path, note_ids: pa.ChunkedArray, logits: np.ndarray) -> None:
    output.mkdir(parents=True, exist_ok=True)
    columns = {f"logit_{i}": logits[:, i] for i in range(logits.shape[1])}
    write_table(pa.table({"note_id": note_ids, **columns}), output / "predictions.parquet")
