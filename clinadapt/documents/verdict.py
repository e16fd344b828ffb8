"""The verdict of a gate in words: the same in the report, in `registry show` and on the page where people approve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

NOT_ENOUGH = "not enough evidence"
NOTES = "held-out notes"  # what is lacking where nothing else is said, as in verdicts of earlier releases
UNRECORDED = "Not recorded: an earlier release published this version, see its report."
MOST = 1_000_000  # held-out notes that a check asks for where no number can show it, as none shows that a share is 0
OFF = "switched off"  # a threshold that no candidate fails
REASONS = 3  # that a verdict begins with
_NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]

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


def summary(verdict: Verdict) -> str:
    """What the decision means and what it rests on: `Not published: of 14 checks, 2 failed.`"""
    counts = Counter(result(check) for check in verdict["checks"] if check.get("judged", True))
    passed, rows = verdict["decision"] == "pass", verdict.get("loosened", {})
    failed, lacking, total = counts["failed"], counts[NOT_ENOUGH], counts.total()
    parts = [f"{failed} failed"] if failed else []
    parts += [f"{lacking} need{'s' if lacking == 1 else ''} more evidence"] if lacking else []
    text = f"All {total} checks passed." if passed else f"Not published: of {total} checks, {' and '.join(parts)}."
    weaker = loosened_sentence(rows, passed)
    return weaker if passed and weaker else f"{text} {weaker}".strip()


def reasons_first(verdict: Verdict) -> list[CheckLine]:
    """What a reader has to know of the decision, of which the first REASONS are enough: checks that did not pass; of a
    version that passed what the profile loosened, bounds on its answers first; else all checks."""
    lines = list(checks(verdict))
    if verdict["decision"] != "pass":
        lines = [line for line in lines if line.result != "passed"]
    elif verdict.get("loosened"):
        absolute = sorted(verdict["loosened"].items(), key=lambda row: not row[0].startswith(("max_", "min_")))
        rows = loosened({"loosened": dict(absolute)})
        lines = [CheckLine(name, here, f"by default {default}") for name, default, here in rows]
    return lines


def loosened_sentence(rows: Mapping[str, Any], passed: bool) -> str:
    """How many checks are switched off or weaker and, of a verdict that passed, what it is worth; empty for none.

    Args:
        rows: `loosened` of the verdict; a version of an earlier release has only the values.
        passed: whether its checks passed.
    """
    if not rows:
        return ""
    off = sum(isinstance(row, Mapping) and row["here"] == OFF for row in rows.values())
    kinds = [(number, how) for number, how in ((off, OFF), (len(rows) - off, "weaker")) if number]
    (number, how), *rest = kinds
    text = f"{_count(number).capitalize()} of the default checks {_are(number)} {how}"
    text += "".join(f" and {_count(number)} {_are(number)} {how}" for number, how in rest)
    return f"{text} in this profile{', so this verdict is no evidence of safe use' if passed else ''}."


def _count(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def loosened(verdict: Verdict) -> list[tuple[str, str, str]]:
    """What each threshold that the profile loosened is about, its default, and what it is here."""
    rows = verdict.get("loosened", {}).items()
    return [
        (row["meaning"], row["default"], row["here"]) if isinstance(row, Mapping) else (name, "stricter", str(row))
        for name, row in rows  # a version of an earlier release has only the values
    ]


def checks(verdict: Verdict) -> Iterator[CheckLine]:
    """Every check that something was held against: those first that failed, then those without enough evidence, of
    which the one that lacks most is the first."""
    judged = [check for check in verdict["checks"] if check.get("judged", True)]
    order = ["failed", NOT_ENOUGH, "passed"]
    for check in sorted(judged, key=lambda check: (order.index(result(check)), -check.get("more_notes", 0))):
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
    return f"no number of {what} can show it" if number >= MOST else f"{number:,} more {what} are needed"
