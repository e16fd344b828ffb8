"""A case as HTML: the note, the answer word by word, why it is risky, and the form that queue.js turns into a mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape

from clinadapt.clinical.claims import check
from clinadapt.clinical.number_format import DecimalCounts
from clinadapt.feedback.cases import Case, Reason
from clinadapt.feedback.flags import FAULTS, NONE_OF_THESE
from clinadapt.feedback.marks import Mark

_WORD = re.compile(r"\S+")
VERDICTS = {"right": "Right", "wrong": "Wrong", "unsafe": "Unsafe"}
KEYS = {
    "R W U": "right, wrong, unsafe",
    "← →": "to a word of the answer",
    "Space": "mark it as wrong",
    "C": "correction",
    "Enter": "save",
    "S": "skip",
    "Esc": "leave a field",
}


def case_form(
    case: Case, heading: str, labels: Sequence[str], marks: Sequence[Mark] = (), editable: bool = True
) -> str:
    """A case with the form to judge it.

    Args:
        case: to judge.
        heading: a line above it.
        labels: of a classifier.
        marks: of others, shown to who settles a disagreement.
        editable: False without the form.
    """
    evidence, doubtful = checked_claims(case)
    asked = f"<h3>Question</h3><p>{escape(case.instruction)}</p>" if case.instruction else ""
    answer = _words(case.answer, doubtful) if case.recipe == "instruct" else escape(case.answer)
    return (
        f'<div class="case" data-case="{escape(case.case)}" data-content="{escape(case.content)}">'
        f'<p class="case-heading" role="status">{escape(heading)}</p><div class="case-columns">'
        f'<section class="case-note" tabindex="0" aria-label="Note"><h3>Note</h3><p>{_marked(case.note, evidence)}</p>'
        f'</section><section class="case-answer">{_reasons(case.reasons)}{asked}<h3>Answer</h3>'
        f'<p class="case-words">{answer}</p>{"".join(_mark(case, mark) for mark in marks)}'
        f"{_form(case, labels) if editable else ''}</section></div>{_keys() if editable else ''}</div>"
    )


@lru_cache(maxsize=1024)  # many reviewers are shown the same case
def checked_claims(case: Case) -> tuple[list[tuple[int, int]], dict[tuple[int, int], str]]:
    """Spans of the note that the answer's claims rest on, and spans of the answer that are contradicted or not found,
    with the one or the other."""
    if case.recipe == "classify":
        return [], {}
    comma = DecimalCounts().plus([case.note]).decimal_comma
    checked = check(case.answer, case.note, case.instruction, comma)
    doubtful = {(each.claim.start, each.claim.end): each.outcome for each in checked if each.outcome != "supported"}
    return [each.evidence for each in checked if each.evidence], dict(doubtful)


def _marked(note: str, spans: Iterable[tuple[int, int]]) -> str:
    """The note with spans highlighted; those that overlap another are left out."""
    parts, end = [], 0
    for start, stop in sorted(spans):
        if start >= end:
            parts += [escape(note[end:start]), f"<mark>{escape(note[start:stop])}</mark>"]
            end = stop
    return "".join([*parts, escape(note[end:])])


def _words(answer: str, doubtful: dict[tuple[int, int], str]) -> str:
    """The answer with an element for each word, that has its place in characters and, where its claim is doubtful, a
    class that says so."""
    parts, end = [], 0
    for match in _WORD.finditer(answer):
        outcomes = {how for (start, stop), how in doubtful.items() if start < match.end() and match.start() < stop}
        classes = " ".join(["word", *sorted(outcome.replace(" ", "-") for outcome in outcomes)])
        word = f'<span class="{classes}" data-start="{match.start()}" data-end="{match.end()}">'
        parts += [escape(answer[end : match.start()]), word, escape(match[0]), "</span>"]
        end = match.end()
    return "".join(parts) or "<em>(empty)</em>"


def _reasons(reasons: Sequence[Reason]) -> str:
    listed = "".join(f"<li>{escape(reason_words(reason))}</li>" for reason in reasons)
    return f'<ul class="case-reasons">{listed or "<li>drawn at random</li>"}</ul>'


def reason_words(reason: Reason) -> str:
    """Why an answer is risky, in words."""
    number = f"{reason.value:.0f}"
    return {
        "flagged": f"flagged by {number}",
        "contradicted": f"contradicts the note ({number})",
        "not found": f"not in the note ({number})",
        "refused": "refuses a question that the note may answer",
        "not refused": "answers a question that the note may not answer",
        "champion": "differs from the champion",
        "margin": f"close call (margin {reason.value:.2f})",
    }.get(reason.kind, reason.kind)


def _mark(case: Case, mark: Mark) -> str:
    """What a reviewer said, for who settles a disagreement."""
    said = [
        "wrong words: " + ", ".join(f"“{case.answer[start:end]}”" for start, end in mark.spans) if mark.spans else "",
        f"should be: {mark.correction}" if mark.correction else "",
        FAULTS.get(mark.fault or "", ""),
        mark.comment or "",
    ]
    lines = "".join(f"<br>{escape(line)}" for line in said if line)
    return (
        f'<p class="case-mark {mark.verdict}"><strong>{escape(mark.reviewer)}: '
        f"{VERDICTS[mark.verdict].lower()}</strong>{lines}</p>"
    )


def _form(case: Case, labels: Sequence[str]) -> str:
    buttons = "".join(
        f'<button type="button" data-verdict="{name}" aria-pressed="false">{title} <kbd>{title[0]}</kbd></button>'
        for name, title in VERDICTS.items()
    )
    if case.recipe == "classify":
        options = "".join(f"<option>{escape(label)}</option>" for label in labels if label != case.answer)
        none = f'<option value="">{escape(NONE_OF_THESE)}</option>'
        correction = f'<select name="correction" aria-label="Right label">{none}{options}</select>'
        fault = ""
    else:
        correction = (
            '<textarea name="correction" rows="2" aria-label="Right answer" spellcheck="false" autocomplete="off">'
            "</textarea>"
        )
        faults = "".join(f'<option value="{escape(key)}">{escape(words)}</option>' for key, words in FAULTS.items())
        fault = f'<label>Fault (optional) <select name="fault"><option value=""></option>{faults}</select></label>'
    return (
        f'<div class="case-verdicts" role="group" aria-label="Verdict">{buttons}</div>'
        f"<label>What it should be <kbd>C</kbd> {correction}</label>{fault}"
        '<label>Comment (optional) <input name="comment" spellcheck="false" autocomplete="off"></label>'
        '<div class="case-buttons"><button type="button" data-do="skip">Skip <kbd>S</kbd></button>'
        '<button type="button" data-do="save" class="case-save">Save <kbd>Enter</kbd></button></div>'
    )


def _keys() -> str:
    listed = "".join(f"<span><kbd>{escape(key)}</kbd> {escape(words)}</span>" for key, words in KEYS.items())
    return f'<p class="case-keys">{listed}<span>Shift+Enter a new line</span></p>'
