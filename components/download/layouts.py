"""A row of a source in any of the layouts that instruct takes -> a row of its table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from clinadapt.config.instruct import Examples, Kind, Source
from clinadapt.data.readers import Row
from clinadapt.data.schemas.instruct import PREFERENCES, TASKS, TEXTS, TRIPLES
from components.download.validation import Unusable, usable_text

SCHEMAS: dict[str, pa.Schema] = {"texts": TEXTS, "triples": TRIPLES, "preferences": PREFERENCES}
Values = tuple[Any, ...]  # of a row of a table, after its origin
_TASKS = {task.lower(): task for task in TASKS}


def table_of(kind: Kind) -> str:
    """The table that a source's rows go to, one of SCHEMAS."""
    return {"cases": "texts", "notes": "texts", "preferences": "preferences"}.get(kind, "triples")


def values(row: Row, source: Source, settings: Examples) -> Values:
    """What a row says, in the order of its table's schema. Raises Unusable."""
    if isinstance(row, str):
        raise Unusable(row)
    return _KINDS[source.kind](_Reader(row, source, settings))


class _Reader:
    """A row of a source, field by field."""

    def __init__(self, row: dict[str, Any], source: Source, settings: Examples) -> None:
        self.row, self.source, self.settings = row, source, settings

    def text(self, field: str, may_be_empty: bool = False) -> str:
        """The cleaned text of one of our fields. Raises Unusable."""
        column = self.source.column(field)
        if column not in self.row and not may_be_empty:
            raise Unusable(f"no column '{column}'")
        return self.checked(self.row.get(column), field, may_be_empty)

    def checked(self, text: Any, field: str, may_be_empty: bool = False) -> str:
        return usable_text(text, field, self.settings.max_note_characters, may_be_empty)

    def triple(self, note: str, instruction: str, answer: str, task: str) -> Values:
        return note, instruction, answer, task, True, "none", [], self.source.private


def _text(row: _Reader) -> Values:
    description = row.text("description", may_be_empty=True) or None
    return row.source.kind, row.text("text"), description, row.source.private


def _triple(row: _Reader) -> Values:
    task = _TASKS.get(row.text("task").lower())
    if task is None:
        raise Unusable("unknown task")
    return row.triple(row.text("note"), row.text("instruction"), row.text("answer"), task)


def _alpaca(row: _Reader) -> Values:
    note = row.text("note", may_be_empty=True)
    return row.triple(note, row.text("instruction"), row.text("answer"), row.source.task)


def _chat(row: _Reader) -> Values:
    """The user's turns are the instruction, whatever note they hold; our own system message replaces theirs."""
    turns = list(_turns(row))
    if turns and turns[0][0] == "system":
        turns = turns[1:]
    *users, last = turns or [("", "")]
    if last[0] != "assistant" or not users or any(role != "user" for role, _ in users):
        raise Unusable("not user messages and then one of the assistant")
    instruction = "\n\n".join(row.checked(content, "instruction") for _, content in users)
    return row.triple("", row.checked(instruction, "instruction"), row.checked(last[1], "answer"), row.source.task)


def _turns(row: _Reader) -> Iterator[tuple[str, Any]]:
    column = row.source.column("messages")
    if column not in row.row:
        raise Unusable(f"no column '{column}'")
    messages = row.row[column]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Unusable("messages is not a list of role and content")
    for message in messages:
        yield str(message.get("role")), message.get("content")


def _pair(row: _Reader) -> Values:
    def fill(slot: re.Match[str]) -> str:
        if slot[1] not in row.row:
            raise Unusable(f"no column '{slot[1]}'")
        return row.checked(row.row[slot[1]], slot[1])

    instruction = re.sub(r"\{([^{}]+)\}", fill, row.source.instruction)
    return row.triple(row.text("note"), instruction, row.text("answer"), row.source.task)


def _preference(row: _Reader) -> Values:
    chosen, rejected = row.text("chosen"), row.text("rejected")
    if chosen == rejected:
        raise Unusable("two equal answers")
    return row.text("note", may_be_empty=True), row.text("instruction"), chosen, rejected


_KINDS: dict[Kind, Callable[[_Reader], Values]] = {
    "cases": _text,
    "notes": _text,
    "triples": _triple,
    "chat": _chat,
    "alpaca": _alpaca,
    "pairs": _pair,
    "preferences": _preference,
}
