"""Mirror a base model into a store, file by file; an interrupted mirror is resumed.

While the manifest is not written, `.mirror` in the target lists the files that were copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import parse_json, sha256_file, sha256_json, to_json
from clinadapt.artifacts.manifest import MANIFEST, file_entry, with_digest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.errors import UserError
from clinadapt.models.base_model import FILES, cache_folder, fetch, hub_error, hub_name
from clinadapt.storage import open_store
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import progress_bar
from clinadapt.storage.uris import parse_uri

_JOURNAL = ".mirror"


@dataclass(frozen=True)
class _SourceFile:
    """A file of the source.

    Attributes:
        name: its name.
        size: in bytes.
        sha256: None where the source does not publish it.
        local: context manager that yields a local copy.
    """

    name: str
    size: int
    sha256: str | None
    local: Callable[[], Any]


def mirror(source: str, target: str) -> dict[str, Any]:
    """Copy weights (safetensors), tokenizer and configuration from `source` to `target`.

    A file that the target has already is not copied again. config.json is copied last, so that an interrupted mirror
    does not pass for a base model, and then the manifest is written.

    Returns:
        uri of the target, and the fields of its manifest.

    Raises:
        UserError: the source has no safetensors weights, a file differs from what the source lists, or source or target
            cannot be used.
    """
    store = open_store(target)
    origin, files = _hub_files(source) if parse_uri(source).scheme == "hf" else _folder_files(source)
    if not any(file.name.endswith(".safetensors") for file in files):
        raise UserError(f"base model '{source}' has no .safetensors weights: pickled weights are not mirrored")
    copied = _prepare(store, origin, files)
    with progress_bar("mirroring", sum(file.size for file in files)) as moved:
        for file in sorted(files, key=lambda file: (file.name == "config.json", file.name)):
            if file.name in copied:
                moved(file.size)
                continue
            with file.local() as path:
                copied[file.name] = _copy(store, path, file, moved)
            _write_journal(store, origin, copied)
    listed = {name: copied[name] for name in sorted(copied)}
    manifest = with_digest({"source": origin, "files": listed, "digest": sha256_json(listed)})
    SealedFolder(store).write_manifest(manifest)
    store.delete(_JOURNAL)
    return {"uri": target, **manifest}


def _prepare(store: Store, origin: str, files: list[_SourceFile]) -> dict[str, Any]:
    """Remove from the target what is not of this source; return the entries of the files that are complete.

    Entries of an earlier mirror count for the same origin only: a hub's small files have no sha256 to compare.
    """
    sizes = {entry.key: entry.size for entry in store.entries()}
    mirrored, journal = _read_entries(store, MANIFEST), _read_entries(store, _JOURNAL)
    entries = next((files for source, files in (journal, mirrored) if source == origin), {})
    complete = {
        file.name: entries[file.name]
        for file in files
        if file.name in entries
        and sizes.get(file.name) == file.size == entries[file.name]["size"]
        and file.sha256 in (None, entries[file.name]["sha256"])
    }
    stale = mirrored[1].keys() - {file.name for file in files}
    if mirrored[0] != origin or stale or len(complete) < len(files):
        _write_journal(store, origin, entries)
        for name in (MANIFEST, "config.json", *stale):
            store.delete(name)
            complete.pop(name, None)
    return complete


def _read_entries(store: Store, key: str) -> tuple[str | None, dict[str, Any]]:
    """(source, files) of a manifest or journal at the target; (None, {}) where there is none."""
    try:
        record = parse_json(store.get(key)[0])
        files = {name: {"size": entry["size"], "sha256": entry["sha256"]} for name, entry in record["files"].items()}
        return record["source"], files
    except (KeyError, ValueError, TypeError, AttributeError):
        return None, {}


def _write_journal(store: Store, origin: str, files: dict[str, Any]) -> None:
    store.put(_JOURNAL, to_json({"source": origin, "files": files}).encode())


def _copy(store: Store, path: Path, file: _SourceFile, moved: Callable[[int], None]) -> dict[str, Any]:
    entry = file_entry(path)
    if entry["size"] != file.size or file.sha256 not in (None, entry["sha256"]):
        raise UserError(f"{file.name} differs from its source (size or sha256): run the same command again")
    store.upload(path, file.name, moved)
    return entry


def _is_mirrored(name: str) -> bool:
    return "/" not in name and name != MANIFEST and any(fnmatch(name, pattern) for pattern in FILES)


def _folder_files(source: str) -> tuple[str, list[_SourceFile]]:
    """Files of a base model that needs no download of its own."""
    folder = fetch(source)

    @contextmanager
    def local(path: Path) -> Iterator[Path]:
        yield path

    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and _is_mirrored(path.name)]
    return source, [
        _SourceFile(path.name, path.stat().st_size, sha256_file(path), lambda path=path: local(path))  # type: ignore[misc]
        for path in paths
    ]


def _hub_files(source: str) -> tuple[str, list[_SourceFile]]:
    """Files of a hub model at one commit. A file is on disk only until it is copied; a download is resumed."""
    from huggingface_hub import hf_hub_download, model_info
    from huggingface_hub.errors import HFValidationError, HTTPError

    name, revision = hub_name(source)
    try:
        info = model_info(name, revision=revision, files_metadata=True)
    except (HTTPError, HFValidationError, OSError) as error:
        raise hub_error(source, error) from error

    @contextmanager
    def local(file: str) -> Iterator[Path]:
        with os_errors(f"cannot write base model '{source}' to {cache_folder()}"):
            scratch = cache_folder() / "mirror" / sha256_json([name, info.sha])[7:23]
            scratch.mkdir(parents=True, exist_ok=True)
        try:
            path = Path(hf_hub_download(name, file, revision=info.sha, local_dir=scratch))
        except (HTTPError, OSError) as error:
            raise hub_error(source, error) from error
        yield path
        path.unlink()

    files = [sibling for sibling in info.siblings if _is_mirrored(sibling.rfilename)]
    return f"hf://{name}@{info.sha}", [
        _SourceFile(
            file.rfilename,
            file.size,
            f"sha256:{file.lfs.sha256}" if file.lfs else None,
            lambda file=file: local(file.rfilename),  # type: ignore[misc]
        )
        for file in files
    ]
