"""The gate of the instruct recipe: checks pass and fail at their thresholds; what is not shown does not pass."""

from __future__ import annotations

from typing import Any

import pytest

from clinadapt.config.classify import ClassifyGate
from clinadapt.config.instruct import InstructGate
from clinadapt.documents.verdict import OFF, loosened_sentence
from components.evaluate.gate.champion_checks import Standing
from components.evaluate.gate.checks import exact_upper
from components.evaluate.gate.instruct import decide
from components.evaluate.gate.loosened import MEANINGS, loosened_rows

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
    low, high = max(0.0, value - half), min(1.0, value + half)
    return {"value": value, "low": low, "high": high, "clusters": clusters, "of": clusters}


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
        "base": {"metrics": {"token_f1": share(0.1), "unsupported": share(0.3), "wrong_refusals": share(0.002)}},
        "champion": {"metrics": {"token_f1": share(0.44)}},
    }
    return {
        "rows": 800,
        "notes": 200,
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
    assert (verdict["outcome"], verdict["loosened"]) == ("Passed the gate.", {})


def test_the_result_counts_what_a_clinician_asks_first_and_says_what_became_worse() -> None:
    sentences = decide(evaluation(exact_match=share(0.625, 8)), InstructGate())["result"].split(". ")
    assert sentences == [
        "The adapter answered 800 questions about 200 held-out notes",
        "Answers with a claim that the note does not support (doses, tests, dates, sides, negations), contradicted "
        "ones included: 60 of 2,000 (3.0%; base model 600; reference answers, by the same check, 40)",
        "Refused, though the note answers the question: 20 of 2,000 (1.0%; up from the base model's 4)",
        "Token F1, the overlap with the words of the reference answers: 54.0 of 100 (base model 10.0).",
    ]
    given = evaluation(exact_match=share(0.625, 8))
    given["models"]["base"]["metrics"] |= {"exact_match": share(0.75, 8), "correct_refusals": share(0.2)}
    result = decide(given, InstructGate())["result"]
    assert "Exactly right, of the answers that can be checked: 5 of 8 (62%; down from the base model's 6)." in result
    assert "Answered, though the note does not answer the question: 100 of 2,000 (5.0%; base model 1,600)." in result


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
    assert f"Failed the gate, check '{reason}'" in verdict["outcome"]


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
    assert f"Not enough evidence: {check['more_notes']:,} more held-out notes are needed" in verdict["outcome"]


def test_it_says_how_many_other_checks_did_not_pass() -> None:
    bad, open_ = {"wrong_refusals": share(0.1)}, {"exact_match": share(0.6, clusters=30)}
    outcomes = [decide(evaluation(**given), InstructGate())["outcome"] for given in (bad, bad | open_, open_)]
    assert ["1 other check did not pass either." in outcome for outcome in outcomes] == [False, True, False]
    worse = bad | open_ | {"contradicted": share(0.2)}
    assert decide(evaluation(**worse), InstructGate())["outcome"].endswith("2 other checks did not pass either.")


def test_as_many_notes_as_it_asks_for_are_enough() -> None:
    given = evaluation(unsupported=share(0.05, clusters=60)) | {"notes": 60}
    (check,) = [check for check in decide(given, InstructGate())["checks"] if not check["passed"]]
    more = evaluation(unsupported=share(0.05, clusters=60 + check["more_notes"]))
    assert decide(more, InstructGate())["decision"] == "pass"


def test_where_only_a_part_was_evaluated_it_says_so() -> None:
    given = evaluation(unsupported=share(0.05, clusters=60))
    more = "Only 800 of 1,904 held-out instructions were asked: raise evaluation.rows_per_task first."
    partly = decide(given | {"held_out_rows": 1904}, InstructGate())
    assert more in partly["outcome"] and partly["next"].startswith(more)
    assert "Only" not in decide(given | {"held_out_rows": 800}, InstructGate())["outcome"]
    assert "Only" not in decide(evaluation() | {"held_out_rows": 1904}, InstructGate())["outcome"]


def test_none_of_twenty_may_still_be_a_sixth() -> None:
    assert exact_upper(0, 20) == pytest.approx(0.168, abs=0.001)
    assert exact_upper(1, 20) == 1


def test_a_profile_that_loosens_a_threshold_says_so() -> None:
    verdict = decide(evaluation(unsupported=share(0.2)), InstructGate(max_unsupported=0.3, min_exact_match=0.6))
    assert verdict["decision"] == "pass"
    meaning = "Answers with a claim that the note does not support"
    row = {"meaning": meaning, "default": "at most 10\u202f%", "here": "at most 30\u202f%"}
    assert verdict["loosened"] == {"max_unsupported": row}
    assert verdict["outcome"] == (
        "Passed a loosened gate. One of the default checks is weaker in this profile, so this verdict is no evidence "
        "of safe use."
    )
    assert all(check["judged"] for check in verdict["checks"][:6])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, ""),
        ({"task_margin": 1}, "One of the default checks is switched off in this profile"),
        ({"max_unsupported": 0.2, "gain_over_base": -0.1}, "Two of the default checks are weaker in this profile"),
        (
            {"max_contradicted": 1, "min_exact_match": 0, "champion_margin": 0.1},
            "Two of the default checks are switched off and one is weaker in this profile",
        ),
        (
            {"gain_over_base": -1, "audited_repeats": 4},
            "One of the default checks is switched off and one is weaker in",
        ),
    ],
)
def test_it_counts_what_is_switched_off_apart_from_what_is_weaker(given: dict[str, Any], sentence: str) -> None:
    rows = loosened_rows(InstructGate.model_validate(given))
    assert loosened_sentence(rows, passed=False).startswith(sentence) and bool(rows) == bool(sentence)
    assert loosened_sentence(rows, passed=True).endswith("no evidence of safe use." if rows else "")


@pytest.mark.parametrize("name", sorted({*InstructGate.model_fields, *ClassifyGate.model_fields} - {"approval"}))
def test_a_check_is_called_switched_off_where_nothing_can_fail_it(name: str) -> None:
    """Every threshold has a meaning; one that is switched off here is not required by the gate."""
    assert MEANINGS[name]
    recipe = InstructGate if name in InstructGate.model_fields else ClassifyGate
    least = {"min_": 0, "gain": -1}.get(name[:4], 1)
    rows = loosened_rows(recipe.model_validate({name: least}))
    assert (rows[name]["here"] == OFF) == (name != "audited_repeats")


def test_what_is_switched_off_is_not_called_passed() -> None:
    verdict = decide(evaluation(unsupported=share(0.9)), InstructGate(max_unsupported=1))
    (check,) = [check for check in verdict["checks"] if not check["judged"] and check["name"].startswith("few")]
    assert check["passed"] and check["detail"] == "the profile does not require it"


@pytest.mark.parametrize(
    ("comparison", "standing", "decision"),
    [
        (against("champion", 0.02, 0.01), SEEN, "pass"),
        (against("champion", 0.0, 0.005), SEEN, "fail"),  # as good, and trained on the same data
        (against("champion", 0.0, 0.005), NEW, "pass"),
        (against("champion", 0.0, 0.005), None, "fail"),
        (against("champion", -0.03, 0.005), NEW, "fail"),
        (against("champion", 0.0, 0.05), NEW, "not enough evidence"),
        (against("champion", 0.0, 0.25, clusters=13), NEW, "not enough evidence"),  # level, but of few notes
        (against("champion", -0.019, 0.05), NEW, "not enough evidence"),
        (against("champion", 0.001, 0.05), SEEN, "not enough evidence"),
        (against("champion", 0.0, 0.005), Standing(True, 0.5), "fail"),  # the best champion had 50, this one 44
        (against("champion", 0.0, 0.005), Standing(True, 0.45), "pass"),
        (against("champion", 0.1, 0.005), Standing(True, 0.7), "pass"),  # better than the present champion
    ],
)
def test_who_replaces_a_champion(comparison: dict[str, Any], standing: Standing | None, decision: str) -> None:
    assert decide(evaluation(comparison, champion="v1"), InstructGate(), standing)["decision"] == decision
