"""Published adapters by name, version or URI: located, downloaded_adapter and verified."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clinadapt.artifacts.manifest import MANIFEST, first_difference, list_files
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import CARD, adapter_recipe
from clinadapt.registry.champion import champion
from clinadapt.registry.versions import names, read_manifest
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import download_folder


def published_recipe(adapter: str, store_uri: str) -> str:
    """The same of a published adapter, without its weights. Raises UserError where there is none, it is none of ours,
    or its card is not what was published."""
    store, prefix = locate_adapter(adapter, store_uri)
    _, name, version = prefix.split("/", 2)
    with tempfile.TemporaryDirectory() as scratch:
        with suppress(KeyError):  # one that is missing is told below
            store.download(f"{prefix}/{CARD}", Path(scratch) / CARD)
        wanted = read_manifest(store, name, version)["files"]
        _check_files({CARD: wanted.get(CARD)}, list_files(Path(scratch)), prefix)
        return adapter_recipe(Path(scratch))


def _check_files(wanted: dict[str, Any], found: dict[str, Any], prefix: str) -> None:
    """Raises UserError for the first file that is missing, is another one, or was not published."""
    if name := first_difference(wanted, found):
        raise UserError(
            f"{prefix}/{name} is not what was published (size or sha256 differ): publish this version again"
        )


def locate_adapter(adapter: str, store_uri: str) -> tuple[Store, str]:
    """(store, prefix) of an adapter given as a name (its champion), as name/version or as the URI of a version.

    Raises:
        UserError: there is no such adapter.
    """
    if "://" in adapter:
        root, marker, prefix = adapter.rstrip("/").rpartition("/adapters/")
        if not marker:
            raise UserError(
                f"'{adapter}' is no adapter: write <store>/adapters/<name>/<version>, or its name with --store"
            )
        store, name = open_store(root), prefix
    else:
        store, name = open_store(store_uri), adapter.strip("/")
    if "/" not in name:
        found = champion(store, name)
        if found is None:
            raise UserError(f"no adapter '{name}' in {store.uri}; there are: {', '.join(names(store)) or 'none yet'}")
        name = f"{name}/{found[0]}"
    if not store.exists(f"adapters/{name}/{MANIFEST}"):
        raise UserError(f"no adapter version '{name}' in {store.uri}: list the folder adapters/ to see what there is")
    return store, f"adapters/{name}"


def download_adapter(adapter: str, store_uri: str) -> tuple[Path, str]:
    """Download a published adapter into a temporary folder and verify every file against its manifest.

    Returns:
        (folder, URI of the version).

    Raises:
        UserError: there is none, a file is not what was published, or a signature that is asked for does not hold.
    """
    store, prefix = locate_adapter(adapter, store_uri)
    _, name, version = prefix.split("/", 2)
    wanted = read_manifest(store, name, version)["files"]
    folder = Path(tempfile.mkdtemp(prefix="clinadapt-adapter-"))
    try:
        download_folder(store, prefix, folder)
        _check_files(wanted, list_files(folder), prefix)
    except BaseException as error:
        shutil.rmtree(folder)
        if isinstance(error, KeyError):
            raise UserError(f"{prefix} was removed while it was downloaded: choose another version") from error
        raise
    return folder, f"{store.uri}/{prefix}"


@contextmanager
def downloaded_adapter(adapter: str, store_uri: str) -> Iterator[tuple[Path, str]]:
    """As download_adapter; the folder goes at the end."""
    folder, uri = download_adapter(adapter, store_uri)
    try:
        yield folder, uri
    finally:
        shutil.rmtree(folder)
