"""Print what an adapter answers."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from rich.console import Console

from components.common.errors import UserError
from components.common.readers import read_rows
from components.review.answers import Answerer


def one(answerer: Answerer, note: Path, as_json: bool) -> None:
    """Answer one note: bars for people on standard error, or one line of JSON on standard output."""
    try:
        text = sys.stdin.read() if str(note) == "-" else note.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{note} is not UTF-8: convert it, for example with iconv -f WINDOWS-1252 -t UTF-8") from error
    answer = answerer.answer(text)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
        return
    print(answer["label"])
    wide = max(map(len, answer["probabilities"]))
    for label, p in sorted(answer["probabilities"].items(), key=lambda entry: -entry[1]):
        Console(stderr=True, highlight=False).print(f"  {label:{wide}}  {p:6.1%}  {'█' * round(30 * p)}", markup=False)
    if answer["unseen_token_share"]:
        print(f"the model did not see {answer['unseen_token_share']:.0%} of this note", file=sys.stderr)


def many(answerer: Answerer, file: Path, column: str, as_json: bool) -> None:
    """Answer a file row by row as it is read: CSV, or JSON lines that end with a summary."""
    writer = csv.writer(sys.stdout)
    rows = failed = 0
    if not as_json:
        writer.writerow(["row", "label", "probability", "error"])
    for answer in answerer.stream(read_rows(file, file.name), column):
        rows += 1
        failed += "error" in answer
        if as_json:
            print(json.dumps(answer, ensure_ascii=False), flush=True)
        else:
            p = max(answer["probabilities"].values()) if "probabilities" in answer else ""
            writer.writerow([answer["row"], answer.get("label", ""), p, answer.get("error", "")])
            sys.stdout.flush()
    if as_json:
        print(json.dumps({"rows": rows, "not_answered": failed, "adapter": answerer.uri}))
    print(f"{rows} rows, {failed} of them not answered", file=sys.stderr)
