"""The gate of the instruct recipe: decide whether a candidate may be published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clinadapt.config.instruct import InstructGate
from clinadapt.documents.page import FEW, counted
from clinadapt.documents.verdict import NOT_ENOUGH
from components.evaluate.gate.champion_checks import Standing, champion_checks
from components.evaluate.gate.checks import Check, difference_above, share_at_least, share_at_most, verdict
from components.evaluate.gate.group_checks import no_worse_group
from components.evaluate.gate.memory import memory_check

# What the verdict counts first
_COUNTED = {
    "exact_match": "Exactly right, of the answers that can be checked",
    "contradicted": "Answers with a claim that the note contradicts",
    "unsupported": "Answers with a claim that the note does not support (doses, tests, dates, sides, negations), "
    "contradicted ones included",
    "wrong_refusals": "Refused, though the note answers the question",
    "missed_refusals": "Answered, though the note does not answer the question",
}


def decide(evaluation: dict[str, Any], thresholds: InstructGate, standing: Standing | None = None) -> dict[str, Any]:
    """Check an evaluation against the thresholds.

    Args:
        evaluation: content of evaluation.json.
        thresholds: of the profile.
        standing: of the champion; None where there is none.

    Returns:
        The verdict, see `components.evaluate.gate.checks.verdict`.
    """
    against = {(c["b"], c["metric"]): c for c in evaluation["comparisons"] if c["task"] is None}
    gain = against["base", "token_f1"]
    name, notes = "higher token F1 than the base model", evaluation["notes"]
    checks = [difference_above(name, "token F1", gain, thresholds.gain_over_base, notes)]
    checks += _absolute(evaluation["models"]["candidate"]["metrics"], thresholds, notes)
    checks += _tasks(evaluation, thresholds.task_margin)
    checks.append(_groups(evaluation, thresholds.group_margin))
    if "audit" in evaluation:
        checks.append(memory_check(evaluation["audit"], thresholds.audited_repeats))
    if evaluation["champion_version"]:
        margin = thresholds.champion_margin
        checks += champion_checks(evaluation, against.get(("champion", "token_f1")), "token_f1", margin, standing)
    decided = verdict(checks, _result(evaluation, gain), thresholds)
    held_out, rows = evaluation.get("held_out_rows", 0), evaluation["rows"]
    if decided["decision"] == NOT_ENOUGH and held_out > rows:
        first = f"Only {rows:,} of {held_out:,} held-out instructions were asked: raise evaluation.rows_per_task first."
        decided |= {"outcome": f"{decided['outcome']} {first}", "next": f"{first} {decided['next']}"}
    return decided


def _absolute(metrics: dict[str, Any], thresholds: InstructGate, notes: int) -> list[Check]:
    """Bounds on the candidate alone."""
    return [
        share_at_most(
            "few contradicted claims",
            "answers with a claim that the note contradicts",
            metrics.get("contradicted"),
            thresholds.max_contradicted,
            notes,
        ),
        share_at_most(
            "few unsupported claims",
            "answers with a claim that the note does not support",
            metrics.get("unsupported"),
            thresholds.max_unsupported,
            notes,
        ),
        share_at_most(
            "few wrong refusals",
            "refusals of questions that the note answers",
            metrics.get("wrong_refusals"),
            thresholds.max_wrong_refusals,
            notes,
        ),
        share_at_least(
            "few missed refusals",
            "refusals of questions that the note does not answer",
            metrics.get("correct_refusals"),
            1 - thresholds.max_missed_refusals,
            notes,
        ),
        share_at_least(
            "exactly right answers",
            "exactly right answers, where they can be checked",
            metrics.get("exact_match"),
            thresholds.min_exact_match,
            notes,
        ),
    ]


def _tasks(evaluation: dict[str, Any], margin: float) -> Iterator[Check]:
    """No task in which the adapter may be worse than its base model by more than the margin."""
    for comparison in evaluation["comparisons"]:
        if comparison["b"] == "base" and comparison["task"] and comparison["metric"] == "token_f1":
            name = f"not worse than the base model in {comparison['task']}"
            yield difference_above(name, "token F1", comparison, -margin, evaluation["notes"])


def _groups(evaluation: dict[str, Any], margin: float) -> Check:
    """No task, source, length of the note, sex or age with many more unsupported claims than all answers."""
    candidate = evaluation["models"]["candidate"]
    tasks = [
        {"by": "task", "group": task, "rows": rows, "metrics": metrics, "clusters": metrics["unsupported"]["clusters"]}
        for task, rows in evaluation["tasks"].items()
        if len(evaluation["tasks"]) > 1 and "unsupported" in (metrics := candidate["per_task"][task])
    ]
    return no_worse_group(
        [*tasks, *evaluation["subgroups"]],
        candidate["metrics"]["unsupported"],
        evaluation["rows"],
        "unsupported",
        "answers with a claim that the note does not support",
        margin,
        evaluation["notes"],
    )


def _result(evaluation: dict[str, Any], gain: dict[str, Any]) -> str:
    """What a clinician asks first, in counts beside the base model's; then token F1."""
    candidate, base = (_with_missed(evaluation["models"][name]["metrics"]) for name in ("candidate", "base"))
    lines = [f"The adapter answered {evaluation['rows']:,} questions about {evaluation['notes']:,} held-out notes."]
    reference = evaluation.get("reference", {})
    for name, what in _COUNTED.items():
        if name in candidate and name in base:
            faulted = f"; reference answers, by the same check, {_number(reference[name])}" if name in reference else ""
            lines.append(f"{what}: {_against(candidate[name], base[name], name == 'exact_match')}{faulted}).")
    relation = "" if gain["low"] > 0 or gain["high"] < 0 else ", not significantly different"
    scores = [f"{100 * metrics['token_f1']['value']:.1f}" for metrics in (candidate, base)]
    words = "Token F1, the overlap with the words of the reference answers"
    lines.append(f"{words}: {scores[0]} of 100 (base model {scores[1]}{relation}).")
    return " ".join(lines)


def _with_missed(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics with `missed_refusals`, what correct refusals leave."""
    refused = metrics.get("correct_refusals")
    return metrics | ({"missed_refusals": refused | {"value": 1 - refused["value"]}} if refused else {})


def _against(candidate: dict[str, float], base: dict[str, float], higher_is_better: bool) -> str:
    """`3 of 34 (8.8%; up from the base model's 1`, where that is for the worse."""
    share = f"{counted(candidate)} ({candidate['value']:.{0 if candidate['of'] < FEW else 1}%}"
    if candidate["value"] == base["value"] or (candidate["value"] > base["value"]) == higher_is_better:
        return f"{share}; base model {_number(base)}"
    return f"{share}; {'down' if higher_is_better else 'up'} from the base model's {_number(base)}"


def _number(entry: dict[str, float]) -> str:
    return counted(entry).partition(" ")[0]
