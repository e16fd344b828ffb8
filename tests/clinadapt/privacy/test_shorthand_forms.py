"""Identifiers in shorthand, lists and messages, and what looks like them."""

import pytest

from clinadapt.privacy.chart_forms import form_spans, name_forms
from clinadapt.privacy.cue_patterns import cue_spans
from clinadapt.privacy.detector import identifiers
from clinadapt.privacy.features import tokens
from clinadapt.privacy.shorthand_forms import shorthand_spans
from clinadapt.privacy.spans import Span


def found(text: str) -> list[tuple[str, str]]:
    words = tokens(text)
    spans = [*shorthand_spans(text, words), *cue_spans(text, words), *form_spans(text, words)]
    spans += name_forms(text, words, [Span(*span) for span in spans])
    return [(span.type, text[span.start : span.end]) for span in spans]


@pytest.mark.parametrize(
    ("text", "kind", "identifier"),
    [
        ("scan 27/9, then clinic", "DATE", "27/9"),
        ("stent (2/23) patent", "DATE", "2/23"),
        ("MI 4/08, well since", "DATE", "4/08"),
        ("seen 8/4 1130 by team", "DATE", "8/4"),
        ("review 14 viii 22", "DATE", "14 viii 22"),
        ("signed 9/xi/21", "DATE", "9/xi/21"),
        ("rang feb 9 re bloods", "DATE", "feb 9"),
        ("BACK ON OCT 7.", "DATE", "OCT 7"),
        ("el 3 de agosto", "DATE", "3 de agosto"),
        ("DATE 041922 DISP", "DATE", "041922"),
        ("9921,Osborn,Lia,19790312,2020-02-01", "DATE", "19790312"),
        ("walks along Tanner Mill Road daily", "STREET", "Tanner Mill Road"),
        ("parked on haversham ave", "STREET", "haversham ave"),
        ("at 61 Calle Olmo", "STREET", "61 Calle Olmo"),
        ("12 Seochodae-ro 3-gil", "STREET", "12 Seochodae-ro 3-gil"),
        ("crash on Hwy 9 & Piper Rd", "STREET", "Hwy 9 & Piper Rd"),
        ("Address: 4 The Maltings, Ely", "STREET", "4 The Maltings, Ely"),
        ("The Rookery, 9 Quill Lane", "STREET", "Quill Lane"),
        ("cousin Wanjiru drove", "NAME", "Wanjiru"),
        ("mum of Tomasz rang", "NAME", "Tomasz"),
        ("his gf tiffany left", "NAME", "tiffany"),
        ("Pt Odalys Haversham; 40 F", "NAME", "Odalys Haversham"),
        ("ICU D4. Tattersall, Wanjiru. Stable", "NAME", "Tattersall, Wanjiru"),
        ("Rx by A Haverty, OTA", "NAME", "A Haverty"),
        ("Rosa T. Vein agreed", "NAME", "Rosa T. Vein"),
        ("Will Rivers, her nephew", "NAME", "Will Rivers"),
        ("Robin's mother called", "NAME", "Robin"),
        ("seen with Abd al-Karim today", "NAME", "Abd al-Karim"),
        ("cc: GHT", "INITIALS", "GHT"),
        ("typed bq", "INITIALS", "bq"),
        ("lives Haverton now", "CITY", "Haverton"),
        ("seen in Las Palomas", "CITY", "Las Palomas"),
        ("Haverton Dermatology saw her", "HOSPITAL", "Haverton Dermatology"),
        ("driver for Haverton Logistics", "EMPLOYER", "Haverton Logistics"),
        ("ref IFR/2217", "OTHERID", "IFR/2217"),
        ("keysafe 4471Y.", "OTHERID", "4471Y"),
        ("wing B, B2291DX", "OTHERID", "B2291DX"),
        ("Hosp W 661 902 K.", "MRN", "W 661 902 K"),
        ("mrn haver-20031", "MRN", "haver-20031"),
        ("ins: QCX 884 201 77", "PLAN", "QCX 884 201 77"),
        ("sn 23181 90044", "DEVICE", "23181 90044"),
        ("ring the ward on 5550 188", "PHONE", "5550 188"),
        ("see plans.example/p/8821 for it", "URL", "plans.example/p/8821"),
        ("Cork T12 X8Y9", "ZIP", "T12 X8Y9"),
    ],
)
def test_an_identifier_is_found(text: str, kind: str, identifier: str) -> None:
    assert any(each_kind == kind and identifier in each for each_kind, each in found(text)), found(text)


@pytest.mark.parametrize(
    "text",
    [
        "pain 3/10, strength 4/5, vision 6/24, PC 18/8, Barthel 7/20, MOCA 11/30, PEEP 8/18",
        "wound 11/07 stages; 1-1/2 tabs; repeat in 14/12; 2/52 then review",
        "nonspecific ST-T changes on the road to recovery",
        "Husband had diabetes. Mother and father well. Baby born at term",
        "A Foley catheter, T12 L4L5, 20 x 23 mm, dec 10 mg",
        "Ears, Nose normal. Lisinopril, Metformin",
        "cc: none. typed ok. cc: ICU",
        "Cardiac Surgery and Paediatric Cardiology agreed",
        "ext 30, flex 110; ref to dietitian; pin site 2",
        "Today's mother and baby clinic; patient's mother",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Cheyne-Stokes breathing overnight.",
        "Burns by Lund and Browder chart.",
        "Child-Pugh class B cirrhosis.",
        "Nottingham grade 2 carcinoma.",
        "Form sent to DVLA today with the fee.",
        "Cord pH 7.31 at birth.",
    ],
)
def test_the_language_of_medicine_names_nobody(text: str) -> None:
    assert identifiers(text) == []


def test_an_extension_and_initials_beside_what_was_found() -> None:
    text = "Call 708-955-3609, ext 4. Seen 3/4/2021  GB/MT"
    covered = {text[span.start : span.end] for span in identifiers(text)}
    assert {"GB/MT"} <= covered and any("4" in each and "ext" not in each for each in covered)
