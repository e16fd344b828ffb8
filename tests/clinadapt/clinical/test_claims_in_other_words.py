"""Statements that reckon, paraphrase or shorten what a note says."""

import pytest

from clinadapt.clinical.claims import unsupported


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
