"""Corrections of people as rows of a dataset, validated like the rows of any other source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinadapt.clinical.number_format import DecimalCounts
from clinadapt.clinical.refusals import is_refusal
from clinadapt.config.feedback import Feedback
from clinadapt.config.instruct import Source
from clinadapt.config.origin import ORIGIN
from clinadapt.feedback.corrections import Correction, Corrections, read_corrections
from clinadapt.feedback.flags import LONGEST_TEXT
from clinadapt.privacy.written_texts import redacted_anew
from components.download.validation import InvalidRow, validate_text

OTHER_LABEL = "a label that the data does not have"
_LONGEST = 2 * LONGEST_TEXT  # characters: redacting makes a text longer
_NO_ORIGIN = (None,) * len(ORIGIN)  # no judgement names the patient
Row = tuple[Any, ...]


@dataclass
class FeedbackRows:
    """Corrections as rows, each in the order of its schema.

    Attributes:
        triples, preferences, records: of TRIPLES, PREFERENCES and CORRECTIONS (instruct).
        labels: of CORRECTED_LABELS (classify).
        quarantine: (row, reason) of corrections that cannot be used.
        decimal_comma: whether numbers have a decimal comma.
        summary: for the manifest: agree, judged, corrections, and left_out and quarantined by reason.
    """

    triples: list[Row] = field(default_factory=list)
    preferences: list[Row] = field(default_factory=list)
    records: list[Row] = field(default_factory=list)
    labels: list[Row] = field(default_factory=list)
    quarantine: list[tuple[int, str]] = field(default_factory=list)
    decimal_comma: bool = False
    summary: dict[str, Any] = field(default_factory=dict)


def corrected_answers(number: int, source: Source, longest_note: int) -> FeedbackRows:
    """Read a source of kind feedback.

    Args:
        number: of the source.
        source: of the profile.
        longest_note: characters of a note.

    Raises:
        UserError: the store cannot be read.
    """
    read = read_corrections(source.uri, "instruct", source.agree)
    rows, decimals = FeedbackRows(), DecimalCounts()

    def parse(correction: Correction) -> None:
        note, instruction, answer = _texts(correction, longest_note)
        place = (number, correction.row)
        wrong = {validate_text(text, "judged answer", longest_note, may_be_empty=True) for text in correction.rejected}
        fields: Row = (source.task, not is_refusal(answer), "none", [], source.withheld, None)
        rows.triples.append((*place, note, instruction, answer, *fields, *_NO_ORIGIN))
        rejected = sorted(wrong - {"", answer})
        rows.preferences.extend((*place, note, instruction, answer, text, *_NO_ORIGIN) for text in rejected)
        rows.records.append((*place, correction.note_id, correction.kind, correction.held_out))

    rows.quarantine = _each(read.corrections, parse)
    rows.summary = _summary(source.agree, read, rows.quarantine)
    for triple in rows.triples:
        decimals = decimals.plus(triple[2:5])
    rows.decimal_comma = decimals.decimal_comma if source.decimal == "auto" else source.decimal == "comma"
    return rows


def corrected_labels(feedback: Feedback, labels: Collection[str], longest_note: int) -> FeedbackRows:
    """Read corrected labels, as `corrected_answers`.

    Args:
        feedback: of the profile.
        labels: of the dataset.
        longest_note: characters of a note.
    """
    read = read_corrections(feedback.uri, "classify", feedback.agree)
    rows = FeedbackRows()

    def parse(correction: Correction) -> None:
        note, label = validate_text(correction.note, "text", longest_note), correction.answer
        if label not in labels:
            raise InvalidRow(OTHER_LABEL)
        about = (correction.note_id, correction.kind, correction.held_out)
        rows.labels.append((correction.row, note, label, *_NO_ORIGIN, *about))

    rows.quarantine = _each(read.corrections, parse)
    rows.summary = _summary(feedback.agree, read, rows.quarantine)
    return rows


def _texts(correction: Correction, longest_note: int) -> tuple[str, str, str]:
    """Note, instruction and right answer. Raises InvalidRow."""
    note = validate_text(correction.note, "note", longest_note)
    instruction = validate_text(correction.instruction, "instruction", _LONGEST)
    answer = validate_text(correction.answer, "correction", _LONGEST)
    if len(answer) > len(note):
        raise InvalidRow("correction longer than the note")
    if redacted_anew(answer, f"{note} {instruction}"):
        raise InvalidRow("correction in which something was redacted that its note does not have")
    return note, instruction, answer


def _each(corrections: Sequence[Correction], parse: Callable[[Correction], None]) -> list[tuple[int, str]]:
    """Parse all; returns row and reason of those that cannot be used."""
    quarantine = []
    for correction in corrections:
        try:
            parse(correction)
        except InvalidRow as error:
            quarantine.append((correction.row, str(error)))
    return quarantine


def _summary(agree: int, read: Corrections, quarantine: Sequence[tuple[int, str]]) -> dict[str, Any]:
    reasons = Counter(read.quarantined) + Counter(reason for _, reason in quarantine)
    return {
        "agree": agree,
        "judged": read.judged,
        "corrections": len(read.corrections) - len(quarantine),
        "left_out": read.left_out,
        "quarantined": dict(reasons.most_common()),
    }
