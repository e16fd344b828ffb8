"""Yes-or-no questions about symptoms that the note clearly reports or denies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinadapt.clinical.lexicon import load_lexicon
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_mentioned

MAX_TRIPLES = 3
_DENIAL = re.compile(
    r"\b(?:(?P<denies>den(?:ies|ied|ying))(?: any| having(?: had)?(?: any)?)?|"
    r"(?:has|have|had|with|without|is|was|and|or|nor|there)?,? ?\bno|without|nil|negative for|not had any)\b"
    r"(?P<between>[^.;:\n]{0,120}?)$",
    re.IGNORECASE,
)
_NOT_LISTED = re.compile(
    r"\b(?:but|however|except|although|other than|has|had|have|is|was|were|are|complain\w*|report\w*|history|change|"
    r"worsening|longer|further|new|improvement|relief|reason|evidence|increase\w*|decrease\w*|associated|significant|"
    r"recent|more|acute|known|family|if|when|until|since|because|due|to|for|of|by|on|with|reduc\w*|response|issue\w*|"
    r"severe|similar|previous|prior|episode\w*|recurren\w*|gross|frank|overt|marked)\b|/",
    re.IGNORECASE,
)
_REPORT = re.compile(
    r"\b(?:complain(?:s|ed|ing)? of|present(?:s|ed|ing)?(?: today)? with|c/o|report(?:s|ed)|admits to|"
    r"suffer(?:s|ed|ing) from)"
    r"(?: (?:a|an|some|increasing|worsening|severe|mild|intermittent|constant|persistent|acute|sudden|new|his|"
    r"her)){0,2} $",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(
    r"\b(?:mother|father|brother|sister|wife|husband|son|daughter|family|if|should|return|call|risks?|possib\w*|may|"
    r"might|could|in case|avoid|prevent|side effects?|in the past|previous\w*|resolved|used to|any|will|would)\b",
    re.IGNORECASE,
)
_PLURAL = re.compile("s$(?<!ss)(?<!is)")
_OVERALL = (
    r"review of systems|\bros\b|systems?[^.]{0,40}negative|asymptomatic|no (?:other |further |"
    r"new )?(?:symptom|complain|"
    r"concern|problem)|negative for|otherwise (?:well|negative|healthy)|constitutional"
)


def symptom_questions(note: ParsedNote, task: str) -> Iterator[Triple]:
    """Whether the patient has a symptom, where every mention of it in the note says the same."""
    answers = []
    for name, any_word in _symptom_patterns().values():
        mention = name.search(note.text)
        if not mention:
            continue
        symptom = mention[0].lower()
        if not (found := _answer(note, symptom, mention)):
            continue
        if any(not mention.start() <= other.start() < mention.end() for other in any_word.finditer(note.text)):
            continue
        answers.append((symptom, any_word, *found))
    note.rng.shuffle(answers)
    for symptom, any_word, answer, span in answers[:MAX_TRIPLES]:
        yield Triple(
            note.choose(
                f"Does the patient have {symptom}?",
                f"Has the patient had {symptom}?",
                f"{'Are' if _PLURAL.search(symptom) else 'Is'} there any {symptom}?",
                f"Does the note report {symptom}?",
            ),
            answer,
            task,
            check="exact",
            spans=(span,),
            subject=Subject(
                f"{any_word.pattern}|{_OVERALL}",
                (*not_mentioned(symptom), f"The note does not say whether the patient has {symptom}."),
            ),
        )


def _answer(note: ParsedNote, symptom: str, mention: re.Match[str]) -> tuple[str, tuple[int, int]] | None:
    """The answer and the sentence that supports it; None in doubt."""
    start, end = mention.span()
    span = next(((first, last) for first, last in note.sentences if first <= start < last), None)
    if not span:
        return None
    sentence, before = note.text[span[0] : span[1]], note.text[span[0] : start]
    if _ELSEWHERE.search(sentence.replace("denies any", "")) or ":" in sentence:
        return None
    denial = _DENIAL.search(before)
    if (
        denial
        and not _NOT_LISTED.search(denial["between"])
        and re.match(r"[.,;]| or | and |$", note.text[end : end + 5])
    ):
        return f"No, the patient {'denies' if denial['denies'] else 'has no'} {symptom}.", span
    if _REPORT.search(before) and not re.search(r"\b(?:no|not|den\w+|without|never)\b", sentence):
        return f"Yes, the note reports {symptom}.", span
    return None


def _spellings(symptom: str) -> str:
    """The American and the British spelling: `diarrhea`, `haemoptysis`."""
    return symptom.replace("hem", "ha?em").replace("rrhea", "rrho?ea")


@cache
def _symptom_patterns() -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    """Symptom -> pattern of its name (also in the plural), and of all words in which a note may speak of it."""
    return {
        symptom: (
            re.compile(rf"\b{_spellings(symptom)}s?\b", re.IGNORECASE),
            re.compile(words, re.IGNORECASE),
        )
        for symptom, words in load_lexicon("symptoms.yaml").items()
    }
