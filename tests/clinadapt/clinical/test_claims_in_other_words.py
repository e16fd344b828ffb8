"""Statements that reckon, paraphrase or shorten what a note says."""

from pathlib import Path

import pytest
import yaml

from clinadapt.clinical.claims import unsupported
from clinadapt.clinical.claims.context import sentences

LONG = "Seen at home with the daughter, who says that he eats and drinks as before."


@pytest.mark.parametrize(
    ("note", "answer", "supported"),
    [
        ("Burn R forearm 2019. Scars L wrist.", "The burn has healed; it has left scars on the wrist.", True),
        ("Seen at 10:00. R knee pain.", "The knee still hurt when he left.", True),
        ("R knee pain.", "She has left knee pain.", False),
        ("54F. 3/52 R shoulder pain.", "Three weeks of pain in the right shoulder.", True),
        ("GP F2F review. 54 yr old man.", "The man came for a review.", True),
        ("Morphine 4 mg IV x 2.", "In total 8 mg of morphine was given.", True),
        ("Morphine 4 mg IV x 2.", "In total 12 mg of morphine was given.", False),
        ("Wt 21kg. Paracetamol 315 mg PO.", "The paracetamol works out at 15 mg per kilogram.", True),
        ("Wt 21kg. Paracetamol 315 mg PO.", "The paracetamol works out at 20 mg per kilogram.", False),
        ("MST 30 mg bd (was 20).", "Morphine was increased from 20 to 30 mg.", True),
        ("MST 30 mg bd (was 20).", "Morphine was increased from 10 to 30 mg.", False),
        ("Oramorph 10 mg taken 2x in 24 h.", "She used 20 mg of morphine in a day.", True),
        ("Furosemide 40 mg bd.", "He takes 80 mg of furosemide a day.", True),
        ("Furosemide 40 mg bd.", "He takes 80 mg of furosemide twice a day.", False),
        ("Rescue pack pred 40 x 5d.", "Prednisolone 40 mg a day for five days.", True),
        ("Sodium bicarb 1 g tds, HCO3 18.", "Sodium bicarbonate is taken three times daily.", True),
        ("Norad 0.1 running.", "She is on noradrenaline.", True),
        ("Mefenamic 500 tds.", "She takes mefenamic acid.", True),
        ("Home on clari and pred.", "He goes home on clarithromycin.", True),
        ("Allergic pen - rash.", "Penicillin brings him out in a rash.", True),
        ("Vit D 31, colecalciferol 20,000 units weekly.", "Vitamin D is replaced with 20,000 units a week.", True),
        ("Continue apixaban until March.", "She is to continue apixaban until March.", True),
        ("Ibuprofen not given.", "He got ibuprofen in triage.", False),
        ("Epo not yet.", "Erythropoietin has been started.", False),
        ("Ref MDT ?mepolizumab.", "He has been started on mepolizumab.", False),
        ("Any tablets? Aspirin.", "He takes aspirin.", True),
        ("Was on pregabalin, not now.", "She takes pregabalin.", False),
        ("I would stop the codeine.", "The advice is to keep codeine going.", False),
        ("If ALT exceeds 100 reduce methotrexate.", "Methotrexate has been reduced.", False),
        ("Methotrexate reduced as ALT 100.", "Methotrexate has been reduced.", True),
        ("Irbesartan halved to 150.", "The dose of irbesartan was doubled.", False),
        ("Doubt frozen shoulder.", "The diagnosis is frozen shoulder.", False),
        ("Pneumonia likely, start doxycycline.", "She has pneumonia.", False),
        ("Diabetic nephropathy likely, not biopsied.", "A biopsy proved nephropathy.", False),
        ("L leg larger, DVT possible.", "She has a blood clot in the left leg.", False),
        ("Not taken for thrombectomy as she improved.", "She went for thrombectomy.", False),
        ("Denies prior stroke. NIHSS 6, 2 at noon.", "Her stroke score came down from 6 to 2.", True),
        ("No XR today. Bruise L hip.", "No film was taken today.", True),
        ("Smokes 5/d.", "She has given up smoking.", False),
        ("Ex smoker, quit 2009.", "He is a current smoker.", False),
        ("2nd degree tear sutured.", "The tear was third degree.", False),
        ("2nd degree tear sutured.", "A second-degree tear was repaired.", True),
        ("R distal radius # 6/52, cast off.", "The fracture of the right radius is healing.", True),
        ("Aspirin 81 held for 24 h.", "Aspirin 81 mg is on hold for a day.", True),
        ("Tele: no AF so far.", "No atrial fibrillation has been seen so far.", True),
        ("D4 L hip replacement, R cannula.", "She is four days after a left hip replacement.", True),
        ("Ankle oedema, L leg larger than R, DVT possible.", "The left leg is more swollen than the right.", True),
        ("Syringe driver not needed yet.", "A syringe driver is not needed for now.", True),
        ("No rash, sertraline stopped, does not want restart.", "Sertraline was stopped.", True),
        ("BP 148/86 L arm sitting.", "Her blood pressure was 148/86 mmHg.", True),
        ("Oliver, 14 months, 3 day history.", "The child is 3 months old.", False),
        ("The infiltrate is 2.2 mm wide.", "The infiltrate is about 2 mm wide.", True),
        ("Betamethasone deferred given neg fFN.", "She was given steroids.", False),
        ("Clari stopped D3.", "The clarithromycin ended on day three.", True),
        ("Stop lymecycline.", "She keeps taking lymecycline.", False),
        ("Delayed Rx clarithromycin 125 bd.", "He is already taking clarithromycin.", False),
        ("Ropinirole stopped.", "A dopamine agonist was stopped.", True),
        ("Acne, scarring on cheeks.", "Acne has left scars on her cheeks.", True),
        ("G3P1 at 33 weeks. Allergies: latex. Prior LTCS.", "G3P1 at 33 weeks. Allergies: latex. Prior LT", True),
        ("Enlarging nodule of the lung.", "The nodule has not changed.", False),
        ("Nodule of the lung unchanged.", "The nodule has not changed.", True),
        ("Acanthamoeba less likely, not excluded.", "Acanthamoeba has been ruled out.", False),
        ("Wean oxygen, ?extubate 48h.", "Extubation will happen in 48 hours.", False),
        ("For extubation tomorrow.", "Extubation will happen tomorrow.", True),
        ("EF 28%.", "His ejection fraction is reduced.", True),
        ("EF 28%.", "His ejection fraction is preserved.", False),
        ("Cath: 100% proximal RCA, DES.", "He has coronary artery disease.", True),
        ("Tacrolimus missed on several evenings.", "She has a rare genetic disorder.", False),
        ("56M, smoker. Brother had CABG at 49.", "There is no family history of heart disease.", False),
        ("56M, smoker. CABG last year.", "There is no family history of heart disease.", True),
        ("Nodule in the lung, suspicious for malignancy.", "It is a benign nodule.", False),
        ("Lung mass, likely carcinoma. Left adrenal nodule, adenoma.", "The adrenal nodule is benign.", True),
        ("Abdomen soft. Prostate cancer 2015.", "The abdominal examination was benign.", True),
        ("PMH: BPH, colon cancer 2015.", "He has benign prostatic hyperplasia and had colon cancer.", True),
        ("KRAS G12D.", "There is a KRAS mutation.", True),
        ("Tacrolimus 4.1, doses missed.", "The level is low because of a mutation.", False),
        ("Generalised tonic-clonic seizure.", "He had a focal seizure.", False),
        ("Generalised tonic-clonic seizure.", "He had a tonic-clonic fit.", True),
        ("Six weeks of dry cough.", "She has a productive cough.", False),
        ("Cough, no sputum.", "She has a dry cough.", True),
        ("Cough, sputum nil.", "She has a dry cough.", True),
        ("Cough with green sputum.", "She has a dry cough.", False),
        ("NSTEMI 2019. Intracerebral bleed 2021.", "He had a myocardial infarction in 2019.", True),
        ("Intracerebral bleed 2021.", "He had an ischemic stroke in 2021.", False),
        ("Recurrence at the scar. Spinal stenosis.", "He had a local recurrence.", True),
        ("Steroid cream. Spinal stenosis.", "He uses a topical steroid.", True),
        ("Epidural in labour. Sleeps badly.", "She fell asleep late.", True),
        ("Section under spinal.", "It was done under general anesthesia.", False),
        ("Warfarin continued, scan deferred.", "She takes warfarin.", True),
        ("Repair of right femoral hernia.", "An inguinal hernia was repaired.", False),
        ("L radius #, not displaced.", "The fracture of the left radius is displaced.", False),
        ("MRI: multiple tumours of the liver.", "A single tumour was seen.", False),
        ("Tongue not bitten.", "She bit the inside of her cheek.", True),
        ("She takes apixaban, which she need not stop.", "She may go on taking apixaban.", True),
        ("She would like to get off the metformin; stay on it.", "She was advised to stay on metformin.", True),
        ("Metformin 1 g bd. Foot 10g 8/10. On atorva 20. Foot 10g.", "She takes atorvastatin 20 mg.", True),
        ("Chest drain 32 F in. 35M motorcyclist.", "A chest drain, 32 F, was placed in the man.", True),
        ("Last seizure 11 weeks ago, previously one or two a month.", "Her last seizure was 11 weeks ago.", True),
        ("Plan: montelukast 4 mg, review 3/12.", "Review 3/12.", True),
        ("R eye pain, photophobia 2/7.", "R eye pain, photophobia 2/7.", True),
        ("Hepatitis C antibody +.", "The hepatitis C antibody is +", True),
        # An answer that breaks off
        (f"{LONG} Hb 11.8, platelets 210,000.", f"{LONG} Hb 11.8, platelets 210,", True),
        (f"{LONG} Creatinine peaked at 2.4.", f"{LONG} Creatinine peaked at 2.", True),
        (f"{LONG} Pregnancy test negative.", f"{LONG} Pregnancy test n", True),
        (f"{LONG} Scaphoid fracture cannot be excluded.", f"{LONG} Scaphoid fracture cannot be exclu", True),
        (f"{LONG} Scaphoid fracture cannot be excluded.", f"{LONG} The scaphoid is fractured.", False),
        (f"{LONG} Hb 11.8, platelets 210,000.", f"{LONG} Hb 13.8, platelets 210,", False),
        ("Has very severe headaches.", "We are told that he does not have very severe headache", False),
        ("LKW 0700, woke at 09:30.", "She was last well at 7 a.m.", True),
        (
            "Naproxen 250 bd c PPI.",
            "Naproxen 250 mg twice daily for a while and together with stomach protection.",
            True,
        ),
    ],
)
def test_what_a_statement_reckons_and_paraphrases(note: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, note) == []) == supported


@pytest.mark.parametrize(
    ("note", "question", "answer", "supported"),
    [
        ("Adrenaline 0.3 mg at 19:05, adrenaline 0.5 mg at 19:50.", "How much adrenaline in total?", "0.5 mg", False),
        ("Adrenaline 0.3 mg at 19:05, adrenaline 0.5 mg at 19:50.", "How much adrenaline in total?", "0.8 mg", True),
        ("Brother has bipolar disorder.", "What illness does her father have?", "bipolar disorder", False),
        ("Brother has bipolar disorder.", "What illness does her brother have?", "bipolar disorder", True),
        ("Family history of gout.", "What illness does her father have?", "gout", True),
        ("NBM till seen.", "What does NBM stand for?", "It stands for nil by mouth.", True),
        ("NBM till seen.", "What does NBM stand for?", "It stands for normal bone marrow.", False),
        ("PE normal.", "What does PE stand for?", "It stands for physical examination.", True),
        ("Mother has asthma.", "Does his father have asthma?", "Unknown", True),
        ("Nodule 2.4 cm, previously 0.8 cm.", "Where is the nodule and how big is it?", "0.8 cm", False),
        ("Nodule 2.4 cm, previously 0.8 cm.", "Where is the nodule and how big is it?", "2.4 cm", True),
        ("Levodopa for one week. Seen in clinic in six weeks.", "How is levodopa taken?", "Seen in six weeks.", True),
    ],
)
def test_answers_to_what_is_asked_for(note: str, question: str, answer: str, supported: bool) -> None:
    assert (unsupported(answer, note, question) == []) == supported


@pytest.mark.parametrize("name", ["model_answers", "short_answers"])
def test_what_an_answer_copies_is_not_accused(name: str) -> None:
    file = Path(__file__).parent / "cases" / f"{name}.yaml"
    notes = [group["note"] for group in yaml.safe_load(file.read_text(encoding="utf-8"))]
    whole = [(note, note[slice(*span)]) for note in notes for span in sentences(note)]
    copied = [*whole, *((note, each[:-3]) for note, each in whole if len(each) > len(LONG))]  # an answer may break off
    accused = [answer for note, answer in copied if unsupported(answer, note)]
    assert len(copied) > 150 and len(accused) <= 0.01 * len(copied), accused
