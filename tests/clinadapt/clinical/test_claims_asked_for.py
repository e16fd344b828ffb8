"""Bare answers that hold something of the note which answers another question."""

from __future__ import annotations

import time

import pytest

from clinadapt.clinical.claims import unsupported
from clinadapt.clinical.claims.asked_drugs import check_asked_drugs
from clinadapt.clinical.claims.reading import read

DRUGS = (
    "Medications: atorvastatin 40 mg nightly, lisinopril 10 mg daily, warfarin 3 mg daily, paracetamol 1 g as needed. "
    "Ceftriaxone 2 g IV for 5 days with azithromycin 500 mg. Senna for constipation. Levomepromazine 6.25 mg as an "
    "antiemetic. Aspirin 75 mg. Symbicort two puffs twice daily. Prednisolone 30 mg for 5 days. Co-amoxiclav allergy. "
    "Terbutaline 250 mcg for the contractions. Propranolol for tremor."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("What statin is he on?", "Atorvastatin", True),
        ("What statin is he on?", "lisinopril", False),
        ("What statin is he on?", "The statin is lisinopril 10 mg.", False),
        ("What antibiotics were given?", "Ceftriaxone and azithromycin", True),
        ("What antibiotics were given?", "Paracetamol", False),
        ("What antibiotics were given?", "Ceftriaxone 2 g, azithromycin 500 mg, prednisolone 30 mg", False),
        ("Which antibiotic was given, and at what dose?", "2 g", True),
        ("Which antibiotic was given, and at what dose?", "30 mg", False),
        ("Which antibiotic is he allergic to?", "co-amoxiclav", True),
        ("What is he taking for constipation?", "Senna", True),
        ("What is he taking for constipation?", "warfarin", False),
        ("What is he taking for constipation and blood pressure?", "senna and lisinopril", True),
        ("What was given for the contractions?", "terbutaline", True),
        ("What was given for the contractions?", "senna", False),
        ("What is he taking for the tremor?", "propranolol", True),
        ("What is he taking for the tremor?", "warfarin 3 mg", False),
        ("What is he taking for his heart?", "lisinopril", True),
        ("Which antiemetic is prescribed?", "levomepromazine", True),
        ("Which antiemetic is prescribed?", "senna", False),
        ("What blood thinner does he take?", "warfarin and aspirin", True),
        ("What blood thinner does he take?", "atorvastatin 40 mg", False),
        ("What steroid does he take?", "Symbicort", True),
        ("What steroid does he take?", "Prednisolone", True),
        ("What steroid does he take?", "senna", False),
        ("What is his painkiller?", "paracetamol 1 g", True),
        ("What is his painkiller?", "azithromycin", False),
        ("What beta blocker does he take?", "No beta blocker; lisinopril only", True),
        ("What beta blocker does he take?", "lisinopril", False),  # the note has none, and this is of another class
        ("What antibiotic side effect did he have?", "none with ceftriaxone", True),
    ],
)
def test_a_drug_is_of_the_class_or_purpose_that_is_asked_for(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, DRUGS, question) == []) == supported, unsupported(answer, DRUGS, question)


@pytest.mark.parametrize(
    ("note", "question", "answer"),
    [
        ("Atorvastatin stopped for myalgia, ezetimibe started.", "Which drug replaced statins?", "ezetimibe"),
        ("Atorvastatin stopped, ezetimibe started.", "What alternative to statins was started?", "Ezetimibe"),
        ("Ceftriaxone 2 g. Paracetamol 1 g.", "What drugs besides antibiotics were given?", "paracetamol"),
        ("Agomelatine 25 mg. Sertraline stopped.", "Which antidepressant does he take?", "agomelatine"),
        ("Amisulpride 200 mg. Olanzapine stopped.", "Which antipsychotic does he take?", "amisulpride"),
        ("Perampanel 4 mg. Levetiracetam stopped.", "Which antiepileptic is he on?", "Perampanel"),
    ],
)
def test_a_drug_that_is_known_to_be_of_no_other_class_is_not_accused(note: str, question: str, answer: str) -> None:
    assert not unsupported(answer, note, question)


def test_a_long_question_takes_no_time() -> None:
    start = time.process_time()
    readings = (read("warfarin 5 mg"), read("Takes aspirin for pain."), read("What " + "what on for " * 3000))
    assert not list(check_asked_drugs(*readings)) and time.process_time() - start < 10


TIMES = (
    "Liver clinic 14/05/2023\nDiagnoses: liver transplant in Leeds 9 March 2017; cholecystectomy 2004; gout since 2011."
    "\nLast colonoscopy 20/11/2021, normal. Colonoscopy to be repeated in 5 years. Fell in April. Has had a cough "
    "for 3 weeks and a rash for 2 days. Ultrasound today. Given adrenaline at 19:05 and hydrocortisone at 20:10."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("When was her liver transplant?", "9 March 2017", True),
        ("When was her liver transplant?", "2017", True),
        ("When was her liver transplant?", "14/05/2023", False),
        ("When was her liver transplant?", "in April", False),
        ("When was her cholecystectomy?", "2004", True),
        ("When was her cholecystectomy?", "2011", False),
        ("When was the last colonoscopy?", "20/11/2021", True),
        ("When was the last colonoscopy?", "14/05/2023", False),
        ("When was the ultrasound?", "14/05/2023", True),
        ("When was she seen in clinic?", "14/05/2023", True),
        ("When did she fall?", "in April", True),
        ("When was the adrenaline given?", "19:05", True),
        ("How long has she had the cough?", "3 weeks", True),
        ("How long has she had the cough?", "2 days", False),
        ("How long has she had the rash?", "2 days", True),
    ],
)
def test_a_time_is_of_the_event_that_is_asked_for(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, TIMES, question) == []) == supported, unsupported(answer, TIMES, question)


SIDES = (
    "Stroke clinic. L arm 3/5, L leg 4/5. Right side full power. Old R clavicle fracture. Right knee swollen and hot, "
    "left knee not swollen. Wound: sole of L foot, 2 x 1 cm. Right foot: callus. L distal radius buckle # , splint."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("Which side is weak?", "left", True),
        ("Which side is weak?", "The left side is weak.", True),
        ("Which side is weak?", "right", False),
        ("Which side is weak?", "The side that is weak is the right side.", False),
        ("Which knee is swollen?", "right", True),
        ("Which knee is swollen?", "left", False),
        ("Where is the wound?", "The wound is on the left foot, and needs a dressing.", True),
        ("Where is the wound?", "The wound is on the right foot, and needs a dressing.", False),
        ("Where is the wound?", "right foot", False),
        ("Which wrist is broken, and what is the fracture?", "left", True),
    ],
)
def test_a_side_is_of_the_sign_that_is_asked_for(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, SIDES, question) == []) == supported, unsupported(answer, SIDES, question)


NUMBERS = (
    "31-year-old at 28 weeks, married for 6 years. Gross: a firm mass of 15 mm lies 3 mm from the deep margin. "
    "Five lymph nodes, two with metastasis. Never had an EEG. Telemetry and ECG normal (QTc 402).\n"
    "ECG: ST elevation 2 mm in II, III and aVF, sinus rhythm.\nEcho 2022: EF 45%, inferior hypokinesis, no thrombus.\n"
    "Wound swab: Staph aureus, sensitive to flucloxacillin. XR foot: erosion of the metatarsal head."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("How far along is the pregnancy?", "28 weeks", True),
        ("How far along is the pregnancy?", "31 years", False),
        ("How long has she been married?", "6 years", True),
        ("How old is she?", "31 years", True),
        ("Who is the patient?", "31 years", True),
        ("How large is the tumor?", "15 mm", True),
        ("How large is the tumor?", "3 mm", False),
        ("How far is the tumor from the margin?", "3 mm", True),
        ("How many lymph nodes contained tumor?", "two", True),
        ("How many lymph nodes contained tumor?", "five", False),
        ("How many lymph nodes were removed?", "five", True),
        ("What did the ECG show?", "402", True),
        ("What did the EEG show?", "402", False),
        ("What did the ECG show?", "ST elevation 2 mm in II, III and aVF", True),
        ("What did the echocardiogram show?", "ST elevation 2 mm in II, III and aVF", False),
        ("What did the echocardiogram show?", "inferior hypokinesis", True),
        ("What did the echo show?", "45%", True),
        ("What did the ECG show?", "inferior hypokinesis, no thrombus", False),
        ("What did the swab show?", "Staph aureus", True),
        ("What did the X-ray show?", "Staph aureus", False),
        ("What did the X-ray show?", "erosion of the metatarsal head", True),
    ],
)
def test_a_number_or_result_is_of_what_is_asked_for(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, NUMBERS, question) == []) == supported, unsupported(answer, NUMBERS, question)


@pytest.mark.parametrize(
    ("note", "question", "answer"),
    [
        ("Ultrasound done today. Stone of 12 mm, echogenic.", "What did the ultrasound show?", "12 mm"),
        ("X-ray done. Fracture of the toe, 3 mm apart.", "What did the X-ray show?", "3 mm"),
        ("CT head. Lesion 8 mm, explains the diplopia.", "What did the CT show?", "8 mm"),
        ("CT done. As told to us, the lesion is 8 mm.", "What did the CT show?", "8 mm"),
        (
            "ECG: sinus rhythm.\nImpression: angina. Echo last week: EF 45% and mild mitral regurgitation.\n"
            "Echocardiogram: to be repeated.",
            "What did the echocardiogram show?",
            "EF 45% and mild mitral regurgitation",
        ),
    ],
)
def test_words_that_name_no_examination_and_what_is_told_elsewhere(note: str, question: str, answer: str) -> None:
    assert not unsupported(answer, note, question)
