"""What is counted of chat completions, complete or streamed, and what is not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clinadapt.artifacts.hashing import write_json
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import InstructCard
from clinadapt.monitoring import recorder as recorder_module
from clinadapt.monitoring.aggregates import Aggregate
from clinadapt.serving import counting
from clinadapt.serving.counting import Counter, Exchange
from clinadapt.serving.hot_swap import HotSwap
from clinadapt.storage.folder_store import FolderStore

NOTE = "62-year-old woman with chest pain. Aspirin 100 mg was given."
VERSION = "answers/1"
CARD = InstructCard(
    base_model="builtin://tiny", base_digest="d", quantization="none", precision="fp32", seed=0, max_length=64,
    max_new_tokens=16, tasks=[],
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore((tmp_path / "store").as_uri())


@pytest.fixture
def counter(store: FolderStore, tmp_path: Path) -> Iterator[Counter]:
    """Of a gateway whose version 1 lies in a folder; there is no version 2."""
    CARD.write(tmp_path)
    write_json(tmp_path / "evaluation.json", {})
    folders = {"1": tmp_path, "2": tmp_path / "gone"}
    yield Counter(cast(HotSwap, SimpleNamespace(folder_of=folders.__getitem__)), store.uri)


def asked(note: str = NOTE, stream: bool = False, before: str = "") -> dict[str, Any]:
    text = f"{before}### Note\n{note}\n\n### Instruction\nWhich drugs were given?"
    messages = [{"role": "system", "content": "Answer from the note."}, {"role": "user", "content": text}]
    return {"model": VERSION, "messages": messages, "stream": stream}


def complete(text: str = "The note does not mention the dose.", reason: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return json.dumps({"choices": [choice]}).encode()


def streamed(*pieces: dict[str, Any]) -> bytes:
    events = [json.dumps({"choices": [{"index": 0, **piece}]}) for piece in pieces]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()


def counted(store: FolderStore, version: str = VERSION) -> Aggregate:
    keys = store.list(f"monitoring/{version}/")
    return sum((Aggregate.from_json(json.loads(store.get(key)[0]), ()) for key in keys), Aggregate())


def test_complete_and_streamed_answers(store: FolderStore, counter: Counter) -> None:
    counter.put(Exchange(VERSION, asked(), complete(), 0.2))
    words = [{"delta": {"role": "assistant", "content": ""}}, {"delta": {"content": "Ibuprofen\u2028 "}}]
    ends = [{"delta": {"content": "400 mg"}}, {"delta": {}, "finish_reason": "length"}]
    counter.put(Exchange(VERSION, asked(stream=True, before="Answer from the note.\n\n"), streamed(*words, *ends), 2))
    counter.put(Exchange(VERSION, asked(stream=True), streamed(*words), 2))  # cut off on its way
    counter.close()
    total = counted(store)
    assert (total.answers, total.notes) == (2, 1)
    assert total.cells["refusals"] == {"yes": 1, "no": 1} and total.cells["cut_off"] == {"no": 1, "yes": 1}
    assert total.cells["unsupported"] == {"no": 1, "yes": 1}  # ibuprofen is not in the note
    assert total.cells["task"] == {"Named Entity Recognition": 2}
    assert total.cells["latency"] == {"0.1 to 0.3": 1, "1 to 3": 1}
    (key,) = store.list("monitoring/")
    assert not any(word in store.get(key)[0] for word in (b"spirin", b"chest", b"buprofen"))


@pytest.mark.parametrize(
    ("request_body", "reply"),
    [
        (asked() | {"messages": []}, complete()),
        (asked() | {"messages": "x"}, complete()),
        (asked() | {"messages": [{"role": "user", "content": [{"type": "text", "text": NOTE}]}]}, complete()),
        (asked() | {"messages": [{"role": "user", "content": NOTE}]}, complete()),
        ({"model": VERSION}, complete()),
        (asked(), b"{"),
        (asked(), b"[]"),
        (asked(), b"\xff"),
        (asked(), b'{"choices": []}'),
        (asked(), b"[" * 100_000),
        (asked(), complete().replace(b'"The note does not mention the dose."', b"null")),
        (asked(stream=True), complete()),
        (asked(stream=True), b"data: {\n\n"),
        (asked(stream=True), b""),
    ],
    ids=range(14),
)
def test_what_is_no_answer_about_a_note_is_not_counted(
    store: FolderStore, counter: Counter, request_body: dict[str, Any], reply: bytes
) -> None:
    counter.put(Exchange(VERSION, request_body, reply, 1))
    counter.put(Exchange(VERSION, asked(), complete(), 1))
    counter.close()
    assert (counted(store).answers, counted(store).notes) == (1, 1)


def test_a_version_that_is_gone_and_a_bug_stop_nothing(
    store: FolderStore, counter: Counter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check = counting.check

    def broken(text: str, *rest: Any) -> Any:
        if text == "bug":
            raise MemoryError(NOTE)
        return check(text, *rest)

    monkeypatch.setattr(counting, "check", broken)
    for version, text in (("answers/2", "x"), ("answers/2", "y"), (VERSION, "bug"), (VERSION, "Aspirin.")):
        counter.put(Exchange(version, asked(), complete(text), 1))
    counter.close()
    told = capsys.readouterr().err
    assert counted(store).answers == 1 and counted(store, "answers/2").answers == 0
    assert told.count("answers of answers/2 are not counted: ") == 1 and "a bug, MemoryError: an answer" in told
    assert NOTE not in told


def test_a_version_is_counted_once_its_store_can_be_opened(
    store: FolderStore, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, looks = recorder_module.open_store, iter([UserError("down"), UserError("down")])

    def sometimes_down(uri: str) -> Any:
        if error := next(looks, None):
            raise error
        return opened(uri)

    monkeypatch.setattr(recorder_module, "open_store", sometimes_down)
    for number in range(5):
        counter.put(Exchange(VERSION, asked(f"{NOTE} {number}"), complete(), 1))
    counter.close()
    assert counted(store).answers == 3


def test_closing_waits_for_no_store_that_hangs(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, goes_on = recorder_module.open_store, threading.Event()
    monkeypatch.setattr(recorder_module, "open_store", lambda uri: goes_on.wait(60) and opened(uri))
    monkeypatch.setattr(counting, "_CLOSING", 0.1)
    for number in range(3 * counting._WAITING):
        counter.put(Exchange(VERSION, asked(f"{NOTE} {number}"), complete(), 1))
    start = time.monotonic()
    counter.close()
    assert time.monotonic() - start < 30
    goes_on.set()
    monkeypatch.undo()
    counter.close()


def test_a_store_that_hangs_delays_no_answer(
    store: FolderStore, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store does not answer until it is let to; more than may wait is given to the counter meanwhile."""
    opened, goes_on = threading.Event(), threading.Event()
    open_store = recorder_module.open_store

    def hanging(uri: str) -> Any:
        opened.set()
        assert goes_on.wait(60)
        return open_store(uri)

    monkeypatch.setattr(recorder_module, "open_store", hanging)
    for number in range(3 * counting._WAITING):
        counter.put(Exchange(VERSION, asked(f"{NOTE} {number}"), complete(), 1))
    assert opened.wait(60)
    goes_on.set()
    counter.close()
    assert counting._WAITING <= counted(store).answers <= 3 * counting._WAITING
