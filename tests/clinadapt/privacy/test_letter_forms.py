"""Names and places in letters and handovers, and what looks like them."""

import pytest

from clinadapt.privacy.features import tokens
from clinadapt.privacy.letter_forms import before_codes, letter_spans
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.spans import united
from clinadapt.privacy.towns import listed_towns
from clinadapt.privacy.word_lists import cities, longer_towns


def found(text: str) -> list[tuple[str, str]]:
    words = tokens(text)
    spans = [*letter_spans(text, words), *before_codes(text, united(pattern_spans(text)))]
    return [(span.type, text[span.start : span.end]) for span in spans]


@pytest.mark.parametrize(
    ("text", "kind", "identifier"),
    [
        ("to ward Lister 6", "HOSPITAL", "Lister"),
        ("moved to the ward (Larkin) at four", "HOSPITAL", "Larkin"),
        ("Rm 1 Velnadal N P0 40+5", "NAME", "Velnadal N"),
        ("bed 2: HAVERTON, day 3", "NAME", "HAVERTON"),
        ("Nurse Hope aware", "NAME", "Hope"),
        ("Chaperone Rose. Well", "NAME", "Rose"),
        ("daughter Grace helps", "NAME", "Grace"),
        ("seen by Sister Grace Velnadal, then home", "NAME", "Grace Velnadal"),
        ("Aoife (Effy) Brady seen", "NAME", "Aoife (Effy) Brady"),
        ('Helga "Heidi" Velnadal-Moss, 76', "NAME", 'Helga "Heidi" Velnadal-Moss'),
        ("op by Jo Ye-rin today", "NAME", "Jo Ye-rin"),
        ("moved to Baton Rouge", "CITY", "Baton Rouge"),
        ("born in Stoke-on-Trent, well", "CITY", "Stoke-on-Trent"),
        ("TO GRAND RAPIDS BY AIR", "CITY", "GRAND RAPIDS"),
        ("Oak Cottage, Haverton Hill, Velnadal, SA20 0PB", "CITY", "Velnadal"),
        ("Oak Cottage, Haverton Hill, Velnadal, SA20 0PB", "STREET", "Haverton Hill"),
        ("now in Stow-on-the-Wold GL54 1BN", "CITY", "Stow-on-the-Wold"),
    ],
)
def test_an_identifier_is_found(text: str, kind: str, identifier: str) -> None:
    assert (kind, identifier) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "ward Round, Ward Sister, WARD ROUND, ward 6, wards",
        "Bed 3 Stable T 37.2; Bay 7; CTG sent; room 4 Observations",
        "wife May be late; sister Will come; nurse Can you",
        "Tylenol (Paracetamol) Tablets; Normal (Grade) One",
        "Follow Up-to date; Low So-called; Post Op-ed",
        "Past Medical History; Review Of Systems; Left Lower Lobe; Roux-en-Y; Hand-over-Hand",
        "Glucose 5, BP 120/80, on the SA20 0PB",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert found(text) == []


def test_towns_of_many_countries_are_listed() -> None:
    assert {("saginaw",), ("baton", "rouge"), ("castrop", "rauxel"), ("llandovery",)} <= listed_towns()
    assert "llandovery" in cities() and "reading" in cities(), "a large one although it is a word"
    assert "mobile" in cities() and "normal" not in cities() and "eden" not in cities()
    assert ("little", "rock") in longer_towns()["little"]
