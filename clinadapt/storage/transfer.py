"""Upload, download and delete whole folders, several files at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from clinadapt.errors import UserError
from clinadapt.storage.object_store import MAX_CONCURRENCY, ProgressCallback, Store, no_progress

MANIFEST = "manifest.json"  # written last: a folder in the store is complete when this exists


def upload_folder(store: Store, folder: Path, prefix: str) -> None:
    """Upload every file below `folder` to `prefix/<relative path>`, the manifest last."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    manifest = [folder / MANIFEST] if folder / MANIFEST in paths else []
    files = [path for path in paths if path not in manifest]
    total = sum(p.stat().st_size for p in paths)
    with progress_bar("uploading", total) as progress, ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        for group in (files, manifest):
            _wait_for(
                pool.map(lambda p: store.upload(p, f"{prefix}/{p.relative_to(folder).as_posix()}", progress), group)
            )


def delete_folder(store: Store, prefix: str) -> None:
    """Delete every object below `prefix/`, the manifest first, so that an incomplete folder never has one."""
    store.delete(f"{prefix}/{MANIFEST}")
    for key in store.list(f"{prefix}/"):
        store.delete(key)


def download_folder(store: Store, prefix: str, folder: Path, resume: bool = False) -> None:
    """Download every object below `prefix/` into `folder`; with an empty prefix, all objects of the store.

    Args:
        store: source of the objects.
        prefix: key prefix, without a trailing slash.
        folder: local destination, created if missing.
        resume: skip files that exist already. Only for a folder that nothing but this same download writes to.

    Raises:
        UserError: a key would be written outside of `folder`.
    """
    start = f"{prefix}/" if prefix else ""
    objects = (entry for entry in store.entries(start) if not entry.key.endswith("/"))  # consoles create such markers
    entries = {folder / entry.key.removeprefix(start): entry for entry in objects}
    root = folder.resolve()
    for path, entry in entries.items():
        if not path.resolve().is_relative_to(root):
            raise UserError(f"key '{entry.key}' in the store {store.uri} points outside of the folder: delete it")
        path.parent.mkdir(parents=True, exist_ok=True)
    missing = {path: entry for path, entry in entries.items() if not (resume and path.exists())}
    total = sum(entry.size for entry in missing.values())
    with progress_bar("downloading", total) as progress, ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        _wait_for(pool.map(lambda path: store.download(missing[path].key, path, progress), missing))


def _wait_for(results: Iterator[None]) -> None:
    """Wait for all results; the first error cancels the transfers that have not begun."""
    for _ in results:
        pass


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[ProgressCallback]:
    """Show a progress bar of `total` bytes if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(description), *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda transferred: bar.advance(task, transferred)
