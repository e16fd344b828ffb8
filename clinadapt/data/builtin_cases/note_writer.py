"""Write a note about a case: one of several kinds of note, with one writer's headers, dates and level of detail."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from clinadapt.data.builtin_cases.narrative import NARRATIVE
from clinadapt.data.builtin_cases.sampling import Case
from clinadapt.data.builtin_cases.templates import capitalize_first
from clinadapt.data.builtin_cases.vocabulary import vocabulary
from clinadapt.data.builtin_cases.writer import Writer
from clinadapt.data.builtin_cases.writing_habits import abbreviate, add_typos

NOT_AT_HOME = re.compile(r"\bIV\b|intravenous|intramuscular|once$|per hour|before|while|x2$")
# Separators: between sections, and after a header
LAYOUTS = (
    ("\n\n", ": "),
    ("\n", ": "),
    (" ", ": "),
    ("\n", " - "),
    ("\n\n", ":\n"),
    ("\n", ":\n"),
)

Note = dict[str, str]


def write_note(case: Case, rng: Random) -> Note:
    """Write a note on the case: description, sample_name, transcription and keywords, without a specialty."""
    kinds = [kind for kind in vocabulary()["kinds"].values() if getattr(case.condition, kind["needs"])]
    kind = rng.choices(kinds, [kind["weight"] for kind in kinds])[0]
    writer = Writer(case, rng, COMPOSED)
    title = writer.expand(kind["title"])
    name = re.sub(r"\b(?!(?:and|of|the|to|with)\b)[a-z]{3,}", lambda word: capitalize_first(word[0]), title)
    subject = name.partition(" - ")[0]
    keywords = [subject, case.slots["complaint"], case.slots["dx"], *(drug.split()[0] for drug in case.treatment)]
    return {
        "description": _fix_grammar(f"{subject}. {writer.expand('{description}')}"),
        "sample_name": name + rng.choice(("", "", "", " - 1", " - 2", " - 3")),
        "transcription": add_typos(abbreviate(_write_sections(kind["sections"], writer), rng), rng),
        "keywords": ", ".join(dict.fromkeys(keywords)).lower() + ",",
    }


def _spared_exam(case: Case) -> dict[str, str]:
    """The examination of the systems that the condition spares."""
    return {name: text for name, text in case.exam.items() if name not in case.condition.exam}


def _medications(case: Case) -> list[str]:
    return [drug for drug in case.treatment if not NOT_AT_HOME.search(drug)] + case.home_drugs


# Slots that a writer composes anew at each use
COMPOSED: dict[str, Callable[[Writer], str]] = {
    "past": lambda w: w.listing(w.case.past or ["Noncontributory"]),
    "operations": lambda w: w.listing(w.case.operations or ["None"]),
    "home_drugs": lambda w: w.listing(w.case.home_drugs or ["None"]),
    "medications": lambda w: w.listing(_medications(w.case) or ["None"]),
    "changes": lambda w: w.dose_change(),
    "treatment": lambda w: w.listing(w.case.treatment or ["None"]),
    "diagnoses": lambda w: w.listing([w.case.slots["dx"], *(w.case.past if w.includes_optional() else ())]),
    "plan": lambda w: w.listing(w.sample_lines(w.case.condition.plan)),
    "history": lambda w: w.paragraph(w.case.condition.history),
    "course": lambda w: w.paragraph(w.case.condition.course),
    "steps": lambda w: w.paragraph(w.case.condition.steps),
    "findings": lambda w: w.paragraph(w.case.condition.findings),
    "follow": lambda w: w.expand(w.case.condition.follow),
    "social": lambda w: w.expand(w.case.condition.social or "{habits}"),
    "technique": lambda w: w.expand(vocabulary()["regions"][w.case.condition.study["region"]]["technique"]),
    "before": lambda w: w.paragraph(vocabulary()["settings"][w.case.condition.procedure["setting"]]["before"]),
    "after": lambda w: w.paragraph(vocabulary()["settings"][w.case.condition.procedure["setting"]]["after"]),
    "signs": lambda w: w.vital_signs(vocabulary()["vitals"]),
    "arrival_signs": lambda w: w.vital_signs(w.case.vitals),
    "exam": lambda w: w.examination(_spared_exam(w.case), ()),
    "arrival_exam": lambda w: w.examination(w.case.exam, w.case.condition.exam),
    "review": Writer.review_of_systems,
    "labs": Writer.laboratory,
    "otherwise": Writer.normal_findings,
    **NARRATIVE,
}


def _write_sections(sections: str, writer: Writer) -> str:
    """Write the sections of a kind of note, one a line: `HEADER|OTHER HEADER: template`, optional after
    a `?`, and without a header after a `-`."""
    rng = writer.rng
    between, after_header = rng.choice(LAYOUTS)
    capitals = rng.random() < 0.7
    written = []
    for line in sections.splitlines():
        headers, _, template = line.partition(": ")
        if line[0] == "?" and not writer.includes_optional():
            continue
        header = rng.choice(headers.lstrip("?").split("|"))
        header = header if capitals or len(header) < 4 else header.capitalize()
        text = writer.expand(template).strip()
        if text:
            written.append(text if header == "-" else f"{header}{after_header}{text}")
    return _fix_grammar(between.join(written))


def _fix_grammar(text: str) -> str:
    """Fix the article before a number and the punctuation around an empty alternative."""
    text = re.sub(r" a (?=8|1[18]\b)", " an ", text)
    text = re.sub(r"A(?<!\wA) (?=8|1[18]\b)", "An ", text)
    return text.replace("  ", " ").replace(" .", ".").replace(" ,", ",").replace("..", ".").strip()
