"""A patient at one encounter: condition, history, drugs and findings that fit one another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import Any

from clinadapt.data.builtin_cases.templates import expand
from clinadapt.data.builtin_cases.vocabulary import Condition, full_text, vocabulary


@dataclass(frozen=True)
class Case:
    """One patient at one encounter.

    Attributes:
        slots: what stays the same throughout a note, by slot name.
        past, operations, home_drugs, treatment: written out, as a note can mention them more than once.
        vitals, exam, labs: templates by name.
        admitted: date of the encounter.
    """

    condition: Condition
    slots: dict[str, str]
    past: list[str]
    operations: list[str]
    home_drugs: list[str]
    treatment: list[str]
    vitals: dict[str, str]
    exam: dict[str, str]
    labs: dict[str, str]
    admitted: date


def sample_case(condition: Condition, rng: Random) -> Case:
    """Sample a patient with the condition whose sex, age, history, drugs and allergy fit it and one another."""
    words = vocabulary()
    sex = "F" if rng.random() < condition.female else "M"
    age = rng.randint(*condition.ages)
    admitted = date(2015, 1, 1) + timedelta(days=rng.randrange(3000))
    slots = _sample_slots(condition, sex, age, admitted, rng)
    possible = _compatible("past", condition, sex, age)
    past = rng.sample(possible, min(len(possible), rng.randint(0, 2) if age < 45 else rng.randint(0, 4)))
    operations = _compatible("operations", condition, sex, age)
    drugs = [_home_drug(other, rng) for other in past if "drugs" in other]
    allergy, contraindicated = rng.choice(words["allergies"])
    if re.search(contraindicated, full_text(condition) + " ".join(drugs)):
        allergy = words["allergies"][0][0]
    slots["allergy"] = expand(allergy, rng, slots)
    findings = {part: dict(words[part]) for part in ("vitals", "exam", "labs")}
    for part, templates in findings.items():
        for other in past:
            templates |= other.get(part, {})
    return Case(
        condition=condition,
        slots=slots,
        past=[expand(other["name"], rng, slots) for other in past],
        operations=[expand(other["name"], rng, slots) for other in rng.sample(operations, rng.randint(0, 2))],
        home_drugs=[expand(drug, rng, slots) for drug in drugs],
        treatment=[expand(drug, rng, slots) for drug in condition.drugs.split("; ") if rng.random() < 0.75],
        vitals=findings["vitals"] | condition.vitals,
        exam=findings["exam"] | condition.exam,
        labs=findings["labs"] | condition.labs,
        admitted=admitted,
    )


def _home_drug(disease: dict[str, Any], rng: Random) -> str:
    """One of the drugs for a past disease, sometimes with what it is for."""
    drug: str = rng.choice(disease["drugs"].split("; "))
    return f"{drug} for {disease['name']}" if rng.random() < 0.3 else drug


def _sample_slots(condition: Condition, sex: str, age: int, today: date, rng: Random) -> dict[str, str]:
    words = vocabulary()
    side, other_side = rng.sample(("left", "right"), 2)
    slots = {
        "age": str(age),
        "sex_letter": sex,
        "side": side,
        "other_side": other_side,
        "past_year": str(today.year - rng.randint(2, 9)),
        "past_month": f"{today - timedelta(days=rng.randint(40, 320)):%B %Y}",
    }
    templates = words["facts"] | words["persons"][sex] | condition.facts
    templates |= {"dx": condition.name, "complaint": condition.complaint, "duration": condition.duration}
    templates |= {"work": words["work"][age > 66], "title": condition.title} | condition.procedure | condition.study
    for name, template in templates.items():
        slots[name] = expand(template, rng, slots)
    return slots


@cache
def _compatible(table: str, condition: Condition, sex: str, age: int) -> list[dict[str, Any]]:
    """Entries of `past` or `operations` that fit the patient and do not contradict the condition."""
    return [
        entry
        for key, entry in vocabulary()[table].items()
        if sex in entry.get("sex", "FM")
        and key not in condition.avoid.split()
        and entry.get("ages", (18, 89))[0] <= age <= entry.get("ages", (18, 89))[1]
    ]
