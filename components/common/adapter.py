"""What an adapter says of itself, and how a published one comes out of the store."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ValidationError

from components.common.base_model import describe
from components.common.errors import UserError
from components.common.provenance import MANIFEST, first_difference, list_files, read_json, write_json
from components.common.recipe import Pooling, Precision, Quantization, Windows
from components.common.registry import champion, names, read_manifest
from components.common.store import Store, download_folder, open_store

CARD = "clinadapt.json"


class AdapterCard(BaseModel):
    """The facts that prediction needs, kept beside the adapter's weights as clinadapt.json."""

    base_model: str
    base_digest: str
    quantization: Quantization
    precision: Precision
    seed: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises UserError when the folder holds no adapter of ours, or one of another recipe."""
        try:
            return cls.model_validate(read_json(folder / CARD))
        except (OSError, ValueError, ValidationError) as error:
            raise UserError(
                f"{folder} holds no adapter for this: {CARD} is missing, broken or of another recipe"
            ) from error

    def write(self, folder: Path) -> None:
        """Write clinadapt.json into `folder`."""
        write_json(folder / CARD, self.model_dump())

    def check_base(self) -> None:
        """Raises UserError when the base model is no longer the one that the adapter was trained on."""
        if describe(self.base_model).digest != self.base_digest:
            raise UserError(
                f"base model '{self.base_model}' has changed since this adapter was trained: restore it or train again"
            )


class InstructCard(AdapterCard):
    """Of an adapter that answers instructions.

    Attributes:
        length: tokens of prompt and answer that it was trained with, at most.
        new_tokens: of an answer, at most.
        tasks: that it was trained on.
    """

    recipe: Literal["instruct"] = "instruct"
    length: int
    new_tokens: int
    tasks: list[str]


class Card(AdapterCard):
    """Of a classifier.

    Attributes:
        temperature: of the published adapter's probabilities.
        temperature_ratio: what the temperature that suits the validation notes is multiplied by. They are few, so their
            temperature is noisy; for the linear probe that training begins with it can be had out of fold from all
            training notes too, and most of what those two differ by is that noise (a ratio estimator, Cochran 1977,
            Sampling Techniques, chapter 6: of use where both models err on the same notes). Between 1/2 and 2; 1
            where there is no probe.
    """

    recipe: Literal["classify"] = "classify"
    labels: list[str]
    label_sets: list[list[int]]
    windows: Windows
    pooling: Pooling
    temperature: float = 1.0
    temperature_ratio: float = 1.0

    def set_names(self) -> list[str]:
        """What the outputs of the head are called: `Orthopedic + Surgery`."""
        return [" + ".join(self.labels[i] for i in members) for members in self.label_sets]


def recipe_of(folder: Path) -> str:
    """`classify` or `instruct`. Raises UserError when the folder holds no adapter of ours."""
    try:
        return str(read_json(folder / CARD)["recipe"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} holds no Clinadapt adapter: {CARD} is missing or broken") from error


def published_recipe(adapter: str, store_uri: str) -> str:
    """The same of a published adapter, without its weights. Raises UserError where there is none, it is none of ours,
    or its card is not what was published."""
    store, prefix = locate(adapter, store_uri)
    _, name, version = prefix.split("/", 2)
    with tempfile.TemporaryDirectory() as scratch:
        with suppress(KeyError):  # one that is missing is told below
            store.download(f"{prefix}/{CARD}", Path(scratch) / CARD)
        wanted = read_manifest(store, name, version)["files"]
        _check_files({CARD: wanted.get(CARD)}, list_files(Path(scratch)), prefix)
        return recipe_of(Path(scratch))


def _check_files(wanted: dict[str, Any], found: dict[str, Any], prefix: str) -> None:
    """Raises UserError for the first file that is missing, is another one, or was not published."""
    if name := first_difference(wanted, found):
        raise UserError(
            f"{prefix}/{name} is not what was published (size or sha256 differ): publish this version again"
        )


def locate(adapter: str, store_uri: str) -> tuple[Store, str]:
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
    store, prefix = locate(adapter, store_uri)
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
def downloaded(adapter: str, store_uri: str) -> Iterator[tuple[Path, str]]:
    """As download_adapter; the folder goes at the end."""
    folder, uri = download_adapter(adapter, store_uri)
    try:
        yield folder, uri
    finally:
        shutil.rmtree(folder)
