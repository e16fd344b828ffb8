"""A writer of notes: one set of habits, and the parts of a note that are composed from a case."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from functools import cache, partial
from random import Random

from clinadapt.data.builtin_cases.sampling import Case
from clinadapt.data.builtin_cases.templates import capitalize_first, expand
from clinadapt.data.builtin_cases.vocabulary import Condition, full_text, vocabulary

_DOSE = re.compile(r"([a-z-]+) (\d+(?:\.\d+)?) (mg|mcg) (.+?)(?: for .+)?$")  # a drug, its dose, unit and times
DATE_FORMATS = ("%m/%d/%Y", "%m/%d/%y", "%B %d, %Y", "%d-%b-%Y", "%Y-%m-%d", "%d %B", "%B %d")


class Writer:
    """Writes about a case with one set of habits.

    Attributes:
        slots: texts by name, and functions that compose one anew at each use (`composed`).
        wordiness: share of optional parts that the writer includes, 0 to 1.
        date_style: of dates in sentences (`narrative.prose_date`).
        mentioned: tests that the note has spoken of.
    """

    def __init__(self, case: Case, rng: Random, composed: Mapping[str, Callable[[Writer], str]]) -> None:
        self.case, self.rng = case, rng
        self.wordiness = rng.uniform(0.2, 1.0)
        self.numbered = rng.random() < 0.4
        date_format = rng.choice(DATE_FORMATS)
        self.date_style = rng.randrange(3)
        self.mentioned: set[str] = set()
        known = enumerate_items(case.past[:3]) if self.includes_optional() else ""
        self.discharged = case.admitted + timedelta(days=rng.randint(*case.condition.stay))
        self.slots: dict[str, str | Callable[[], str]] = {
            name: partial(compose, self) for name, compose in composed.items()
        }
        self.slots |= case.slots
        self.slots["short_duration"] = (
            _in_shorthand(case.slots["duration"]) if rng.random() < 0.7 else case.slots["duration"]
        )
        self.slots["known"] = known and f" with a history of {known}"
        self.slots["admitted"] = case.admitted.strftime(date_format)
        self.slots["discharged"] = self.discharged.strftime(date_format)

    def includes_optional(self) -> bool:
        """Draw whether this writer includes an optional part."""
        return self.rng.random() < self.wordiness

    def expand(self, template: str) -> str:
        """Write out a template, with a capital at its start."""
        return capitalize_first(expand(template, self.rng, self.slots))

    def sample_lines(self, block: str) -> list[str]:
        """Write out some lines of a block, at least two and in order; the wordier the writer, the more."""
        lines = block.splitlines()
        least = min(2, len(lines))
        count = least + round((len(lines) - least) * self.rng.uniform(self.wordiness / 2, 1) * self.wordiness**0.5)
        return [self.expand(lines[i]) for i in sorted(self.rng.sample(range(len(lines)), count))]

    def paragraph(self, block: str) -> str:
        """Write some lines of a block as one paragraph."""
        return " ".join(self.sample_lines(block))

    def listing(self, items: list[str]) -> str:
        """Write items as a numbered list or as sentences in a row."""
        items = [capitalize_first(item.rstrip(".")) + "." for item in items]
        if self.numbered and len(items) > 1:
            return "\n".join(f"{n}. {item}" for n, item in enumerate(items, 1))
        return " ".join(items)

    def sample_dose_change(self) -> tuple[str, str] | None:
        """Draw a change of the dose of one of the patient's drugs, and set the slots that tell it.

        Returns:
            The drug, and `more` or `less`; None where no dose is changed.
        """
        adjustable = vocabulary()["adjustable"]
        doses = [match for drug in self.case.home_drugs if (match := _DOSE.match(drug)) and match[1] in adjustable]
        if not doses or self.rng.random() < 0.2:
            return None
        drug, old, unit, times = self.rng.choice(doses).groups()
        new = self.rng.choice([dose for dose in adjustable[drug] if dose != float(old)])
        self.slots |= {"drug": drug, "old": f"{old} {unit}", "new": f"{new} {unit}", "times": times}
        return drug, "more" if new > float(old) else "less"

    def dose_change(self) -> str:
        """Write that the dose of one of the patient's drugs is changed, or nothing."""
        change = self.sample_dose_change()
        return self.expand(f"{{{change[1]}}}") + " " if change else ""

    def deniable_symptoms(self) -> list[str]:
        """The symptoms that the patient neither complains of nor shows."""
        return _deniable_symptoms(self.case.condition)

    def review_of_systems(self) -> str:
        """Write which symptoms the patient denies."""
        denied = self.rng.sample(self.deniable_symptoms(), self.rng.randint(3, 6))
        self.slots["denied"] = enumerate_items(denied)
        return self.expand("{negative}")

    def vital_signs(self, vitals: dict[str, str]) -> str:
        """Write the vital signs on one line."""
        self.slots |= {name: expand(template, self.rng, self.slots) for name, template in vitals.items()}
        return self.expand("{signs_line}")

    def examination(self, exam: dict[str, str], relevant: Collection[str]) -> str:
        """Write the findings of the relevant body systems and of some others."""
        rest = [name for name in exam if exam[name] and name not in relevant]
        also = self.rng.sample(rest, max(3 - len(relevant), round(len(rest) * self.wordiness * 0.8)))
        systems = [name for name in exam if name in relevant or name in also]
        return ("\n" if self.numbered else " ").join(
            f"{name.capitalize()}: {self.expand(exam[name])}" for name in systems
        )

    def laboratory(self) -> str:
        """Write the values that the condition changes and a few others."""
        labs, relevant = self.case.labs, self.case.condition.labs
        also = self.rng.sample(sorted(labs.keys() - relevant.keys()), self.rng.randint(1, 5))
        names = [name for name in labs if name in relevant or name in also]
        return ", ".join(f"{name} {expand(labs[name], self.rng, self.slots)}" for name in names) + "."

    def normal_findings(self) -> str:
        """Write normal findings of a study, except on what its abnormal findings describe."""
        condition = self.case.condition
        study = f"{condition.findings} {condition.study['impression']}".lower()
        lines = [
            line
            for key, line in vocabulary()["regions"][condition.study["region"]].items()
            if key != "technique" and not re.search(key, study) and self.rng.random() < 0.3 + self.wordiness
        ]
        return " ".join(map(self.expand, self.rng.sample(lines, len(lines))))


def _in_shorthand(duration: str) -> str:
    """`for 3 weeks` as general practitioners write it: `for 3/52`."""
    parts = {"day": "7", "week": "52", "month": "12"}
    return re.sub(r"(\d+) (day|week|month)s?\b(?! ago)", lambda match: f"{match[1]}/{parts[match[2]]}", duration)


def enumerate_items(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)


@cache
def _deniable_symptoms(condition: Condition) -> list[str]:
    """The symptoms that the patient neither complains of nor shows."""
    text = full_text(condition)
    return [symptom for symptom, forbidden in vocabulary()["symptoms"].items() if not re.search(forbidden, text)]
