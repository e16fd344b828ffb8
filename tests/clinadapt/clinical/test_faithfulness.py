"""Facts of a text: what is one, what is the same one, and what a note does not hold."""

import pickle

import pytest

from clinadapt.clinical.dates import dates
from clinadapt.clinical.doses import numbers
from clinadapt.clinical.drug_names import _plain_data
from clinadapt.clinical.drugs import drugs
from clinadapt.clinical.faithfulness import facts, unsupported_facts

NOTE = (
    "A 55-year-old man seen 03/14/2009 on Lasix 20 mg b.i.d. and Norco; took two tablets for L5-S1 pain. BP 120/80. "
    "Valium 5-10 mg q.8h., 1,000 mL of fluid, temperature 98.60."
)


@pytest.mark.parametrize(
    "answer",
    [
        "furosemide 20mg",
        "FUROSEMIDE 20.0 milligrams twice daily",
        "2 tablets",
        "the 55 year old man",
        "seen on March 14, 2009",
        "in March 2009",
        "14-Mar-2009 and 2009-03-14",
        "hydrocodone with acetaminophen",
        "diazepam 5 mg",
        "1000 cc, 98.6 F",
        "every 8 hours",
        "No one knows.",
    ],
)
def test_what_a_note_says_in_other_words_is_supported(answer: str) -> None:
    assert unsupported_facts(answer, NOTE) == set()


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ("furosemide 40 mg", {"40 mg"}),
        ("furosemide 20 mcg", {"20 mcg"}),
        ("three tablets", {"3"}),
        ("warfarin", {"warfarin"}),
        ("Coumadin", {"warfarin"}),
        ("on March 15, 2009", {"2009-03-15"}),
        ("a newgliptin", {"newgliptin"}),
    ],
)
def test_what_a_note_does_not_say_is_named(answer: str, missing: set[str]) -> None:
    assert unsupported_facts(answer, NOTE) == missing


def test_names_and_dates_are_no_numbers_and_words_like_drugs_no_drugs() -> None:
    assert numbers("T4 and L5-S1 on 03/14/2009, one of them") == set()
    assert drugs("In April cocaine was denied.") == set()
    assert dates("BP 120/80, 13/45/2009") == set()


def test_facts_are_numbers_dates_and_drugs() -> None:
    assert facts("Toprol XL 50 mg since May 2, 2008") == {"50 mg", "metoprolol", "2008-05-02"}


@pytest.mark.parametrize(
    ("name", "generics"),
    [
        ("Farxiga", {"dapagliflozin"}),
        ("Jardiance", {"empagliflozin"}),
        ("Ozempic", {"semaglutide"}),
        ("Entresto", {"valsartan", "sacubitril"}),
        ("Trelegy", {"fluticasone", "umeclidinium", "vilanterol"}),
        ("Mounjaro", {"tirzepatide"}),
        ("Leqembi", {"lecanemab"}),
        ("Breztri", {"budesonide", "glycopyrronium", "formoterol"}),
        ("Utrogestan", {"progesterone"}),
        ("progesterone receptor positive", set()),
        ("Stemetil", {"prochlorperazine"}),
        ("Elvanse", {"lisdexamfetamine"}),
        ("edoxaban", {"edoxaban"}),
        ("Keytruda", {"pembrolizumab"}),
        ("Paxlovid", {"nirmatrelvir", "ritonavir"}),
        ("nicorandil", {"nicorandil"}),
        ("mebeverine", {"mebeverine"}),
        ("Microgynon", {"levonorgestrel", "ethinylestradiol"}),
        ("melatonin", {"melatonin"}),
        ("Lemsip", {"acetaminophen", "phenylephrine"}),
        ("frusemide", {"furosemide"}),
        ("salbutamol", {"albuterol"}),
        ("co-codamol", {"co-codamol"}),
    ],
)
def test_new_and_british_drugs_have_generic_names(name: str, generics: set[str]) -> None:
    assert drugs(f"Takes {name} every day.") == generics


def test_the_drug_list_is_read_as_data_and_runs_nothing() -> None:
    plain = {"a": ["b", "c"], "d": {"e": True, "f": 1.5}}
    assert _plain_data(pickle.dumps(plain, protocol=4)) == plain
    with pytest.raises(ValueError, match="GLOBAL"):
        _plain_data(pickle.dumps(pytest.raises, protocol=4))


def test_shorthand_durations_and_number_words_are_numbers() -> None:
    assert numbers("3/7 of D&V, review in 1/52, forty milligrams and twenty-five tablets") == {
        "3 day", "1 week", "40 mg", "25",
    }  # fmt: skip
