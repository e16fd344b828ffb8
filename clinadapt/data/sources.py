"""A data source by URI: what names its content now, and a local copy of its file. One function a scheme."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import httpx

from clinadapt.artifacts.hashing import sha256_file, sha256_json
from clinadapt.errors import UserError
from clinadapt.storage import open_store
from clinadapt.storage.local_files import file_path, os_errors

_UNKNOWN = "unknown since"
SCHEMES = "file:///path, https://host/file, s3://bucket/key, hf://org/name or builtin://cases"


def digest(uri: str) -> str:
    """What names the content of a source now, so that unchanged data is not read twice: the sha256 of a file, the
    etag of an object or page, the commit of a hub dataset, the URI itself of the built-in generator; of a folder the
    names of its files and what names theirs.

    Raises:
        UserError: as `rows`.
    """
    scheme = urlparse(uri).scheme
    if scheme == "builtin":
        builtin_arguments(uri)
        return uri
    if (found := files(uri)) != [uri]:
        return together(uri, {each: digest(each) for each in found})
    if scheme == "file":
        return sha256_file(_existing(uri))
    if scheme == "s3":
        return _s3_etag(uri)
    if scheme in ("http", "https"):
        return _http_etag(uri)
    if scheme == "hf":
        from huggingface_hub import dataset_info

        name, revision, _ = hub_name(uri)
        with hub_errors(uri):
            return f"hf:{dataset_info(name, revision=revision).sha}"
    raise UserError(f"data source '{uri}' has no scheme I know: use {SCHEMES}")


def together(uri: str, contents: dict[str, str]) -> str:
    """What names the content of a source by what names that of its files."""
    return contents[uri] if uri in contents else sha256_json(contents)


def names_content(name: str) -> bool:
    """Whether what `digest` gave names a content: a page without an etag has none."""
    return not name.startswith(_UNKNOWN)


def files(uri: str) -> list[str]:
    """The files of a source, by name: of a folder, file:// or s3:// with a slash at its end, those that lie in it but
    for hidden ones, which begin with a dot or, as Spark's marks do, with an underscore; else the source itself.

    Raises:
        UserError: a folder without files, or a store that cannot be read.
    """
    scheme = urlparse(uri).scheme
    if scheme == "file" and file_path(uri).is_dir():
        with os_errors(f"cannot read {uri}", "check the rights of the folder"):
            found = sorted(path.as_uri() for path in file_path(uri).iterdir() if path.is_file())
    elif scheme == "s3" and uri.endswith("/"):
        store = open_store(uri)
        found = [f"{store.uri}/{key}" for key in store.list() if key and "/" not in key]
    else:
        return [uri]
    found = [each for each in found if each.rpartition("/")[2][0] not in "._"]
    if not found:
        raise UserError(f"the folder {uri} holds no file: give one with files of notes")
    return found


def shown(uri: str) -> str:
    """A source as messages and manifests may tell it: an http address without user, password and signature."""
    parts = urlparse(uri)
    if parts.scheme not in ("http", "https"):
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """The file behind a file://, s3:// or https:// URI; a copy of what is remote is removed afterwards."""
    scheme = urlparse(uri).scheme
    if scheme == "file":
        yield _existing(uri)
        return
    if scheme not in ("s3", "https", "http"):
        raise UserError(f"data source '{uri}' has no scheme I know: use {SCHEMES}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "source"
        (_copy_s3 if scheme == "s3" else _copy_http)(uri, copy)
        yield copy


def _existing(uri: str) -> Path:
    path = file_path(uri)
    if not path.is_file():
        raise UserError(f"there is no file {path}: check the path of the data source")
    return path


def builtin_arguments(uri: str) -> dict[str, int]:
    """rows and seed of builtin://cases?rows=800&seed=7."""
    parts = urlparse(uri)
    try:
        given = {
            key: int(values[-1]) for key, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()
        }
    except ValueError as error:
        raise UserError(f"data source '{uri}': write builtin://cases?rows=800&seed=7") from error
    if parts.netloc != "cases" or given.keys() - {"rows", "seed"} or given.get("rows", 1) < 1:
        raise UserError(f"data source '{uri}': write builtin://cases?rows=800&seed=7")
    return {"rows": 800, "seed": 7} | given


def _s3_parts(uri: str) -> tuple[str, str]:
    folder, _, key = uri.rpartition("/")
    if not key or folder in ("s3:/", "s3://"):
        raise UserError(f"data source '{uri}' names no object: write s3://bucket/folder/file.csv")
    return folder, key


def _s3_etag(uri: str) -> str:
    folder, key = _s3_parts(uri)
    try:
        return f"etag:{open_store(folder).etag(key)}"
    except KeyError as error:
        raise UserError(f"there is no object {uri}: check bucket and key of the data source") from error


def _copy_s3(uri: str, target: Path) -> None:
    folder, key = _s3_parts(uri)
    try:
        open_store(folder).download(key, target)
    except KeyError as error:
        raise UserError(f"there is no object {uri}: check bucket and key of the data source") from error


@contextmanager
def _http(method: str, uri: str) -> Iterator[httpx.Response]:
    try:
        with httpx.stream(method, uri, follow_redirects=True, timeout=60) as response:
            if response.is_error:
                raise UserError(f"{shown(uri)} answered {response.status_code}: check the address of the data source")
            yield response
    except httpx.HTTPError as error:
        raise UserError(
            f"{shown(uri)} cannot be reached ({type(error).__name__}): check address, proxy and CA bundle"
        ) from error


def _http_etag(uri: str) -> str:
    with _http("HEAD", uri) as response:
        stamp = response.headers.get("etag") or response.headers.get("last-modified")
    return f"etag:{stamp}" if stamp else f"{_UNKNOWN} {datetime.now(UTC).isoformat()}"


def _copy_http(uri: str, target: Path) -> None:
    with _http("GET", uri) as response, os_errors("cannot keep the download"), target.open("wb") as file:
        for block in response.iter_bytes(1 << 20):
            file.write(block)


def hub_name(uri: str) -> tuple[str, str | None, str]:
    """hf://org/name[@revision][?split=train] -> name, revision, split."""
    parts = urlparse(uri)
    name, _, revision = f"{parts.netloc}{parts.path}".partition("@")
    return name, revision or None, parse_qs(parts.query).get("split", ["train"])[-1]


@contextmanager
def hub_errors(uri: str) -> Iterator[None]:
    """Turn the hub's refusal into one line for the user."""
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        yield
    except (HTTPError, HFValidationError, OSError, ValueError) as error:
        reason = type(error).__name__
        raise UserError(
            f"'{uri}' cannot be had from the hub ({reason}): check its name, split, HF_TOKEN and the network"
        ) from error
