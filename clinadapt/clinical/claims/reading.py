"""A text read for claims: its drugs, measurements, findings, quantities, dates, ages and the patient's sex."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from itertools import accumulate

from clinadapt.clinical.claims.context import Context, context, sentences
from clinadapt.clinical.claims.demographics import SEX_STEMS, ages, sex_by_words, written_sex
from clinadapt.clinical.claims.dialogue import DENIED, Turn, patient_sex, turns
from clinadapt.clinical.claims.drug_uses import DrugUse, denied_by, drug_uses, frequencies, routes
from clinadapt.clinical.claims.earlier_numbers import earlier_numbers
from clinadapt.clinical.claims.quantities import Quantity, degrees, quantities
from clinadapt.clinical.claims.sides import SideMention, side_mentions
from clinadapt.clinical.claims.words import STOP_WORDS, Names, Word, canonical, root, stem, with_names, words
from clinadapt.clinical.dates import MONTHS, date_mentions, date_order
from clinadapt.clinical.drugs import drug_mentions
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.clinical.mention import Mention, ascii_lower
from clinadapt.clinical.spoken_dates import spoken_dates

_MONTH = re.compile(
    r"\b(?:in|of|since|until|last|this|early|late|mid) (jan(?:uary)?|feb(?:ruary)?|march|apr(?:il)?|may|june?|july?|"
    r"aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b"
)
_ANOTHER_TIME = re.compile(
    r"\b(?:was|were|today|from|to|previously|before|prior|then|now|down|up|baseline)(?: at| of)? \Z|(?:<-|->|→|"
    r"←)\s*\Z|\((?:[a-z]+ )?\Z"
)
_AT_A_TIME = re.compile(
    r" (?:(?:at|on|by|after|before|post|pre) ?(?:-?op|d/c|dc|discharge|admission|arrival|transfusion|treatment|day \d)|"
    r"today|now|yesterday|last|this (?:morning|am))\b"
)
ABOUT_A_FINDING = ("scale", "scal", "scor", "score", "questionnair", "clinic", "inventory")  # "depression scale"
_ALSO_DRUGS = ("magnesium", "calcium", "potassium", "albumin")  # 4 g of it are a dose
_RECEPTOR = re.compile(r"[ -](?:receptor|agonist|antagonist|reuptake)")  # a dopamine agonist is another drug
_TIMES = stem("times")  # three times
_HOW_OFTEN = re.compile(r" times\b")
_SAID_OF_A_PART = ("enlarged ", "swollen ", "stiff ", "collapsed ", "broken ")
NO_FINDING = "no finding"  # of findings.yaml


@dataclass(frozen=True)
class Measurement:
    """A test with its values, two of 120/80, and those of other times: "was 3.1 in May"."""

    start: int
    end: int
    name: str
    values: tuple[Quantity, ...]
    others: tuple[Quantity, ...]


@dataclass(frozen=True)
class Finding:
    """A finding by its name in the lexicon, with its context: `negated` and `hypothetical` as in Context, `family` None
    where it may be of anybody, `before` the stem of the word before it, such as `breast` of breast cancer."""

    start: int
    end: int
    name: str
    first: int
    negated: int
    uncertain: bool
    family: bool | None
    hypothetical: bool
    before: str

    @property
    def content(self) -> tuple[object, ...]:
        """All but its place."""
        return self.name, self.negated, self.uncertain, self.family, self.hypothetical, self.before


@cache
def _findings() -> Names:
    findings = with_names(load_lexicon("findings.yaml"))
    for names in findings.values():  # "the heart is enlarged" for "enlarged heart"
        split = [name.split(" ", 1) for name in names if name.startswith(_SAID_OF_A_PART)]
        names += [f"{part} {verb} {sign}" for sign, part in split for verb in ("is", "was", "are", "were", "looks")]
    return Names(findings)


@cache
def _tests() -> Names:
    return Names(with_names(load_lexicon("tests_and_routes.yaml")["tests"]))


@dataclass
class Reading:
    """What a text states. Every part is read when it is first asked for."""

    text: str
    _around: dict[tuple[int, int], frozenset[str]] = field(default_factory=dict, repr=False)

    @cached_property
    def lower(self) -> str:
        return ascii_lower(self.text)

    @cached_property
    def _one_line(self) -> str:
        """The text in lower case with spaces for the ends of lines, where a phrase may be broken."""
        one_line = self.lower.replace("\n", " ")
        return one_line.replace("-daily", " daily").replace("-weekly", " weekly").replace("-monthly", " monthly")

    @cached_property
    def words(self) -> list[Word]:
        return words(self.text)

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        """Stem -> indices of its words."""
        by_stem = defaultdict[str, list[int]](list)
        for i, (_, _, name) in enumerate(self.words):
            by_stem[name].append(i)
        by_stem.default_factory = None
        return by_stem

    def words_of(self, name: str) -> list[Word]:
        """The words with a stem."""
        return [self.words[i] for i in self.positions.get(name, ())]

    @cached_property
    def positions_by_root(self) -> dict[str, list[int]]:
        """Root of a word -> indices of the words that have it."""
        by_root = defaultdict[str, list[int]](list)
        for name, positions in self.positions.items():
            by_root[root(name)] += positions
        by_root.default_factory = None
        return by_root

    @cached_property
    def canonical_stems(self) -> list[str]:
        return canonical(self.words)

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(self.positions)

    @cached_property
    def context(self) -> Context:
        return context(self.text, self.lower, self.words, self.word_starts, self.sentences, self.turns)

    @cached_property
    def turns(self) -> list[Turn]:
        return turns(self.text)

    @cached_property
    def dates(self) -> list[Mention]:
        """Dates in figures and in words; of two that overlap, the longer."""
        written, spoken = date_mentions(self.text), spoken_dates(self.lower)
        starts, ends = [d.start for d in written], [d.end for d in written]
        longer, replaced = [], set[int]()
        for day in spoken:
            overlapping = range(bisect_right(ends, day.start), bisect_left(starts, day.end))
            if all(ends[i] - starts[i] < day.end - day.start for i in overlapping):
                replaced.update(overlapping)
                longer.append(day)
        return sorted([*(d for i, d in enumerate(written) if i not in replaced), *longer]) if spoken else written

    @cached_property
    def date_order(self) -> str:
        """Whether its dates in figures begin with the `day` or the `month`; empty where nothing tells."""
        return date_order(self.lower)

    @cached_property
    def order_of_its_figures(self) -> str:
        """`date_order` where its dates tell, whatever its words."""
        return date_order(self.lower, by_words=False)

    @cached_property
    def has_date_in_figures(self) -> bool:
        return any(not any(c.isalpha() for c in self.text[day.start : day.end]) for day in self.dates)

    @cached_property
    def quantities(self) -> list[Quantity]:
        return quantities(self.text, [(day.start, day.end) for day in self.dates])

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        return sentences(self.text)

    @cached_property
    def word_starts(self) -> list[int]:
        return [word.start for word in self.words]

    def word_at(self, position: int) -> int:
        """Index of the first word that begins at a character or behind it."""
        return bisect_left(self.word_starts, position)

    @cached_property
    def _sentence_starts(self) -> list[int]:
        return [start for start, _ in self.sentences]

    @cached_property
    def months(self) -> list[Mention]:
        """Months without a day or a year: "in April"; the value is the month's number in two digits."""
        starts, ends = [day.start for day in self.dates], [0, *accumulate((day.end for day in self.dates), max)]
        return [
            Mention(*match.span(1), f"{MONTHS.index(match[1][:3]) + 1:02}")
            for match in _MONTH.finditer(self.lower)
            if ends[bisect_right(starts, match.start(1))] <= match.start(1)  # the last end of those that begin before
        ]

    @cached_property
    def counted(self) -> dict[str, list[Quantity]]:
        """Stem of a word -> the bare numbers right before it: "two daughters"."""
        by_word: dict[str, list[Quantity]] = {}
        for quantity in self.quantities:
            near = [] if quantity.dimension or quantity.is_code else self.words_within(quantity.end, quantity.end + 25)
            if " and a half" in self.lower[quantity.start : quantity.end]:  # a pack and a half
                near = self.words_within(quantity.start + 2, quantity.end)
            elif not near or near[0].start - quantity.end > 1:
                continue
            if near and near[0].stem not in STOP_WORDS and near[0].stem != _TIMES:
                by_word.setdefault(near[0].stem, []).append(quantity)
        return by_word

    def sentence_at(self, position: int) -> tuple[int, int]:
        """Span of the sentence at a character."""
        number = bisect_right(self._sentence_starts, position) - 1
        return self.sentences[number] if number >= 0 else (0, len(self.text))

    def words_within(self, start: int, end: int) -> list[Word]:
        """Words that lie within a span."""
        near = self.words[self.word_at(start) : self.word_at(end)]
        return [word for word in near if word.end <= end]

    def span_of(self, first: int, stop: int) -> tuple[int, int]:
        """Span in characters of the words from index `first` up to, but without, `stop`."""
        return self.words[first].start, self.words[stop - 1].end

    def around(self, span: tuple[int, int]) -> frozenset[str]:
        """Stems of the content words in the sentence around a span, at most 70 characters away."""
        if span not in self._around:
            start, end = self.sentence_at(span[0])
            near = self.words_within(max(start, span[0] - 70), min(end, span[1] + 70))
            self._around[span] = frozenset(
                w.stem for w in near
                if not span[0] <= w.start < span[1] and w.stem not in STOP_WORDS and not w.stem.isdigit()
            )  # fmt: skip
        return self._around[span]

    @cached_property
    def ages(self) -> list[tuple[int, int, float]]:
        """(start, end, years) of ages."""
        return ages(self.lower, self.word_starts)

    @cached_property
    def sex(self) -> tuple[str, int, int] | None:
        """(`F` or `M`, span that shows it) of the patient; None where the text does not tell or tells both."""
        if shown := written_sex(self.text):
            return shown
        if self.turns:
            return patient_sex(self.lower, self.turns)
        possible = sorted(i for name in SEX_STEMS for i in self.positions.get(name, ()))
        return sex_by_words(
            self.text, self.lower, self.word_starts, possible, self.context.family, self._sentence_starts
        )

    @cached_property
    def findings(self) -> list[Finding]:
        marks, findings = self.context, []
        for first, stop, name in _findings().find(self.canonical_stems):
            if name == NO_FINDING or (stop < len(self.words) and self.words[stop].stem in ABOUT_A_FINDING):
                continue
            negated = max(marks.negated[first:stop], key=lambda value: (value != 2, value))
            findings.append(
                Finding(
                    *self.span_of(first, stop), name, first, negated,
                    any(map(self.is_suspected, range(first, stop))), _family(marks, first, stop),
                    marks.hypothetical[first], self.words[first - 1].stem if first else "",
                )
            )  # fmt: skip
        return findings

    def is_suspected(self, number: int) -> bool:
        """Whether the text only suspects what a word names: "possible HIT", "HIT workup"."""
        if number >= len(self.words):
            return False
        is_looked_for = number + 1 < len(self.words) and self.words[number + 1].stem == "workup"
        return self.context.uncertain[number] or is_looked_for

    @cached_property
    def tests_named(self) -> list[tuple[int, int, str]]:
        """(index of the first word, index behind the last, name) of the tests that the text names."""
        return _tests().find(self.canonical_stems)

    @cached_property
    def measurements(self) -> list[Measurement]:
        return _measurements(self)

    @cached_property
    def earlier_numbers(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Span of each number that another has replaced, as 10 of "reduced from 10 to 5" -> that of the other."""
        return earlier_numbers(self.lower, self.quantities, self.sentence_at)

    @cached_property
    def frequencies(self) -> list[tuple[int, int, float]]:
        """(start, end, times a day) of all frequencies."""
        return frequencies(self._one_line)

    @cached_property
    def routes(self) -> list[Mention]:
        """Words that can only be the route of a drug."""
        return routes(self._one_line)

    @cached_property
    def drugs(self) -> list[DrugUse]:
        return self.uses_of([m for m in drug_mentions(self.text) if not _RECEPTOR.match(self.lower, m.end)])

    def uses_of(self, mentions: list[Mention]) -> list[DrugUse]:
        """Drugs that are mentioned, with what belongs to each."""
        uses = drug_uses(self.text, self._one_line, self.quantities, self.sentence_at, mentions)
        return [self._as_replied(use) for use in uses] if self.turns else uses

    def _as_replied(self, use: DrugUse) -> DrugUse:
        """A drug that is asked for as the reply has it: not taken where that is no, stopped where it says so."""
        start, end = self.sentence_at(use.start)
        number = self.word_at(use.start)
        is_denied = number < len(self.words) and self.context.negated[number] in DENIED
        if not is_denied or not self.text[start:end].rstrip().endswith("?"):
            return use
        return denied_by(self.text, self.sentence_at(min(end + 1, len(self.text) - 1)), use)

    @cached_property
    def sides(self) -> list[SideMention]:
        return side_mentions(self.text, self.lower, self.sentence_at, self.words_within)


@lru_cache(maxsize=256)
def read(text: str) -> Reading:
    """The reading of a text, shared between calls: several models answer about the same note."""
    return Reading(text)


def _family(marks: Context, first: int, stop: int) -> bool | None:
    """Whether a finding is of the family; None where it may be of anybody."""
    return True if any(marks.family[first:stop]) else None if any(marks.someone[first:stop]) else False


def _is_of_another_time(value: Quantity, lower: str) -> bool:
    """Whether the words beside a value of a test say that it is of another time: "1.6 at discharge"."""
    return bool(_ANOTHER_TIME.search(lower, value.start - 14, value.start) or _AT_A_TIME.match(lower, value.end))


def _measurements(reading: Reading) -> list[Measurement]:
    mentions = reading.tests_named
    numbers = [
        q
        for q in reading.quantities
        if not q.is_code and q.dimension != "time" and not _HOW_OFTEN.match(reading.lower, q.end)
    ]
    starts = [q.start for q in numbers]
    measurements = []
    for i, (first, stop, name) in enumerate(mentions):
        start, end = reading.span_of(first, stop)
        following = reading.words[mentions[i + 1][0]].start if i + 1 < len(mentions) else len(reading.text)
        limit = min(following, end + 45, reading.sentence_at(start)[1])
        first_value, behind = bisect_left(starts, end), bisect_left(starts, limit)
        values = numbers[first_value:behind]
        others = [*values[1:], *numbers[max(first_value, behind) : bisect_left(starts, min(following, end + 90))]]
        if not values and name in ("heart rate", "oxygen saturation", "ejection fraction"):
            before = numbers[max(0, bisect_left(starts, start) - 1) : bisect_left(starts, start)]
            values = [q for q in before if 0 <= start - q.end <= 4]
        if values and not (name in _ALSO_DRUGS and values[0].unit == "g"):
            if name == "temperature":
                values = [degrees(values[0])]
            paired = values[:2] if values[0].pair and len(values) > 1 else values[:1]
            earlier = tuple(q for q in others if _is_of_another_time(q, reading.lower))
            measurements.append(Measurement(start, paired[-1].end, name, tuple(paired), earlier))
    return measurements
