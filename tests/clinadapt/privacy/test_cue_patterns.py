"""Identifiers that the words before them or a form of charts tell, and what looks like them."""

import pytest
from planted_notes import planted_notes

from clinadapt.privacy import cue_patterns
from clinadapt.privacy.cue_patterns import anchors_of, cue_spans
from clinadapt.privacy.features import tokens
from clinadapt.privacy.training_notes import training_notes


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in cue_spans(text, anchors_of(text, tokens(text)))]


@pytest.mark.parametrize(
    ("text", "kind", "identifier"),
    [
        ("comes back on the 24th and needs a scan", "DATE", "24th"),
        ("rang on the 8th and the 9th. No", "DATE", "9th"),
        ('told us by the 16th" she said', "DATE", "16th"),
        ("on the evening of the 27th after", "DATE", "27th"),
        ("RETURNED ON THE 13TH. WELL", "DATE", "13TH"),
        ("off work since the second.", "DATE", "second"),
        ("RTC NOV. Labs", "DATE", "NOV"),
        ("next Tu 3/4 with her", "DATE", "3/4"),
        ("SOC 9-03. Pt", "DATE", "9-03"),
        ("Visite 6.2., wach", "DATE", "6.2."),
        ("soll am 23. verlegt werden", "DATE", "23."),
        ("He lives at 8 Fenton Garth. Well", "STREET", "8 Fenton Garth"),
        ("Lot 7 Quail Hollow, reached", "STREET", "Lot 7 Quail Hollow"),
        ("collected from the pharmacy on Larkhill.", "STREET", "Larkhill"),
        ("LIC D204 551 877. Next", "LICENSE", "D204 551 877"),
        ("EMIS 60412. Will", "MRN", "60412"),
        ("born 2011, Queen Velda's. Well", "HOSPITAL", "Queen Velda's"),
        ("seen 4th Feb with her", "DATE", "4th Feb"),
        ("no bowel motion since Sunday the 3rd, wants advice", "DATE", "3rd"),
        ("Next MDT 21st.", "DATE", "21st"),
        ("stay 4/1/20-5/30/20, home", "DATE", "5/30/20"),
        ("note from 1/3 to 14/3", "DATE", "14/3"),
        ("EDD 28/11, well", "DATE", "28/11"),
        ("next visit Thursday 4/16", "DATE", "4/16"),
        ("née le 7 mars 1956", "DATE", "7 mars 1956"),
        ("in prison since spring of 2017", "DATE", "spring of 2017"),
        ("swallowed a coin on New Year's Eve", "DATE", "New Year's Eve"),
        ("born December fifth nineteen thirty one", "DATE", "December fifth nineteen thirty one"),
        ("Study 20190716 at rest", "DATE", "20190716"),
        ("vom 3. bis 17. Mai 2021", "DATE", "3."),
        ("Husband died at 96.", "AGE90", "96"),
        ("he's ninety and moving", "AGE90", "ninety"),
        ("her aunt lived to one hundred and three", "AGE90", "one hundred and three"),
        ("Pt surname ZABLOCKI first name VAN DOB", "NAME", "ZABLOCKI"),
        ("Legal name Harold Eugene Tanaka III", "NAME", "Harold Eugene Tanaka"),
        ('pt goes by "Skip".', "NAME", "Skip"),
        ("Velnadal^Jaskmo^P seen", "NAME", "Velnadal^Jaskmo^P"),
        ("Kind regards, Anil B.", "NAME", "Anil B"),
        ("Driver lic. NSW 8837421B", "LICENSE", "8837421B"),
        ("SSN on file ending 4471", "SSN", "4471"),
        ("N° SS 2 56 03 75 116 042 18", "SSN", "2 56 03 75 116 042 18"),
        ("Ins: Aetna W2281 45590", "PLAN", "W2281 45590"),
        ("call nine one five, 555, 0164 please", "PHONE", "nine one five, 555, 0164"),
        ("lives alone at 8 Orchard Cl.", "STREET", "8 Orchard Cl"),
        ("at 2217 N. Kedzie, Apt 3R", "STREET", "2217 N. Kedzie, Apt 3R"),
        ("at RR 2 Box 114", "STREET", "RR 2 Box 114"),
        ("pharmacy: corner of 5th and Main", "STREET", "5th and Main"),
        ("portal mychart.heartgroup.example/bhopkins", "URL", "mychart.heartgroup.example/bhopkins"),
        ("plate TX LKR 4471", "VEHICLE", "TX LKR 4471"),
        ("Call taken 10/3 @ 1415 by", "DATE", "10/3"),
        ("rung back 1/5 08:10, well", "DATE", "1/5"),
        ("home Thurs 9/7 if well", "DATE", "9/7"),
        ("Next 20+ scan 1/8, book", "DATE", "1/8"),
        ("from 02.09. to 07.09.2024", "DATE", "02.09."),
        ("Op 241105. Chart", "DATE", "241105"),
        ("born the third of the second, fifty-two", "DATE", "third of the second, fifty-two"),
        ("MED3 to 17th. r/v", "DATE", "17th"),
        ("on Remembrance Day", "DATE", "Remembrance Day"),
        ("DOB 2/3/33, ninety. Fell", "AGE90", "ninety"),
        ("in her 94th year", "AGE90", "94th"),
        ("in his ninety-fourth year", "AGE90", "ninety-fourth"),
        ("she is a centenarian", "AGE90", "centenarian"),
        ("bed 4 F 94 with cough", "AGE90", "94"),
        ("will be 100 in May", "AGE90", "100"),
        ("fell at the age of ninety-five", "AGE90", "ninety-five"),
        ("in her mid-nineties", "AGE90", "nineties"),
        ("BDS, GDC 118243", "LICENSE", "118243"),
        ("HCPC PH 091774", "LICENSE", "PH 091774"),
        ("licence VELNA 510284 A99BC.", "LICENSE", "VELNA 510284 A99BC"),
        ("c/s R231 left", "OTHERID", "R231"),
        ("property bag SW 009317 to", "OTHERID", "SW 009317"),
        ("PC 4471 attended", "OTHERID", "4471"),
        ("UR 882104, stockman", "MRN", "882104"),
        ("IPD no. 7712/24, for", "MRN", "7712/24"),
        ("medical record 5 5 0 1 9 2 2, seen", "OTHERID", "5 5 0 1 9 2 2"),
        ("W 4 bed 2 QE 4482910 line", "MRN", "QE 4482910"),
        ("policy 33 118 904.7. Seen", "PLAN", "33 118 904.7"),
        ("card xxxx xxxx 4418. Son", "SSN", "4418"),
        ("sn A&D-550193. Wound", "DEVICE", "A&D-550193"),
        ("ref NIMS 77481. Ward", "OTHERID", "77481"),
        ("Our ref NB/eod, chart", "INITIALS", "NB/eod"),
        ("lives at forty-one Beulah Hill. My", "STREET", "forty-one Beulah Hill"),
        ("FROM 19 BANKFIELD TERR BY", "STREET", "19 BANKFIELD TERR"),
        ("house on 398th Ave past", "STREET", "398th Ave"),
        ("Home 22-8 Haver-ro 30beon-gil, G", "STREET", "22-8 Haver-ro 30beon-gil"),
        ("at 13480 - 87B Ave. Well", "STREET", "13480 - 87B Ave"),
        ("Heol y Bont, Llan", "STREET", "Heol y Bont"),
        ('calls for "Clovis" at night', "NAME", "Clovis"),
    ],
)
def test_an_identifier_is_found(text: str, kind: str, identifier: str) -> None:
    assert any(each_kind == kind and identifier in each for each_kind, each in found(text)), found(text)


@pytest.mark.parametrize(
    "text",
    [
        "given 1/2 tab, review 6/52, 3/7 then 6/12; onset 2 days ago",
        "on the 3rd and 4th toes; by the 5th percentile; the first of two doses",
        "on the 2nd, 3rd and 4th ribs; from the 9th to the 25th centile; on the 25th for height; on the 5th digit",
        "weight on the 25th, height on the 50th; (K was 4.1.); PAS 4000 mg",
        "on the first day; base of the 5th; since the second dose; am 3. lumbar level",
        "he is a hundred percent better; lived 95 miles away; died at 1015",
        "one two three steps; two, three or four times; s/n of the pump",
        "fall risk 3/5, presented with 2/6 murmur, tested 5/5",
        "10^9 cells; grade 3 of 5; Group A strep; the last name of the drug",
        "taken 1/2 tab, changed 3/7 ago, stopped 6/52 ago, back 4/10, next 6/24. 5/7 1000 ml",
        "the no 5 blade; number 3; No. 2 vicryl 120 cm; no 2019 data; PC 18/8; UR normal",
        "M 95 % of predicted; will be 90 mg on Monday; eighty, ninety per cent; in the 95th percentile",
        "WBC 6 7 8; PLT 241000",
    ],
)
def test_the_language_of_medicine_stays(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("piece", ["A-", "1/2 ", "Mon ", "the 3rd ", "two ", "1 Aa ", "A^", "first name A ", "my.a"])
def test_a_hostile_text_takes_no_more_than_its_length(piece: str) -> None:
    text = (piece * 50_000)[:50_000]
    assert all(0 <= span.start < span.end <= len(text) for span in cue_spans(text, anchors_of(text, tokens(text))))


def test_an_expression_is_tried_wherever_it_can_match() -> None:
    """At its anchors it finds what a search through the whole text finds."""
    texts = [note["text"] for note in planted_notes(8, seed=9)] + [note.text for note in training_notes(24, seed=4)]
    matches = 0
    for text in texts:
        everywhere = {
            match.span("id" if "id" in pattern.groupindex else 0)
            for _, _, pattern in cue_patterns._PATTERNS
            for match in pattern.finditer(text)
        }
        assert {(span.start, span.end) for span in cue_spans(text, anchors_of(text, tokens(text)))} == everywhere
        matches += len(everywhere)
    assert matches > 3
