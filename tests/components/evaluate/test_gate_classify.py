"""The gate of the classify recipe: checks pass and fail at their thresholds, and the sentence gives the figures."""

from __future__ import annotations

from typing import Any

import pytest

from clinadapt.config.classify import ClassifyGate
from components.evaluate.gate.classify import decide


def against(other: str, difference: float, low: float, p: float = 0.001, p_worse: float = 1.0) -> dict[str, Any]:
    high = 2 * difference - low
    return {
        "a": "candidate",
        "b": other,
        "difference": difference,
        "low": low,
        "high": high,
        "p": p,
        "p_worse": p_worse,
    }


def evaluation(*comparisons: dict[str, Any], champion: str = "") -> dict[str, Any]:
    """An adapter that is better than everything, but for the comparisons given."""
    usual = {c["b"]: c for c in [against("base", 0.5, 0.4), against("majority", 0.3, 0.2), against("tfidf", 0.1, 0.05)]}
    scores = {"candidate": 0.741, "base": 0.2, "majority": 0.421, "tfidf": 0.655}
    return {
        "ceiling": 0.7598,
        "models": {name: {"metrics": {"accuracy": {"value": value}}} for name, value in scores.items()},
        "comparisons": list((usual | {c["b"]: c for c in comparisons}).values()),
        "champion_version": champion,
    }


def failed(verdict: dict[str, Any]) -> list[str]:
    return [check["name"] for check in verdict["checks"] if not check["passed"]]


def test_a_good_adapter_passes() -> None:
    verdict = decide(evaluation(), ClassifyGate())
    assert (verdict["decision"], failed(verdict)) == ("pass", [])
    for part in ("74.1%", "76.0%", "higher than TF-IDF", "65.5%", "p < 0.01"):
        assert part in verdict["sentence"]
    assert verdict["sentence"].endswith("Passed the gate.")


@pytest.mark.parametrize(
    ("comparison", "champion", "thresholds", "reason"),
    [
        (against("base", 0.06, 0.05), "", ClassifyGate(), "more accurate than the base model with an untrained head"),
        (
            against("base", 0.5, 0.4),
            "",
            ClassifyGate(gain_over_base=0.41),
            "more accurate than the base model with an untrained head",
        ),
        (against("majority", 0.02, 0.0), "", ClassifyGate(), "more accurate than the majority class"),
        (
            against("majority", 0.3, 0.2),
            "",
            ClassifyGate(gain_over_majority=0.2),
            "more accurate than the majority class",
        ),
        (against("champion", -0.05, -0.09, p_worse=0.049), "v1", ClassifyGate(), "not worse than the champion v1"),
        (against("base", 0.5, 0.4), "v1", ClassifyGate(), "comparable with the champion v1"),
    ],
)
def test_one_check_is_enough_to_fail(
    comparison: dict[str, Any], champion: str, thresholds: ClassifyGate, reason: str
) -> None:
    verdict = decide(evaluation(comparison, champion=champion), thresholds)
    assert verdict["decision"] == "fail"
    assert failed(verdict) == [reason]
    assert f"Failed the gate, check '{reason}'" in verdict["sentence"]
    assert "Passed" not in verdict["sentence"]


@pytest.mark.parametrize(
    ("comparison", "champion"),
    [
        (against("base", 0.06, 0.0501), ""),
        (against("majority", 0.02, 0.0001), ""),
        (against("champion", -0.05, -0.09, p_worse=0.05), "v1"),
        (against("champion", 0.0, 0.0, p=1.0, p_worse=1.0), "v1"),
    ],
)
def test_just_enough_passes(comparison: dict[str, Any], champion: str) -> None:
    assert decide(evaluation(comparison, champion=champion), ClassifyGate())["decision"] == "pass"


def test_the_sentence_begins_with_tfidf_where_it_is_better() -> None:
    scores = evaluation(against("tfidf", -0.04, -0.07))
    scores["models"]["tfidf"]["metrics"]["accuracy"]["value"] = 0.755
    verdict = decide(scores, ClassifyGate())
    assert verdict["decision"] == "pass"
    assert verdict["sentence"].startswith("TF-IDF with logistic regression is more accurate (75.5%, p < 0.01)")
    assert "74.1%" in verdict["sentence"]


def test_a_difference_by_chance_is_not_significant() -> None:
    verdict = decide(evaluation(against("tfidf", 0.01, -0.02, p=0.4)), ClassifyGate())
    assert "not significantly different from TF-IDF" in verdict["sentence"]
    assert "(65.5%, p = 0.40)" in verdict["sentence"]
