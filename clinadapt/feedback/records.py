"""Records of people: JSON objects in a store, each with the DSSE envelope of its content where a signing key is set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

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


def encode(content: dict[str, Any], kind: str) -> bytes:
    """A record as it is stored.

    Args:
        content: JSON.
        kind: of record, in the type of the signed content.

    Raises:
        UserError: records have to be signed and the key is missing.
    """
    if must_verify() and not can_sign():
        raise UserError(f"a {kind} has to be signed, as {VERIFY_KEY} is set: set {SIGNING_KEY} too")
    return attested(content, sign_json(content, _payload_type(kind)))


def decode(data: bytes, kind: str) -> dict[str, Any]:
    """The content of a record. Arguments as of `encode`.

    Raises:
        Unusable: it was not read, is broken, is not signed where CLINADAPT_VERIFY_KEY is set, or has the signature of
            another key or of another content.
    """
    if data == _NOT_READ:
        raise Unusable("empty, damaged or too large")
    try:
        record = json.loads(data)
        content = {name: value for name, value in record.items() if name != ATTESTATION}
    except (ValueError, AttributeError, RecursionError) as error:
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


def read_records(store: Store, name: str, version: str, known: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """All records about a version of an adapter: key -> content.

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
    records |= {entry.key: _NOT_READ for entry in entries if entry.size > LARGEST}

    def read(key: str) -> None:
        try:
            records[key] = store.get(key)[0]
        except CorruptObject:
            records[key] = _NOT_READ
        except KeyError:  # deleted meanwhile
            pass

    with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        list(pool.map(read, [key for key in keys if key not in records]))
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
