"""The thresholds that a profile loosened, in words for those who read a verdict."""

from __future__ import annotations

from clinadapt.config.gate import GateThresholds
from clinadapt.documents.verdict import OFF

# What each threshold is about, for a reader who knows no profile
MEANINGS = {
    "gain_over_base": "Lead over the base model",
    "gain_over_majority": "Lead over always naming the most frequent label",
    "gain_over_tfidf": "Lead over counting words (TF-IDF with logistic regression)",
    "task_margin": "How far it may be behind the base model in one task (token F1)",
    "max_contradicted": "Answers with a claim that the note contradicts",
    "max_unsupported": "Answers with a claim that the note does not support",
    "max_wrong_refusals": "Refusals of questions that the note answers",
    "max_missed_refusals": "Answers to questions that the note does not answer",
    "min_exact_match": "Exactly right answers, where they can be checked",
    "min_any_label_accuracy": "Predictions among a note's labels",
    "group_margin": "How much worse it may be for a group of notes (by length, sex, age, ...) than over all",
    "champion_margin": "How far it may be behind the version in use, if it was trained on other data",
    "audited_repeats": "How often a phrase may stand in training without being remembered",
}


def loosened_rows(thresholds: GateThresholds) -> dict[str, dict[str, str]]:
    """The thresholds that are looser than the defaults.

    Returns:
        Name -> `meaning`, `default` and `here`, the threshold of this profile; OFF where no candidate fails it.
    """
    fields = type(thresholds).model_fields
    return {
        name: {
            "meaning": MEANINGS[name],
            "default": _words(name, fields[name].default),
            "here": OFF if is_off(name, value) else _words(name, value),
        }
        for name, value in thresholds.loosened().items()
    }


def is_off(name: str, value: float) -> bool:
    """Whether a threshold is such that no candidate fails it."""
    if name.startswith("min_"):
        return value <= 0
    return value <= -1 if name.startswith("gain_") else name != "audited_repeats" and value >= 1


def _words(name: str, value: float) -> str:
    """A threshold in words: `at most 5 points`."""
    if name == "audited_repeats":
        return f"{value:g} times"
    if name.startswith(("max_", "min_")):
        return f"at {'most' if name.startswith('max_') else 'least'} {100 * value:g}\u202f%"
    if name.startswith("gain_") and value >= 0:
        return f"more than {100 * value:g} points"
    return f"at most {100 * abs(value):g} points{' behind' if name.startswith('gain_') else ''}"
