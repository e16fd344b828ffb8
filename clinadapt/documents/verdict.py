"""The verdict of a gate in words: the same in the report, in `registry show` and on the page where people approve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

NOT_ENOUGH = "not enough evidence"
NOTES = "held-out notes"  # what is lacking where nothing else is said, as in verdicts of earlier releases
UNRECORDED = "Not recorded: an earlier release published this version, see its report."
MOST = 1_000_000  # held-out notes that a check asks for, where more would be needed, or any number is too few

Verdict = Mapping[str, Any]  # content of verdict.json


class CheckLine(NamedTuple):
    """A check: its name, what came of it, and the figures."""

    name: str
    result: str
    detail: str


def headline(verdict: Verdict) -> str:
    """The decision: `Passed a loosened gate`."""
    if verdict["decision"] == "pass":
        return f"Passed {'a loosened' if verdict.get('loosened') else 'the'} gate"
    return "Failed the gate" if verdict["decision"] == "fail" else NOT_ENOUGH.capitalize()


def reasons(verdict: Verdict) -> str:
    """What the outcome says beside the decision; empty for a version that passed the default gate."""
    outcome = str(verdict.get("outcome") or verdict.get("sentence", ""))
    return outcome.removeprefix(f"{headline(verdict)}.").strip()


def loosened(verdict: Verdict) -> list[tuple[str, str, str]]:
    """What each threshold that the profile loosened is about, its default, and what it is here."""
    rows = verdict.get("loosened", {}).items()
    return [
        (row["meaning"], row["default"], row["here"]) if isinstance(row, Mapping) else (name, "stricter", str(row))
        for name, row in rows  # a version of an earlier release has only the values
    ]


def checks(verdict: Verdict) -> Iterator[CheckLine]:
    """Every check that something was held against, those first that did not pass."""
    judged = [check for check in verdict["checks"] if check.get("judged", True)]
    for check in sorted(judged, key=lambda check: check["passed"]):
        lacking = (
            f"; {asked_for(check['more_notes'], check.get('lacking', NOTES))}" if result(check) == NOT_ENOUGH else ""
        )
        yield CheckLine(check["name"][:1].upper() + check["name"][1:], result(check), f"{check['detail']}{lacking}")


def result(check: Mapping[str, Any]) -> str:
    """What came of a check: `passed`, `failed`, `not enough evidence`, or `not checked`."""
    if not check["passed"]:
        return NOT_ENOUGH if check.get("more_notes") else "failed"
    return "passed" if check.get("judged", True) else "not checked"


def asked_for(number: int, what: str) -> str:
    """What a check without enough evidence asks for: `250 more held-out notes are needed`."""
    return f"{'over ' if number >= MOST else ''}{number:,} more {what} are needed"
