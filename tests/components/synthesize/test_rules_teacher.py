"""The rules teacher: answers are in their notes, no fact is added, and odd notes are accepted."""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
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


def test_every_task_occurs_and_about_a_fifth_is_unanswerable(generated: list[tuple[str, Triple]]) -> None:
    counts = Counter(triple.task for _, triple in generated)
    assert set(counts) == set(TASKS)
    assert min(counts.values()) > 0.02 * len(generated)
    assert 0.13 < sum(not triple.answerable for _, triple in generated) / len(generated) < 0.23


def test_every_answerable_triple_has_spans_inside_the_note(generated: list[tuple[str, Triple]]) -> None:
    for note, triple in generated:
        assert bool(triple.spans) == triple.answerable
        assert all(0 <= start < end <= len(note) for start, end in triple.spans)


def test_extracted_answers_are_in_their_spans(generated: list[tuple[str, Triple]]) -> None:
    extractive = {"Named Entity Recognition", "Temporal Information Extraction", "Question Answering"}
    for note, triple in generated:
        composed = triple.answer.startswith(("Yes, ", "No, ")) or re.search(" years?$|^(?:fe)?male$", triple.answer)
        if triple.task in extractive and triple.answerable and not composed:
            spans = [one_line(note[start:end]) for start, end in triple.spans]
            for part in triple.answer.split("; ") if triple.check == "set" else [triple.answer]:
                assert any(part in span for span in spans), (triple, spans)


def test_answers_add_no_fact(generated: list[tuple[str, Triple]]) -> None:
    expanded = {"Abbreviation Expansion", "Paraphrasing"}  # b.i.d. is two times a day
    for note, triple in generated:
        if triple.answerable and triple.task not in expanded:
            assert not unsupported_facts(triple.answer, note), triple


def test_every_question_that_is_refused_is_also_answered_in_the_same_words_and_as_often(
    generated: list[tuple[str, Triple]],
) -> None:
    answered, refused = (
        Counter(t.instruction for _, t in generated if t.answerable == value) for value in (True, False)
    )
    assert refused and not refused - answered
    assert {triple.task for _, triple in generated if not triple.answerable} == set(TASKS)
    assert len({re.sub(r'"[^"]*"|\d+', "", t.answer.split()[0]) for _, t in generated if not t.answerable}) >= 4


def test_a_refused_question_names_nothing_that_the_note_has(generated: list[tuple[str, Triple]]) -> None:
    for note, triple in generated:
        if not triple.answerable:
            assert not (drugs(triple.answer) & drugs(note)) or re.search(
                r"a (dose|frequency|change)|the words \"", triple.answer
            ), triple
            for quoted in re.findall(r'"([^"]+)"', triple.answer):
                assert not re.search(rf"(?<!\w){re.escape(quoted)}(?!\w)", note), triple


def test_whether_a_question_can_be_answered_does_not_show_in_its_wording(generated: list[tuple[str, Triple]]) -> None:
    questions = [triple.instruction for _, triple in generated]
    groups = [hash(note) for note, _ in generated]
    unanswerable = np.array([not triple.answerable for _, triple in generated])
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000))
    chance = cross_val_predict(model, questions, unanswerable, groups=groups, cv=GroupKFold(5), method="predict_proba")[
        :, 1
    ]
    assert roc_auc_score(unanswerable, chance) <= 0.60


LETTER = """Dear Dr. B,
Thank you for referring this 72-year-old gentleman with AF. His BP was 128/76. He takes Jardiance 10 mg OD for diabetes.
We will increase his bisoprolol from 2.5 mg to 5 mg daily. I have reduced the warfarin to 3 mg.
I will see him in 6 weeks."""
SHORT = """PMH : Eczema
Allergic to penicillin
Imp- gastroenteritis
Plan : Fluids, paracetamol. Call the ambulance if worse. Review in 1/52."""
DICTATED = """HISTORY OF PRESENT ILLNESS: Mrs. K is a 66-year-old woman who presented with cough.
She denies chest pain or rash.
White blood cell count of 23,000 and platelets 294,000. Ejection fraction of 70% to 75%. Hemoglobin A1c is 7.2%.
REVIEW OF SYSTEMS:
SKIN: Denies redness. VITALS
BP 130/70. There is no discharge bilaterally in the ears today, and it reveals nothing.
MEDICATIONS: Prednisone forty milligrams daily."""


SPLIT_DOSES = """Lamotrigine 150 mg in the morning and 200 mg at night. Doxycycline 200 mg stat then 100 mg OD.
Ramipril 5 mg OD, apixaban 5 mg BD. Lying blood pressure was 142/78 and standing 118/70. She has a 9-year-old brother.
She was seen on 3 June 2024 and 7 June 2024, and before that in March. Had been on ASA. A lesion at a temperature of 85.
EXAM: Thrombectomy of the AV shunt."""
ELSEWHERE = """She called the Orthopedic resident. She has one brother living. The port was closed with a heparin flush.
The resting heart rate was 49. Maximum heart rate achieved was 69. He is exercising six to seven days per week.
PHYSICAL EXAMINATION: Alert and oriented.
Abdomen: Soft."""
TAPERED = """She denied heat or cold intolerance, fatigue and rash. We decrease Wellbutrin to 200 mg per day for a
week, then discontinue it."""
PROCEDURE = """PREOPERATIVE DIAGNOSIS: Angina.
POSTOPERATIVE DIAGNOSIS: Angina.
MEDICATIONS: Reglan 10 mg p.o., 5 mg p.o. Valium.
GROSS FINDINGS: The vessel was calcified.
SKIN PREP: Chlorhexidine."""


@pytest.mark.parametrize(
    ("note", "question", "answer"),
    [
        (SPLIT_DOSES, r"(?i)dose.*(?:lamotrigine|doxycycline)|much (?:lamotrigine|doxycycline)", None),
        (SPLIT_DOSES, r"(?i)dose.*ramipril|much ramipril", "5 mg"),
        (SPLIT_DOSES, r"blood pressure|BP", None),
        (SPLIT_DOSES, r"old is the patient|age", None),
        (SPLIT_DOSES, r"dates", None),
        (SPLIT_DOSES, r"temperature", None),
        (SPLIT_DOSES, r"drugs|medication named", None),
        (SPLIT_DOSES, r"study|What examination", None),
        (ELSEWHERE, r"living situation|anticoagulation", None),
        (ELSEWHERE, r"heart rate|pulse|____|What time follows", None),
        (ELSEWHERE, r'under.* "PHYSICAL EXAMINATION"', None),
        (TAPERED, r"den(?:y|ies|ied).*semicolon", None),  # halves of two symptoms: no list of them
        (TAPERED, r"dose", None),
        (PROCEDURE, r"medic.*(?:take|recorded|list|on\?)", None),
        (PROCEDURE, r"Sum|summary", None),
        (PROCEDURE, r'"GROSS FINDINGS"', r"The vessel was calcified\."),
        (PROCEDURE, r'mentions "|plain', None),
        (DICTATED, r"white blood cell count", "23,000"),
        (DICTATED, r"platelet count", "294,000"),
        (DICTATED, r"ejection fraction", "70% to 75%"),
        (DICTATED, r"(?i)dose of prednisone|dose.*prednisone|much prednisone", "forty milligrams"),
        (DICTATED, r"chest pain", "No, the patient denies chest pain."),
        (DICTATED, r"examination of the skin", None),
        (LETTER, r"new dose of bisoprolol|dose is bisoprolol changed|dose of bisoprolol should", "5 mg"),
        (LETTER, r"dose of bisoprolol before|previous dose of bisoprolol", "2.5 mg"),
        (LETTER, r"new dose of warfarin|dose is warfarin changed|dose of warfarin should", "3 mg"),
        (LETTER, r"(?:dose belongs to|much) (?:warfarin|bisoprolol)", None),
        (LETTER, r"(?i)(?:why|what|for which).*Jardiance", "diabetes|OD|10 mg"),
        (LETTER, r"seen again|come back|next (?:visit|review)|follow-up", "in 6 weeks"),
        (LETTER, r'"OD"|means by OD', "once a day"),
        (SHORT, r"earlier illnesses|past medical history|other conditions", None),
        (SHORT, r"is the diagnosis|was concluded|going on", "gastroenteritis"),
        (SHORT, r"seen again|come back|next (?:visit|review)|follow-up", "in 1/52"),
    ],
)
def test_answers_are_the_right_ones(note: str, question: str, answer: str | None) -> None:
    found = set()
    for seed in range(8):
        batch = RulesTeacher(Synthesis(triples_per_note=64, seed=seed)).triples(text(note))
        found |= {triple.answer for triple in batch.triples if re.search(question, triple.instruction)}
    assert found == set() if answer is None else found and all(re.fullmatch(answer, each) for each in found), found


def test_a_paraphrase_is_no_echo(generated: list[tuple[str, Triple]]) -> None:
    for note, triple in generated:
        if triple.task == "Paraphrasing" and triple.answerable:
            ((start, end),) = triple.spans
            before, after = (re.findall(r"\w+", each.lower()) for each in (note[start:end], triple.answer))
            assert len(set(after) - set(before)) >= 2, triple
            assert not re.search(r"hemoglobin glycated", triple.answer)


def test_notes_from_cases_and_narrative_reports_add_no_fact(cases: list[Text]) -> None:
    teacher = RulesTeacher(Synthesis())
    for case in [*cases, text(REPORT)]:
        note = teacher.note(case)
        assert not unsupported_facts(note, case.text)
        assert drugs(note) == drugs(case.text)
        assert numbers(note) <= numbers(case.text) | {fact.partition(" ")[0] for fact in numbers(case.text)}


def test_some_narrative_reports_get_headers_and_others_stay_prose() -> None:
    notes = [RulesTeacher(Synthesis(seed=seed)).note(text(REPORT)) for seed in range(12)]
    headers = [len(re.findall(r"(?im)(?:^|\. )[A-Z][A-Z ]+:", note)) for note in notes]
    assert set(headers) == {0, max(headers)} and max(headers) >= 4


def test_the_same_seed_gives_the_same_and_another_seed_something_else(cases: list[Text]) -> None:
    one, same, other = RulesTeacher(Synthesis()), RulesTeacher(Synthesis()), RulesTeacher(Synthesis(seed=1))
    assert one.digest == same.digest != other.digest
    some = cases[:20]
    assert [one.note(case) for case in some] == [same.note(case) for case in reversed(some)][::-1]
    assert [one.triples(case) for case in some] == [same.triples(case) for case in some]
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
def test_a_note_of_300_kilobytes_is_read(piece: str) -> None:
    batch = RulesTeacher(Synthesis()).triples(text(piece * (300_000 // len(piece))))
    assert len(batch.triples) <= 8


def test_a_note_with_decimal_commas_gets_its_own_numbers() -> None:
    """The answers about a note and about its twin with commas are the same but for the separators."""

    def commas(answer: str) -> str:
        return re.sub(r"\d+(?:[.,]\d+)+", lambda number: number[0].translate(str.maketrans(",.", ".,")), answer)

    body = f"{REPORT} Her digoxin was 0.125 mg daily. Platelets 294,000. Metoprolol 37.5 mg daily."
    teachers = [RulesTeacher(Synthesis(triples_per_note=64)) for _ in range(2)]
    english = teachers[0].triples(text(body)).triples
    german = teachers[1].triples(replace(text(commas(body)), decimal_comma=True)).triples
    assert {triple.answer for triple in german} == {commas(triple.answer) for triple in english}
    assert {"37,5 mg", "294.000"} <= {triple.answer for triple in german}
