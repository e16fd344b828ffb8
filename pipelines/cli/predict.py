"""Print the predictions and answers of an adapter."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from clinadapt.data.readers import read_rows
from clinadapt.data.text import spreadsheet_cell
from clinadapt.errors import one_line, printable
from clinadapt.review.classify import ClassifyService
from clinadapt.review.explanation import line
from clinadapt.review.inputs import decode, read_note, readable
from clinadapt.review.instruct import InstructService, remarks
from clinadapt.review.loading import caution
from pipelines.cli.options import emit


def predict(
    adapter: str,
    store_uri: str,
    note: Path | None,
    file: Path | None,
    column: str,
    instructions: list[str],
    instruction_column: str | None,
    as_json: bool,
    explain: bool = False,
) -> None:
    """Print the output of an adapter for a note, or for each row of a file.

    With instructions (for a file one, or a column of them) the adapter is of the recipe instruct, else classify.

    Raises:
        UserError: the input cannot be read or used, or the adapter is of the other recipe.
    """
    text = _read_note(note) if note else ""
    if file:
        with readable(file):
            pass
    service: ClassifyService | InstructService
    if not instructions and instruction_column is None:
        service = ClassifyService(adapter, store_uri, "predict")
    else:
        service = InstructService(adapter, store_uri, "predict")
    _warn(service.uri)
    try:
        if isinstance(service, ClassifyService):
            if file:
                _classify_rows(service, file, column, as_json)
            else:
                _classify_note(service, text, as_json)
        elif file:
            _answer_rows(service, file, column, "".join(instructions), instruction_column or "", as_json)
        else:
            _answer_note(service, text, instructions, as_json, explain)
    finally:
        if service.recorder:
            service.recorder.close()


def _warn(uri: str) -> None:
    """Say on standard error that people have yet to approve the version that answers."""
    if line := caution(uri):
        print(line, file=sys.stderr)


def _read_note(note: Path) -> str:
    """The text of a file, or of standard input for `-`. Raises UserError if it cannot be read."""
    return decode(sys.stdin.buffer.read(), "standard input") if str(note) == "-" else read_note(note)


def _classify_note(answerer: ClassifyService, text: str, as_json: bool) -> None:
    """Print the label of a note, and the probabilities as bars to standard error; or one line of JSON."""
    answer = answerer.answer(text)
    if as_json:
        emit(answer)
        return
    print(one_line(answer["label"]))
    width = max(map(len, answer["probabilities"]))
    for label, p in sorted(answer["probabilities"].items(), key=lambda entry: -entry[1]):
        print(f"  {one_line(label):{width}}  {p:6.1%}  {'█' * round(30 * p)}".rstrip(), file=sys.stderr)
    if remark := answerer.remark(answer):
        print(remark, file=sys.stderr)


def _classify_rows(answerer: ClassifyService, file: Path, column: str, as_json: bool) -> None:
    """Print the labels of a file's rows as they are read: CSV, or lines of JSON and a summary."""

    def fields(answer: dict[str, Any]) -> list[Any]:
        return [answer["label"], max(answer["probabilities"].values())]

    answers = answerer.answer_rows(read_rows(file, file.name), column)
    _write(answers, ["label", "probability"], fields, answerer.uri, as_json)


def _answer_note(asker: InstructService, text: str, instructions: list[str], as_json: bool, explain: bool) -> None:
    """Stream the answer to each instruction about a note, then, to `explain`, its claims with the words of the note,
    and print remarks on it to standard error; or print lines of JSON."""
    for instruction in instructions:
        if as_json:
            emit(asker.answer(text, instruction))
            continue
        if len(instructions) > 1:
            print(f"\n{instruction}", flush=True)
        _stream_answer(asker, text, instruction, explain)


def _stream_answer(asker: InstructService, text: str, instruction: str, explain: bool) -> None:
    for part in asker.stream(text, instruction):
        if isinstance(part, str):
            print(printable(part), end="", flush=True)
        else:
            print(flush=True)
            for claim in part["claims"] if explain else ():
                print(f"  {one_line(line(claim))}", flush=True)
            for remark in remarks(part):
                print(remark, file=sys.stderr)


def _answer_rows(
    asker: InstructService, file: Path, column: str, instruction: str, instruction_column: str, as_json: bool
) -> None:
    """Print the answers about a file's rows, as `_classify_rows`."""

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
            cells = [""] * len(columns) if "error" in answer else fields(answer)
            writer.writerow([answer["row"], *map(spreadsheet_cell, cells), answer.get("error", "")])
            sys.stdout.flush()
    if as_json:
        emit({"rows": rows, "not_answered": failed, "adapter": uri})
    print(f"{rows} rows, {failed} failed", file=sys.stderr)
