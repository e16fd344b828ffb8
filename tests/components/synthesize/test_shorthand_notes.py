"""Questions of the rules teacher about notes in shorthand, as general practice, wards and clinics write them."""

from __future__ import annotations

import pytest
from taught import answers, is_refused

from clinadapt.clinical.abbreviations import abbreviation_mentions

CHANGES = """Glargine 22 units → 26 units nocte. Bisoprolol 5 mg BID. The rate is well controlled, as agreed at the
last visit to the clinic. Furosemide 40 mg om (ran out). Tacrolimus 2 mg bd - no longer taking.
Gabapentin 300 mg TID; gabapentin increased to 600 mg at bedtime, 300 mg am. Overdose of 32 x paracetamol 500 mg.
Given aspirin 325 on arrival, on aspirin 81 mg daily. Vancomycin 1 g q12h -> 1.5 g q12h.
Lamotrigine 50 mg od (to be weaned). If BP stays high, she should increase lisinopril to 40 mg."""
RESULTS = """INR 2-3 on warfarin. CRP 42 → 11. Potassium 4.4, creatinine 142, all of them taken on the ward by the
night team and phoned through to the lab again. Albumin 31 (aim >35). T 38.4, at home 39.1.
Weight loss since Oct. Seen 3.2.24, 02/11/2023 and 09/11/2023. On the catheter list for a 14F Foley.
There was a murmur at the apex and pitting oedema to the knees."""
OTHERS = """Seen with her son who lives in Leeds. Both drugs worked for a short time. Grandfather was a smoker.
She denies any numbness or weakness in her arms. Hasson at umbilicus, 3 further ports. She is a left hand dominant cook.
She denies sexual activity since May. LA 1% lido w adren. Allopurinol 100 mg."""
RUN_ON = """FH: mum hypothyroid. PMH coeliac disease.
Anesthesia: local with MAC. Tourniquet time 11 minutes. EBL minimal.
Started on buprenorphine/naloxone 8-2 mg. NSGY - no surgery now. Start prazosin 1 mg, increase to 3 mg.
Diagnosis: claudication, ex-smoker, T2DM
Thank you for asking us to see him. Mrs. B is a 55-year-old gentleman. He denies any other complaints at this point.
Advil, Motrin and ibuprofen help. Denies new bowel or bladder dysfunction."""
LISTED = """MEDICATIONS: ramipril 5 mg OD, simvastatin 20 mg nocte. PLAN: Ramipril to be stopped."""


@pytest.mark.parametrize(
    ("note", "question", "answer"),
    [
        (CHANGES, r"new dose of Glargine|dose is Glargine changed|Which dose of Glargine should", "26 units"),
        (CHANGES, r"dose of Glargine before|previous dose of Glargine", "22 units"),
        (CHANGES, r"the dose of Glargine\?|dose of Glargine does|dose is Glargine given|belongs to Glargine", None),
        (CHANGES, r"(?i)gabapentin|furosemide|tacrolimus|paracetamol|dose of aspirin|lamotrigine", None),
        (CHANGES, r"(?i)how often is bisoprolol|frequency.* bisoprolol", "BID"),
        (RESULTS, r"(?:value|What was|result).*(?:INR|CRP|albumin)|dates|How old|age", None),
        (RESULTS, r"Where .*(?:murmur)", None),
        (RESULTS, r"creatinine", "142"),
        (RESULTS, r"temperature", None),
        (CHANGES, r"(?i)lisinopril", None),
        (OTHERS, r"living|work|smoking|weakness|ports|hand|deny|not have|drugs|medication named", None),
        (RUN_ON, r"family|anesthe|Naloxone|naloxone|NSGY|prazosin|Mrs|[Dd]en|not have|drugs|medication named", None),
        (RUN_ON, r"the diagnosis|going on|conclude|impression", None),
        ("MST support group. Takes 2% lidocaine with Zzyxa.", r"drugs|medication named", None),
        ("Indication: cough. Comparison with 3 May. There is an opacity.", r"done\?|indication|reason for", None),
        ("The CT showed metastatic disease and she was enrolled in a trial.", r"the CT", None),
        ("PHYSICAL EXAMINATION: ABDOMEN: Soft. There were no carotid bruits.", r"abdomen", None),
        ("EXTREMITIES: No cyanosis, no clubbing, no pitting edema.", r"deny|not have", None),
        ("A rash on her chest and problems.", r"rash", None),
        ("Crackles at the left base.", r"^Where (?:are|were|is|was) ", "at the left base"),
        ("She denies heart disease, lung disease, thyroid, kidney, or bladder dysfunctions.", r"semicolons", None),
        ("Diet - takeaways 3x/wk.", r"diet", None),
        ("DIET: Low salt.", r"diet", "Low salt."),
        ("He has had no treatment on this.", r"deny|not have", None),
        ("Restart lithium 300 mg BID, increase to 600 mg BID in 3 days.", r"new dose|changed|from now on", None),
        ("A 1-year-old boy.", r"old|age", "1 year"),
        ("She denies chills.", r"there any", "No, the patient denies chills."),
        (LISTED, r"patient (?:take|on)|at home", None),
        (LISTED, r"medications are recorded|list as medications", "ramipril 5 mg OD, simvastatin 20 mg nocte."),
    ],
)  # fmt: skip
def test_answers_are_the_right_ones(note: str, question: str, answer: str | None) -> None:
    assert answers(note, question) == (set() if answer is None else {answer})


@pytest.mark.parametrize(
    ("short", "sentence", "expansion"),
    [
        ("STD", "1 mm STD V4-V6, no STE", None),
        ("STD", "no history of STD", "sexually transmitted disease"),
        ("OD", "brought in following OD of 32 x paracetamol 500 mg", None),
        ("OD", "ramipril 5 mg OD", "once a day"),
        ("CT", "CT surgery was consulted", None),
        ("CT", "CT of the head", "computed tomography"),
        ("MRA", "HFrEF on ACE inhibitor and MRA", None),
        ("IV", "stage IV disease, given capecitabine", None),
        ("IV", "IV fluids were given", "intravenous"),
        ("Tx", "renal Tx 2012", None),
        ("PCP", "with PCP prophylaxis", None),
        ("ER", "an ER positive tumour was seen", None),
        ("AF", "alert with AF soft and flat", None),
        ("IUD", "IUD at 34 weeks", None),
    ],
)
def test_an_abbreviation_is_written_out_only_where_its_meaning_is_certain(
    short: str, sentence: str, expansion: str | None
) -> None:
    found = {mention.short: mention.expansion for mention in abbreviation_mentions(sentence, 0, len(sentence))}
    assert found.get(short) == expansion


@pytest.mark.parametrize(
    ("asked_of", "question", "put_to"),
    [
        ("Her sister has gout.", "had gout|sister", "Mum has asthma."),
        ("The left knee is swollen.", "knee", "L TKR 2019, doing well."),
        ("Pulse 80.", "heart rate|pulse", "HR92, apyrexial."),
        ("Temperature 37.2.", "temperature", "T36.7."),
        ("ANESTHESIA: General.", "nesthe", "Anaes: Dr H, GA."),
        ("She denies palpitations, cough and fever.", "palpitations", "Palps for 3 days."),
        ("PAST SURGICAL HISTORY: Appendectomy.", "urgery|surgical|perations", "Known CABG and PCI."),
        ("The left side hurts. Left again.", "side", "RUQ pain."),
        ("He is a 54-year-old man.", "old|age", "A retired teacher of 74, forgetful."),
        ("He is a 54-year-old man.", "old|age", "She is 62 and well."),
        ("Temperature 37.2.", "temperature", "VS: 98.2 158/94 92 18 97% RA"),
        ("PMH: gout.", "conditions|illness|history", "She had a tubal ligation in 2009."),
        ("PMH: gout.", "conditions|illness|history", "Started on edoxaban for PAF."),
        ("CHIEF COMPLAINT: Cough.", "complaint|brought|come|seen", "14 mo adm w RSV bronchiolitis."),
        ("INDICATION: Cough.", "indication|reason", "PREOPERATIVE DIAGNOSIS: Low back pain."),
        ("The patient is a 54-year-old man.", "sex|female", "She feels well."),
        ("The patient is a 54-year-old man.", "sex|female", "Employee: picker, 50, M. Off since 3 Nov."),
        ("He is a 54-year-old man.", "old|age", "Upper GI. Pt: male, 66. PS 1. Tumour at 32 cm."),
        ("He is a 54-year-old man.", "old|age", "Care home ward round. Mrs B 88, off her food."),
        ("He is a 54-year-old man.", "old|age", "6 mo baby here for vaccines."),
        ("Review in 6 weeks.", "seen|come back|next|follow", "Await path. Repeat colonoscopy 3 yrs."),
        ("PLAN: Rest and fluids.", "plan|next", "Suggest interval CT at 6 months. Discuss at MDT."),
        ("DIAGNOSIS: Gout.", "the diagnosis|going on", "62M with met pancreatic ca, ascites drained."),
        ("PMH: gout.", "conditions|illness|history", "91F. Adv dementia, off food."),
        ("Amoxicillin 500 mg was given.", "antibiotic", "Rx fluclox 7/7."),
        ("Lives alone in a flat.", "living", "She lived with a friend until last year."),
        ("CONDITION: Stable.", "condition", "Her palsy had moderately improved."),
        ("The patient is a 54-year-old man.", "sex|female", "A 4 cm cord lipoma was excised."),
        ("The patient is a 54-year-old man.", "sex|female", "Obstetric clinic. G2P1."),
        ("ASSESSMENT: Gout.", "assessment", "He wheezes. I think he has smoked too long."),
        ("IMPRESSION: Gout.", "impression|conclu", "Barking cough. Outcome: croup, mild."),
        ("IMPRESSION: Gout.", "impression|conclu", "Sore throat. Tonsillitis, penicillin given."),
        ("MEDS: Lisinopril 10 mg.", "medic|drugs", "GDM on metformin 500mg."),
        ("Works as a teaching assistant.", "work", "SHx: Sculptor. Drinks socially."),
        ("Works as a teaching assistant.", "work", "This right-handed barista collapsed."),
    ],
)
def test_a_question_is_not_put_to_a_note_that_answers_it_in_shorthand(
    asked_of: str, question: str, put_to: str
) -> None:
    assert not is_refused(asked_of, question, put_to)
    assert is_refused(asked_of, question, "The weather was fine.")
