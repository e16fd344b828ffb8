"""The gate of the classify recipe: decide whether a candidate may be published."""

from __future__ import annotations

from typing import Any

from clinadapt.config.classify import ClassifyGate
from clinadapt.documents.page import counted
from components.evaluate.gate.champion_checks import Standing, champion_checks
from components.evaluate.gate.checks import difference_above, share_at_least, verdict
from components.evaluate.gate.group_checks import no_worse_group

_NAMED = 5  # labels that are never recognised


def decide(evaluation: dict[str, Any], thresholds: ClassifyGate, standing: Standing | None = None) -> dict[str, Any]:
    """Check an evaluation against the thresholds.

    Args:
        evaluation: content of evaluation.json.
        thresholds: of the profile.
        standing: of the champion; None where there is none.

    Returns:
        The verdict, see `components.evaluate.gate.checks.verdict`.
    """
    against = {c["b"]: c for c in evaluation["comparisons"]}
    candidate = evaluation["models"]["candidate"]["metrics"]
    notes = evaluation["notes"]
    names = {
        "base": "more accurate than the base model with an untrained head",
        "majority": "more accurate than the majority class",
        "tfidf": "more accurate than TF-IDF with logistic regression",
    }
    if thresholds.gain_over_tfidf < 0:
        names["tfidf"] = f"at most {-100 * thresholds.gain_over_tfidf:g} points less accurate than TF-IDF"
    checks = [
        difference_above(name, "accuracy", against[other], getattr(thresholds, f"gain_over_{other}"), notes)
        for other, name in names.items()
    ]
    checks.append(
        share_at_least(
            "a label that the note has",
            "predictions among a note's labels",
            candidate["any_label_accuracy"],
            thresholds.min_any_label_accuracy,
            notes,
        )
    )
    checks.append(
        no_worse_group(
            evaluation["subgroups"],
            candidate["any_label_accuracy"],
            evaluation["rows"],
            "any_label_accuracy",
            "predictions among none of a note's labels",
            thresholds.group_margin,
            notes,
        )
    )
    if evaluation["champion_version"]:
        margin = thresholds.champion_margin
        checks += champion_checks(evaluation, against.get("champion"), "accuracy", margin, standing)
    tfidf, never = _against_tfidf(evaluation, against["tfidf"]), _never_recognised(evaluation)
    caveats = list(filter(None, ["" if _is_better(against["tfidf"]) else tfidf, never]))
    return verdict(checks, _result(evaluation, tfidf, against["tfidf"]["difference"] < 0, never), thresholds, caveats)


def _result(evaluation: dict[str, Any], tfidf: str, tfidf_first: bool, never: str) -> str:
    """How often the adapter is right, in counts, how that compares with TF-IDF, and the labels that it never gets
    right. Where TF-IDF is better, that comes first."""
    candidate = evaluation["models"]["candidate"]["metrics"]
    accuracy, any_label, macro = (candidate[name] for name in ("accuracy", "any_label_accuracy", "macro_f1"))
    ceiling = evaluation["ceiling"]
    best = f"; best possible {ceiling:.1%}, as some notes are listed under several labels" if ceiling < 1 else ""
    adapter = (
        f"The adapter names the listed label in {counted(accuracy)} held-out rows ({accuracy['value']:.1%}{best}), and "
        f"a label of the note in {counted(any_label)} ({any_label['value']:.1%})."
    )
    rare = f"Macro F1, which counts rare labels as much as frequent ones: {macro['value']:.3f} of 1."
    return " ".join(filter(None, [*((tfidf, adapter) if tfidf_first else (adapter, tfidf)), rare, never]))


def _is_better(tfidf: dict[str, Any]) -> bool:
    """Whether the adapter is significantly more accurate than TF-IDF."""
    return bool(tfidf["difference"] > 0 and tfidf["p"] < 0.05)


def _against_tfidf(evaluation: dict[str, Any], tfidf: dict[str, Any]) -> str:
    """How accurate TF-IDF is, beside the adapter."""
    value = evaluation["models"]["tfidf"]["metrics"]["accuracy"]["value"]
    p = f"p = {tfidf['p']:.2f}" if tfidf["p"] >= 0.01 else "p < 0.01"
    relation = "is less accurate" if _is_better(tfidf) else "is not significantly different"
    if tfidf["difference"] < 0:
        relation = "is more accurate"
    return f"TF-IDF with logistic regression, which only counts words, {relation} ({value:.1%}, {p})."


def _never_recognised(evaluation: dict[str, Any]) -> str:
    """The labels of held-out rows that the adapter never gets right, the most frequent first; empty without any."""
    classes = sorted(evaluation["models"]["candidate"]["per_class"], key=lambda entry: -entry["support"])
    never = [entry["label"] for entry in classes if entry["support"] and not entry["recall"]]
    if not never:
        return ""
    others = f" and {len(never) - _NAMED} others" if len(never) > _NAMED else ""
    return f"Never recognised: {', '.join(never[:_NAMED])}{others}."
