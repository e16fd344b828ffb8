"""The rules teacher: answers are in their notes, no fact is added, and odd notes are accepted."""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support import MTSAMPLES

from clinadapt.clinical.doses import numbers
from clinadapt.clinical.drugs import drugs
from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.clinical.sections import one_line
from clinadapt.config.instruct import Synthesis
from clinadapt.data.builtin_cases import generate
from clinadapt.data.readers import read_rows
from clinadapt.data.schemas.instruct import TASKS
from components.synthesize import tasks
from components.synthesize.rules_teacher import RulesTeacher
from components.synthesize.teacher import Dropped, Text, Triple

REPORT = """A 64-year-old woman was brought in with crushing chest pain for 3 hours. She had a history of hypertension
and type 2 diabetes mellitus. Her medications were lisinopril 10 mg daily and metformin 500 mg twice daily.
On examination blood pressure was 150/90 and heart rate was 104. Troponin was 2.4. She underwent coronary
angiography without any complication. She was discharged after 4 days and returned for follow up in 2 weeks."""


def text(body: str, description: str | None = None) -> Text:
    return Text(0, 1, "notes", body, description, False)


@pytest.fixture(scope="module")
def cases() -> list[Text]:
    return [text(row["transcription"], row["description"]) for row in generate(300, seed=5)]


@pytest.fixture(scope="module")
def real() -> list[Text]:
    if not MTSAMPLES.exists():
        pytest.skip("needs ../shared/data")
    rows = {row["transcription"]: row["description"] for row in read_rows(MTSAMPLES, "mtsamples.csv.xz")}
    return [text(body, description) for body, description in list(rows.items())[:300] if body]


@pytest.fixture(scope="module", params=["built-in", "real"])
def generated(request: pytest.FixtureRequest) -> list[tuple[str, Triple]]:
    teacher = RulesTeacher(Synthesis())
    if request.param == "built-in":
        notes = [replace(case, text=teacher.note(case)) for case in request.getfixturevalue("cases")]
    else:
        notes = request.getfixturevalue("real")
    return [(note.text, triple) for note in notes for triple in teacher.triples(note).triples]


def test_every_task_module_is_registered() -> None:
    modules = {f"{tasks.__name__}.{module.name}" for module in pkgutil.iter_modules(tasks.__path__)}
    assert modules == {task.__name__ for task in tasks.TASKS}  # type: ignore[attr-defined]
    assert {task.TASK for task in tasks.TASKS} == set(TASKS)


def test_every_task_occurs_and_about_a_tenth_is_unanswerable(generated: list[tuple[str, Triple]]) -> None:
    counts = Counter(triple.task for _, triple in generated)
    assert set(counts) == set(TASKS)
    assert min(counts.values()) > 0.02 * len(generated)
    assert 0.06 < sum(not triple.answerable for _, triple in generated) / len(generated) < 0.14


def test_every_answerable_triple_has_spans_inside_the_note(generated: list[tuple[str, Triple]]) -> None:
    for note, triple in generated:
        assert bool(triple.spans) == triple.answerable
        assert all(0 <= start < end <= len(note) for start, end in triple.spans)


def test_extracted_answers_are_in_their_spans(generated: list[tuple[str, Triple]]) -> None:
    extractive = {"Named Entity Recognition", "Temporal Information Extraction", "Question Answering"}
    for note, triple in generated:
        if triple.task in extractive and triple.answerable:
            spans = [one_line(note[start:end]) for start, end in triple.spans]
            for part in triple.answer.split("; ") if triple.check == "set" else [triple.answer]:
                assert any(part in span for span in spans), (triple, spans)


def test_answers_add_no_fact(generated: list[tuple[str, Triple]]) -> None:
    expanded = {"Abbreviation Expansion", "Paraphrasing"}  # b.i.d. is two times a day
    for note, triple in generated:
        if triple.answerable and triple.task not in expanded:
            assert not unsupported_facts(triple.answer, note), triple


def test_unanswerable_content_is_not_in_the_note(generated: list[tuple[str, Triple]]) -> None:
    refused = [(note, triple) for note, triple in generated if not triple.answerable]
    for note, triple in refused:
        if match := re.fullmatch(r"The note does not mention (\w+)\.", triple.answer):
            assert match[1] not in drugs(note)
        elif match := re.fullmatch(r'The note does not use the abbreviation "(\w+)"\.', triple.answer):
            assert match[1] not in note
        elif "allergies" in triple.answer:
            assert "allerg" not in note.lower()
        elif "blood pressure" in triple.answer:
            assert not re.search(r"blood pressure|\bBP\b", note, re.IGNORECASE)
    assert refused


def test_notes_from_cases_and_narrative_reports_add_no_fact(cases: list[Text]) -> None:
    teacher = RulesTeacher(Synthesis())
    for case in [*cases, text(REPORT)]:
        note = teacher.note(case)
        assert not unsupported_facts(note, case.text)
        assert drugs(note) == drugs(case.text)
        assert numbers(note) <= numbers(case.text) | {fact.partition(" ")[0] for fact in numbers(case.text)}


def test_a_narrative_report_gets_headers() -> None:
    note = RulesTeacher(Synthesis()).note(text(REPORT))
    assert len(re.findall(r"(?im)(?:^|\. )[A-Z][A-Z ]+:", note)) >= 4
    assert note != REPORT


def test_the_same_seed_gives_the_same_and_another_seed_something_else(cases: list[Text]) -> None:
    one, same, other = RulesTeacher(Synthesis()), RulesTeacher(Synthesis()), RulesTeacher(Synthesis(seed=1))
    assert one.digest == same.digest != other.digest
    some = cases[:20]
    assert [one.note(case) for case in some] == [same.note(case) for case in reversed(some)][::-1]
    assert [one.triples(case) for case in some] == [same.triples(case) for case in reversed(some)][::-1]
    assert [one.triples(case) for case in some] != [other.triples(case) for case in some]


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_no_more_triples_than_the_limit(limit: int, cases: list[Text]) -> None:
    limited = [RulesTeacher(Synthesis(triples_per_note=limit)).triples(case).triples for case in cases[:30]]
    assert max(map(len, limited)) <= limit
    assert all(limited)


def odd() -> Iterator[str]:
    yield ""
    yield " \n\t"
    yield "\x00\x01 the patient \x07 denies fever, chills and cough.\x1b[0m"
    yield "المريض رجل يبلغ من العمر 55 عاما. ضغط الدم 120/80."
    yield "PLAN:,PLAN:,PLAN:"
    yield ":" * 2000
    yield "no sections and no end " * 500
    yield "surrogate \ud800 here"


@pytest.mark.parametrize("body", list(odd()))
def test_odd_notes_are_accepted(body: str) -> None:
    teacher = RulesTeacher(Synthesis())
    assert all(end <= len(body) for triple in teacher.triples(text(body)).triples for _, end in triple.spans)
    if len(body.split()) < 5:
        with pytest.raises(Dropped):
            teacher.note(text(body))


@pytest.mark.parametrize("piece", ["BP was 120/80. She denies pain. ", "1. A ", "A" * 50, "warfarin, ", "x,.;: "])
def test_a_note_of_a_megabyte_is_read(piece: str) -> None:
    batch = RulesTeacher(Synthesis()).triples(text(piece * (1_000_000 // len(piece))))
    assert len(batch.triples) <= 8
