"""The gate of the instruct recipe: every check passes and fails at its threshold."""

from __future__ import annotations

from typing import Any

import pytest

from clinadapt.config.instruct import InstructGate
from components.evaluate.gate.instruct import decide


def against(
    other: str, metric: str, difference: float, low: float, p_worse: float = 1.0, task: str | None = None
) -> dict[str, Any]:
    high = 2 * difference - low
    return {
        "a": "candidate", "b": other, "metric": metric, "task": task, "difference": difference,
        "low": low, "high": high,
        "p": 0.001, "p_worse": p_worse,
    }  # fmt: skip


def evaluation(*comparisons: dict[str, Any], champion: str = "") -> dict[str, Any]:
    """An adapter that is better than everything, but for the comparisons given. One task is no check."""
    usual = [against("base", "token_f1", 0.4, 0.35), against("base", "unsupported", -0.2, -0.25)]
    if champion:
        usual += [against("champion", "token_f1", 0.1, 0.05), against("champion", "unsupported", -0.1, -0.2)]
    merged = {(c["b"], c["metric"]): c for c in [*usual, *comparisons]}
    scores = {"candidate": (0.542, 0.06), "base": (0.101, 0.3), "champion": (0.4, 0.1)}
    return {
        "rows": 800,
        "models": {
            name: {"metrics": {"token_f1": {"value": f1}, "unsupported": {"value": invented}}}
            for name, (f1, invented) in scores.items()
        },
        "comparisons": [*merged.values(), against("base", "token_f1", -0.4, -0.6, task="Summarization")],
        "champion_version": champion,
    }


def failed(verdict: dict[str, Any]) -> list[str]:
    return [check["name"] for check in verdict["checks"] if not check["passed"]]


def test_a_good_adapter_passes() -> None:
    verdict = decide(evaluation(), InstructGate())
    assert (verdict["decision"], failed(verdict)) == ("pass", [])
    for part in ("On 800 held-out", "token F1 54.2 against 10.1", "6.0%", "base model 30.0%"):
        assert part in verdict["sentence"]
    assert verdict["sentence"].endswith("Passed the gate.") and "not significantly" not in verdict["sentence"]


@pytest.mark.parametrize(
    ("comparison", "champion", "thresholds", "reason"),
    [
        (against("base", "token_f1", 0.0, 0.0), "", InstructGate(), "higher token F1 than the base model"),
        (against("base", "token_f1", 0.1, -0.01), "", InstructGate(), "higher token F1 than the base model"),
        (
            against("base", "token_f1", 0.4, 0.35),
            "",
            InstructGate(gain_over_base=0.35),
            "higher token F1 than the base model",
        ),
        (
            against("base", "unsupported", 0.1, 0.01),
            "",
            InstructGate(),
            "no more unsupported facts than the base model",
        ),
        (
            against("champion", "unsupported", 0.1, 0.01),
            "v1",
            InstructGate(),
            "no more unsupported facts than the champion v1",
        ),
        (
            against("champion", "token_f1", -0.1, -0.2, 0.049),
            "v1",
            InstructGate(),
            "not worse than the champion v1",
        ),
    ],
)
def test_one_check_is_enough_to_fail(
    comparison: dict[str, Any], champion: str, thresholds: InstructGate, reason: str
) -> None:
    verdict = decide(evaluation(comparison, champion=champion), thresholds)
    assert (verdict["decision"], failed(verdict)) == ("fail", [reason])
    assert f"Failed the gate, check '{reason}'" in verdict["sentence"]


@pytest.mark.parametrize(
    ("comparison", "champion", "thresholds"),
    [
        (against("base", "token_f1", 0.1, 0.0001), "", InstructGate()),
        (against("base", "unsupported", 0.1, 0.05), "", InstructGate(unsupported=0.05)),
        (against("base", "unsupported", 0.3, 0.2), "v1", InstructGate()),  # the champion is the reference
        (against("champion", "token_f1", -0.1, -0.2, 0.05), "v1", InstructGate()),
    ],
)
def test_just_enough_passes(comparison: dict[str, Any], champion: str, thresholds: InstructGate) -> None:
    assert decide(evaluation(comparison, champion=champion), thresholds)["decision"] == "pass"


def test_a_difference_by_chance_is_not_significant() -> None:
    verdict = decide(evaluation(against("base", "token_f1", 0.01, -0.02)), InstructGate())
    assert "not significantly different" in verdict["sentence"]
