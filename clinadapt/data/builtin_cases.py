"""The `builtin://` source: synthetic clinical notes from a small grammar, for a first run without any data.

A case is sampled first (who, with what, since when, with which past, drugs and findings), then written down as one of
several kinds of note by a writer with habits of his own: headers, dates, abbreviations, slips. As in MTSamples, some
notes are listed twice under two specialties, which is why no classifier can reach 100 %. The words are in `cases/`:
`common.yaml`, `notes.yaml` and a file of conditions for each specialty. All of it is invented; none of it is advice.
"""

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache, partial
from importlib import resources
from itertools import islice
from random import Random
from typing import Any, NamedTuple

import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

CROSS_LISTED = 0.12  # of the notes: listed once more, under another specialty
REDICTATED = 0.012  # of the notes: dictated once more, with a few words changed
NOT_AT_HOME = re.compile(r"\bIV\b|intravenous|intramuscular|once$|per hour|before|while|x2$")
LAYOUTS = (
    ("\n\n", ": "),
    ("\n", ": "),
    (" ", ": "),
    ("\n", " - "),
    ("\n\n", ":\n"),
    ("\n", ":\n"),
)  # sections, headers
DATE_FORMATS = ("%m/%d/%Y", "%m/%d/%y", "%B %d, %Y", "%d-%b-%Y", "%Y-%m-%d")

Row = dict[str, str]
Facts = Mapping[str, str | Callable[[], str]]


@dataclass(frozen=True, eq=False)
class Condition:
    """One condition and all that a note about it may say, in templates.

    `listed` weighs the specialties that see it: more than one makes it a candidate for cross-listing. `female` is the
    share of women. `avoid` names the parts of a past history that would contradict it or its drugs. `facts` are drawn
    once a case. `vitals`, `exam` and `labs` are what it changes on arrival, `drugs` (between semicolons) what it is
    treated with, `follow` how it does later, `course` what happens in hospital (none: it is seen in the clinic only).
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
    stay: Sequence[int] = (2, 4)  # days in hospital
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
        return not self.course


@cache
def words() -> dict[str, Any]:
    """The files of `cases/` by their top-level keys; `conditions` holds those of all specialties."""
    files = {file.name: file for file in (resources.files("clinadapt.data") / "cases").iterdir()}
    loaded = {name: yaml.load(files[name].read_text("utf-8"), SafeLoader) for name in sorted(files)}
    shared = loaded.pop("common.yaml") | loaded.pop("notes.yaml")
    return shared | {"conditions": [Condition(**fields) for conditions in loaded.values() for fields in conditions]}


def generate(rows: int, seed: int) -> Iterator[Row]:
    """Synthetic notes in the layout of MTSamples: description, medical_specialty, sample_name, transcription, keywords.

    The same seed gives the same rows, on any machine; fewer rows are the beginning of more. `keywords` begins with the
    specialty, as in MTSamples, and so must not be a feature.
    """
    return islice(_listings(Random(seed)), rows)


def _listings(rng: Random) -> Iterator[Row]:
    shares = {key: share for key, (_, share) in words()["specialties"].items()}
    seen_by = {key: [c for c in words()["conditions"] if key in c.listed] for key in shares}
    weights = {key: [c.listed[key] for c in seen_by[key]] for key in shares}
    ambiguous = sum(
        share * sum(c.listed[key] for c in seen_by[key] if len(c.listed) > 1) / sum(weights[key])
        for key, share in shares.items()
    )
    waiting: deque[Row] = deque()
    while True:
        if waiting and rng.random() < 0.25:
            yield waiting.popleft()
        specialty = rng.choices(list(shares), list(shares.values()))[0]
        condition = rng.choices(seen_by[specialty], weights[specialty])[0]
        note = _note(sample_case(condition, rng), rng)
        yield _listed(note, specialty)
        others = [key for key in condition.listed if key != specialty]
        if others and rng.random() < CROSS_LISTED / ambiguous:
            waiting.append(_listed(note, rng.choice(others)))
        elif rng.random() < REDICTATED:
            waiting.append(_listed(note | {"transcription": _redictated(note["transcription"], rng)}, specialty))


def _listed(note: Row, specialty: str) -> Row:
    label = words()["specialties"][specialty][0]
    return {
        "description": note["description"],
        "medical_specialty": label,
        "sample_name": note["sample_name"],
        "transcription": note["transcription"],
        "keywords": f"{label.lower()}, {note['keywords']}",
    }


# --- templates ---


class _Number(NamedTuple):
    start: int  # in units of the last decimal, as is the step
    step: int
    choices: int
    decimals: int


class _Slot(NamedTuple):
    name: str
    capital: bool


_Part = str | _Number | _Slot | list["str | list[_Part]"]
_TOKEN = re.compile(r"[\[\]|]|\{[^{}]+\}|[^\[\]|{}]+")
_RANGE = re.compile(r"\{([\d.]+?)\.\.([\d.]+)(?:/([\d.]+))?\}")


@cache
def _parsed(template: str) -> list[_Part]:
    levels: list[list[list[_Part]]] = [[[]]]  # open brackets, their alternatives, the parts of each
    for token in _TOKEN.findall(template):
        if token == "[":
            levels.append([[]])
        elif token == "]":
            alternatives = levels.pop()
            levels[-1][-1].append([_plain(parts) for parts in alternatives])
        elif token == "|":
            levels[-1].append([])
        else:
            levels[-1][-1].append(_slot(token) if token[0] == "{" else token)
    ((parts,),) = levels
    return parts


def _plain(parts: list[_Part]) -> str | list[_Part]:
    """An alternative, as text where there is nothing to fill in."""
    return "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else parts


def _slot(token: str) -> _Number | _Slot:
    if not (found := _RANGE.fullmatch(token)):
        name = token[1:-1]
        known = name in words()["phrases"] or name[0].islower()
        return _Slot(name if known else name[0].lower() + name[1:], not known)
    start, stop, step = found.groups()
    decimals = max(len(number.partition(".")[2]) for number in (start, step or ""))
    start, stop, step = (round(float(number) * 10**decimals) for number in (start, stop, step or 10**-decimals))
    return _Number(start, step, (stop - start) // step + 1, decimals)


def expand(template: str, rng: Random, facts: Facts) -> str:
    """A template written out. Raises KeyError for a slot that is neither a fact nor a phrase."""
    return _filled(_parsed(template), rng, facts)


def _filled(parts: list[_Part], rng: Random, facts: Facts) -> str:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, list):
            chosen = part[int(rng.random() * len(part))]
            text += chosen if isinstance(chosen, str) else _filled(chosen, rng, facts)
        elif isinstance(part, _Number):
            number = part.start + part.step * int(rng.random() * part.choices)
            text += f"{number / 10**part.decimals:.{part.decimals}f}" if part.decimals else str(number)
        else:
            fact = facts.get(part.name)
            if fact is None:
                fact = _filled(_parsed(words()["phrases"][part.name]), rng, facts)
            elif not isinstance(fact, str):
                fact = fact()
            text += _capital(fact) if part.capital else fact
    return text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- the case ---


@dataclass(frozen=True)
class Case:
    """One patient at one encounter. What is told more than once is written out, the findings are still templates."""

    condition: Condition
    facts: dict[str, str]
    past: list[str]
    operations: list[str]
    home_drugs: list[str]
    treatment: list[str]
    vitals: dict[str, str]
    exam: dict[str, str]
    labs: dict[str, str]
    admitted: date


def sample_case(condition: Condition, rng: Random) -> Case:
    """A patient with the condition, whose sex, age, history, drugs and allergy fit it and one another."""
    w = words()
    sex = "F" if rng.random() < condition.female else "M"
    age = rng.randint(*condition.ages)
    admitted = date(2015, 1, 1) + timedelta(days=rng.randrange(3000))
    facts = _facts(condition, sex, age, admitted, rng)
    possible = _fitting("past", condition, sex, age)
    past = rng.sample(possible, min(len(possible), rng.randint(0, 2) if age < 45 else rng.randint(0, 4)))
    operations = _fitting("operations", condition, sex, age)
    drugs = [rng.choice(other["drugs"].split("; ")) for other in past if "drugs" in other]
    allergy, forbids = rng.choice(w["allergies"])
    if re.search(forbids, _said(condition) + " ".join(drugs)):
        allergy = w["allergies"][0][0]
    facts["allergy"] = expand(allergy, rng, facts)
    changed = {part: dict(w[part]) for part in ("vitals", "exam", "labs")}
    for part, normal in changed.items():
        for other in past:
            normal |= other.get(part, {})
    return Case(
        condition=condition,
        facts=facts,
        past=[expand(other["name"], rng, facts) for other in past],
        operations=[expand(other["name"], rng, facts) for other in rng.sample(operations, rng.randint(0, 2))],
        home_drugs=[expand(drug, rng, facts) for drug in drugs],
        treatment=[expand(drug, rng, facts) for drug in condition.drugs.split("; ") if rng.random() < 0.75],
        vitals=changed["vitals"] | condition.vitals,
        exam=changed["exam"] | condition.exam,
        labs=changed["labs"] | condition.labs,
        admitted=admitted,
    )


def _facts(condition: Condition, sex: str, age: int, today: date, rng: Random) -> dict[str, str]:
    """What must stay the same through the note."""
    side, other_side = rng.sample(("left", "right"), 2)
    facts = {
        "age": str(age),
        "side": side,
        "other_side": other_side,
        "past_year": str(today.year - rng.randint(2, 9)),
        "past_month": f"{today - timedelta(days=rng.randint(40, 320)):%B %Y}",
    }
    about = words()["facts"] | words()["persons"][sex] | condition.facts
    about |= {"dx": condition.name, "complaint": condition.complaint, "duration": condition.duration}
    about |= {"work": words()["work"][age > 66], "title": condition.title} | condition.procedure | condition.study
    for name, template in about.items():
        facts[name] = expand(template, rng, facts)
    return facts


@cache
def _fitting(table: str, condition: Condition, sex: str, age: int) -> list[dict[str, Any]]:
    """The parts of a past history that fit the patient and do not clash with the condition."""
    return [
        part
        for key, part in words()[table].items()
        if sex in part.get("sex", "FM")
        and key not in condition.avoid.split()
        and part.get("ages", (18, 89))[0] <= age <= part.get("ages", (18, 89))[1]
    ]


@cache
def _said(condition: Condition) -> str:
    """Everything that a note on the condition may say."""
    return repr(condition).lower()


# --- the note ---


class Writer:
    """Writes about a case with one set of habits. `wordiness` (0 to 1) is how much is dictated."""

    def __init__(self, case: Case, rng: Random) -> None:
        self.case, self.rng = case, rng
        self.wordiness = rng.uniform(0.2, 1.0)
        self.numbered = rng.random() < 0.4
        date_format = rng.choice(DATE_FORMATS)
        known = _enumerated(case.past[:3]) if self.wants() else ""
        discharged = case.admitted + timedelta(days=rng.randint(*case.condition.stay))
        self.facts: dict[str, str | Callable[[], str]] = {name: partial(tell, self) for name, tell in TOLD.items()}
        self.facts |= case.facts
        self.facts["known"] = known and f" with a history of {known}"
        self.facts["admitted"] = case.admitted.strftime(date_format)
        self.facts["discharged"] = discharged.strftime(date_format)

    def wants(self) -> bool:
        """Whether the writer cares to dictate a part that may be left out."""
        return self.rng.random() < self.wordiness

    def say(self, template: str) -> str:
        return _capital(expand(template, self.rng, self.facts))

    def some(self, block: str) -> list[str]:
        """Some lines of a block, in order and at least two: more of them the wordier the writer."""
        lines = block.splitlines()
        least = min(2, len(lines))
        kept = least + round((len(lines) - least) * self.rng.uniform(self.wordiness / 2, 1) * self.wordiness**0.5)
        return [self.say(lines[i]) for i in sorted(self.rng.sample(range(len(lines)), kept))]

    def told(self, block: str) -> str:
        return " ".join(self.some(block))

    def listed(self, items: list[str]) -> str:
        """Items one under another with numbers, or one after the other."""
        items = [_capital(item.rstrip(".")) + "." for item in items]
        if self.numbered and len(items) > 1:
            return "\n".join(f"{n}. {item}" for n, item in enumerate(items, 1))
        return " ".join(items)

    def review(self) -> str:
        possible = _deniable(self.case.condition)
        denied = self.rng.sample(possible, self.rng.randint(3, 6))
        self.facts["denied"] = _enumerated(denied)
        return self.say("{negative}")

    def signs(self, vitals: dict[str, str]) -> str:
        self.facts |= {name: expand(template, self.rng, self.facts) for name, template in vitals.items()}
        return self.say("{signs_line}")

    def exam(self, exam: dict[str, str], matter: Collection[str]) -> str:
        """The systems that matter, and some that do not."""
        rest = [name for name in exam if exam[name] and name not in matter]
        also = self.rng.sample(rest, max(3 - len(matter), round(len(rest) * self.wordiness * 0.8)))
        told = [f"{name.capitalize()}: {self.say(exam[name])}" for name in exam if name in matter or name in also]
        return ("\n" if self.numbered else " ").join(told)

    def labs(self) -> str:
        labs, matter = self.case.labs, self.case.condition.labs
        also = self.rng.sample(sorted(labs.keys() - matter.keys()), self.rng.randint(1, 5))
        told = [name for name in labs if name in matter or name in also]
        return ", ".join(f"{name} {expand(labs[name], self.rng, self.facts)}" for name in told) + "."

    def otherwise(self) -> str:
        """What is normal in a study, but for what its findings speak of."""
        condition = self.case.condition
        study = f"{condition.findings} {condition.study['impression']}".lower()
        lines = [
            line
            for key, line in words()["regions"][condition.study["region"]].items()
            if key != "technique" and not re.search(key, study) and self.rng.random() < 0.3 + self.wordiness
        ]
        return " ".join(map(self.say, self.rng.sample(lines, len(lines))))


def _unchanged(case: Case) -> dict[str, str]:
    """The examination of the systems that the condition spares."""
    return {name: text for name, text in case.exam.items() if name not in case.condition.exam}


def _medications(case: Case) -> list[str]:
    return [drug for drug in case.treatment if not NOT_AT_HOME.search(drug)] + case.home_drugs


TOLD: dict[str, Callable[[Writer], str]] = {  # the parts of a note that a writer composes
    "past": lambda w: w.listed(w.case.past or ["Noncontributory"]),
    "operations": lambda w: w.listed(w.case.operations or ["None"]),
    "home_drugs": lambda w: w.listed(w.case.home_drugs or ["None"]),
    "medications": lambda w: w.listed(_medications(w.case) or ["None"]),
    "diagnoses": lambda w: w.listed([w.case.facts["dx"], *(w.case.past if w.wants() else ())]),
    "plan": lambda w: w.listed(w.some(w.case.condition.plan)),
    "history": lambda w: w.told(w.case.condition.history),
    "course": lambda w: w.told(w.case.condition.course),
    "steps": lambda w: w.told(w.case.condition.steps),
    "findings": lambda w: w.told(w.case.condition.findings),
    "follow": lambda w: w.say(w.case.condition.follow),
    "social": lambda w: w.say(w.case.condition.social or "{habits}"),
    "technique": lambda w: w.say(words()["regions"][w.case.condition.study["region"]]["technique"]),
    "before": lambda w: w.told(words()["settings"][w.case.condition.procedure["setting"]]["before"]),
    "after": lambda w: w.told(words()["settings"][w.case.condition.procedure["setting"]]["after"]),
    "signs": lambda w: w.signs(words()["vitals"]),
    "arrival_signs": lambda w: w.signs(w.case.vitals),
    "exam": lambda w: w.exam(_unchanged(w.case), ()),
    "arrival_exam": lambda w: w.exam(w.case.exam, w.case.condition.exam),
    "review": Writer.review,
    "labs": Writer.labs,
    "otherwise": Writer.otherwise,
}


def _enumerated(items: list[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)


@cache
def _deniable(condition: Condition) -> list[str]:
    """The symptoms that the patient neither complains of nor shows."""
    return [symptom for symptom, forbids in words()["symptoms"].items() if not re.search(forbids, _said(condition))]


def _note(case: Case, rng: Random) -> Row:
    """A note on the case: description, sample name, transcription and keywords, not yet under a specialty."""
    kinds = [kind for kind in words()["kinds"].values() if getattr(case.condition, kind["needs"])]
    kind = rng.choices(kinds, [kind["weight"] for kind in kinds])[0]
    writer = Writer(case, rng)
    name = re.sub(r"\b(?!(?:and|of|the|to|with)\b)[a-z]{3,}", lambda word: _capital(word[0]), writer.say(kind["title"]))
    subject = name.partition(" - ")[0]
    keywords = [subject, case.facts["complaint"], case.facts["dx"], *(drug.split()[0] for drug in case.treatment)]
    return {
        "description": _mended(f"{subject}. {writer.say('{description}')}"),
        "sample_name": name + rng.choice(("", "", "", " - 1", " - 2", " - 3")),
        "transcription": _slips(_abbreviated(_laid_out(kind["sections"], writer), rng), rng),
        "keywords": ", ".join(dict.fromkeys(keywords)).lower() + ",",
    }


# --- the hand that wrote it ---


def _laid_out(sections: str, writer: Writer) -> str:
    rng = writer.rng
    between, after = rng.choice(LAYOUTS)
    capitals = rng.random() < 0.7
    parts = []
    for line in sections.splitlines():
        headers, _, template = line.partition(": ")
        if line[0] == "?" and not writer.wants():
            continue
        header = rng.choice(headers.lstrip("?").split("|"))
        parts.append(f"{header if capitals or len(header) < 4 else header.capitalize()}{after}{writer.say(template)}")
    return _mended(between.join(parts))


def _mended(text: str) -> str:
    """The article that goes with a number; no traces of an alternative left empty."""
    text = re.sub(r" a (?=8|1[18]\b)", " an ", text)
    text = re.sub(r"A(?<!\wA) (?=8|1[18]\b)", "An ", text)
    return text.replace("  ", " ").replace(" .", ".").replace(" ,", ",").replace("..", ".").strip()


@cache
def _long_form() -> re.Pattern[str]:
    return re.compile(r"\b(" + "|".join(sorted(words()["long_forms"], key=len, reverse=True)) + r")\b")


def _abbreviated(text: str, rng: Random) -> str:
    """Long forms shortened as this writer does: or never, or only after the first time."""
    habit = rng.choice((0.0, 0.2, 0.5, 0.8))
    short = {long: short for long, short in words()["long_forms"].items() if rng.random() < habit}
    explained = {long for long, form in short.items() if form.isupper() and rng.random() < 0.2}

    def shorten(found: re.Match[str]) -> str:
        long = found[0]
        if long in explained:
            explained.remove(long)
            return f"{long} ({short[long]})"
        return short.get(long, long)

    return _long_form().sub(shorten, text) if short else text


def _slips(text: str, rng: Random) -> str:
    """A few typing slips: none in a third of the notes, else about one in eighty words."""
    if rng.random() < 0.35:
        return text
    parts = text.split(" ")
    for _ in range(1 + rng.randrange(1 + len(parts) // 80)):
        i = rng.randrange(len(parts))
        parts[i] = _slip(parts[i], rng)
    return " ".join(parts)


def _slip(word: str, rng: Random) -> str:
    """A letter dropped, doubled or swapped with the next."""
    if len(word) < 6 or not word.isalpha() or not word.islower():
        return word
    i = rng.randrange(1, len(word) - 2)
    middle = rng.choice((word[i + 1] + word[i], word[i + 1], word[i] + word[i] + word[i + 1]))
    return word[:i] + middle + word[i + 2 :]


def _redictated(text: str, rng: Random) -> str:
    """The note with a few words said otherwise."""
    synonyms = words()["synonyms"]
    parts = re.split(r"(\W+)", text)
    places = [i for i, word in enumerate(parts) if word in synonyms]
    for i in rng.sample(places, min(len(places), 2 + len(parts) // 240)):
        parts[i] = synonyms[parts[i]]
    return _slips("".join(parts), rng)
