"""What notes in prose and in shorthand say of drugs, allergies, tests and reasons (words/narrative.yaml).

Each function writes one part of a note about a writer's case, and contradicts no other part: a test is left out where
the words of the condition match its `unless`, a finding where the condition changes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

from clinadapt.data.builtin_cases.templates import capitalize_first
from clinadapt.data.builtin_cases.vocabulary import full_text, vocabulary
from clinadapt.data.builtin_cases.writer import Writer, enumerate_items

_NO_ALLERGY = re.compile(r"No |NKDA|None")
BRITISH_TIMES = {  # how general practitioners write how often
    r"twice daily|twice a day|b\.i\.d\.": "BD",
    r"three times daily|three times a day|t\.i\.d\.": "TDS",
    r"at bedtime|q\.h\.s\.|nightly": "nocte",
    r"once daily|every day|q\.d\.|daily|each day": "OD",
    r"as needed|p\.r\.n\.": "PRN",
}


def lower_first(text: str) -> str:
    """The first letter in lower case, unless the word is an abbreviation."""
    return text if re.match(r"[A-Z][A-Z\d]", text) else text[:1].lower() + text[1:]


def british_times(text: str) -> str:
    """How often a drug is taken, in the abbreviations of a general practitioner."""
    for pattern, short in BRITISH_TIMES.items():
        text = re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", short, text)
    return text


def prose_date(day: date, style: int) -> str:
    """A date as it is written in a sentence: `4 March`, `March 4` or `March 4, 2019`."""
    return (f"{day.day} {day:%B}", f"{day:%B} {day.day}", f"{day:%B} {day.day}, {day.year}")[style]


def _drugs(writer: Writer) -> str:
    drugs = writer.case.home_drugs
    if not drugs:
        return writer.expand("{no_drugs}")
    writer.slots["drug_list"] = enumerate_items(drugs)
    return writer.expand("{takes}")


def _allergy(writer: Writer) -> str:
    allergy = writer.case.slots["allergy"]
    if _NO_ALLERGY.match(allergy):
        return writer.expand("{not_allergic}")
    writer.slots["allergen"] = lower_first(allergy)
    return writer.expand("{is_allergic}")


def _british_allergy(writer: Writer) -> str:
    allergy = writer.case.slots["allergy"]
    if _NO_ALLERGY.match(allergy):
        return writer.expand("[NKDA|No known allergies]")
    substance, reaction = allergy.rstrip(")").replace(" (", ", ").partition(", ")[::2]
    return f"{lower_first(substance)}{reaction and ' - ' + reaction}"


def _past(writer: Writer) -> str:
    if not writer.case.past:
        return writer.expand("[{He} has been well until now|There is no past history of note].")
    writer.slots["past_list"] = _past_list(writer)
    return writer.expand("{has_past}")


def _past_list(writer: Writer) -> str:
    return enumerate_items([name.partition(",")[0] for name in writer.case.past])


def _signs(writer: Writer) -> str:
    writer.vital_signs(writer.case.vitals)
    return writer.expand("{signs_prose}")


def _british_signs(writer: Writer) -> str:
    writer.vital_signs(writer.case.vitals)
    celsius = round((float(writer.slots["temp"]) - 32) / 1.8, 1)  # type: ignore[arg-type]
    return writer.expand(f"[T {celsius}, |]BP {{systolic}}/{{diastolic}}, [HR|P] {{pulse}}[, sats {{sat}}%|].")


def _examination(writer: Writer) -> str:
    """Two or three normal findings, of systems that neither the condition nor an earlier illness changes."""
    normal, case = vocabulary()["exam"], writer.case
    words = vocabulary()["findings_prose"]
    spared = [name for name in words if case.exam[name] == normal[name] and name not in case.condition.exam]
    names = sorted(writer.rng.sample(spared, min(len(spared), writer.rng.randint(2, 3))), key=list(words).index)
    findings = enumerate_items([lower_first(writer.expand(words[name])) for name in names])
    return writer.expand(f"[On examination {findings}|{capitalize_first(findings)}].") if findings else ""


def _unlikely(writer: Writer, unless: str) -> bool:
    """Whether the words of the condition, the drugs or the earlier illnesses match."""
    case = writer.case
    text = " ".join([full_text(case.condition), *case.home_drugs, *case.treatment, *case.past, case.slots["allergy"]])
    return bool(re.search(unless, text, re.IGNORECASE))


def _tests(writer: Writer) -> str:
    """One or two tests, each with what two of date, reason and result its sentence gives."""
    names = _possible_tests(writer)
    count = min(len(names), 1 + writer.includes_optional())
    return " ".join(_about_test(writer, name, "{test_sentence}.") for name in writer.rng.sample(names, count))


def _planned_test(writer: Writer) -> str:
    names = _possible_tests(writer)
    if not names or not writer.includes_optional():
        return ""
    return _about_test(writer, writer.rng.choice(names), "{test_planned}.")


def _possible_tests(writer: Writer) -> list[str]:
    return [
        name
        for name, test in vocabulary()["investigations"].items()
        if not _unlikely(writer, test["unless"]) and name not in writer.mentioned
    ]


def _about_test(writer: Writer, name: str, template: str) -> str:
    writer.mentioned.add(name)
    entry = vocabulary()["investigations"][name]
    article = "an" if name[0] in "aeo" else "a"
    day = writer.case.admitted - timedelta(days=writer.rng.randint(1, 40))
    writer.slots |= {
        "test": name,
        "a_test": f"{article} {name}",
        "test_day": prose_date(day, writer.date_style),
        **{part: lower_first(writer.expand(entry[part])) for part in ("cause", "fear", "result")},
    }
    return writer.expand(template)


def _changed_dose(writer: Writer) -> str:
    """A change of the dose of one of the patient's drugs, with its reason; empty where none can be changed."""
    if not (change := writer.sample_dose_change()):
        return ""
    drug, direction = change
    writer.slots["why"] = lower_first(writer.expand(vocabulary()["reasons"][direction][drug]))
    return writer.expand(f"{{changed_{direction}}}.")


def _british_change(writer: Writer) -> str:
    return british_times(_changed_dose(writer)) + " "


def _started_drug(writer: Writer) -> str:
    """A drug that the visit starts, with its reason."""
    new = {name: e for name, e in vocabulary()["reasons"]["start"].items() if not _unlikely(writer, e["unless"])}
    if not new or not writer.includes_optional():
        return ""
    name = writer.rng.choice(list(new))
    dose = lower_first(writer.expand(new[name]["dose"]))
    writer.slots |= {"drug": name, "new_drug": f"{name} {dose}", "why": lower_first(writer.expand(new[name]["why"]))}
    return writer.expand("{started}.")


def _stay(writer: Writer, day: date) -> str:
    return prose_date(day, writer.date_style)


def _denied_short(writer: Writer) -> str:
    """Denied symptoms as shorthand: `No fever, no cough.`"""
    symptoms = writer.rng.sample(writer.deniable_symptoms(), writer.rng.randint(2, 3))
    symptoms = [symptom.partition(" or ")[0] for symptom in symptoms]
    listed = ", ".join(f"no {symptom}" for symptom in symptoms)
    return writer.expand(f"[{capitalize_first(listed)}|Denies {enumerate_items(symptoms)}].")


NARRATIVE: dict[str, Callable[[Writer], str]] = {
    "drugs_told": _drugs,
    "allergy_told": _allergy,
    "uk_allergy": _british_allergy,
    "past_told": _past,
    "past_list_or_nil": lambda w: _past_list(w) or "nil",
    "relative_short": lambda w: w.expand("{relative}"),
    "uk_drugs": lambda w: british_times(", ".join(w.case.home_drugs)) or "nil",
    "signs_told": _signs,
    "uk_signs": _british_signs,
    "exam_told": _examination,
    "tests_told": _tests,
    "test_planned_told": _planned_test,
    "dose_told": _changed_dose,
    "uk_change": _british_change,
    "started_told": _started_drug,
    "repeated_told": lambda w: w.expand("{repeated}"),
    "negative_short": _denied_short,
    "given_short": lambda w: enumerate_items(w.case.treatment[:2]) + "." if w.case.treatment else "analgesia.",
    "short_history": lambda w: " ".join(w.sample_lines(w.case.condition.history)[:2]),
    "short_course": lambda w: " ".join(w.sample_lines(w.case.condition.course)[:2]),
    "plan_line": lambda w: " ".join(w.sample_lines(w.case.condition.plan)[:2]),
    "day_in": lambda w: _stay(w, w.case.admitted),
    "day_out": lambda w: _stay(w, w.discharged),
}
