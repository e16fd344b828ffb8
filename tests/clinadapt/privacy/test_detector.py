"""What the detector finds and leaves, on invented notes that its training does not know, and on labelled ones if they
are at hand."""

import json
import lzma
import socket
from pathlib import Path
from typing import Any

import pycrfsuite
import pytest
from planted_notes import planted_notes
from support import ROOT

from clinadapt.data.builtin_cases import generate
from clinadapt.privacy import detector
from clinadapt.privacy.chart_forms import name_forms
from clinadapt.privacy.detector import identifiers
from clinadapt.privacy.features import tagged_tokens, texts_of, tokens
from clinadapt.privacy.measure import measure
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.tagger import Tagged, Tagger, example, pack, train
from clinadapt.privacy.training_notes import training_notes

PHI = ROOT.parent / "shared/data/phi/test.jsonl.xz"


def redacted(text: str) -> str:
    for span in reversed(identifiers(text)):
        text = f"{text[: span.start]}[{span.type}]{text[span.end :]}"
    return text


def test_of_planted_notes_nearly_all_identifiers_are_found() -> None:
    result = measure(planted_notes(60, seed=3), identifiers)
    assert result["recall"]["all"]["value"] >= 0.9
    assert result["over_redaction"]["value"] <= 0.025
    assert result["negatives"]["DRUG"]["hits"] == result["negatives"]["DOSE"]["hits"] == 0


@pytest.mark.skipif(not PHI.exists(), reason="needs shared/data/phi")
def test_of_labelled_notes_nearly_all_identifiers_are_found() -> None:
    with lzma.open(PHI, "rt") as file:
        notes = [json.loads(line) for line, _ in zip(file, range(60), strict=False)]
    result = measure(notes, identifiers)
    assert result["recall"]["all"]["value"] >= 0.95
    assert result["over_redaction"]["value"] <= 0.006


def test_of_built_in_cases_hardly_anything_but_dates_and_initials_is_redacted() -> None:
    needless = words = 0
    for note in generate(150, seed=7):
        text = note["transcription"]
        words += len(text.split())
        needless += sum(span.type != "DATE" and span.end - span.start > 1 for span in identifiers(text))
    assert needless <= 0.001 * words


@pytest.mark.parametrize(
    "text",
    [
        "Graves' disease, a Foley catheter, Apgar scores and the Babinski sign.",
        "Started on Lasix 40 mg and Coumadin 5 mg daily.",
        "Mild pain. Green sputum. May shower. Will follow up. White count normal.",
        "Lyme titers, West Nile virus and Norwalk virus were negative.",
        "Cast removed. Young, well-developed, in no distress.",
        "Charcot foot, Marcus Gunn pupil. Pain 7/10, down to 4/10.",
        "ST depression; Vitamin, D. daily",
        "Grip 4/5 L. Braden 17. Homan's neg.",
        "INDICATION: Gross haematuria, frank haemoptysis, marked oesophagitis.",
        "Reason: Bright uraemia\nFINDINGS: Young oedema of the paediatric type.",
        "FRANK HAEMATURIA. GROSS DYSPNOEA TODAY.",
        "Degenerative changes at L4-5 and L5-S1.",
        "Went to High School. In Trendelenburg. DNR, DNI.",
        "Forrest IIb ulcer, Ellis class II, Garden type III.",
        "Shift 0730-1930. Voided.",
        "Therapie: Verlegung geplant, Unruhe und Luftnot gebessert.",
    ],
)
def test_the_language_of_medicine_stays(text: str) -> None:
    assert redacted(text) == text


def test_a_name_is_found_wherever_it_stands_again() -> None:
    text = "Patient: Jaskmo Velnadal\nVELNADAL slept well. velnadal's wound is clean; her will is strong."
    assert "elnadal" not in redacted(text).lower().replace("[name]", "")
    assert "her will is strong" in redacted(text)


@pytest.mark.parametrize(
    ("name", "after"),
    [("SMITH,JOHN", " 01/02/1960 M"), ("SMITH, JOHN", " 45M"), ("GARCIA,MARIA", " 45F"), ("Novak, Maria", " 45F")],
)
def test_a_family_name_before_a_given_name_is_found_whole(name: str, after: str) -> None:
    assert redacted(f"{name}{after}").startswith("[NAME] ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tube labelled Velnaduk, A. left", "Tube labelled [NAME] left"),
        ("Dental: Jaskmo bin Velnadal seen", "Dental: [NAME] seen"),
        ("Previous baby (Velnadala) well", "Previous baby ([NAME]) well"),
        ("Handover from Dave S / home", "Handover from [NAME] / home"),
        ("Pt attends Zelnuk Primary School daily", "Pt attends [EMPLOYER] daily"),
        ("Booked at St Mary's yesterday", "Booked at [HOSPITAL] yesterday"),
        ("seen at Royal Hospital for Children", "seen at [HOSPITAL]"),
        ("from Zelnuk Acres SNF", "from [HOSPITAL]"),
        ("She moved to Chicago 60647.", "She moved to [CITY] [ZIP]."),
        ("33 Zelnuk Road, Dingwall, well", "[STREET], [CITY], well"),
        ("Booked at St Thomas'", "Booked at [HOSPITAL]"),
        ("works in Dagenham now", "works in [CITY] now"),
        ("Mrs Velnadal, 93, fell", "Mrs [NAME], [AGE90], fell"),
        ("Patient: Herr Jaskmo Velnadal", "Patient: Herr [NAME]"),
        ("Herr Velnadal stellte sich vor", "Herr [NAME] stellte sich vor"),
        ("Mrs Velnadal is 94. Well", "Mrs [NAME] is [AGE90]. Well"),
        ("HARDY, Simon (Dr)", "[NAME] (Dr)"),
        ("WALKER, T DOB", "[NAME] DOB"),
    ],
)
def test_the_forms_of_charts_and_lists_are_known(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_what_stands_beside_a_street_is_in_the_text() -> None:
    text = "33 Zelnuk Road, Dingwall, well"
    assert list(name_forms(text, tokens(text), [Span(0, 14, "STREET")])) == [Span(16, 24, "CITY")]


def test_a_list_of_words_that_are_names_too_stays() -> None:
    for text in (
        "HEAD, NECK: normal.",
        "Young, well nourished.",
        "Crohn, Whipple or celiac disease.",
        "Pain, joy, hope.",
    ):
        assert redacted(text) == text


def test_a_degree_with_points_after_a_name_stays() -> None:
    assert redacted("Seen by Jaskmo Velnadal, M.D. today.") == "Seen by [NAME], M.D. today."


def test_what_the_hospital_knows_is_found() -> None:
    text = "the wound of szymborska is clean"
    assert [text[span.start : span.end] for span in identifiers(text, known=["Szymborska"])] == ["szymborska"]


def test_nothing_outside_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert redacted("Dr. Jane Velnadal, jane@example.org, 020 7946 0958").count("[") == 3


def test_training_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(tmp_path / name, notes=20, copies=0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tagging_is_that_of_crfsuite(tmp_path: Path) -> None:
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", params={"max_iterations": 8}, verbose=False)
    for note in training_notes(30, seed=3):
        trainer.append(*example(note))
    trainer.train(str(tmp_path / "model"))
    pack(tmp_path / "model", tmp_path / "packed")
    slow, fast = pycrfsuite.Tagger(), Tagger(tmp_path / "packed")
    slow.open(str(tmp_path / "model"))
    for note in training_notes(20, seed=5):
        words = tagged_tokens(note.text)
        texts = texts_of(words, united(pattern_spans(note.text)))
        assert fast.tag(texts) == slow.tag(example(note)[0])


@pytest.mark.parametrize(
    ("found", "kind", "sure"),
    [
        ("Velnadal", "NAME", True),
        ("17/12", "DATE", True),
        ("Kussmaul", "NAME", False),  # a word of medicine
        ("3-4", "DATE", False),  # a range
        ("7/10", "DATE", False),  # a grade
        ("may", "DATE", False),
        ("14300", "OTHERID", False),
    ],
)
def test_the_tagger_overrules_rules_where_it_is_sure(found: str, kind: str, sure: bool) -> None:
    text = f"Next seen {found} today"
    span = Span(10, 10 + len(found), kind)
    assert detector._is_sure(tokens(text), Tagged(span, 5.0)) is sure
    assert not detector._is_sure(tokens(text), Tagged(span, 3.0))


def test_sentences_that_are_not_tagged_hold_no_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [note["text"] for note in planted_notes(20, seed=13)]
    found = [identifiers(text) for text in texts]
    monkeypatch.setattr(detector, "open_sentences", lambda words, texts: [(0, len(words))])
    assert [identifiers(text) for text in texts] == found


@pytest.mark.parametrize("piece", ["A-", "Dr. Jane ", "1 ", "\n", "Mr. A", "가나 "])
def test_a_hostile_text_takes_no_more_than_its_length(piece: str) -> None:
    text = (piece * 10_000)[:10_000]
    assert all(0 <= span.start < span.end <= len(text) for span in identifiers(text))
