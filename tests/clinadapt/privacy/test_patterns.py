"""Identifiers with a form of their own, in the forms of several countries, and numbers that are none."""

import pytest
from planted_notes import planted_notes

from clinadapt.privacy import patterns
from clinadapt.privacy.anchors import Anchors
from clinadapt.privacy.features import tokens
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.training_notes import training_notes


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in united(pattern_spans(text))]


@pytest.mark.parametrize(
    ("text", "kind", "identifier"),
    [
        ("담당 한지수 교수 회진", "NAME", "한지수"),
        ("아들 (강태오) 과 면담", "NAME", "강태오"),
        ("손영아 님 호소", "NAME", "손영아"),
        ("주소: 인천 연수로 88. 퇴원", "STREET", "연수로 88"),
        ("대구에서 전원", "CITY", "대구"),
        ("seen on 3/14/2009 again", "DATE", "3/14/2009"),
        ("wound moved 3/4 to 5/6 in clinic", "DATE", "3/4"),
        ("ADM05/05/2021", "DATE", "05/05/2021"),
        ("DOB03/14/1950", "DATE", "03/14/1950"),
        ("on the 3rd of May she fell", "DATE", "3rd of May"),
        ("admitted 17SEP2008", "DATE", "17SEP2008"),
        ("in March she fell", "DATE", "March"),
        ("aufgenommen am 4. März 2019", "DATE", "4. März 2019"),
        ("vom 04.03.2019 bis", "DATE", "04.03.2019"),
        ("2019년 3월 4일 내원", "DATE", "2019년 3월 4일"),
        ("call (708) 955-3609 today", "PHONE", "(708) 955-3609"),
        ("ring 020 7946 0958", "PHONE", "020 7946 0958"),
        ("Tel. +49 171 2345678", "PHONE", "+49 171 2345678"),
        ("연락처 010-2345-6789", "PHONE", "010-2345-6789"),
        ("mail to a.b@example.org please", "EMAIL", "a.b@example.org"),
        ("see https://portal.example.org/r/62", "URL", "https://portal.example.org/r/62"),
        ("from 195.160.72.44 at", "IP", "195.160.72.44"),
        ("SSN 473-93-2736", "SSN", "473-93-2736"),
        ("주민등록번호 850314-1234567", "SSN", "850314-1234567"),
        ("NI number QQ 12 34 56 C", "SSN", "QQ 12 34 56 C"),
        ("MRN: E99431010", "MRN", "E99431010"),
        ("Hospital No. 341882-9", "MRN", "341882-9"),
        ("serial number Z52ET2768", "DEVICE", "Z52ET2768"),
        ("Versichertennummer A123456789", "PLAN", "A123456789"),
        ("plate JFS-953", "VEHICLE", "JFS-953"),
        ("London SW1A 1AA", "ZIP", "SW1A 1AA"),
        ("Bend, OR 97701-0968", "ZIP", "97701-0968"),
        ("12 North Elm Street, Apt 4", "STREET", "12 North Elm Street, Apt 4"),
        ("Lindenstraße 12a", "STREET", "Lindenstraße 12a"),
        ("a 94-year-old man", "AGE90", "94"),
        ("she turned ninety-two last month", "AGE90", "ninety-two"),
        ("환자 93세 여성", "AGE90", "93"),
        ("She just turned 91. Please call", "AGE90", "91"),
        ("pt wilfred 93 y male", "AGE90", "93"),
        ("He is 101 now.", "AGE90", "101"),
        ("her mother, 96, fell", "AGE90", "96"),
        ("lives at Flat 6, 31 Linden Grove", "STREET", "Flat 6"),
        ("family x4471.", "PHONE", "x4471"),
        ("Medicare no 2953 70441 1", "PLAN", "2953 70441 1"),
        ("prison no A4471CK", "OTHERID", "A4471CK"),
        ("Medicare 2953 70441 1. Plan", "PLAN", "2953 70441 1"),
        ("SSN 531-90-xxxx, well", "SSN", "531-90-xxxx"),
        ("(ret), last4 G7731, well", "SSN", "G7731"),
        ("emp no 00718, well", "OTHERID", "00718"),
        ("Noh M/94 empyema", "AGE90", "94"),
        ("Post: P6A 3K9.", "ZIP", "P6A 3K9"),
        ("Schillerstraße 12-14, well", "STREET", "Schillerstraße 12-14"),
        ("at 7B Station Approach, well", "STREET", "7B Station Approach"),
        ("환자 문가람 등록번호", "NAME", "문가람"),
    ],
)
def test_an_identifier_is_found(text: str, kind: str, identifier: str) -> None:
    assert any(each_kind == kind and identifier in each for each_kind, each in found(text)), found(text)


@pytest.mark.parametrize(
    "text",
    [
        "Strength 3/4 in the legs, 5/5 above; pain 7/10",
        "BP 120/80, pulse 92, saturation 94%",
        "hydrocodone 10/325 and insulin 70/30, 15 units",
        "platelets 234,000, sodium 138, potassium 4.1",
        "2/6 systolic murmur; vision 20/40; Gleason 3+4",
        "disc at L4-5 and L5-S1, a mass of 4 x 5 x 2 cm",
        "ICD-10 E11.9, CPT 99213, times 3-4 per day",
        "lidocaine with epinephrine 1:100,000",
        "a 61-year-old man took 200-300-400 mg",
        "May need endoscopy; will march on",
        "He is 98% on room air; she was 101 kg, pulse 95",
        "SEEN 3-4 TIMES PER DAY",
        "mother is 95 pounds; pt was 99.1 yesterday",
    ],
)
def test_a_number_of_medicine_stays(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("piece", ["A-", "1-", "(0", "Dr. ", "a@", "1/2/", "Main Street ", "가시 ", "A1", "-", "www.a"])
def test_a_hostile_text_takes_no_more_than_its_length(piece: str) -> None:
    text = (piece * 50_000)[:50_000]
    assert all(0 <= span.start < span.end <= len(text) for span in united(pattern_spans(text)))


def test_spans_that_overlap_become_one() -> None:
    spans = [Span(5, 9, "NAME"), Span(0, 6, "STREET"), Span(12, 14, "DATE"), Span(14, 14, "DATE")]
    assert united(spans) == [Span(0, 9, "STREET"), Span(12, 14, "DATE")]


def test_an_expression_is_tried_wherever_it_can_match() -> None:
    """At its anchors it finds what a search through the whole text finds."""
    texts = [note["text"] for note in planted_notes(40, seed=9)] + [note.text for note in training_notes(60, seed=4)]
    matches = 0
    for text in texts:
        anchors = Anchors(text, tokens(text), patterns._KINDS)
        for _, anchor, pattern in (*patterns._PATTERNS, ("", patterns._LABELS, patterns._LABELLED_CODE)):
            everywhere = [match.span() for match in pattern.finditer(text)]
            assert [match.span() for match in anchors.matches(anchor, pattern)] == everywhere, pattern.pattern
            matches += len(everywhere)
    assert matches > 200
