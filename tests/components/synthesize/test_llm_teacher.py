"""The teacher that asks: what an endpoint may do to it, what it costs, and that no text or key gets anywhere else."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chat_support import KEY, MODEL, ChatServer, completion, environment, scripted
from support import ROOT

import clinadapt.llm_client as chat_client
from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.config.instruct import Synthesis
from clinadapt.data.schemas.instruct import PREFERENCES, TASKS, TEXTS, TRIPLES
from clinadapt.data.tables import TableWriter
from clinadapt.errors import UserError
from clinadapt.llm_client import ChatClient, Refused
from clinadapt.storage.folder_store import FolderStore
from clinadapt.storage.object_store import Store
from components.synthesize import instruct as make
from components.synthesize.filters import answer_flaw, flaw, note_flaw
from components.synthesize.teacher import Dropped, Made, Text, Triple

SECRET = "Xanthippe"  # stands in every text, and may stand in no log
LLM = Synthesis(teacher="llm", triples_per_note=3, concurrency=4, seed=5)
OUTPUTS = ("notes.parquet", "triples.parquet", "preferences.parquet", "dropped.csv")


def texts(cases: int, notes: int = 0) -> list[dict[str, Any]]:
    kinds = ["cases"] * cases + ["notes"] * notes
    return [
        {
            "source": int(kind == "notes"),
            "row": number,
            "kind": kind,
            "text": f"{SECRET} number {number} came with a cough of {number} days. She went home with aspirin.",
            "description": None,
            "private": kind == "notes",
        }
        for number, kind in enumerate(kinds, start=1)
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write what download leaves."""

    def write(
        rows: list[dict[str, Any]],
        triples: list[dict[str, Any]] | None = None,
        preferences: list[dict[str, Any]] | None = None,
    ) -> Path:
        folder = tmp_path / "dataset"
        folder.mkdir()
        for name, found, schema in (
            ("texts", rows, TEXTS),
            ("triples", triples or [], TRIPLES),
            ("preferences", preferences or [], PREFERENCES),
        ):
            pq.write_table(pa.Table.from_pylist(found, schema=schema), folder / f"{name}.parquet")
        write_manifest(folder, {"source": ["builtin://cases"], "quarantined": {"empty": 2}})
        return folder

    return write


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore((tmp_path / "store").as_uri())


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ChatServer]]:
    """Start an endpoint and lead the teacher there; tries follow each other quickly."""
    from contextlib import ExitStack

    monkeypatch.setattr(chat_client, "SHORTEST_WAIT", 0.01)
    with ExitStack() as stack:

        def start(answer: Any = scripted, **settings: Any) -> ChatServer:
            server = stack.enter_context(ChatServer(answer, **settings).serving())
            for name, value in environment(server.url).items():
                monkeypatch.setenv(name, value)
            return server

        yield start


def made(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "triples.parquet", schema=TRIPLES).to_pylist()


def same(one: Path, other: Path) -> None:
    for name in OUTPUTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def ask(client: ChatClient, text: str = f"<case>\n{SECRET}\n</case>") -> str:
    return client.ask([{"role": "user", "content": text}], 50).text


class TestTheStep:
    """With a teacher that needs nobody."""

    class Clerk:
        """Makes a note of each case but every third, and of each note one instruction and one flaw."""

        concurrency, digest, tokens, closed = 3, "sha256:clerk", 0, False

        def note(self, case: Text) -> str:
            time.sleep(0.02 * (case.row % 4))  # the later ones are ready first
            if case.row % 3 == 0:
                raise Dropped("no facts")
            return f"NOTE: {case.text}"

        def triples(self, note: Text) -> Made:
            made = Made([Triple(f"Row {note.row}?", "Yes.", TASKS[0], note.row != 1, "exact", ((0, 4),))])
            made.dropped["twice the same"] += 2
            return made

        def close(self) -> None:
            self.closed = True

    @pytest.fixture
    def clerk(self, monkeypatch: pytest.MonkeyPatch) -> Clerk:
        clerk = self.Clerk()
        monkeypatch.setattr(make, "teacher", lambda settings, cache: clerk)
        return clerk

    def test_rows_keep_their_order_and_ready_made_ones_come_first(
        self, dataset: Callable[..., Path], tmp_path: Path, clerk: Clerk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(TableWriter, "ROWS", 4)
        ready = {
            **{"source": 2, "row": 1, "note_text": "a", "instruction": "b", "answer": "c", "task": "Other"},
            **{"answerable": False, "check": "none", "spans": [], "private": False},
        }
        pair = {"source": 3, "row": 1, "note_text": "a", "instruction": "b", "chosen": "c", "rejected": "d"}
        manifest = make.run(dataset(texts(20, notes=5), [ready] * 6, [pair]), tmp_path / "out", Synthesis(), None)
        triples = made(tmp_path / "out")
        assert triples[:6] == [ready] * 6
        kept = [row for row in range(1, 26) if row > 20 or row % 3]
        assert [triple["row"] for triple in triples[6:]] == kept
        assert triples[6]["spans"] == [{"start": 0, "end": 4}] and not triples[6]["answerable"]
        notes = pq.read_table(tmp_path / "out/notes.parquet", schema=TEXTS).to_pylist()
        assert [(note["row"], note["kind"], note["private"]) for note in notes] == [
            (row, "notes", row > 20) for row in kept
        ]
        assert [triple["note_text"] for triple in triples[6:]] == [note["text"] for note in notes]
        assert pq.read_table(tmp_path / "out/preferences.parquet").to_pylist() == [pair]

        told = {key: manifest[key] for key in ("cases", "notes", "notes_from_cases", "triples", "triples_ready")}
        assert told == {"cases": 20, "notes": 19, "notes_from_cases": 14, "triples": 25, "triples_ready": 6}
        assert manifest["triples_by_task"] == {TASKS[0]: 19, "Other": 6}
        assert manifest["not_answerable_by_task"] == {TASKS[0]: 1, "Other": 6}
        assert manifest["dropped"] == {"twice the same": 38, "no facts": 6} and not manifest["budget_ended"]
        assert manifest["source"] == ["builtin://cases"] and manifest["quarantined"] == {"empty": 2}
        assert manifest["dataset_digest"] == read_json(tmp_path / "dataset" / MANIFEST)["digest"]
        with (tmp_path / "out/dropped.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows[0] == {"source": "0", "row": "1", "reason": "twice the same", "count": "2"}
        assert [row["row"] for row in rows if row["reason"] == "no facts"] == ["3", "6", "9", "12", "15", "18"]

    def test_an_error_leaves_nothing_and_ends_the_teacher(
        self, dataset: Callable[..., Path], tmp_path: Path, clerk: Clerk
    ) -> None:
        def fails(note: Text) -> Made:
            raise UserError("mend it")

        clerk.triples = fails  # type: ignore[method-assign]
        with pytest.raises(UserError, match="mend it"):
            make.run(dataset(texts(50)), tmp_path / "out", Synthesis(), None)
        assert list((tmp_path / "out").iterdir()) == [] and clerk.closed

    def test_nothing_made_says_why(self, dataset: Callable[..., Path], tmp_path: Path, clerk: Clerk) -> None:
        clerk.triples = lambda note: Made(dropped=make.Counter({"no section": 3}))  # type: ignore[method-assign]
        with pytest.raises(UserError, match=r"no instruction could be made.*6 x no section"):
            make.run(dataset(texts(0, notes=2)), tmp_path / "out", Synthesis(), None)
        assert list((tmp_path / "out").iterdir()) == []


def test_it_makes_notes_and_instructions_of_all_tasks(
    dataset: Callable[..., Path], tmp_path: Path, store: Store, endpoint: Callable[..., ChatServer]
) -> None:
    server = endpoint()
    settings = LLM.model_copy(update={"triples_per_note": 8})
    manifest = make.run(dataset(texts(12, notes=6)), tmp_path / "out", settings, store)
    assert manifest["notes"] == 18 and manifest["notes_from_cases"] == 12
    assert set(manifest["triples_by_task"]) == set(TASKS)
    triples = made(tmp_path / "out")
    assert {row["answer"] for row in triples if not row["answerable"]} == {"The note does not say it."}
    lacking = sum(not row["answerable"] for row in triples)
    assert 0 < lacking == manifest["not_answerable"] < len(triples) / 4
    assert server.keys == {f"Bearer {KEY}"} and 1 < server.most <= LLM.concurrency
    assert manifest["teacher"]["tokens"] > 0 and server.asked.total() == len(server.asked)


def test_a_second_run_asks_nothing_and_writes_the_same(
    dataset: Callable[..., Path], tmp_path: Path, store: Store, endpoint: Callable[..., ChatServer]
) -> None:
    server, folder = endpoint(), dataset(texts(5) + texts(5))  # each case twice
    make.run(folder, tmp_path / "one", LLM, store)
    first = server.asked.total()
    assert first == len(server.asked) == 5 * (1 + 2 * LLM.triples_per_note)
    manifest = make.run(folder, tmp_path / "two", LLM, store)
    assert server.asked.total() == first and manifest["teacher"]["tokens"] == 0
    same(tmp_path / "one", tmp_path / "two")
    keys = store.list("teacher/")
    assert len(keys) == first and not any(SECRET in key for key in keys)
    assert all(key.split("/")[1] == key.split("/")[2][:2] for key in keys)
    make.run(folder, tmp_path / "three", LLM.model_copy(update={"seed": 6}), store)
    assert server.asked.total() > first


FAULTS = ["429", "500", "502", "503", "cut", "reset", "malformed", "shapeless", "slow", ""] * 3


def test_what_breaks_for_a_while_changes_nothing(
    dataset: Callable[..., Path],
    tmp_path: Path,
    store: Store,
    endpoint: Callable[..., ChatServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = dataset(texts(6))
    endpoint()
    make.run(folder, tmp_path / "calm", LLM, None)
    monkeypatch.setattr(chat_client, "TIMEOUT", 0.5)  # `slow` takes longer
    server = endpoint(plan=FAULTS, retry_after="0.05")
    make.run(folder, tmp_path / "out", LLM, store)
    same(tmp_path / "calm", tmp_path / "out")
    assert len(server.at) > len(server.asked) and {fault for _, fault in server.at} == set(FAULTS)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_every_request_back(
    form: str, dataset: Callable[..., Path], tmp_path: Path, endpoint: Callable[..., ChatServer]
) -> None:
    after = "2" if form == "seconds" else formatdate(time.time() + 4, usegmt=True)
    server = endpoint(plan=["", "", "429"], retry_after=after)
    make.run(dataset(texts(3)), tmp_path / "out", LLM.model_copy(update={"concurrency": 1}), None)
    times = [at for at, _ in server.at]
    assert [fault for _, fault in server.at][:4] == ["", "", "429", ""]
    assert times[3] - times[2] > 1.9


def test_who_asks_to_come_back_tomorrow_is_not_waited_for(endpoint: Callable[..., ChatServer]) -> None:
    endpoint(plan=["429"], retry_after="86400")
    with pytest.raises(UserError, match="come back in 24.0 hours"):
        ask(ChatClient("CLINADAPT_TEACHER", None))


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ("401", "does not take CLINADAPT_TEACHER_KEY"),
        ("403", f"may not use the model '{MODEL}'"),
        ("404", f"has no model '{MODEL}'"),
        ("moved", "answers with status 307: check CLINADAPT_TEACHER_URL"),
        ("other", f"answers as model 'somebody-else', not as '{MODEL}'"),
    ],
)
def test_what_waiting_does_not_mend_is_said_at_once(
    fault: str,
    wanted: str,
    dataset: Callable[..., Path],
    tmp_path: Path,
    store: Store,
    endpoint: Callable[..., ChatServer],
) -> None:
    server = endpoint(plan=[""] * 4 + [fault] * 4)
    with pytest.raises(UserError, match=wanted) as caught:
        make.run(dataset(texts(20)), tmp_path / "out", LLM, store)
    assert "\n" not in str(caught.value) and SECRET not in str(caught.value) and KEY not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []
    assert len(server.at) <= 4 + LLM.concurrency * 2
    assert len(store.list("teacher/")) == server.answered.total()  # what was paid for is kept


def test_a_redirect_carries_no_note_away(endpoint: Callable[..., ChatServer]) -> None:
    server = endpoint(plan=["moved"])
    with pytest.raises(UserError):
        ask(ChatClient("CLINADAPT_TEACHER", None))
    assert len(server.at) == 1


def test_an_error_elsewhere_does_not_wait_for_who_waits(
    dataset: Callable[..., Path], tmp_path: Path, endpoint: Callable[..., ChatServer]
) -> None:
    """One thread is told to come back in an hour, another that the key is wrong."""
    endpoint(plan=["429", "401"], retry_after="3000", delay=0.2)
    settings = LLM.model_copy(update={"concurrency": 2})
    with pytest.raises(UserError, match="CLINADAPT_TEACHER_KEY"):
        make.run(dataset(texts(4)), tmp_path / "out", settings, None)


def test_a_request_that_is_refused_is_dropped_and_counted(
    dataset: Callable[..., Path], tmp_path: Path, endpoint: Callable[..., ChatServer]
) -> None:
    def picky(body: dict[str, Any]) -> Any:
        return (400, b'{"error": {"message": "too long"}}') if "number 2 " in str(body) else scripted(body)

    endpoint(picky)
    manifest = make.run(dataset(texts(2, notes=1)), tmp_path / "out", LLM, None)
    assert manifest["dropped"] == {"note: the endpoint refuses it (400)": 1} and manifest["notes"] == 2
    with pytest.raises(Refused):
        ask(ChatClient("CLINADAPT_TEACHER", None), "number 2 ")


def test_the_budget_ends_cleanly_and_the_next_run_goes_on(
    dataset: Callable[..., Path], tmp_path: Path, store: Store, endpoint: Callable[..., ChatServer]
) -> None:
    server, folder = endpoint(), dataset(texts(8, notes=4))
    make.run(folder, tmp_path / "whole", LLM, None)
    whole = server.asked.total()
    server.asked.clear()
    settings = LLM.model_copy(update={"token_budget": 5000, "concurrency": 2})
    manifests: list[dict[str, Any]] = []
    while not manifests or manifests[-1]["budget_ended"]:
        manifests.append(make.run(folder, tmp_path / f"{len(manifests)}", settings, store))
    assert len(manifests) > 2
    assert server.asked.total() == len(server.asked) == whole
    for number, manifest in enumerate(manifests[:-1]):
        assert 5000 <= manifest["teacher"]["tokens"] < 5000 + 2 * 400
        notes = pq.read_table(tmp_path / str(number) / "notes.parquet").to_pylist()
        assert sum(note["source"] == 1 for note in notes) == 4  # real notes are passed on
        whole_rows = {row["note_text"] for row in made(tmp_path / str(number))}
        assert manifest["rows_not_asked"] == 12 - len(whole_rows)
        assert manifest["triples"] == LLM.triples_per_note * len(whole_rows)
    same(tmp_path / "whole", tmp_path / f"{len(manifests) - 1}")


def test_a_budget_needs_to_know_what_a_reply_costs(endpoint: Callable[..., ChatServer]) -> None:
    def silent(body: dict[str, Any]) -> Any:
        status, answer = scripted(body)
        return status, answer.replace(b'"usage"', b'"misuse"')

    endpoint(silent)
    with pytest.raises(UserError, match="set the token budget to 0"):
        ask(ChatClient("CLINADAPT_TEACHER", None, budget=100))
    assert ask(ChatClient("CLINADAPT_TEACHER", None))


@pytest.mark.parametrize("name", ["URL", "MODEL", "KEY"])
def test_a_missing_variable_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment("http://127.0.0.1:9/v1", prefix="CLINADAPT_JUDGE").items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv(f"CLINADAPT_JUDGE_{name}", " ")
    with pytest.raises(UserError, match=f"CLINADAPT_JUDGE_{name} is not set") as caught:
        ChatClient("CLINADAPT_JUDGE", None)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel-1f9a"])
def test_a_key_that_cannot_be_is_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**environment("http://127.0.0.1:9/v1"), "CLINADAPT_TEACHER_KEY": key}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="CLINADAPT_TEACHER_KEY holds characters") as caught:
        ChatClient("CLINADAPT_TEACHER", None)
    assert key not in str(caught.value)


STEP = """
import sys
from pathlib import Path
from clinadapt.config.instruct import Synthesis
from clinadapt.artifacts.step_record import step
from clinadapt.storage import open_store
from components.synthesize.instruct import run
dataset, output, store = sys.argv[1:]
with step("synthesize", store):
    settings = Synthesis(teacher="llm", triples_per_note=3, concurrency=4, seed=5)
    run(Path(dataset), Path(output), settings, open_store(store))
"""


def step_process(url: str, folder: Path, output: Path, store: Store, **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STEP, str(folder), str(output), store.uri]
    variables = {**os.environ, **environment(url), "CLINADAPT_RUN": "r1", **more}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables, cwd=ROOT
    )


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_an_endpoint_that_is_down_takes_one_line(dataset: Callable[..., Path], tmp_path: Path, store: Store) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    process = step_process(url, dataset(texts(3)), tmp_path / "out", store)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 2
    assert [line for line in said.splitlines() if "started" not in line] == [
        "clinadapt | synthesize | error: the teacher's endpoint cannot be reached (3 tries): see that it is up, then "
        "run again; what it has answered is kept"
    ]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("plan", [[], ["401"], ["429", "cut", "malformed", "500", "other"]], ids=str)
def test_neither_key_nor_note_is_ever_said(
    plan: list[str], dataset: Callable[..., Path], tmp_path: Path, store: Store, endpoint: Callable[..., ChatServer]
) -> None:
    server = endpoint(plan=plan)
    process = step_process(server.url, dataset(texts(3)), tmp_path / "out", store, OPENAI_LOG="debug")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == (2 if plan else 0), said
    assert "synthesize" in said and KEY not in said and SECRET not in said and "aspirin" not in said
    kept = [store.get(key)[0].decode() for key in store.list()]
    assert len(kept) > 0 and not any(KEY in content for content in kept)
    assert SECRET not in store.get("runs/r1/synthesize.json")[0].decode()
    for path in (tmp_path / "out").rglob("*"):
        assert KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_after_a_kill_nothing_is_asked_twice(
    how: signal.Signals,
    dataset: Callable[..., Path],
    tmp_path: Path,
    store: Store,
    endpoint: Callable[..., ChatServer],
) -> None:
    """A killed process loses what is on the wire, four requests at most; a signal waits for them and loses none."""
    server, folder = endpoint(delay=0.05), dataset(texts(30))
    process = step_process(server.url, folder, tmp_path / "out", store)
    while len(server.at) < 60:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == (75 if how == signal.SIGTERM else -9)
    assert not (tmp_path / "out" / MANIFEST).exists()
    before = server.asked.copy()
    assert 60 <= before.total() < 30 * 7

    make.run(folder, tmp_path / "out", LLM, store)
    twice = sum(count - 1 for count in server.asked.values())
    assert twice <= (0 if how == signal.SIGTERM else LLM.concurrency)
    assert len(server.asked) == 30 * 7 and set(server.asked.values()) <= {1, 2}
    make.run(folder, tmp_path / "calm", LLM, None)
    same(tmp_path / "calm", tmp_path / "out")


def says(text: str, truncated: bool = False) -> Any:
    return chat_client.Reply(text=text, truncated=truncated)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("As an AI, I cannot say.", "speaks of being an AI"),
        ("I'm an AI assistant.", "speaks of being an AI"),
        ("As a large language model I may err.", "speaks of being an AI"),
        ("ECHO: mild AI and MR.", None),
        ("She takes an AI (letrozole).", None),
        ("...", "empty"),
        ("", "empty"),
        ("Cough.", None),
    ],
)
def test_a_reply_that_speaks_of_itself_or_of_nothing(text: str, wanted: str | None) -> None:
    assert flaw(says(text)) == wanted
    assert flaw(says("Cough and", truncated=True)) == "cut off at the longest reply"


def test_an_answer_ends_in_no_question() -> None:
    assert answer_flaw(says('Cough. "Anything else?"'), "Cough.", "What?") == "ends in a question"
    assert answer_flaw(says("Cough? Yes."), "Cough.", "What?") is None


@pytest.mark.parametrize(
    "added", ["Metoprolol 25 mg was given.", "Seen on 03/14/2019.", "WBC 14.2.", "Given warfarin."]
)
def test_a_note_adds_no_fact(added: str) -> None:
    case = "A 61-year-old man took aspirin 81 mg for chest pain on 02/11/2018."
    assert note_flaw(says("1. 61 y/o M, CP since 02/11/2018\n2) on aspirin 81 mg"), case) is None
    assert note_flaw(says(f"61 y/o M on aspirin. {added}"), case) == "adds facts"


def test_an_answer_may_name_what_it_was_asked_for() -> None:
    asked = "Which dose of warfarin was given?"
    assert answer_flaw(says("The note does not say that warfarin was given."), "Cough.", asked) is None
    assert answer_flaw(says("Warfarin 5 mg."), "Cough.", asked) == "adds facts"


def test_flaws_are_counted_by_name(
    dataset: Callable[..., Path], tmp_path: Path, endpoint: Callable[..., ChatServer]
) -> None:
    def careless(body: dict[str, Any]) -> Any:
        text = str(body)
        if "number 1 " in text and "<case>" in text:
            return completion(body, "As an AI language model I cannot.")
        if "number 2 " in text and "<case>" in text:
            return completion(body, "HPI: cough", "length")
        if "number 3 " in text and "<case>" in text:
            return completion(body, "HPI: cough of 412 days")
        if "A clinician asks" in text and "number 4 " in text:
            return completion(body, "<think>Hm, 99?</think>Shall I go on?")
        return scripted(body)

    endpoint(careless)
    manifest = make.run(dataset(texts(5)), tmp_path / "out", LLM, None)
    assert manifest["dropped"] == {
        "answer: ends in a question": 3,
        "note: speaks of being an AI": 1,
        "note: cut off at the longest reply": 1,
        "note: adds facts": 1,
    }
    assert {row["row"] for row in made(tmp_path / "out")} == {5}
