"""Relation extraction: drug with dose, frequency and reason, laboratory test and value, body part and side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from components.synthesize.dose_relations import dose_relations
from components.synthesize.measurements import measured_values
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.reasons import reason_questions
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

TASK = "Relation Extraction"

_SIDE_AND_PART = re.compile(
    r"\b(?P<side>[Rr]ight|[Ll]eft|RIGHT|LEFT) "
    r"(?P<part>knee|shoulder|elbow|wrist|hip|ankle|breast|kidney|eye|ear|hand|foot|thumb|leg|arm|flank|groin|heel|calf|"
    r"thigh|forearm|testicle|ovary|lung|cheek|forehead)\b(?! and | dominant|/|-)"
)
# Of which a note names the other one too, without its side
_SEEN_TOGETHER = {"ovary", "breast", "kidney", "eye", "ear", "lung", "testicle"}
_IRREGULAR_PLURALS = {"foot": "feet", "ovary": "ovaries", "calf": "calves"}
# Words that tell of a part without its name
_OF_PART = {
    "knee": r"t[hk][ra]s?\b|acl\b|mcl\b|menisc|patell", "hip": r"t[hk][ra]s?\b|nof\b|acetab|femoral neck",
    "breast": "mastect|mammo", "eye": r"(?:o[dsu]|re|le)\b|cataract|ocular|retin|cornea|vision",
    "kidney": "renal|nephr", "lung": "lob(?:e|ar)|pulmon|chest", "ear": r"otitis|tms?\b|tympan",
    "hand": "metacarp|finger|palm", "foot": "hallux|metatars|toe|bunion", "ovary": "ovar|adnex",
    "wrist": "radius|radial|carpal|colles", "ankle": "malleol|calcan|achilles",
    "shoulder": "rotator|cuff|supraspin|deltoid", "elbow": "olecran|epicond", "leg": "tibi|fibul|calf|shin|femor|thigh",
    "arm": "humer|forearm|biceps", "thumb": r"cmc\b|pollic", "testicle": "scrot|testi|epididym", "groin": "inguin",
}  # fmt: skip
_REASON = re.compile(
    r"(?: \d[\d.,]* ?(?:mg|mcg|g|units?))?(?: (?:once|twice|three times) (?:a day|daily)| daily| nightly| "
    r"b\.i\.d\.| t\.i\.d\.| BD| TDS| OD| p\.?o\.?| prn| p\.r\.n\.| as needed| at bedtime){0,3} for "
    r"(?:her |his |the |a |an |my |your )?(?P<reason>[a-z][a-z-]+(?: [a-z][a-z-]+){0,3})"
    r"(?= ?[.,;\n)]| and | which | with |$)"
)
_NO_REASON = re.compile(
    r"\b(?:now|day|days|week|weeks|month|months|year|years|hours?|long|while|time|period|course|refill|follow|visit|"
    r"discharge|home|evaluation|further|total|dose|doses|some|any|this|that|her|him|them|it|patient|monitoring|review|"
    r"example|which|what|use|many|most|several|few|one|two|three|four|five|six|seven|ten|least|about|today|needed|"
    r"surgery|procedure|injection|the)\b"
)


def generate(note: ParsedNote) -> Iterator[Triple]:
    """Triples for every relation that is unambiguous in the note."""
    yield from dose_relations(note, TASK)
    yield from reason_questions(note, TASK)
    yield from _reasons(note)
    yield from measured_values(note, TASK)
    yield from _sides(note)


def _reasons(note: ParsedNote) -> Iterator[Triple]:
    """What a drug that the note names once is for: `lisinopril 10 mg daily for hypertension`."""
    counts = Counter(mention.value for mention in note.drugs)
    for mention in {mention.start: mention for mention in note.drugs}.values():  # once for a brand of two drugs
        match = _REASON.match(note.text, mention.end)
        if not match or counts[mention.value] > 1 or _NO_REASON.search(match["reason"]) or note.is_of_relative(mention):
            continue
        name = note.text[mention.start : mention.end]
        yield Triple(
            note.choose(
                f"Why is {name} given?",
                f"What is {name} for?",
                f"For which problem does the note mention {name}?",
                f"Why does the patient take {name}?",
            ),
            match["reason"],
            TASK,
            check="exact",
            spans=((mention.start, mention.end), match.span("reason")),
            subject=Subject(
                rf"\b{re.escape(name)}\b", (*not_mentioned(name), *not_given(f"a reason for {name}")), mention.value
            ),
        )


def _sides(note: ParsedNote) -> Iterator[Triple]:
    """Side of each body part that the note mentions on one side only."""
    matches: dict[str, dict[str, re.Match[str]]] = {}
    for match in _SIDE_AND_PART.finditer(note.text):
        matches.setdefault(match["part"].lower(), {})[match["side"].lower()] = match
    for part, by_side in matches.items():
        plural = _IRREGULAR_PLURALS.get(part, part + "s")
        both_sides = rf"\b(?:both|bilateral\w*|either|other|contralateral|opposite)\b|\b{plural}\b|\b[rl]t?\.? {part}"
        named = len(re.findall(rf"\b{part}\b", note.text, re.IGNORECASE))
        sided = len(re.findall(rf"\b(?:left|right) {part}\b", note.text, re.IGNORECASE))
        if part in _SEEN_TOGETHER and named > sided:
            continue
        if len(by_side) == 1 and not re.search(both_sides, note.text, re.IGNORECASE):
            ((side, match),) = by_side.items()
            about = (f"Is it the right or the left {part}?", f"Which {part} is it?")  # asked where it is the topic
            yield Triple(
                note.choose(
                    f"Which {part} does the note speak of, the right or the left?",
                    f"On which side is the {part} that the note speaks of?",
                    *(about if len(matches) == 1 and named > 1 else ()),
                ),
                f"{side} {part}",
                TASK,
                check="exact",
                spans=(match.span(),),
                subject=Subject(
                    rf"\b(?:{part}|{plural}|{_OF_PART.get(part, part)})",
                    not_mentioned(f"{'an' if part[0] in 'aeo' else 'a'} {part}"),
                ),
            )
