"""Quality filters on the replies of a language model."""

from __future__ import annotations

import pytest

from clinadapt.llm_client import Reply
from components.synthesize.filters import (
    answer_flaw,
    flaw,
    note_flaw,
    question_flaw,
    quote_flaw,
    quoted_spans,
    refusal_flaw,
)

QA = "Question Answering"


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
    assert answer_flaw(reply('Cough. "Anything else?"'), "Cough.", "What?", QA) == "ends in a question"
    assert answer_flaw(reply("Cough? Yes."), "Cough. Yes.", "What?", QA) is None


@pytest.mark.parametrize(
    "added", ["Metoprolol 25 mg was given.", "Seen on 03/14/2019.", "WBC 14.2.", "Given warfarin."]
)
def test_a_note_adds_no_fact(added: str) -> None:
    case = "A 61-year-old man took aspirin 81 mg for chest pain on 02/11/2018."
    assert note_flaw(reply("1. 61 y/o M, CP since 02/11/2018\n2) on aspirin 81 mg"), case) is None
    assert note_flaw(reply(f"61 y/o M on aspirin. {added}"), case) == "adds facts"


def test_an_answer_may_name_what_it_was_asked_for() -> None:
    asked = "Which dose of warfarin was given?"
    assert answer_flaw(reply("The note does not say that warfarin was given."), "Cough.", asked, QA) is None
    assert answer_flaw(reply("Warfarin 5 mg."), "Cough.", asked, QA) == "adds facts"


NOTE = """58 y/o RHF, HTN and CAD. Awoke with left hemiplegia, which cleared within 15 minutes. No chest pain.
She was given IV fluids; a CT of the head was "unremarkable". Her son's letter is at hand. SpO2 98%."""


@pytest.mark.parametrize(
    ("question", "task", "expected"),
    [
        ('What does "she" mean in "She was given IV fluids"?', "Coreference Resolution", None),
        ('Say in plain words: "No chest pain. She was given IV fluids; a CT"', "Paraphrasing", None),
        ("What does “which cleared  within 15 minutes” say of?", "Coreference Resolution", None),
        ("Whom does 'her' mean in 'Her son's letter is at hand'?", "Coreference Resolution", None),
        ("What does the patient's son's letter say?", QA, None),
        ('What does "it" mean in "It was painful"?', "Coreference Resolution", "quotes what the note does not say"),
        ("Who is meant by 'the doctor'?", "Coreference Resolution", "quotes what the note does not say"),
        ("What is the patient's name?", "Coreference Resolution", "quotes nothing"),
        ("What do HTN and CAD stand for?", "Abbreviation Expansion", None),
        ("What does y/o mean?", "Abbreviation Expansion", None),
        ("What does SpO2 mean?", "Abbreviation Expansion", None),
        ("What does CABG stand for?", "Abbreviation Expansion", "names no abbreviation of the note"),
        ("Which abbreviations are used in this note?", "Abbreviation Expansion", "names no abbreviation of the note"),
        ("", QA, "empty"),
    ],
)
def test_a_question_about_what_is_in_the_note(question: str, task: str, expected: str | None) -> None:
    assert question_flaw(reply(question), NOTE, task) == expected


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("What do HTN and CAD stand for?", "HTN: hypertension\nCAD: coronary artery disease", None),
        ("What do HTN and CAD stand for?", "HTN stands for hypertension; CAD means coronary artery disease.", None),
        ("What does IV stand for?", "Intravenous", None),
        ("What does RHF stand for?", '"RHF" stands for right-handed female.', None),
        ("What does CT stand for?", "CT is short for computed tomography.", None),
        ("What does CAD stand for?", "CAD: the other unit", "does not expand the abbreviation"),
        ("What does HTN stand for?", "HTN: a blood test", "does not expand the abbreviation"),
        ("What do HTN and CAD stand for?", "HTN: hypertension", "does not expand the abbreviation"),
        ("What does HTN stand for?", "HTN is HTN.", "does not expand the abbreviation"),
    ],
)
def test_an_abbreviation_is_expanded_by_its_letters(question: str, answer: str, expected: str | None) -> None:
    assert answer_flaw(reply(answer), NOTE, question, "Abbreviation Expansion") == expected


@pytest.mark.parametrize(
    ("answer", "task", "expected"),
    [
        ("The left hemiplegia cleared within 15 minutes.", QA, None),
        ("- left hemiplegia\n- HTN\n- coronary artery disease", "Named Entity Recognition", None),
        ("- HTN\n- walking frame", "Named Entity Recognition", "adds words that the note does not have"),
        ("The ambulance crew lifted her onto a stretcher.", QA, "adds words that the note does not have"),
        ("She has chest pain.", QA, "states what the note does not support"),
        ("The right hemiplegia cleared.", QA, "states what the note does not support"),
        ("Awoke with left hemiplegia, which cleared within 15 minutes.", "Paraphrasing", "copies the note"),
        ("On waking, the left half of the body did not move; this passed within 15 minutes.", "Paraphrasing", None),
        ("The note does not mention a stroke team.", QA, None),
    ],
)
def test_an_answer_says_what_the_note_says(answer: str, task: str, expected: str | None) -> None:
    assert answer_flaw(reply(answer), NOTE, "What happened?", task) == expected


def test_a_list_of_drugs_names_drugs() -> None:
    note = "Home drugs: warfarin, iron and Zyloprim. Drug exposure in utero. IV hydration. Rash, no fever."
    asked = "Which drugs does the note name?"
    for answer, expected in (("- Warfarin\n- iron\n- Zyloprim", None), ("- drug exposure", "lists what is no drug")):
        assert answer_flaw(reply(answer), note, asked, "Named Entity Recognition") == expected
    assert answer_flaw(reply("- rash"), note, "Which symptoms does the note name?", "Named Entity Recognition") is None


def test_question_and_answer_agree_on_whether_the_note_answers() -> None:
    assert refusal_flaw("The note does not say.", beyond=True) is None is refusal_flaw("Cough.", beyond=False)
    assert refusal_flaw("The note does not say.", beyond=False) == "refuses what the note should answer"
    assert refusal_flaw("Cough.", beyond=True) == "answers what the note should not answer"


@pytest.mark.parametrize(
    ("quote", "spans"),
    [
        ("No chest pain.", ["No chest pain."]),
        ('- "no  chest pain"\n\n- her son’s letter', ["No chest pain.", "Her son's letter is at hand."]),
        ("given IV fluids", ['She was given IV fluids; a CT of the head was "unremarkable".']),
        ("58 y/o RHF\nSpO2 98", ["58 y/o RHF, HTN and CAD.", "SpO2 98%."]),
        ("No chest pain.\nShe was given heparin.", []),
        ("o chest pain", []),
        ("", []),
    ],
)
def test_a_quote_stands_in_the_note(quote: str, spans: list[str]) -> None:
    assert [NOTE[start:end] for start, end in quoted_spans(quote, NOTE)] == spans


def test_a_quote_holds_the_answer() -> None:
    asked, evidence = (
        "How long did the hemiplegia last?",
        "Awoke with left hemiplegia, which cleared within 15 minutes.",
    )
    assert quote_flaw(evidence, "The hemiplegia cleared within 15 minutes.", asked) is None
    assert quote_flaw(evidence, "The hemiplegia lasted until 5 PM on that day.", asked) == "does not hold the answer"
    assert quote_flaw("", "15 minutes.", asked) == "not in the note"
    assert quote_flaw("The rash lasted three days.", "Three days.", "When did she fall?") == "about something else"
    assert quote_flaw("HTN and CAD.", "Coronary artery disease.", "What does she have beside HTN?") is None
