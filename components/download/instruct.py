"""Texts, ready-made triples and preference pairs of any layout -> three Parquet tables, with a manifest and a
quarantine list."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.common.dataset import TableWriter, clean, new_folder, open_tables
from components.common.errors import UserError
from components.common.instruct_recipe import Examples, Source
from components.common.provenance import write_manifest
from components.common.readers import column_names
from components.common.sources import digest, shown
from components.common.triples import PREFERENCES, TASKS, TEXTS, TRIPLES
from components.download.sources import rows as source_rows

TABLES = {"texts": TEXTS, "triples": TRIPLES, "preferences": PREFERENCES}
_TASKS = {task.lower(): task for task in TASKS}


class Unusable(Exception):
    """A row that is quarantined; says why, without its text."""


def run(sources: list[Source], output: Path, settings: Examples) -> dict[str, Any]:
    """Write texts, triples and preferences.parquet (schemas TEXTS, TRIPLES, PREFERENCES), quarantine.csv (source, row,
    reason) and the manifest; return the manifest. A note or case that was there before is left out and counted
    (`repeated`): MTSamples lists the same note under several specialties.

    Raises:
        UserError: a source cannot be read, or none of its rows can be used.
    """
    listed = []
    seen: set[bytes] = set()
    with new_folder(output):
        with (
            open_tables(output, **TABLES) as tables,
            (output / "quarantine.csv").open("w", newline="", encoding="utf-8") as file,
        ):
            quarantine = csv.writer(file)
            quarantine.writerow(("source", "row", "reason"))
            for number, source in enumerate(sources):
                listed.append(_read(number, source, settings, tables, quarantine.writerow, seen))
        facts = {
            "source": [{"kind": source.kind, "uri": shown(source.uri)} for source in sources],
            "sources": listed,
            **{key: sum(found[key] for found in listed) for key in ("rows_read", "rows_kept", "repeated")},
            "quarantined": dict(sum((Counter(found["quarantined"]) for found in listed), Counter()).most_common()),
            "rows": {name: table.rows for name, table in tables.items()},
        }
        return write_manifest(output, facts, "download", {shown(s.uri): digest(s.uri) for s in sources})


def _read(
    number: int,
    source: Source,
    settings: Examples,
    tables: dict[str, TableWriter],
    set_aside: Callable[[tuple[int, int, str]], Any],
    seen: set[bytes],
) -> dict[str, Any]:
    """Add the usable rows of a source to their table; what became of all of them."""
    reasons: Counter[str] = Counter()
    kept = repeated = row_number = 0
    columns: list[str] = []
    for row_number, row in enumerate(source_rows(source.uri), start=1):
        columns = columns or ([column for column in row if column] if isinstance(row, dict) else [])
        try:
            if isinstance(row, str):
                raise Unusable(row)
            table, values = _KINDS[source.kind](_Reader(row, source, settings))
        except Unusable as error:
            reasons[str(error)] += 1
            set_aside((number, row_number, str(error)))
            continue
        if table == "texts":
            text = hashlib.sha256(f"{source.kind} {values[1]}".encode()).digest()
            if text in seen:
                repeated += 1
                continue
            seen.add(text)
        tables[table].add((number, row_number, *values))
        kept += 1
    _refuse_useless(source, row_number, reasons, columns)
    return {
        "rows_read": row_number,
        "rows_kept": kept,
        "repeated": repeated,
        "quarantined": dict(reasons.most_common()),
    }


def _refuse_useless(source: Source, rows: int, reasons: Counter[str], columns: list[str]) -> None:
    if rows == 0:
        raise UserError(f"{shown(source.uri)} has no rows: give a file with {source.kind}")
    if reasons.total() == rows:
        reason, count = reasons.most_common(1)[0]
        raise UserError(
            f"none of the {rows} rows of {shown(source.uri)} can be used as {source.kind} ({count} x {reason}): "
            f"name its columns in the profile ({column_names(columns)}), or mend the rows"
        )


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
        if text is not None and not isinstance(text, str):
            raise Unusable(f"{field} is not a string")
        if len(text or "") > self.settings.longest_note:
            raise Unusable(f"{field} longer than {self.settings.longest_note:,} characters")
        text = clean(text or "")
        if not text and not may_be_empty:
            raise Unusable(f"empty {field}")
        return text

    def triple(self, note: str, instruction: str, answer: str, task: str) -> tuple[str, tuple[Any, ...]]:
        return "triples", (note, instruction, answer, task, True, "none", [], self.source.private)


def _text(row: _Reader) -> tuple[str, tuple[Any, ...]]:
    description = row.text("description", may_be_empty=True) or None
    return "texts", (row.source.kind, row.text("text"), description, row.source.private)


def _triple(row: _Reader) -> tuple[str, tuple[Any, ...]]:
    task = _TASKS.get(row.text("task").lower())
    if task is None:
        raise Unusable("unknown task")
    return row.triple(row.text("note"), row.text("instruction"), row.text("answer"), task)


def _alpaca(row: _Reader) -> tuple[str, tuple[Any, ...]]:
    note = row.text("note", may_be_empty=True)
    return row.triple(note, row.text("instruction"), row.text("answer"), row.source.task)


def _chat(row: _Reader) -> tuple[str, tuple[Any, ...]]:
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


def _pair(row: _Reader) -> tuple[str, tuple[Any, ...]]:
    def fill(slot: re.Match[str]) -> str:
        if slot[1] not in row.row:
            raise Unusable(f"no column '{slot[1]}'")
        return row.checked(row.row[slot[1]], slot[1])

    instruction = re.sub(r"\{([^{}]+)\}", fill, row.source.instruction)
    return row.triple(row.text("note"), instruction, row.text("answer"), row.source.task)


def _preference(row: _Reader) -> tuple[str, tuple[Any, ...]]:
    chosen, rejected = row.text("chosen"), row.text("rejected")
    if chosen == rejected:
        raise Unusable("two equal answers")
    return "preferences", (row.text("note", may_be_empty=True), row.text("instruction"), chosen, rejected)


_KINDS: dict[str, Callable[[_Reader], tuple[str, tuple[Any, ...]]]] = {
    "cases": _text,
    "notes": _text,
    "triples": _triple,
    "chat": _chat,
    "alpaca": _alpaca,
    "pairs": _pair,
    "preferences": _preference,
}
