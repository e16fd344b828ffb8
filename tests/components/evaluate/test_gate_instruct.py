"""The gate of the instruct recipe: checks pass and fail at their thresholds; what is not shown does not pass."""

from __future__ import annotations

from typing import Any

import pytest

from clinadapt.config.instruct import InstructGate
from components.evaluate.gate.champion_checks import Standing
from components.evaluate.gate.checks import exact_upper
from components.evaluate.gate.instruct import decide

MANY = 2000  # clusters
SEEN, NEW = Standing(False, None), Standing(True, None)


def against(
    other: str, difference: float, half: float = 0.01, task: str | None = None, clusters: int = MANY
) -> dict[str, Any]:
    return {
        "a": "candidate", "b": other, "metric": "token_f1", "task": task, "difference": difference,
        "clusters": clusters, "low": difference - half, "high": difference + half, "p": 0.001, "p_worse": 1.0,
    }  # fmt: skip


def share(value: float, clusters: int = MANY) -> dict[str, Any]:
    half = 2 * (value * (1 - value) / clusters) ** 0.5
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "clusters": clusters}


def evaluation(*comparisons: dict[str, Any], champion: str = "", **metrics: Any) -> dict[str, Any]:
    """An adapter that is good at everything, but for the comparisons and metrics given."""
    usual = [against("base", 0.4), against("base", 0.3, task="Summarization")]
    usual += [against("champion", 0.1)] if champion else []
    merged = {(c["b"], c["task"]): c for c in [*usual, *comparisons]}
    good = {
        "token_f1": share(0.54), "contradicted": share(0.01), "unsupported": share(0.03), "wrong_refusals": share(0.01),
        "correct_refusals": share(0.95), "exact_match": share(0.8),
    }  # fmt: skip
    models = {
        "candidate": {"metrics": {name: value for name, value in (good | metrics).items() if value}, "per_task": {}},
        "base": {"metrics": {"token_f1": share(0.1), "unsupported": share(0.3)}},
        "champion": {"metrics": {"token_f1": share(0.44)}},
    }
    return {
        "rows": 800,
        "tasks": {"Summarization": 800},
        "subgroups": [],
        "models": models,
        "comparisons": list(merged.values()),
        "champion_version": champion,
        "reference": {"unsupported": share(0.02)},
    }


def failed(verdict: dict[str, Any]) -> list[str]:
    return [check["name"] for check in verdict["checks"] if not check["passed"]]


def test_a_good_adapter_passes() -> None:
    verdict = decide(evaluation(), InstructGate())
    assert (verdict["decision"], failed(verdict)) == ("pass", [])
    for part in ("On 800 held-out", "token F1 54.0 against 10.0", "3.0%", "base model 30.0%", "reference answers 2.0%"):
        assert part in verdict["sentence"]
    assert verdict["sentence"].endswith("Passed the gate.") and verdict["loosened"] == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (evaluation(against("base", -0.1)), "higher token F1 than the base model"),
        (evaluation(against("base", -0.1, task="Summarization")), "not worse than the base model in Summarization"),
        (evaluation(contradicted=share(0.06)), "few contradicted claims"),
        (evaluation(unsupported=share(0.2)), "few unsupported claims"),
        (evaluation(wrong_refusals=share(0.1)), "few wrong refusals"),
        (evaluation(correct_refusals=share(0.7)), "few missed refusals"),
        (evaluation(exact_match=share(0.1)), "exactly right answers"),
    ],
)
def test_one_check_is_enough_to_fail(given: dict[str, Any], reason: str) -> None:
    verdict = decide(given, InstructGate())
    assert (verdict["decision"], failed(verdict)) == ("fail", [reason])
    assert f"Failed the gate, check '{reason}'" in verdict["sentence"]


@pytest.mark.parametrize(
    "given",
    [
        evaluation(against("base", 0.1, half=0.12)),
        evaluation(contradicted=share(0.0, clusters=40)),
        evaluation(unsupported=share(0.06, clusters=60)),
        evaluation(exact_match=share(0.6, clusters=30)),
        evaluation(correct_refusals=None),
        evaluation(exact_match=None),
        evaluation(against("base", 0.4, half=0.01, clusters=6)),
    ],
)
def test_a_wide_interval_is_no_evidence_and_the_gate_asks_for_notes(given: dict[str, Any]) -> None:
    verdict = decide(given, InstructGate())
    assert verdict["decision"] == "not enough evidence"
    (check,) = [check for check in verdict["checks"] if not check["passed"]]
    assert check["more_notes"] > 0
    assert f"Not enough evidence: {check['more_notes']:,} more held-out notes are needed" in verdict["sentence"]


def test_as_many_notes_as_it_asks_for_are_enough() -> None:
    verdict = decide(evaluation(unsupported=share(0.05, clusters=60)), InstructGate())
    (check,) = [check for check in verdict["checks"] if not check["passed"]]
    more = evaluation(unsupported=share(0.05, clusters=60 + check["more_notes"]))
    assert decide(more, InstructGate())["decision"] == "pass"


def test_none_of_twenty_may_still_be_a_sixth() -> None:
    assert exact_upper(0, 20) == pytest.approx(0.168, abs=0.001)
    assert exact_upper(1, 20) == 1


def test_a_profile_that_loosens_a_threshold_says_so() -> None:
    verdict = decide(evaluation(unsupported=share(0.2)), InstructGate(max_unsupported=0.3, min_exact_match=0.6))
    assert verdict["decision"] == "pass"
    assert verdict["loosened"] == {"max_unsupported": 0.3}
    assert verdict["sentence"].endswith("The profile loosened the default thresholds: max_unsupported 0.3.")


@pytest.mark.parametrize(
    ("comparison", "standing", "decision"),
    [
        (against("champion", 0.02, 0.01), SEEN, "pass"),
        (against("champion", 0.0, 0.005), SEEN, "fail"),  # as good, and trained on the same data
        (against("champion", 0.0, 0.005), NEW, "pass"),
        (against("champion", 0.0, 0.005), None, "fail"),
        (against("champion", -0.03, 0.005), NEW, "fail"),
        (against("champion", 0.0, 0.05), NEW, "not enough evidence"),
        (against("champion", 0.0, 0.005), Standing(True, 0.5), "fail"),  # the best champion had 50, this one 44
        (against("champion", 0.0, 0.005), Standing(True, 0.45), "pass"),
        (against("champion", 0.1, 0.005), Standing(True, 0.7), "pass"),  # better than the present champion
    ],
)
def test_who_replaces_a_champion(comparison: dict[str, Any], standing: Standing | None, decision: str) -> None:
    assert decide(evaluation(comparison, champion="v1"), InstructGate(), standing)["decision"] == decision
