"""An interrupted training resumes and ends with the bytes of one that was never interrupted."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import incomplete, train_in_process

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.config.base import Lora
from clinadapt.config.classify import ClassifyTraining, Windows
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import ClassifyCard
from clinadapt.storage import open_store
from clinadapt.storage.folder_store import FolderStore
from components.train.checkpoints import Checkpoints, training_inputs
from components.train.classifier_trainer import ClassifierTrainer
from components.train.classify import run
from components.train.resumable_trainer import ResumableTrainer

SMALL: dict[str, Any] = {
    "windows": Windows(max_length=64, max_windows=4),
    "train_windows": 1,
    "precision": "fp32",
    "num_train_epochs": 3,
    "learning_rate": 0.01,
}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("tiny_llama", {}),
    "dropout": ("tiny_llama", {"lora": Lora(lora_dropout=0.1)}),
    "accumulation": ("tiny_llama", {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3}),
    "nf4 and dropout": (
        "tiny_bert",
        {"quantization": "nf4", "lora": Lora(r=4, lora_dropout=0.1, modules_to_save=["pooler"])},
    ),
    "bf16": ("tiny_llama", {"precision": "bf16"}),
    "linear probe": ("tiny_bert", {"pooling": "mean"}),
}


@dataclass
class Training:
    """One training, to be stopped and begun again."""

    splits: Path
    folder: Path
    settings: ClassifyTraining
    monkeypatch: pytest.MonkeyPatch

    @property
    def store(self) -> FolderStore:
        return FolderStore((self.folder / "store").as_uri())

    def folders(self) -> list[str]:
        """The checkpoints with a manifest."""
        return [key.removesuffix(f"/{MANIFEST}") for key in self.store.list("checkpoints/") if key.endswith(MANIFEST)]

    def steps(self) -> list[int]:
        return sorted(int(folder.rpartition("-")[2]) for folder in self.folders())

    def finish(self, name: str = "adapter", **changes: Any) -> dict[str, Any]:
        return run(self.splits, self.folder / name, self.settings.model_copy(update=changes), self.store)

    def stop(self, step: int, number: signal.Signals = signal.SIGTERM, saved: int = 0) -> None:
        """Train until a signal comes in the middle of this step, which saves it, or else the step `saved`."""
        loss = ClassifierTrainer.compute_loss

        def signalled(trainer: ClassifierTrainer, *arguments: Any, **options: Any) -> Any:
            if trainer.state.global_step == step - 1:
                signal.raise_signal(number)
            return loss(trainer, *arguments, **options)

        with self.monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(ClassifierTrainer, "compute_loss", signalled)
            self.finish("stopped")
        assert not (self.folder / "stopped" / MANIFEST).exists()
        assert self.steps()[-1] == (saved or step)

    def bytes(self, name: str = "adapter") -> bytes:
        return (self.folder / name / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def training(
    request: pytest.FixtureRequest, splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Training]:
    def make(way: str, **changes: Any) -> Training:
        base, own = WAYS[way]
        uri = request.getfixturevalue(base).as_uri()
        return Training(splits, tmp_path, ClassifyTraining(base_model=uri, **{**SMALL, **own, **changes}), monkeypatch)

    return make


def reproducible(training: dict[str, Any]) -> dict[str, Any]:
    """The part of training.json that an interruption must not change."""
    same = {key: training[key] for key in ("curve", "best_step", "stopped_early", "token_share_per_epoch")}
    return same | {"tokens": round(training["seconds"] * training["tokens_per_second"])}


@pytest.mark.parametrize("way", WAYS)
def test_it_resumes_to_the_same_bytes(
    training: Callable[..., Training], way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped after the first step, within an epoch, at an epoch's end, after the first step of one and before the
    last step of all."""
    one = training(way)
    undisturbed = run(one.splits, one.folder / "undisturbed", one.settings)
    epoch = next(entry["step"] for entry in undisturbed["curve"] if "validation_loss" in entry)
    stops = [1, epoch // 2, epoch, epoch + 1, 3 * epoch - 1]
    for step in stops:
        one.stop(step, signal.SIGINT if step == epoch else signal.SIGTERM)
    result = one.finish()
    assert one.bytes() == one.bytes("undisturbed")
    assert ClassifyCard.read(one.folder / "adapter") == ClassifyCard.read(one.folder / "undisturbed")
    assert reproducible(result) == reproducible(undisturbed)
    errors = capsys.readouterr().err
    assert re.findall(r"resuming at step (\d+) of (\d+)", errors) == [(str(step), str(3 * epoch)) for step in stops]
    assert all(f"saved at step {step} of {3 * epoch}: run again to resume" in errors for step in stops)
    assert one.store.list("checkpoints/") == []


def test_a_stopped_early_training_stops_where_it_would_have(training: Callable[..., Training]) -> None:
    one = training("plain", num_train_epochs=30, learning_rate=0.3, early_stopping_patience=2)
    undisturbed = run(one.splits, one.folder / "undisturbed", one.settings)
    ends = [entry["step"] for entry in undisturbed["curve"] if "validation_loss" in entry]
    assert undisturbed["stopped_early"] and len(ends) >= 3
    for step in (ends[-3], ends[-2]):
        one.stop(step)
    assert reproducible(one.finish()) == reproducible(undisturbed)
    assert one.bytes() == one.bytes("undisturbed")


def test_a_signal_in_the_last_step_keeps_the_earlier_checkpoint(training: Callable[..., Training]) -> None:
    """Training is over, and no later checkpoint is worth its time; the retry ends it again."""
    one = training("plain", num_train_epochs=2)
    undisturbed = run(one.splits, one.folder / "undisturbed", one.settings)
    last = undisturbed["curve"][-1]["step"]
    one.stop(last, saved=last // 2)
    assert reproducible(one.finish()) == reproducible(undisturbed)
    assert one.bytes() == one.bytes("undisturbed")


@pytest.mark.parametrize(("file", "reported"), [("tensors.safetensors", True), (MANIFEST, False)])
def test_a_broken_checkpoint_falls_back(
    training: Callable[..., Training], capsys: pytest.CaptureFixture[str], file: str, reported: bool
) -> None:
    """A flipped bit, and an upload that never ended."""
    one = training("plain", num_train_epochs=1)
    run(one.splits, one.folder / "undisturbed", one.settings)
    one.stop(3)
    one.stop(5)
    assert one.steps() == [3, 5]
    path = one.folder / "store" / max(one.folders()) / file
    if file == MANIFEST:
        path.unlink()
    else:
        damage(path, "flipped")
    capsys.readouterr()
    one.finish()
    errors = capsys.readouterr().err
    assert "resuming at step 3 of" in errors
    assert ("the checkpoint of step 5 is broken" in errors) is reported
    assert one.bytes() == one.bytes("undisturbed")


def damage(path: Path, damage_kind: str) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    bare = b'{"files": {}, "digest": "sha256:0"}'
    path.write_bytes(
        {"flipped": data, "cut": data[: len(data) // 2], "empty": b"", "gone": b"", "bare": bare}[damage_kind]
    )
    if damage_kind == "gone":
        path.unlink()


@pytest.mark.parametrize("damage_kind", ["flipped", "cut", "empty", "gone"])
@pytest.mark.parametrize("file", ["state.json", "big.safetensors", MANIFEST])
def test_what_is_not_whole_is_not_taken(tmp_path: Path, file: str, damage_kind: str) -> None:
    checkpoints = saved_checkpoints(tmp_path, 1, [3, 5])
    damage(tmp_path / "store" / checkpoints.prefix / "step-5" / file, damage_kind)
    assert checkpoints.newest(tmp_path / "found") == 3
    damage(tmp_path / "store" / checkpoints.prefix / "step-3" / file, damage_kind)
    assert checkpoints.newest(tmp_path / "again") is None


def saved_checkpoints(folder: Path, processes: int, steps: list[int]) -> Checkpoints:
    """Two small files at each of some steps."""
    checkpoints = Checkpoints(open_store((folder / "store").as_uri()), {"seed": 0}, processes)

    def write(folder: Path) -> None:
        (folder / "state.json").write_text('{"seconds": 1.5}')
        (folder / "big.safetensors").write_bytes(bytes(range(256)) * 100)

    for step in steps:
        checkpoints.save(step, write)
        assert checkpoints.wait()
    return checkpoints


def test_what_lies_beyond_the_step_that_was_reached_stays(tmp_path: Path) -> None:
    """Of a pod that was given up for lost and trains on, a checkpoint that is not whole yet."""
    checkpoints, store = saved_checkpoints(tmp_path, 1, [3]), open_store((tmp_path / "store").as_uri())
    store.put(f"{checkpoints.prefix}/step-9/state.json", b"{}")
    store.put(f"{checkpoints.prefix}/step-2/state.json", b"{}")
    saved_checkpoints(tmp_path, 1, [5])
    left = {key.split("/")[2] for key in store.list(f"{checkpoints.prefix}/")}
    assert left == {"step-3", "step-5", "step-9"}


def test_a_checkpoint_whose_files_another_process_removes_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = FolderStore.upload

    def raced(self: FolderStore, path: Path, key: str, *rest: Any, **options: Any) -> None:
        upload(self, path, key, *rest, **options)
        self.delete(key)

    checkpoints = saved_checkpoints(tmp_path, 1, [3])
    monkeypatch.setattr(FolderStore, "upload", raced)
    checkpoints.save(5, lambda folder: (folder / "state.json").write_text("{}") and None)
    assert not checkpoints.wait()
    assert "step-5 were removed while it was published" in capsys.readouterr().err
    assert checkpoints.newest(tmp_path / "found") == 3


def test_a_checkpoint_that_scratch_cannot_hold_is_left_out(
    tmp_path: Path, mounted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(mounted("size=64k")))
    checkpoints = Checkpoints(open_store((tmp_path / "store").as_uri()), {"seed": 0}, 1)
    checkpoints.save(5, lambda folder: save_file({"weights": torch.zeros(100_000)}, folder / "big.safetensors"))
    assert not checkpoints.wait()
    assert "a checkpoint could not be saved, training continues without it" in capsys.readouterr().err
    assert open_store((tmp_path / "store").as_uri()).list() == []


def test_what_decides_the_training_finds_its_checkpoints(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ClassifyTraining(base_model=tiny_llama.as_uri())

    def key(splits: str = "a", base: str = "b", precision: Any = "fp32", **changes: Any) -> str:
        changed = settings.model_copy(update=changes)
        return Checkpoints(
            FolderStore("file:///none"), training_inputs("classify", splits, base, changed, precision), 1
        ).prefix

    assert key() == key(checkpoint_minutes=1) and re.fullmatch("checkpoints/[0-9a-f]{16}", key())
    others = [key(splits="c"), key(base="c"), key(precision="bf16"), key(learning_rate=0.02), key(seed=1),
              key(num_train_epochs=2), key(lora=Lora(r=2)), key(quantization="nf4"), key(pooling="mean")]  # fmt: skip
    monkeypatch.setattr("components.train.checkpoints.code_version", lambda module: "another")
    assert len({*others, key()}) == len(others) + 1


def test_another_trainings_checkpoint_is_refused(tmp_path: Path) -> None:
    ours = saved_checkpoints(tmp_path, 1, [3])
    other = Checkpoints(open_store((tmp_path / "store").as_uri()), {"seed": 1}, 1)
    shutil.copytree(tmp_path / "store" / ours.prefix, tmp_path / "store" / other.prefix)
    with pytest.raises(UserError, match=rf"{other.prefix}/step-3 is of other settings, data or code: remove"):
        other.newest(tmp_path / "found")


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    two = saved_checkpoints(tmp_path, 2, [7])
    assert two.newest(tmp_path / "two") == 7 and (tmp_path / "two/step-7" / MANIFEST).exists()
    one = Checkpoints(open_store((tmp_path / "store").as_uri()), {"seed": 0}, 1)
    with pytest.raises(
        UserError, match="written by 2 processes, and now there are 1: train with 2, or remove checkpoints/"
    ):
        one.newest(tmp_path / "one")


@pytest.mark.parametrize(
    ("background", "blocking_ms", "minutes", "seconds"),
    [
        (0.0, [], 5.0, 15.0),  # nothing was measured yet
        (0.05, [20.0], 5.0, 15.0),
        (1.0, [9000.0, 500.0], 5.0, 150.0),  # 1 % of the time
        (20.0, [500.0], 5.0, 300.0),
        (1.0, [500.0], 0.1, 6.0),
    ],
)
def test_saving_takes_one_percent_of_the_time(
    tmp_path: Path, background: float, blocking_ms: list[float], minutes: float, seconds: float
) -> None:
    trainer = ResumableTrainer.__new__(ResumableTrainer)
    trainer._checkpoints, trainer._max_interval, trainer.blocking_ms = (
        saved_checkpoints(tmp_path, 1, []),
        minutes * 60,
        blocking_ms,
    )
    trainer._checkpoints.seconds = background
    assert trainer._interval() == pytest.approx(seconds)


def test_what_a_save_took_is_measured(tmp_path: Path) -> None:
    assert saved_checkpoints(tmp_path, 1, [3]).seconds > 0


def test_the_newest_two_are_kept(training: Callable[..., Training]) -> None:
    """With a checkpoint at every step that can take one; what a killed process has left is removed too."""
    one = training("plain", checkpoint_minutes=1e-6)
    one.stop(2)
    left_over = f"{one.folders()[0].rpartition('/')[0]}/step-0/state.json"
    one.store.put(left_over, b"{}")
    one.stop(9)
    assert len(one.steps()) == 2 and one.steps()[1] == 9
    assert not one.store.exists(left_over)
    assert incomplete(one.store) == []
    result = one.finish()
    assert result["checkpoints"] >= 4 and result["checkpoint_blocking_ms"] > 0
    assert one.store.list("checkpoints/") == []


def test_at_most_one_upload_and_training_goes_on(
    training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that waits until training has done three steps more, or a second has passed."""
    flying, most, steps, meanwhile = 0, 0, 0, []
    loss = ClassifierTrainer.compute_loss

    def counted(trainer: ClassifierTrainer, *arguments: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        return loss(trainer, *arguments, **options)

    publish = SealedFolder.publish

    def slow(self: SealedFolder, folder: Path, manifest: dict[str, Any] | None = None) -> bool:
        nonlocal flying, most
        if self.prefix.startswith("trained/"):
            return True
        assert threading.current_thread() is not threading.main_thread()
        flying += 1
        most, before, end = max(most, flying), steps, time.monotonic() + 1
        while steps < before + 3 and time.monotonic() < end:
            time.sleep(0.005)
        meanwhile.append(steps - before)
        published = publish(self, folder, manifest)
        flying -= 1
        return published

    one = training("plain", checkpoint_minutes=1e-6)
    monkeypatch.setattr(ClassifierTrainer, "compute_loss", counted)
    monkeypatch.setattr(SealedFolder, "publish", slow)
    result = one.finish()
    assert most == 1 and max(meanwhile) >= 3
    assert 1 < result["checkpoints"] < steps


def test_a_store_that_fails_does_not_stop_the_training(
    training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: SealedFolder, folder: Path, manifest: dict[str, Any] | None = None) -> bool:
        raise UserError("the store is full: free space")

    one = training("plain")
    monkeypatch.setattr(SealedFolder, "publish", refuse)
    one.finish()
    errors = capsys.readouterr().err
    assert "a checkpoint could not be saved, training continues without it: the store is full" in errors
    assert "cannot cache the training output in trained/" in errors
    assert (one.folder / "adapter" / MANIFEST).exists()


def test_what_is_trained_is_not_trained_again(
    training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a retry does, whose pod was lost before the adapter was uploaded. Other settings are another training."""
    one = training("plain", num_train_epochs=1)
    result = one.finish()
    (trained,) = (key.split("/")[1] for key in one.store.list("trained/") if key.endswith(MANIFEST))
    one.store.put(f"checkpoints/{trained}/step-3/state.json", b"{}")  # it was killed before it had removed all
    with monkeypatch.context() as patched:
        patched.setattr(ClassifierTrainer, "train_or_resume", lambda trainer: pytest.fail("it trains"))
        assert one.finish("again") == result
        assert one.store.list("checkpoints/") == []
        with pytest.raises(pytest.fail.Exception, match="it trains"):
            one.finish("other", seed=7)
    assert list_files(one.folder / "again") == list_files(one.folder / "adapter")
    assert read_json(one.folder / "again" / MANIFEST) == read_json(one.folder / "adapter" / MANIFEST)
    assert f"reusing the training by 1 process in {one.store.uri}/trained/" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "damage_kind"),
    [("adapter_model.safetensors", "flipped"), ("adapter_model.safetensors", "gone"), (MANIFEST, "cut"),
     (MANIFEST, "empty"), (MANIFEST, "bare")],
)  # fmt: skip
def test_what_was_trained_and_is_damaged_is_removed_and_trained_again(
    training: Callable[..., Training], file: str, damage_kind: str
) -> None:
    one = training("plain", num_train_epochs=1)
    one.finish()
    (key,) = [key for key in one.store.list("trained/") if key.endswith(f"/{file}")]
    damage(one.folder / "store" / key, damage_kind)
    one.finish("again")
    assert one.bytes("again") == one.bytes() and not one.store.exists(key)
    assert sum(key.endswith(f"/{MANIFEST}") for key in one.store.list("trained/")) == 1


def test_two_that_end_at_the_same_moment_have_a_folder_each(
    training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = training("plain", num_train_epochs=1)
    one.finish()
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "_results", lambda checkpoints: [])  # as each saw it before the other was done
        one.finish("again")
    first, second = (key for key in one.store.list("trained/") if key.endswith(f"/{MANIFEST}"))
    assert incomplete(one.store) == []
    damage(one.folder / "store" / first, "cut")
    monkeypatch.setattr(ClassifierTrainer, "train_or_resume", lambda trainer: pytest.fail("it trains"))
    one.finish("third")
    assert one.bytes("third") == one.bytes() and one.store.exists(second) and not one.store.exists(first)


def test_only_safetensors_and_json(training: Callable[..., Training]) -> None:
    from safetensors.torch import load_file

    one = training("plain", num_train_epochs=2)
    one.stop(12)
    folder = one.folder / "store" / one.folders()[-1]
    assert {path.name for path in folder.iterdir()} == {
        MANIFEST,
        "state.json",
        "tensors.safetensors",
        "trainer_state.json",
    }
    tensors = load_file(folder / "tensors.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"trained", "average", "best", "optimizer", "rng"}
    assert {name.rpartition(".")[2] for name in tensors if name.startswith("optimizer")} == {
        "exp_avg",
        "exp_avg_sq",
        "step",
    }
    assert tensors["optimizer.0.step"] == 12
    assert torch.equal(tensors["rng.torch"], torch.get_rng_state())
    assert set(read_json(folder / MANIFEST)) == {
        "step", "inputs_digest", "processes", "chain", "files", "digest", "manifest_digest"
    }  # fmt: skip


@pytest.fixture(scope="module")
def processes() -> Any:
    """Starts processes that have loaded torch and transformers already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.train.classify", "support"])
    return context


def test_sigterm_ends_with_status_75_and_the_retry_with_the_same_bytes(
    training: Callable[..., Training], processes: Any
) -> None:
    one = training("dropout", num_train_epochs=20, early_stopping_patience=20)
    arguments = (one.splits, one.folder / "adapter", one.settings, one.store.uri, one.folder / "log.txt")
    first = processes.Process(target=train_in_process, args=arguments)
    first.start()
    wait_for(lambda: "epoch 1/20" in log(one))
    start = time.monotonic()
    os.kill(first.pid, signal.SIGTERM)
    first.join(30)
    print(f"stopped in {time.monotonic() - start:.1f} s")
    assert first.exitcode == 75
    assert re.search(r"saved at step \d+ of \d+: run again to resume\n.*interrupted", log(one))
    assert not (one.folder / "adapter" / MANIFEST).exists() and len(one.steps()) in (1, 2)
    again = processes.Process(target=train_in_process, args=arguments)
    again.start()
    again.join(120)
    assert again.exitcode == 0 and "resuming at step" in log(one)
    run(one.splits, one.folder / "undisturbed", one.settings)
    assert one.bytes() == one.bytes("undisturbed")


def test_a_signal_that_comes_while_processes_agree_stops_the_next_step(
    training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All processes stop at the same step, so the one with a late signal trains one step more."""
    one = training("plain")

    def agree(trainer: ResumableTrainer, signalled: bool) -> bool:
        """No other process has a signal; one comes here while they agree at the end of step 3."""
        if trainer.state.global_step == 3:
            signal.raise_signal(signal.SIGTERM)
        return signalled

    monkeypatch.setattr(ResumableTrainer, "any_process", agree)
    with pytest.raises(KeyboardInterrupt):
        one.finish("stopped")
    assert one.steps() == [4]


def test_killed_at_any_moment(training: Callable[..., Training], processes: Any) -> None:
    """SIGKILL up to three times, with a checkpoint at every step that can take one."""
    one = training("dropout", checkpoint_minutes=1e-6)
    start = time.monotonic()
    run(one.splits, one.folder / "undisturbed", one.settings)
    seconds = time.monotonic() - start
    draw = random.Random(0)
    for name in ("first", "second"):
        store = FolderStore((one.folder / f"store-{name}").as_uri())
        arguments = (one.splits, one.folder / name, one.settings, store.uri, one.folder / "log.txt")
        for kill in (True, True, True, False):
            process = processes.Process(target=train_in_process, args=arguments)
            process.start()
            if kill:
                time.sleep(draw.uniform(0.3, 0.9) * seconds)
                process.kill()
            process.join(120)
            assert incomplete(store) == []
            assert process.exitcode in ((0, -signal.SIGKILL) if kill else (0,))
        assert one.bytes(name) == one.bytes("undisturbed")
        assert store.list("checkpoints/") == []


def log(one: Training) -> str:
    path = one.folder / "log.txt"
    return path.read_text() if path.exists() else ""


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
