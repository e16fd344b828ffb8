"""What the rules can ask of a note and answer with certainty, task by task. Where in doubt, nothing is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from random import Random

from clinadapt.clinical import abbreviations
from clinadapt.clinical.abbreviations import Use
from clinadapt.clinical.dates import date_mentions
from clinadapt.clinical.drugs import drug_mentions
from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.clinical.mention import Mention
from clinadapt.clinical.sections import Section, flat, known, parse, sentences, words
from components.synthesize.teacher import Triple

NER, ABBREVIATION, RELATION, TEMPORAL, COREFERENCE, PARAPHRASING, SUMMARIZATION, ANSWERING = (
    "Named Entity Recognition",
    "Abbreviation Expansion",
    "Relation Extraction",
    "Temporal Information Extraction",
    "Coreference Resolution",
    "Paraphrasing",
    "Summarization",
    "Question Answering",
)
Spans = tuple[tuple[int, int], ...]


@dataclass
class View:
    """A note with what several tasks need of it, found once."""

    text: str
    description: str | None
    rng: Random

    @cached_property
    def sections(self) -> list[Section]:
        return parse(self.text)

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        """Sentences of the sections, without headers; those with signs that are not printed are left out."""
        edges = [(0, self.sections[0].header_start if self.sections else len(self.text))]
        edges += [(section.start, section.end) for section in self.sections]
        spans = [span for edge in edges for span in sentences(self.text, *edge)]
        return [(start, end) for start, end in spans if end - start < 400 and self.text[start:end].isprintable()]

    @cached_property
    def drugs(self) -> list[Mention]:
        return drug_mentions(self.text)

    @cached_property
    def uses(self) -> list[Use]:
        return [use for start, end in self.sentences for use in abbreviations.uses(self.text, start, end)]

    def one_of(self, *wordings: str) -> str:
        return self.rng.choice(wordings)


def entities(view: View) -> Iterator[Triple]:
    """The drugs of the note or of a section, the diagnoses of a numbered list, what the patient denies."""
    text = view.text
    once: dict[str, Mention] = {}
    for mention in view.drugs:
        once.setdefault(mention.fact, mention)
    if 1 <= len(once) <= 12 and not _UNLISTED.search(text) and not _unknown_doses(view):
        spans = tuple(dict.fromkeys((start, end) for start, end, _ in once.values()))
        yield Triple(
            view.one_of(
                "List all drugs that the note mentions, separated by semicolons.",
                "Which drugs are named in this note? Separate them by semicolons.",
                "Extract every medication named in the note, separated by semicolons.",
            ),
            "; ".join(text[start:end] for start, end in spans),
            NER,
            check="set",
            spans=spans,
        )
    for section in view.sections:
        if section.name in _DIAGNOSES and (items := _numbered(text, section)):
            yield Triple(
                view.one_of(
                    f"List the items under {section.header}, separated by semicolons.",
                    f"Which diagnoses or findings are listed under {section.header}? Separate them by semicolons.",
                    f"Extract the numbered points of the section {section.header}, separated by semicolons.",
                ),
                "; ".join(text[start:end] for start, end in items),
                NER,
                check="set",
                spans=items,
            )
    denials = [(match, span) for span in view.sentences if (match := _DENIES.search(text, *span))]
    if len(denials) == 1:
        match, (_, end) = denials[0]
        items = _enumerated(text, match.end(), end)
        if items:
            yield Triple(
                view.one_of(
                    "Which symptoms does the patient deny? Separate them by semicolons.",
                    "List what the patient denies, separated by semicolons.",
                    "Extract the symptoms that are denied, separated by semicolons.",
                ),
                "; ".join(text[start:stop] for start, stop in items),
                NER,
                check="set",
                spans=items,
            )


_UNLISTED = re.compile(
    r"\b(?:iron|calcium|vitamin|multivitamin|oxygen|saline|antibiotics?|vaccin\w*|contrast|insulin|estrogen|potassium|"
    r"steroids?|chemotherapy|inhaler|magnesium|zinc|fish oil|drops|b-?12|folate|spray|patch|cream|ointment|lotion|"
    r"antacids?|solution|ringer\S*|"
    r"penicillins|nsaids?|statins?|narcotics?|diuretics?|allerg\w+)\b",
    re.IGNORECASE,
)
_DOSED = re.compile(r"([A-Za-z][A-Za-z-]{3,})[ ,]+(?:[A-Z]{2,3} )?\d[\d.,/]* ?(?:mg|mcg|units|tablets?)\b")
_DIAGNOSES = {
    "assessment", "impression", "discharge diagnosis", "admission diagnosis", "preoperative diagnosis",
    "postoperative diagnosis", "past medical history",
}  # fmt: skip
_ITEM = re.compile(r"(?:^|(?<=[\s,.]))(\d{1,2})\.\s*(?=[A-Z])")
_DENIES = re.compile(r"\b[Dd]en(?:ies|ied)(?: any| having any)?:? (?=[a-z])")
_SYMPTOM = re.compile(r"[a-z][a-z-]*(?: [a-z][a-z-]*){0,3}$")
_HABIT = re.compile(r"tobacco|alcohol|drug|smok|drink|caffeine|allerg")
_CLAUSE = re.compile(
    r"\b(?:no|not|that|he|she|who|has|had|was|is|are|with|but|being|at|since|any|except|other|this|for|"
    r"to|when|during|in the past|history)\b"
)


def _unknown_doses(view: View) -> bool:
    ends = {mention.end for mention in view.drugs}
    return any(match.end(1) not in ends for match in _DOSED.finditer(view.text))


def _numbered(text: str, section: Section) -> Spans:
    """Items 1., 2., ... of a section, where they are all of it and short."""
    marks = list(_ITEM.finditer(text, section.start, section.end))
    if not 2 <= len(marks) <= 10 or marks[0].start() != section.start:
        return ()
    if [int(mark[1]) for mark in marks] != list(range(1, len(marks) + 1)):
        return ()
    ends = [mark.start() for mark in marks[1:]] + [section.end]
    items = []
    for mark, end in zip(marks, ends, strict=True):
        item = text[mark.end() : end].rstrip(" .,\n")
        if not item or len(item.split()) > 14 or ";" in item or ". " in item or ".," in item or not item.isprintable():
            return ()
        items.append((mark.end(), mark.end() + len(item)))
    return tuple(items)


def _enumerated(text: str, start: int, end: int) -> Spans:
    """The parts of `fever, chills or cough.`, where each is a plain symptom."""
    items = []
    at = start
    listed = text[start:end].rstrip(".")
    for part in re.split(r",? (?:and|or|nor) |, ", listed):
        at = text.index(part, at)
        if not _SYMPTOM.match(part) or _CLAUSE.search(part) or _HABIT.search(part):
            return ()
        items.append((at, at + len(part)))
        at += len(part)
    return tuple(items) if len(items) >= 2 else ()


def expansions(view: View) -> Iterator[Triple]:
    """What an abbreviation means; of several at once."""
    text = view.text
    first: dict[str, Use] = {}
    for use in view.uses:
        first.setdefault(use.short, use)
    uses = [use for use in first.values() if use.short not in ("w/", "pt", "wks", "yrs")]
    view.rng.shuffle(uses)
    for use in uses[:2]:
        yield Triple(
            view.one_of(
                f'What does "{use.short}" stand for in this note?',
                f'Expand the abbreviation "{use.short}".',
                f'What is meant by "{use.short}" here?',
                f'Write out "{use.short}" in full.',
            ),
            use.means,
            ABBREVIATION,
            check="exact",
            spans=((use.start, use.end),),
        )
    if len(uses) >= 3:
        some = sorted(uses[:4])
        named = ", ".join(use.short for use in some)
        yield Triple(
            view.one_of(
                f"Expand these abbreviations of the note: {named}. Separate them by semicolons.",
                f"Write out these abbreviations in full, separated by semicolons: {named}.",
            ),
            "; ".join(f"{use.short}: {use.means}" for use in some),
            ABBREVIATION,
            check="set",
            spans=tuple((use.start, use.end) for use in some),
        )
    absent = [
        short for short in _ASKED if short not in text and abbreviations.listed()[short].means not in text.lower()
    ]
    if absent:
        short = view.rng.choice(absent)
        yield _unanswerable(
            view.one_of(
                f'What does "{short}" stand for in this note?', f'Which problem does "{short}" name in this note?'
            ),
            f'The note does not use the abbreviation "{short}".',
            ABBREVIATION,
        )


_ASKED = ("COPD", "CHF", "CABG", "DVT", "ESRD", "GERD", "TIA", "UTI", "BPH", "MRI")


def relations(view: View) -> Iterator[Triple]:
    """Drug and dose, drug and how often, test and value, body part and side."""
    text = view.text
    names = {mention.fact: text[mention.start : mention.end] for mention in view.drugs}
    for fact, name in names.items():
        mentions = [mention for mention in view.drugs if mention.fact == fact]
        doses: dict[str, re.Match[str]] = {}
        for mention in mentions:
            around = text[max(0, mention.start - 40) : mention.start]
            if _DOSE_BEFORE.search(around):
                doses.clear()
                break
            if match := _DOSE.match(text, mention.end):
                doses[match["dose"].lower().replace(" ", "")] = match
        if len(doses) == 1 and len(mentions) <= 3:
            (match,) = doses.values()
            mention = next(m for m in mentions if m.end == match.start())
            yield Triple(
                view.one_of(
                    f"What dose of {name} does the note give?",
                    f"At what dose is {name} given?",
                    f"Which dose belongs to {name}?",
                ),
                match["dose"],
                RELATION,
                check="exact",
                spans=((mention.start, mention.end), match.span("dose")),
            )
            often = _OFTEN.match(text, match.end())
            if often and len(mentions) == 1:
                yield Triple(
                    view.one_of(
                        f"How often is {name} taken?",
                        f"What frequency does the note give for {name}?",
                        f"With which frequency is {name} ordered?",
                    ),
                    often["often"],
                    RELATION,
                    check="exact",
                    spans=((mention.start, mention.end), often.span("often")),
                )
        elif len(mentions) == 1 and not re.search(
            r"\d|\b(?:one|two|half|dose)\b", text[max(0, mentions[0].start - 60) : mentions[0].end + 60]
        ):
            yield _unanswerable(
                view.one_of(f"What dose of {name} does the note give?", f"At what dose is {name} given?"),
                f"The note does not give a dose of {name}.",
                RELATION,
            )
    for pattern, test in _tests():
        found = list(pattern.finditer(text))
        if len(found) == 1 and len(re.findall(test, text, re.IGNORECASE)) == 1:
            match = found[0]
            if _CHANGED.search(text, match.end(), match.end() + 80):
                continue
            yield Triple(
                view.one_of(
                    f"What value does the note give for {test}?",
                    f"Which value belongs to {test}?",
                    f"What was the {test}?",
                ),
                match["value"],
                RELATION,
                check="exact",
                spans=(match.span(),),
            )
    sides: dict[str, dict[str, re.Match[str]]] = {}
    for match in _SIDED.finditer(text):
        sides.setdefault(match["part"].lower(), {})[match["side"].lower()] = match
    for part, by_side in sides.items():
        both = rf"\b(?:both|bilateral\w*|either|other|contralateral|opposite)\b|\b{_PLURAL.get(part, part + 's')}\b"
        if len(by_side) == 1 and not re.search(both, text, re.IGNORECASE):
            ((side, match),) = by_side.items()
            yield Triple(
                view.one_of(
                    f"Which {part} does the note speak of, the right or the left?",
                    f"On which side is the {part} that the note speaks of?",
                ),
                f"{side} {part}",
                RELATION,
                check="exact",
                spans=(match.span(),),
            )
    absent = [drug for drug in _COMMON if drug not in names]
    drug = view.rng.choice(absent)
    yield _unanswerable(
        view.one_of(f"What dose of {drug} does the note give?", f"How often is {drug} taken?"),
        f"The note does not mention {drug}.",
        RELATION,
    )


_PLURAL = {"foot": "feet"}
_CHANGED = re.compile(
    r"dropped|then|repeat|rose|increas|decreas|went|down to|up to|later|after|from|came|fell|subsequent|peak"
)
_COMMON = (
    "warfarin", "metformin", "lisinopril", "prednisone", "atorvastatin", "amlodipine", "gabapentin", "omeprazole",
    "furosemide", "sertraline", "levothyroxine", "clopidogrel",
)  # fmt: skip
_DOSE_NUMBER = (
    r"\d[\d,]*(?:\.\d+)?(?:\s?(?:-|to)\s?\d+(?:\.\d+)?)?\s?(?:mg|mcg|units|mEq|g|grams|gm|milligrams|micrograms)"
)
_DOSE = re.compile(
    rf"(?: (?:XL|XR|SR|CR|ER|CD|LA|succinate|tartrate|sulfate|sodium|HCl))?"
    rf"[, ]*(?:at |of )?(?P<dose>{_DOSE_NUMBER})(?![\w/%])(?! ?(?:per|/))"
)
_DOSE_BEFORE = re.compile(rf"{_DOSE_NUMBER}(?: \w+){{0,2}} (?:of )?$")
_OFTEN = re.compile(
    r"[, ]*(?:p\.?o\.?|by mouth|orally|IV|intravenous(?:ly)?|sublingual|tablets?|one tablet|1 tablet)?[, ]*"
    r"(?P<often>(?:once|twice|three times|four times|2 times|3 times) (?:a day|daily|per day)|daily|every day|"
    r"b\.i\.d\.|t\.i\.d\.|q\.i\.d\.|q\.d\.|q\. ?day|every (?:\d+|four|six|eight|twelve) hours|"
    r"q\.? ?\d+ ?h\.?|at bedtime|q\.h\.s\.|"
    r"nightly|weekly|every other day)(?!\w)(?! ?(?:for|x|then|and|in the|on|p\.r\.n|as needed|prn|or|to|\())"
)
_SIDED = re.compile(
    r"\b(?P<side>[Rr]ight|[Ll]eft|RIGHT|LEFT) "
    r"(?P<part>knee|shoulder|elbow|wrist|hip|ankle|breast|kidney|eye|ear|hand|foot|thumb)\b(?! and )"
)


@cache
def _tests() -> list[tuple[re.Pattern[str], str]]:
    names = ("hemoglobin", "hematocrit", "potassium", "sodium", "creatinine", "glucose", "ejection fraction", "BUN",
             "troponin", "TSH", "PSA", "INR", "lipase", "white blood cell count", "platelets")  # fmt: skip
    return [
        (
            re.compile(
                rf"\b{name}(?: (?:level|count))?(?: (?:is|was|of|at|estimated at|calculated at|about))? "
                rf"(?P<value>\d+(?:\.\d+)?(?:%| ng/mL| mg/dL| U/L| g/dL| mIU/L)?)"
                r"(?![\d/.-]\d|[\d,]\d| ?(?:to|-|/|percent|%|x|cm|mm)\s?\w|[A-Za-z])",
                re.IGNORECASE,
            ),
            name,
        )
        for name in names
    ]


def times(view: View) -> Iterator[Triple]:
    """When and for how long, asked with a gap in the note's own sentence; when to come back; all dates."""
    text = view.text
    days = date_mentions(text)
    if len(days) >= 2 and len({day.fact for day in days}) == len(days) <= 8:
        yield Triple(
            view.one_of(
                "List all dates in the note, separated by semicolons.",
                "Which dates does the note give? Separate them by semicolons.",
            ),
            "; ".join(text[start:end] for start, end, _ in days),
            TEMPORAL,
            check="set",
            spans=tuple((start, end) for start, end, _ in days),
        )
    back = [match for span in view.sentences for match in _BACK.finditer(text, *span)]
    if len(back) == 1 and not re.search(r"follow|return", text[back[0].end() : back[0].end() + 200], re.I):
        yield Triple(
            view.one_of(
                "When is the patient to be seen again?",
                "After what time is the next visit planned?",
                "When should the patient come back?",
            ),
            back[0]["when"],
            TEMPORAL,
            check="exact",
            spans=(back[0].span(),),
        )
    elif not _FOLLOWING.search(text):
        yield _unanswerable(
            view.one_of("When is the patient to be seen again?", "When is the next visit planned?"),
            "The note does not say when the patient is to be seen again.",
            TEMPORAL,
        )
    gaps = []
    for start, end in view.sentences:
        if end - start > 220 or ":" in text[start:end] or '"' in text[start:end]:
            continue
        found = list(_TIME.finditer(text, start, end))
        if (
            len(found) != 1
            or _NO_TIME.match(text, found[0].end())
            or text[found[0].start() - 4 : found[0].start()] == " at "
        ):
            continue
        if len(text[start : found[0].start()].split()) >= 3:
            gaps.append((start, end, found[0]))
    view.rng.shuffle(gaps)
    for start, end, match in gaps[:2]:
        gap = flat(f"{text[start : match.start('time')]}____{text[match.end('time') : end]}")
        yield Triple(
            view.one_of(
                f'Which time does the note give in the gap: "{gap}"',
                f'When or for how long, according to the note? Fill the gap: "{gap}"',
                f'Complete with the time from the note: "{gap}"',
            ),
            match["time"],
            TEMPORAL,
            check="exact",
            spans=((start, end),),
        )


_COUNT = r"(?:\d+(?:\.\d+)?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|several|a few)"
_LENGTH = rf"(?<![/\d.-]){_COUNT}(?:(?: to | or |-){_COUNT})? (?:minutes|hours|days?|weeks?|wks|months?|years?|yrs)"
_TIME = re.compile(rf"\b(?P<time>{_LENGTH}(?: ago\b)?)(?![ -]old|\w)")
_NO_TIME = re.compile(
    r" (?:in size|a (?:week|day|month|year)|size|gestation|pregnan|of gestation|of age|old|history|by |post)"
)
_BACK = re.compile(
    rf"\b(?:[Ff]ollow(?:ed)?[ -]?up|F/u|[Rr]eturn(?:s)?(?: to (?:the )?(?:clinic|office))?|RTC|"
    r"[Ss]ee again|See Dr\. \w|[Ss]een again|back)(?: [a-z]+){0,5}? "
    rf"(?P<when>in (?:about |approximately )?{_LENGTH})\b"
)
_FOLLOWING = re.compile(
    r"follow|return|\bsee\b|recheck|re-?evaluat|appointment|visit|back in|week|month|call|clinic|f/u", re.I
)


def references(view: View) -> Iterator[Triple]:
    """Whom a pronoun, a name or `Same` stands for, where nobody and nothing else can be meant."""
    text = view.text
    by_name = {section.name: section for section in view.sections}
    before, after = by_name.get("preoperative diagnosis"), by_name.get("postoperative diagnosis")
    if (
        before
        and after
        and text[after.start : after.end].strip(".").lower()
        in ("same", "same as above", "same as preoperative diagnosis")
    ):
        answer = flat(text[before.start : before.end])
        if 2 <= len(answer.split()) <= 40:
            yield Triple(
                view.one_of(
                    f'What does "{text[after.start : after.end].strip(".")}" under {after.header} refer to?',
                    f'What is meant by "{text[after.start : after.end].strip(".")}" under {after.header}?',
                ),
                answer,
                COREFERENCE,
                check="exact",
                spans=((after.start, after.end), (before.start, before.end)),
            )
    who = next((m for m in _WHO.finditer(text) if _IS.search(text[max(0, m.start() - 40) : m.start()])), None)
    if not who or len({_SEXES.get(m["man"].lower()) for m in _WHO.finditer(text)}) != 1:
        return
    sex = _SEXES[who["man"].lower()]
    pronoun = {"F": ("She", "Her"), "M": ("He", "His")}[sex]
    wrong = {"F": r"\b(?:[Hh]e|[Hh]is|[Hh]im)\b", "M": r"\b(?:[Ss]he|[Hh]er)\b"}[sex]
    described = who["who"][0].lower() + who["who"][1:]
    pairs = []
    for (start, end), (begin, stop) in zip(view.sentences, view.sentences[1:], strict=False):
        first, second = text[start:end], text[begin:stop]
        if not second.startswith(tuple(f"{word} " for word in pronoun)) or begin - end > 3:
            continue
        if not _SUBJECT.match(first) or _OTHERS.search(first) or re.search(wrong, first) or len(second.split()) < 4:
            continue
        pairs.append((start, end, begin, stop))
    if pairs:
        start, end, begin, stop = view.rng.choice(pairs)
        word = text[begin:stop].split()[0]
        yield Triple(
            view.one_of(
                f'Which person does "{word}" refer to in the sentence "{flat(text[begin:stop])}"?',
                f'Who is meant by "{word}" in "{flat(text[begin:stop])}"?',
                f'To whom does the word "{word}" refer here: "{flat(text[begin:stop])}"',
            ),
            f"the patient, {described}",
            COREFERENCE,
            check="exact",
            spans=(who.span("who"), (start, end), (begin, begin + len(word))),
        )
    names = {match[0] for match in _NAME.finditer(text)}
    if (
        len(names) == 1
        and (named := _NAME.search(text))
        and {"M": "Mr"}.get(sex, "M") == named[0][: 2 if sex == "M" else 1]
    ):
        if sex == "F" and named[0].startswith("Mr."):
            return
        yield Triple(
            view.one_of(f'Who is "{named[0]}" in this note?', f'Whom does the note mean by "{named[0]}"?'),
            f"the patient, {described}",
            COREFERENCE,
            check="exact",
            spans=(named.span(), who.span("who")),
        )


_SEXES = {"woman": "F", "female": "F", "lady": "F", "girl": "F", "man": "M", "male": "M", "gentleman": "M", "boy": "M"}
_WHO = re.compile(
    r"(?P<who>\b(?:an?|A|An) \d{1,3}[ -](?:year|yr|month|week|day)s?[ -]old,? "
    r"(?:(?:right|left)[- ]hand(?:ed)?[- ]?(?:dominant)? |[A-Za-z-]+,? ){0,2}?"
    r"(?P<man>woman|female|lady|girl|man|male|gentleman|boy))\b"
)
_IS = re.compile(r"(?:\b(?:patient|[Tt]his|Ms\. \w+|Mrs\. \w+|Mr\. \w+)(?: is|,)|[:.\n,]|^) *,?$")
_SUBJECT = re.compile(r"(?:The patient|This is|He|She|Pt|Mr\.|Mrs\.|Ms\.|This \d|The pt)\b")
_OTHERS = re.compile(
    r"\b(?:mother|father|wife|husband|son|daughter|brother|sister|Dr|doctor|nurse|physician|friend|boyfriend|girlfriend|"
    r"fianc\w+|partner|aunt|uncle|grand\w+|surgeon|baby|infant|child|fetus|neighbor|mom|dad|parents?|roommate|who|"
    r"roommate|cousin|niece|nephew|driver|man|woman|counsel\w+|therapist|provider|dentist)\b",
)
_NAME = re.compile(r"\b(?:Mr|Mrs|Ms)\. [A-Z][a-z]*\b")


def paraphrases(view: View) -> Iterator[Triple]:
    """A sentence with its abbreviations written out and some words in plainer ones."""
    text = view.text
    plain, pattern = _plain_words()
    best = []
    for start, end in view.sentences:
        sentence = text[start:end]
        if not 5 <= len(sentence.split()) <= 40 or '"' in sentence or "____" in sentence:
            continue
        changes = [(use.start, use.end, use.means) for use in abbreviations.uses(text, start, end)]
        if any(text[e : e + 2] == " (" or _BEFORE.search(text, max(start, s - 8), s) for s, e, _ in changes):
            continue
        found = [
            m
            for m in pattern.finditer(text, start, end)
            if not _ADJECTIVE.search(text, max(start, m.start() - 8), m.start())
        ]
        changes += [(m.start(), m.end(), plain[m[0].lower()]) for m in found]
        changes.sort()
        overlap = any(a[1] > b[0] for a, b in pairwise(changes))
        if changes and not overlap:
            best.append((len(changes), start, end, changes))
    view.rng.shuffle(best)
    best.sort(key=lambda found: -min(found[0], 3))
    for _, start, end, changes in best[:6]:
        told, at = "", start
        for first, last, new in changes:
            if text[first].isupper() and (first == start or text[first + 1].islower()):
                new = new[0].upper() + new[1:]
            if last == end and text[last - 1] == ".":
                new += "."
            told += text[at:first] + new
            at = last
        told = _articles(flat(told + text[at:end]))
        if not _SHORTHAND.search(told):
            yield Triple(
                view.one_of(
                    f'Paraphrase without abbreviations, in plain words: "{flat(text[start:end])}"',
                    f'Say this in plainer words: "{flat(text[start:end])}"',
                    f'Rewrite this sentence for a reader who knows no medical shorthand: "{flat(text[start:end])}"',
                ),
                told,
                PARAPHRASING,
                spans=((start, end),),
            )


_BEFORE = re.compile(
    r"(?:\b(?:an?|normal|recent|previous)|\() ?$"
)  # an MRI: a magnetic resonance imaging is no English
_ADJECTIVE = re.compile(r"\b(?:no|not|been|was|were|be|is|are|as|of|the|an?|and|or) $")
# What a paraphrase must not leave: it would still need a reader who knows it
_SHORTHAND = re.compile(
    r"\b[A-Z]{2,}\b|\b[A-Z]-spine|\b(?:[a-z]\. ?){2,}|\b[A-Z]/[A-Z]\b|^\d+[.)]|\b[A-Z] \d|SpO2|____|w/|\bq\.|"
    r"\b(?:dx|hx|tx|rx|pt|wks|yrs|post-?op|pre-?op|meds|exam)\b"
)


@cache
def _plain_words() -> tuple[dict[str, str], re.Pattern[str]]:
    plain: dict[str, str] = words("plain_words.yaml")
    listed = "|".join(sorted(plain, key=len, reverse=True))
    return plain, re.compile(rf"(?<![\w-])(?:{listed})(?![\w-])", re.IGNORECASE)


def _articles(text: str) -> str:
    text = re.sub(r"\b([Aa]) (?=(?:[aeio]|un(?!i)|ur(?!i))[a-z])", r"\1n ", text)
    return re.sub(r"\b([Aa])n (?=[bcdfgjklmnpqrstvwxyz][a-z]{2}|hi|he)", r"\1 ", text)


def summaries(view: View) -> Iterator[Triple]:
    """The note's own description, where the note holds its words and facts."""
    answer = flat(view.description or "")
    if (
        not 5 <= len(answer.split()) <= 80
        or not answer.isprintable()
        or re.search(r"(?i)sample|template|transcription", answer)
    ):
        return
    content = {word[:5].lower() for word in re.findall(r"[A-Za-z]{4,}", answer)}
    lower = view.text.lower() + " ".join(use.means for use in view.uses).lower()
    missing = sum(stem not in lower for stem in content)
    if not content or missing > len(content) * 0.1 or unsupported_facts(answer, view.text):
        return
    scored = [
        (len(content & {word[:5].lower() for word in re.findall(r"[A-Za-z]{4,}", view.text[start:end])}), start, end)
        for start, end in view.sentences
    ]
    best = sorted(scored, key=lambda found: -found[0])[:3]
    yield Triple(
        view.one_of(
            "Summarize the note in one or two sentences.",
            "Give a short summary of this note.",
            "What is this note about? Answer briefly.",
            "Sum up the note in a few words.",
        ),
        answer,
        SUMMARIZATION,
        spans=tuple(sorted((start, end) for score, start, end in best if score)),
    )


def questions(view: View) -> Iterator[Triple]:
    """What stands in a section; vital signs and age; what the note leaves out."""
    text = view.text
    counted: dict[str, int] = {}
    for section in view.sections:
        counted[section.name] = counted.get(section.name, 0) + 1
    fitting = []
    for section in view.sections:
        ask = known().get(section.name, {}).get("ask")
        body = text[section.start : section.end]
        if ask and counted[section.name] == 1 and 3 < len(body) < 500 and body.replace("\n", " ").isprintable():
            fitting.append((section, ask))
    view.rng.shuffle(fitting)
    for section, ask in fitting[:3]:
        answer = flat(text[section.start : section.end])
        if re.search(r"[A-Za-z]{2}", answer) and not re.search(r"(?i)___|\bsame\b|as above|\bsee ", answer):
            yield Triple(
                view.rng.choice(ask), answer, ANSWERING, check="exact" if len(answer) < 80 else "none",
                spans=((section.start, section.end),),
            )  # fmt: skip
    for pattern, label, wordings in _VITALS:
        found = list(pattern.finditer(text))
        if len(found) == 1 and len(label.findall(text)) == 1:
            yield Triple(
                view.rng.choice(wordings), found[0]["value"], ANSWERING, check="exact", spans=(found[0].span(),)
            )
    lower = text.lower()
    absent = [
        section for section in known().values() if "lacking" in section and not re.search(section["lacking"], lower)
    ]
    if absent:
        section_ = view.rng.choice(absent)
        yield _unanswerable(view.rng.choice(section_["ask"]), section_["none"], ANSWERING)
    if not re.search(r"blood pressure|\bbp\b|vital|\d{2,3}/\d{2}|hypotens|hypertens|mmhg", lower):
        yield _unanswerable(view.rng.choice(_VITALS[0][2]), "The note does not give a blood pressure.", ANSWERING)


_VITALS = (
    (
        re.compile(r"\b(?:BP|[Bb]lood pressure)(?: is| was| of)?:? (?P<value>\d{2,3}/\d{2,3})(?!\d|/)"),
        re.compile(r"\bBP\b|blood pressure", re.I),
        (
            "What was the blood pressure?",
            "Which blood pressure does the note give?",
            "What is the patient's blood pressure?",
        ),
    ),
    (
        re.compile(r"\b(?:HR|[Pp]ulse|[Hh]eart rate|P)(?: is| was| of)?:? (?P<value>\d{2,3})(?![\d/%.])(?! ?(?:to|-))"),
        re.compile(r"\bHR\b|\bpulse\b|heart rate", re.I),
        ("What was the heart rate?", "Which heart rate does the note give?", "How fast was the pulse?"),
    ),
    (
        re.compile(r"\b(?:[Tt]emperature|Temp)(?: is| was| of)?:? (?P<value>\d{2,3}(?:\.\d)?)(?![\d/%-])"),
        re.compile(r"\btemperature\b|\btemp\b|\bT\b", re.I),
        ("What was the temperature?", "Which temperature does the note give?"),
    ),
    (
        re.compile(
            r"\b(?:RR|[Rr]espirations?|[Rr]espiratory rate)(?: is| was| are| of)?:? (?P<value>\d{1,2})(?![\d/%.])"
        ),
        re.compile(r"\bRR\b|respiratory rate|respirations?", re.I),
        ("What was the respiratory rate?", "Which respiratory rate does the note give?"),
    ),
)


def _unanswerable(instruction: str, answer: str, task: str) -> Triple:
    return Triple(instruction, answer, task, answerable=False, check="exact")


MAKERS = (references, times, relations, expansions, entities, paraphrases, summaries, questions)  # rarer ones first
