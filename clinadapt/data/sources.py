"""Data sources by URI: their rows, and a digest of their content. SCHEMES lists the URI schemes.

To add a scheme, subclass `Scheme`, or `RemoteFile` if files are downloaded from there, and enter it in SCHEMES.
"""

from __future__ import annotations

import ipaddress
import socket
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlparse

import httpx

from clinadapt.artifacts.hashing import sha256_file, sha256_json
from clinadapt.config.uri_credentials import refuse_credentials
from clinadapt.data.builtin_cases import generate
from clinadapt.data.readers import Row, is_data_file, read_rows
from clinadapt.errors import UserError
from clinadapt.storage import open_store
from clinadapt.storage.local_files import file_path, os_errors
from clinadapt.storage.uris import parse_uri

_INTERNAL = (".localhost", ".local", ".internal", ".svc", ".lan", ".home.arpa", ".intranet", ".corp")  # never public
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4 addresses in their last 32 bits, RFC 6052
_UNKNOWN = "unknown since"  # prefix of the digest of a source whose server does not identify its content


def source_rows(uri: str) -> Iterator[Row]:
    """Read all rows of a source in order, those of a folder file by file.

    Raises:
        UserError: an unsupported scheme, or a source that does not exist or cannot be read.
    """
    for file in source_files(uri):
        yield from _scheme(uri).rows(file)


def source_digest(uri: str) -> str:
    """Digest of the current content of a source, so that unchanged data is not read twice.

    Returns:
        The sha256 of a file, the ETag of an object or web page, the commit of a Hub dataset, the URI of built-in notes;
        for a folder, a hash of the names and digests of its files.

    Raises:
        UserError: as `source_rows`.
    """
    digests = {file: _scheme(uri).digest(file) for file in source_files(uri)}
    return combined_digest(uri, digests)


def source_files(uri: str) -> list[str]:
    """URIs of the files of a source: of a folder, its data files sorted by name (without hidden ones and those that
    are no data, see `skipped_files`); else the URI itself.

    A folder is a local directory, or `s3://bucket/prefix/` with a slash at the end. Hidden names start with a dot or,
    like Spark's markers, with an underscore.

    Raises:
        UserError: a folder without files, or a store that cannot be read.
    """
    files = _scheme(uri).list_files(uri)
    if files == [uri]:
        return files
    if data := [file for file in files if is_data_file(file)]:
        return data
    raise UserError(f"the folder {uri} contains no data file: add a file of notes or choose another folder")


def skipped_files(uri: str) -> list[str]:
    """Suffixes of the files in a folder that are not read, such as `.md` of a README, sorted; names may be data."""
    files = _scheme(uri).list_files(uri)
    names = [file.rpartition("/")[2] for file in files if files != [uri] and not is_data_file(file)]
    return sorted(PurePosixPath(name.lower()).suffix[:8] or "no suffix" for name in names)


def combined_digest(uri: str, digests: dict[str, str]) -> str:
    """Digest of a source, given the digest of each of its files by URI."""
    return digests[uri] if uri in digests else sha256_json(digests)


def identifies_content(digest: str) -> bool:
    """Whether equal digests mean equal content: not for a web page without an ETag."""
    return not digest.startswith(_UNKNOWN)


def redacted_uri(uri: str) -> str:
    """A source URI for messages and manifests: an http address without user, password and query (signatures)."""
    try:
        parts = urlparse(uri)
    except ValueError:  # brackets that hold no address
        return uri.partition("://")[0] + "://"
    if parts.scheme not in ("http", "https"):
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


class Scheme(ABC):
    """How the sources of one URI scheme are read. `example` is shown in error messages."""

    example: str

    def list_files(self, uri: str) -> list[str]:
        """See `source_files`."""
        return [uri]

    @abstractmethod
    def digest(self, uri: str) -> str:
        """Digest of one file, see `source_digest`."""

    @abstractmethod
    def rows(self, uri: str) -> Iterator[Row]:
        """Rows of one file, see `source_rows`."""


def _scheme(uri: str) -> Scheme:
    if scheme := SCHEMES.get(parse_uri(refuse_credentials(uri)).scheme):
        return scheme
    *examples, last = dict.fromkeys(scheme.example for scheme in SCHEMES.values())
    raise UserError(f"data source '{uri}' has an unsupported URI scheme: use {', '.join(examples)} or {last}")


def _visible_files(files: list[str]) -> list[str]:
    return sorted(uri for uri in files if uri.rpartition("/")[2][0] not in "._")


class LocalFile(Scheme):
    """`file:///path` of a file or a folder."""

    example = "file:///path"

    def list_files(self, uri: str) -> list[str]:
        folder = file_path(uri)
        if not folder.is_dir():
            return [uri]
        with os_errors(f"cannot read {uri}", "check the rights of the folder"):
            return _visible_files([path.as_uri() for path in folder.iterdir() if path.is_file()])

    def digest(self, uri: str) -> str:
        return sha256_file(self._path(uri))

    def rows(self, uri: str) -> Iterator[Row]:
        yield from read_rows(self._path(uri), self._path(uri).name)

    def _path(self, uri: str) -> Path:
        path = file_path(uri)
        if not path.is_file():
            raise UserError(f"data source {path} not found: check the path")
        return path


class RemoteFile(Scheme):
    """A file that is downloaded to be read; the copy is deleted afterwards."""

    @abstractmethod
    def download(self, uri: str, target: Path) -> None:
        """Download the file to `target`."""

    @abstractmethod
    def file_name(self, uri: str) -> str:
        """The name of the file, whose suffixes tell its format."""

    def rows(self, uri: str) -> Iterator[Row]:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "source"
            self.download(uri, copy)
            yield from read_rows(copy, self.file_name(uri))


class S3Object(RemoteFile):
    """`s3://bucket/key`, or `s3://bucket/prefix/` for the objects directly below a prefix."""

    example = "s3://bucket/key"

    def list_files(self, uri: str) -> list[str]:
        if not uri.endswith("/"):
            return [uri]
        store = open_store(uri)
        return _visible_files([f"{store.uri}/{key}" for key in store.list() if key and "/" not in key])

    def digest(self, uri: str) -> str:
        with self._found(uri) as (prefix, key):
            return f"etag:{open_store(prefix).etag(key)}"

    def download(self, uri: str, target: Path) -> None:
        with self._found(uri) as (prefix, key):
            open_store(prefix).download(key, target)

    def file_name(self, uri: str) -> str:
        return uri.rpartition("/")[2]

    @contextmanager
    def _found(self, uri: str) -> Iterator[tuple[str, str]]:
        prefix, _, key = uri.rpartition("/")
        if not key or prefix in ("s3:/", "s3://"):
            raise UserError(f"data source '{uri}' has no object key: write s3://bucket/folder/file.csv")
        try:
            yield prefix, key
        except KeyError as error:
            raise UserError(f"data source {uri} not found: check bucket and key") from error


class HttpFile(RemoteFile):
    """`https://host/file`, with proxy and CA bundle from the environment."""

    example = "https://host/file"

    def digest(self, uri: str) -> str:
        with self._request("HEAD", uri) as response:
            validator = response.headers.get("etag") or response.headers.get("last-modified")
        return f"etag:{validator}" if validator else f"{_UNKNOWN} {datetime.now(UTC).isoformat()}"

    def download(self, uri: str, target: Path) -> None:
        with self._request("GET", uri) as response, os_errors("cannot store the download"), target.open("wb") as file:
            for block in response.iter_bytes(1 << 20):
                file.write(block)

    def file_name(self, uri: str) -> str:
        return Path(urlparse(uri).path).name

    @contextmanager
    def _request(self, method: str, uri: str) -> Iterator[httpx.Response]:
        shown = redacted_uri(uri)
        try:
            with (
                httpx.Client(follow_redirects=True, timeout=60, event_hooks={"response": [_check_redirect]}) as client,
                client.stream(method, uri) as response,
            ):
                if response.is_error:
                    raise UserError(f"{shown} returned HTTP {response.status_code}: check the address")
                yield response
        except httpx.HTTPError as error:
            reason = type(error).__name__
            raise UserError(f"{shown} cannot be reached ({reason}): check address, proxy and CA bundle") from error


def _check_redirect(response: httpx.Response) -> None:
    """Raises UserError for a redirect from https to http, or to another service of this machine or its network."""
    if not response.has_redirect_location:
        return
    here, there = response.url, response.url.join(response.headers["location"])
    if here.scheme == "https" and there.scheme != "https":
        raise UserError(f"{redacted_uri(str(here))} redirects to an unencrypted address: check the address")
    if (here.host, here.port) != (there.host, there.port) and _is_internal(there.host):
        raise UserError(f"{redacted_uri(str(here))} redirects into the internal network: give that address itself")


def _is_internal(host: str) -> bool:
    """Whether a name or an address, in whatever form the system's resolver takes it, leads into a network that is not
    the internet. A name with a dot that only the own network knows is not recognised."""
    name = host.rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1, 2130706433, 0x7f.1
        except OSError:
            return "." not in name or name.endswith(_INTERNAL)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.sixtofour or (address in _NAT64 and ipaddress.ip_address(int(address) % 2**32)) or address
        address = inner
    return address.is_multicast or not address.is_global


class HubDataset(Scheme):
    """`hf://org/name[@revision][?split=train]`, a dataset of the Hugging Face Hub."""

    example = "hf://org/name"

    def digest(self, uri: str) -> str:
        from huggingface_hub import dataset_info

        name, revision, _ = self._parse(uri)
        with self._hub_errors(uri):
            return f"hf:{dataset_info(name, revision=revision).sha}"

    def rows(self, uri: str) -> Iterator[Row]:
        from datasets import load_dataset

        name, revision, split = self._parse(uri)
        with self._hub_errors(uri):
            yield from load_dataset(name, split=split, revision=revision, streaming=True)

    def _parse(self, uri: str) -> tuple[str, str | None, str]:
        parts = urlparse(uri)
        name, _, revision = f"{parts.netloc}{parts.path}".partition("@")
        return name, revision or None, parse_qs(parts.query).get("split", ["train"])[-1]

    @contextmanager
    def _hub_errors(self, uri: str) -> Iterator[None]:
        from huggingface_hub.errors import HFValidationError, HTTPError

        try:
            yield
        except (HTTPError, HFValidationError, OSError, ValueError) as error:
            reason = type(error).__name__
            raise UserError(
                f"'{uri}' cannot be loaded from the Hub ({reason}): check its name, split, HF_TOKEN and the network"
            ) from error


class BuiltinCases(Scheme):
    """`builtin://cases[?rows=800&seed=7]`, synthetic notes."""

    example = "builtin://cases"

    def digest(self, uri: str) -> str:
        self._parse(uri)
        return uri

    def rows(self, uri: str) -> Iterator[Row]:
        yield from generate(**self._parse(uri))

    def _parse(self, uri: str) -> dict[str, int]:
        parts, usage = urlparse(uri), f"data source '{uri}' is invalid: write builtin://cases?rows=800&seed=7"
        try:
            query = parse_qs(parts.query, strict_parsing=bool(parts.query))
            arguments = {key: int(values[-1]) for key, values in query.items()}
        except ValueError as error:
            raise UserError(usage) from error
        if parts.netloc != "cases" or arguments.keys() - {"rows", "seed"} or arguments.get("rows", 1) < 1:
            raise UserError(usage)
        return {"rows": 800, "seed": 7} | arguments


SCHEMES: dict[str, Scheme] = {
    "file": LocalFile(),
    "https": HttpFile(),
    "http": HttpFile(),
    "s3": S3Object(),
    "hf": HubDataset(),
    "builtin": BuiltinCases(),
}
