"""Identifiers in shorthand, lists and messages, and what looks like them."""

import pytest

from clinadapt.privacy.chart_forms import form_spans, name_forms
from clinadapt.privacy.cue_patterns import anchors_of, cue_spans
from clinadapt.privacy.detector import identifiers
from clinadapt.privacy.features import tokens
from clinadapt.privacy.initials import initials_spans
from clinadapt.privacy.shorthand_forms import shorthand_spans
from clinadapt.privacy.spans import Span


def found(text: str) -> list[tuple[str, str]]:
    words = tokens(text)
    spans = [*shorthand_spans(text, words), *cue_spans(text, anchors_of(text, words)), *form_spans(text, words)]
    spans += initials_spans(words)
    spans += name_forms(text, words, [Span(*span) for span in spans])
    return [(span.type, text[span.start : span.end]) for span in spans]


@pytest.mark.parametrize(
    ("text", "kind", "identifier"),
    [
        ("scan 27/9, then clinic", "DATE", "27/9"),
        ("seen by Dr Osmond 26/11. Well", "DATE", "26/11"),
        ("spent ten summers at Primark before", "EMPLOYER", "Primark"),
        ("drives for DHL nights", "EMPLOYER", "DHL"),
        ("fell in the Lidl warehouse today", "EMPLOYER", "Lidl"),
        ("WORKS AT TACO BELL. SMOKER", "EMPLOYER", "TACO BELL"),
        ("CLINIC LIST.\nROSE HILL DOB", "NAME", "ROSE HILL"),
        ("and her mother, Hope, was there", "NAME", "Hope"),
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
        ("9/10 0815 WR, well", "DATE", "9/10"),
        ("4.3 flexi, well", "DATE", "4.3"),
        ("list TCI 18.3 please", "DATE", "18.3"),
        ("op Do 13.2. by team", "DATE", "13.2."),
        ("Verlauf 24.11. Herr", "DATE", "24.11."),
        ("VA PCP 12MAR24, well", "DATE", "12MAR24"),
        ("DOB 06 09 72, well", "DATE", "06 09 72"),
        ("away till the fifteenth, then", "DATE", "fifteenth"),
        ("SOAP 09/09: well", "DATE", "09/09"),
        ("rpt 4/1 then stop", "DATE", "4/1"),
        ("ELOS 11/22, then home", "DATE", "11/22"),
        ("walks along Tanner Mill Road daily", "STREET", "Tanner Mill Road"),
        ("parked on haversham ave", "STREET", "haversham ave"),
        ("at 61 Calle Olmo", "STREET", "61 Calle Olmo"),
        ("12 Seochodae-ro 3-gil", "STREET", "12 Seochodae-ro 3-gil"),
        ("crash on Hwy 9 & Piper Rd", "STREET", "Hwy 9 & Piper Rd"),
        ("Address: 4 The Maltings, Ely", "STREET", "4 The Maltings, Ely"),
        ("The Rookery, 9 Quill Lane", "STREET", "Quill Lane"),
        ("lives Am Neuen Markt 7, alone", "STREET", "Am Neuen Markt 7"),
        ("off BIA Rd 27, mile 6", "STREET", "BIA Rd 27"),
        ("secretary Wanjiru rang", "NAME", "Wanjiru"),
        ("nurse Wanjiru aware", "NAME", "Wanjiru"),
        ("Hx: Wanjiru 6y, off school", "NAME", "Wanjiru"),
        ("home. Wanjiru (dob 3/3/99) low", "NAME", "Wanjiru"),
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
        ("physio RB saw", "INITIALS", "RB"),
        ("nursery Busy Badgers supports", "EMPLOYER", "Busy Badgers"),
        ("works in Velnuk's, nights", "EMPLOYER", "Velnuk"),
        ("lives Haverton now", "CITY", "Haverton"),
        ("nights at the Amazon warehouse, works nights at the Amazon warehouse", "EMPLOYER", "Amazon"),
        ("a ranger with Natural Haverton Wales. Well", "EMPLOYER", "Natural Haverton Wales"),
        ("drives Stagecoach buses now", "EMPLOYER", "Stagecoach"),
        ("driver for Velnuk now", "EMPLOYER", "Velnuk"),
        ("Insurance: Samsung Fire policy", "EMPLOYER", "Samsung Fire"),
        ("at Anna Moor Primary. Well", "EMPLOYER", "Anna Moor Primary"),
        ("in the Linacre Unit", "HOSPITAL", "Linacre Unit"),
        ("tenancy with Velnadal Housing", "EMPLOYER", "Velnadal Housing"),
        ("FALL AT KIRKCALDY BUS STATION", "CITY", "KIRKCALDY"),
        ("seen in Las Palomas", "CITY", "Las Palomas"),
        ("Haverton Dermatology saw her", "HOSPITAL", "Haverton Dermatology"),
        ("driver for Haverton Logistics", "EMPLOYER", "Haverton Logistics"),
        ("ref IFR/2217", "OTHERID", "IFR/2217"),
        ("file 31 884 207.", "OTHERID", "31 884 207"),
        ("book no. RB 882017.", "OTHERID", "RB 882017"),
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
        "3/7 hx of cough, 6/12 of weight loss; 4.5 mg; nurse aware, school nurse; works nights",
        "nurse at Bedside, driver with Asthma, Insurance: Medicare and Private, Carers from Monday",
        "Burns Unit, Stroke Unit, Day Unit, Sheltered Housing, Primary care, Blood pressure High",
        "On the fourth day; the tenth rib; Hb 11.10, CRP 7.9. Then home. No 12 blade, reg 40 mg",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Mother, Deceased, of a stroke. Father, Alive, well.",
        "Cheyne-Stokes breathing overnight.",
        "Burns by Lund and Browder chart.",
        "Child-Pugh class B cirrhosis.",
        "Nottingham grade 2 carcinoma.",
        "Form sent to DVLA today with the fee.",
        "Cord pH 7.31 at birth.",
        "Pouch of Douglas clear, circle of Willis calcified.",
        "Output 900 ML. CT: no collection.",
    ],
)
def test_the_language_of_medicine_names_nobody(text: str) -> None:
    assert identifiers(text) == []


def test_an_extension_and_initials_beside_what_was_found() -> None:
    text = "Call 708-955-3609, ext 4. Seen 3/4/2021  GB/MT"
    covered = {text[span.start : span.end] for span in identifiers(text)}
    assert {"GB/MT"} <= covered and any("4" in each and "ext" not in each for each in covered)


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("Pt I. Velnadal V 440 812, line in", "V 440 812"),
        ("#1 Leonard Velnadal 551-204 for MDT", "551-204"),
        ("NOK in room, call Oluwaseun 07700 900148.", "Oluwaseun"),
        ("Patient VELNADAL, JASKMO seen", "JASKMO"),
        ("Velnaduk, Gino / list", "Velnaduk"),
        ("Crew: Dr Oduya/N Velnadal on scene", "N Velnadal"),
        ("GP Dr Oduya, Velnadal. Seen", "Velnadal"),
        ("1) Mrs Oduya, rm 12, 95, off legs", "95"),
        ('Mr Oduya (likes "Cy"), 90 on 1st Feb', "90"),
        ("(Dr Oduya, Guide Post Surgery) to check", "Guide Post"),
        ("Obs stable, home today, to ring her son, plan as above, bloods sent. D/c 0320 CK", "CK"),
    ],
)
def test_what_stands_beside_a_name_or_a_telephone(text: str, identifier: str) -> None:
    covered = {place for span in identifiers(text) for place in range(span.start, span.end)}
    start = text.index(identifier)
    assert covered >= {place for place in range(start, start + len(identifier)) if text[place] != " "}
