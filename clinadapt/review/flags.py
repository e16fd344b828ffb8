"""Answers that a reviewer finds wrong: `flagged/<name>/<version>/<time>-<random>.json` in the adapter's store."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from clinadapt.errors import UserError
from clinadapt.storage import open_store

NONE_OF_THESE = "none of these"

# What can be wrong with an answer to an instruction -> as a reviewer reads it
FAULTS = {
    "invented": "It says what the note does not say",
    "wrong": "It misreads the note",
    "incomplete": "It leaves out what matters",
    "should have refused": "It answers what the note cannot answer",
    "should not have refused": "It says that the note does not tell, but the note does",
    "not followed": "It does not do what was asked",
    "unreadable": "It cannot be read or was cut off",
    "other": "Something else",
}

Asked = tuple[str, dict[str, Any]]  # a note and its answer


def flag(asked: Asked | None, correction: str | None, comment: str, reviewer: str | None) -> str:
    """Store an answer that a reviewer finds wrong, with its note, in the store of the adapter that gave it.

    Args:
        asked: the note and its answer.
        correction: the right label, or NONE_OF_THESE (stored as null).
        reviewer: the name of the user who is logged in.

    Returns:
        The URI of the object.

    Raises:
        UserError: there is no answer or no correction, or the store cannot be written to.
    """
    note, answer = _given(asked)
    if not correction:
        raise UserError("choose what it should be")
    right = None if correction == NONE_OF_THESE else correction
    return _store(note, answer, reviewer, {"correction": right, "comment": comment.strip() or None})


def flag_instructed(asked: Asked | None, fault: str | None, correction: str, comment: str, reviewer: str | None) -> str:
    """The same of an answer to an instruction.

    Args:
        fault: one of FAULTS.
        correction: what the answer should have been; empty (stored as null) where the reviewer does not say.

    Raises:
        UserError: there is no answer or no fault, or the store cannot be written to.
    """
    note, answer = _given(asked)
    if not fault:
        raise UserError("choose what is wrong")
    said = {"correction": correction.strip() or None, "comment": comment.strip() or None}
    return _store(note, answer, reviewer, {"fault": fault, **said})


def _given(asked: Asked | None) -> Asked:
    if asked is None:
        raise UserError("there is no answer to flag: submit a note first")
    return asked


def _store(note: str, answer: dict[str, Any], reviewer: str | None, verdict: dict[str, Any]) -> str:
    now = datetime.now(UTC)
    record = {
        "time": now.isoformat(timespec="seconds"),
        "reviewer": reviewer,
        "note": note,
        "answer": answer,
        **verdict,
    }
    root, _, version = answer["adapter"].rpartition("/adapters/")
    key = f"flagged/{version}/{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.json"
    open_store(root).put(key, json.dumps(record, indent=2, ensure_ascii=False).encode())
    return f"{root}/{key}"
