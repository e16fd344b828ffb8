"""Texts that somebody writes about screened notes: what identifies anybody is redacted, what the note has stays."""

from clinadapt.privacy.written_texts import direct_identifiers, is_screened, redacted

NOTE = "Ms. Martell was seen on 9/21/2006 for her knee."  # with an invented name, as screening writes it


def test_what_its_note_has_stays_in_an_answer() -> None:
    answer = "Ms. Martell was seen on 9/21/2006 by Dr. Velnadal, MRN: E99431010."
    assert redacted([answer], NOTE) == ["Ms. Martell was seen on 9/21/2006 by Dr. [NAME], MRN: [MRN]."]


def test_letters_within_another_word_of_the_note_excuse_no_name() -> None:
    assert redacted(["Seen by Dr. Ross."], "Pain across the chest.") == ["Seen by Dr. [NAME]."]
    assert redacted(["Seen by Dr. Ross."], "DR. ROSS saw her.") == ["Seen by Dr. Ross."]


def test_texts_about_one_patient_are_screened_alike() -> None:
    texts = ["Seen by Dr. Velnadal on 3/5/2009.", "velnadal's advice", ""]
    assert redacted(texts) == ["Seen by Dr. [NAME] on [DATE].", "[NAME]'s advice", ""]
    assert redacted(texts, direct_only=True) == ["Seen by Dr. [NAME] on 3/5/2009.", "[NAME]'s advice", ""]


def test_what_names_somebody_directly_in_a_few_words() -> None:
    assert direct_identifiers("approved by Dr. Velnadal, 708-955-3609") == ["NAME", "PHONE"]
    assert direct_identifiers("Hospice - Palliative Care, since 2024, by another program") == []


def test_whether_a_dataset_was_screened() -> None:
    assert [is_screened({"policy": policy}) for policy in ("redact", "surrogate", "quarantine")] == [True] * 3
    assert not any(map(is_screened, ({}, {"policy": "off"}, {"policy": "report"})))
