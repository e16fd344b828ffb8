"""What becomes of identifiers: the same in all texts of a patient, by policy and type."""

import re
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from planted_notes import planted_notes

from clinadapt.artifacts.code_version import reachable_sources
from clinadapt.config.phi import Phi
from clinadapt.errors import UserError
from clinadapt.privacy import detector_version, screening, surrogates
from clinadapt.privacy.date_shift import DateReading
from clinadapt.privacy.features import tokens
from clinadapt.privacy.mentions import Mentions
from clinadapt.privacy.screening import Screener
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.term_files import Terms

NOTE = """Patient: Jaskmo Velnadal MRN: E99431010 DOB 03/14/1950
Ms. Velnadal, a 94-year-old woman, was admitted to Mercy Ridge Hospital on 3/5/2009 (Thursday) and went home on \
March 12, 2009. Call 708-955-3609 or jane.velnadal@example.com. She lives at 12 North Elm Street.
Strength 3/5, BP 120/80. Lasix 40 mg daily. Her brother, Tom Okonjo-Brask, will drive her."""
ANSWERS = (
    "Jaskmo Velnadal was admitted on 3/5/2009 to Mercy Ridge Hospital.",
    "velnadal, e99431010",
    "VELNADAL, JASKMO: 708-955-3609",
    "It was TomOkonjo, or okonjos.",
)
PLANTED = ("jaskmo", "velnadal", "e99431010", "03/14/1950", "3/5/2009", "march 12", "708-955-3609", "okonjo",
           "mercy ridge", "elm street", "94-year")  # fmt: skip


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_PHI_KEY", "a key of the hospital's, of 32 characters")


def screened(texts: list[str], patient: str = "p1", **settings: object) -> list[str]:
    result = Screener(Phi.model_validate(settings)).screen(patient, texts)
    return [result.texts[text].text for text in texts]


@pytest.mark.parametrize("policy", ["redact", "surrogate"])
def test_nothing_found_survives_in_any_text_of_the_patient(policy: str) -> None:
    joined = "\n".join(screened([NOTE, *ANSWERS], policy=policy)).lower()
    assert [planted for planted in PLANTED if planted in joined] == []
    assert "strength 3/5, bp 120/80. lasix 40 mg daily." in joined and "(thursday)" in joined


def test_one_entity_has_one_replacement_whatever_its_capitals() -> None:
    note, first, second, third, _ = screened([NOTE, *ANSWERS], policy="surrogate")
    given, family = re.match(r"Patient: (\w+) (\w+) MRN", note).groups()
    assert first.startswith(f"{given} {family} was admitted on ") and f"Ms. {family}, a over-89-year-old" in note
    assert second.startswith(family.lower()) and third.startswith(f"{family}, {given}: ".upper())
    number = re.search(r"MRN: (\w+)", note)[1]
    assert second.endswith(number.lower()) and re.fullmatch(r"[A-Z]\d{8}", number)
    assert third.rpartition(" ")[2] in note and re.search(r"to (.+ Hospital)\b", first)[1] in note


def test_intervals_and_weekdays_hold_within_a_patient() -> None:
    note = screened([NOTE], policy="surrogate")[0]
    born = datetime.strptime(re.search(r"DOB (\S+)", note)[1], "%m/%d/%Y")
    came = datetime.strptime(re.search(r"on (\S+) \(Thu", note)[1], "%m/%d/%Y")
    left = datetime.strptime(re.search(r"home on (\w+ \d+, \d+)", note)[1], "%B %d, %Y")
    assert (
        came.weekday() == 3 and (left - came).days == 7 and came - born == datetime(2009, 3, 5) - datetime(1950, 3, 14)
    )
    assert came < datetime(2009, 3, 5)


def test_the_same_key_gives_the_same_bytes_another_patient_or_key_others(monkeypatch: pytest.MonkeyPatch) -> None:
    first = screened([NOTE, *ANSWERS], policy="surrogate")
    assert screened([NOTE, *ANSWERS], policy="surrogate") == first
    assert screened([NOTE], "p2", policy="surrogate")[0] != first[0]
    monkeypatch.setenv("CLINADAPT_PHI_KEY", "another key of the hospital's, also of 32 characters")
    assert screened([NOTE], policy="surrogate")[0] != first[0]


def test_screening_twice_changes_nothing() -> None:
    screener = Screener(Phi())
    for note in planted_notes(25, seed=11):
        once = [each.text for each in screener.screen("p", [note["text"]]).texts.values()]
        assert [each.text for each in screener.screen("p", once).texts.values()] == once


def test_a_type_may_have_an_action_of_its_own() -> None:
    note = screened([NOTE], policy="redact", types={"DATE": "report", "NAME": "surrogate"})[0]
    assert "3/5/2009" in note and "[MRN]" in note and "[NAME]" not in note and "Velnadal" not in note


def test_a_row_is_left_out_by_quarantine_and_counted_by_report() -> None:
    result = Screener(Phi(policy="quarantine", types={"DATE": "report"})).screen("p", [NOTE, "Slept on 3/5/2009."])
    assert "NAME" in result.texts[NOTE].quarantined and not result.texts["Slept on 3/5/2009."].quarantined
    result = Screener(Phi(policy="report")).screen("p", [NOTE])
    assert result.texts[NOTE].text == NOTE and result.texts[NOTE].found["DATE"] == 3


@pytest.mark.parametrize("policy", ["redact", "surrogate"])
def test_spans_of_evidence_still_support_the_answer(policy: str) -> None:
    result = Screener(Phi(policy=policy)).screen("p", [NOTE, "Lasix 40 mg", "Tom Okonjo-Brask", "Okonjo"]).texts
    for answer in ("Lasix 40 mg", "Tom Okonjo-Brask"):
        start, end = result[NOTE].moved(NOTE.index(answer), NOTE.index(answer) + len(answer))
        assert result[NOTE].text[start:end] == result[answer].text
    start, end = result[NOTE].moved(NOTE.index("Okonjo"), NOTE.index("Okonjo") + 6)  # a part of an identifier
    assert result[NOTE].text[end:].startswith(", will drive")


def test_what_the_hospital_knows_is_replaced_in_any_form() -> None:
    known = ["Szymborska, Wanda", "1950-03-14", "0071234"]
    text = "szymborska came. Wanda Szymborska, born 3/14/1950, and 03/14/50; file 0071234."
    result = Screener(Phi()).screen("p", [text], known).texts[text].text
    assert not re.search("szymb|wanda|19?50|71234", result, re.IGNORECASE)


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ("482951", "file 482951"),  # strptime reads a date of the year 4829
        ("1764", "file 1764"),
        ("482951", "file 00482951"),  # a spreadsheet leaves out the zeros
        ("00482951", "file 482951"),
        ("0093", "file 0093"),
    ],
)
def test_a_known_record_number_is_replaced_whatever_it_may_be_read_as(known: str, text: str) -> None:
    assert Screener(Phi()).screen("p", [text], [known]).texts[text].text == "file [MRN]"


def test_a_long_name_is_replaced_with_what_is_written_together_with_it() -> None:
    mentions = Mentions()
    for name in ("Velnadal", "Okonjobrask"):
        mentions.add_known(name)
    text = "see JaneVELNADAL_2, xvelnadalİOkonjobrask, velnada1, " + "x" * 200 + "velnadal" + "y" * 200
    assert [text[span.start : span.end] for span in united(mentions.spans(text, tokens(text)))] == [
        "JaneVELNADAL_2", "xvelnadalİOkonjobrask", "x" * 60 + "velnadal" + "y" * 60
    ]  # fmt: skip


def test_what_was_written_is_left_in_place_between_what_was_not() -> None:
    each = screening.ScreenedText("Ann saw Bob, Cy and [NAME]")
    each.edit([screening.Edit(0, 3, "Ulrike"), screening.Edit(8, 11, "Al")])
    assert each.text == "Ulrike saw Al, Cy and [NAME]"
    assert list(each.outside([Span(0, 17, "NAME"), Span(18, 28, "NAME")])) == [
        Span(7, 10, "NAME"), Span(13, 17, "NAME"), Span(18, 21, "NAME")
    ]  # fmt: skip
    each.edit([screening.Edit(15, 17, "Eva")])
    assert [each.moved(*place) for place in ((0, 3), (1, 9), (8, 11), (13, 15), (16, 19))] == [
        (0, 6), (0, 13), (11, 13), (15, 18), (19, 22)
    ]  # fmt: skip


def test_files_of_staff_and_of_protected_terms_are_heeded(tmp_path: Path) -> None:
    staff, protected = tmp_path / "staff.txt", tmp_path / "terms.txt"
    staff.write_text("Quillfeather, Osbert\n", "utf-8")
    protected.write_text("Velnadal score\n", "utf-8")
    text = "osbert quillfeather noted a Velnadal score of 3; Mr. Velnadal slept."
    result = screened([text], staff_file=staff.as_uri(), protect_file=protected.as_uri())[0]
    assert result == "[NAME] noted a Velnadal score of 3; Mr. [NAME] slept."


@pytest.mark.parametrize(("content", "message"), [(None, "cannot read staff.txt"), (b"\xff\xfe\x00", "is not UTF-8")])
def test_a_file_of_terms_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content:
        (tmp_path / "staff.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        Screener(Phi(staff_file=(tmp_path / "staff.txt").as_uri()))


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        (["Straße"], "Straße"),
        (["Straße"], "STRASSE"),
        (["Parkinson clinic", "clinic Velnadal score"], "Parkinson clinic Velnadal score"),
        (["score", "score of Velnadal"], "score of Velnadal"),
    ],
)
def test_a_protected_term_covers_its_words(terms: list[str], text: str) -> None:
    last = text.rindex(" ") + 1 if " " in text else 0
    assert Terms(terms).cover(f"The {text}, twice", Span(4 + last, 4 + len(text), "NAME"))
    assert not Terms(terms).cover(f"The {text}, twice", Span(0, 4 + len(text), "NAME"))


def test_a_name_has_a_code_where_all_others_are_the_patients_own() -> None:
    taken = {name.casefold() for name in (*surrogates._given(), *surrogates._family())}
    new = surrogates.Surrogates(b"k" * 32, "p", taken, DateReading()).of("NAME", "Jane Velnadal")
    assert re.fullmatch(r"[A-Z][a-z]{3} [A-Z][a-z]{7}", new) and new != "Jane Velnadal"


def test_other_code_that_replaces_screens_a_dataset_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = detector_version.screening_digest(Phi())
    version = detector_version.code_version
    monkeypatch.setattr(
        detector_version, "code_version", lambda name: version(name) + "+" * (name == "clinadapt.privacy.screening")
    )
    assert detector_version.screening_digest(Phi()) != before
    assert "clinadapt/privacy/date_shift.py" in reachable_sources("clinadapt.privacy.screening")


def test_invented_identifiers_need_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_PHI_KEY", "short")
    with pytest.raises(UserError, match="CLINADAPT_PHI_KEY"):
        Screener(Phi(types={"NAME": "surrogate"}))


@pytest.mark.parametrize(
    "run", [lambda work: work(), lambda work: [t := threading.Thread(target=work), t.start(), t.join()]]
)
def test_a_text_that_takes_too_long_is_quarantined(
    run: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(text: str) -> list[Span]:
        end = datetime.now().timestamp() + 0.05
        while datetime.now().timestamp() < end:
            pass
        return []

    monkeypatch.setattr(screening, "identifiers", slow)
    reasons: list[str] = []
    screener = Screener(Phi(seconds_per_note=0.01))
    run(lambda: reasons.append(screener.screen("p", ["a text"]).texts["a text"].quarantined))
    assert reasons == ["takes over 0.01 s to screen"]


@pytest.mark.parametrize("piece", ["A-", "Dr. Jane ", "3/5/2009 ", "[NAME", "a" * 99 + " "])
def test_a_hostile_text_ends(piece: str) -> None:
    text = (piece * 10_000)[:10_000]
    result = screened([text])[0]
    assert screened([result])[0] == result


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "off"}, "needs a reason"),
        ({"reason": "no need"}, "no other policy takes one"),
        ({"types": {"NAMES": "redact"}}, "no type of identifier"),
        ({"types": {"NAME": "off"}}, "Input should be"),
        ({"seconds_per_note": 0}, "greater than 0"),
        ({"seconds_per_note": float("inf")}, "less than or equal to 3600"),
        ({"policy": "off", "reason": "a test", "known_columns": ["mrn"]}, "policy off looks for nothing"),
        ({"policy": "off", "reason": "a test", "types": {"NAME": "redact"}}, "policy off looks for nothing"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Phi.model_validate(settings)
