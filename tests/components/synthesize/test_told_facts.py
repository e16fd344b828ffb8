"""Questions of the rules teacher about what sentences tell: why the patient came, the history, operations, values."""

from __future__ import annotations

import pytest
from taught import answers

VISIT = """She is 62 and comes in today for followup of her knee.
She has a history of gout, hypertension and a stroke in 2014.
She underwent a right hemicolectomy on January 9 for a tumor. She weighs 71.5 kg.
She is still driving. Fluoxetine is working for her. She left her room, and the card was left in place."""
CLERKING = """54M. C/O burning feet x 3 months, nocturia. CRB65 0, Hb 121, Na 137 K 3.4 Cr 68. urine alb 2+. GCS 15
O/E: no haemoptysis, no wheeze. Amoxicillin 500 mg TDS 5/7. LDL 3.1. Magnesium 400 mg nightly. RTC 2 mo
A/P: 52 min CPET."""
OPERATION = """The patient was placed in the supine position, prepped and draped.
Under general endotracheal anesthesia an incision was made. The fascia of the wound was closed with 0 Vicryl.
The skin was closed with running 4-0 Monocryl and Dermabond. There were no complications.
The patient was taken to the recovery room in stable condition."""
TURNED = """The patient was placed in the supine position, prepped and draped, then turned. An incision was made.
General anesthesia was used after spinal block. The left arm was tucked. TOURNIQUET TIME: minutes."""
OTHERS = """Her mother is 93 years old. The brother, who is older, lives in Leeds. There was a live infant.
He comes in with his daughter. He complains of being tired from 10 p.m. to 7 a.m. INR 2.1 in cirrhosis.
He drinks a pint of vodka daily. He abuses alcohol. He was asked to follow up. The diagnosis was given in 2006.
Seen on ward for 92/52. He was sent to lab for CPK due to myalgia."""
CUT = """HEENT: Head is normal. Throat: Clear.
MEDICATIONS: Glipizide, Zzyxa.
IMPRESSION: Implantation of a pacemaker.
ACTION: Registrar called, IV loading given.
DRUGS: cannabis most days.
LETTER: All is well. Thank you for asking us to see him."""
HISTORY = """HISTORY OF PRESENT ILLNESS: He was asked to return in 2 days.
RECOMMENDATIONS: Stop hydrochlorothiazide. Aspirin may be started on discharge.
PLAN: Rest.
Thank you for this consultation. We will follow with you."""
CHANGED = """Amiodarone 400 mg b.i.d. for one week and then 200 mg daily.
We restart Valtrex and cut steroids to 1 mg daily.
The smoke plume was removed.
He presents for pyeloplasty."""
IN_A_LINE = """44 yo with palpitations. FHx: father AF in his 60s. Exam fine, BP 122/76. Impression: gout. We discussed
drugs. Return on Tuesday. The wound was rinsed with gentamicin solution. He complains of a dry mouth. She will have
occupational therapy. Consider Ivor Lewis. A mass in the same area. The right ovary is normal, separate from the ovary.
Two stitches were added."""
HEADINGS = """EAR, NOSE AND THROAT: All is clean here.

Problem List
Hypertension
GERD
S/p hysterectomy 2004

PLAN
Aspirin 150 mg nocte
Scan at 20 weeks
"""
LETTER = """Medication: losartan 50 mg OD.

Thank you for asking me to see this lady. I have increased her losartan to 100 mg once daily."""
PLACES = "There was numbness of her left cheek for a few hours. Ultrasound showed the same. She was started on Drug."
PHYSICIAN = (
    "The diagnosis is Alzheimer's disease, and I explained this to both of them. 4 quadrant stitches were placed."
)


# Without a period, so that it has no sentences
DICTATED = f"""he is on allopurinol 200 milligrams a day {"and he misses it about twice a week " * 12}
plan is to go up on the allopurinol to 300 milligrams daily"""
SHORTENED = ("Mother died at 62 and had CHF, A-Fib, CAD.", "O/E abdo was soft, mildly distended, tender in the RIF.")
PLAINER = ("She has {}, insomnia, and hypertension.", "Put|What does|Rewrite|Explain|Paraphrase")
ENLARGED = "There are no enlarged organs or swelling of lymph nodes."
WHY = r"seen\?|brought|come in|complaint"
NEXT = r"seen again|come back|next|review|follow-up"
SIDE = r"side is affected|the right side|Which side does|the problem"
TAG = """PREOPERATIVE DIAGNOSIS: Cleft palate.
PROCEDURE: Repair of the palate. Excision of a tag, right ear. The right ear tag was examined first."""
TWO_CTS = "HCT, 9/2/95, was normal. Chest CT revealed a mass in the lung."


@pytest.mark.parametrize(
    ("note", "question", "answer"),
    [
        (VISIT, r"old is|age", "62 years"),
        (VISIT, r"seen\?|brought|come in|complaint", "followup of her knee"),
        (VISIT, r"history of\b|have a history", "gout, hypertension and a stroke in 2014"),
        (VISIT, r"undergo|undergone", "a right hemicolectomy"),
        (VISIT, r"weigh", "71.5 kg"),
        (VISIT, r"work|side", None),
        (CLERKING, r"sex|female", "male"),
        (CLERKING, r"complain of", "burning feet x 3 months, nocturia"),
        (CLERKING, r"(?:for|the|to) CRB65\b", "0"),
        (CLERKING, r"(?:for|the|to) HB\b|hemoglobin", "121"),
        (CLERKING, r"potassium|(?:for|the|to) K\b", "3.4"),
        (CLERKING, r"sodium", "137"),
        (CLERKING, r"(?:for|the|to) GCS\b", "15"),
        (CLERKING, r"LDL", "3.1"),
        (CLERKING, r"albumin|magnesium|(?:heart rate|pulse)", None),
        (CLERKING, r"haemoptysis", "No, the patient has no haemoptysis."),
        (CLERKING, r"(?i)how long.*amoxicillin|length of treatment", "5/7"),
        (CLERKING, r"seen again|come back|next|review|follow-up", "2 mo"),
        (OPERATION, r"position", "supine position"),
        (OPERATION, r"nesthe", "general endotracheal anesthesia"),
        (OPERATION, r"skin", "running 4-0 Monocryl and Dermabond"),
        (OPERATION, r"complications", "There were no complications"),
        (OPERATION, r"condition", "stable condition"),
        (OPERATION, r"fascia|wound|side", None),
        (TURNED, r"position|nesthe|tourniquet", None),
        (OTHERS, r"old is|age|living|anticoag|seen\?|brought|come in|complain|alcohol|diagnosis|going on", None),
        (OTHERS, r"____|What time follows|Why|reason", None),
        (CUT, r"under.*HEENT|Extract|drugs come|are named|planned|next|medication|diagnosis", None),
        (CUT, r"impression|conclude", "Implantation of a pacemaker."),
        (HISTORY, r"seen again|come back|next (?:visit|review)|follow-up|started|added", None),
        (CHANGED, r"(?i)dose.*amiodarone|much amiodarone|valtrex|smoking|complaint", None),
        ("Weight: 22 pounds 6 ounces. Eats well.", r"weight|weigh", "22 pounds 6 ounces"),
        ("No dysuria, gross hematuria, fever.", r"hematuria", None),
        ("All: Levaquin. Meds: none.", r"antibiotic", None),
        ("The left atrium is large. Left ventricular function is normal.", r"[Ww]hich side", None),
        (IN_A_LINE, r"family|impression|conclude|antibiotic|Why|brought|come in|work|drugs|mass|ovary|stitches", None),
        (IN_A_LINE, r"complain", "a dry mouth"),
        (HEADINGS, r"under.*(?:THROAT|GERD)", None),
        (HEADINGS, r"planned|plan\?|next", "Aspirin 150 mg nocte; Scan at 20 weeks"),
        (PLACES, r"Where .*numbness", "her left cheek"),
        (PLACES, r"[Uu]ltrasound", None),
        (PHYSICIAN, r"diagnosis|going on", "Alzheimer's disease"),
        (PHYSICIAN, r"stitches", None),
        ("PLAN: Rest and fluids. Thank you for seeing him. We will follow with you.", r"plan|next", "Rest and fluids."),
        ("Local: lidocaine with adr 1:80k.", r"drugs|medication named", None),
        ("Adv: T. Glycomet 500, T. Telmisartan 40 mg.", r"drugs|medication named", None),
        ("Examined ears and nose.", r"drugs|medication named", None),
        ("SURGICAL PATHOLOGY REPORT\nSpecimen(s): breast. Nothing else was sent.", r"under", None),
        (DICTATED, r"dose", None),
        ("We will go up on the lisinopril to 20 mg daily.", r"new dose|changed|from now on", "20 mg"),
        ("Lisinopril 20 mg daily. She will come down on the drug.", r"dose", None),
        *((note, r"abbreviations", None) for note in SHORTENED),
        (PLAINER[0].format("thrombocythemia"), PLAINER[1], None),
        (PLAINER[0].format("a sore L hand"), PLAINER[1], None),
        (
            PLAINER[0].format("dyspnea"),
            PLAINER[1],
            "She has shortness of breath, trouble sleeping, and high blood pressure.",
        ),
        ("It was cauterized to prevent swelling of the uvula.", r"swelling", None),
        ("Watch for swelling of the left leg.", r"swelling", None),
        ("This is a 6-year-old male. I called Mr. X, the physician assistant.", r"\"Mr", None),
        ("Mr. X, who is a 60-year-old man, has gout. Mr. X came.", r"\"Mr", None),
        ("This is a 60-year-old man. Mr. X, who has gout, came.", r"\"Mr", "the patient, a 60-year-old man"),
        ("Tobacco dust was seen in the right eye.", r"smoking", None),
        ("There was smoke inhalation in a fire.", r"smoking", None),
        ("Cefazolin 2 g was given.", r"antibiotic was prescribed", None),
        ("She was prescribed cefazolin.", r"antibiotic was prescribed", "cefazolin"),
        ("Rx amoxicillin 500 mg.", r"antibiotic was (?:given|used)", None),
        ("Her tingling in the feet has improved.", r"Where .*tingling", "in the feet"),
        ("AC/VC TV 420 RR 18 PEEP 8.", r"respiratory rate", None),
        (TWO_CTS, r"the CT", None),
        ("It was on the right arm and the neck.", r"Which arm is it|Is it the right", None),
        ("The right arm is sore. The right arm is cast.", r"Which arm is it|Is it the right", "right arm"),
        ("No driving until six months seizure free.", r"____|What time follows", None),
        ("He waited in the ward for two weeks with pain.", r"____|What time follows", "two weeks"),
        ("EC x 4, weekly paclitaxel. Letrozole.", r"drugs|medication named", None),
        ("There is a mass in the hilum of the lung that is seen on CT.", r"mass", "in the hilum of the lung"),
        ("There is wear and tear on the joint as he already has pain.", r"tear", None),
        ("She has a rash on the trunk as she had last year.", r"rash", "on the trunk"),
        ("He had a wrist fracture at age 9.", r"Where", None),
        ("He noticed swelling on Saturday.", r"Where", None),
        ("She has had numbness in winter.", r"Where", None),
        ("The baby was born 1 week early by section.", r"____|What time follows", None),
        ("LAD has a stenosis at the origin. LCX is normal.", r"Where", None),
        ("A bipolar diagnosis is a possibility.", r"diagnosis\?|going on", None),
        ("She comes in for two different things.", WHY, None),
        ("Anemia was found when he presented with itching.", WHY, None),
        ("I recommended a vacuum delivery for the baby.", r"Why|reason", None),
        ("The right groin was numbed. A sheath went into the right femoral artery.", SIDE, None),
        ("CT showed an effusion in the lung. No PE.", r"show|result|found|reveal", None),
        ("CT showed an effusion in the lung.", r"the result", "an effusion in the lung"),
        ("She was told to have a repeat mammogram in six months.", r"mammogram be", None),
        ("We will repeat the mammogram in six months.", r"mammogram be", "in six months"),
        ("She has been warned of numbness of the lip.", r"numbness", None),
        ("Dad is with a stepdaughter with seizures starting at 14 years old.", r"old is|age", None),
        ("She has had diabetes since 12 years old.", r"old is|age", None),
        ("His wheelchair is heavy and it is 7 years old.", r"old is|age", None),
        ("She has done a nice job keeping a calorie count.", r"work", None),
        ("She formerly worked for a school. She is not working.", r"work", None),
        ("LMP 2/52 ago, on Microgynon.", r"pregnancy", None),
        ("The file tells whether the patient presented to the hospital with a coronary event.", WHY, None),
        ("She came to a decompression in May. She underwent appendectomy in June.", r"undergo", None),
        ("In 2001, left cuff repair. In 2002, left elbow repair.", SIDE, None),
        (TAG, SIDE, None),
        ("R/V 8/52 if no better.", NEXT, None),
        ("RTC if not settling in two days.", NEXT, None),
        ("If not better, see me in two weeks.", NEXT, None),
        ("Return in three days or sooner if worse.", NEXT, "in three days"),
        ("Mum rang about Alfie, 3 years. He is hot.", r"____|What time follows", None),
        ("Her brother takes lithium 400 mg daily for mania.", r"lithium", None),
        ("Her mother says she takes lithium 400 mg nocte.", r"(?:dose|much).*lithium", "400 mg"),
        ("Usual warfarin 4 mg alternating with 5 mg.", r"warfarin", None),
        ("FH: father glaucoma. Cataract R removed 2019.\nMeds: none.", r"family", None),
        ("FH: father glaucoma. Mother well.\nMeds: none.", r"family", "father glaucoma. Mother well."),
        ("IMPRESSION: Hepatic cyst. These findings were called to Dr. Hall.", r"conclude|impression", "Hepatic cyst."),
        ("There is no organomegaly or lymphadenopathy.", PLAINER[1], ENLARGED),
        ("He was ill because of perforated diverticulitis with dyspnea and edema.", PLAINER[1], None),
        ("Sclerae are white without injection or icterus today.", PLAINER[1], None),
        ("Oropharynx is clear with palate intact, negative rhinorrhea.", PLAINER[1], None),
        ("Six distal locking screws and three cortical screws were placed.", r"screws", None),
        ("Three cortical screws were placed.", r"screws", "Three"),
        ("The test was performed poorly due to difficulty with commands.", r"Why|reason", None),
        ("The test was performed due to difficulty with commands.", r"Why|reason", "due to difficulty with commands"),
        ("We added Aggrenox for clots, suggested by Dr. F. Echocardiogram was ordered", r"added", None),
        ("ECG showed to be of normal sinus rhythm.", r"show|result|found|reveal", None),
        ("Goals: return to full duty in 4 to 6 months.", NEXT, None),
        ("He will be back to work in two weeks.", NEXT, None),
        ("Return to clinic in three weeks.", NEXT, "in three weeks"),
        ("The fracture was fixed with MMF. Lidocaine was injected.", r"drugs|medication named", None),
        ("He takes Vicodin and refuses the p.o. form of it today.", r"[Rr]ewrite|abbreviations in full", None),
        ("Fundal height 29 cm. Fetal heart rate 145.", r"heart rate|pulse", None),
        ("Fundal height 29 cm. Heart rate 85.", r"heart rate|pulse", "85"),
        ("Using salbutamol 10 puffs. Plan: salbutamol nebs 5mg.", r"(?:dose|much).*salbutamol", None),
        ("Plan: salbutamol nebs 5mg.", r"(?:dose|much).*salbutamol", "5mg"),
        ("Oestradiol patches, fifty micrograms. Later we raise the patch to seventy-five.", r"dose|much", None),
        ("There are crackles to the mid zones.", r"crackles", None),
        (LETTER, r"(?:medic\w+|drugs) (?:does|is) the patient", None),
        (LETTER, r"medications", "losartan 50 mg OD."),
        ("Pt attended c/o sensitivity to cold for 2 wks.", r"wks.*full|full.*wks|wks.*without", None),
        ("There is a wound to the left forearm.", r"wound", "to the left forearm"),
    ],
)  # fmt: skip
def test_answers_are_the_right_ones(note: str, question: str, answer: str | None) -> None:
    found = answers(note, question)
    assert found == (set() if answer is None else set(answer.split("|"))), found
