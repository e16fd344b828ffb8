"""Questions of the rules teacher about facts in sentences: medication, reasons, tests, times, places, relatives."""

from __future__ import annotations

import re

import pytest

from clinadapt.config.instruct import Synthesis
from components.synthesize.rules_teacher import RulesTeacher
from components.synthesize.teacher import Text

LETTER = """Dear Dr. B,
I saw this 58-year-old man with cramps. His sister had gout at the age of 50.
He takes torsemide 10 mg daily, digoxin 125 mcg daily and allopurinol 300 mg at bedtime.
He is allergic to codeine (itching). A sleep study on 7 May showed moderate obstructive sleep apnea (OSA).
An echocardiogram was ordered because of a murmur. It showed a small effusion behind the left ventricle.
I have reduced his torsemide to 5 mg daily because of cramps. Folate was low, so quinine was stopped.
The diagnosis is muscle cramps. He will be seen again in the day clinic in a month.
Creatinine will be repeated in two weeks."""
OPERATION = """DATE OF OPERATION: 12 August. PROCEDURE: Hernia repair. FINDINGS: A cyst of the left cord was removed.
He received cefazolin 1 g IV at induction. A drain was placed owing to the dead space. Seven staples were placed.
The staples will be removed in 9 days. He was kept overnight because of nausea."""
SHORTHAND = """58F, dizzy. No fever, no cough, no rash. PMH: gout.
DH: ramipril 5 mg OD. ALLERGIES: latex - rash. FH: Mother - stroke aged 71."""
STAY = """Mr. A was admitted on March 3 with a swollen leg.
He was started on apixaban 5 mg twice daily because of a clot. He denies chest pain or cough.
He went home on March 9."""
DOUBTFUL = """She is not allergic to codeine. She takes ibuprofen or aspirin and yoga.
If rash occurs, lisinopril was stopped because of a rash in her mother. A CT scan was not done because of pregnancy.
CT was normal. The CT showed as above. Biopsies were obtained for further review. She denies tobacco or alcohol."""

WARD_ROUND = """Allergies: penicillin - rash
Obs 03:10: BP 158/94 (L) 155/90 (R), HR 102.
She takes allopurinol 300 mg for gout. She was on lisinopril 20 mg daily at home. Brother had same last wk.
Three 5 mm ports under vision. Swelling of the right wrist and of the second and third joints of both hands.
LABS: Na 134, K 5.3. UA: 1+ protein.
TTO codeine 30 mg QDS PRN for 3 days, GP aware. Eat and drink as able. Denies hearing voices, no paranoid ideas.
Repeat level and TSH in 4/52. Clinic in 2 weeks, CNS informed. No mitomycin given.
Safety net: no wet nappy 8h, drowsy -> call back.
Follow-up: nurse-led clinic in 6 weeks."""

CLINIC = """My impression is that Mr. B has gout. It does not impede her work in any way. Contrast employed was 37 mL.
There is tenderness to percussion. She was given this medicine because the thought was of a neuropathy.
She denies prior history of injury to the shoulder. She retired to her room.
There was weakness at the time. MEDICATIONS: Detailed on the form."""

LISTS = """PMH: osteoporosis, glaucoma. She was told she might have a tremor. Her sister has dementia.
Meds: timolol eye drops, zopiclone 3.75 mg nocte. Lying BP 158/80. INR 1.1.
She was started on Lovenox 40 mg daily and metoprolol 25 mg."""

CHILD = """His ramipril was withheld because of AKI (creatinine 178) and restarted at 2.5 mg on discharge.
Heart: regular, no murmur. Abdomen soft."""

SKIN = """Diagnosis: Lesion left temple
60-year-old builder, lived in Queensland for 8 yrs. Rizatriptan works in an hour.
PMH: renal transplant 2012. Meds tacrolimus 2 mg BD. NKDA. Mother had melanoma.
On ferrous sulphate 200 mg od, Hb 103 (12/52: 118). Anti-D given."""


@pytest.mark.parametrize(
    ("note", "question", "answer"),
    [
        (CHILD, r"(?:Why|reason).*ramipril", r"because of AKI \(creatinine 178\)"),
        (CHILD, r"examination of the heart", None),
        (SKIN, r"diagnosis\?|conclu|impression|going on|medical history|illnesses|other conditions", None),
        (CLINIC, r"patient's work|weakness", None),
        (SKIN, r"drugs|medication named|Hb 103", None),
        (LISTS, r"medical history|illnesses|other conditions|medic.*(?:take|record|list|on\?)|started|added", None),
        (LISTS, r"anticoagulation", None),
        (SKIN, r"mother have", "melanoma"),
        (CLINIC, r"impression|going on|conclu|is the diagnosis|work|tenderness", None),
        (CLINIC, r"Why|reason|deny|not have|medic|drugs", None),
        (WARD_ROUND, r"allerg", None),
        (WARD_ROUND, r"(?:drugs|medic\w+).*patient (?:take|on)|list as|home", None),
        (WARD_ROUND, r"brother|in the family|relative", None),
        (WARD_ROUND, r"ports", None),
        (WARD_ROUND, r"swelling", None),
        (WARD_ROUND, r'"LABS"', None),
        (WARD_ROUND, r"(?i)how often.*codeine|frequency.*codeine|How much codeine", None),
        (WARD_ROUND, r"(?i)dose.*codeine", "30 mg"),
        (WARD_ROUND, r"alcohol|disposition|antibiotic|CNS|plain|everyday|lay|abbreviations?\.$", None),
        (WARD_ROUND, r"deny|not have", None),
        (WARD_ROUND, r"repeated\?", None),
        (WARD_ROUND, r"[Ss]afety-net|seek help", "no wet nappy 8h, drowsy -> call back\\."),
        (WARD_ROUND, r"about follow-up|as follow-up", r"nurse-led clinic in 6 weeks\."),
        (LETTER, r"(?:drugs|medic\w+).*patient (?:take|on)|recorded|list as",
         "torsemide 10 mg daily, digoxin 125 mcg daily and allopurinol 300 mg at bedtime"),
        (LETTER, r"allerg", r"codeine \(itching\)"),
        (LETTER, r"sleep study.*(?:show|reveal)|(?:result of|found on) the sleep study",
         r"moderate obstructive sleep apnea \(OSA\)"),
        (LETTER, r"(?:When|date).*sleep study", "7 May"),
        (LETTER, r"echocardiogram.*(?:show|reveal)|(?:result of|found on) the echo",
         "a small effusion behind the left ventricle"),
        (LETTER, r"(?:Why|reason).*echocardiogram", "because of a murmur"),
        (LETTER, r"(?:Why|reason).*torsemide", "because of cramps"),
        (LETTER, r"(?:Why|reason).*quinine", "Folate was low"),
        (LETTER, r"OSA\b.*(?:stand|mean|short)|short for.*OSA", "obstructive sleep apnea"),
        (LETTER, r"diagnosis\?|going on|conclude|impression", "muscle cramps"),
        (LETTER, r"(?:seen|reviewed)(?: again)?\?|come back|next (?:visit|review)|follow-up", "in a month"),
        (LETTER, r"creatinine.*repeated", "in two weeks"),
        (LETTER, r"sister have|did the sister", "gout"),
        (LETTER, r"had gout", "sister"),
        (LETTER, r"Where .*effusion", "behind the left ventricle"),
        (OPERATION, r"operation(?: done)?\?$|operated on", "12 August"),
        (OPERATION, r"antibiotic", "cefazolin"),
        (OPERATION, r"(?:Why|reason).*drain", "owing to the dead space"),
        (OPERATION, r"(?:Why|reason).*the patient", "because of nausea"),
        (OPERATION, r"(?:How many|number of) staples", "Seven"),
        (OPERATION, r"staples.*removed\?", "in 9 days"),
        (SHORTHAND, r"old|age", "58 years"),
        (SHORTHAND, r"allerg", r"latex - rash\."),
        (SHORTHAND, r"not have|deny\?", "No fever, no cough, no rash"),
        (SHORTHAND, r"had stroke", "Mother"),
        (STAY, r"(?:Why|reason).*admitted", "with a swollen leg"),
        (STAY, r"(?:When|date).*admi", "March 3"),
        (STAY, r"(?:When|date).*(?:discharged|go home)", "March 9"),
        (STAY, r"(?:Why|reason).*apixaban", "because of a clot"),
        (STAY, r"drug was started|medication was added", "apixaban"),
        (STAY, r"(?:deny|not have)\?", "chest pain(?: or|;) cough"),
        (DOUBTFUL, r"allerg|(?:drugs|medic\w+).*patient (?:take|on)|Why|reason|the CT|deny|not have", None),
    ],
)  # fmt: skip
def test_answers_are_the_right_ones(note: str, question: str, answer: str | None) -> None:
    answers = set()
    for seed in range(8):
        batch = RulesTeacher(Synthesis(triples_per_note=64, seed=seed)).triples(Text(0, 1, "notes", note, None, False))
        answers |= {triple.answer for triple in batch.triples if re.search(question, triple.instruction)}
    assert answers == set() if answer is None else answers and all(re.fullmatch(answer, each) for each in answers), (
        answers
    )
