"""A sealed folder: files and a manifest that lists them, in an object store.

The manifest is written last and removed first, so that a reader never sees half a folder, and whoever reads the folder
verifies it against its manifest here. Datasets, splits, adapters, checkpoints, versions, bases and exports are such
folders.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from clinadapt.artifacts.hashing import sha256_file, to_json
from clinadapt.artifacts.manifest import (
    MANIFEST,
    DamagedFolder,
    differences,
    file_entry,
    list_files,
    parse_manifest,
)
from clinadapt.errors import UserError
from clinadapt.storage.object_store import MAX_CONCURRENCY, Conflict, CorruptObject, Store
from clinadapt.storage.transfer import delete_folder, download_folder, progress_bar

_WAIT_SECONDS = 60  # for another publisher of the same folder to write its manifest


def verify_folder(folder: Path, manifest: dict[str, Any] | None = None, reject_unlisted: str = "*") -> dict[str, Any]:
    """Verify every file of a local folder and return its manifest.

    Args:
        folder: to verify.
        manifest: the folder's own, manifest.json, when None.
        reject_unlisted: as of `differences`.

    Raises:
        DamagedFolder: a file is missing, differs or is not listed.
    """
    if manifest is None:
        try:
            manifest = parse_manifest((folder / MANIFEST).read_bytes())
        except OSError as error:
            raise DamagedFolder(MANIFEST, "is missing") from error
    for name, problem in differences(manifest["files"], list_files(folder), reject_unlisted).items():
        raise DamagedFolder(name, problem)
    return manifest


@dataclass(frozen=True)
class SealedFolder:
    """The folder at `prefix` of a store; the store itself where the prefix is empty."""

    store: Store
    prefix: str = ""

    def key(self, name: str) -> str:
        """The store's key of a file."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def exists(self) -> bool:
        """Whether the folder is complete: its manifest is there."""
        return self.store.exists(self.key(MANIFEST))

    def read_manifest(self) -> dict[str, Any]:
        """The manifest. Raises KeyError where there is none, DamagedFolder where it was changed."""
        return parse_manifest(self.store.get(self.key(MANIFEST))[0])

    def fetch(self, folder: Path, manifest: dict[str, Any] | None = None, reject_unlisted: str = "*") -> dict[str, Any]:
        """Download the folder, verify it and return its manifest. Arguments as of `verify_folder`.

        Raises:
            DamagedFolder: a file is missing, differs or is not listed.
            CorruptObject: the store returns other bytes than were stored.
            KeyError: a file was removed meanwhile.
        """
        download_folder(self.store, self.prefix, folder)
        return verify_folder(folder, manifest, reject_unlisted)

    def fetch_file(self, name: str, folder: Path, manifest: dict[str, Any]) -> Path:
        """Download one file into `folder` and verify it against the manifest.

        Raises:
            DamagedFolder: it is missing, differs or is not listed.
        """
        path = folder / PurePosixPath(name).name
        if name not in manifest["files"]:
            raise DamagedFolder(name, "is not listed")
        try:
            self.store.download(self.key(name), path)
        except KeyError as error:
            raise DamagedFolder(name, "is missing") from error
        except CorruptObject as error:
            raise DamagedFolder(name, "is corrupt in the store") from error
        for problem in differences({name: manifest["files"][name]}, {name: file_entry(path)}).values():
            raise DamagedFolder(name, problem)
        return path

    def problems(self, manifest: dict[str, Any]) -> dict[str, str]:
        """File name -> what is wrong with it, of every file; one file is on disk at a time."""
        start = self.key("")
        names = {key.removeprefix(start) for key in self.store.list(start)} - {MANIFEST} | manifest["files"].keys()
        problems = {}
        for name in sorted(names):
            with TemporaryDirectory(prefix="clinadapt-verify-") as scratch:
                try:
                    self.fetch_file(name, Path(scratch), manifest)
                except DamagedFolder as error:
                    problems[name] = error.problem
        return problems

    def publish(self, folder: Path, if_absent: bool = False, manifest: dict[str, Any] | None = None) -> bool:
        """Upload a local sealed folder, several files at once, the manifest last.

        Args:
            folder: with its manifest.json.
            if_absent: overwrite nothing, so that two publishers never mix their files.
            manifest: to upload in place of manifest.json.

        Returns:
            False where another publisher of the same folder was first (with `if_absent` only).

        Raises:
            UserError: another publisher began with other files and does not finish, or files were removed meanwhile.
        """
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
        names = {path: path.relative_to(folder).as_posix() for path in paths}
        with progress_bar("uploading", sum(path.stat().st_size for path in paths)) as moved:

            def upload(path: Path) -> bool:
                if if_absent:
                    return self._upload_new(path, names[path], moved)
                self.store.upload(path, self.key(names[path]), moved)
                return True

            with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
                for done in pool.map(upload, paths):
                    if not done:
                        return False
        uploaded = {self.key(name) for name in names.values()}
        if if_absent and (extra := set(self.store.list(self.key(""))) - uploaded - {self.key(MANIFEST)}):
            raise UserError(self._unfinished(min(extra)))
        try:
            data = to_json(manifest).encode() if manifest else (folder / MANIFEST).read_bytes()
            self.store.put(self.key(MANIFEST), data, if_absent=if_absent)
        except Conflict:
            return False
        if uploaded - set(self.store.list(self.key(""))):
            self.store.delete(self.key(MANIFEST))
            raise UserError(
                f"files of {self.prefix} were removed while it was published: run again, and not beside registry gc"
            )
        return True

    def _upload_new(self, path: Path, name: str, moved: Callable[[int], None]) -> bool:
        """Upload a file that is not there yet. Returns False where another publisher has completed the folder."""
        try:
            self.store.upload(path, self.key(name), moved, if_absent=True)
        except Conflict as error:
            with TemporaryDirectory(prefix="clinadapt-compare-") as scratch:
                existing = Path(scratch) / "existing"
                try:
                    self.store.download(self.key(name), existing)
                except KeyError:  # removed meanwhile by garbage collection
                    self.store.upload(path, self.key(name), moved)
                    return True
                if sha256_file(existing) == sha256_file(path):
                    return True
            if self._wait_for_manifest():
                return False
            raise UserError(self._unfinished(self.key(name))) from error
        return True

    def _unfinished(self, key: str) -> str:
        return (
            f"another run began to publish {self.prefix} and did not finish ({key} is not from this run): if it was "
            "killed, run clinadapt registry gc --unfinished-hours 0 --delete, then run again"
        )

    def _wait_for_manifest(self) -> bool:
        for _ in range(_WAIT_SECONDS):
            if self.exists():
                return True
            time.sleep(1)
        return False

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Seal a folder whose files are in the store already."""
        self.store.put(self.key(MANIFEST), to_json(manifest).encode())

    def delete(self) -> None:
        """Remove the folder, the manifest first."""
        delete_folder(self.store, self.prefix)
