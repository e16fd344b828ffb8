"""What an answer says of the patient and the note of others alone: the mother's thyroidectomy, a friend's drug."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.finding_checks import NO_FINDINGS
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.relatives import OTHER_PERSON
from clinadapt.clinical.claims.words import STOP_WORDS, Word

_OF_PATIENT = re.compile(
    r"\b(?:he|she|the patient) (?:also |now |currently |once |is |has |had |has had |was |had a |takes |uses )+"
)
_WHO = re.compile(r"\W*who(?:se|m)?\b")
_MOST_BARE = 6  # words of an answer that only names somebody


def check_of_others(stated: Reading, source: Reading, asked: Reading | None) -> Iterator[CheckedClaim]:
    """Drugs and other words, but for the findings of the lexicon, which `check_findings` checks."""
    if True not in source.context.family or source.turns:
        return
    who = bool(asked and _WHO.match(asked.lower))
    if who and asked and not OTHER_PERSON.search(stated.lower) and len(stated.words) <= _MOST_BARE:
        own = next((own for word in asked.words if (own := _of_others(word, source, stated, asked))), [])
        if own and stated.words and not stated.context.negated[0]:
            claim = Claim("experiencer", *stated.span_of(0, len(stated.words)), "of patient")
            yield CheckedClaim(claim, "contradicted", own[0][:2])
        return
    named = {i for f in stated.findings for i in range(f.first, f.first + 1 + f.name.count(" "))}
    for match in _OF_PATIENT.finditer(stated.lower):
        start, end = stated.sentence_at(match.start())
        if OTHER_PERSON.search(stated.lower, start, end):
            continue
        for word in stated.words_within(match.end(), end):
            i = stated.word_at(word.start)
            if i in named or stated.context.negated[i] or stated.context.family[i]:
                continue
            if own := _of_others(word, source, stated, asked):
                claim = Claim("experiencer", word.start, word.end, f"{word.stem} of patient")
                yield CheckedClaim(claim, "contradicted", own[0][:2])


def _of_others(word: Word, source: Reading, stated: Reading, asked: Reading | None) -> list[Word]:
    """The words of the note with the stem of `word`, or the names of its drug, where all are about others."""
    if word.stem in STOP_WORDS or word.stem in NO_FINDINGS or word.stem.isdigit():
        return []
    texts = (stated, asked) if asked else (stated,)
    drugs = {use.name for text in texts for use in text.drugs if use.start <= word.start < use.end}
    starts = [use.start for use in source.drugs if use.name in drugs] if drugs else []
    own = [source.words[source.word_at(start)] for start in starts] or source.words_of(word.stem)
    return own if all(source.context.family[source.word_at(each.start)] for each in own) else []
