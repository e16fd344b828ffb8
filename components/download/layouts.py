"""The layouts of source rows that instruct reads. LAYOUTS lists them by the `kind` of a source.

To add a layout, add its kind and columns to `clinadapt.config.instruct` (Kind, COLUMNS), and its parser to LAYOUTS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from clinadapt.clinical.refusals import is_refusal
from clinadapt.config.instruct import COLUMNS, SPECIALTY_COLUMNS, Examples, Kind, Source
from clinadapt.data.schemas.instruct import PREFERENCES, TASKS, TEXTS, TRIPLES
from components.download.validation import InvalidRow, validate_text

TABLES: dict[str, pa.Schema] = {"texts": TEXTS, "triples": TRIPLES, "preferences": PREFERENCES}
Values = tuple[Any, ...]  # fields of a row of a table, in the order of its schema, without source and row
# Fields of a message, beside role and content, that hold text in the forms of today's servers
_LOST = ("reasoning_content", "reasoning", "thinking", "refusal", "tool_calls", "function_call")
# Columns of a chat, or of instructions, that hold a part of the conversation
_LOST_COLUMNS = ("system", "history", "tools", "functions", "documents", "context", "thinking", "reasoning")
_ROLES = {"human": "user", "gpt": "assistant"}  # of ShareGPT, whose messages have `from` and `value`
_LONGEST_SPECIALTY = 60  # characters
_TASKS = {task.lower(): task for task in TASKS}


def parse_row(row: dict[str, Any], source: Source, settings: Examples) -> Values:
    """Parse a row in the layout of its source. Raises InvalidRow."""
    return LAYOUTS[source.kind].parse(_Fields(row, source, settings.max_note_characters))


@dataclass(frozen=True)
class _Fields:
    """A row of a source, read field by field."""

    row: dict[str, Any]
    source: Source
    max_characters: int

    def text(self, field: str, may_be_empty: bool = False) -> str:
        """The cleaned text of one of the fields in COLUMNS. Raises InvalidRow."""
        column = self.source.column(field)
        if column not in self.row and not may_be_empty:
            raise InvalidRow(f"no column '{column}'")
        return self.validate(self.row.get(column), field, may_be_empty)

    def column(self, column: str) -> Any:
        """The value of a column of the source. Raises InvalidRow."""
        if column not in self.row:
            raise InvalidRow(f"no column '{column}'")
        return self.row[column]

    def refuse_lost(self) -> None:
        """Refuse a part of the conversation in a column that this layout does not carry over. Raises InvalidRow."""
        used = self.source.columns.values()
        for name in _LOST_COLUMNS:
            if name not in used and self.row.get(name):
                raise InvalidRow(f"a row has {name}, which this layout does not carry over")

    def validate(self, text: Any, field: str, may_be_empty: bool = False) -> str:
        return validate_text(text, field, self.max_characters, may_be_empty)

    def triple(self, note_text: str, instruction: str, answer: str, task: str) -> Values:
        answerable = not is_refusal(answer)
        return note_text, instruction, answer, task, answerable, "none", [], self.source.withheld, self.specialty()

    def specialty(self) -> str | None:
        """The specialty of the note; None where the row does not tell, or has a text that is too long for one."""
        named = self.source.columns.get("specialty")
        columns = (named,) if named is not None else SPECIALTY_COLUMNS
        value = next((self.row[column] for column in columns if column in self.row), None)
        text = " ".join(value.split()) if isinstance(value, str) else ""
        return text if 0 < len(text) <= _LONGEST_SPECIALTY else None


def _text(fields: _Fields) -> Values:
    description = fields.text("description", may_be_empty=True) or None
    return fields.source.kind, fields.text("text"), description, fields.source.withheld, fields.specialty()


def _triple(fields: _Fields) -> Values:
    task: str | None = fields.source.task
    if (column := fields.source.column("task")) in fields.row or column != COLUMNS["triples"]["task"]:
        task = _TASKS.get(fields.text("task").lower())
    if task is None:
        raise InvalidRow(f"unknown task: use {', '.join(TASKS[:-1])} or {TASKS[-1]}")
    return fields.triple(fields.text("note"), fields.text("instruction"), fields.text("answer"), task)


def _alpaca(fields: _Fields) -> Values:
    fields.refuse_lost()
    note = fields.text("note", may_be_empty=True)
    return fields.triple(note, fields.text("instruction"), fields.text("answer"), fields.source.task)


def _chat(fields: _Fields) -> Values:
    """What the assistant answers to becomes the instruction, with any note: the user's messages and, before them, the
    system's, which may hold the note."""
    fields.refuse_lost()
    turns = list(_turns(fields))
    *asked, last = turns or [("", "")]
    users = asked[1:] if asked and asked[0][0] in ("system", "developer") else asked
    if last[0] != "assistant" or not users or any(role != "user" for role, _ in users):
        raise InvalidRow("not user messages followed by one assistant message")
    texts = [fields.validate(content, "instruction", may_be_empty=role != "user") for role, content in asked]
    instruction = "\n\n".join(text for text in texts if text)
    instruction, answer = fields.validate(instruction, "instruction"), fields.validate(last[1], "answer")
    return fields.triple("", instruction, answer, fields.source.task)


def _turns(fields: _Fields) -> Iterator[tuple[str, Any]]:
    messages = fields.column(fields.source.column("messages"))
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InvalidRow("messages is not a list of role and content")
    for message in messages:
        for name in _LOST:
            if message.get(name):
                raise InvalidRow(f"a message has {name}, which this layout does not carry over")
        role, content = (message[names[0]] if names[0] in message else message.get(names[1])
                         for names in (("role", "from"), ("content", "value")))  # fmt: skip
        yield _ROLES.get(str(role), str(role)), _joined(content)


def _joined(content: Any) -> Any:
    """The text of a message, also of one that is a list of parts. Raises InvalidRow where a part is no text."""
    if not isinstance(content, list):
        return content
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        raise InvalidRow("a message has a part that is no text")
    return "\n".join(str(part.get("text") or "") for part in content)


def _pair(fields: _Fields) -> Values:
    def fill(slot: re.Match[str]) -> str:
        return fields.validate(fields.column(slot[1]), slot[1])

    instruction = re.sub(r"\{([^{}]+)\}", fill, fields.source.instruction)
    return fields.triple(fields.text("note"), instruction, fields.text("answer"), fields.source.task)


def _preference(fields: _Fields) -> Values:
    chosen, rejected = fields.text("chosen"), fields.text("rejected")
    if chosen == rejected:
        raise InvalidRow("two equal answers")
    return fields.text("note", may_be_empty=True), fields.text("instruction"), chosen, rejected


@dataclass(frozen=True)
class Layout:
    """The table that rows of a layout go to, one of TABLES, and the parser of a row."""

    table: str
    parse: Callable[[_Fields], Values]

    @property
    def schema(self) -> pa.Schema:
        """The schema of `table`."""
        return TABLES[self.table]


LAYOUTS: dict[Kind, Layout] = {
    "cases": Layout("texts", _text),
    "notes": Layout("texts", _text),
    "triples": Layout("triples", _triple),
    "chat": Layout("triples", _chat),
    "alpaca": Layout("triples", _alpaca),
    "pairs": Layout("triples", _pair),
    "preferences": Layout("preferences", _preference),
}
