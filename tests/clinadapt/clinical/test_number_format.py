"""Numbers with a decimal comma and with a decimal point."""

from __future__ import annotations

import random

import pytest

from clinadapt.clinical.claims import missing_claims, unsupported
from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.clinical.number_format import DecimalCounts, comma_decimals, point_decimals


@pytest.mark.parametrize(
    ("text", "with_point"),
    [
        ("0,125 mg", "0.125 mg"),
        ("1.000 mg, 1.234.567,5 IE", "1,000 mg, 1,234,567.5 IE"),
        ("2,5-3,5 cm; (37,2)", "2.5-3.5 cm; (37.2)"),
        ("Digoxin 0,125mg.", "Digoxin 0.125mg."),
        ("am 12.03.2009, 7.2015, 14.30 Uhr", "am 12.03.2009, 7.2015, 14.30 Uhr"),
        ("Tage 1,2,3 und L4,5; v1.2.3", "Tage 1,2,3 und L4,5; v1.2.3"),
        ("37.2 Grad, 0.125 mg", "37.2 Grad, 0.125 mg"),  # no thousands begin with 0
        ("٠٫١٢٥ مجم", "0.125 مجم"),
    ],
)
def test_separators_are_exchanged_within_numbers(text: str, with_point: str) -> None:
    assert point_decimals(text, True) == with_point
    assert len(with_point) == len(text)


def test_a_text_with_points_stays() -> None:
    text = "Digoxin 0.125 mg, platelets 294,000, days 1,2"
    assert point_decimals(text, False) == text


def test_numbers_come_back_with_their_commas() -> None:
    """2,000 random numbers, alone and in text."""
    draw = random.Random(0)
    for _ in range(2000):
        value = draw.choice([draw.uniform(0, 10), draw.uniform(0, 5e6), draw.randrange(3_000_000)])
        english = f"{value:,.{draw.randrange(4)}f}"
        german = english.translate(str.maketrans(",.", ".,"))
        text = f"{draw.choice(['', 'ca. ', '('])}{german}{draw.choice(['', ' mg', 'x', '.', ', dann', '-'])}"
        assert point_decimals(text, True) == text.replace(german, english)
        assert comma_decimals(point_decimals(text, True)) == text


@pytest.mark.parametrize(
    ("texts", "comma", "mixed"),
    [
        (["Digoxin 0,125 mg"], True, False),
        (["Digoxin 0.125 mg"], False, False),
        (["Digoxin 1,125 mg, Tage 1,2 und 3, L4,5"], False, False),  # nothing is certain
        (["2,5 mg"] * 40 + ["37.2 °C"] * 4, True, False),
        (["2,5 mg"] * 40 + ["37.2 °C"] * 30, True, True),
        (["1.234,5"], True, False),
        (["White count 23,000, 1,234.5 mL"], False, False),
    ],
)
def test_how_numbers_are_written_is_found(texts: list[str], comma: bool, mixed: bool) -> None:
    counts = DecimalCounts().plus(texts)
    assert (counts.decimal_comma, counts.mixed) == (comma, mixed)


NOTE = "MEDICATIONS: Digoxin 0,125 mg daily, paracetamol 1.000 mg twice daily. Temperature 37,2 C."


def test_claims_read_the_numbers_of_the_note() -> None:
    """0,125 mg is not 125 mg, and 1.000 mg are a gram."""
    for right in ("Digoxin 0,125 mg daily.", "Digoxin 125 mcg daily.", "Paracetamol 1 g twice daily."):
        assert unsupported(right, NOTE, decimal_comma=True) == []
        assert unsupported_facts(right.replace("125 mcg", "0,125 mg").replace("1 g", "1000 mg"), NOTE, True) == set()
    (wrong,) = unsupported("Digoxin 125 mg daily.", NOTE, decimal_comma=True)
    assert (wrong.claim.value, wrong.outcome) == ("digoxin 125 mg", "contradicted")
    assert unsupported_facts("Digoxin 125 mg", NOTE, True) == {"125 mg"}
    assert unsupported("Digoxin 125 mg daily.", NOTE) == []  # read with a point, it would pass
    assert missing_claims("Digoxin 125 mg daily.", "Digoxin 0,125 mg daily.", NOTE, True)[0] > 0


def test_the_words_of_a_claim_are_where_they_are_in_the_text() -> None:
    (claim,) = unsupported("She takes digoxin 125 mg.", NOTE, decimal_comma=True)
    assert claim.evidence and NOTE[slice(*claim.evidence)] == "0,125 mg"
