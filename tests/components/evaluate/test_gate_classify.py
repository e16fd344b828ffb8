"""The gate of the classify recipe: checks pass and fail at their thresholds, and the sentence gives the figures."""

from __future__ import annotations

from typing import Any

import pytest

from clinadapt.config.classify import ClassifyGate
from components.evaluate.gate.champion_checks import Standing
from components.evaluate.gate.classify import decide


def against(other: str, difference: float, low: float, p: float = 0.001, p_worse: float = 1.0) -> dict[str, Any]:
    high = 2 * difference - low
    return {
        "a": "candidate",
        "b": other,
        "difference": difference,
        "low": low,
        "high": high,
        "clusters": 2000,
        "p": p,
        "p_worse": p_worse,
    }


def share(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "clusters": 2000, "of": 2000}


def evaluation(*comparisons: dict[str, Any], champion: str = "") -> dict[str, Any]:
    """An adapter that is better than everything, but for the comparisons given."""
    usual = {c["b"]: c for c in [against("base", 0.5, 0.4), against("majority", 0.3, 0.2), against("tfidf", 0.1, 0.05)]}
    scores = {"candidate": 0.741, "base": 0.2, "majority": 0.421, "tfidf": 0.655, "champion": 0.74}
    return {
        "notes": 2000,
        "rows": 2000,
        "subgroups": [],
        "ceiling": 0.7598,
        "models": {
            name: {
                "metrics": {"accuracy": share(value), "any_label_accuracy": share(0.97), "macro_f1": share(0.6)},
                "per_class": [
                    {"label": "Surgery", "support": 40, "recall": 0.8},
                    {"label": "Urology", "support": 3, "recall": 0.0},
                    {"label": "Autopsy", "support": 0, "recall": 0.0},
                ],
            }
            for name, value in scores.items()
        },
        "comparisons": list((usual | {c["b"]: c for c in comparisons}).values()),
        "champion_version": champion,
    }


def failed(verdict: dict[str, Any]) -> list[str]:
    return [check["name"] for check in verdict["checks"] if not check["passed"]]


def test_a_good_adapter_passes() -> None:
    verdict = decide(evaluation(), ClassifyGate())
    assert (verdict["decision"], failed(verdict)) == ("pass", [])
    for part in (
        "74.1%",
        "76.0%",
        "names the listed label in 1,482 of 2,000 held-out rows (74.1%; best possible 76.0%",
        "a label of the note in 1,940 of 2,000 (97.0%)",
        "TF-IDF with logistic regression, which only counts words, is less accurate",
        "0.600 of 1",
        "Never recognised: Urology.",
        "65.5%",
        "p < 0.01",
    ):
        assert part in verdict["result"]
    assert verdict["outcome"] == "Passed the gate."


@pytest.mark.parametrize(
    ("comparison", "champion", "reason"),
    [
        (against("base", 0.04, 0.03), "", "more accurate than the base model with an untrained head"),
        (against("majority", -0.02, -0.04), "", "more accurate than the majority class"),
        (against("tfidf", 0.0, -0.01), "", "more accurate than TF-IDF with logistic regression"),
        (against("champion", 0.0, -0.01), "v1", "better than the champion v1, which was trained on the same data"),
        (against("base", 0.5, 0.4), "v1", "comparable with the champion v1"),
    ],
)
def test_one_check_is_enough_to_fail(comparison: dict[str, Any], champion: str, reason: str) -> None:
    verdict = decide(evaluation(comparison, champion=champion), ClassifyGate())
    assert verdict["decision"] == "fail"
    assert failed(verdict) == [reason]
    assert f"Failed the gate, check '{reason}'" in verdict["outcome"]
    assert "Passed" not in verdict["outcome"]


def test_a_wide_interval_is_no_evidence() -> None:
    verdict = decide(evaluation(against("tfidf", 0.03, -0.02)), ClassifyGate())
    assert verdict["decision"] == "not enough evidence"
    assert "more held-out notes are needed for 'more accurate than TF-IDF" in verdict["outcome"]


@pytest.mark.parametrize(
    ("comparison", "champion", "standing"),
    [
        (against("base", 0.08, 0.06), "", None),
        (against("tfidf", 0.02, 0.001), "", None),
        (against("champion", 0.05, 0.01), "v1", None),
        (against("champion", 0.0, -0.01), "v1", Standing(True, None)),
    ],
)
def test_just_enough_passes(comparison: dict[str, Any], champion: str, standing: Standing | None) -> None:
    assert decide(evaluation(comparison, champion=champion), ClassifyGate(), standing)["decision"] == "pass"


def test_the_sentence_begins_with_tfidf_where_it_is_better() -> None:
    scores = evaluation(against("tfidf", -0.04, -0.07))
    scores["models"]["tfidf"]["metrics"]["accuracy"]["value"] = 0.755
    verdict = decide(scores, ClassifyGate(gain_over_tfidf=-0.1))
    assert verdict["decision"] == "pass"
    row = verdict["loosened"]["gain_over_tfidf"]
    assert (row["default"], row["here"]) == ("more than 0 points", "at most 10 points behind")
    words = "TF-IDF with logistic regression, which only counts words, is more accurate (75.5%, p < 0.01)."
    assert (
        verdict["result"].startswith(words)
        and "74.1%" in verdict["result"]
        and verdict["caveats"] == [words, "Never recognised: Urology."]
    )


def test_a_difference_by_chance_is_not_significant() -> None:
    verdict = decide(evaluation(against("tfidf", 0.01, -0.02, p=0.4)), ClassifyGate())
    assert (
        "TF-IDF with logistic regression, which only counts words, is not significantly different" in verdict["result"]
    )
    assert "(65.5%, p = 0.40)" in verdict["result"]


def test_labels_that_are_never_recognised_are_named_the_most_frequent_first_and_the_rest_counted() -> None:
    scores = evaluation(against("tfidf", 0.2, 0.15))
    scores["models"]["candidate"]["per_class"] = [
        {"label": f"<b>{'long ' * 20}{i}", "support": i, "recall": 0.0} for i in range(9)
    ]
    (never,) = decide(scores, ClassifyGate())["caveats"]
    assert never.startswith(f"Never recognised: <b>{'long ' * 20}8, ") and never.endswith("4 and 3 others.")


def test_equal_scores_and_one_label_are_no_lead() -> None:
    """A classifier that always names the only label is right, as the majority class is, and not better."""
    scores = evaluation(*(against(other, 0.0, 0.0, p=1.0) for other in ("base", "majority", "tfidf")))
    verdict = decide(scores, ClassifyGate())
    assert verdict["decision"] == "fail" and "is not significantly different" in verdict["caveats"][0]
    assert verdict["next"].startswith("Leave the version in use as it is.")
