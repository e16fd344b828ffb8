"""Findings, negations and sides held against the note."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from clinadapt.clinical.claims.abnormal_values import shown_by_values
from clinadapt.clinical.claims.asked_sides import asks_for_one, side_asked_for
from clinadapt.clinical.claims.checked import CheckedClaim, each_once, verdict
from clinadapt.clinical.claims.dialogue import DENIED
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import ABOUT_A_FINDING, Finding, Reading
from clinadapt.clinical.claims.relatives import RELATIVE
from clinadapt.clinical.claims.sides import SideMention
from clinadapt.clinical.claims.words import STOP_WORDS, Word, root, stem
from clinadapt.clinical.number_words import NUMBER_WORD_VALUES

# Words that say nothing by themselves when they are denied
_VAGUE = """evidence sign symptom history change problem complication known significant acute time day today week
month year other new old further recent past current state report note mention show see seen given take taken
use need know normal clear well good left right side upper lower more most less much very only really get got go
went come came say said tell told think feel felt like want sure okay ok yeah yes thing anything something
doctor guest family medication medicine drug treatment exam examination study procedure imaging scan contrast
test result first last next far one two three particular complaint seem help lateral medial relief difficulty home
having been additional special major minor allergy allergic
obvious gross focal significantly marked severe mild moderate long short term active activity frank overt specific
apparent visible immediate prior previous chronic new-onset several many few lot single whole entire able unable
head neck face eye ear nose throat mouth chest breast lung heart abdomen abdominal back spine hip leg arm hand foot
finger night negative positive toe knee ankle shoulder elbow wrist extremity skin bowel bladder kidney liver body
joint muscle bone blood start stop stopped began begin begun used lack lacked cause because reason source"""
NO_FINDINGS = frozenset(stem(word) for word in [*_VAGUE.split(), *NUMBER_WORD_VALUES])
_NOT_DENIED = STOP_WORDS | {stem(word) for word in NUMBER_WORD_VALUES}
_NOW = re.compile(r"\b(?<!not )(?<!none )(?:now|current(?:ly)?|still|presently|at present|today|active(?:ly)?)\b")
_NOW_HAS = re.compile(
    r"\b(?<!not )(?<!none )(?:now|currently|presently|at present|still)(?: (?:is|has|have|having|an?|the|any|"
    r"with))* ([a-z]+)"
)
_CLAUSE = re.compile(r"[,;.:]|\bbut\b")
_PAST_BEFORE = re.compile(
    r"\b(?:previous|past|former|old|resolved|childhood|prior|ex)[ -](?:[a-z]+ )?\Z|"
    r"\b(?:stopped|quit|g[ai]ven? up|no longer|used to|does not|do not|ex) ?(?:the )?\Z"
)
_PAST_BEHIND = re.compile(
    r"[^.;\n\d]{0,25}?\b(?:in (?:the past|(?:19|20)\d\d|childhood)|as a (?:child|boy|girl)|none now|(?:has )?resolved|"
    r"years ago|but (?:none|not) (?:now|currently))\b"
)
_HABIT = re.compile(r"smokes|drinks|is a smoker")  # what one does in the present tense is done now
_NEAR = 30  # characters between a finding and a word such as "now"
_IN_PART = re.compile(r"[^.;\n]{0,40}\b(?:only|except|unless|apart from|other than)\b")  # "no stridor at rest, only"
_SURE = re.compile(
    r"\b(?:confirm(?:s|ed)|definite(?:ly)?|proven?|proved|diagnosed|certain(?:ly)?|"
    r"(?<!cannot be )(?:ruled out|excluded))\b"
)
_WILL = re.compile(
    r"\b([a-z]+) (?:will (?:be|happen|take place)|(?:has|have) been (?:booked|arranged|scheduled)|is booked)\b"
)
_HAS = re.compile(r"\b(?:(?:he|she|patient) (?:has|had)|is|due to|caused by|because of)(?: an?| the)? ")
_THERE = stem("there")  # there were complications
_NORMAL = re.compile(r"\b(?:normal|unremarkable|clear|intact|nad|negative|no|not|without|fine)\b")
_NORMAL_BEHIND = re.compile(r"[^.,;:\n]{0,25}\b(?:normal|unremarkable|clear|intact|nad|negative)\b")
_SHORTEST_ROOT = 4
_MARGIN = 2  # words by which the surroundings of another side must fit better
_SURELY_DENIED = {3, 4}  # as in Context.negated


# "She has it herself", to a question about the family
_OF_PATIENT = re.compile(r"\b(?:him|her)self\b|\b(?:he|she|the patient) (?:also )?(?:has|had|suffers)\b")


def check_findings(stated: Reading, source: Reading, family_asked: bool) -> Iterator[CheckedClaim]:
    by_name: dict[str, list[Finding]] = {}
    for finding in source.findings if stated.findings else ():
        by_name.setdefault(finding.name, []).append(finding)

    def check(finding: Finding) -> Iterator[CheckedClaim]:
        named = by_name.get(finding.name, [])
        own = named if finding.hypothetical else [f for f in named if not f.hypothetical]
        if own:
            of_patient = _OF_PATIENT.search(stated.lower, *stated.sentence_at(finding.start))
            if finding.negated in DENIED and _is_only_of_others(finding, own, stated):
                return
            in_part = _IN_PART.match(stated.lower, finding.end)
            yield from _found(finding, own, family_asked and not of_patient, bool(in_part))
            yield from _in_the_past(finding, own, stated, source)
        elif named:  # the note only says what to do if it comes
            yield CheckedClaim(Claim("finding", finding.start, finding.end, finding.name), "not found", None)
        else:
            yield from _not_named(finding, stated, source)

    yield from each_once(stated.findings, lambda f: (f.end - f.start, *f.content), check)
    yield from _other_negations(stated, source)
    yield from _made_sure(stated, source)
    yield from _made_present(stated, source)
    yield from _phrases_made_sure(stated, source)


def _not_named(finding: Finding, stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """A finding that the note does not name: it may have its initials, its words may stand apart, or a value may show
    it."""
    written = stated.words_within(finding.start, finding.end)
    initials = "".join(stated.text[w.start].upper() for w in written) if len(written) > 1 else ""
    if initials and any(source.text[w.start : w.end] == initials for w in source.words_of(initials.lower())):
        return
    if finding.hypothetical:
        return
    if finding.negated in DENIED and finding.family:  # "no family history of heart disease": "brother had CABG"
        shown = [s for s in shown_by_values(finding.name, source) if source.context.family[source.word_at(s[0])]]
        if shown:
            yield verdict(Claim("negation", finding.start, finding.end, f"no {finding.name}"), [], shown)
        return
    stems = {w.stem for w in stated.words_within(finding.start, finding.end)} - STOP_WORDS
    if not (stems and stems <= source.stems) and finding.negated not in DENIED:
        claim = Claim("finding", finding.start, finding.end, finding.name)
        shown = list(shown_by_values(finding.name, source))
        sure = [span for span in shown if finding.uncertain or not source.is_suspected(source.word_at(span[0]))]
        yield verdict(claim, sure, shown)


def _is_only_of_others(finding: Finding, own: list[Finding], stated: Reading) -> bool:
    """Whether a note only has of the family what the patient does not have: of the father's gout she may be free."""
    names_relative = RELATIVE.search(stated.lower, *stated.sentence_at(finding.start))
    return not finding.family and not names_relative and all(f.family for f in own)


def _in_the_past(finding: Finding, own: list[Finding], stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """A finding that is there now, as an answer says, where the note only has it in the past."""
    written = stated.lower[finding.start : finding.end]
    if finding.negated or not (_NOW.search(_clause(stated, finding)) or _HABIT.fullmatch(written)):
        return
    past = [f for f in own if is_past(source, f.start, f.end)]
    if past and all(f in past or f.negated in DENIED for f in own):
        claim = Claim("certainty", finding.start, finding.end, f"{finding.name} now")
        yield verdict(claim, [], _spans(own))


def _clause(reading: Reading, named: Finding | Word) -> str:
    """The text around a word or finding, in lower case, up to the next marks and "but"."""
    start, end = reading.sentence_at(named.start)
    before = _CLAUSE.split(reading.lower[max(start, named.start - _NEAR) : named.start])[-1]
    return before + _CLAUSE.split(reading.lower[named.start : min(end, named.end + _NEAR)])[0]


def is_past(reading: Reading, at: int, behind: int) -> bool:
    """Whether the words around what the span `at` to `behind` names say that it was there and is no more."""
    start, end = reading.sentence_at(at)
    before = _PAST_BEFORE.search(reading.lower, max(start, at - 30), at)
    return bool(before or _PAST_BEHIND.match(reading.lower, behind, end))


def _found(finding: Finding, own: list[Finding], family_asked: bool, in_part: bool) -> Iterator[CheckedClaim]:
    """A finding that the note names `own`; `in_part`: denied at some times only."""
    span = finding.start, finding.end
    yield verdict(Claim("finding", *span, finding.name), _spans(own), [])
    own = [f for f in own if f.before == finding.before and f.before not in STOP_WORDS] or own
    of_family = bool(finding.family) or family_asked
    if finding.negated != 2 and not (finding.negated and in_part):
        fits = [f for f in own if f.negated == 2 or (f.negated > 0) == (finding.negated > 0)]
        value = f"{'no ' if finding.negated else ''}{finding.name}"
        yield verdict(Claim("negation", *span, value), _spans(fits), _spans(own))
    family = own if family_asked else [f for f in own if f.family in (None, of_family)]
    claim = Claim("experiencer", *span, f"{finding.name} of {'family' if of_family else 'patient'}")
    if family and not (finding.negated or finding.family or family_asked) and all(f.negated for f in family):
        family = [] if any(f.family and not f.negated for f in own) else family  # "no seizure, grandson has epilepsy"
    yield verdict(claim, _spans(family), _spans(own))
    if finding.negated and any(f.negated for f in own):  # "possible PE excluded": certainly none
        return
    certain = [f for f in own if f.uncertain == finding.uncertain]
    value = f"{'possible ' if finding.uncertain else ''}{finding.name}"
    yield verdict(Claim("certainty", *span, value), _spans(certain), _spans(own))


def _spans(findings: Iterable[Finding]) -> Iterator[tuple[int, int]]:
    return ((f.start, f.end) for f in findings)


def _other_negations(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Words that are no findings of the lexicon: contradicted where one text only denies what the other affirms."""
    named = {i for f in stated.findings for i in range(f.first, f.first + 1 + f.name.count(" "))}
    named |= {i for use in stated.drugs for i in range(stated.word_at(use.start), stated.word_at(use.end))}
    known: dict[str, set[int]] = {}  # stem -> how the note has it, as in Context.negated
    for i, word in enumerate(stated.words):
        vague = word.stem in NO_FINDINGS and not (i > 1 and stated.words[i - 2].stem == _THERE)
        is_measured = i + 1 < len(stated.words) and stated.words[i + 1].stem in ABOUT_A_FINDING  # a stroke score
        if i in named or word.stem in STOP_WORDS or vague or is_measured or word.stem.isdigit():
            continue
        positions = source.positions.get(word.stem) or _of_root(i, stated, source)
        if word.stem not in known:
            known[word.stem] = {source.context.negated[j] for j in positions}
        marks, denied = known[word.stem], stated.context.negated[i]
        if marks and (
            (denied == 3 and marks == {0} and _is_alone(stated, i))
            or (denied == 0 and marks <= _SURELY_DENIED and any(_is_head(source, j) for j in positions))
        ):
            named.add(i)
            first = source.words[positions[0]]
            claim = Claim("negation", word.start, word.end, f"{'no ' if denied else ''}{word.stem}")
            yield CheckedClaim(claim, "contradicted", (first.start, first.end))
    yield from _phrase_negations(stated, source, named)


def _of_root(i: int, stated: Reading, source: Reading) -> list[int]:
    """Positions in the note of the words made of the same one as word i of the answer, "transfusion" of "transfused";
    none where the answer may deny it."""
    own = root(stated.words[i].stem)
    if len(own) <= _SHORTEST_ROOT or (i + 1 < len(stated.words) and stated.words[i + 1].stem in ABOUT_A_FINDING):
        return []
    start, end = stated.sentence_at(stated.words[i].start)
    is_denied = any(stated.context.negated[stated.word_at(start) : stated.word_at(end)])
    return [] if is_denied else source.positions_by_root.get(own, [])


def _made_sure(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Words that an answer calls confirmed and the note only suspects, whatever they name."""
    for match in _SURE.finditer(stated.lower):
        for word in stated.words_within(*stated.sentence_at(match.start())):
            is_content = word.stem not in NO_FINDINGS | STOP_WORDS and not stated.is_suspected(
                stated.word_at(word.start)
            )
            positions = source.positions_by_root.get(root(word.stem), []) if is_content else []
            drugs = {use.name for use in stated.drugs if use.start <= word.start < use.end} if not positions else ()
            positions = positions or [source.word_at(use.start) for use in source.drugs if use.name in drugs]
            if positions and all(source.is_suspected(j) and not source.context.negated[j] for j in positions):
                first = source.words[positions[0]]
                yield verdict(Claim("certainty", *match.span(), f"certain {word.stem}"), [], [(first.start, first.end)])
                break
    for match in _WILL.finditer(stated.lower):  # "extubation will happen" of "?extubate"
        own = [source.words[j] for j in source.positions_by_root.get(root(stem(match[1])), [])]
        if own and all(source.lower[w.start - 1 : w.start] == "?" for w in own):
            yield verdict(Claim("certainty", *match.span(), f"certain {match[1]}"), [], [own[0][:2]])


def _phrases_made_sure(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Two words behind "has" or "due to", which name no finding of the lexicon and which the note only suspects."""
    named = {f.start for f in stated.findings}
    for match in _HAS.finditer(stated.lower):
        near = [w for w in stated.words_within(match.end(), match.end() + 40) if w.stem not in STOP_WORDS][:2]
        number = stated.word_at(match.start())
        if len(near) < 2 or near[0].start in named or stated.context.uncertain[number + 1]:
            continue
        if not _NOT_DENIED.isdisjoint([w.stem for w in near]) or stated.context.negated[number + 1]:
            continue
        positions = [
            j
            for j in source.positions.get(near[0].stem, [])
            if j + 1 < len(source.words) and source.words[j + 1].stem == near[1].stem
        ]
        if positions and all(source.context.uncertain[j] and not source.context.negated[j] for j in positions):
            claim = Claim("certainty", near[0].start, near[1].end, f"certain {near[0].stem} {near[1].stem}")
            yield verdict(claim, [], [source.span_of(positions[0], positions[0] + 2)])


def _made_present(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """What an answer calls present and the note only has in the past, whatever it is."""
    named = {f.start for f in stated.findings}
    for match in _NOW_HAS.finditer(stated.lower):
        own = source.words_of(stem(match[1])) if match.start(1) not in named else []
        if own and not own[0].stem.isdigit() and all(is_past(source, *w[:2]) for w in own):
            yield verdict(Claim("certainty", *match.span(1), f"{match[1]} now"), [], [w[:2] for w in own])


def _is_alone(reading: Reading, position: int) -> bool:
    """Whether a denied word is denied by itself: "no enlarged nodes" denies no nodes."""
    beside = [w for w in (position - 1, position + 1) if 0 <= w < len(reading.words)]
    here = reading.words[position]
    return not any(
        reading.words[w].stem not in NO_FINDINGS | STOP_WORDS
        and reading.context.negated[w]
        and reading.lower[min(here.end, reading.words[w].end) : max(here.start, reading.words[w].start)] in (" ", "-")
        for w in beside
    )


def _is_head(reading: Reading, position: int) -> bool:
    """Whether a denied word is what is denied, and does not tell of what kind that is: "no airway compromise"."""
    if position + 1 >= len(reading.words):
        return True
    here, behind = reading.words[position : position + 2]
    is_joined = reading.lower[here.end : behind.start] == " " and behind.stem not in NO_FINDINGS | STOP_WORDS
    is_joined = is_joined and not reading.lower.startswith("ed", behind.end - 2)  # "no prophylaxis indicated"
    return not (is_joined and reading.context.negated[position + 1] in _SURELY_DENIED)


def _phrase_negations(stated: Reading, source: Reading, named: set[int]) -> Iterator[CheckedClaim]:
    """Two words next to each other, such as "night pain", that the note only denies; not those at the positions
    `named`."""
    affirmed: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for i, (first, second) in enumerate(pairwise(stated.words)):
        phrase = first.stem, second.stem
        if not (named & {i, i + 1} or stated.context.negated[i + 1] or not _NOT_DENIED.isdisjoint(phrase)):
            affirmed.setdefault(phrase, []).append((first.start, second.end))
    own: dict[tuple[str, str], list[int]] = {}
    for j, (first, second) in enumerate(pairwise(source.words) if affirmed else ()):
        if (first.stem, second.stem) in affirmed:
            own.setdefault((first.stem, second.stem), []).append(j)
    for phrase, positions in own.items():
        if all(source.context.negated[j + 1] in _SURELY_DENIED for j in positions):
            evidence = source.words[positions[0]].start, source.words[positions[0] + 1].end
            for span in affirmed[phrase]:
                yield CheckedClaim(Claim("negation", *span, " ".join(phrase)), "contradicted", evidence)


def check_sides(stated: Reading, source: Reading, asked: Reading | None) -> Iterator[CheckedClaim]:
    said = [m for m in source.sides if not m.asked] or source.sides if stated.sides else []
    alone = bool(said) and asks_for_one(stated, asked)

    def check(mention: SideMention) -> Iterator[CheckedClaim]:
        of = set(mention.of)
        if not of and asked:
            of = set(asked.stems - STOP_WORDS)
        scored = [(len(of & set(m.of)) + (bool(m.of) and m.of[:1] == mention.of[:1]), m) for m in said]
        claim = Claim("side", mention.start, mention.end, f"{mention.side} {' '.join(mention.of[:1])}".rstrip())
        best = max((score for score, _ in scored), default=0)
        if mention.side == "both" and not best and (plurals := _plurals(mention, source)):
            yield verdict(claim, plurals, [])
            return
        if not scored:
            yield CheckedClaim(claim, "not found", None)
            return
        if asked and (named := side_asked_for(mention, said, stated, source, asked)):
            own = [(m.start, m.end) for m in named if m.side == mention.side]
            yield verdict(claim, own, [(m.start, m.end) for m in named])
            return
        near = [m for score, m in scored if score == best]
        fits = [m for m in near if m.side == mention.side]
        if fits and len(fits) < len(near):
            fits = _in_context(stated, mention, source, fits, near)
            if not _NORMAL.search(
                stated.lower, *stated.sentence_at(mention.start)
            ):  # "carcinoma right breast, left breast normal"
                abnormal = [m for m in near if not _NORMAL_BEHIND.match(source.lower, m.end)]
                fits = [m for m in fits if m in abnormal] if {m.side for m in abnormal} - {mention.side} else fits
        sides = {m.side for m in near}
        if not fits and (sides >= {"left", "right"} if mention.side == "both" else sides == {"both"} and not alone):
            fits = near
        yield verdict(claim, [(m.start, m.end) for m in fits], [(m.start, m.end) for m in near])

    yield from each_once(stated.sides, lambda mention: (mention.side, mention.of, mention.end - mention.start), check)


def _in_context(
    stated: Reading, mention: SideMention, source: Reading, fits: list[SideMention], near: list[SideMention]
) -> list[SideMention]:
    """`fits`; none where the words around another side of the note are clearly those around the answer's."""
    around = stated.around((mention.start, mention.end))
    shared = [(m.side == mention.side, len(around & source.around((m.start, m.end)))) for m in near]
    own, other = (max((count for same, count in shared if same == is_own), default=0) for is_own in (True, False))
    return [] if other - own >= _MARGIN else fits


def _plurals(mention: SideMention, source: Reading) -> list[tuple[int, int]]:
    """Plurals in the note of what the answer has on both sides: "these knees"."""
    return [
        (w.start, w.end) for w in (source.words[i] for stem in mention.of[:1] for i in source.positions.get(stem, []))
        if source.lower[w.end - 1] == "s" and source.lower[w.start : w.end] != w.stem
    ]  # fmt: skip
