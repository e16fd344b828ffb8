"""Counting in the background: what reaches the store, what is lost and what never is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from datetime import date, timedelta
from pathlib import Path

import pytest

from clinadapt.errors import UserError
from clinadapt.monitoring import recorder as module
from clinadapt.monitoring.aggregates import Aggregate, Baseline
from clinadapt.monitoring.observations import RARE, of_answer, of_prediction
from clinadapt.monitoring.recorder import BATCH, SWITCH, Recorder, recorder
from clinadapt.monitoring.stored import read_use, today_utc
from clinadapt.storage.folder_store import FolderStore

NAMED = Baseline(Aggregate(10, 10, 0, {"label": {"Urology": 10}, "language": {"en": 10}}))
NOTE = "Mrs. Xylophonia Quux was seen in the clinic with a cough and a fever."
ANSWER = of_answer("Which drugs?", "Aspirin.", True, ["supported"])
YEARS_AGO = date(2020, 1, 1)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore((tmp_path / "store").as_uri())


def used(store: FolderStore, labels: tuple[str, ...] = ("Urology", RARE)) -> Aggregate:
    use = read_use(store, "a", "1", labels, YEARS_AGO, YEARS_AGO, today_utc())
    assert use.unreadable == use.off_clock == 0
    return sum(use.days.values(), Aggregate())


def test_counts_reach_the_store_without_a_word(store: FolderStore) -> None:
    counting = Recorder(store, "a/1", NAMED, "page")
    counting.answered([NOTE], [ANSWER])
    counting.answered([NOTE], [ANSWER])
    counting.answered(["Ein anderer Fall mit Husten, der nicht bei uns ist."], [of_prediction("Leprosy", 0.4)])
    counting.flagged()
    counting.close()
    total = used(store)
    assert (total.answers, total.notes, total.flags) == (3, 2, 1)
    assert total.cells["language"] == {"en": 1, RARE: 1} and total.cells["label"] == {RARE: 1}
    (key,) = store.list("monitoring/")
    assert key.startswith(f"monitoring/a/1/{today_utc()}/page-")
    words = {word.strip(".,") for word in NOTE.split()} | {"Leprosy", "Aspirin"}
    assert not words & set(store.get(key)[0].decode().replace('"', " ").split())


def test_two_at_once_and_many_threads_lose_nothing(store: FolderStore) -> None:
    both = [Recorder(store, "a/1", NAMED, "page"), Recorder(store, "a/1", NAMED, "predict")]

    def count(counting: Recorder) -> None:
        for i in range(BATCH):
            counting.answered([f"{i}"], [ANSWER])

    threads = [threading.Thread(target=count, args=[counting]) for counting in both for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for counting in both:
        counting.close()
        counting.close()
    assert used(store).answers == 8 * BATCH and used(store).notes == 2 * BATCH
    assert len(store.list("monitoring/")) == 2


def test_a_store_that_refuses_loses_counts_and_nothing_else(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = Recorder(store, "a/1", NAMED, "page")
    put = store.put

    def refuse(*_: object, **__: object) -> str:
        raise UserError("the store is full")

    monkeypatch.setattr(store, "put", refuse)
    counting.answered([NOTE], [ANSWER] * 3)
    counting.flush()
    assert used(store).answers == 0
    monkeypatch.setattr(store, "put", put)
    counting.answered([NOTE], [ANSWER])
    counting.flush()
    assert used(store).answers == 4  # what was refused is not lost while the process lives
    monkeypatch.setattr(store, "put", refuse)
    counting.answered([NOTE], [ANSWER])
    counting.close()
    assert used(store).answers == 4
    assert f"some answers are not counted, the store refused it; {SWITCH}=off counts none" in capsys.readouterr().err


def test_a_full_batch_is_written_at_once(store: FolderStore) -> None:
    written = threading.Event()
    put = store.put

    def noted(key: str, data: bytes) -> str:
        etag = put(key, data)
        written.set()
        return etag

    store.put = noted  # type: ignore[assignment, method-assign]
    counting = Recorder(store, "a/1", NAMED, "page")
    counting.answered([], [ANSWER] * (BATCH - 1))
    assert not written.wait(0.2)
    counting.answered([], [ANSWER])
    assert written.wait(30)
    assert used(store).answers == BATCH
    counting.close()


def test_a_kill_loses_at_most_a_batch(store: FolderStore) -> None:
    code = f"""
import os, signal, sys, time
from clinadapt.monitoring.recorder import BATCH, Recorder
from clinadapt.monitoring.aggregates import Aggregate, Baseline
from clinadapt.storage.folder_store import FolderStore
store = FolderStore({store.uri!r})
counting = Recorder(store, "a/1", Baseline(Aggregate()), "gateway")
counting.answered([], [{ANSWER!r}] * BATCH)
while not store.list("monitoring/"):
    time.sleep(0.01)
counting.answered([], [{ANSWER!r}] * 7)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert used(store).answers == BATCH


def test_a_day_that_is_over_and_a_clock_that_goes_back(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    today = today_utc()
    counting = Recorder(store, "a/1", NAMED, "page")
    for day in (today - timedelta(1), today, today - timedelta(1)):
        monkeypatch.setattr(module, "_today", lambda day=day: day.isoformat())
        counting.answered([NOTE], [ANSWER])
        counting.flush()
    monkeypatch.setattr(module, "_today", today.isoformat)
    counting.close()
    use = read_use(store, "a", "1", (), YEARS_AGO, YEARS_AGO, today)
    assert {day: total.answers for day, total in use.days.items()} == {today - timedelta(1): 2, today: 1}


def test_the_switch(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"{store.uri}/adapters/a/1"
    assert recorder(tmp_path, uri, "page") is not None and recorder(tmp_path, uri, None) is None
    monkeypatch.setenv(SWITCH, "off")
    assert recorder(tmp_path, uri, "page") is None
    monkeypatch.setenv(SWITCH, "no")
    with pytest.raises(UserError, match=f"{SWITCH} is neither on nor off"):
        recorder(tmp_path, uri, "page")


def test_broken_files_and_clocks_that_are_off_are_counted_and_left_out(store: FolderStore) -> None:
    today = today_utc()
    good = json.dumps(Aggregate(5, 5).to_json()).encode()
    days = {"page-1": today, "page-2": today + timedelta(2), "page-3": today - timedelta(30)}
    for name, day in days.items():
        store.put(f"monitoring/a/1/{day}/{name}.json", good)
    broken = {"page-4": b"{", "page-5": b"[]", "page-6": b"\xff", "page-7": b" " * 1_000_001, "page-8": b"[" * 99_999}
    for name, data in broken.items():
        store.put(f"monitoring/a/1/{today}/{name}.json", data)
    store.put("monitoring/a/1/today/page-9.json", good)
    store.put("monitoring/a/1/check.json", b"{}")
    store.put(f"monitoring/a/2/{today}/page-1.json", good)
    use = read_use(store, "a", "1", (), today - timedelta(7), today - timedelta(90), today)
    assert {day: total.answers for day, total in use.days.items()} == {today: 5}
    assert (use.unreadable, use.off_clock, use.others) == (6, 2, {"2": today})
