"""Findings, negations and sides held against the note."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from clinadapt.clinical.claims.abnormal_values import shown_by_values
from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading, SideMention
from clinadapt.clinical.claims.words import STOP_WORDS, Word, stem
from clinadapt.clinical.number_words import NUMBER_WORD_VALUES

# Words that say nothing by themselves when they are denied
_VAGUE = """evidence sign symptom history change problem complication known significant acute time day week
month year other new old further recent past current state report note mention show see seen given take taken
use need know normal clear well good left right side upper lower more most less much very only really get got go
went come came say said tell told think feel felt like want sure okay ok yeah yes thing anything something
doctor guest family medication medicine drug treatment exam examination study procedure imaging scan contrast
test result first last next one two three particular complaint seem help lateral medial relief difficulty home
having been additional special major minor allergy allergic
obvious gross focal significantly marked severe mild moderate long short term active activity frank overt specific
apparent visible immediate prior previous chronic new-onset several many few lot single whole entire able unable
head neck face eye ear nose throat mouth chest breast lung heart abdomen abdominal back spine hip leg arm hand foot
finger night negative positive toe knee ankle shoulder elbow wrist extremity skin bowel bladder kidney liver body
joint muscle bone"""
_NO_FINDINGS = frozenset(stem(word) for word in [*_VAGUE.split(), *NUMBER_WORD_VALUES])
_NOT_DENIED = STOP_WORDS | {stem(word) for word in NUMBER_WORD_VALUES}


def check_findings(stated: Reading, source: Reading, family_asked: bool) -> Iterator[CheckedClaim]:
    by_name: dict[str, list[int]] = {}
    for i, finding in enumerate(source.findings):
        by_name.setdefault(finding.name, []).append(i)
    for finding in stated.findings:
        own = [source.findings[i] for i in by_name.get(finding.name, [])]
        own = own if finding.hypothetical else [f for f in own if not f.hypothetical]
        span = finding.start, finding.end
        spans = [(f.start, f.end) for f in own]
        claim = Claim("finding", *span, finding.name)
        if not own and by_name.get(finding.name):  # the note only says what to do if it comes
            yield CheckedClaim(claim, "not found", None)
            continue
        if not own:
            stems = {w.stem for w in stated.words if span[0] <= w.start < span[1]} - STOP_WORDS
            if stems and stems <= source.stems:
                continue
            if finding.negated not in (1, 3):
                yield verdict(claim, shown_by_values(finding.name, source), [])
            continue
        yield verdict(claim, spans, [])
        if alike := [f for f in own if f.before == finding.before and f.before not in STOP_WORDS]:
            own, spans = alike, [(f.start, f.end) for f in alike]
        if finding.negated != 2:
            fits = [f for f in own if f.negated == 2 or (f.negated > 0) == (finding.negated > 0)]
            value = f"{'no ' if finding.negated else ''}{finding.name}"
            yield verdict(Claim("negation", *span, value), [(f.start, f.end) for f in fits], spans)
        of_family = bool(finding.family) or family_asked
        family = own if family_asked else [f for f in own if f.family in (None, of_family)]
        yield verdict(
            Claim("experiencer", *span, f"{finding.name} of {'family' if of_family else 'patient'}"),
            [(f.start, f.end) for f in family], spans,
        )  # fmt: skip
        certain = [f for f in own if f.uncertain == finding.uncertain]
        value = f"{'possible ' if finding.uncertain else ''}{finding.name}"
        yield verdict(Claim("certainty", *span, value), [(f.start, f.end) for f in certain], spans)
    yield from _other_negations(stated, source)


def _other_negations(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Words that are no findings of the lexicon: contradicted where one text only denies what the other affirms."""
    named = {i for f in (*stated.findings,) for i in range(f.first, f.first + 1 + f.name.count(" "))}
    for i, word in enumerate(stated.words):
        if i in named or word.stem in STOP_WORDS or word.stem in _NO_FINDINGS or word.stem.isdigit():
            continue
        own = source.positions.get(word.stem, [])
        marks = [source.context.negated[j] for j in own]
        denied = stated.context.negated[i]
        span = word.start, word.end
        spans = [(source.words[j].start, source.words[j].end) for j in own]
        if own and denied == 3 and all(mark == 0 for mark in marks):
            named.add(i)
            yield CheckedClaim(Claim("negation", *span, f"no {word.stem}"), "contradicted", spans[0])
        elif own and denied == 0 and all(mark == 3 for mark in marks):
            named.add(i)
            yield CheckedClaim(Claim("negation", *span, word.stem), "contradicted", spans[0])
    yield from _phrase_negations(stated, source, named)


def _phrase_negations(stated: Reading, source: Reading, named: set[int]) -> Iterator[CheckedClaim]:
    """Two words next to each other, such as "night pain", where one text only denies what the other affirms; not those
    at the positions `named`."""
    for i, (first, second) in enumerate(pairwise(stated.words)):
        phrase = first.stem, second.stem
        if named & {i, i + 1} or not _NOT_DENIED.isdisjoint(phrase) or phrase[0].isdigit() or phrase[1].isdigit():
            continue
        own = [j for j in source.positions.get(phrase[0], []) if _follows(source.words, j, phrase[1])]
        marks = {source.context.negated[j + 1] for j in own}
        denied = stated.context.negated[i + 1]
        if (denied, marks) in ((3, {0}), (0, {3})):
            value = f"{'no ' if denied else ''}{' '.join(phrase)}"
            evidence = source.words[own[0]].start, source.words[own[0] + 1].end
            yield CheckedClaim(Claim("negation", first.start, second.end, value), "contradicted", evidence)


def _follows(words: list[Word], index: int, stem: str) -> bool:
    return index + 1 < len(words) and words[index + 1].stem == stem


def check_sides(stated: Reading, source: Reading, asked: Reading | None) -> Iterator[CheckedClaim]:
    for mention in stated.sides:
        of = set(mention.of)
        if not of and asked:
            of = {w.stem for w in asked.words} - STOP_WORDS
        said = [m for m in source.sides if not m.asked] or source.sides
        scored = [(len(of & set(m.of)) + (bool(m.of) and m.of[:1] == mention.of[:1]), m) for m in said]
        claim = Claim("side", mention.start, mention.end, f"{mention.side} {' '.join(mention.of[:1])}".rstrip())
        best = max((score for score, _ in scored), default=0)
        if mention.side == "both" and not best and (plurals := _plurals(mention, source)):
            yield verdict(claim, plurals, [])
            continue
        if not scored:
            yield CheckedClaim(claim, "not found", None)
            continue
        near = [m for score, m in scored if score == best]
        fits = [m for m in near if m.side == mention.side]
        sides = {m.side for m in near}
        if not fits and (sides >= {"left", "right"} if mention.side == "both" else sides == {"both"}):
            fits = near
        yield verdict(claim, [(m.start, m.end) for m in fits], [(m.start, m.end) for m in near])


def _plurals(mention: SideMention, source: Reading) -> list[tuple[int, int]]:
    """Plurals in the note of what the answer has on both sides: "these knees"."""
    return [
        (w.start, w.end) for w in (source.words[i] for stem in mention.of[:1] for i in source.positions.get(stem, []))
        if source.lower[w.end - 1] == "s" and source.lower[w.start : w.end] != w.stem
    ]  # fmt: skip
