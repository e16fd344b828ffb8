"""Claims about dialogues and spoken words, as transcripts of visits have them."""

from __future__ import annotations

import pytest

from clinadapt.clinical.claims import unsupported
from clinadapt.clinical.mention import Mention
from clinadapt.clinical.spoken_dates import spoken_dates

ASKED = (
    "Doctor: Good morning, ma'am. Any fever, chills, or any cough?\nPatient: Nope.\nDoctor: You don't smoke, right?\n"
    "Patient: Yeah, never.\nDoctor: How long have you had the headaches?\nPatient: For three weeks.\n"
    "Doctor: Is your asthma worse? Are you still vomiting?\nPatient: Not really.\n"
    "Doctor: Before I treat your eczema, are you allergic to any drugs?\nPatient: No, none.\n"
    "Doctor: What about diabetes or stroke in the family?\n"
    "Patient: My dad had diabetes. Oh, and he had a heart attack.\n"
    "Doctor: Did you notice swelling of both knees?\nPatient: No, only of the left one.\n"
    "Nurse: He can come in now. My husband says he is waiting.\n"
)
SON = (
    "Doctor: Tell me about your son, ma'am.\nGuest_family: Sure, he's six and he has asthma. I have migraine.\n"
    "Doctor: When did he have surgery?\nGuest_family: On the twenty fifth of September in ninety two.\n"
)


@pytest.mark.parametrize(
    ("answer", "supported"),
    [
        ("She has no fever, no chills and no cough.", True),
        ("She has a fever.", False),
        ("She coughs.", False),
        ("She does not smoke.", True),
        ("She smokes.", False),
        ("She has had headaches for three weeks.", True),
        ("She has no headaches.", False),
        ("She has asthma.", True),
        ("She has eczema.", True),
        ("She has no eczema.", False),
        ("Her father had diabetes and a heart attack.", True),
        ("The patient has diabetes.", False),
        ("The left knee is swollen.", True),
        ("The right knee is swollen.", False),
        ("He has eczema.", False),
    ],
)
def test_replies_questions_and_other_people(answer: str, supported: bool) -> None:
    assert (not unsupported(answer, ASKED)) is supported


@pytest.mark.parametrize(
    ("answer", "supported"),
    [
        ("A 6-year-old boy who comes with his mother for follow-up of asthma.", True),
        ("She has asthma.", False),
        ("His asthma is stable.", True),
        ("Surgery was on 9/25/92.", True),
        ("Surgery was in September 1992.", True),
        ("Surgery was on 9/26/92.", False),
    ],
)
def test_who_speaks_for_the_patient(answer: str, supported: bool) -> None:
    assert (not unsupported(answer, SON)) is supported


@pytest.mark.parametrize(
    ("words", "day"),
    [
        ("on april twelfth two thousand five", "2005-04-12"),
        ("the twenty fifth of september in ninety two", "1992-09-25"),
        ("july of nineteen ninety three", "1993-07"),
        ("january o eight", "2008-01"),
        ("on the fifth of november", "--11-05"),
        ("december thirty first", "--12-31"),
        ("september 25th", None),
        ("february thirtieth", None),
        ("you may first feel", None),
        ("march fifteen miles", None),
        ("june third 20 mg", "--06-03"),
        ("june third ninety milligrams", "--06-03"),
        ("you may in ten days", None),
        ("march in 20 minutes", None),
        ("june of 07", "2007-06"),
    ],
)
def test_spoken_dates(words: str, day: str | None) -> None:
    assert [mention.value for mention in spoken_dates(words)] == ([day] if day else [])


def test_the_span_of_a_spoken_date_is_that_of_its_words() -> None:
    text = "seen on april twelfth two thousand five, then home"
    (found,) = spoken_dates(text)
    assert isinstance(found, Mention) and text[found.start : found.end] == "april twelfth two thousand five"


@pytest.mark.parametrize(
    ("note", "answer", "supported"),
    [
        ("Doctor: The M R I and C T showed a D V T.", "A deep vein thrombosis on MRI.", True),
        ("It is one point three C M.", "A stone of 13 mm.", True),
        ("He smokes a pack and a half a day.", "He smokes 1-1/2 packs a day.", True),
        ("He smokes a pack and a half a day.", "He smokes 2.5 packs a day.", False),
        ("A fever of one o two.", "Temperature 102.", True),
        ("A fever of a hundred and three.", "Fever to 103.", True),
        ("She died in her seventies.", "She died in her 70s.", True),
        ("She died in her seventies.", "She died in her 80s.", False),
        ("He was back in Haiti in eighty two.", "He was in Haiti in 1982.", True),
        ("Pain in these knees.", "Bilateral knee pain.", True),
        ("Pain in this knee.", "Bilateral knee pain.", False),
        ("Blood in that urine.", "Hematuria.", True),
        ("Hb 104 g/L.", "Hemoglobin 10.4 g/dL.", True),
        ("Hb 104 g/L.", "Hemoglobin 104 g/dL.", False),
        ("Review in 8 weeks.", "Review in two months.", True),
        ("Review in 8 weeks.", "Review in three months.", False),
        ("Seen 12 February 2024. DOB 04/09/1951.", "Seen on 12/02/2024. Born on 4 September 1951.", True),
        ("Given morph 5 mg IV.", "Morphine 5 mg intravenously.", True),
        ("Given morph 5 mg IV.", "Morphine 10 mg intravenously.", False),
        ("XR: # R clavicle. ?# 4th rib.", "The right clavicle is broken. Possible rib fracture.", True),
        ("No # seen.", "A fracture was seen.", False),
        ("TSH 6.8 today, was 3.1 last year.", "The TSH was 3.1 last year.", True),
        ("TSH 6.8 today, was 3.1 last year.", "The TSH was 8.6 today.", False),
        ("Admitted 03.07.22, discharged 09.07.22.", "Discharged after six days.", True),
        ("Admitted 03.07.22, discharged 09.07.22.", "Discharged after eight days.", False),
        ("58/M with cough.", "She has a cough.", False),
        ("Pain in the morning.", "Pain is worst in the morning.", True),
        ("Nystatin ointment t.i.d. p.r.n.", "Nystatin is used p.r.n.", True),
        ("The patient is widowed. Seen by the nurse. She gave advice.", "He was seen by the nurse.", True),
        ("Nonoperative care of the fracture.", "The fracture was treated without surgery.", True),
        ("He is a non-smoker.", "He smokes.", False),
        ("Negative chest pain, negative fever.", "She has no chest pain.", True),
        ("No known allergies, lives with his wife, smokes, hypertension, diabetes.", "He has diabetes.", True),
        ("No fever, cough, lives with his wife.", "He has a cough.", False),
        ("Doctor: Are you taking aspirin?\nPatient: No, I stopped it last year.", "He takes aspirin.", False),
        ("Doctor: Are you taking aspirin?\nPatient: No, I stopped it last year.", "He stopped aspirin.", True),
        ("Doctor: Are you taking aspirin?\nPatient: No, never.", "He does not take aspirin.", True),
        ("Doctor: Are you taking aspirin?\nPatient: Yes, daily.", "He takes aspirin.", True),
        ("Doctor: Which knee hurts, left or right?\nPatient: The left one.", "Right knee pain.", False),
        ("Doctor: Which knee hurts, left or right?\nPatient: The left one.", "Left knee pain.", True),
        ("Doctor: Anyone in the family with diabetes?\nPatient: My mother.", "Her mother has diabetes.", True),
        ("Risks are not limited to infection.", "Risks include infection.", True),
    ],
)
def test_how_it_is_said(note: str, answer: str, supported: bool) -> None:
    assert (not unsupported(answer, note)) is supported
