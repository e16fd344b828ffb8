"""Questions about the value of a laboratory test or a clinical score that the note gives once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given

# Name -> its short forms before a value, as they are written, and what else stands for the test in any case
_TESTS = {
    "hemoglobin": ("Hgb|HGB|Hb|HB|haemoglobin", "haemoglobin|hgb|hb"),
    "hematocrit": ("Hct|HCT|haematocrit", "haematocrit|hct"), "potassium": ("K|K[+]", "k"),
    "sodium": ("Na|Na[+]", "na"), "creatinine": ("Cr|creat", "cr|creat|scr"),
    "glucose": ("", "sugars?|bm|bsl|fbs|ppbs|rbs"), "ejection fraction": ("LVEF|EF", "ef|lvef"),
    "BUN": ("", "urea|blood urea nitrogen"), "urea": ("", "bun|blood urea nitrogen"), "troponin": ("", "trop"),
    "TSH": ("", "thyroid.?stimulating"), "PSA": ("", "prostate.?specific"), "INR": ("", "normalized ratio"),
    "lipase": ("", "lipases"),
    "white blood cell count": (
        "WBC|WCC|[Ww]hite count|[Ww]hite cell count",
        "wbc|white count|white cells?(?: count)?|white blood cells?|leukocyt\\w+|wcc",
    ),
    "platelet count": ("[Pp]latelets?|[Pp]lts?|PLT", "plts?|platelets?"), "CRP": ("", "c.?reactive"),
    "ESR": ("", "sed rate|sedimentation"), "calcium": ("Ca(?! ?-?(?:125|19|15))", "ca"), "albumin": ("[Aa]lb", "alb"),
    "bilirubin": ("[Bb]ili", "bili|t ?bili"), "cholesterol": ("", "lipids?"), "ferritin": ("", "iron studies"),
    "HbA1c": ("A1c|A1C|HbA1C", "a1c|glycated h\\w+"), "lactate": ("", "lactic"), "magnesium": ("Mg", "mg level"),
    "BNP": ("", "natriuretic|nt-?pro-?bnp"), "eGFR": ("GFR", "gfr|filtration"), "LDL": ("", "low.density"),
    "HDL": ("", "high.density"), "MCV": ("", "corpuscular"), "CEA": ("", "carcinoembryonic"),
    "PTH": ("", "parathyroid"), "amylase": ("", "amylases"), "ammonia": ("", "nh3"),
}  # fmt: skip
# Score -> what else stands for it
_SCORES = {
    "GCS": "glasgow|coma sc", "NEWS2?": "early warning", "Waterlow": "braden", "PHQ-?9": "phq", "GAD-?7": "gad",
    "MMSE": "mini.?mental", "MoCA": "montreal", "EPDS": "edinburgh", "IPSS": "symptom score",
    "CURB-?65": "crb|curb", "CRB-?65": "crb|curb", "NIHSS": "nih stroke", "DAS-?28": "das",
    "CHA2DS2-?VASc": "cha2ds2|chads", "HAS-?BLED": "bleed score", "ACT score": "asthma control",
    "MELD": "liver score", "BI-?RADS": "birads|bi-rads", "Gleason score": "gleason", "BMI": "body mass|obes",
    "ABPI|ABI": "ankle.brachial|abp?i",
}  # fmt: skip
_TARGETS = {"INR", "HbA1c", "TSH", "glucose", "potassium", "magnesium", "calcium"}  # whose range is one to be reached
_NUMBER = r"\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?"
_UNIT = (
    r"%| ?percent\b| ?(?:ng|mg|g|mcg|pg|ug)/(?:m|d)?L\b| ?m?mol/(?:L|mol)\b| ?umol/L\b| ?mEq/L\b| ?m?[IU]U?/m?L\b|"
    r" ?K\b(?! ?[:=]?\d)| thousand\b| million\b| ?x ?10\^?\d+(?:/L)?"
)
_VALUE = rf"(?:{_NUMBER})(?:{_UNIT})?(?: ?(?:-|–|to) ?(?:{_NUMBER})(?:{_UNIT})?)?"
# After a value: more of it, another one, or the amount of a drug
_GOES_ON = (
    r"(?![\d/]|[.,-]\d| ?(?:/|x|cm|mm|(?:mc?g|g|mEq|mmol|units?|mls?|IU|tablets?)\b(?!/)|and \d|or \d|,? ?\d)|"
    r"[A-Za-z+])"
)
_IS = r"(?:(?: (?:is|was|of|at|estimated at|calculated at|about|score))? ?|: ?| ?= ?)"
_VALUE_CHANGES = re.compile(
    r"dropped|then|repeat|rose|increas|decreas|went|down to|up to|later|after|from|came|fell|subsequent|peak|previous|"
    r"prior|earlier|baseline|goal|target|last|yesterday|admission|today|initial|range|\baim|keep|[,(] ?was \d|now \d|"
    r"urin\w* $",
    re.IGNORECASE,
)
_ARROW = re.compile(r" ?(?:[→↑↓]|-{1,2}>|=>)| ?\((?:was |from |prev)?\d")


def measured_values(note: ParsedNote, task: str) -> Iterator[Triple]:
    """Values of tests and scores that the note mentions once, with thousands, ranges and units."""
    for test, (pattern, any_name) in _patterns().items():
        matches = list(pattern.finditer(note.text))
        if len(matches) != 1 or len(any_name.findall(note.text)) != 1:
            continue
        (match,) = matches
        around = note.text[max(0, match.start() - 40) : match.start()], note.text[match.end() : match.end() + 80]
        if (
            any(map(_VALUE_CHANGES.search, around))
            or _ARROW.match(around[1])
            or (test in _TARGETS and re.search(r"\d ?(?:-|–|to)", match["value"]))
        ):
            continue
        asked = match["name"] if (len(match["name"]) > 2 and match["name"].isupper()) or test in _SCORES else test
        yield Triple(
            note.choose(
                f"What value does the note give for {asked}?",
                f"Which value belongs to {asked}?",
                f"What was the {asked}?",
                f"What is the result for {asked}?",
            ),
            match["value"],
            task,
            check="exact",
            spans=(match.span(),),
            subject=Subject(any_name.pattern, not_given(f"a value for {asked}")),
        )


@cache
def _patterns() -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    """Test or score -> pattern of its name with its value, and of any of its names."""
    tests = {
        name: (
            re.compile(
                rf"(?<![\w/-])(?P<name>(?i:{name}){'|' if short else ''}{short})(?: (?:level|"
                rf"count))?{_IS}(?P<value>{_VALUE}){_GOES_ON}"
            ),
            re.compile(rf"(?<![\w-])(?:{name}|{others})(?![\w-])", re.IGNORECASE),
        )
        for name, (short, others) in _TESTS.items()
    }
    scores = {
        name: (
            re.compile(
                rf"(?<![\w/-])(?P<name>{name})(?: score)?{_IS}(?P<value>\d+(?:\.\d+)?(?:/\d+)?)(?![\d/]|[.,-]\d|"
                rf"[A-Za-z%+])"
            ),
            re.compile(rf"(?<![\w-])(?:{name}|{others})", re.IGNORECASE),
        )
        for name, others in _SCORES.items()
    }
    return tests | scores
