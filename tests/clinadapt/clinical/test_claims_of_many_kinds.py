"""How notes write what answers say otherwise: statuses of drugs, short forms, sides, results, what is narrower."""

from __future__ import annotations

import pytest

from clinadapt.clinical.claims import unsupported


@pytest.mark.parametrize(
    ("note", "answer", "supported"),
    [
        ("Patch removed Monday, now on tramadol 50 mg PRN.", "She takes tramadol 50 mg as needed.", True),
        ("Past treatments: gold (rash), ciclosporin (no benefit).", "Ciclosporin was stopped.", True),
        ("Past treatments: gold (rash), ciclosporin (no benefit).", "She is now taking ciclosporin.", False),
        ("I plan to start etanercept once the X-ray is back.", "Etanercept is going to be started.", True),
        ("I plan to start etanercept once the X-ray is back.", "She already receives etanercept.", False),
        ("Apixaban to stop 2 days prior.", "Apixaban will be stopped two days before.", True),
        ("Apixaban to stop 2 days prior.", "Apixaban has been stopped.", False),
        ("Omit gliclazide on the morning.", "Gliclazide should be taken in the morning.", False),
        ("Start sertraline? discussed, not keen.", "He did not want sertraline.", True),
        ("Start sertraline? discussed, not keen.", "Sertraline was started.", False),
        ("Cefalexin ok.", "He is not allergic to cefalexin.", True),
        ("Allergic to cefalexin.", "He is not allergic to cefalexin.", False),
        ("Allergic to iodine - wheeze.", "She has no allergies.", False),
        ("She can take paracetamol.", "She can take paracetamol, and morphine was not given.", False),
        ("Warfarin declined, rivaroxaban 20 mg od begun.", "Rivaroxaban 20 mg daily was started.", True),
        ("Paracetamol was given.", "No antibiotics were given.", True),
        ("Co-amoxiclav was given.", "No antibiotics were given.", False),
        ("Morphine was given.", "No morphine was given.", False),
        ("Takes nystatin.", "She is not taking a statin.", True),
        ("Takes simvastatin.", "She is not taking a statin.", False),
        ("Takes aripiprazole.", "He is not on a PPI.", True),
        ("Takes domperidone.", "He is not taking antipsychotics.", True),
        ("Takes gabapentin for neuropathic pain.", "He is not taking antiepileptics.", True),
        ("Takes gabapentin.", "He takes an antiepileptic.", True),
    ],
)  # fmt: skip
def test_status_of_drugs(note: str, answer: str, supported: bool) -> None:
    assert bool(unsupported(answer, note)) != supported


@pytest.mark.parametrize(
    ("note", "answer", "supported"),
    [
        ("Ramipril 5, allopurinol 300 od.", "Allopurinol 300 mg once a day.", True),
        ("Ramipril 5, allopurinol 300 od.", "Ramipril 10 mg.", False),
        ("Enoxaparin 40 mg s/c.", "Enoxaparin 40 mg subcutaneously.", True),
        ("Enoxaparin 40 mg s/c.", "Enoxaparin 40 mg orally.", False),
        ("Weekly docetaxel 30 mg.", "Docetaxel 30 mg is given every week.", True),
        ("Denosumab 60 mg SC 6-monthly.", "Denosumab 60 mg every six months.", True),
        ("Vancomycin 1 g MWF.", "Vancomycin 1 g three times a week.", True),
        ("Vancomycin 1 g MWF.", "Vancomycin 1 g daily.", False),
        ("Stretching x2/day.", "Stretching twice a day.", True),
        ("Physio four days out of the week.", "Physiotherapy four days a week.", True),
        ("Dobutamine 5 mcg/kg/min.", "The dobutamine infusion runs at 5 mcg/kg/min.", True),
        ("Motrin 100 mg at 7 am.", "Motrin 100 mg was given at seven in the morning.", True),
        ("Gabapentin 300 in the morning.", "Gabapentin 300 mg once daily.", True),
        ("Off his food 4/7.", "He has not eaten for four days.", True),
        ("Moved house 3 d ago.", "He moved house three days ago.", True),
        ("Pain for the last fortnight.", "The pain has lasted two weeks.", True),
        ("Index was nought point six.", "The index was 0.6.", True),
        ("Sodium nadir 121, 134 at discharge.", "Sodium was 134 at discharge.", True),
        ("Bilirubin 40 (from 95).", "Bilirubin has fallen to 40.", True),
        ("Bilirubin 40 (from 95).", "Bilirubin has risen to 95.", False),
        ("POD#3 s/p colectomy.", "It is the third postoperative day.", True),
        ("POD#3 s/p colectomy.", "It is the sixth postoperative day.", False),
    ],
)  # fmt: skip
def test_doses_times_and_values_in_short_forms(note: str, answer: str, supported: bool) -> None:
    assert bool(unsupported(answer, note)) != supported


@pytest.mark.parametrize(
    ("note", "answer", "supported"),
    [
        ("CMV neg, no transplant rejection.", "CMV was negative.", True),
        ("No haematoma on CT brain.", "CT showed no haematoma.", True),
        ("No evidence on CT of haematoma.", "There is no haematoma.", True),
        ("TSH normal. Thyroid normal.", "He has thyroid disease.", False),
        ("Liver not palpable.", "The liver is impalpable.", True),
        ("Gag reflex not present.", "The gag reflex was absent.", True),
        ("Liver palpable.", "The liver is impalpable.", False),
        ("No cord compression.", "The cord was not compressed.", True),
        ("Line not inserted.", "No line was inserted.", True),
        ("Dorsalis pedis absent.", "The dorsalis pedis could not be felt.", True),
        ("Popliteal palpable, pedal pulse absent.", "The popliteal pulse was absent.", False),
        ("Not amputated; no amputation planned.", "He was amputated.", False),
        ("No amputation.", "No toe was amputated.", True),
        ("OPERATIONS: None.", "Nothing in the note mentions operations.", True),
        ("A passed clot may be the reason for hydronephrosis.", "There is hydronephrosis.", True),
        ("Anaemia likely due to bleeding.", "The anaemia is probably due to bleeding.", True),
        ("FHx: mum - coeliac disease.", "Her mother has coeliac disease.", True),
        ("No seizure. Niece has epilepsy.", "She has epilepsy.", False),
        ("Father had a stroke.", "His sister had a stroke.", False),
        ("He gave up smoking: ex-smoker since 2010.", "He smokes.", False),
        ("Source patient HBV positive, HIV negative.", "The source patient was HIV positive.", False),
        ("HER2 neg, ER pos.", "HER2 was positive.", False),
        ("Graves, on carbimazole.", "She has Graves' disease.", True),
        ("T1 adenoma of the colon.", "A tumour of the colon.", True),
        ("N/V, no diarrhoea.", "He has nausea.", True),
        ("-N/V.", "He has nausea.", False),
        ("CXR: heart normal size.", "The heart is enlarged.", False),
        ("Simvastatin 40 mg nocte.", "She takes a statin.", True),
        ("Amlodipine 5 mg od.", "She takes a statin.", False),
        ("D/c steroids.", "He is still on steroids.", False),
        ("No chest drain needed, cannula only.", "She was intubated.", False),
        ("Ureteric catheter not passed.", "She has a pacemaker.", False),
    ],
)  # fmt: skip
def test_findings_results_and_whose_they_are(note: str, answer: str, supported: bool) -> None:
    assert bool(unsupported(answer, note)) != supported


@pytest.mark.parametrize(
    ("note", "answer", "supported"),
    [
        ("Mass in the R upper lobe. Left lung clear.", "A mass in the upper lobe of the right lung.", True),
        ("b/l crackles, L ankle swelling.", "Crackles on both sides.", True),
        ("No LV dilatation. R wrist pain.", "The left ventricle is not dilated.", True),
        ("Invasive carcinoma L breast. R breast normal.", "Carcinoma of the right breast.", False),
        ("s/p L TKA. R knee full range.", "She had a right knee replacement.", False),
        ("Dose left unchanged. R arm pain.", "The dose was left unchanged.", True),
        ("Left-handed carpenter.", "He is right-handed.", False),
        ("DNACPR in place.", "She is for full resuscitation.", False),
        ("Kiwi delivery.", "The baby was born by caesarean section.", False),
        ("BRCA1 carrier.", "She carries a BRCA2 mutation.", False),
        ("NYHA II.", "NYHA class 2.", True),
        ("NYHA II.", "NYHA class III.", False),
        ("Type 1 DM.", "She has type 2 diabetes.", False),
        ("T2DM. Type 1 respiratory failure.", "She has type 2 diabetes.", True),
        ("CKD 3. Stage IV colon cancer.", "Stage 3 CKD.", True),
        ("Gravida 2 para 1. Grade 3 prolapse.", "G2 P1.", True),
        ("HER2 positive cancer.", "The oncologist gave her a choice.", True),
        ("Both ankles swollen. Unilateral headache.", "She has bilateral ankle swelling.", True),
        ("Lives with wife. CT: nodes, single lesion.", "He is married.", True),
        ("48M, single, lives alone.", "He is married.", False),
        ("Echo: LVH. RV 6/52.", "There is left ventricular hypertrophy.", True),
        ("Echo: RVH.", "There is left ventricular hypertrophy.", False),
        ("Open repair of the hernia.", "Laparoscopic repair of the hernia.", False),
        ("Severe OSA.", "He has mild sleep apnoea.", False),
        ("Painless haematuria in a 70 y ♀.", "He had haematuria.", False),
    ],
)  # fmt: skip
def test_sides_and_what_excludes_something_else(note: str, answer: str, supported: bool) -> None:
    assert bool(unsupported(answer, note)) != supported
