"""What is read of texts whose capitals tell nothing."""

from __future__ import annotations

import pytest

from clinadapt.privacy.capitals import as_read
from clinadapt.privacy.detector import identifiers
from clinadapt.privacy.features import tagged_tokens, tokens
from clinadapt.privacy.span_edges import trimmed
from clinadapt.privacy.spans import Span

SMALL = (
    "seen with her husband tomasz at the ashgrove clinic on 14 mar, bp 128/76. she lives in nottingham and works "
    "for greggs. dr velnadal to review the wound on the 3rd."
)


def found(text: str) -> set[tuple[str, str]]:
    return {(span.type, text[span.start : span.end].lower()) for span in identifiers(text)}


def test_a_note_in_small_letters_is_read_as_one_in_capitals() -> None:
    assert as_read(SMALL) == SMALL.upper()
    assert found(SMALL) == found(SMALL.upper())
    expected = {("NAME", "tomasz"), ("NAME", "velnadal"), ("CITY", "nottingham"), ("DATE", "14 mar"), ("DATE", "3rd")}
    assert expected <= found(SMALL)


def test_what_capitals_beside_small_letters_tell_is_read_too() -> None:
    assert ("INITIALS", "jmb:tkp") in found(f"{SMALL}\n\nJMB:tkp")


def test_abbreviations_in_capitals_do_not_hide_that_a_note_is_in_small_letters() -> None:
    assert as_read(f"{SMALL} BP and ECG fine.").isupper()


@pytest.mark.parametrize(
    "text",
    ["Seen with Tomasz in Nottingham, who was well and asked for nothing.", "bp 128/76, hr 70", SMALL.upper(), ""],
)
def test_other_texts_are_read_as_they_are(text: str) -> None:
    assert as_read(text) == text


def test_a_text_in_capitals_has_the_length_of_its_own() -> None:
    text = SMALL.replace("clinic", "straße")
    assert len(as_read(text)) == len(text) and "STRAßE" in as_read(text)


@pytest.mark.parametrize(
    ("kind", "marked", "own"),
    [
        ("PHONE", "IS 250-368-6567", "250-368-6567"),
        ("MRN", "MRN 25842142", "25842142"),
        ("CITY", "FAMILY IN ANN ARBOR", "ANN ARBOR"),
        ("NAME", "WEST'S", "WEST'"),
    ],
)
def test_words_around_an_identifier_in_capitals_are_left(kind: str, marked: str, own: str) -> None:
    text = f"THE NUMBER OF THE DAUGHTER {marked} TODAY"
    span = trimmed(tokens(text), Span(27, 27 + len(marked), kind))
    assert span is not None and text[span.start : span.end] == own


@pytest.mark.parametrize(
    "text",
    [
        "I SAW AND EXAMINED THE PATIENT ON 7/24 AND AGREE WITH DR. MAJOR ABOUT THE PLAN.",
        "SUPPORTIVE CARE WAS GIVEN, AND HE WAS SEEN IN AN OBSERVED HOSPITAL LABORATORY STUDY.",
    ],
)
def test_words_in_capitals_before_a_word_of_a_place_are_no_place(text: str) -> None:
    assert not {span.type for span in identifiers(text)} & {"STREET", "HOSPITAL", "EMPLOYER"}


@pytest.mark.parametrize(
    "text",
    [
        "PMH: HTN, MI, CVA. Breast, CA. Lives alone.",
        "Left knee OK. Bowels OK, appetite fine. Rectal CA. The wound was sent for CT.",
        "left knee ok, stool ok. rectal ca. he was sent for ct and allowed me to see ms. the wound is all in.",
        "raised from 20 mg to 40 mg daily in view of her pain; bed 4 by the way, 3 miles each way, 2 in place.",
    ],
)
def test_words_that_are_also_states_or_streets(text: str) -> None:
    assert not {span.type for span in identifiers(text)} & {"STREET", "CITY"}


@pytest.mark.parametrize(
    "text",
    [
        "urology, ureteral stone, right flank pain, 7 mm right ureteral stone, ketorolac, tamsulosin, ondansetron",
        "orthopedic, cephalomedullary nailing, left hip, a painful left hip after a fall, left hip fracture, calcium",
    ],
)
def test_words_of_medicine_in_small_letters_are_no_names(text: str) -> None:
    assert identifiers(text) == []


@pytest.mark.parametrize(
    ("kind", "marked"),
    [
        ("CITY", "boise"),
        ("CITY", "jackson"),
        ("CITY", "bend"),
        ("CITY", "reading"),
        ("STREET", "12 the grove"),
        ("STREET", "1200 g street"),
        ("STREET", "3 park view"),
        ("STREET", "12 station way"),
    ],
)
def test_towns_and_streets_of_a_note_in_small_letters(kind: str, marked: str) -> None:
    state = {"boise": " id", "jackson": " ms", "bend": ", or", "reading": ", pa"}.get(marked, "")
    text = f"seen in clinic with her daughter, who is well and lives at {marked}{state}, bowels ok, left knee ok."
    assert found(text) == {(kind, marked)}


@pytest.mark.parametrize("day", ["11 FEB", "2 SEPT", "13 MAY", "ON THE 3RD", "MON 21ST"])
def test_days_are_found_in_capitals(day: str) -> None:
    assert any(kind == "DATE" for kind, _ in found(f"SHE WAS ADMITTED TO THE WARD {day}, STABLE."))


def test_two_numbers_and_the_sign_between_them_are_one_token_of_the_tagger() -> None:
    texts = [token.text for token in tagged_tokens("K 5.9 on 14/12, BP 120/80. 1.2.2024, 4471-90")]
    assert texts == [
        "K",
        "5.9",
        "on",
        "14/12",
        ",",
        "BP",
        "120/80",
        ".",
        "1",
        ".",
        "2",
        ".",
        "2024",
        ",",
        "4471",
        "-",
        "90",
    ]
