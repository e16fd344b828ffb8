"""A new champion on a running server: fetched, verified, compared and only then answering; killed at every point."""

from __future__ import annotations

import errno
import json
import re
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_server import Error
from fake_vllm import REFERENCES
from serving_site import NAME, Site

from clinadapt.artifacts.signing import VERIFY_KEY
from clinadapt.errors import UserError
from clinadapt.feedback.records import encode
from clinadapt.registry.champion import read_pointer
from clinadapt.registry.promotion import promote_manually, roll_back
from clinadapt.serving import hot_swap
from clinadapt.serving.hot_swap import Canary, HotSwap
from clinadapt.serving.shadow import Comparison
from clinadapt.serving.vllm_server import VllmServer
from clinadapt.storage.folder_store import FolderStore

NOTES = [f"note {number}".encode() for number in range(400)]
Two = Callable[[], HotSwap]


class Killed(BaseException):
    """The process is gone."""


def test_a_new_champion_answers_without_a_restart(site: Site, two: Two) -> None:
    """While it is compared the old one answers; what a request on its way may need stays loaded for one more look."""
    swap, routed = two(), set[str | None]()
    site.fake.before = lambda method, path: routed.add(swap.route(NAME, b"note"))
    swap.follow()
    assert routed == {f"{NAME}/old"} and swap.route(NAME, b"note") == f"{NAME}/new"
    assert site.loaded() == [f"{NAME}/new", f"{NAME}/old"]
    assert "16 questions" in swap.serving.result and "old 37.5%" in swap.serving.result
    assert site.fake.asked.count(f"{NAME}/new") == 16 == site.fake.asked.count(f"{NAME}/old") - 16
    swap.follow()
    assert site.loaded() == [f"{NAME}/new"]
    assert [path.name for path in (site.folder / "served/versions").iterdir()] == ["new"]
    asked = len(site.fake.asked)
    swap.follow()
    assert len(site.fake.asked) == asked, "nothing is compared twice"


def test_another_result_than_in_its_evaluation(site: Site, two: Two, capsys: pytest.CaptureFixture[str]) -> None:
    """As where the server has another chat template or does not apply the adapter: the old one goes on."""
    swap = two()
    site.publish("bad", 0.4, evaluated=1.0)
    swap.follow()
    assert swap.serving.version == "old" and site.loaded() == [f"{NAME}/old"]
    assert swap.refusal.version == "bad" and "in its evaluation of 16 questions" in swap.refusal.reason
    assert f"{NAME}/bad does not answer, old does: token F1" in capsys.readouterr().err
    asked = len(site.fake.asked)
    swap.follow()
    assert len(site.fake.asked) == asked, "it is not asked again"
    pointer = read_pointer(site.store, NAME)
    assert pointer
    promote_manually(site.store, NAME, "new")
    swap.follow()
    assert swap.serving.version == "new"


def test_a_version_that_awaits_approval_does_not_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where it is named, until people have approved it."""
    site.publish("old", 0.5)
    site.start().follow()
    site.publish("new", 0.9)
    standing = f"{NAME}/new is not the champion, it is awaiting approval: 1 of 2"
    asked: list[str] = []

    def unapproved(store: Any, name: str, version: str) -> str:
        asked.append(version)
        return standing

    monkeypatch.setattr(hot_swap, "unapproved", unapproved)
    server = VllmServer(site.address)
    swap = HotSwap(site.store, f"{NAME}/new", server, site.folder / "served", lambda *_: None, Canary())
    swap.follow()
    assert swap.problem.startswith(standing) and swap.serving.version == "old" and site.loaded() == [f"{NAME}/old"]
    standing = ""
    swap = HotSwap(site.store, f"{NAME}/new", server, site.folder / "served", site.start()._compare, Canary())
    swap.follow()
    assert swap.serving.version == "new"
    swap.follow()
    assert asked == ["new", "new"], "a version that answers goes on without a look at its approval"


def test_worse_than_the_one_before_it_on_this_server(site: Site) -> None:
    """Unless a person chose it: a rollback may go to a lower figure."""
    site.publish("good", 0.9)
    swap = site.start()
    swap.follow()
    site.publish("worse", 0.4)
    swap.follow()
    assert swap.serving.version == "good" and f"by {NAME}/good, which answers now" in swap.refusal.reason
    roll_back(site.store, NAME)
    promote_manually(site.store, NAME, "worse")
    swap.follow()
    assert swap.serving.version == "worse"
    roll_back(site.store, NAME)
    swap.follow()
    assert swap.serving.version == "good"


def test_nothing_to_ask(site: Site) -> None:
    """The first version answers, as it would without all this; a new one needs evidence. Flagged answers are some."""
    site.publish("old", 0.5)
    swap = site.start(splits=None)
    swap.follow()
    assert swap.serving.version == "old" and swap.serving.result.startswith("not compared")
    site.publish("new", 0.9)
    swap.follow()
    assert swap.serving.version == "old" and "give --splits" in swap.refusal.reason
    for number, ((note, instruction), answer) in enumerate(REFERENCES.items()):
        answered = {"instruction": instruction, "answer": "x", "adapter": f"{site.store.uri}/adapters/{NAME}/old"}
        record = {"time": "2026-01-01T00:00:00Z", "reviewer": None, "note_id": "0", "note": note, "answer": answered,
                  "fault": "wrong", "correction": answer if number % 2 else None, "comment": None}  # fmt: skip
        site.store.put(f"flagged/{NAME}/old/2026-{number:02}.json", encode(record, "flag"))
    site.store.put(f"flagged/{NAME}/old/2027.json", b"{broken")
    swap = site.start(splits=None)
    swap.follow()
    assert swap.serving.version == "new" and "16 questions" in swap.serving.result
    for key in sorted(site.store.list(f"flagged/{NAME}/"))[:-4]:
        site.store.delete(key)
    site.publish("newer", 1.0)
    swap.follow()
    assert swap.serving.version == "new" and "only 3 questions could be asked" in swap.refusal.reason


def test_questions_that_the_server_refuses_are_counted(site: Site, two: Two) -> None:
    site.fake.longest = len(max((note for note, _ in REFERENCES), key=len)) + 40
    swap = two()
    swap.follow()
    assert "refused as too long" in (swap.serving.result or swap.refusal.reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_length": 1024}, r"another max-model-len \(512, it needs 1024\)"),
        ({"r": 64}, r"another max-lora-rank \(8, it needs 64\)"),
        ({"precision": "bf16"}, "another dtype"),
        ({"quantization": "nf4"}, "another quantization"),
        ({"max_new_tokens": 64}, "another override-generation-config"),
    ],
)
def test_what_needs_a_restart_is_named(site: Site, two: Two, changes: dict[str, Any], reason: str) -> None:
    swap = two()
    swap.follow()
    site.publish("other", 1.0, **changes)
    swap.follow()
    assert swap.serving.version == "new" and f"{NAME}/other" not in site.loaded()
    assert re.search(reason, swap.refusal.reason) and "restart the server" in swap.refusal.reason


def test_a_server_started_anew_for_another_champion(site: Site, two: Two) -> None:
    """`registry fetch` again and a restart: what cannot answer there any more does not block the champion."""
    swap = two()
    swap.follow()
    site.publish("other", 1.0, max_length=1024)
    swap.follow()
    assert swap.serving.version == "new"
    (site.folder / "served/vllm.yaml").unlink()
    site.fake.loaded.clear()
    swap = site.start()
    swap.follow()
    assert swap.serving.version == "other" and site.loaded() == [f"{NAME}/other"]


def test_a_server_that_has_started_anew_gets_its_version_again(site: Site, two: Two) -> None:
    swap = two()
    swap.follow()
    site.fake.loaded.clear()
    shutil.rmtree(site.folder / "store/adapters" / NAME / "new")  # it lies here, verified
    swap.follow()
    assert site.loaded() == [f"{NAME}/new"] and swap.serving.version == "new"


def test_what_was_not_published_is_not_loaded(
    site: Site, two: Two, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    swap, weights = two(), site.folder / "store/adapters" / NAME / "new/adapter_model.safetensors"
    intact = weights.read_bytes()
    weights.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    swap.follow()
    assert swap.serving.version == "old" and "is not what was published" in swap.problem
    weights.write_bytes(intact)
    monkeypatch.setenv(VERIFY_KEY, "-----BEGIN PUBLIC KEY-----")
    swap.follow()
    assert swap.serving.version == "old" and "is not signed" in swap.problem
    monkeypatch.delenv(VERIFY_KEY)
    swap.follow()
    assert swap.serving.version == "new"
    here = site.folder / "served/versions/new/adapter_model.safetensors"  # what somebody changed here is fetched again
    here.write_bytes(b"other")
    site.fake.loaded.clear()
    swap.follow()
    assert here.read_bytes() == intact and site.loaded() == [f"{NAME}/new"]


def test_a_pointer_to_another_folder(site: Site, two: Two) -> None:
    swap, path = two(), site.folder / "store/adapters" / NAME / "champion.json"
    pointer = json.loads(path.read_text())
    path.write_text(json.dumps(pointer | {"version": "../../made-new"}))
    swap.follow()
    assert "is no version" in swap.problem and (site.folder / "made-new").is_dir() and swap.serving.version == "old"
    for name in ("../x", "", "a/../b", "a/b/c"):
        with pytest.raises(UserError, match="is no adapter"):
            HotSwap(site.store, name, VllmServer(site.address), site.folder / "served", lambda *_: None, Canary())


def test_a_full_disk(site: Site, two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    swap = two()

    def full(source: Any, target: Path) -> None:
        Path(target).mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(hot_swap.shutil, "copytree", full)
        swap.follow()
    assert "No space left on device" in swap.problem and swap.serving.version == "old"
    assert [path.name for path in (site.folder / "served/versions").iterdir()] == ["old"]
    swap.follow()
    assert swap.serving.version == "new" and swap.problem == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dynamic": False}, "start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"),
        ({"key": "secret"}, "refuses the key: set VLLM_API_KEY"),
        ({"broken": {f"{NAME}/new"}}, "does not answer as assistant/new: status 500"),
        ({"html": True}, "has no list of models"),
    ],
)
def test_a_server_that_cannot_be_used(
    site: Site, two: Two, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line in the log while it lasts, and the old version answers."""
    swap = two()
    site.fake.__dict__.update(change)
    swap.follow()
    swap.follow()
    assert message in swap.problem and swap.serving.version == "old"
    assert capsys.readouterr().err.count(message) == 1


def test_a_server_that_is_down(site: Site, two: Two) -> None:
    swap = two()
    swap._server = VllmServer("http://127.0.0.1:9")
    swap.follow()
    assert "does not answer (ConnectError)" in swap.problem and swap.serving.version == "old"
    with pytest.raises(UserError, match="unencrypted"):
        VllmServer("http://gpu.example.org:8000")


def killed_at(monkeypatch: pytest.MonkeyPatch, point: int) -> Callable[[], bool]:
    """Kill the process at its n-th request, use of the store, write or removal, before or after it; returns whether it
    came to that."""
    count = 0

    def use() -> None:
        nonlocal count
        count += 1
        if count == point:
            raise Killed

    def around(target: Any, name: str) -> None:
        method = getattr(target, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            use()
            result = method(*args, **options)
            use()
            return result

        monkeypatch.setattr(target, name, wrapped)

    for name in ("models", "load", "unload", "answer"):
        around(VllmServer, name)
    for name in ("get", "download"):
        around(FolderStore, name)
    around(HotSwap, "_write")
    around(hot_swap.shutil, "copytree")
    around(hot_swap.shutil, "rmtree")
    return lambda: count >= point


def test_killed_at_every_point(site: Site, two: Two) -> None:
    """What answers is loaded at every moment; the next process comes to the new version, alone, and never to none."""
    two()
    server = VllmServer(site.address)

    def asked_once(version: str, old: str | None, folder: Path, must_not_be_worse: bool) -> Comparison:
        for name in filter(None, (version, old)):
            assert server.answer(f"{NAME}/{name}", [{"role": "user", "content": "x"}], 8)
        return Comparison(16, 0, 16, {"new": {}, "old": {}, "evaluated": {}}, [])

    begun = {path: path.read_bytes() for path in (site.folder / "served").rglob("*") if path.is_file()}
    kills, point, reached = 0, 0, True
    while reached:
        point += 1
        shutil.rmtree(site.folder / "served")
        for path, data in begun.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        site.fake.loaded = {f"{NAME}/old": str(site.folder / "served/versions/old")}
        swap = site.start(compare=asked_once)
        with pytest.MonkeyPatch.context() as patch:
            came_to_it = killed_at(patch, point)
            try:
                swap.follow()
                swap.follow()
            except Killed:
                kills += 1
            reached = came_to_it()
        answering = site.start(compare=asked_once).route(NAME, b"note")
        assert answering in site.fake.loaded, "what a request is passed on to"
        successor = site.start(compare=asked_once)
        successor.follow()
        assert successor.route(NAME, b"note") == f"{NAME}/new" and not successor.problem
        successor.follow()
        assert site.loaded() == [f"{NAME}/new"]
        assert [path.name for path in (site.folder / "served/versions").iterdir()] == ["new"]
    print(f"{kills} kills of the swap, one version answers each time")
    assert kills > 20


def test_two_at_once(site: Site, two: Two) -> None:
    swaps = [two(), site.start()]
    threads = [threading.Thread(target=swap.follow) for swap in swaps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [swap.serving.version for swap in swaps] == ["new", "new"] and not any(swap.problem for swap in swaps)
    assert site.fake.asked.count(f"{NAME}/new") == 16, "one of them has compared"


def test_another_process_loads_the_same(site: Site, two: Two) -> None:
    """Loaded between our look and our request: refused by the server as loaded already, which is what we want."""
    swap = two()
    folder = str(site.folder / "served/versions/new")
    site.fake.before = lambda method, path: (
        site.fake.loaded.update({f"{NAME}/new": folder}) if path.endswith("/load_lora_adapter") else None
    )
    swap.follow()
    assert swap.serving.version == "new"
    site.publish("newer", 1.0)
    site.fake.before = lambda method, path: (
        site.fake.loaded.update({f"{NAME}/newer": "/elsewhere"}) if path.endswith("/load_lora_adapter") else None
    )
    swap.follow()
    assert "has another folder loaded as assistant/newer" in swap.problem and swap.serving.version == "new"


def test_a_canary(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of the notes, the same note always to the same version; all of them when its time is over."""
    site.publish("old", 0.5)
    swap = site.start(Canary(percent=10, minutes=30))
    swap.follow()
    assert swap.serving.version == "old" and not swap.serving.canary, "the first has nothing to be tried against"
    site.publish("new", 0.9)
    swap.follow()
    routed = [swap.route(NAME, note) for note in NOTES]
    assert 20 < routed.count(f"{NAME}/new") < 60 and routed == [swap.route(NAME, note) for note in NOTES]
    assert swap.route(f"{NAME}/new", b"") == f"{NAME}/new" and swap.route(f"{NAME}/other", b"") is None
    swap.follow()
    assert swap.serving.canary == "new" and site.loaded() == [f"{NAME}/new", f"{NAME}/old"]
    later = site.start(Canary(percent=10, minutes=30))  # the trial outlives the process
    later.serving = later.serving.model_copy(update={"canary_since": datetime.now(UTC) - timedelta(minutes=31)})
    later._write(result="x")
    later.follow()
    assert (later.serving.version, later.serving.canary) == ("new", "")
    assert {later.route(NAME, note) for note in NOTES} == {f"{NAME}/new"}


def test_a_canary_with_a_failed_request(site: Site, two: Two) -> None:
    two()
    swap = site.start(Canary(percent=50, minutes=0))
    swap.follow()
    swap.failed(f"{NAME}/new")
    swap.follow()
    assert (swap.serving.version, swap.serving.canary) == ("old", "") and site.loaded() == [f"{NAME}/old"]
    assert swap.refusal.reason == "1 of its requests failed while it had a share of them"
    assert {swap.route(NAME, note) for note in NOTES} == {f"{NAME}/old"}


def test_a_canary_that_does_not_fit_a_server_started_anew(
    site: Site, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that answers goes on."""
    two()
    swap = site.start(Canary(percent=50))
    swap.follow()
    assert swap.serving.canary == "new"
    site.fake.loaded.clear()
    monkeypatch.setattr(hot_swap, "needs_restart", lambda _, folder: "another dtype" * (folder.name == "new"))
    swap.follow()
    assert (swap.serving.version, swap.serving.canary) == ("old", "") and site.loaded() == [f"{NAME}/old"]


def test_a_rollback_ends_a_canary(site: Site, two: Two) -> None:
    two()
    swap = site.start(Canary(percent=50))
    swap.follow()
    assert swap.serving.canary == "new"
    roll_back(site.store, NAME)
    swap.follow()
    assert (swap.serving.version, swap.serving.canary) == ("old", "") and site.loaded() == [f"{NAME}/old"]


def test_a_broken_state_is_named(site: Site, two: Two) -> None:
    two()
    (site.folder / "served/serving.json").write_text("{")
    with pytest.raises(UserError, match=r"serving\.json is broken: remove it"):
        site.start()
    shutil.rmtree(site.folder / "served")
    (site.folder / "served").mkdir()
    with pytest.raises(UserError, match="run clinadapt registry fetch assistant --hot-swap first"):
        HotSwap(site.store, NAME, VllmServer(site.address), site.folder / "served", lambda *_: None, Canary())


def test_an_error_of_the_server_is_no_text_of_a_note(site: Site, two: Two, capsys: pytest.CaptureFixture[str]) -> None:
    swap = two()
    site.fake.before = lambda method, path: (_ for _ in ()).throw(
        Error(500, "rank 64 is greater than max_lora_rank 16.\x1b[0m")
    ) if path.endswith("/load_lora_adapter") else None  # fmt: skip
    swap.follow()
    assert "does not load assistant/new: rank 64 is greater than max_lora_rank 16." in swap.problem
    assert "\x1b" not in capsys.readouterr().err
