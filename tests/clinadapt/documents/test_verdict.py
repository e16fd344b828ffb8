"""The words of a verdict are those of the gate, whoever shows them."""

from __future__ import annotations

from typing import Any

import pytest

from clinadapt.config.instruct import InstructGate
from clinadapt.documents.verdict import checks, headline, loosened, reasons, reasons_first, summary
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
        ("Few wrong refusals", "failed"),
        ("Exactly right answers", "not enough evidence"),
        ("Few contradicted claims", "passed"),
    ]
    assert lines[1].detail == "70.0% (lower end 44.0%); 250 more held-out notes are needed"
    assert "needed" not in lines[0].detail


@pytest.mark.parametrize(
    ("given", "thresholds", "text", "names", "next_step"),
    [
        ([PASSED, PASSED._replace(name="other")], {}, "All 2 checks passed.", ["Few contradicted claims", "Other"],
         "Before it is used, read below"),
        ([PASSED, OFF], {"champion_margin": 0.5, "max_missed_refusals": 1},
         "One of the default checks is switched off and one is weaker in this profile, so this verdict is no evidence "
         "of safe use.",
         ["Answers to questions that the note does not answer", "How far it may be behind the version in use, if it "
          "was trained on other data"], "Try it out, but not in care"),
        ([PASSED, OPEN, FAILED], {}, "Not published: of 3 checks, 1 failed and 1 needs more evidence.",
         ["Few wrong refusals", "Exactly right answers"], "Leave the version in use as it is. Look at what"),
        ([OPEN, OPEN._replace(name="another", more_notes=1200)], {"max_unsupported": 1},
         "Not published: of 2 checks, 2 need more evidence. One of the default checks is switched off in this "
         "profile.", ["Another", "Exactly right answers"],
         "Leave the version in use as it is. Add 1,200 held-out notes or more, and run again."),
        ([PASSED, OPEN._replace(more_notes=1_000_000)], {}, "Not published: of 2 checks, 1 needs more evidence.",
         ["Exactly right answers"],
         "Choose another threshold in the profile: no number of held-out notes can show it."),
    ],
    ids=["passed", "loosened", "failed", "notes", "none"],
)  # fmt: skip
def test_a_reader_sees_what_it_means_why_and_what_to_do(
    given: list[Check], thresholds: dict[str, Any], text: str, names: list[str], next_step: str
) -> None:
    record = verdict(given, "", InstructGate.model_validate(thresholds))
    assert summary(record) == text and [line.name for line in reasons_first(record)] == names
    assert record["next"].startswith(next_step)


def test_what_no_number_of_notes_can_show_is_told_as_such() -> None:
    (line,) = checks(verdict([OPEN._replace(more_notes=1_000_000)], "", InstructGate()))
    assert line.detail.endswith("; no number of held-out notes can show it")


def test_records_of_earlier_releases_are_read() -> None:
    """They had sentences instead of outcomes, values instead of rows, and no word on what was not judged."""
    old = {"decision": "pass", "sentence": "Passed.", "checks": [{"name": "x", "passed": True, "detail": ""}],
           "loosened": {"max_unsupported": 0.3}}  # fmt: skip
    assert (headline(old), reasons(old)) == ("Passed a loosened gate", "Passed.")
    assert loosened(old) == [("max_unsupported", "stricter", "0.3")]
    assert [line.result for line in checks(old)] == ["passed"]
    (line,) = checks({"decision": "fail", "checks": [{"name": "x", "passed": False, "detail": "y", "more_notes": 9}]})
    assert line.detail == "y; 9 more held-out notes are needed"
