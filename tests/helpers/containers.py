"""Runs the steps of kfp.local.DockerRunner, and knows afterwards how each of them ended and where its time went."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import docker
from docker.models.containers import Container
from kfp import local

from clinadapt.artifacts.step_record import LOG_MARKER, RUN
from clinadapt.kubernetes.cluster import Cluster, Retry
from clinadapt.storage.object_store import Store
from pipelines.compile import build
from pipelines.named_settings import load_profile

USER = "54321:0"  # any user in group 0, as OpenShift chooses one
LOCKED = {
    "user": USER,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": {"/tmp": "mode=1777", "/scratch": "mode=1777"},
}


@dataclass
class Step:
    """One container of a step: `lines` are what it printed, each with its time; `state` is what the engine says."""

    asked: datetime
    lines: list[tuple[datetime, str]]
    state: dict[str, Any]

    @property
    def name(self) -> str:
        return self._said("started")[1]

    def seconds(self) -> list[float]:
        """[engine: until the container runs; start: until the step's first line, interpreter and kfp; the step's own
        work; end: until the container is gone]."""
        times = [self.asked, when(self.state["StartedAt"]), self._said("started")[0], self._said("done in")[0],
                 when(self.state["FinishedAt"])]  # fmt: skip
        return [(b - a).total_seconds() for a, b in pairwise(times)]

    def has(self, message: str) -> bool:
        """Whether a line says so."""
        return any(message in line for _, line in self.lines)

    def _said(self, message: str) -> tuple[datetime, str]:
        for time, line in self.lines:
            if found := re.search(rf"{re.escape(LOG_MARKER)} (\w+) \| {message}", line):
                return time, found[1]
        raise AssertionError(f"no step said '{message}': {self.state}\n" + "\n".join(line for _, line in self.lines))


class Engine:
    """Stands in for kfp's `run_docker_container`, whose containers remove themselves: one that was killed is gone
    before it is waited for, and kfp takes it for done. Here each is kept until its exit status has been read."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.meanwhile: Callable[[Container], None] | None = None

    def run(
        self, client: docker.DockerClient, image: str, command: list[str], volumes: dict[str, Any], **options: Any
    ) -> int:
        """Run a step to its end and return its exit status. `meanwhile` is called in a thread of its own with each
        container as it begins."""
        asked = now(client)
        container = client.containers.run(image, command, volumes=volumes, detach=True, **options)
        try:
            if self.meanwhile:
                threading.Thread(target=self.meanwhile, args=(container,), daemon=True).start()
            lines = []
            for raw in container.logs(stream=True, timestamps=True):
                stamp, _, line = raw.decode().rstrip("\n").partition(" ")
                print(line)
                lines.append((when(stamp), line))
            status = int(container.wait()["StatusCode"])
            container.reload()
            self.steps.append(Step(asked, lines, container.attrs["State"]))
            return status
        finally:
            container.remove(force=True)


def now(client: docker.DockerClient) -> datetime:
    """The engine's clock."""
    return when(client.info()["SystemTime"])


def when(stamp: str) -> datetime:
    """A time of the engine's, which is written in nanoseconds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", stamp))


@dataclass
class Site:
    """A bucket that steps in containers reach, and the base model and notes in it."""

    engine: Engine
    store: Store
    environment: dict[str, str]
    network: str
    home: Path

    def run(self, profile: Path, **arguments: Any) -> str:
        """Run the pipeline of a profile as compiled for a cluster, every step in its container; the run's name."""
        name = f"run-{uuid4().hex[:8]}"
        root = self.home / name
        root.mkdir()
        root.chmod(0o777)
        environment = {**self.environment, RUN: name, "OMP_NUM_THREADS": "1"}  # small models: threads only wait
        options = {**LOCKED, "network": self.network, "environment": environment}
        local.init(local.DockerRunner(**options), pipeline_root=str(root))
        pipeline = build(load_profile(str(profile)), Cluster(name="test", retry=Retry(times=1, wait_seconds=1)))
        pipeline(**{"store": self.store.uri, **arguments})
        return name
