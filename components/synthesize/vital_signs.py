"""Questions about vital signs and the weight, of which the note gives one value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given

AROUND_SIGN = 100  # characters in which another value of a sign may stand


class _VitalSign(NamedTuple):
    value: re.Pattern[str]
    label: re.Pattern[str]
    name: str
    questions: tuple[str, ...]


_IS = r"(?:(?: is| was| are| were| of| at)?:? | ?: ?| ?- ?)"
_VITAL_SIGNS = (
    _VitalSign(
        re.compile(rf"\b(?:BP|[Bb]lood pressure){_IS}(?P<value>\d{{2,3}}/\d{{2,3}})(?!\d|/)"),
        re.compile(
            r"\bbp(?![a-z])|blood pressure|vital|\b\d{2,3}/\d{2,3}\b|hypotens|hypertens|mmhg|\b(?:obs|vs)\b", re.I
        ),
        "a blood pressure",
        (
            "What was the blood pressure?",
            "Which blood pressure does the note give?",
            "What is the patient's blood pressure?",
            "What is the BP?",
        ),
    ),
    _VitalSign(
        re.compile(
            rf"(?<![\w/])(?<![Ff]etal )(?:HR|[Pp]ulse|[Hh]eart rate|P){_IS}(?P<value>\d{{2,3}})(?![\d/%.]\d|[\d/%])"
            r"(?! ?(?:to|-|and|or)\b)"
        ),
        re.compile(
            r"\bhr(?![a-z])|\bpulses?\b|heart rate|vital|\bP:? ?\d\d|bpm|beats|tachyc|bradyc|\b(?:obs|vs)\b", re.I
        ),
        "a heart rate",
        ("What was the heart rate?", "Which heart rate does the note give?", "How fast was the pulse?"),
    ),
    _VitalSign(
        re.compile(rf"\b(?:[Tt]emperature|[Tt]emp|T){_IS}(?P<value>\d{{2,3}}(?:\.\d)?)(?![\d/%-]|\.\d)"),
        re.compile(
            r"\btemperatures?\b|\btemp(?![a-z])|\bT:? ?\d\d|vital|febrile|fever|(?<![\d./])(?:3[5-9]|4[0-2]|9[5-9]|"
            r"10[0-6])\.\d\b|\b(?:obs|vs)\b",
            re.I,
        ),
        "a temperature",
        ("What was the temperature?", "Which temperature does the note give?"),
    ),
    _VitalSign(
        re.compile(
            rf"\b(?:RR|[Rr]espirations?|[Rr]espiratory rate){_IS}(?P<value>\d{{1,2}})(?![\d/%]|\.\d)(?! ?(?:to|-)\b)"
        ),
        re.compile(r"\brr(?![a-z])|respiratory rate|respirations?|vital|breaths|\bR:? ?\d\d|\b(?:obs|vs)\b", re.I),
        "a respiratory rate",
        ("What was the respiratory rate?", "Which respiratory rate does the note give?"),
    ),
    _VitalSign(
        re.compile(
            r"\b(?:O2 sats?|[Ss]ats?|SpO2|SPO2|SaO2|[Oo]xygen saturations?|O2 saturation)"
            rf"{_IS}(?P<value>\d{{2,3}} ?%)(?! ?(?:to|-)\b)"
        ),
        re.compile(r"\bsat|spo2|sao2|oxygen|\bo2\b|vital|oximet|\b(?:obs|vs)\b|room air", re.I),
        "an oxygen saturation",
        ("What was the oxygen saturation?", "Which oxygen saturation does the note give?", "What are the sats?"),
    ),
    _VitalSign(
        re.compile(
            rf"(?<!irth )\b(?:[Ww]eight|[Ww]t|WT|weighs){_IS}(?P<value>\d{{1,3}}(?:\.\d+)? ?(?:kg|kilograms|lbs?|"
            rf"pounds)(?:,? \d{{1,2}} ?(?:oz|ounces))?)\b"
        ),
        re.compile(r"weigh|\bwt\b|\bkg\b|\blbs?\b|pounds|kilo|\bvs\b|vital", re.I),
        "a weight",
        ("What was the weight?", "Which weight does the note give?", "How much did the patient weigh?"),
    ),
)
# Words near a sign that is given more than once
_MEASURED_AGAIN = re.compile(
    r"\b(?:standing|sitting|seated|lying|supine|repeat\w*|recheck\w*|later|then|rose|fell|went|came down|increas\w*|"
    r"decreas\w*|reduc\w*|dropp\w*|initial\w*|previous\w*|prior|resting|maxim\w*|peak|highest|"
    r"lowest|exercise|yesterday|at home|home readings?|manual)\b",
    re.IGNORECASE,
)
_VENTILATED = re.compile(r"\b(?:AC|VC|PC|SIMV|CMV|PRVC|PEEP|F[iI]O2|TV|Vt|PSV?|vent(?:ilator)?)\b")  # its settings
_PLAUSIBLE = {
    "a blood pressure": ((50, 260),),
    "a heart rate": ((25, 250),),
    "a temperature": ((33, 43), (92, 109)),  # Celsius, Fahrenheit
    "a respiratory rate": ((5, 70),),
    "an oxygen saturation": ((50, 100),),
    "a weight": ((1, 700),),
}
_TEMPERATURE = re.compile(r"(?<![\d./])(?:3[5-9]|4[0-2]|9[5-9]|10[0-6])\.\d(?![\d/%]|\.\d)")
_ANY_WEIGHT = re.compile(r"\b\d[\d.]* ?(?:kg|kilograms?|kilos?|lbs?|pounds?)\b(?! ?/)", re.IGNORECASE)
_BLOOD_PRESSURE = re.compile(r"(?<![\d/])(?:[6-9]\d|1\d\d|2[0-5]\d)/(?:[3-9]\d|1[0-4]\d)(?![\d/])")


def vital_signs(note: ParsedNote, task: str) -> Iterator[Triple]:
    """Vital signs and the weight, where the note gives one value of each."""
    for sign in _VITAL_SIGNS:
        matches = list(sign.value.finditer(note.text))
        if len(matches) == 1 and _is_only_value(note, matches[0]):
            (match,) = matches
            yield Triple(
                note.choose(*sign.questions),
                match["value"],
                task,
                check="exact",
                spans=(match.span(),),
                subject=Subject(sign.label.pattern, not_given(sign.name)),
            )


def _is_only_value(note: ParsedNote, match: re.Match[str]) -> bool:
    """Whether a patient can have the value, and no words near it speak of another."""
    name = next(sign.name for sign in _VITAL_SIGNS if sign.value is match.re)
    value = float(re.match(r"[\d.]+", match["value"])[0])  # type: ignore[index]
    if not any(low <= value <= high for low, high in _PLAUSIBLE[name]):
        return False
    if name == "a temperature" and len(set(_TEMPERATURE.findall(note.text))) > 1:
        return False
    if name == "a respiratory rate" and _VENTILATED.search(note.text, max(0, match.start() - 40), match.end() + 40):
        return False
    if name == "a weight" and len(_ANY_WEIGHT.findall(note.text)) > 1:
        return False
    if "/" in match["value"] and len(_BLOOD_PRESSURE.findall(note.text)) > 1:
        return False
    return not _MEASURED_AGAIN.search(note.text, max(0, match.start() - AROUND_SIGN), match.end() + AROUND_SIGN)
