"""Records of approval in the store. None is changed or deleted; each has a time by the clock of the store.

approvals/<name>/<version>/<time>-<kind>-<random>.json    proposal (by publish), approval, refusal
approvals/_revoked/<time>-revocation-<random>.json        somebody whose decisions do not count any more

A decision is signed (DSSE, `attestation`) by the key of the person; one that was made on the review page, by the page's
signing key where it has one. Proposals and revocations are signed by the registry's key where it is set. Where
CLINADAPT_VERIFY_KEY is set, a record of page or registry without its signature does not count.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from clinadapt.artifacts.signing import (
    APPROVER_KEY,
    SIGNING_KEY,
    InvalidSignature,
    attested,
    has_key,
    must_verify,
    sign_json,
    verify_json,
)
from clinadapt.artifacts.slsa import ATTESTATION
from clinadapt.artifacts.step_record import utc_now
from clinadapt.config.gate import Approval, Approver, fingerprint
from clinadapt.errors import one_line
from clinadapt.storage.object_store import MAX_CONCURRENCY, CorruptObject, Entry, Store


def _one_line(text: str) -> str:
    """Raises ValueError for what would write elsewhere on a terminal."""
    if one_line(text) != text:
        raise ValueError("not one line")
    return text


ROOT, REVOKED = "approvals/", "approvals/_revoked/"  # no adapter's name begins with an underscore
LONGEST_REASON = 1000  # characters
Reason = Annotated[str, Field(max_length=2 * LONGEST_REASON), AfterValidator(_one_line)]  # redacting lengthens it
_TYPE = "application/vnd.clinadapt.approval+json"  # of the signed content
_LARGEST = 64 * 2**10  # bytes of a record


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    when: AwareDatetime = Field(default_factory=lambda: datetime.fromisoformat(utc_now()))


class Proposal(_Content):
    """A version that passed the gate waits for approval from now on.

    Attributes:
        id: that decisions refer to.
        manifest: digest of the version's manifest.
        champion: the version that it was compared with; empty where there was none.
        policy: of the version's manifest.
        run: that proposed it.
        report: digest of that run's report, runs/<run>/report.html, which compares it with `champion`; empty where
            there is none.
        started_by: who started the run, as `clinadapt.config.gate.person` reads it; may be empty.
        fields: of the entry in the champion's history.
    """

    kind: Literal["proposal"] = "proposal"
    id: str
    name: str
    version: str
    manifest: str
    champion: str
    policy: Approval
    run: str
    report: str = ""
    started_by: str = ""
    fields: dict[str, Any] = {}


class Decision(_Content):
    """What a person decided about a version.

    Attributes:
        proposal: its id.
        approver: a key where the person signed, a name where the review page did.
        public_key: the person's, base64 of its DER; empty on the review page.
        reason: without what identifies patients.
    """

    kind: Literal["approval", "refusal"]
    name: str
    version: str
    manifest: str
    proposal: str
    approver: Approver
    public_key: str = ""
    reason: Reason

    @model_validator(mode="after")
    def _one_identity(self) -> Decision:
        """A signature proves the key alone, a login the name alone."""
        if self.public_key:
            own = Approver(key=fingerprint(base64.b64decode(self.public_key, validate=True)))
        else:
            own = Approver(name=self.approver.name)
        if self.approver != own:
            raise ValueError("approver")
        return self


class Revocation(_Content):
    """A person's decisions do not count any more, unless a version is, or was, the champion by them."""

    kind: Literal["revocation"] = "revocation"
    person: Approver
    by: str
    reason: Reason


Record = Proposal | Decision | Revocation
_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


@dataclass(frozen=True)
class Stored:
    """A record in the store.

    Attributes:
        key: of the store.
        time: when it was stored, by the clock of the store.
        digest: `sha256:` of its bytes.
        record: its content; None where it is broken.
        problem: why it does not count whatever it says: `broken`, or its signature; else empty.
    """

    key: str
    time: datetime
    digest: str
    record: Record | None
    problem: str = ""


def version_prefix(name: str, version: str) -> str:
    """Where the records of a version are."""
    return f"{ROOT}{name}/{version}/"


def write(store: Store, prefix: str, record: Record) -> str:
    """Store a record, signed where there is a key; return its key in the store.

    Raises:
        UserError: the key cannot be read, or the store cannot be written to.
    """
    content = record.model_dump(mode="json")
    own = isinstance(record, Decision) and record.public_key
    envelope = sign_json(content, _TYPE, APPROVER_KEY if own else SIGNING_KEY)
    key = f"{prefix}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{record.kind}-{secrets.token_hex(8)}.json"
    store.put(key, attested(content, envelope), if_absent=True)
    return key


def read_all(store: Store, prefix: str) -> list[Stored]:
    """The records below a prefix, by the time at which they were stored."""
    entries = sorted(_entries(store, prefix), key=lambda entry: (entry.modified, entry.key))
    with ThreadPoolExecutor(min(MAX_CONCURRENCY, len(entries) or 1)) as pool:
        return [stored for stored in pool.map(lambda entry: _read(store, entry), entries) if stored]


def newest_proposal(store: Store, name: str) -> Proposal | None:
    """The proposal of an adapter that was stored last; None where there is none that counts."""
    entries = [entry for entry in _entries(store, f"{ROOT}{name}/") if "-proposal-" in entry.key]
    for entry in sorted(entries, key=lambda entry: (entry.modified, entry.key), reverse=True):
        stored = _read(store, entry)
        if stored and not stored.problem and isinstance(stored.record, Proposal) and stored.record.name == name:
            return stored.record
    return None


def store_time(store: Store) -> datetime:
    """The time by the clock of the store, which is that of an object written for it.

    Raises:
        UserError: the store cannot be written to.
    """
    key = f"staging/{secrets.token_hex(16)}/clock"
    store.put(key, b"")
    try:
        return next(iter(store.entries(key))).modified
    finally:
        store.delete(key)


def _entries(store: Store, prefix: str) -> Iterator[Entry]:
    return (entry for entry in store.entries(prefix) if entry.key.endswith(".json"))


def _read(store: Store, entry: Entry) -> Stored | None:
    """None where it was deleted meanwhile, which nothing of ours does."""
    if entry.size > _LARGEST:
        return Stored(entry.key, entry.modified, "", None, "broken")
    try:
        data = store.get(entry.key)[0]
    except KeyError:
        return None
    except CorruptObject:
        return Stored(entry.key, entry.modified, "", None, "broken")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    try:
        fields = json.loads(data)
        content = {name: value for name, value in fields.items() if name != ATTESTATION}
        record = _RECORD.validate_python(content)
    except (ValueError, AttributeError, TypeError, RecursionError, OverflowError):
        return Stored(entry.key, entry.modified, digest, None, "broken")
    return Stored(
        entry.key, entry.modified, digest, record, _signature_problem(content, fields.get(ATTESTATION), record)
    )


def _signature_problem(content: dict[str, Any], envelope: Any, record: Record) -> str:
    own = isinstance(record, Decision) and record.public_key
    if envelope is None and (own or must_verify()):
        return "not signed"
    if not own and (envelope is None or not has_key()):
        return ""
    key = base64.b64decode(record.public_key) if isinstance(record, Decision) and own else None
    try:
        signed = verify_json(envelope, _TYPE, key)
    except InvalidSignature:
        return "its signature does not verify"
    return "" if signed == content else "it has the signature of another record"
