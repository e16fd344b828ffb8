"""Folders to and from an object store, several files at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from clinadapt.errors import UserError
from clinadapt.storage.object_store import AT_ONCE, Moved, Store, ignore

MANIFEST = "manifest.json"  # of a folder in the store, which is whole once this is there


def upload_folder(store: Store, folder: Path, prefix: str) -> None:
    """Upload every file below `folder` to `prefix/<relative path>`, several at once; its manifest last."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    seal = [folder / MANIFEST] if folder / MANIFEST in paths else []
    with progress("uploading", sum(p.stat().st_size for p in paths)) as moved, ThreadPoolExecutor(AT_ONCE) as pool:
        for part in ([path for path in paths if path not in seal], seal):
            _all(pool.map(lambda p: store.upload(p, f"{prefix}/{p.relative_to(folder).as_posix()}", moved), part))


def delete_folder(store: Store, prefix: str) -> None:
    """Remove every object below `prefix/`; its manifest first, so that it is never seen with a part of it gone."""
    store.delete(f"{prefix}/{MANIFEST}")
    for key in store.list(f"{prefix}/"):
        store.delete(key)


def download_folder(store: Store, prefix: str, folder: Path, resume: bool = False) -> None:
    """Download every object below `prefix/` into `folder`, several at once; of the whole store when it is empty.

    Args:
        store, prefix, folder: from where to where.
        resume: keep the files that are there already. Only for a folder that nothing but this very download fills.

    Raises:
        UserError: a key would leave `folder`.
    """
    start = f"{prefix}/" if prefix else ""
    objects = (entry for entry in store.entries(start) if not entry.key.endswith("/"))  # as consoles mark a folder
    entries = {folder / entry.key.removeprefix(start): entry for entry in objects}
    root = folder.resolve()
    for path in entries:
        if not path.resolve().is_relative_to(root):
            raise UserError(f"the store {store.uri} holds the key '{entries[path].key}', which leaves the folder")
        path.parent.mkdir(parents=True, exist_ok=True)
    missing = {path: entry for path, entry in entries.items() if not (resume and path.exists())}
    total = sum(entry.size for entry in missing.values())
    with progress("downloading", total) as moved, ThreadPoolExecutor(AT_ONCE) as pool:
        _all(pool.map(lambda path: store.download(missing[path].key, path, moved), missing))


def _all(results: Iterator[None]) -> None:
    """Wait for all; the first error stops what has not begun."""
    for _ in results:
        pass


@contextmanager
def progress(what: str, total: int) -> Iterator[Moved]:
    """A bar on the terminal, where standard error is one; `total` in bytes."""
    if not sys.stderr.isatty():
        yield ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(what), *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda moved: bar.advance(task, moved)
