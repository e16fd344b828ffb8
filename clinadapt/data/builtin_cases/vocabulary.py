"""The conditions, phrases and normal findings that notes are made of: the YAML files in `words/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from clinadapt.artifacts.packaged_yaml import packaged_yaml


@dataclass(frozen=True, eq=False)
class Condition:
    """A condition and everything a note about it can contain. Texts are templates (see `templates`).

    Attributes:
        listed: specialty -> weight. A condition with several specialties can be cross-listed.
        ages: youngest and oldest patient, in years.
        female: share of women.
        avoid: entries of `past` and `operations`, space-separated, that contradict the condition or its drugs.
        facts: slots drawn once per case.
        vitals, exam, labs: findings on arrival that differ from normal.
        drugs: treatments, separated by semicolons.
        follow: the state at a follow-up visit.
        stay: shortest and longest stay in hospital, in days.
        course: what happens in hospital; empty for a condition seen in the clinic only.
    """

    title: str
    listed: dict[str, int]
    ages: Sequence[int]
    duration: str
    name: str
    complaint: str
    history: str
    exam: dict[str, str]
    drugs: str
    plan: str
    follow: str
    female: float = 0.5
    stay: Sequence[int] = (2, 4)
    avoid: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    vitals: dict[str, str] = field(default_factory=dict)
    labs: dict[str, str] = field(default_factory=dict)
    course: str = ""
    social: str = ""
    study: dict[str, str] = field(default_factory=dict)
    findings: str = ""
    procedure: dict[str, str] = field(default_factory=dict)
    steps: str = ""

    @property
    def clinic(self) -> bool:
        """Whether it is seen in the clinic only."""
        return not self.course


@cache
def vocabulary() -> dict[str, Any]:
    """Load `words/`: the keys of common.yaml, notes.yaml and narrative.yaml, and all specialties' `conditions`."""
    names = sorted(file.name for file in (resources.files(__package__) / "words").iterdir())
    loaded = {name: packaged_yaml(__package__, f"words/{name}") for name in names}
    shared = loaded.pop("common.yaml") | loaded.pop("notes.yaml")
    narrative = loaded.pop("narrative.yaml")
    for part in ("phrases", "kinds"):
        shared[part] |= narrative.pop(part)
    shared |= narrative
    return shared | {"conditions": [Condition(**fields) for conditions in loaded.values() for fields in conditions]}


@cache
def full_text(condition: Condition) -> str:
    """Every template of a condition in lower case, to search for words that clash with it."""
    return repr(condition).lower()
