"""`python -m components.synthesize.sample FILE`: print triples of the rules teacher with the note around the spans."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from random import Random

from clinadapt.config.instruct import COLUMNS, Synthesis
from clinadapt.data.readers import read_rows
from clinadapt.data.schemas.instruct import TASKS
from components.synthesize.rules_teacher import RulesTeacher
from components.synthesize.teacher import Text, Triple


def excerpt(note: str, triple: Triple, context: int = 90) -> str:
    """The note around a triple's spans on one line, the spans in brackets.

    Args:
        note: text of the note.
        triple: one with at least one span.
        context: characters before the first and after the last span.
    """
    marked = note
    for start, end in sorted(set(triple.spans), reverse=True):
        marked = f"{marked[:start]}[{marked[start:end]}]{marked[end:]}"
    first, last = min(s for s, _ in triple.spans), max(e for _, e in triple.spans) + 2 * len(triple.spans)
    return " ".join(marked[max(0, first - context) : min(last, first + 900) + context].split())


def main() -> None:
    """Parse the command line and print the sample, grouped by task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="CSV, JSON Lines or Parquet file of cases or notes")
    parser.add_argument("--rows", type=int, default=200, help="triples to print, shared equally by the tasks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=["notes", "cases"], default="notes")
    options = parser.parse_args()
    columns = COLUMNS[options.kind]
    rows = [row for row in read_rows(options.dataset, options.dataset.name) if isinstance(row, dict)]
    descriptions: dict[str, str | None] = {row[columns["text"]]: row.get(columns["description"]) for row in rows}
    rng = Random(options.seed)
    teacher = RulesTeacher(Synthesis(seed=options.seed))
    by_task = defaultdict(list)
    texts = rng.sample(sorted(text for text in descriptions if text), min(len(descriptions) - 1, 4 * options.rows))
    for number, text in enumerate(texts):
        row = Text(0, number, options.kind, text, descriptions[text], False)
        if options.kind == "cases":
            row = Text(0, number, "notes", teacher.note(row), descriptions[text], False)
        for triple in teacher.triples(row).triples:
            by_task[triple.task].append((row.text, triple))
    for task in TASKS:
        for note, triple in rng.sample(by_task[task], min(len(by_task[task]), options.rows // len(TASKS))):
            print(f"## {task}\nNOTE        {excerpt(note, triple) if triple.spans else '(no span)'}")
            print(f"INSTRUCTION {triple.instruction}\nANSWER      {triple.answer}\n")


if __name__ == "__main__":
    main()
