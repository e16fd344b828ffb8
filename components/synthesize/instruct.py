"""Case reports and notes -> notes and instructions about them, made by a teacher, beside the ready-made ones."""

from __future__ import annotations

import csv
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.config.instruct import Synthesis
from clinadapt.data.schemas.instruct import TEXTS, TRIPLES
from clinadapt.data.tables import iter_rows, open_tables
from clinadapt.errors import UserError
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Store
from components.synthesize.teacher import Dropped, Made, OutOfBudget, Teacher, Text, Triple

SAY_EVERY = 5.0  # seconds
NOTES, TRIPLES_MADE = "notes.parquet", "triples.parquet"
PREFERENCES, DROPPED = "preferences.parquet", "dropped.csv"


@dataclass
class Result:
    """What became of one row: its note where there is one, and what was made of that. `asked` is false where the budget
    ended before."""

    text: Text | None
    made: Made = field(default_factory=Made)
    asked: bool = True


@dataclass
class Yield:
    """What the manifest counts."""

    rows: Counter[str] = field(default_factory=Counter)  # by kind
    notes_from_cases: int = 0
    not_asked: int = 0
    triples: Counter[str] = field(default_factory=Counter)  # ready, made
    tasks: Counter[str] = field(default_factory=Counter)
    not_answerable: Counter[str] = field(default_factory=Counter)  # by task
    dropped: Counter[str] = field(default_factory=Counter)

    def triple(self, origin: str, task: str, answerable: bool) -> None:
        """Count one."""
        self.triples[origin] += 1
        self.tasks[task] += 1
        self.not_answerable[task] += not answerable

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "cases": self.rows["cases"],
            "notes": self.rows["notes"] + self.notes_from_cases,
            "notes_from_cases": self.notes_from_cases,
            "triples": self.triples.total(),
            "triples_ready": self.triples["ready"],
            "triples_by_task": dict(sorted(self.tasks.items())),
            "not_answerable": self.not_answerable.total(),
            "not_answerable_by_task": dict(sorted((+self.not_answerable).items())),
            "dropped": dict(self.dropped.most_common()),
            "budget_ended": self.not_asked > 0,
            "rows_not_asked": self.not_asked,
        }


def run(dataset: Path, output: Path, settings: Synthesis, cache: Store | None) -> dict[str, Any]:
    """Write notes.parquet (schema TEXTS, kind `notes`), triples.parquet (ready-made ones first), preferences.parquet,
    dropped.csv (source, row, reason, count) and the manifest; return the manifest.

    The rows stand in the order of the dataset, whatever finished first. Where the teacher's budget ends, what was made
    is written whole, real notes are passed on without instructions, and the manifest says how many rows were not asked
    about.

    Args:
        dataset: the folder that download wrote.
        output: the folder to write to.
        settings: of the teacher.
        cache: where the teacher keeps its replies, so that a second run pays for none again.

    Raises:
        UserError: the teacher cannot be used, or there is no instruction and no preference in the end.
    """
    source = read_json(dataset / MANIFEST)
    output.mkdir(parents=True, exist_ok=True)
    (output / MANIFEST).unlink(missing_ok=True)
    try:
        chosen = teacher(settings, cache)
        found = _write(dataset, output, chosen)
        facts = {
            "source": source["source"],
            "quarantined": source["quarantined"],
            "dataset_digest": source["digest"],
            "teacher": {"name": settings.teacher, "digest": chosen.digest, "tokens": chosen.tokens},
            "settings": settings.model_dump(),
            **found.facts(),
            "preferences": pq.read_metadata(output / PREFERENCES).num_rows,
        }
        if not facts["triples"] and not facts["preferences"]:
            raise UserError(_nothing(found))
        inputs = {"dataset": source["digest"], "teacher": chosen.digest}
        return write_manifest(output, facts, "synthesize", inputs, [source])
    except BaseException:
        for name in (NOTES, TRIPLES_MADE, PREFERENCES, DROPPED):
            (output / name).unlink(missing_ok=True)
        raise


def teacher(settings: Synthesis, cache: Store | None) -> Teacher:
    """The teacher that the settings name. Raises UserError when it cannot be used."""
    if settings.teacher == "rules":
        from components.synthesize.rules_teacher import Rules

        return Rules(settings)
    from components.synthesize.llm_teacher import Llm

    return Llm(settings, cache)


def _write(dataset: Path, output: Path, chosen: Teacher) -> Yield:
    found, ended = Yield(), Event()
    total = pq.read_metadata(dataset / "texts.parquet").num_rows
    told = _progress(total)
    texts = (Text(**row) for row in iter_rows(dataset / "texts.parquet", TEXTS.names))
    with (
        os_errors(f"cannot write to {output}", "free space and run again"),
        open_tables(output, notes=TEXTS, triples=TRIPLES) as tables,
        (output / DROPPED).open("w", newline="", encoding="utf-8") as file,
    ):
        dropped = csv.writer(file)
        dropped.writerow(["source", "row", "reason", "count"])
        shutil.copyfile(dataset / "preferences.parquet", output / PREFERENCES)
        for row in iter_rows(dataset / "triples.parquet", TRIPLES.names):
            tables["triples"].add([row[name] for name in TRIPLES.names])
            found.triple("ready", row["task"], row["answerable"])
        for text, result in _in_order(chosen, lambda text: _made(chosen, text, ended), texts):
            _count(found, text, result)
            dropped.writerows((text.source, text.row, why, n) for why, n in sorted(result.made.dropped.items()))
            if result.text:
                tables["notes"].add(astuple(result.text))
                for triple in result.made.triples:
                    tables["triples"].add(_row(result.text, triple))
            told()
    return found


def _made(chosen: Teacher, text: Text, ended: Event) -> Result:
    """Ask the teacher about one row. A real note is passed on also where the teacher may not ask any more."""
    unasked = Result(text if text.kind == "notes" else None, asked=False)
    if ended.is_set():
        return unasked
    try:
        if text.kind == "cases":
            text = replace(text, kind="notes", text=chosen.note(text))
        return Result(text, chosen.triples(text))
    except Dropped as error:
        return Result(None, Made(dropped=Counter([str(error)])))
    except OutOfBudget:
        ended.set()
        return unasked


def _count(found: Yield, text: Text, result: Result) -> None:
    found.rows[text.kind] += 1
    found.not_asked += not result.asked
    found.notes_from_cases += text.kind == "cases" and result.text is not None
    found.dropped += result.made.dropped
    for triple in result.made.triples:
        found.triple("made", triple.task, triple.answerable)


def _row(text: Text, triple: Triple) -> tuple[Any, ...]:
    """As in TRIPLES."""
    return (
        text.source,
        text.row,
        text.text,
        triple.instruction,
        triple.answer,
        triple.task,
        triple.answerable,
        triple.check,
        [{"start": start, "end": end} for start, end in triple.spans],
        text.private,
    )


def _in_order(chosen: Teacher, work: Callable[[Text], Result], items: Iterable[Text]) -> Iterator[tuple[Text, Result]]:
    """Each item with its result, in order, `concurrency` at a time. No more than four times as many are under way or
    wait to be taken; after an error, or a signal, none is begun and what is under way ends soon."""
    waiting: deque[tuple[Text, Future[Result]]] = deque()
    with ThreadPoolExecutor(chosen.concurrency) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= 4 * chosen.concurrency:
                    done, future = waiting.popleft()
                    yield done, future.result()
            for done, future in waiting:
                yield done, future.result()
        except BaseException:
            chosen.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _progress(total: int) -> Callable[[], None]:
    """Tell a reader of the log every few seconds how far it is; to be called after each row."""
    start = said = time.monotonic()
    done = 0

    def told() -> None:
        nonlocal done, said
        done += 1
        now = time.monotonic()
        if now - said >= SAY_EVERY:
            said, speed = now, done / (now - start)
            left = (total - done) / speed
            log("synthesize", f"{done} of {total} rows, {speed:.1f} rows/s, {left / 60:.1f} min left")

    return told


def _nothing(found: Yield) -> str:
    if found.not_asked:
        return "the teacher's token budget ended before the first instruction was made: raise token_budget"
    if found.dropped:
        reason, count = found.dropped.most_common(1)[0]
        return f"no instruction could be made: all were dropped ({count} x {reason}); see the teacher or the source"
    return f"no instruction could be made of {found.rows.total()} rows: give other sources or another teacher"
