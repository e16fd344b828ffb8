"""Answers made of a note's own sentences: faithful ones in other words, and ones with one fact of one kind altered.

It finds what to alter with patterns of its own, not with those of the checker.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

_DRUG = (
    r"(?:lisinopril|metoprolol|aspirin|Lasix|furosemide|Coumadin|warfarin|Plavix|Lipitor|Zocor|metformin|"
    r"glipizide|insulin|"
    r"prednisone|albuterol|Norvasc|amlodipine|Synthroid|levothyroxine|Prozac|Zoloft|Celexa|Lexapro|Nexium|Protonix|"
    r"Prilosec|Keppra|Dilantin|morphine|Vicodin|Tylenol|ibuprofen|Motrin|Advil|Celebrex|Neurontin|"
    r"gabapentin|Toprol|atenolol|"
    r"Diovan|digoxin|hydrochlorothiazide|Flomax|Ambien|Xanax|Ativan|Zofran|Reglan|vancomycin|Levaquin|Cipro|"
    r"Keflex|Ancef|"
    r"penicillin|amoxicillin|clindamycin|Percocet|Lortab|Darvocet|codeine|Lortab|fentanyl|Versed|lidocaine|"
    r"Marcaine|heparin|"
    r"Lovenox|Singulair|Advair|Seroquel|Zyprexa|Risperdal|Depakote|lithium|Topamax|Lamictal|Klonopin|trazodone|Effexor|"
    r"Wellbutrin|Cymbalta|Fosamax|Premarin|allopurinol|colchicine|methotrexate|simvastatin|atorvastatin|omeprazole)"
)
_FINDING = (
    r"(?:chest pain|abdominal pain|fever|chills|nausea|vomiting|diarrhea|constipation|headaches?|dizziness|"
    r"cough|wheezing|"
    r"shortness of breath|palpitations|syncope|edema|rash|hematuria|dysuria|seizures?|weakness|numbness|"
    r"clubbing|cyanosis|"
    r"murmurs?|rales|rhonchi|masses|tenderness|lymphadenopathy|organomegaly|bruits?|hernias?|fractures?|effusions?|"
    r"pneumothorax|hemorrhage|stenosis|diabetes|hypertension|asthma|pneumonia|melena|weight loss|orthopnea|"
    r"jaundice|back pain)"
)
_PART = (
    r"(?:knee|hip|shoulder|ankle|foot|hand|wrist|elbow|leg|arm|eye|ear|breast|kidney|lung|lower extremity|"
    r"upper extremity|"
    r"thigh|groin|flank|lower quadrant|upper quadrant|femur|tibia|carotid|lobe|ventricle|atrium|thumb|heel|"
    r"ovary|testicle|"
    r"lower lobe|upper lobe|pleural effusion|frontal|parietal|temporal|inguinal)"
)
_FAMILY = r"(?:mother|father|brother|sister|grandmother|grandfather|aunt|uncle)"
_INHERITED = (
    r"(?:cancer|diabetes|stroke|heart attack|myocardial infarction|hypertension|asthma|heart failure|"
    r"coronary artery disease|"
    r"high blood pressure|depression|dementia|seizures?|leukemia|glaucoma|anemia|arthritis|kidney disease|"
    r"kidney stones)"
)
INVENTED = [
    "asthma",
    "glaucoma",
    "gout",
    "psoriasis",
    "tuberculosis",
    "migraine",
    "dementia",
    "hepatitis",
    "sleep apnea",
]
NEW_DRUGS = ["clozapine", "rifampin", "tamoxifen", "donepezil", "sotalol", "acarbose"]
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


class Case(NamedTuple):
    """An answer about a note; `kind` is what was altered, empty where it is faithful."""

    note: str
    answer: str
    kind: str


def _swap(
    pattern: str, replace: Callable[[re.Match[str], str, random.Random], str | None]
) -> Callable[..., str | None]:
    compiled = re.compile(pattern, re.IGNORECASE)

    def alter(sentence: str, note: str, rng: random.Random) -> str | None:
        matches = list(compiled.finditer(sentence))
        if not matches:
            return None
        match = rng.choice(matches)
        new = replace(match, note, rng)
        return None if new is None else sentence[: match.start()] + new + sentence[match.end() :]

    return alter


def _dose(match: re.Match[str], note: str, rng: random.Random) -> str | None:
    others = sorted({m[1] for m in re.finditer(rf"{_DRUG} (\d+(?:\.\d+)?) ?mg", note, re.I)} - {match["n"]})
    own = {m[1] for m in re.finditer(rf"{re.escape(match['drug'])} (\d+(?:\.\d+)?)", note, re.I)}
    others = [value for value in others if value not in own] or [f"{float(match['n']) * rng.choice([2, 3, 10]):g}"]
    return f"{match['drug']} {rng.choice(others)} mg"


def _age(match: re.Match[str], note: str, rng: random.Random) -> str | None:
    ages = {m[1] for m in re.finditer(r"\b(\d{1,3})[- ]years?[- ]old", note)}
    value = int(match[1])
    new = str(value + rng.choice([-11, -5, 3, 7, 12]))
    return None if new in ages or int(new) < 1 or re.search(rf"\b{new}\b", note) else f"{new}-year-old"


def _sex(match: re.Match[str], note: str, rng: random.Random) -> str | None:
    other = {"male": "female", "man": "woman", "boy": "girl", "gentleman": "woman", "female": "male", "woman": "man",
             "girl": "boy", "lady": "gentleman"}  # fmt: skip
    both = re.search(r"\b(?:fe)?male\b|\bwoman\b", note, re.I) and re.search(r"(?<!fe)male\b|\bman\b", note, re.I)
    return None if both and "year" not in match[0] else match[1] + other[match[2].lower()]


def _duration(match: re.Match[str], note: str, rng: random.Random) -> str | None:
    number, unit = match["n"], match["unit"]
    new = str(int(number) + rng.choice([1, 2, 3, 5])) if number.isdigit() else rng.choice(["four", "five", "nine"])
    text = f"{new} {unit.rstrip('s')}"
    return None if re.search(rf"\b{new}\b", note, re.I) or number.lower() == new else match["before"] + text + "s"


def _test(match: re.Match[str], note: str, rng: random.Random) -> str | None:
    old = match["n"]
    new = f"{float(old) * rng.choice([1.2, 0.8, 1.5]):.{1 if '.' in old else 0}f}"
    return None if new == old or re.search(rf"(?<![\d.]){re.escape(new)}\b", note) else match["before"] + new


def _pressure(match: re.Match[str], note: str, rng: random.Random) -> str | None:
    new = f"{int(match['a']) + rng.choice([-22, -14, 16, 28])}/{match['b']}"
    return None if new in note else match["before"] + new


def _date(match: re.Match[str], note: str, rng: random.Random) -> str | None:
    month, day, year = int(match[1]), int(match[2]), match[3]
    if not (1 <= month <= 12 and 1 <= day <= 28):
        return None
    which = rng.choice(["day", "month", "year"])
    day, month = (
        (day % 28 + 1, month) if which == "day" else (day, month % 12 + 1) if which == "month" else (day, month)
    )
    full = ("20" if int(year[-2:]) < 50 else "19") + year[-2:]
    full = str(int(full) + 1) if which == "year" else full
    return f"{_MONTHS[month - 1]} {day}, {full}"


_FREQUENCIES = {"daily": "twice a day", "b.i.d.": "three times a day", "t.i.d.": "once a day", "q.i.d.": "twice a day",
                "twice a day": "four times a day", "once a day": "twice daily", "q.d.": "b.i.d.",
                "every day": "three times a day",
                "every other day": "twice a day", "at bedtime": "three times a day"}  # fmt: skip
_ROUTES = {"p.o.": "intravenously", "orally": "intravenously", "by mouth": "subcutaneously", "IV": "by mouth",
           "intravenously": "orally", "subcu": "orally", "IM": "orally", "intravenous": "oral", "PO": "IV"}  # fmt: skip

ALTERATIONS: dict[str, Callable[..., str | None]] = {
    "dose": _swap(rf"\b(?P<drug>{_DRUG}) (?P<n>\d+(?:\.\d+)?) ?(?:mg|milligrams)\b", _dose),
    "frequency": _swap(
        rf"(?P<head>\b{_DRUG} \d+(?:\.\d+)? ?mg(?: [a-z.]+)?) (?P<f>{'|'.join(map(re.escape, _FREQUENCIES))})",
        lambda m, note, rng: (
            f"{m['head']} {_FREQUENCIES[m['f'].lower()]}" if note.lower().count(_drug_in(m[0])) == 1 else None
        ),
    ),
    "route": _swap(
        rf"(?P<head>\b{_DRUG} (?:\d+(?:\.\d+)? ?(?:mg|mcg|g|units)?,"
        rf"? ?)?)(?P<r>{'|'.join(map(re.escape, _ROUTES))})(?!\w)",
        lambda m, note, rng: m["head"] + _new_route(m["r"]) if note.lower().count(_drug_in(m[0])) == 1 else None,
    ),
    "status": _swap(
        rf"\b(?:(?P<on>takes|taking|started on|continue|continued on|placed on|is on)|(?P<off>discontinue|"
        rf"stop|stopped|discontinued|hold)"
        rf"|(?P<allergy>allergic to|allergies to|allergies:)) (?P<drug>{_DRUG})",
        lambda m, note, rng: (
            None if note.lower().count(m["drug"].lower()) > 1
            else f"stopped {m['drug']}" if m["on"] else f"is taking {m['drug']}"
        ),
    ),
    "test": _swap(
        r"(?P<before>\b(?:hemoglobin|hematocrit|creatinine|potassium|sodium|glucose|BUN|platelets|"
        r"platelet count|INR|white count|pulse|"
        r"heart rate|temperature|respirations|respiratory rate|ejection fraction|calcium|cholesterol|"
        r"albumin|TSH|troponin)"
        r"(?: is| was| of| at)? )(?P<n>\d{1,3}(?:\.\d+)?)(?![\d/,])", _test),
    "blood pressure": _swap(
        r"(?P<before>\b(?:blood pressure|BP)(?: is| was| of)? )(?P<a>\d{2,3})/(?P<b>\d{2,3})", _pressure),
    "duration": _swap(
        r"(?P<before>\b(?:for|over|past|last|about|approximately|times|x) (?:the past |the last |about |"
        r"approximately )?)"
        r"(?P<n>\d{1,2}|two|three|six|seven|eight)[ -](?P<unit>days?|weeks?|months?|years?|hours?)\b", _duration),
    "date": _swap(r"\b(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})\b", _date),
    "age": _swap(r"\b(\d{1,3})[- ]year[- ]old", _age),
    "sex": _swap(r"\b(\d{1,3}[- ]year[- ]old[^.]{0,25}? )(female|male|man|woman|lady|gentleman|boy|girl)\b", _sex),
    "negation": _swap(
        rf"\b(?P<no>(?:no|denies|denied|without|denies any|no evidence of|"
        rf"negative for)) (?P<f>{_FINDING})\b(?! or| and|,)",
        lambda m, note, rng: (
            None if re.search(rf"(?<!no )(?<!any )(?<!denies )(?<!or ){m['f']}", note.replace(m[0], ""), re.I)
            else f"has {m['f']}" if m["no"].lower().startswith("den") else f"positive for {m['f']}"
        ),
    ),
    "affirmed": _swap(
        rf"\b(?P<yes>(?:has|had|with|reports|complains of|positive for|complaining of)) (?P<f>{_FINDING})\b",
        lambda m, note, rng: None if note.lower().count(m["f"].lower()) > 1 else f"denies {m['f']}",
    ),
    "side": _swap(
        rf"\b(?P<side>left|right) (?P<part>(?:[a-z]+ )?{_PART})\b",
        lambda m, note, rng: _other_side(m, note),
    ),
    "experiencer": _swap(
        rf"^.*\b{_FAMILY}\b[^.,;]{{0,25}}?\b(?:had|has|with|died (?:of|from)) (?P<f>(?:[a-z]+ )?{_INHERITED}).*$",
        lambda m, note, rng: None if note.lower().count(m["f"].lower()) > 1 else f"The patient has {m['f']}.",
    ),
    "certainty": _swap(
        rf"\b(?P<unsure>possible|probable|suspected|questionable|likely) (?P<f>(?:[a-z]+ )?{_FINDING})\b",
        lambda m, note, rng: None if note.lower().count(m["f"].lower()) > 1 else f"definite {m['f']}",
    ),
    "drug": _swap(rf"\b{_DRUG}\b", lambda m, note, rng: rng.choice([d for d in NEW_DRUGS if d not in note.lower()])),
}  # fmt: skip


def _drug_in(text: str) -> str:
    match = re.search(_DRUG, text, re.IGNORECASE)
    return match[0].lower() if match else ""


def _new_route(route: str) -> str:
    return next(new for old, new in _ROUTES.items() if old.lower() == route.lower())


def _other_side(match: re.Match[str], note: str) -> str | None:
    other = "right" if match["side"].lower() == "left" else "left"
    words = match["part"].split()
    if re.search(rf"\b(?:{other}|bilateral|both)\b(?: \w+){{0,2}} {re.escape(words[-1])}", note, re.IGNORECASE):
        return None
    return f"{other} {match['part']}"


_REWORDINGS: list[tuple[str, str]] = [
    (r"\bdenies\b(?! any)", "does not have"),
    (r"\bdenied\b(?! any)", "has no"),
    (r"\bb\.i\.d\.", "twice a day"),
    (r"\bt\.i\.d\.", "three times a day"),
    (r"\bq\.i\.d\.", "four times daily"),
    (r"\bp\.o\.", "by mouth"),
    (r"\bBP\b", "blood pressure"),
    (r"(\d) mg\b", r"\1 milligrams"),
    (r"\byear-old\b", "year old"),
    (r"\bno evidence of\b", "no"),
    (r"\bhypertension\b", "high blood pressure"),
    (r"\bshortness of breath\b", "dyspnea"),
    (r"\bvomiting\b", "emesis"),
    (r"\bedema\b", "swelling"),
    (r"\bLasix\b", "furosemide"),
    (r"\bCoumadin\b", "warfarin"),
    (r"\bTylenol\b", "acetaminophen"),
    (r"\bmyocardial infarction\b", "heart attack"),
    (r"\bfor two weeks\b", "for 14 days"),
    (r"\bfor 2 weeks\b", "for 14 days"),
    (r"\bThe patient is\b", "This is"),
    (r"\btwo\b", "2"),
    (r"\bthree\b", "3"),
    (r"\bq\.d\.", "daily"),
    (r"\bat bedtime\b", "every night"),
    (r"\bdiabetes mellitus\b", "diabetes"),
    (r"\bpossible\b", "probable"),
    (r"\bmale\b", "man"),
    (r"\bfemale\b", "woman"),
    (r"\bbilaterally\b", "on both sides"),
    (r"\b1 g\b", "1000 mg"),
    (r"\bappears\b", "seems"),
    (r"\bdemonstrated\b", "showed"),
    (r"\brevealed\b", "showed"),
    (r"\bpain\b", "discomfort"),
]


def reword(sentence: str) -> str:
    """The sentence in other words that say the same."""
    for pattern, new in _REWORDINGS:
        sentence = re.sub(pattern, new, sentence)
    return re.sub(
        r"\b(\d{1,2})/(\d{1,2})/((?:19|20)\d\d)\b",
        lambda m: f"{_MONTHS[int(m[1]) - 1]} {int(m[2])}, {m[3]}" if 1 <= int(m[1]) <= 12 else m[0],
        sentence,
    )


def sentences(note: str) -> list[str]:
    """Sentences of 4 to 45 words."""
    parts = re.split(r"(?<=[a-z)%\d][.?!])[\s,]+(?=[A-Z])|\n+|,(?=[A-Z]{3,}[A-Z ]*:)", note)
    return [part.strip() for part in parts if 4 <= len(part.split()) <= 45]


def altered(notes: Iterable[str], per_kind: int, seed: int) -> list[Case]:
    """Answers with one altered fact, at most `per_kind` of a kind and one of a kind for each note."""
    rng, found = random.Random(seed), defaultdict[str, list[Case]](list)
    for note in notes:
        own = sentences(note)
        for kind, alter in ALTERATIONS.items():
            if len(found[kind]) >= per_kind:
                continue
            for sentence in rng.sample(own, len(own)):
                answer = alter(sentence, note, rng)
                if answer and answer not in note and answer != sentence:
                    found[kind].append(Case(note, answer, kind))
                    break
        if len(found["finding"]) < per_kind and own:
            new = [f for f in INVENTED if f.split()[0] not in note.lower()]
            found["finding"].append(Case(note, f"{rng.choice(own)} The patient also has {rng.choice(new)}.", "finding"))
    return [case for cases in found.values() for case in cases]


def faithful(notes: Iterable[str], count: int, seed: int) -> list[Case]:
    """Answers of one to three sentences of a note in other words; those that hold a number, a drug or a finding."""
    rng, cases = random.Random(seed), list[Case]()
    rich = re.compile(rf"\d|\b{_DRUG}\b|\b{_FINDING}\b|\bleft\b|\bright\b", re.IGNORECASE)
    for note in notes:
        own = [sentence for sentence in sentences(note) if rich.search(sentence)]
        if own:
            drawn = rng.sample(own, min(len(own), rng.randint(1, 3)))
            cases.append(Case(note, " ".join(reword(sentence) for sentence in drawn), ""))
        if len(cases) == count:
            break
    return cases
