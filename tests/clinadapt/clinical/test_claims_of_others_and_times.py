"""Claims about other people, other times, and things that a note does not speak of."""

from __future__ import annotations

import pytest

from clinadapt.clinical.claims import unsupported

OTHERS = (
    "Migraine since 2015. Her mother had a mastectomy and takes anastrozole. Flatmate has scabies. Lives with her son, "
    "who has epilepsy. Father: colectomy. Takes propranolol 40 mg BD."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("", "She takes anastrozole.", False),
        ("", "Her mother takes anastrozole.", True),
        ("", "She takes propranolol.", True),
        ("", "She has had a mastectomy.", False),
        ("Who has scabies?", "The patient", False),
        ("Who has scabies?", "Her flatmate", True),
        ("Who has epilepsy?", "Her son", True),
        ("Who has epilepsy?", "Her niece", False),
        ("Who had a colectomy?", "She did.", False),
        ("", "It is the son who has epilepsy.", True),
    ],
)
def test_what_is_of_others_is_not_of_the_patient(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, OTHERS, question) == []) == supported, unsupported(answer, OTHERS, question)


TIMES = (
    "Bilirubin 41 (88 on admission). PHQ-9 6 today, 17 in 2022. T3 2.1, previously T3 6.4. Ferritin 20, was 9 in May. "
    "Lipase on arrival 2210, after two days of fluids 310. Pain 8/10, with paracetamol down to 2/10. Cystoscopy "
    "listed. MRI next Thursday. Drain removed yesterday. Stopped cycling. Planning a pregnancy. Rituximab planned. "
    "Urine culture pending. Biopsy 9/4, review on 10/16."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("What is the bilirubin now?", "88", False),
        ("What is the bilirubin now?", "41", True),
        ("What is the current PHQ-9?", "17", False),
        ("What is the T3 at present?", "6.4", False),
        ("What was the ferritin in May?", "20", False),
        ("What was the ferritin in May?", "9", True),
        ("What was the lipase after the fluids?", "310", True),
        ("What was the lipase after the fluids?", "2210", False),
        ("What is the pain after paracetamol?", "8/10", False),
        ("", "She had a cystoscopy.", False),
        ("", "She is to have a cystoscopy.", True),
        ("", "The MRI was done last Thursday.", False),
        ("", "The MRI is on Thursday next week.", True),
        ("", "The drain will be removed tomorrow.", False),
        ("", "The drain came out yesterday.", True),
        ("Does she cycle?", "She still cycles.", False),
        ("", "She is pregnant.", False),
        ("", "She received rituximab.", False),
        ("", "The urine culture was positive.", False),
        ("", "The urine culture is pending.", True),
        ("When was the biopsy?", "September 4", True),
        ("When is the review?", "September 4", False),
        ("When is the review?", "16 October", True),
    ],
)
def test_earlier_and_later_times(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, TIMES, question) == []) == supported, unsupported(answer, TIMES, question)


DRUGS = (
    "Formerly on venlafaxine. Sertraline 50 mg OM, increasing to 100 mg. Oxycodone SR 20 mg BD, oxycodone 5 mg PRN. "
    "Lisinopril held, to be resumed at discharge. Cannot tolerate codeine. Ertapenem 1 g q.24h. Swims 3x/week. Peanut "
    "allergy. Rx cefalexin 500 mg x 7 d."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("", "He is currently taking venlafaxine.", False),
        ("", "Venlafaxine was stopped.", True),
        ("What is the starting dose of sertraline?", "100 mg", False),
        ("What is the starting dose of sertraline?", "50 mg", True),
        ("What is the target dose of sertraline?", "50 mg", False),
        ("How much oxycodone does he take as needed?", "20 mg", False),
        ("How much oxycodone does he take as needed?", "5 mg", True),
        ("", "Lisinopril was stopped for good.", False),
        ("", "Lisinopril is on hold.", True),
        ("", "He does not tolerate codeine.", True),
        ("", "Ertapenem 1 g once daily.", True),
        ("", "Ertapenem 1 g every two hours.", False),
        ("How often does he swim?", "three times a week", True),
        ("How often does he swim?", "three times a day", False),
        ("What is he allergic to?", "Cefalexin", False),
        ("", "Cefalexin for seven days.", True),
    ],
)
def test_doses_and_statuses_of_one_drug(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, DRUGS, question) == []) == supported, unsupported(answer, DRUGS, question)


FINDINGS = (
    "9-year-old boy. Urine grew Proteus. CT normal. Operated under spinal. Abscess left axilla drained, right ear "
    "normal, perforation left. Hearing 20 dB right and 45 dB left. Sister 14 well. No neck stiffness. Monospot -, "
    "nitrite +. Sensation intact. Asthma well controlled. I am worried about osteomyelitis."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("What grew in the urine?", "Enterococcus", False),
        ("What grew in the urine?", "Proteus", True),
        ("", "He underwent a splenectomy.", False),
        ("Which anesthesia was used?", "General anesthesia", False),
        ("Which anesthesia was used?", "Spinal anaesthesia", True),
        ("Which ear is perforated?", "Right", False),
        ("Which ear has the perforation?", "Right", False),
        ("Which ear has the perforation?", "Left", True),
        ("What is the hearing in the right ear?", "45 dB", False),
        ("What is the hearing in the right ear?", "20 dB", True),
        ("How old is the boy?", "14 years", False),
        ("How old is the boy?", "9", True),
        ("Does he have neck stiffness?", "Present", False),
        ("Does he have neck stiffness?", "Absent", True),
        ("Does he have neck stiffness?", "Yes, his neck is stiff.", False),
        ("", "Nitrite was negative.", False),
        ("", "Nitrite was positive.", True),
        ("", "Sensation is reduced.", False),
        ("", "The asthma is poorly controlled.", False),
        ("", "Osteomyelitis has been confirmed.", False),
        ("", "Osteomyelitis is suspected.", True),
        ("", "Osteomyelitis cannot be excluded.", True),
        ("", "Osteomyelitis was excluded.", False),
        ("", "No signs of meningism have been found.", True),
    ],
)
def test_findings_that_the_note_has_not(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, FINDINGS, question) == []) == supported, unsupported(answer, FINDINGS, question)


@pytest.mark.parametrize(
    ("note", "answer", "supported"),
    [
        ("I cannot take sulfa drugs.", "She is allergic to sulfa.", True),
        ("She can't take penicillin.", "She is allergic to penicillin.", True),
        ("She can't take penicillin.", "She takes penicillin.", False),
        ("She takes penicillin.", "She is allergic to penicillin.", False),
        ("Ibuprofen was stopped after the bleed.", "She cannot take ibuprofen.", True),
        ("She didn't take metformin.", "She takes metformin.", False),
        ("She couldn't remember the dose of metformin.", "She takes metformin.", True),
        ("Unable to swallow tablets, so metformin as syrup.", "Metformin was given as syrup.", True),
        ("Just finished the course for Minocin.", "Recently finished Minocin.", True),
        ("Booked for chemotherapy.", "He finished chemotherapy.", False),
        ("He finished antibiotics and is for surgery.", "He underwent surgery.", False),
    ],
)
def test_what_cannot_be_taken_and_what_is_over(note: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, note) == []) == supported, unsupported(answer, note)
