"""The words of a verdict are those of the gate, whoever shows them."""

from __future__ import annotations

from typing import Any

import pytest

from clinadapt.config.instruct import InstructGate
from clinadapt.documents.verdict import checks, headline, loosened, reasons
from components.evaluate.gate.checks import Check, verdict

PASSED = Check("few contradicted claims", True, "1.0% (upper end 2.0%)")
FAILED = Check("few wrong refusals", False, "9.0% (upper end 12.0%)")
OPEN = Check("exactly right answers", False, "70.0% (lower end 44.0%)", 250)
OFF = Check("few missed refusals", True, "the profile does not require it", judged=False)


@pytest.mark.parametrize(
    ("given", "thresholds", "words", "more"),
    [
        ([PASSED], {}, "Passed the gate", ""),
        ([PASSED, OFF], {"max_missed_refusals": 1}, "Passed a loosened gate", "One of the default checks is switched"),
        ([PASSED, FAILED, OPEN], {}, "Failed the gate", ", check 'few wrong refusals'"),
        ([PASSED, OPEN], {}, "Not enough evidence", ": 250 more held-out notes are needed for 'exactly right"),
        ([OPEN], {"max_unsupported": 1}, "Not enough evidence", ": 250 more held-out notes are needed for"),
    ],
)
def test_the_decision_is_said_once(given: list[Check], thresholds: dict[str, Any], words: str, more: str) -> None:
    record = verdict(given, "", InstructGate.model_validate(thresholds))
    assert headline(record) == words and record["outcome"].startswith(words)
    assert f"{words}." not in reasons(record) and more in reasons(record)
    assert not reasons(record) if not more else True


def test_what_did_not_pass_comes_first_and_says_what_it_lacks() -> None:
    lines = list(checks(verdict([PASSED, OFF, OPEN, FAILED], "", InstructGate())))
    assert [(line.name, line.result) for line in lines] == [
        ("Exactly right answers", "not enough evidence"),
        ("Few wrong refusals", "failed"),
        ("Few contradicted claims", "passed"),
    ]
    assert lines[0].detail == "70.0% (lower end 44.0%); 250 more held-out notes are needed"
    assert "needed" not in lines[1].detail


def test_more_notes_than_can_be_had_are_told_as_such() -> None:
    (line,) = checks(verdict([OPEN._replace(more_notes=1_000_000)], "", InstructGate()))
    assert line.detail.endswith("over 1,000,000 more held-out notes are needed")


def test_records_of_earlier_releases_are_read() -> None:
    """They had sentences instead of outcomes, values instead of rows, and no word on what was not judged."""
    old = {"decision": "pass", "sentence": "Passed.", "checks": [{"name": "x", "passed": True, "detail": ""}],
           "loosened": {"max_unsupported": 0.3}}  # fmt: skip
    assert (headline(old), reasons(old)) == ("Passed a loosened gate", "Passed.")
    assert loosened(old) == [("max_unsupported", "stricter", "0.3")]
    assert [line.result for line in checks(old)] == ["passed"]
    (line,) = checks({"decision": "fail", "checks": [{"name": "x", "passed": False, "detail": "y", "more_notes": 9}]})
    assert line.detail == "y; 9 more held-out notes are needed"
