"""Records of people: JSON objects in a store, each with the DSSE envelope of its content where a signing key is set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.signing import (
    SIGNING_KEY,
    VERIFY_KEY,
    InvalidSignature,
    attested,
    can_sign,
    has_key,
    must_verify,
    sign_json,
    verify_json,
)
from clinadapt.artifacts.slsa import ATTESTATION
from clinadapt.errors import UserError
from clinadapt.storage.object_store import MAX_CONCURRENCY, CorruptObject, Store

Record = TypeVar("Record")
LeftOut = Counter[str]  # why a record does not count -> how many
STRICT = ConfigDict(extra="forbid")
LARGEST = 8 * 2**20  # bytes of a record; a larger one is not read
_NOT_READ = b""  # instead of the content of one that is too large or damaged


class Unusable(Exception):
    """A record does not count; the message says why, without its content."""


class StoredRecord:
    """A record as the store had it. It is parsed once, however often it is looked at: nothing overwrites it."""

    def __init__(self, key: str, data: bytes) -> None:
        self.key = key
        self._data = data
        self._parsed: Any = None

    def parsed(self, parse: Callable[[str, bytes], Record]) -> Record:
        """What `parse` makes of key and content, the same function each time. Raises Unusable as it does."""
        if self._parsed is None:
            try:
                self._parsed = parse(self.key, self._data)
            except Unusable as error:
                self._parsed = error
        if isinstance(self._parsed, Unusable):
            raise Unusable(str(self._parsed))
        return cast(Record, self._parsed)


def encode(content: dict[str, Any], kind: str) -> bytes:
    """A record as it is stored.

    Args:
        content: JSON.
        kind: of record, in the type of the signed content.

    Raises:
        UserError: records have to be signed, and the key is missing or is not the one that they are verified with.
    """
    if must_verify() and not can_sign():
        raise UserError(f"a {kind} has to be signed, as {VERIFY_KEY} is set: set {SIGNING_KEY} too")
    envelope = sign_json(content, _payload_type(kind))
    if must_verify():
        try:
            verify_json(envelope, _payload_type(kind))
        except InvalidSignature as error:
            raise UserError(
                f"a {kind} signed with {SIGNING_KEY} would not count, as {VERIFY_KEY} is another key's: set those of "
                "one pair"
            ) from error
    return attested(content, envelope)


def decode(data: bytes, kind: str) -> dict[str, Any]:
    """The content of a record. Arguments as of `encode`.

    Raises:
        Unusable: it was not read, is broken, is not signed where CLINADAPT_VERIFY_KEY is set, or has the signature of
            another key or of another content.
    """
    if data == _NOT_READ:
        raise Unusable("empty, damaged or too large")
    try:
        record = parse_json(data)
        content = {name: value for name, value in record.items() if name != ATTESTATION}
    except (ValueError, AttributeError) as error:
        raise Unusable("broken") from error
    if ATTESTATION not in record and must_verify():
        raise Unusable("not signed")
    if ATTESTATION in record and has_key():
        with suppress(InvalidSignature):
            if verify_json(record[ATTESTATION], _payload_type(kind)) == content:
                return content
        raise Unusable("wrong signature")
    return content


def validated(adapter: TypeAdapter[Record], content: dict[str, Any]) -> Record:
    """The record of a content. Raises Unusable where a field is missing, unknown or of another type."""
    try:
        return adapter.validate_python(content)
    except (ValidationError, RecursionError) as error:
        raise Unusable("broken") from error


def read_records(
    store: Store, name: str, version: str, known: Mapping[str, StoredRecord] | None = None
) -> dict[str, StoredRecord]:
    """All records about a version of an adapter, by key.

    Args:
        store: of the adapter.
        name, version: of the adapter.
        known: records that were read before, which nothing overwrites; those that are gone are gone from the result.

    Raises:
        UserError: the store cannot be read.
    """
    entries = [*store.entries(f"flagged/{name}/{version}/"), *store.entries(f"reviews/{name}/{version}/")]
    keys = [entry.key for entry in entries]
    records = {key: known[key] for key in keys if known and key in known}
    records |= {entry.key: StoredRecord(entry.key, _NOT_READ) for entry in entries if entry.size > LARGEST}

    def read(key: str) -> None:
        try:
            records[key] = StoredRecord(key, store.get(key)[0])
        except CorruptObject:
            records[key] = StoredRecord(key, _NOT_READ)
        except KeyError:  # deleted meanwhile
            pass

    if new := [key for key in keys if key not in records]:
        with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
            list(pool.map(read, new))
    return {key: records[key] for key in keys if key in records}


def usable(records: Iterable[Any], parse: Callable[[Any], Record], left_out: LeftOut) -> list[Record]:
    """What `parse` makes of records, without those that it finds Unusable, which are counted in `left_out`."""
    parsed = []
    for record in records:
        try:
            parsed.append(parse(record))
        except Unusable as error:
            left_out[str(error)] += 1
    return parsed


def _payload_type(kind: str) -> str:
    return f"application/vnd.clinadapt.{kind}+json"
