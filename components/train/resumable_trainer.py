"""A Trainer that resumes an interrupted training to the same bits.

The Trainer restores the position in the data; what it would unpickle is read from safetensors and JSON instead.
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
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.step_record import log
from components.train.agreement import agreed
from components.train.checkpoints import Checkpoints

_SHARE = 0.01  # of the time, that saving may take
_MIN_SECONDS = 15.0  # between two checkpoints
_TENSORS, _STATE = "tensors.safetensors", "state.json"


class ResumableTrainer(Trainer):
    """Saves its state as often as costs little, after each epoch, and on SIGTERM and SIGINT, which stop it. Of several
    processes the first one saves; its random state is restored in all of them, and only dropout draws from it.

    A subclass with state of its own returns it by extra_state and restores it in load_extra_state.
    """

    def __init__(self, checkpoints: Checkpoints | None, minutes: float, step: str = "train", **kwargs: Any) -> None:
        """
        Args:
            checkpoints: where the state is saved; None: it is not saved.
            minutes: between two checkpoints, at most; as many fewer as saving is measured to take little time.
            step: prefix of the lines of progress.
            kwargs: of the Trainer.
        """
        super().__init__(**kwargs)
        self.remove_callback(PrinterCallback)
        self._checkpoints, self._max_interval, self._step = checkpoints, minutes * 60, step
        self._signalled = False  # set at any moment, in this process
        self._stopping = False  # agreed by all processes at the end of the last step
        self._started, self._seconds_before = time.monotonic(), 0.0
        self.blocking_ms: list[float] = []
        if checkpoints:
            self.add_callback(_CheckpointCallback(self))

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule of the learning rate. Its warmup begins at zero, so that an only step is without one."""
        if num_training_steps == 1:
            self.args.warmup_steps = 0
        return super().create_scheduler(num_training_steps, optimizer)

    def before_training(self) -> None:
        """Hook that runs before the first step of a training, and not before a resumed one."""

    def extra_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """State of a subclass: tensors of any shape by name, and JSON values."""
        return {}, {}

    def load_extra_state(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Restore what extra_state returned; `tensors` also contains other state."""

    def train_or_resume(self) -> float:
        """Train, from the newest checkpoint on where there is one.

        Returns:
            Duration in seconds, including those before an interruption.

        Raises:
            KeyboardInterrupt: a signal stopped the training; the state is saved.
            UserError: the checkpoint is not one of this training, or of another number of processes.
        """
        with tempfile.TemporaryDirectory(prefix="clinadapt-resume-") as folder:
            checkpoint = self._newest(Path(folder))
            self._started = time.monotonic()
            if not checkpoint:
                self.before_training()
            if self._checkpoints:
                with self._signals_deferred():
                    self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            else:
                self.train()
        seconds = self._seconds()
        if self._checkpoints:
            self._checkpoints.wait()
        if self._signalled:  # in the very last step
            raise KeyboardInterrupt
        return seconds

    def _newest(self, folder: Path) -> Path | None:
        """Download the checkpoint to resume from; which one, the first process decides."""
        if not (checkpoints := self._checkpoints):
            return None
        step = agreed("checkpoint", lambda: checkpoints.newest(folder))
        if step is None or self.is_world_process_zero():
            return folder / f"step-{step}" if step is not None else None
        return checkpoints.fetch(step, folder)

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    @contextmanager
    def _signals_deferred(self) -> Iterator[None]:
        """Defer signals to the end of the step, where the state is complete."""

        def receive(signum: int, frame: object) -> None:
            self._signalled = True

        previous = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def should_checkpoint(self, seconds: float) -> bool:
        """Whether to save at the end of this step: it is time to, or training stops. Several processes stop at the same
        step when one of them is signalled.

        Args:
            seconds: since the last checkpoint.
        """
        assert self._checkpoints
        self._stopping = self.any_process(self._signalled)
        return self._stopping or (seconds >= self._interval() and not self._checkpoints.busy())

    def _interval(self) -> float:
        """Seconds between two checkpoints: what the last one took, in training and beside it, is _SHARE of them."""
        assert self._checkpoints
        cost = self._checkpoints.seconds + (self.blocking_ms[-1] / 1000 if self.blocking_ms else 0)
        return min(self._max_interval, max(_MIN_SECONDS, cost / _SHARE))

    def any_process(self, value: bool) -> bool:
        """Whether any of the processes that train together passes True. All of them have to call it."""
        if self.args.world_size == 1:
            return value
        return bool(self.accelerator.reduce(torch.tensor(int(value), device=self.args.device), reduction="sum"))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        assert self._checkpoints
        if self.control.should_training_stop:  # nothing is left to resume
            return
        if self.is_world_process_zero():
            self._save_state()
        if self._stopping:
            if self._checkpoints.wait():
                log(
                    self._step, f"saved at step {self.state.global_step} of {self.state.max_steps}: run again to resume"
                )
            raise KeyboardInterrupt

    def _save_state(self) -> None:
        assert self._checkpoints
        start = time.monotonic()
        tensors, state = self._state()
        trainer_state = dataclasses.replace(self.state, log_history=list(self.state.log_history))
        self.blocking_ms.append(1000 * (time.monotonic() - start))
        state["blocking_ms"] = list(self.blocking_ms)

        def write(folder: Path) -> None:
            save_file(tensors, folder / _TENSORS)
            (folder / _STATE).write_text(json.dumps(state))
            trainer_state.save_to_json(str(folder / TRAINER_STATE_NAME))

        self._checkpoints.save(self.state.global_step, write)

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """A copy of everything that the next steps depend on; tensors in main memory."""
        optimizer = self.optimizer.state_dict()
        tensors, extra = self.extra_state()
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
            "extra": extra,
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
        tensors, state = _read_checkpoint(resume_from_checkpoint)
        for name, parameter in self._trained_parameters():
            parameter.data.copy_(tensors[f"trained.{name}"])
        self.load_extra_state(tensors, state["extra"])
        self._seconds_before, self.blocking_ms = state["seconds"], state["blocking_ms"]

    def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
        tensors, state = _read_checkpoint(checkpoint)
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimizer."):
                _, number, name = key.split(".")
                entries.setdefault(int(number), {})[name] = tensor.clone()
        self.optimizer.load_state_dict({"state": entries, "param_groups": state["param_groups"]})
        self.lr_scheduler.load_state_dict(state["scheduler"])

    def _load_scaler(self, checkpoint: str) -> None:
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(_read_checkpoint(checkpoint)[1]["scaler"])

    def _load_rng_state(self, checkpoint: str) -> None:
        tensors, state = _read_checkpoint(checkpoint)
        version, keys, gauss = state["python"]
        random.setstate((version, tuple(keys), gauss))
        np.random.set_state(state["numpy"])
        torch.set_rng_state(tensors["rng.torch"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng.cuda"])


def _read_checkpoint(folder: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors, mapped from the file, and the JSON state."""
    return load_file(Path(folder) / _TENSORS), read_json(Path(folder) / _STATE)


class _CheckpointCallback(TrainerCallback):
    """Requests a checkpoint when one is due. The last step of an epoch is saved after the validation that follows."""

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
        if self._trainer.should_checkpoint(time.monotonic() - self._last):
            control.should_save, self._last = True, time.monotonic()
