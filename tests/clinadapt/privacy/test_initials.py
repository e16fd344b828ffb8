"""Initials of who saw, wrote or is asked, and abbreviations that are nobody's."""

import pytest

from clinadapt.privacy.features import tokens
from clinadapt.privacy.initials import initials_spans


def found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in initials_spans(tokens(text))]


@pytest.mark.parametrize(
    ("text", "initials"),
    [
        ("Assessed by JW in clinic.", "JW"),
        ("Wound redressed by PW, dry.", "PW"),
        ("Seen by JW & GW on round.", "GW"),
        ("Handover to GW at eight.", "GW"),
        ("d/w JKL, agrees.", "JKL"),
        ("Paged JVK twice.", "JVK"),
        ("Bloods: WJ to chase.", "WJ"),
        ("Vascular (GKW) following.", "GKW"),
        ("Obs 07:45 VJ. Stable.", "VJ"),
        ("CHECKED BY WJ TODAY", "WJ"),
        ("cc: GHT", "GHT"),
        ("typed mm", "mm"),
        ("Diktat: Kr/ow", "Kr/ow"),
        ("Hdz. vb", "vb"),
        ("JMcB to arrange.", "JMcB"),
        ("CPN KO'B rang.", "KO'B"),
    ],
)
def test_initials_are_told_by_the_words_around_them(text: str, initials: str) -> None:
    assert initials in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "Imaged by CT and MRI.",
        "Seen by PT and OT today.",
        "Reported to GP. Referred to ENT.",
        "Seen with MDT on round.",
        "OT to review; PT to follow.",
        "Up at 09:30 AM.",
        "TREATED BY IV INFUSION, FOLLOWED BY PO DOSE",
        "cc: NKDA",
    ],
)
def test_abbreviations_are_no_initials(text: str) -> None:
    assert not found(text)


def test_a_long_chain_of_initials_is_read_at_once() -> None:
    assert len(found("seen by " + "JW & " * 20_000)) == 4  # who is named first, and three others
