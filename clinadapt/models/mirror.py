"""Copy a base model into the store, file by file, so that it can be cut at any moment and go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from clinadapt.artifacts.hashing import sha256_file, sha256_json, to_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.errors import UserError
from clinadapt.models.base_model import FILES, cache_folder, fetch, hub_error, hub_name
from clinadapt.storage import open_store
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import progress_bar

_JOURNAL = ".mirror"  # what has been copied already, while the manifest is not there


@dataclass(frozen=True)
class _File:
    """A file of the source: size in bytes, sha256 where the source tells it, how to have it on disk for a while."""

    name: str
    size: int
    sha256: str | None
    local: Callable[[], Any]


def mirror(source: str, target: str) -> dict[str, Any]:
    """Copy safetensors, tokenizer and configuration from `source` to `target`; return uri, digest, source and files.

    A file that lies at the target whole is not copied again. config.json comes last but for the manifest, so that a
    copy that was cut is no base model yet.

    Raises:
        UserError: the source has no safetensors weights, a file is not what the source says, or a place cannot be used.
    """
    store = open_store(target)
    origin, files = _hub_files(source) if urlparse(source).scheme == "hf" else _folder_files(source)
    if not any(file.name.endswith(".safetensors") for file in files):
        raise UserError(f"base model '{source}' has no .safetensors weights: pickled weights are not mirrored")
    there = {entry.key: entry.size for entry in store.entries()}
    before = _listed(store, MANIFEST)
    known = next((found for found in (_listed(store, _JOURNAL), before) if found["source"] == origin), None)
    known = known or {"source": origin, "files": {}}
    left = before["files"].keys() - {file.name for file in files}
    if before["source"] != origin or left or not all(_lies_there(file, known, there) for file in files):
        store.put(_JOURNAL, to_json(known).encode())
        for name in (MANIFEST, "config.json", *left):
            store.delete(name)
            there.pop(name, None)
    with progress_bar("mirroring", sum(file.size for file in files)) as moved:
        for file in sorted(files, key=lambda file: (file.name == "config.json", file.name)):
            if _lies_there(file, known, there):
                moved(file.size)
                continue
            with file.local() as path:
                known["files"][file.name] = _copy(store, path, file, moved)
            store.put(_JOURNAL, to_json(known).encode())
    listed = {name: known["files"][name] for name in sorted(file.name for file in files)}
    manifest = {"source": origin, "files": listed, "digest": sha256_json(listed)}
    store.put(MANIFEST, to_json(manifest).encode())
    store.delete(_JOURNAL)
    return {"uri": target, **manifest}


def _lies_there(file: _File, known: dict[str, Any], there: dict[str, int]) -> bool:
    facts = known["files"].get(file.name)
    return bool(facts and there.get(file.name) == file.size == facts["size"] and file.sha256 in (None, facts["sha256"]))


def _listed(store: Store, key: str) -> dict[str, Any]:
    """What a manifest or journal at the target lists: of an earlier copy, or one that was cut. Of the very same origin
    it saves a copy: a hub's small files have no sha256 to compare."""
    try:
        listed = json.loads(store.get(key)[0])
        files = {name: {"size": facts["size"], "sha256": facts["sha256"]} for name, facts in listed["files"].items()}
        return {"source": listed["source"], "files": files}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {"source": None, "files": {}}


def _copy(store: Store, path: Path, file: _File, moved: Callable[[int], None]) -> dict[str, Any]:
    digest = sha256_file(path)
    if path.stat().st_size != file.size or file.sha256 not in (None, digest):
        raise UserError(f"{file.name} is not what its source says (size or sha256 differ): run the same command again")
    store.upload(path, file.name, moved)
    return {"size": file.size, "sha256": digest}


def _wanted(name: str) -> bool:
    return "/" not in name and name != MANIFEST and any(fnmatch(name, pattern) for pattern in FILES)


def _folder_files(source: str) -> tuple[str, list[_File]]:
    folder = fetch(source)

    @contextmanager
    def local(path: Path) -> Iterator[Path]:
        yield path

    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and _wanted(path.name)]
    return source, [
        _File(path.name, path.stat().st_size, sha256_file(path), lambda path=path: local(path))  # type: ignore[misc]
        for path in paths
    ]


def _hub_files(source: str) -> tuple[str, list[_File]]:
    """Files of a hub model at one commit. A file lies on disk only until it is copied; a cut download goes on."""
    from huggingface_hub import hf_hub_download, model_info
    from huggingface_hub.errors import HFValidationError, HTTPError

    name, revision = hub_name(source)
    try:
        info = model_info(name, revision=revision, files_metadata=True)
    except (HTTPError, HFValidationError, OSError) as error:
        raise hub_error(source, error) from error

    @contextmanager
    def local(file: str) -> Iterator[Path]:
        with os_errors(f"cannot keep base model '{source}' in {cache_folder()}"):
            scratch = cache_folder() / "mirror" / sha256_json([name, info.sha])[7:23]
            scratch.mkdir(parents=True, exist_ok=True)
        try:
            path = Path(hf_hub_download(name, file, revision=info.sha, local_dir=scratch))
        except (HTTPError, OSError) as error:
            raise hub_error(source, error) from error
        yield path
        path.unlink()

    files = [sibling for sibling in info.siblings if _wanted(sibling.rfilename)]
    return f"hf://{name}@{info.sha}", [
        _File(
            file.rfilename,
            file.size,
            f"sha256:{file.lfs.sha256}" if file.lfs else None,
            lambda file=file: local(file.rfilename),  # type: ignore[misc]
        )
        for file in files
    ]
