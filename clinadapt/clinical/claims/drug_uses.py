"""Drugs of a text with dose, route, frequency and status."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from clinadapt.clinical.claims.drug_status import STATUS_PATTERN, drug_status
from clinadapt.clinical.claims.quantities import Quantity
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.clinical.mention import Mention, ascii_lower, matches_at

_A_WEEK = "(?:(?:a |per |each |/ ?|(?:out )?of (?:the|each|every) )?(?:week|wk)|weekly)"
_PER_DAY = [
    *((rf"every (?:{n}|{word}) months?|(?:{n}|{word})[- ]monthly|q\.? ?{n} ?mo?n?t?h?s?\b", 1 / (30 * n))
      for n, word in ((2, "two"), (3, "three"), (4, "four"), (6, "six"), (12, "twelve"))),
    (r"m/?w/?f\b|t/?th?/?s(?:at?)?\b|mon(?:day)?s?[,/ ]+wed(?:nesday)?s?[,/ ]+(?:and )?fri(?:day)?s?"
     r"|tue(?:s(?:day)?)?s?[,/ ]+thu(?:rs(?:day)?)?s?[,/ ]+(?:and )?sat(?:urday)?s?", 3 / 7),
    (r"every (?:28|30) days|28[- ]days", 1 / 28),
    (r"once (?:a|per|every|each) year|yearly|annually|every year", 1 / 365),
    (r"every other (?:day|night)|q\.?o\.?d\b|(?:on )?alternate (?:days|nights)|every (?:2|two|second) days?", 0.5),
    (r"every (?:other|2nd|second|2|two) weeks?|(?:once|per|every)(?: a)? fortnight|fortnightly|q\.? ?2 ?w\w*", 1 / 14),
    *((rf"every (?:{n}|{word}) weeks?|(?:{n}|{word})[- ]weekly|q\.? ?{n} ?w(?:ee)?k?s?\b", 1 / (7 * n))
      for n, word in ((3, "three"), (4, "four"), (6, "six"), (8, "eight"), (12, "twelve"))),
    (r"(?:once|one time) (?:a|per|every|each) week|once weekly|weekly|every week|per week|/ ?(?:week|wk)\b", 1 / 7),
    *((rf"{count} {_A_WEEK}|{number} ?x ?{_A_WEEK}|x ?{number} ?{_A_WEEK}|(?:{number}|{word}) ?(?:d(?:ays?)?|"
        rf"nights?) ?{_A_WEEK}",
       number / 7)
      for number, word, count in ((2, "two", "(?:twice|(?:two|2) times)"), (3, "three", "(?:(?:three|3) times|thrice)"),
                                  (4, "four", "(?:four|4) times"), (5, "five", "(?:five|5) times"))),
    *((rf"{count} (?:a|per|each|every|/) ?month", number / 30)
      for number, count in ((2, "(?:twice|(?:two|2) times)"), (3, "(?:three|3) times"), (4, "(?:four|4) times"))),
    (r"(?:once|one time) (?:a|per|each) month|once monthly|monthly|every month", 1 / 30),
    (r"b\.? ?i\.? ?d\b|b\.? ?d\b\.?|twice (?:a |per |each |every )?(?:day|daily)|(?:two|2) times (?:a|per|"
    r"each|every) day"
     r"|(?:two|2) times daily|twice daily"
     r"|(?:(?:in the|every|each) )?morning and (?:(?:in the|every|each|at) )?(?:evening|night|bedtime)"
     r"|q\.? ?12(?!\d)|every (?:12|twelve) h"
     r"|(?:12|twelve)[- ]hourly|(?<![\d-])[1-4]-0-[1-4](?:-0)?(?!-?\d)", 2.0),
    (r"t\.? ?i\.? ?d\b|t\.? ?d\.? ?s\b|(?:three|3|thrice) (?:times )?(?:a|per|each|every) day|(?:three|3) times daily"
     r"|thrice daily|thrice|q\.? ?8(?!\d)|every (?:8|eight) h|(?:8|eight)[- ]hourly"
     r"|(?<![\d-])[1-4]-[1-4]-[1-4](?:-0)?(?!-?\d)", 3.0),
    (r"q\.? ?i\.? ?d\b|q\.? ?d\.? ?s\b|(?:four|4) times (?:a|per|each|every) day|(?:four|4) times daily|q\.? ?6(?!\d)"
     r"|every (?:6|six) h|(?:6|six)[- ]hourly", 4.0),
    (r"q\.? ?4(?!\d)|every (?:4|four) h|(?:4|four)[- ]hourly|(?:six|6) times (?:a|per) day|(?:six|6) times daily", 6.0),
    (r"(?:five|5) times (?:a|per|each) day|(?:five|5) times daily", 5.0),
    (r"q\.? ?3(?!\d)|every (?:3|three) h|(?:3|three)[- ]hourly", 8.0),
    (r"q\.? ?2(?!\d)|every (?:2|two) h|(?:2|two)[- ]hourly", 12.0),
    *((rf"(?:x ?{n}|{n} ?x) ?(?:(?:/|per|a|each) ?(?:day|d\b)|daily|in 24 ?h)", float(n))
      for n in range(1, 7)),
    (r"(?<=kg)/ ?d(?:ay)?\b|(?<=\d)/ ?d\b|q\.? ?d\b|o\.? ?[dmn]\b|nocte\b|mane\b|(?<![\d-])(?:[1-4]-0-0|"
     r"0-[1-4]-0|0-0-[1-4])(?:-0)?(?!-?\d)"
     r"|q\.? ?day|daily(?! (?:living|activit|life|routine))|once (?:a|per|each|"
    r"every) day|(?:one|1) time (?:a|per|each) day|each day"
     r"|every day|per day|a day|/ ?day\b|q\.? ?h\.? ?s\b|h\.? ?s\b|(?:at|every|each) (?:bedtime|night)|nightly"
     r"|q\.? ?a\.? ?m\b|q\.? ?p\.? ?m\b|(?:every|each|in the) (?:morning|evening)|q\.? ?24"
     r"|every (?:24|twenty-four) h", 1.0),
]  # fmt: skip
_FREQUENCY = re.compile(
    "|".join(rf"(?P<f{i}>(?:(?<![a-z])|(?=/))(?:{pattern})(?:\w*\b)?)" for i, (pattern, _) in enumerate(_PER_DAY))
)
_FREQUENCY_START = re.compile(
    r"/|(?<![a-z])(?:every|each|q|o[.dmnt ]|on alt|alternate|once|one time|week|fortn|month|per |twice|two |three |"
    r"thrice|four|five|six|eight|twelve|x ?[1-6]|m/?w|t/|th|tts|mon|tue|year|annual|\d|b[.i d]|t[.i d]|"
    r"morning|in the|nocte|mane|da|a |h[. s]|at |night)"
)
# Count only there: OD is an eye too, 1-0-0 may be anything, what is worse in the morning is not taken daily, and of
# two packs a day the number is a claim of its own
_BESIDE_A_DRUG = re.compile(
    r"od|om|on|hs|bd|[\d-]+|in the (?:morning|evening)|at (?:night\w*|bedtime)"
    r"|(?:a|per|/ ?)(?: ?day| ?week| ?wk| month)|every (?:other|2nd|second|[2-8]|12|two|three|four|six|eight|"
    r"twelve) (?:week|day|month)s?|t/?th?/?s|tue\S*|mon\S*|yearly|every year"
)
_UP_TO_DRUG = re.compile(
    r"\s*(?:of(?: (?!and\b|or\b)[a-z-]+)?|tablets? of|intravenous|iv|oral)?\s*"
)  # between a dose and its drug
_ROUTE_ONLY = re.compile(
    r"(?:(?:iv|im|(?:intra(?:venous|muscular|thecal)|sub-?cutaneous)(?:ly)?)\b|i\.[vm]\.)(?! drug)|p\.o|orally|"
    r"sublingual|rectally"
)
_OF_BODIES = ("kg", "lb", "oz")
_OF_A_DRUG = re.compile(r"\s*(?:tablets?|capsules?)? ?of\b")  # "25 mg of": the dose of what follows


_LASTS = re.compile(r"\b(?:for|within|after|over|than|about) \Z")  # "on hold for a day"
_CLOCK = re.compile(
    r"\b(?:at|about|around|by|before|after|since|from|until|till) (?:\d{1,2}(?:[:.]\d\d)?|"
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven)(?: o['’]clock)? \Z"
)
_LIST_BEGINS = re.compile(
    r"(?:\A|[,;:.(\n]|\b(?:and|on|with|plus|of|for|takes?|taking|given|receiv\w+|start(?:ed)?|continued?|a|"
    r"an|his|her|the)) ?\Z"
)
_NO_DOSE = re.compile(
    r"\s*(?:out of|times|x\b|/|%|doses?|tab|cap|puffs?|drops?|sprays?|cycles?|courses?|st\b|nd\b|rd\b|th\b)"
)
_COUNT = re.compile(r"once|twice|thrice|half|a\b|couple")
_YEAR = re.compile(r"(?:19|20)\d\d")
_SURE_BEGINNING = 5  # letters
_ALSO_TESTS = frozenset(
    "potassium magnesium calcium sodium albumin lithium iron glucose phenytoin vancomycin".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class DrugUse:
    """A drug mention: its span, generic name, doses, routes, frequencies (times a day) and status, each with a span."""

    start: int
    end: int
    name: str
    doses: list[Quantity]
    routes: list[Mention]
    frequencies: list[tuple[int, int, float]]
    status: Mention | None


@cache
def _routes() -> re.Pattern[str]:
    routes = load_lexicon("tests_and_routes.yaml")["routes"]
    names = "|".join(rf"(?P<{name}>{pattern})" for name, pattern in routes.items())
    return re.compile(rf"(?<![\w.])(?=[a-z])(?:{names})(?!\w)")


def frequencies(lower: str) -> list[tuple[int, int, float]]:
    """(start, end, times a day) of the frequencies of a text in lower case, in one line."""
    matches = _frequency_matches(lower, 0, len(lower))
    return [(*m.span(), _per_day(m)) for m in matches if not _BESIDE_A_DRUG.fullmatch(m[0])]


def _frequency_matches(lower: str, start: int, end: int) -> Iterator[re.Match[str]]:
    starts = (match.start() for match in _FREQUENCY_START.finditer(lower, start, end))
    for match in matches_at(_FREQUENCY, lower, starts, end):
        if not (match[0].startswith("a ") and _LASTS.search(lower, max(0, match.start() - 8), match.start())):
            yield match


def _per_day(match: re.Match[str]) -> float:
    return _PER_DAY[int((match.lastgroup or "f0")[1:])][1]


def drug_uses(
    text: str,
    lower: str,
    quantities: list[Quantity],
    sentence_at: Callable[[int], tuple[int, int]],
    mentions: list[Mention],
) -> list[DrugUse]:
    """Drugs of a text with what belongs to each.

    Args:
        text: any text.
        lower: the text in lower case, in one line.
        quantities: of the text.
        sentence_at: span of the sentence at a character.
        mentions: of the drugs, in order.
    """
    doses = [
        q for q in quantities
        if q.dimension in ("mass", "volume", "units", "equivalents") and q.unit not in _OF_BODIES and not q.is_code
    ]  # fmt: skip
    starts = [q.start for q in doses]
    plain = ascii_lower(text)
    listed = []
    for i, (start, end, name) in enumerate(mentions):
        sentence = sentence_at(start)
        before = next((mentions[j].end for j in range(i - 1, -1, -1) if mentions[j].end <= start), 0)
        after = next((mentions[j].start for j in range(i + 1, len(mentions)) if mentions[j].start >= end), len(text))
        window = max(sentence[0], before), min(sentence[1] + 60, after, end + 110)
        near = doses[bisect_left(starts, end) : bisect_left(starts, window[1])]
        own = [q for q in near if not _OF_A_DRUG.match(lower, q.end, after)]
        if not own or own[0].start - end > 60:
            near = doses[bisect_left(starts, window[0]) : bisect_left(starts, start)]
            own = [q for q in near if start - q.end <= 24 and _UP_TO_DRUG.fullmatch(lower, q.end, start)] or own
        stop = min(window[1], sentence[1], end + 60)
        behind = _routes_within(lower, start, stop)
        if after < len(text):
            behind = [r for r in behind if not _is_of_next_drug(text, lower, r, after, own)]
        ahead = _routes_within(lower, max(window[0], start - 14), start)
        uses = [*behind, *(r for r in ahead if not behind or lower[r.end : start] == " ")]
        times = [
            (*m.span(), _per_day(m))
            for m in _frequency_matches(lower, end, window[1])
            if (m[0] != "on" or text[m.start() : m.end()] == "ON") and not _is_of_a_clock(lower, m)
        ]
        times = [*_frequency_before(lower, max(window[0], start - 30), start), *times]
        if not own or own[0].start >= sentence[1]:
            own = _bare_dose(quantities, lower, name, (end, window[1])) or own
        listed.append(
            DrugUse(start, end, name, own, uses[:3], times[:3], drug_status(plain, start, end, sentence, after))
        )
    return listed


def _is_of_a_clock(lower: str, frequency: re.Match[str]) -> bool:
    """Whether "in the morning" tells a time of day, as in "at six in the morning"."""
    return bool(
        frequency[0].startswith("in the") and _CLOCK.search(lower, max(0, frequency.start() - 24), frequency.start())
    )


def _frequency_before(lower: str, first: int, start: int) -> list[tuple[int, int, float]]:
    """The frequency right before a drug, from `first` on: "weekly paclitaxel"; it may be of another drug before it."""
    matches = [m for m in _frequency_matches(lower, first, start) if lower[m.end() : start] in (" ", " oral ", " iv ")]
    return [
        (*m.span(), _per_day(m))
        for m in matches[-1:]
        if m[0][-2:] == "ly" and _LIST_BEGINS.search(lower, max(0, m.start() - 16), m.start())
    ]


def _bare_dose(quantities: list[Quantity], lower: str, name: str, window: tuple[int, int]) -> list[Quantity]:
    """The number without a unit right behind a drug, which ends where the window begins: "digoxin 125"."""
    if name in _ALSO_TESTS:
        return []
    first = bisect_left(quantities, window[0], key=lambda quantity: quantity.start)
    for number in quantities[first : first + 1]:
        is_next = number.end <= window[1] and lower[window[0] : number.start] in (" ", " at ", " of ", ": ", " - ")
        if (
            is_next
            and not (number.dimension or number.is_code or _COUNT.match(lower, number.start))
            and not _NO_DOSE.match(lower, number.end)
        ):
            return [] if _YEAR.fullmatch(lower, number.start, number.end) else [number]
    return []


def routes(lower: str) -> list[Mention]:
    """Words of a text in lower case that can only be the route of a drug."""
    return [each for each in _routes_within(lower, 0, len(lower)) if _ROUTE_ONLY.match(lower, each.start)]


def denied_by(text: str, reply: tuple[int, int], use: DrugUse) -> DrugUse:
    """A drug that a reply (span) says is not taken, or not any more."""
    stopped = next((m for m in STATUS_PATTERN.finditer(ascii_lower(text), *reply) if m.lastgroup == "stopped"), None)
    return replace(use, status=Mention(*(stopped.span() if stopped else reply), "stopped" if stopped else "denied"))


def has_short_form(name: str) -> bool:
    """Whether a drug has a short form that is one right before a dose alone."""
    return bool(_short_forms(name))


def _short_forms(name: str) -> str:
    return str(load_lexicon("drugs.yaml")["short"].get(name, ""))


def shorthand_mentions(lower: str, name: str) -> list[Mention]:
    """Mentions of a drug by the beginning of one of its names, as "clari", or of its generic name before a dose or
    beside an allergy, as "morph 5 mg", "allergic to pen". A whole word may be a test: a potassium of 4.2 is no
    potassium chloride."""
    return [Mention(*m.span(), name) for m in _shorthand(name).finditer(lower)]


@lru_cache(maxsize=2048)
def _shorthand(name: str) -> re.Pattern[str]:
    lengths = [length for length in range(len(name) - 1, 3, -1) if " " not in name[length - 1 : length + 1]]
    short = [form for form in [*(name[:length] for length in lengths), *_short_forms(name).split(", ")] if form]
    long = sorted({form for each in _names(name) for form in _beginnings(each)}, key=len, reverse=True)
    before_dose, anywhere = ("|".join(map(re.escape, forms)) or "(?!)" for forms in (short, long))
    allergic = "|".join(re.escape(form) for form in short if len(form) > 2) or "(?!)"
    return re.compile(
        rf"\b(?:{before_dose})(?=\.? \d|\.? allerg)|\b(?:{anywhere})\b"
        rf"|(?:(?<=allergic )|(?<=allergic to )|(?<=allergy )|(?<=allergies ))(?:{allergic})\b"
    )


def _names(generic: str) -> list[str]:
    """A generic name in lower case and the other names of drugs.yaml."""
    return [generic, *(each.strip().lower() for each in _brands().get(generic, "").split(",") if each.strip())]


@cache
def _brands() -> dict[str, str]:
    return {generic.lower(): brands or "" for generic, brands in load_lexicon("drugs.yaml")["generic"].items()}


def _beginnings(name: str) -> list[str]:
    """Beginnings of a name that tell of it wherever they stand, and the first word of an acid."""
    first = name.removesuffix(" acid")
    lengths = range(_SURE_BEGINNING, len(first) + (first != name))
    return [first[:n] for n in lengths if " " not in first[: n + 1]]


def _routes_within(lower: str, start: int, end: int) -> list[Mention]:
    found = [Mention(*match.span(), match.lastgroup or "") for match in _routes().finditer(lower, start, end)]
    return [each for each in found if not lower[each.end : each.end + 1].isalnum()]  # `end` may cut a word


def _is_of_next_drug(text: str, lower: str, route: Mention, after: int, doses: list[Quantity]) -> bool:
    """Whether a route belongs to the drug after it: "metformin and oral prednisone", not "Rocephin 1 g IV aspirin"."""
    between = text[route.end : after]
    follows_dose = any(0 <= route.start - dose.end <= 1 for dose in doses)
    return (
        between in (" ", " of ")
        and not follows_dose
        and lower[route.start : route.end].isalpha()
        and (lower[route.start : route.end] != "po")
    )
