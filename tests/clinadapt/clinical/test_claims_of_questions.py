"""Claims of short answers, which only their questions tell what they are about, and changes in time."""

from __future__ import annotations

import pytest

from clinadapt.clinical.claims import check, unsupported

LABS = (
    "Sodium was 118 on arrival and is now 124 mEq/L. CRP 96 (144), Hb 9.1. Lactate 4.8 -> 2.9. Neutrophils 1.1, "
    "platelets 92. PSA 6.8 ng/mL, up from 4.1 a year ago. BP lying 142/70, standing 112/64. FEV1 1.2 L. BMI 33."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("What is the sodium now?", "124 mmol/L", True),
        ("What is the sodium now?", "118", False),
        ("What was the sodium on arrival?", "118", True),
        ("What is the current CRP?", "96 mg/L", True),
        ("What is the current CRP?", "144 mg/L", False),
        ("What was the CRP before?", "144", True),
        ("What was the CRP before?", "96", False),
        ("What is the latest lactate?", "2.9", True),
        ("What is the latest lactate?", "4.8", False),
        ("What was the lactate initially?", "4.8 mmol/L", True),
        ("How did the lactate change?", "It fell from 4.8 to 2.9.", True),
        ("How did the lactate change?", "It rose from 2.9 to 4.8.", False),
        ("What is the PSA?", "6.8", True),
        ("What is the PSA?", "4.1", False),
        ("What was the PSA a year ago?", "4.1 ng/mL", True),
        ("What was the PSA a year ago?", "6.8 ng/mL", False),
        ("What is the neutrophil count?", "1.1", True),
        ("What is the neutrophil count?", "92", False),
        ("What is the hemoglobin?", "9.1 g/dL", True),
        ("What is the hemoglobin?", "96", False),
        ("What was the standing blood pressure?", "112/64 mmHg", True),
        ("What was the standing blood pressure?", "142/70", False),
        ("What was the BP lying down?", "142/70", True),
        ("What was the FEV1?", "1,200 mL", True),
        ("What is his BMI?", "33 kg/m2", True),
        ("What is his BMI?", "31 kg/m2", False),
        ("What is his BMI?", "It is raised, and the scan shows a lesion of 33 by 92.", True),
    ],
)
def test_a_bare_value_is_of_the_test_and_time_that_is_asked_for(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, LABS, question) == []) == supported, unsupported(answer, LABS, question)


DRUGS = (
    "Warfarin was switched to rivaroxaban 15 mg with supper. Stop IV fluids and IV metronidazole, continue oral "
    "cefalexin 500 mg tds. Ramipril reduced from 10 mg to 5 mg om. Sumatriptan 6 mg sc as needed. Etanercept 50 mg sc "
    "every other week. Takes no painkillers except ibuprofen 400 mg. Triamcinolone 40 mg injected into the left knee. "
    "Allergies: codeine."
)


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        ("How is cefalexin given?", "Orally, three times daily.", True),
        ("How is cefalexin given?", "Intravenously.", False),
        ("How is sumatriptan taken?", "as a 6 mg injection under the skin", True),
        ("How is sumatriptan taken?", "6 mg intranasally", False),
        ("How was triamcinolone given?", "by injection into the knee", True),
        ("How was triamcinolone given?", "40 mg by mouth", False),
        ("How often is etanercept given?", "every two weeks", True),
        ("How often is etanercept given?", "once a fortnight", True),
        ("How often is etanercept given?", "weekly", False),
        ("When does he take ramipril?", "in the morning", True),
        ("When does he take ramipril?", "5 mg at night", False),
        ("What is the new dose of ramipril?", "5 mg", True),
        ("What is the new dose of ramipril?", "10 mg", False),
        ("What was the dose of ramipril before?", "10 mg", True),
        ("What was the dose of ramipril before?", "5 mg", False),
        ("Which anticoagulant does he take now?", "rivaroxaban", True),
        ("Which anticoagulant does he take now?", "warfarin", False),
        ("Which drug is stopped?", "metronidazole", True),
        ("Which drug is stopped?", "cefalexin", False),
        ("Which drugs is he allergic to?", "codeine", True),
        ("Which drugs is he allergic to?", "ramipril", False),
        ("Which drugs is he allergic to?", "eggs and codeine", True),
        ("What painkiller does he use?", "Advil 400 mg", True),
    ],
)
def test_a_bare_detail_is_of_the_drug_that_is_asked_for(question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, DRUGS, question) == []) == supported, unsupported(answer, DRUGS, question)


HISTORY = (
    "67F with hypertension. Denies chest pain. Takes ramipril 5 mg. Her father had gout. ?pneumonia. Previous asthma. "
    "Allergic to penicillin. Warfarin was stopped. Return if fever. Consider aspirin."
)


@pytest.mark.parametrize(
    ("question", "wrong"),
    [
        ("Does she have chest pain?", "Yes."),
        ("Does she have hypertension?", "No."),
        ("Does she take ramipril?", "No."),
        ("Is she on warfarin?", "Yes"),
        ("Does the patient have gout?", "Yes, she does."),
        ("Is there any fever?", "Yes."),
        ("Does she take metformin?", "Yes."),
        ("Has she had a stroke?", "Yes."),
    ],
)
def test_a_bare_yes_or_no_is_held_against_what_it_affirms_or_denies(question: str, wrong: str) -> None:
    right = "No." if wrong.startswith("Yes") else "Yes."
    (first, *_) = unsupported(wrong, HISTORY, question)
    assert wrong[first.claim.start : first.claim.end] in ("Yes", "No")
    assert unsupported(right, HISTORY, question) == []


@pytest.mark.parametrize(
    "question",
    [
        "Does she have pneumonia?",  # only suspected
        "Does she have asthma?",  # once
        "Is there any fever?",
        "Is she on aspirin?",
        "Does she take penicillin?",
        "Does she still have hypertension?",  # more than the finding is asked for
        "Does she have hypertension or diabetes?",
    ],
)
def test_a_bare_no_is_not_held_against_what_the_note_does_not_plainly_have(question: str) -> None:
    assert unsupported("No.", HISTORY, question) == []


@pytest.mark.parametrize(
    ("note", "answer", "supported"),
    [
        ("DOB 04/07/1959. Gliclazide stopped in June.", "It was stopped in July.", False),
        ("DOB 04/07/1959. Gliclazide stopped in June.", "He was born in July 1959.", True),
        ("Doxazosin stopped last week.", "It was stopped a week ago.", True),
        ("Doxazosin stopped last month.", "It was stopped a week ago.", False),
        ("Drinks 30 units of alcohol a week.", "He drinks 30 units per week.", True),
        ("Drinks 30 units of alcohol a week.", "He drinks 30 units every day.", False),
        ("G2P1, folic acid stopped at 12/40.", "It was stopped at 12 weeks.", True),
        ("Vision 20/40.", "Pregnant for 20 weeks.", False),
        ("Flexion 80 degrees.", "Flexion to 80°.", True),
        ("Flexion 80 degrees.", "Flexion to 100°.", False),
        ("Temp 38.4 degrees.", "A temperature of 38.4 C.", True),
        ("Potassium 3.3 mmol/L.", "The potassium is 3.3 mEq/L.", True),
        ("Ferritin 12 ng/mL.", "Ferritin 12 µg/L.", True),
        ("Ferritin 12 ng/mL.", "Ferritin 12 mg/L.", False),
        ("Right wrist and both knees swollen.", "The right wrist and the left and right knees are swollen.", True),
        ("Stridor when upset, none at rest.", "There is no stridor at rest, only when upset.", True),
        ("Priapism in 2020, none now.", "He currently has priapism.", False),
        ("Priapism in 2020, none now.", "He had priapism in 2020, not at present.", True),
        ("MRI before considering biopsy.", "A biopsy was performed.", False),
        ("Biopsy was performed.", "A biopsy has been done.", True),
        ("Opacity in the right lower lobe.", "Opacity in the right upper lobe.", False),
        ("Opacities in the right lower and upper lobes.", "Opacity in the right upper lobe.", True),
        ("The cough has improved.", "The cough is worse.", False),
        ("The cough has improved, the pain is worse.", "The pain is worse.", True),
        ("Her father had gout.", "She has no gout.", True),
        ("Hearing loss of 35 dB on the left, right normal.", "Hearing loss on the right.", False),
        ("He finished amoxicillin ten days ago.", "He is taking amoxicillin.", False),
    ],
)
def test_times_units_and_opposites(note: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, note) == []) == supported, unsupported(answer, note)


def test_the_claim_of_a_bare_value_points_to_the_value_of_the_test() -> None:
    (claim,) = check("92", LABS, "What is the neutrophil count?")
    assert claim.outcome == "contradicted" and LABS[slice(*claim.evidence or (0, 0))] == "1.1"


@pytest.mark.parametrize(
    ("note", "question", "answer", "supported"),
    [
        ("Denies nausea and palpitations.", "What does the patient deny?", "nausea; palpitations", True),
        ("Denies nausea. Palpitations for a week.", "What does the patient deny?", "nausea; palpitations", False),
        ("No fever, no rash, but a cough.", "What was denied? Answer with a list.", "fever; rash", True),
        ("No fever, no rash, but a cough.", "What was denied? Answer with a list.", "fever; cough", False),
        ("No fever, no rash, but a cough.", "Which symptoms are absent?", "No fever and no rash.", True),
        ("His mother had dementia.", "What does the note say of the patient's mother?", "dementia", True),
        ("He has dementia.", "What does the patient have?", "dementia", True),
        ("53F, LLQ pain for 5 days.", "What age is the patient?", "53 years", True),
        ("53F, LLQ pain for 5 days.", "What age is the patient?", "35 years", False),
        ("53F, LLQ pain for 5 days.", "How old is she?", "35", False),
        ("Admitted: 06-Aug-2017. Date of discharge: 11-Aug-2017.", "List all dates.", "06-Aug-2017; 11-Aug-2017", True),
        ("Denies SOB.", "What is SOB short for?", "shortness of breath", True),
        ("Baclofen t.i.d. Temp 98.2.", 'What is meant by "t.i.d." here?', "three times a day", True),
        ("NKDA.", "What does NKDA mean?", "no known drug allergies", True),
        ("Nodule, may be cancer.", "What do the findings mean?", "They confirm cancer.", False),
        ("Pain in the right hip. Bilat crackles.", 'Expand the abbreviation "bilat".', "bilaterally", True),
    ],
)  # fmt: skip
def test_what_a_bare_answer_leaves_to_its_question(note: str, question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, note, question) == []) == supported, unsupported(answer, note, question)


def test_claims_of_a_bare_list_are_where_the_answer_has_them() -> None:
    answer = "nausea; palpitations"
    found = check(answer, "Denies nausea. Palpitations for a week.", "What does the patient deny?")
    assert {(answer[each.claim.start : each.claim.end], each.outcome) for each in found} >= {
        ("nausea", "supported"),
        ("palpitations", "contradicted"),
    }
