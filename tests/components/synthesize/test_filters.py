"""Quality filters on the replies of a language model."""

from __future__ import annotations

import pytest

from clinadapt.llm_client import Reply
from components.synthesize.filters import answer_flaw, flaw, note_flaw


def reply(text: str, truncated: bool = False) -> Reply:
    return Reply(text=text, truncated=truncated)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("As an AI, I cannot say.", "speaks of being an AI"),
        ("I'm an AI assistant.", "speaks of being an AI"),
        ("As a large language model I may err.", "speaks of being an AI"),
        ("ECHO: mild AI and MR.", None),
        ("She takes an AI (letrozole).", None),
        ("...", "empty"),
        ("", "empty"),
        ("Cough.", None),
    ],
)
def test_a_reply_that_speaks_of_itself_or_of_nothing(text: str, expected: str | None) -> None:
    assert flaw(reply(text)) == expected
    assert flaw(reply("Cough and", truncated=True)) == "truncated at max_tokens"


def test_an_answer_ends_in_no_question() -> None:
    assert answer_flaw(reply('Cough. "Anything else?"'), "Cough.", "What?") == "ends in a question"
    assert answer_flaw(reply("Cough? Yes."), "Cough.", "What?") is None


@pytest.mark.parametrize(
    "added", ["Metoprolol 25 mg was given.", "Seen on 03/14/2019.", "WBC 14.2.", "Given warfarin."]
)
def test_a_note_adds_no_fact(added: str) -> None:
    case = "A 61-year-old man took aspirin 81 mg for chest pain on 02/11/2018."
    assert note_flaw(reply("1. 61 y/o M, CP since 02/11/2018\n2) on aspirin 81 mg"), case) is None
    assert note_flaw(reply(f"61 y/o M on aspirin. {added}"), case) == "adds facts"


def test_an_answer_may_name_what_it_was_asked_for() -> None:
    asked = "Which dose of warfarin was given?"
    assert answer_flaw(reply("The note does not say that warfarin was given."), "Cough.", asked) is None
    assert answer_flaw(reply("Warfarin 5 mg."), "Cough.", asked) == "adds facts"
