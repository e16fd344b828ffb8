"""Print what an adapter answers."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from clinadapt.data.readers import read_rows
from clinadapt.review.classify import ClassifyService
from clinadapt.review.inputs import decode, read_note, readable
from clinadapt.review.instruct import InstructService, remarks
from pipelines.cli.options import emit


def predict(
    adapter: str,
    store_uri: str,
    note: Path | None,
    file: Path | None,
    column: str,
    instruction: str | None,
    instruction_column: str | None,
    as_json: bool,
) -> None:
    """Answer a note or, where there is none, a file; with an instruct adapter where there is an instruction.

    Raises:
        UserError: what is given cannot be read or answered, or the adapter is of the other recipe.
    """
    text = read(note) if note else ""
    if file:
        with readable(file):
            pass
    if instruction is None and instruction_column is None:
        answerer = ClassifyService(adapter, store_uri)
        print(f"answering: {answerer.uri}", file=sys.stderr)
        many(answerer, file, column, as_json) if file else one(answerer, text, as_json)
        return
    asker = InstructService(adapter, store_uri)
    print(f"answering: {asker.uri}", file=sys.stderr)
    if file:
        ask_many(asker, file, column, instruction or "", instruction_column or "", as_json)
    else:
        ask(asker, text, instruction or "", as_json)


def read(note: Path) -> str:
    """The text of a note; of `-`, what comes on standard input. Raises UserError where it cannot be read."""
    return decode(sys.stdin.buffer.read(), "standard input") if str(note) == "-" else read_note(note)


def one(answerer: ClassifyService, text: str, as_json: bool) -> None:
    """Answer one note: bars for people on standard error, or one line of JSON on standard output."""
    answer = answerer.answer(text)
    if as_json:
        emit(answer)
        return
    print(answer["label"])
    wide = max(map(len, answer["probabilities"]))
    for label, p in sorted(answer["probabilities"].items(), key=lambda entry: -entry[1]):
        Console(stderr=True, highlight=False).print(f"  {label:{wide}}  {p:6.1%}  {'█' * round(30 * p)}", markup=False)
    if answer["unseen_token_share"]:
        print(f"the model did not see {answer['unseen_token_share']:.0%} of this note", file=sys.stderr)


def many(answerer: ClassifyService, file: Path, column: str, as_json: bool) -> None:
    """Answer a file row by row as it is read: CSV, or JSON lines that end with a summary."""

    def fields(answer: dict[str, Any]) -> list[Any]:
        return [answer["label"], max(answer["probabilities"].values())]

    answers = answerer.answer_rows(read_rows(file, file.name), column)
    _write(answers, ["label", "probability"], fields, answerer.uri, as_json)


def ask(asker: InstructService, text: str, instruction: str, as_json: bool) -> None:
    """Answer an instruction about one note: on standard output as it comes, and on standard error what to know of it;
    or one line of JSON."""
    if as_json:
        emit(asker.answer(text, instruction))
        return
    for part in asker.stream(text, instruction):
        if isinstance(part, str):
            print(part, end="", flush=True)
        else:
            print(flush=True)
            print(*remarks(part), sep="\n", end="\n" if remarks(part) else "", file=sys.stderr)


def ask_many(
    asker: InstructService, file: Path, column: str, instruction: str, instruction_column: str, as_json: bool
) -> None:
    """Answer an instruction about each row of a file, as `many`."""

    def fields(answer: dict[str, Any]) -> list[Any]:
        return [
            answer["instruction"],
            answer["answer"],
            answer["complete"],
            answer["trimmed_tokens"],
            "; ".join(answer["unsupported"]),
        ]

    answers = asker.answer_rows(read_rows(file, file.name), column, instruction, instruction_column)
    columns = ["instruction", "answer", "complete", "trimmed_tokens", "unsupported"]
    _write(answers, columns, fields, asker.uri, as_json)


def _write(
    answers: Iterable[dict[str, Any]],
    columns: list[str],
    fields: Callable[[dict[str, Any]], list[Any]],
    uri: str,
    as_json: bool,
) -> None:
    writer = csv.writer(sys.stdout)
    rows = failed = 0
    for answer in answers:
        if not rows and not as_json:
            writer.writerow(["row", *columns, "error"])
        rows += 1
        failed += "error" in answer
        if as_json:
            emit(answer)
        else:
            given = [""] * len(columns) if "error" in answer else fields(answer)
            writer.writerow([answer["row"], *given, answer.get("error", "")])
            sys.stdout.flush()
    if as_json:
        emit({"rows": rows, "not_answered": failed, "adapter": uri})
    print(f"{rows} rows, {failed} of them not answered", file=sys.stderr)
