"""Follow the champion of an adapter on a running vLLM server: it is fetched, verified, loaded beside the version that
answers, compared with it, and only then given the traffic, first a share of it where a canary is wanted.

<folder>/vllm.yaml              what the server was started with (`clinadapt registry fetch --hot-swap`)
<folder>/versions/<version>/    verified versions
<folder>/serving.json           which version answers; written when traffic moves, and what a restart goes on from

Killed at any point, the next `follow` goes on: what is loaded is read from the server, which version answers from
serving.json, and who should answer from the champion pointer. Two at once take turns by a lock on the folder.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from clinadapt.artifacts.hashing import to_json
from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder
from clinadapt.artifacts.sealed_folder import verify_folder
from clinadapt.artifacts.signing import verify_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.registry.adapters import downloaded_adapter
from clinadapt.registry.approval.standing import unapproved
from clinadapt.registry.champion import read_pointer
from clinadapt.registry.vllm import CONFIG, needs_restart
from clinadapt.serving.shadow import Comparison
from clinadapt.serving.vllm_server import VllmServer
from clinadapt.storage.local_files import atomic_write, os_errors
from clinadapt.storage.object_store import Store

STATE, VERSIONS, _LOCK = "serving.json", "versions", ".lock"
_VERSION = re.compile(r"\w[\w.-]*", re.ASCII)
_NEVER = datetime.min.replace(tzinfo=UTC)


class Refused(UserError):
    """A version must not answer. It is not tried again until somebody writes the champion pointer."""


class Serving(pydantic.BaseModel):
    """Which version answers, as serving.json holds it.

    Attributes:
        version: that answers; empty before the first.
        since: when it began to.
        canary: version that gets a share of the requests; empty where none does.
        canary_since: when that began.
        result: of the last comparison that a version passed, in one sentence.
    """

    version: str = ""
    since: pydantic.AwareDatetime | None = None
    canary: str = ""
    canary_since: pydantic.AwareDatetime | None = None
    result: str = ""


class Refusal(NamedTuple):
    """A version that must not answer, the etag of the champion pointer that named it, and why."""

    version: str = ""
    pointer: str = ""
    reason: str = ""


class Canary(NamedTuple):
    """A trial with a share of the requests, before a new version gets all of them.

    Attributes:
        percent: of the notes; 0 for none.
        minutes: how long, without a failed request.
    """

    percent: float = 0
    minutes: float = 60


Compare = Callable[
    [str, str | None, Path, bool], Comparison | None
]  # (new version, old, its folder, must not be worse)


class HotSwap:
    """The champion of one adapter on one server. `follow` is called by one thread, the rest by any.

    Attributes:
        name: of the adapter.
        serving: which version answers; replaced as a whole.
        refusal: the last version that must not answer; a new process compares it again.
        problem: why the last look at the champion failed; empty where it did not.
    """

    def __init__(
        self, store: Store, adapter: str, server: VllmServer, folder: Path, compare: Compare, canary: Canary
    ) -> None:
        """
        Args:
            store: that the adapter is published in.
            adapter: its name; or name/version, which then answers whatever the champion is.
            server: that serves it.
            folder: with vllm.yaml, which the server reads at the same path.
            compare: asks both versions; None where there is nothing to ask.
            canary: trial of a new version.

        Raises:
            UserError: the adapter is none, the folder has no vllm.yaml, or its serving.json is broken.
        """
        self.name, _, self._pinned = adapter.partition("/")
        if not all(_VERSION.fullmatch(part) for part in adapter.split("/", 1)):
            raise UserError(f"'{adapter}' is no adapter: write NAME or NAME/VERSION")
        self._store, self._server, self._folder = store, server, folder.resolve()
        self._compare, self._canary = compare, canary
        self._failures: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.problem, self.refusal = "", Refusal()
        if not (folder / CONFIG).is_file():
            raise UserError(f"{folder} has no {CONFIG}: run clinadapt registry fetch {self.name} --hot-swap first")
        self.serving = self._read()

    def loaded_name(self, version: str) -> str:
        """The name under which the server has a version loaded."""
        return f"{self.name}/{version}"

    def folder_of(self, version: str) -> Path:
        """Where a version lies while it is loaded."""
        return self._folder / VERSIONS / version

    def route(self, model: str, note: bytes) -> str | None:
        """Which loaded model answers a request; None where there is no such model. The same note goes to the same
        version while a canary runs.

        Args:
            model: that the request names: the adapter, or name/version of a version that answers.
            note: what the request is about.
        """
        serving = self.serving
        if model == self.name and serving.version:
            share = int.from_bytes(sha256(note).digest()[:4], "big") / 2**32 * 100
            is_canary = serving.canary and share < self._canary.percent
            return self.loaded_name(serving.canary if is_canary else serving.version)
        answering = [self.loaded_name(version) for version in (serving.version, serving.canary) if version]
        return model if model in answering else None

    def failed(self, loaded: str) -> None:
        """Count a request that the server could not answer as this model."""
        with self._counting:
            self._failures[loaded] += 1

    def follow(self) -> None:
        """One look at the champion pointer: bring the server to what it says. What goes wrong is logged once, and the
        version that answers goes on."""
        try:
            with self._alone():
                self.serving = self._read()
                self._step()
            self.problem = ""
        except UserError as error:
            if self.problem != (message := str(error)):
                log("serve", f"{message}; {self.serving.version or 'nothing'} answers")
            self.problem = message

    def _step(self) -> None:
        wanted, pointer, by_person = self._wanted()
        loaded, before = self._server.models(), self.serving.version
        self._restore(loaded)
        if wanted == self.serving.version:
            self._write(canary="", canary_since=None)
        elif wanted == self.serving.canary:
            self._judge_canary(pointer)
        elif (wanted, pointer) != self.refusal[:2]:
            self._bring(wanted, pointer, by_person)
        if self.serving.version == before:  # else it stays loaded until the next look, for requests on their way to it
            self._unload_others(loaded)

    def _restore(self, loaded: dict[str, str]) -> None:
        """Load what answers again where the server has started anew; what does not fit other settings of it answers no
        more."""
        for version in filter(None, (self.serving.version, self.serving.canary)):
            if self.loaded_name(version) not in loaded:
                try:
                    self._load(version)
                except Refused as error:
                    log("serve", f"{self.loaded_name(version)} does not answer any more: {error}")
                    ended = {} if version == self.serving.canary else {"version": "", "since": None}
                    self._write(canary="", canary_since=None, **ended)

    def _wanted(self) -> tuple[str, str, bool]:
        """(version that should answer, etag of the pointer, whether a person chose it and not a gate)."""
        if self._pinned:
            if self._pinned != self.serving.version and (line := unapproved(self._store, self.name, self._pinned)):
                raise UserError(f"{line}; only champions are served: approve it first")
            return self._pinned, "", True
        found = read_pointer(self._store, self.name)
        if found is None:
            raise UserError(f"no adapter '{self.name}' in {self._store.uri}: publish one first")
        pointer, etag = found
        if not _VERSION.fullmatch(pointer["version"]):  # it becomes the name of a folder
            raise UserError(f"the champion of '{self.name}' in {self._store.uri} is no version: find out who wrote it")
        last = pointer["history"][-1] if pointer["history"] else {}
        return pointer["version"], etag, last.get("rollback", True) or "held_out_digest" not in last

    def _bring(self, version: str, pointer: str, by_person: bool) -> None:
        """Load a version, compare it, and let it answer. Any earlier canary ends."""
        self._write(canary="", canary_since=None)
        old = self.serving.version or None
        log("serve", f"{self.loaded_name(version)} is the champion: fetching, loading and comparing it")
        try:
            folder = self._load(version)
            comparison = self._compare(version, old, folder, not by_person)
            if comparison is None and old:
                raise Refused("there is nothing to ask old and new: give --splits, where its held-out notes are")
            if comparison and comparison.problems:
                raise Refused(f"{'; '.join(comparison.problems)} ({comparison.sentence()})")
        except Refused as error:
            self._refuse(version, pointer, str(error))
            return
        result = comparison.sentence() if comparison else "not compared: there was nothing to ask it"
        if old and self._canary.percent:
            self._write(canary=version, canary_since=datetime.now(UTC), result=result)
            self._failures.clear()
            log("serve", f"{self.loaded_name(version)} gets {self._canary.percent:g} % of the notes; {result}")
        else:
            self._switch(version, result)

    def _judge_canary(self, pointer: str) -> None:
        """End a canary: with a refusal where a request failed, with all traffic where its time is over."""
        version = self.serving.canary
        if failures := self._failures[self.loaded_name(version)]:
            self._refuse(version, pointer, f"{failures} of its requests failed while it had a share of them")
        elif datetime.now(UTC) >= (self.serving.canary_since or _NEVER) + timedelta(minutes=self._canary.minutes):
            self._switch(version, self.serving.result)

    def _switch(self, version: str, result: str) -> None:
        self._write(version=version, since=datetime.now(UTC), result=result, canary="", canary_since=None)
        self.refusal = Refusal()
        log("serve", f"{self.loaded_name(version)} answers; {result}")

    def _refuse(self, version: str, pointer: str, reason: str) -> None:
        """Unload a version and remember why."""
        with suppress(UserError):  # else it is unloaded at the next look
            self._server.unload(self.loaded_name(version))
        self._write(canary="", canary_since=None)
        self.refusal = Refusal(version, pointer, reason)
        log("serve", f"{self.loaded_name(version)} does not answer, {self.serving.version or 'nothing'} does: {reason}")

    def _load(self, version: str) -> Path:
        """Fetch and verify a version where that is not done, and load it. Raises Refused where the server cannot."""
        folder = self.folder_of(version)
        if not self._is_intact(folder, version):
            self._fetch(folder, version)
        if problem := needs_restart(self._folder, folder):
            raise Refused(f"{problem}: restart the server to serve it (clinadapt registry fetch, then vllm serve)")
        self._server.load(self.loaded_name(version), folder)
        return folder

    def _is_intact(self, folder: Path, version: str) -> bool:
        """Whether a version lies here as it was published, and signed where that is required."""
        try:
            manifest = verify_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
            verify_folder(folder, manifest)
        except (OSError, DamagedFolder, UserError):
            return False
        return (manifest.get("name"), manifest.get("version")) == (self.name, version)

    def _fetch(self, folder: Path, version: str) -> None:
        """Download and verify a version. Nothing half is at `folder` at any time."""
        partial = folder.with_name(f".partial-{version}")
        with (
            downloaded_adapter(self.loaded_name(version), self._store.uri) as (download, _),
            os_errors(f"cannot write to {folder}"),
        ):
            for left in (partial, folder):
                shutil.rmtree(left, ignore_errors=True)
            try:
                shutil.copytree(download, partial)
                partial.replace(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def _unload_others(self, loaded: dict[str, str]) -> None:
        """Unload what neither answers nor is on trial, and remove its files."""
        used = {self.serving.version, self.serving.canary}
        prefix = self.loaded_name("")
        for name in (name for name in loaded if name.startswith(prefix)):
            if name.removeprefix(prefix) not in used:
                self._server.unload(name)
                log("serve", f"{name} unloaded")
        for folder in (self._folder / VERSIONS).glob("*"):
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self) -> Serving:
        path = self._folder / STATE
        try:
            return Serving.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Serving()
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is broken: remove it, and the champion is compared again") from error

    def _write(self, **changes: Any) -> None:
        serving = self.serving.model_copy(update=changes)
        if serving != self.serving:
            with atomic_write(self._folder / STATE) as partial:
                partial.write_text(to_json(serving.model_dump(mode="json")), encoding="utf-8")
            self.serving = serving

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with os_errors(f"cannot write to {self._folder}"):
            (self._folder / VERSIONS).mkdir(parents=True, exist_ok=True)
            lock = (self._folder / _LOCK).open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
