"""Coreference resolution: a pronoun, the patient's name, or "Same" as a diagnosis, where only one referent fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from clinadapt.clinical.sections import one_line
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_mentioned

TASK = "Coreference Resolution"

_SEX = {"woman": "F", "female": "F", "lady": "F", "girl": "F", "man": "M", "male": "M", "gentleman": "M", "boy": "M"}
_PRONOUNS = {"F": ("She", "Her"), "M": ("He", "His")}
_OTHER_PRONOUNS = {"F": r"\b(?:[Hh]e|[Hh]is|[Hh]im)\b", "M": r"\b(?:[Ss]he|[Hh]er)\b"}
_PATIENT = re.compile(
    r"(?P<patient>\b(?:an?|A|An) \d{1,3}[ -](?:year|yr|month|week|day)s?[ -]old,? "
    r"(?:(?:right|left)[- ]hand(?:ed)?[- ]?(?:dominant)? |[A-Za-z-]+,? ){0,2}?"
    r"(?P<sex>woman|female|lady|girl|man|male|gentleman|boy))\b"
)
_INTRODUCTION = re.compile(r"(?:\b(?:patient|[Tt]his|Ms\. \w+|Mrs\. \w+|Mr\. \w+)(?: is|,)|[:.\n,]|^) *,?$")
_PATIENT_IS_SUBJECT = re.compile(r"(?:The patient|This is|He|She|Pt|Mr\.|Mrs\.|Ms\.|This \d|The pt)\b")
_OTHER_PEOPLE = re.compile(
    r"\b(?:mother|father|wife|husband|son|daughter|brother|sister|Dr|doctor|nurse|physician|friend|boyfriend|girlfriend|"
    r"fianc\w+|partner|aunt|uncle|grand\w+|surgeon|baby|infant|child|fetus|neighbor|mom|dad|parents?|roommate|who|"
    r"roommate|cousin|niece|nephew|driver|man|woman|counsel\w+|therapist|provider|dentist)\b",
)
MAX_PAIRS = 20
FRAGMENT = 4  # words of a sentence that a question quotes
_NAME = re.compile(r"\b(?:Mr|Mrs|Ms)\. [A-Z][a-z]*\b")
_ROLE = (
    rf"(?!who|man|woman|child|infant|baby)(?:{_OTHER_PEOPLE.pattern}|"
    r"(?:assistant|N\.?P|P\.?A|R\.?N|M\.?D|midwife|interpreter|social worker|technician|nanny|carer|caregiver)\b)"
)
# Before or behind a name, what its bearer is: `Mr. X, the physician assistant`
_ROLE_BEFORE = re.compile(rf"{_ROLE},? $")
_ROLE_BEHIND = re.compile(rf",? ?\(?(?:(?:an?|the|his|her|our|their) )?(?:[a-z-]+ ){{0,2}}?{_ROLE}")


@dataclass
class _Patient:
    """The patient as the note introduces them, such as `a 61-year-old man`."""

    sex: str  # F or M
    span: tuple[int, int]
    description: str


def generate(note: ParsedNote) -> Iterator[Triple]:
    """At most one triple each for "Same", a pronoun and the patient's name."""
    yield from _same_diagnosis(note)
    if patient := _introduced_patient(note.text):
        yield from _pronoun(note, patient)
        yield from _name(note, patient)


def _same_diagnosis(note: ParsedNote) -> Iterator[Triple]:
    """A postoperative diagnosis `Same` refers to the preoperative one."""
    text = note.text
    by_name = {section.name: section for section in note.sections}
    before, after = by_name.get("preoperative diagnosis"), by_name.get("postoperative diagnosis")
    if not before or not after:
        return
    reference = text[after.start : after.end].strip(".")
    if reference.lower() not in ("same", "same as above", "same as preoperative diagnosis"):
        return
    answer = one_line(text[before.start : before.end])
    if 2 <= len(answer.split()) <= 40:
        yield Triple(
            note.choose(
                f'What does "{reference}" under {after.header} refer to?',
                f'What is meant by "{reference}" under {after.header}?',
            ),
            answer,
            TASK,
            check="exact",
            spans=((after.start, after.end), (before.start, before.end)),
            subject=Subject(r"\bsame\b", not_mentioned(f'"{reference}" under a diagnosis')),
        )


def _introduced_patient(text: str) -> _Patient | None:
    """The patient, if the note introduces one and mentions nobody of the other sex in that form."""
    people = list(_PATIENT.finditer(text))
    introduced = (match for match in people if _INTRODUCTION.search(text[max(0, match.start() - 40) : match.start()]))
    match = next(introduced, None)
    if not match or len({_SEX.get(person["sex"].lower()) for person in people}) != 1:
        return None
    description = match["patient"]
    return _Patient(_SEX[match["sex"].lower()], match.span("patient"), description[0].lower() + description[1:])


def _pronoun(note: ParsedNote, patient: _Patient) -> Iterator[Triple]:
    """A sentence that begins with a pronoun, after one that is about the patient alone."""
    text = note.text
    pairs = []
    for (start, end), (next_start, next_end) in zip(note.sentences, note.sentences[1:], strict=False):
        first, second = text[start:end], text[next_start:next_end]
        if not second.startswith(tuple(f"{word} " for word in _PRONOUNS[patient.sex])) or next_start - end > 3:
            continue
        if not _PATIENT_IS_SUBJECT.match(first) or _OTHER_PEOPLE.search(first):
            continue
        if re.search(_OTHER_PRONOUNS[patient.sex], first) or len(second.split()) < 4:
            continue
        pairs.append((start, end, next_start, next_end))
    note.rng.shuffle(pairs)
    words = [(*pair, " ".join(text[pair[2] : pair[3]].split()[:FRAGMENT])) for pair in pairs[:MAX_PAIRS]]
    words = [pair for pair in words if len(re.findall(re.escape(pair[4]), text)) == 1 and '"' not in pair[4]]
    if words:
        start, end, next_start, _, fragment = note.rng.choice(words)
        word = fragment.split()[0]
        yield Triple(
            note.choose(
                f'Which person does "{word}" refer to where the note says "{fragment}"?',
                f'Who is meant by "{word}" in "{fragment} ..."?',
                f'To whom does the word "{word}" refer in "{fragment} ..."?',
                f'Who is "{word.lower()}" in the sentence that begins "{fragment}"?',
            ),
            f"the patient, {patient.description}",
            TASK,
            check="exact",
            spans=(patient.span, (start, end), (next_start, next_start + len(word))),
            subject=Subject(re.escape(fragment), not_mentioned(f'the words "{fragment}"')),
        )


def _is_another(text: str, name: re.Match[str]) -> bool:
    """Whether the words beside a name make its bearer somebody else, a relative or one who treats the patient."""
    before, behind = text[max(0, name.start() - 30) : name.start()], text[name.end() : name.end() + 50]
    return bool(_ROLE_BEFORE.search(before) or (behind.lstrip()[:1] in {",", "("} and _ROLE_BEHIND.match(behind)))


def _name(note: ParsedNote, patient: _Patient) -> Iterator[Triple]:
    """Who bears the only titled name of the note, if the title fits the patient's sex; the name is not quoted."""
    names = list(_NAME.finditer(note.text))
    if len({match[0] for match in names}) != 1 or any(_is_another(note.text, name) for name in names):
        return
    name = names[0]
    title = name[0].partition(" ")[0]
    if (title == "Mr.") == (patient.sex == "M"):
        yield Triple(
            note.choose(
                f'Whom does the note call "{title}"?',
                f'Who is the person with the title "{title}" in this note?',
                f'To whom does the title "{title}" belong?',
            ),
            f"the patient, {patient.description}",
            TASK,
            check="exact",
            spans=(name.span(), patient.span),
            subject=Subject(rf"\b{title[:-1]}\b", not_mentioned(f'anybody with the title "{title}"')),
        )
