"""A Trainer that goes on, bit for bit, where an interrupted one stopped.

The Trainer's own resume finds the place in the data; what it would unpickle is read from safetensors and JSON here.
"""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.step_record import log
from components.train.checkpoints import Checkpoints

_TENSORS, _STATE = "tensors.safetensors", "state.json"


class ResumableTrainer(Trainer):
    """Saves its state every few minutes and at the end of each epoch; on SIGTERM and SIGINT too, and then stops. Of
    several processes the first saves; random numbers, which only a dropout needs, are its own.

    A subclass that keeps something besides says so by own_state and load_own_state.
    """

    def __init__(self, checkpoints: Checkpoints | None, minutes: float, step: str = "train", **kwargs: Any) -> None:
        """
        Args:
            checkpoints: where the state is kept; nowhere when None.
            minutes: between two checkpoints.
            step: begins the lines of progress.
            kwargs: of the Trainer.
        """
        super().__init__(**kwargs)
        self._checkpoints, self._interval, self._step = checkpoints, minutes * 60, step
        self._signalled = False  # here, at any moment
        self._asked_to_stop = False  # what all processes know, since the end of the last step
        self._started, self._seconds_before = time.monotonic(), 0.0
        self.blocked_ms: list[float] = []
        if checkpoints:
            self.add_callback(_Saving(self))

    def begin(self) -> None:
        """What a training that begins afresh does first: nothing, unless a subclass says."""

    def own_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors by name, and JSON."""
        return {}, {}

    def load_own_state(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take back what own_state gave; there are other tensors besides."""

    def train_or_resume(self) -> float:
        """Train, from the newest checkpoint on where there is one.

        Returns:
            Seconds, those before an interruption included.

        Raises:
            KeyboardInterrupt: a signal came; the state is saved.
            UserError: the checkpoint found cannot be resumed by this training.
        """
        with tempfile.TemporaryDirectory(prefix="clinadapt-resume-") as name:
            found = self._checkpoints.newest(Path(name)) if self._checkpoints else None
            self._started = time.monotonic()
            if not found:
                self.begin()
            with self._signals_kept():
                self.train(resume_from_checkpoint=str(found) if found else None)
        seconds = self._seconds()
        if self._checkpoints:
            self._checkpoints.wait()
        if self._signalled:  # in the last step of all
            raise KeyboardInterrupt
        return seconds

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    @contextmanager
    def _signals_kept(self) -> Iterator[None]:
        """Let a signal wait for the end of the step, where the state is whole."""
        if not self._checkpoints:
            yield
            return

        def ask(signum: int, frame: object) -> None:
            self._signalled = True

        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _due(self, seconds: float) -> bool:
        """Whether to save now, `seconds` after the last time. Several processes stop at the same step when one of them
        is asked to."""
        assert self._checkpoints
        self._asked_to_stop = self._signalled
        if self.args.world_size > 1:
            asked = torch.tensor(int(self._asked_to_stop), device=self.args.device)
            self._asked_to_stop = bool(self.accelerator.reduce(asked, reduction="sum"))
        return self._asked_to_stop or (seconds >= self._interval and not self._checkpoints.busy())

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        assert self._checkpoints
        if self.control.should_training_stop:  # nothing is left to resume
            return
        if self.is_world_process_zero():
            self._save_state()
        if self._asked_to_stop:
            if self._checkpoints.wait():
                log(self._step, f"saved at step {self.state.global_step} of {self.state.max_steps}: run again to go on")
            raise KeyboardInterrupt

    def _save_state(self) -> None:
        assert self._checkpoints
        start = time.monotonic()
        tensors, state = self._state()
        progress = dataclasses.replace(self.state, log_history=list(self.state.log_history))
        self.blocked_ms.append(1000 * (time.monotonic() - start))
        state["blocked_ms"] = list(self.blocked_ms)

        def write(folder: Path) -> None:
            save_file(tensors, folder / _TENSORS)
            (folder / _STATE).write_text(json.dumps(state))
            progress.save_to_json(str(folder / TRAINER_STATE_NAME))

        self._checkpoints.save(self.state.global_step, write)

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """A copy of all that decides the next steps; tensors in main memory."""
        optimizer = self.optimizer.state_dict()
        tensors, own = self.own_state()
        tensors |= {f"trained.{name}": p for name, p in self._trained_parameters()}
        for number, entry in optimizer["state"].items():
            tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in entry.items()}
        tensors["rng.torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        numpy = np.random.get_state(legacy=False)
        numpy["state"]["key"] = numpy["state"]["key"].tolist()
        scaler = self.accelerator.scaler
        state = {
            "own": own,
            "param_groups": optimizer["param_groups"],
            "scheduler": self.lr_scheduler.state_dict(),
            "scaler": scaler and scaler.state_dict(),
            "python": random.getstate(),
            "numpy": numpy,
            "seconds": self._seconds(),
        }
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}, state

    def _trained_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        tensors, state = _read(resume_from_checkpoint)
        for name, parameter in self._trained_parameters():
            parameter.data.copy_(tensors[f"trained.{name}"])
        self.load_own_state(tensors, state["own"])
        self._seconds_before, self.blocked_ms = state["seconds"], state["blocked_ms"]

    def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
        tensors, state = _read(checkpoint)
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimizer."):
                _, number, name = key.split(".")
                entries.setdefault(int(number), {})[name] = tensor.clone()
        self.optimizer.load_state_dict({"state": entries, "param_groups": state["param_groups"]})
        self.lr_scheduler.load_state_dict(state["scheduler"])

    def _load_scaler(self, checkpoint: str) -> None:
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(_read(checkpoint)[1]["scaler"])

    def _load_rng_state(self, checkpoint: str) -> None:
        tensors, state = _read(checkpoint)
        version, keys, gauss = state["python"]
        random.setstate((version, tuple(keys), gauss))
        np.random.set_state(state["numpy"])
        torch.set_rng_state(tensors["rng.torch"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng.cuda"])


def _read(folder: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors, mapped from the file, and JSON."""
    return load_file(Path(folder) / _TENSORS), read_json(Path(folder) / _STATE)


class _Saving(TrainerCallback):
    """Tells the trainer when to save. The last step of an epoch is saved after the validation that follows it."""

    def __init__(self, trainer: ResumableTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.epoch % 1:
            self._save_if_due(control)

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._last = -float("inf")
        self._save_if_due(control)

    def _save_if_due(self, control: TrainerControl) -> None:
        if self._trainer._due(time.monotonic() - self._last):
            control.should_save, self._last = True, time.monotonic()
