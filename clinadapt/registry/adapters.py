"""Published adapters by name, version or URI: located, downloaded and verified."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clinadapt.artifacts.manifest import DamagedFolder
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import CARD, adapter_recipe
from clinadapt.registry.approval.records import ROOT
from clinadapt.registry.approval.standing import proposed, unapproved
from clinadapt.registry.champion import champion
from clinadapt.registry.versions import adapter_names, problem_line, read_manifest, version_folder
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store


def published_recipe(adapter: str, store_uri: str) -> str:
    """The recipe of a published adapter, read from its verified card; the weights are not downloaded.

    Raises:
        UserError: as `download_adapter`.
    """
    store, prefix = locate_adapter(adapter, store_uri)
    _, name, version = prefix.split("/", 2)
    folder, manifest = version_folder(store, name, version), read_manifest(store, name, version)
    with tempfile.TemporaryDirectory(prefix="clinadapt-card-") as scratch:
        try:
            folder.fetch_file(CARD, Path(scratch), manifest)
        except DamagedFolder as error:
            raise UserError(problem_line(folder, error.file, error.problem)) from error
        return adapter_recipe(Path(scratch))


def locate_adapter(adapter: str, store_uri: str) -> tuple[Store, str]:
    """(store, prefix) of an adapter given as a name (its champion), as name/version or as the URI of a version.

    Raises:
        UserError: there is no such adapter.
    """
    if "://" in adapter:
        root, marker, path = adapter.rstrip("/").rpartition("/adapters/")
        if not marker:
            raise UserError(
                f"'{adapter}' is not an adapter: write <store>/adapters/<name>/<version>, or its name with --store"
            )
        store = open_store(root)
    else:
        store, path = open_store(store_uri), adapter.strip("/")
    if not all(part.strip(".") for part in path.split("/")):
        raise UserError(f"'{adapter}' is not an adapter: write NAME or NAME/VERSION, as in clinadapt registry list")
    if "/" not in path:
        current = champion(store, path)
        if current is None:
            if versions := proposed(store, f"{ROOT}{path}/"):
                version = "/".join(max(versions))
                raise UserError(
                    f"'{path}' has no champion yet, its versions need approval: see clinadapt registry list {path}; "
                    f"to try one before, name it, as in {version}"
                )
            available = ", ".join(adapter_names(store)) or "none yet"
            raise UserError(f"no adapter '{path}' in {store.uri}; there are: {available}")
        path = f"{path}/{current[0]}"
    name, _, version = path.partition("/")
    if not version_folder(store, name, version).exists():
        raise UserError(f"no adapter version '{path}' in {store.uri}: list the folder adapters/ to see what there is")
    return store, f"adapters/{path}"


def refuse_unapproved(adapter: str, store_uri: str) -> None:
    """Raises UserError where a version needs approval and has never been the champion: it is not for serving."""
    store, prefix = locate_adapter(adapter, store_uri)
    _, name, version = prefix.split("/", 2)
    if line := unapproved(store, name, version):
        raise UserError(f"{line}; only champions are served: give {name} alone, or approve this version first")


def download_adapter(adapter: str, store_uri: str) -> tuple[Path, str]:
    """Download a published adapter into a temporary folder and verify every file.

    Returns:
        (folder, URI of the version).

    Raises:
        UserError: there is no such adapter, a file is not what was published, or the signature does not verify.
    """
    store, prefix = locate_adapter(adapter, store_uri)
    _, name, version = prefix.split("/", 2)
    sealed, manifest = version_folder(store, name, version), read_manifest(store, name, version)
    folder = Path(tempfile.mkdtemp(prefix="clinadapt-adapter-"))
    try:
        sealed.fetch(folder, manifest)
    except BaseException as error:
        shutil.rmtree(folder)
        if isinstance(error, DamagedFolder):
            raise UserError(problem_line(sealed, error.file, error.problem)) from error
        if isinstance(error, KeyError):
            raise UserError(f"{prefix} was removed while it was downloaded: choose another version") from error
        raise
    return folder, f"{store.uri}/{prefix}"


@contextmanager
def downloaded_adapter(adapter: str, store_uri: str) -> Iterator[tuple[Path, str]]:
    """As `download_adapter`; the folder is removed at the end."""
    folder, uri = download_adapter(adapter, store_uri)
    try:
        yield folder, uri
    finally:
        shutil.rmtree(folder)
