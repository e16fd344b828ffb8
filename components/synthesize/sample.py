"""`python -m components.synthesize.sample DATASET`: triples of the rules to read, with the note around their spans."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from random import Random

from clinadapt.config.instruct import COLUMNS, Synthesis
from clinadapt.data.readers import read_rows
from clinadapt.data.schemas.instruct import TASKS
from components.synthesize.rules_teacher import Rules
from components.synthesize.teacher import Text, Triple


def excerpt(note: str, triple: Triple, around: int = 90) -> str:
    """The note around the first and last of a triple's spans, on one line, its spans in brackets."""
    told = note
    for start, end in sorted(set(triple.spans), reverse=True):
        told = f"{told[:start]}[{told[start:end]}]{told[end:]}"
    first, last = min(s for s, _ in triple.spans), max(e for _, e in triple.spans) + 2 * len(triple.spans)
    return " ".join(told[max(0, first - around) : min(last, first + 900) + around].split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=["notes", "cases"], default="notes")
    options = parser.parse_args()
    columns = COLUMNS[options.kind]
    rows = [row for row in read_rows(options.dataset, options.dataset.name) if isinstance(row, dict)]
    texts: dict[str, str | None] = {row[columns["text"]]: row.get(columns["description"]) for row in rows}
    rng = Random(options.seed)
    teacher = Rules(Synthesis(seed=options.seed))
    by_task = defaultdict(list)
    drawn = rng.sample(sorted(text for text in texts if text), min(len(texts) - 1, 4 * options.rows))
    for number, text in enumerate(drawn):
        row = Text(0, number, options.kind, text, texts[text], False)
        if options.kind == "cases":
            row = Text(0, number, "notes", teacher.note(row), texts[text], False)
        for triple in teacher.triples(row).triples:
            by_task[triple.task].append((row.text, triple))
    for task in TASKS:
        for note, triple in rng.sample(by_task[task], min(len(by_task[task]), options.rows // len(TASKS))):
            print(f"## {task}\nNOTE {excerpt(note, triple) if triple.spans else '(no span)'}")
            print(f"ASK  {triple.instruction}\nSAYS {triple.answer}\n")


if __name__ == "__main__":
    main()
