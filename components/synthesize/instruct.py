"""The synthesize step: a teacher generates notes from case reports, and instruction triples from notes."""

from __future__ import annotations

import csv
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.config.instruct import Synthesis
from clinadapt.data.schemas.feedback import FEEDBACK_FILE
from clinadapt.data.schemas.instruct import TEXTS, TRIPLES
from clinadapt.data.schemas.known import NOTE_IDS_FILE
from clinadapt.data.tables import iter_rows, open_tables
from clinadapt.errors import UserError
from clinadapt.privacy.written_texts import is_screened, redacted
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Store
from components.synthesize.teacher import BudgetExhausted, Dropped, Teacher, Text, Triple, TripleBatch

PROGRESS_INTERVAL = 5.0  # seconds
NOTES_FILE, TRIPLES_FILE = "notes.parquet", "triples.parquet"
PREFERENCES_FILE, DROPPED_FILE = "preferences.parquet", "dropped.csv"
PASSED_ON = (FEEDBACK_FILE, NOTE_IDS_FILE)  # as they are, where there is feedback


@dataclass
class RowResult:
    """Outcome of one row.

    Attributes:
        note: the generated or passed-on note; None if there is none.
        batch: triples of the note.
        skipped: whether the token budget was exhausted before this row was complete.
    """

    note: Text | None
    batch: TripleBatch = field(default_factory=TripleBatch)
    skipped: bool = False


@dataclass
class Statistics:
    """Counts for the manifest."""

    rows: Counter[str] = field(default_factory=Counter)  # by kind
    notes_from_cases: int = 0
    rows_skipped: int = 0
    notes_without_triples: int = 0
    ready_triples: int = 0
    triples_by_task: Counter[str] = field(default_factory=Counter)
    unanswerable_by_task: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)  # by reason

    def add_triple(self, task: str, answerable: bool) -> None:
        """Count one triple."""
        self.triples_by_task[task] += 1
        self.unanswerable_by_task[task] += not answerable

    def add_result(self, text: Text, result: RowResult) -> None:
        """Count one row and its triples."""
        self.rows[text.kind] += 1
        self.rows_skipped += result.skipped
        self.notes_from_cases += text.kind == "cases" and result.note is not None
        self.dropped += result.batch.dropped
        self.notes_without_triples += result.note is not None and not result.skipped and not result.batch.triples
        for triple in result.batch.triples:
            self.add_triple(triple.task, triple.answerable)

    def fields(self) -> dict[str, Any]:
        """Fields of the manifest."""
        return {
            "cases": self.rows["cases"],
            "notes": self.rows["notes"] + self.notes_from_cases,
            "notes_from_cases": self.notes_from_cases,
            "triples": self.triples_by_task.total(),
            "triples_ready": self.ready_triples,
            "triples_by_task": dict(sorted(self.triples_by_task.items())),
            "not_answerable": self.unanswerable_by_task.total(),
            "not_answerable_by_task": dict(sorted((+self.unanswerable_by_task).items())),
            "dropped": dict(self.dropped.most_common()),
            "budget_exhausted": self.rows_skipped > 0,
            "rows_skipped": self.rows_skipped,
            "notes_without_triples": self.notes_without_triples,
        }


def run(
    dataset: Path, output: Path, settings: Synthesis, cache: Store | None, allowed_hosts: Sequence[str] = ()
) -> dict[str, Any]:
    """Generate notes and triples, and write them to a folder.

    The folder gets notes.parquet (schema TEXTS, kind `notes`), triples.parquet (schema TRIPLES, ready-made triples
    first), preferences.parquet (a copy; where there is feedback, also feedback and note_ids.parquet), dropped.csv
    (source, row, reason, count) and the manifest. Rows have the order of the dataset, whatever finishes first. When the
    teacher's token budget is exhausted, complete results are written, the remaining real notes are passed on without
    triples, and the manifest counts the rows that were skipped.

    Args:
        dataset: the folder that download wrote.
        output: the folder to write.
        settings: of the teacher.
        cache: store of the teacher's replies, so that a second run pays for none of them again; None for no cache.
        allowed_hosts: hosts of a teacher that the texts may be sent to.

    Returns:
        The manifest.

    Raises:
        UserError: the teacher cannot be used, or the result contains neither a triple nor a preference.
    """
    source = read_json(dataset / MANIFEST)
    output.mkdir(parents=True, exist_ok=True)
    (output / MANIFEST).unlink(missing_ok=True)
    try:
        teacher = create_teacher(settings, cache, allowed_hosts)
        screened = settings.teacher == "llm" and is_screened(source.get("phi", {}))
        statistics = _write(dataset, output, teacher, source["decimal_comma"], screened)
        fields = {
            "source": source["source"],
            **{name: source[name] for name in ("quarantined", "unused", "decimal_comma", "origin")},
            "phi": source.get("phi", {}),
            "feedback": source.get("feedback", []),
            "dataset_digest": source["digest"],
            "teacher": {
                "name": settings.teacher,
                "digest": teacher.digest,
                "tokens": teacher.tokens,
                "replies_with_thoughts": teacher.thoughts,
                "host": teacher.host,
            },
            "settings": settings.model_dump(),
            **statistics.fields(),
            "preferences": pq.read_metadata(output / PREFERENCES_FILE).num_rows,
        }
        if not fields["triples"] and not fields["preferences"]:
            raise UserError(_empty_result(statistics))
        inputs = {"dataset": source["digest"], "teacher": teacher.digest}
        return write_manifest(output, fields, "synthesize", inputs, [source])
    except BaseException:
        for name in (NOTES_FILE, TRIPLES_FILE, PREFERENCES_FILE, DROPPED_FILE, *PASSED_ON):
            (output / name).unlink(missing_ok=True)
        raise


def create_teacher(settings: Synthesis, cache: Store | None, allowed_hosts: Sequence[str]) -> Teacher:
    """The teacher that the settings select. Raises UserError if it cannot be used."""
    if settings.teacher == "rules":
        from components.synthesize.rules_teacher import RulesTeacher

        return RulesTeacher(settings)
    from components.synthesize.llm_teacher import LlmTeacher

    return LlmTeacher(settings, cache, allowed_hosts)


def _write(dataset: Path, output: Path, teacher: Teacher, decimal_comma: Sequence[int], screened: bool) -> Statistics:
    """`decimal_comma`: the sources whose numbers have a decimal comma; `screened`: whether what the teacher writes is
    screened, as the dataset was."""
    statistics, exhausted = Statistics(), Event()
    progress = _Progress(pq.read_metadata(dataset / "texts.parquet").num_rows)
    rows = iter_rows(dataset / "texts.parquet", TEXTS.names)
    texts = (Text(**row, decimal_comma=row["source"] in decimal_comma) for row in rows)
    with (
        os_errors(f"cannot write to {output}", "free space and run again"),
        open_tables(output, notes=TEXTS, triples=TRIPLES) as tables,
        (output / DROPPED_FILE).open("w", newline="", encoding="utf-8") as file,
    ):
        dropped = csv.writer(file)
        dropped.writerow(["source", "row", "reason", "count"])
        shutil.copyfile(dataset / "preferences.parquet", output / PREFERENCES_FILE)
        for name in PASSED_ON if (dataset / FEEDBACK_FILE).exists() else ():
            if (dataset / name).exists():
                shutil.copyfile(dataset / name, output / name)
        for row in iter_rows(dataset / "triples.parquet", TRIPLES.names):
            tables["triples"].add([row[name] for name in TRIPLES.names])
            statistics.ready_triples += 1
            statistics.add_triple(row["task"], row["answerable"])
        for text, result in _map_in_order(teacher, lambda text: _process(teacher, text, exhausted, screened), texts):
            statistics.add_result(text, result)
            reasons = sorted(result.batch.dropped.items())
            dropped.writerows((text.source, text.row, reason, count) for reason, count in reasons)
            if result.note:
                tables["notes"].add([getattr(result.note, name) for name in TEXTS.names])
                for triple in result.batch.triples:
                    tables["triples"].add(_table_row(result.note, triple))
            progress.advance()
    return statistics


def _process(teacher: Teacher, text: Text, exhausted: Event, screened: bool) -> RowResult:
    """Note and triples of one row; after the budget is exhausted, real notes are passed on without triples."""
    skipped = RowResult(text if text.kind == "notes" else None, skipped=True)
    if exhausted.is_set():
        return skipped
    try:
        if text.kind == "cases":
            written = teacher.note(text)
            text = replace(text, kind="notes", text=redacted([written], text.text)[0] if screened else written)
        batch = teacher.triples(text)
        if screened:
            batch.triples = [_screened(triple, text.text) for triple in batch.triples]
        return RowResult(text, batch)
    except Dropped as error:
        return RowResult(None, TripleBatch(dropped=Counter([str(error)])))
    except BudgetExhausted:
        exhausted.set()
        return skipped


def _screened(triple: Triple, note: str) -> Triple:
    """A triple without identifiers that its note does not have."""
    instruction, answer = redacted([triple.instruction, triple.answer], note)
    return replace(triple, instruction=instruction, answer=answer)


def _table_row(note: Text, triple: Triple) -> tuple[Any, ...]:
    """A row in the column order of TRIPLES."""
    return (
        note.source,
        note.row,
        note.text,
        triple.instruction,
        triple.answer,
        triple.task,
        triple.answerable,
        triple.check,
        [{"start": start, "end": end} for start, end in triple.spans],
        note.private,
        note.specialty,
        note.patient,
        note.encounter,
        note.date,
        note.sex,
        note.age_band,
    )


def _map_in_order(
    teacher: Teacher, process: Callable[[Text], RowResult], texts: Iterable[Text]
) -> Iterator[tuple[Text, RowResult]]:
    """Process texts in `teacher.concurrency` threads and yield each with its result, in order.

    At most four texts per thread are submitted ahead of the consumer. On an error or a signal the teacher is closed and
    no further text is started.
    """
    queue: deque[tuple[Text, Future[RowResult]]] = deque()
    with ThreadPoolExecutor(teacher.concurrency) as pool:
        try:
            for text in texts:
                queue.append((text, pool.submit(process, text)))
                if len(queue) >= 4 * teacher.concurrency:
                    first, future = queue.popleft()
                    yield first, future.result()
            for first, future in queue:
                yield first, future.result()
        except BaseException:
            teacher.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Progress:
    """Logs rows done, speed and remaining time every few seconds."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._start = self._last_log = time.monotonic()

    def advance(self) -> None:
        """Count one row."""
        self._done += 1
        now = time.monotonic()
        if now - self._last_log >= PROGRESS_INTERVAL:
            self._last_log = now
            rate = self._done / (now - self._start)
            minutes = (self._total - self._done) / rate / 60
            log("synthesize", f"{self._done}/{self._total} rows, {rate:.1f} rows/s, {minutes:.1f} min remaining")


def _empty_result(statistics: Statistics) -> str:
    """Error message for a result without triples."""
    if statistics.rows_skipped:
        return "the token budget was exhausted before the first instruction: raise token_budget"
    if statistics.dropped:
        reason, count = statistics.dropped.most_common(1)[0]
        return f"all instructions were dropped (most often: {reason}, {count} times): check the teacher and the sources"
    return f"no instruction generated from {statistics.rows.total()} rows: use other sources or another teacher"
