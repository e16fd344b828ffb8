"""Claims of an answer held against the note."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from clinadapt.clinical.claims.asked_drugs import check_asked_drugs
from clinadapt.clinical.claims.asked_examinations import check_asked_examinations
from clinadapt.clinical.claims.asked_numbers import check_asked_numbers
from clinadapt.clinical.claims.asked_times import of_asked_event
from clinadapt.clinical.claims.asked_values import check_asked_values, check_sided_values, of_stated_time
from clinadapt.clinical.claims.changes import check_changes
from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.drug_checks import check_drugs, check_frequencies, check_routes
from clinadapt.clinical.claims.drug_classes import check_drug_classes
from clinadapt.clinical.claims.finding_checks import check_findings, check_sides, is_past
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.named_things import check_named_things
from clinadapt.clinical.claims.normal_results import check_normal_results
from clinadapt.clinical.claims.number_checks import check_ages, check_dates, check_numbers, check_sex, check_tests
from clinadapt.clinical.claims.of_others import check_of_others
from clinadapt.clinical.claims.opposites import check_benign, check_opposites
from clinadapt.clinical.claims.planned import check_changed, check_done
from clinadapt.clinical.claims.reading import Reading, read
from clinadapt.clinical.claims.relative_times import check_relative_times
from clinadapt.clinical.claims.relatives import RELATIVE, check_relatives
from clinadapt.clinical.claims.results import check_results
from clinadapt.clinical.claims.sites import check_levels, check_sites
from clinadapt.clinical.claims.times_and_titers import check_clock_times, check_titers, check_weekdays
from clinadapt.clinical.claims.unsaid import asks_for_words, check_words, completed
from clinadapt.clinical.claims.variants import check_variants
from clinadapt.clinical.claims.yes_no import as_statement
from clinadapt.clinical.number_format import point_decimals
from clinadapt.clinical.refusals import is_refusal

_FAMILY_ASKED = re.compile(r"\bfam(?:ily)?\b", re.IGNORECASE)
_TAKEN = re.compile(
    r"\b(?:takes?|taking|uses?|using|recommended|prescribed|started|(?:is|are) [^.?]{0,40}\bon|current|home)\b",
    re.IGNORECASE,
)
_NOT_TAKEN = re.compile(
    r"\b(?:stop|discontinu|held|hold|allerg|intoler|avoid|previous|past|former|ever|chang)", re.IGNORECASE
)
_REPLY = re.compile(r"yes|present|none|no|absent|denied", re.IGNORECASE)
_FRACTION = re.compile(r"(?<![\d/.])\d{1,2}/(?:7|12|52)(?![\d/])")
_GOES_ON = re.compile(r"(?<![.!?:;)])(?:(?!e?s\b)\w|[.,/]\d)|(?<=\d\.)\d")  # a singular is whole
_LONG, _TAIL = 40, 12  # characters of an answer that may break off, and of its end
_BY_WHAT_FOLLOWS = ("negation", "certainty", "result", "status", "experiencer")
_MOST_BARE = 4  # words of "Yes, she does."
_ASKED_STATUS = {
    "stopped": re.compile(
        r"(?:which|what) (?:drug|medicine|medication|tablet|antibiotic|one|of )[^?,]* "
        r"(?:stopped|discontinued|held|ceased|withdrawn)\b[^?,]{0,20}\?",
        re.IGNORECASE,
    ),
    "allergy": re.compile(r"(?:which|what)\b[^?,]*\b(?:allerg\w+)\b[^?,]{0,20}\?", re.IGNORECASE),
}
_ASKS_WHETHER = re.compile(
    r"\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)\b", re.IGNORECASE
)


def check(answer: str, note: str, question: str = "", decimal_comma: bool = False) -> list[CheckedClaim]:
    """Check every claim of an answer.

    Args:
        answer: the text whose claims are checked.
        note: what it may state.
        question: what was asked; the answer may repeat its facts, but not affirm what it asks for, and its words tell
            what a bare answer is about.
        decimal_comma: whether 0,125 is less than one in these texts.

    Returns:
        The claims in the order of the answer.
    """
    answer, note, question = (point_decimals(text, decimal_comma) for text in (answer, note, question))
    if asks_for_words(question):
        return [*check_words(answer, question)]
    whole, added = completed(answer, question)
    return [each.moved(-added) for each in _checked(whole, note, question) if each.claim.end > added]


def _checked(answer: str, note: str, question: str) -> list[CheckedClaim]:
    stated, source = read(answer), read(note)
    asked = read(question) if question else None
    of_drugs = [*check_drugs(stated, source, asked, _asked_status(question))]
    details = {each.claim[1:3] for each in of_drugs}
    checks = [
        *of_drugs,
        *check_routes(stated, source, details),
        *check_frequencies(stated, source, asked, details),
        *check_tests(stated, source),
        *check_ages(stated, source),
        *check_sex(stated, source),
        *check_dates(stated, source, asked),
        *check_findings(stated, source, _asks_for_family(question)),
        *check_sides(stated, source, asked),
        *check_relatives(stated, source, asked),
        *check_levels(stated, source),
        *check_of_others(stated, source, asked),
        *check_sites(stated, source, asked),
        *check_named_things(stated, source),
        *check_sided_values(stated, source),
        *check_results(stated, source),
        *check_done(stated, source),
        *check_changed(stated, source),
        *check_opposites(stated, source, asked),
        *check_benign(stated, source),
        *check_clock_times(stated, source),
        *check_weekdays(stated, source),
        *check_relative_times(stated, source),
        *check_titers(stated, source),
        *check_drug_classes(stated, source),
        *check_variants(stated, source),
        *check_changes(stated, source),
    ]
    if asked:
        checks += [*check_asked_values(stated, source, asked), *check_normal_results(stated, source, asked)]
        checks += check_asked_drugs(stated, source, asked)
        checks += [*check_asked_examinations(stated, source, asked), *check_asked_numbers(stated, source, asked)]
    covered = {(each.claim.start, each.claim.end) for each in checks}
    spans = [*(age[:2] for age in stated.ages), *_fractions(stated, source)]
    measured = {(v.start, v.end) for m in stated.measurements for v in m.values}
    checks += check_numbers(stated, source, asked, covered | measured, spans)
    checks = of_stated_time(checks, stated, source, asked)
    if asked:
        checks = of_asked_event(checks, stated, source, asked)
        checks += _of_bare_reply(answer, note, question, source)
        repeated = _stated(question)
        asks_whether = bool(_ASKS_WHETHER.match(question))
        checks = [
            each._replace(outcome="supported")
            if each.outcome == "not found" and each.claim.key in repeated
            and not ((asks_whether or each.claim.kind == "drug") and _affirmed(each.claim, stated))
            else each
            for each in checks
        ]  # fmt: skip
    cut = _cut_sentence(stated, source)
    kept = (each for each in checks if not _is_refused(each, stated) and not _is_cut(each, stated, cut))
    return sorted(kept, key=lambda each: each.claim[1:3])


def unsupported(answer: str, note: str, question: str = "", decimal_comma: bool = False) -> list[CheckedClaim]:
    """The claims of an answer that the note contradicts or does not contain; arguments as of `check`."""
    return [each for each in check(answer, note, question, decimal_comma) if each.outcome != "supported"]


def stated_claims(text: str, decimal_comma: bool = False) -> frozenset[tuple[str, str]]:
    """(kind, value) of every claim of a text, see `Claim`."""
    return _stated(point_decimals(text, decimal_comma))


def missing_claims(answer: str, reference: str, note: str, decimal_comma: bool = False) -> tuple[int, int]:
    """(missing, all) key claims of a reference answer: those that its note supports and an answer should hold too."""
    answer, reference, note = (point_decimals(text, decimal_comma) for text in (answer, reference, note))
    key = _key_claims(reference, note)
    return len(key - _stated(answer)), len(key)


@lru_cache(maxsize=64)
def _key_claims(reference: str, note: str) -> frozenset[tuple[str, str]]:
    """Claims of a reference answer that its note supports."""
    return frozenset(each.claim.key for each in check(reference, note) if each.outcome == "supported")


@lru_cache(maxsize=256)
def _stated(text: str) -> frozenset[tuple[str, str]]:
    """What a text states: the claims of its check against itself."""
    return frozenset(each.claim.key for each in check(text, text))


def _of_bare_reply(answer: str, note: str, question: str, source: Reading) -> Iterator[CheckedClaim]:
    """The claims of a bare "Yes." or "No."; a no is only held against what the note plainly has."""
    statement, word = as_statement(answer, question), _REPLY.search(answer)
    if not statement or not word:
        return
    is_bare = len(read(answer).words) <= _MOST_BARE  # what more it says may tell how it is meant
    for each in check(statement, note):
        if each.outcome == "not found" and not is_bare:
            continue
        if word[0].lower() in ("yes", "present") or (
            each.outcome == "contradicted" and each.evidence and _is_plain(each.evidence, source)
        ):
            yield each._replace(claim=each.claim._replace(start=word.start(), end=word.end()))


def _is_plain(evidence: tuple[int, int], source: Reading) -> bool:
    """Whether a note has what it names at a span now, for certain, and as no allergy or mere thought."""
    uncertain = source.is_suspected(source.word_at(evidence[0]))
    unsure = any(u.start == evidence[0] and u.status and u.status.value in ("open", "allergy") for u in source.drugs)
    return not (uncertain or unsure or is_past(source, *evidence))


def _is_refused(each: CheckedClaim, stated: Reading) -> bool:
    """Whether what the note denies is only named by a refusal: "Nothing in the note mentions operations"."""
    is_affirmed = each.claim.kind == "negation" and not each.claim.value.startswith("no ")
    if each.outcome != "contradicted" or not is_affirmed:
        return False
    return is_refusal(stated.text[slice(*stated.sentence_at(each.claim.start))])


def _fractions(stated: Reading, source: Reading) -> Iterator[tuple[int, int]]:
    """Spans of what an answer has as its note does, as 3/12, and which it may be read otherwise in: three months."""
    timed = [q for q in stated.quantities if q.dimension]
    for match in _FRACTION.finditer(stated.lower):
        is_time = any(match.start() <= q.start < match.end() for q in timed)
        if not is_time and re.search(rf"(?<![\d/.]){match[0]}(?![\d/])", source.lower):
            yield match.span()


def _cut_sentence(stated: Reading, source: Reading) -> int:
    """Where the last sentence of an answer begins that breaks off within a word or a number of the note, as at a limit
    of tokens; its length where it does not."""
    text, note = (" ".join(each.lower.split()) for each in (stated, source))
    end = text.rstrip(",")[-_TAIL:]
    if len(text) >= _LONG and any(_GOES_ON.match(note, m.end()) for m in re.finditer(re.escape(end), note)):
        return stated.sentence_at(len(stated.lower.rstrip()) - 1)[0]
    return len(stated.lower)


def _is_cut(each: CheckedClaim, stated: Reading, cut: int) -> bool:
    """Whether a claim of the sentence that is cut off may be otherwise in the whole of it."""
    if each.outcome == "supported" or each.claim.end <= cut:
        return False
    return each.claim.kind in _BY_WHAT_FOLLOWS or each.claim.end >= len(stated.lower.rstrip(" \n,."))


def _asks_for_family(question: str) -> bool:
    return bool(_FAMILY_ASKED.search(question) or RELATIVE.search(question.lower()))


def _asked_status(question: str) -> str:
    """What a question says of the drugs that it asks for: `active` where it asks for those of today alone, `stopped`,
    `allergy` or nothing."""
    for status, pattern in _ASKED_STATUS.items():
        if pattern.search(question):
            return status
    return "active" if _TAKEN.search(question) and not _NOT_TAKEN.search(question) else ""


def _affirmed(claim: Claim, stated: Reading) -> bool:
    """Whether an answer states a claim, and does not only say that it is not so or that the note does not tell."""
    of_claim = range(stated.word_at(claim.start), stated.word_at(claim.end))
    if any(stated.context.negated[i] or stated.context.uncertain[i] for i in of_claim):
        return False
    return not is_refusal(stated.text[slice(*stated.sentence_at(claim.start))])
