"""The gate of the instruct recipe: decide whether a candidate may be published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clinadapt.config.instruct import InstructGate
from components.evaluate.gate.champion_checks import Standing, champion_checks
from components.evaluate.gate.checks import Check, difference_above, share_at_least, share_at_most, verdict
from components.evaluate.gate.group_checks import no_worse_group
from components.evaluate.gate.memory import memory_check


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
    checks = [difference_above("higher token F1 than the base model", "token F1", gain, thresholds.gain_over_base)]
    checks += _absolute(evaluation["models"]["candidate"]["metrics"], thresholds)
    checks += _tasks(evaluation, thresholds.task_margin)
    checks.append(_groups(evaluation, thresholds.group_margin))
    if "audit" in evaluation:
        checks.append(memory_check(evaluation["audit"], thresholds.audited_repeats))
    if evaluation["champion_version"]:
        margin = thresholds.champion_margin
        checks += champion_checks(evaluation, against.get(("champion", "token_f1")), "token_f1", margin, standing)
    return verdict(checks, _result(evaluation, gain), thresholds.loosened())


def _absolute(metrics: dict[str, Any], thresholds: InstructGate) -> list[Check]:
    """Bounds on the candidate alone."""
    return [
        share_at_most(
            "few contradicted claims",
            "answers with a claim that the note contradicts",
            metrics.get("contradicted"),
            thresholds.max_contradicted,
        ),
        share_at_most(
            "few unsupported claims",
            "answers with a claim that the note does not support",
            metrics.get("unsupported"),
            thresholds.max_unsupported,
        ),
        share_at_most(
            "few wrong refusals",
            "refusals of questions that the note answers",
            metrics.get("wrong_refusals"),
            thresholds.max_wrong_refusals,
        ),
        share_at_least(
            "few missed refusals",
            "refusals of questions that the note does not answer",
            metrics.get("correct_refusals"),
            1 - thresholds.max_missed_refusals,
        ),
        share_at_least(
            "exactly right answers",
            "exactly right answers, where they can be checked",
            metrics.get("exact_match"),
            thresholds.min_exact_match,
        ),
    ]


def _tasks(evaluation: dict[str, Any], margin: float) -> Iterator[Check]:
    """No task in which the adapter may be worse than its base model by more than the margin."""
    for comparison in evaluation["comparisons"]:
        if comparison["b"] == "base" and comparison["task"] and comparison["metric"] == "token_f1":
            name = f"not worse than the base model in {comparison['task']}"
            yield difference_above(name, "token F1", comparison, -margin)


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
    )


def _result(evaluation: dict[str, Any], gain: dict[str, Any]) -> str:
    candidate, base = (evaluation["models"][name]["metrics"] for name in ("candidate", "base"))
    relation = "" if gain["low"] > 0 or gain["high"] < 0 else ", not significantly different"
    reference = evaluation.get("reference")
    written = f", reference answers {reference['unsupported']['value']:.1%}" if reference else ""
    return (
        f"On {evaluation['rows']} held-out instructions the adapter scores token F1 "
        f"{100 * candidate['token_f1']['value']:.1f} against {100 * base['token_f1']['value']:.1f} for its base model"
        f"{relation}; {candidate['unsupported']['value']:.1%} of its answers contain an unsupported claim (doses, "
        f"tests, dates, sides, negations; base model {base['unsupported']['value']:.1%}{written})."
    )
