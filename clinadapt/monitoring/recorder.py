"""Count what an adapter answers, in the background, into the store.

monitoring/<name>/<version>/<day>/<writer>-<random>.json    counts of one process on one day (UTC)

An object belongs to one process, which replaces it by larger counts: a retried write counts nothing twice, and two
processes never write the same one. Counting never delays or fails an answer: a store that refuses a write loses counts,
and a process that is killed those since its last write, of at most BATCH answers or WAIT seconds.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.monitoring.aggregates import Aggregate, Baseline
from clinadapt.monitoring.observations import Observation, of_note
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

SWITCH = "CLINADAPT_MONITORING"  # on (default) or off
PREFIX = "monitoring"
BATCH = 100  # answers
WAIT = 60.0  # seconds
_REMEMBERED_NOTES = 20_000
Writer = Literal["predict", "page", "gateway"]


def switched_on() -> bool:
    """Whether answers are counted. Raises UserError where the switch is neither on nor off."""
    value = os.environ.get(SWITCH, "on")
    if value not in ("on", "off"):
        raise UserError(f"{SWITCH} is neither on nor off: correct it")
    return value == "on"


def published_baseline(folder: Path) -> Baseline:
    """The baseline in the folder of a published version; one that names no label where there is none."""
    try:
        return Baseline.of_evaluation(read_json(folder / "evaluation.json"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Baseline(Aggregate())


def recorder(folder: Path, uri: str, writer: Writer | None) -> Recorder | None:
    """The recorder of a published version; None without a writer, or where counting is switched off.

    Args:
        folder: of the downloaded version.
        uri: of the version, <store>/adapters/<name>/<version>.
        writer: what answers.
    """
    if writer is None or not switched_on():
        return None
    root, _, version = uri.rpartition("/adapters/")
    return Recorder(open_store(root), version, published_baseline(folder), writer)


@dataclass
class _Day:
    """Counts of a day, the random part of their object's name, and how many answers are not written yet."""

    total: Aggregate = field(default_factory=Aggregate)
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    unwritten: int = 0


class Recorder:
    """Counts of one process. All methods may be called by several threads, and raise nothing."""

    def __init__(self, store: Store, adapter: str, baseline: Baseline, writer: Writer) -> None:
        """
        Args:
            store: to write to.
            adapter: <name>/<version>.
            baseline: of the version, which says what may be named.
            writer: what answers.
        """
        self._store, self._adapter, self._baseline, self._writer = store, adapter, baseline, writer
        self._days: dict[str, _Day] = {}
        self._notes: OrderedDict[tuple[str, int], None] = OrderedDict()  # (day, hash), the oldest first
        self._refused = False
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._due, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def answered(self, notes: Iterable[str], observations: Iterable[Observation]) -> None:
        """Count answers.

        Args:
            notes: that they are about; each is counted once a day.
            observations: of each answer.
        """
        pooled, today = self._baseline.pooled, _today()
        with self._lock:
            day = self._days.setdefault(today, _Day())
            for note in notes:
                if self._is_new(today, note):
                    day.total.notes += 1
                    day.total.add(pooled(of_note(note)))
            for observation in observations:
                day.total.answers += 1
                day.unwritten += 1
                day.total.add(pooled(observation))
            self._wake()

    def flagged(self) -> None:
        """Count an answer that a reviewer flagged."""
        with self._lock:
            day = self._days.setdefault(_today(), _Day())
            day.total.flags += 1
            day.unwritten += 1
            self._wake()

    def close(self) -> None:
        """Write what is not written yet, and stop."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._due.set()
        self.flush()
        if self._refused:
            log("monitoring", f"some answers are not counted, the store refused it; {SWITCH}=off counts none")

    def flush(self) -> None:
        """Write what is not written yet; what the store refuses is tried again by the next call."""
        with self._writing:
            with self._lock:
                pending = {
                    date: (day, day.unwritten, json.dumps(day.total.to_json()).encode())
                    for date, day in self._days.items()
                    if day.unwritten
                }
            for date, (day, counted, document) in pending.items():
                try:
                    self._store.put(f"{PREFIX}/{self._adapter}/{date}/{self._writer}-{day.token}.json", document)
                except UserError:
                    self._refused = True
                    return
                with self._lock:
                    day.unwritten -= counted
                    if date != _today() and not day.unwritten:
                        del self._days[date]  # should the clock go back, it gets an object of its own
            self._refused = False

    def _is_new(self, date: str, note: str) -> bool:
        """Whether a note has not been counted on a day. Only hashes of the last notes are remembered, in memory."""
        key = date, hash(note)
        if key in self._notes:
            self._notes.move_to_end(key)
            return False
        self._notes[key] = None
        if len(self._notes) > _REMEMBERED_NOTES:
            self._notes.popitem(last=False)
        return True

    def _wake(self) -> None:
        """Start the thread that writes, and let it write at once where a batch is full."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_now_and_then, name="monitoring", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        if sum(day.unwritten for day in self._days.values()) >= BATCH:
            self._due.set()

    def _write_now_and_then(self) -> None:
        while not self._closed.is_set():
            self._due.wait(WAIT)
            self._due.clear()
            if self._closed.is_set():
                return  # close writes
            self.flush()
            if self._refused:  # not at once again
                self._closed.wait(WAIT)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
