"""Answers that a reviewer finds wrong: `flagged/<name>/<version>/<time>-<random>.json` in the adapter's store."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from components.common.errors import UserError
from components.common.store import open_store

NONE_OF_THESE = "none of these"

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
    if asked is None:
        raise UserError("there is no answer to flag: submit a note first")
    if not correction:
        raise UserError("choose what it should be")
    note, answer = asked
    now = datetime.now(UTC)
    record = {
        "time": now.isoformat(timespec="seconds"),
        "reviewer": reviewer,
        "note": note,
        "answer": answer,
        "correction": None if correction == NONE_OF_THESE else correction,
        "comment": comment.strip() or None,
    }
    root, _, version = answer["adapter"].rpartition("/adapters/")
    key = f"flagged/{version}/{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.json"
    open_store(root).put(key, json.dumps(record, indent=2, ensure_ascii=False).encode())
    return f"{root}/{key}"
