"""Wrong answers that reviewers flag: `flagged/<name>/<version>/<time>-<random>.json` in the adapter's store, with what
identifies a patient redacted, signed where a key is set."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import TypeAdapter

from clinadapt.data.duplicates import note_id
from clinadapt.data.text import clean
from clinadapt.errors import UserError
from clinadapt.feedback.records import STRICT, LeftOut, StoredRecord, Unusable, decode, encode, usable, validated
from clinadapt.privacy.screening import MARK
from clinadapt.privacy.written_texts import redacted
from clinadapt.storage import open_store

NONE_OF_THESE = "none of these"

# Faults of an answer to an instruction -> the text on the page
FAULTS = {
    "invented": "It states something that is not in the note",
    "wrong": "It misreads the note",
    "incomplete": "It leaves out something important",
    "should have refused": "It answers although the note does not contain the answer",
    "should not have refused": "It claims that the note does not contain the answer, but it does",
    "not followed": "It does not do what the instruction asks",
    "unreadable": "It is unreadable or cut off",
    "other": "Something else",
}

_ANSWER_TEXTS = ("instruction", "answer")
_LEFT_OUT = ("claims", "unsupported")  # words of the note and of the answer, which are in the record without them
LONGEST_TEXT = 4_000  # characters of a comment or a correction

NoteAndAnswer = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Flag:
    """An answer that a reviewer flagged, with what identifies a patient redacted.

    Attributes:
        key: of the record in the store.
        time: UTC, by the clock of the page.
        reviewer: None where the page did not know who it was.
        recipe: `classify` or `instruct`.
        note_id: hash of the note before identifiers were redacted.
        note: its text.
        instruction: empty in classify.
        answer: the text, or the predicted label.
        fault: one of FAULTS; None in classify.
        correction: the right answer or label; None where none was given, or none of the labels is right.
        comment: None where none was given.
        as_written: whether nothing was redacted in the answer, so that `answer` is what the model wrote.
    """

    __pydantic_config__ = STRICT
    key: str
    time: str
    reviewer: str | None
    recipe: Literal["classify", "instruct"]
    note_id: str
    note: str
    instruction: str
    answer: str
    fault: str | None
    correction: str | None
    comment: str | None
    as_written: bool


_FLAG = TypeAdapter(Flag)


def parse_flags(records: Mapping[str, StoredRecord], name: str, version: str, left_out: LeftOut) -> list[Flag]:
    """The flags of a version by key, from its records; those that do not count are counted in `left_out`."""
    flags = [records[key] for key in sorted(records) if key.startswith(f"flagged/{name}/{version}/")]
    return usable(flags, lambda record: record.parsed(_parse), left_out)


def _parse(key: str, data: bytes) -> Flag:
    content = decode(data, "flag")
    try:
        answer = content.pop("answer")
        if "/".join(answer["adapter"].split("/")[-2:]) != "/".join(key.split("/")[1:3]):
            raise Unusable("about something else")
        fields = {"key": key, "fault": None, "instruction": "", **content}
        if "label" in answer:
            return validated(_FLAG, fields | {"recipe": "classify", "answer": answer["label"], "as_written": True})
        texts = {name: answer[name] for name in _ANSWER_TEXTS}
        fields.setdefault("as_written", not MARK.search(texts["answer"]))  # earlier releases did not write it
        return validated(_FLAG, fields | texts | {"recipe": "instruct"})
    except (KeyError, TypeError, AttributeError) as error:
        raise Unusable("broken") from error


def flag_label(answered: NoteAndAnswer | None, correction: str | None, comment: str, reviewer: str | None) -> str:
    """Store a wrong label, with its note, in the store of the adapter that predicted it.

    Args:
        answered: the note and the answer of ClassifyService; None if nothing has been answered.
        correction: the right label, or NONE_OF_THESE (stored as null).
        comment: of the reviewer; may be empty.
        reviewer: name of the user who is logged in.

    Returns:
        The URI of the record.

    Raises:
        UserError: there is no answer or no correction, the correction is the answer, or the store cannot be written to.
    """
    note, answer = _require_answer(answered)
    if not correction:
        raise UserError("choose what it should be")
    label = None if correction == NONE_OF_THESE else correction
    if label is not None and label == answer.get("label"):
        raise UserError("that is the label that the adapter predicted: choose another one")
    return _store(note, answer, reviewer, {"correction": label, "comment": _limited(comment, "comment")})


def flag_answer(
    answered: NoteAndAnswer | None, fault: str | None, correction: str, comment: str, reviewer: str | None
) -> str:
    """Store a wrong answer to an instruction, with its note, in the store of the adapter that wrote it.

    Args:
        answered: the note and the answer of InstructService; None if nothing has been answered.
        fault: a key of FAULTS.
        correction: what the answer should have been; may be empty (stored as null).
        comment: of the reviewer; may be empty.
        reviewer: name of the user who is logged in.

    Returns:
        The URI of the record.

    Raises:
        UserError: there is no answer or no fault, the correction is longer than the note or the answer itself, or the
            store cannot be written to.
    """
    note, answer = _require_answer(answered)
    if not fault:
        raise UserError("choose what is wrong")
    texts = {"correction": _limited(correction, "correction"), "comment": _limited(comment, "comment")}
    if len(texts["correction"] or "") > len(note):
        raise UserError("the correction is longer than the note: shorten it")
    if texts["correction"] and clean(texts["correction"]) == clean(str(answer.get("answer"))):
        raise UserError("the correction is the answer itself: change it, or leave it out")
    return _store(note, answer, reviewer, {"fault": fault, **texts})


def _require_answer(answered: NoteAndAnswer | None) -> NoteAndAnswer:
    if answered is None:
        raise UserError("there is no answer to flag: submit a note first")
    return answered


def _limited(text: str, what: str) -> str | None:
    """A reviewer's text; None where it is empty. Raises UserError where it is too long."""
    if len(text) > LONGEST_TEXT:
        raise UserError(f"the {what} has more than {LONGEST_TEXT:,} characters: shorten it")
    return text.strip() or None


def _store(note: str, answer: dict[str, Any], reviewer: str | None, review: dict[str, Any]) -> str:
    now = datetime.now(UTC)
    written = [name for name in ("comment", "correction") if review[name] and (name == "comment" or "fault" in review)]
    texts = [note, *(answer[name] for name in _ANSWER_TEXTS if name in answer), *(review[name] for name in written)]
    screened = dict(zip(texts, redacted(texts), strict=True))
    shown = {name: value for name, value in answer.items() if name not in _LEFT_OUT}
    record = {
        "time": now.isoformat(timespec="seconds"),
        "reviewer": reviewer,
        "note_id": note_id(note),
        "note": screened[note],
        "answer": shown | {name: screened[answer[name]] for name in _ANSWER_TEXTS if name in answer},
        **review,
        **{name: screened[review[name]] for name in written},
    }
    if "answer" in answer:
        record["as_written"] = screened[answer["answer"]] == answer["answer"]
    root, _, version = answer["adapter"].rpartition("/adapters/")
    key = f"flagged/{version}/{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.json"
    open_store(root).put(key, encode(record, "flag"))
    return f"{root}/{key}"
