"""What a candidate must show, and who must agree, before it becomes the champion; shared by both recipes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from clinadapt.config.base import Section, is_upper_bound

_ED25519 = bytes.fromhex("302a300506032b6570032100")  # what the DER of a public key begins with (RFC 8410)
_KEY_BYTES = len(_ED25519) + 32
_FINGERPRINT = re.compile("sha256:[0-9a-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{56,}={0,2}")
_LONGEST_NAME = 200
_LEFT_OUT = ("approval", "audited_repeats")  # thresholds that are not written where they have their defaults


def fingerprint(der: bytes) -> str:
    """`sha256:` and the hash of an ed25519 public key in DER, as `openssl pkey -pubin -outform der | sha256sum` prints
    it. Raises ValueError where it is none."""
    if len(der) != _KEY_BYTES or not der.startswith(_ED25519):
        raise ValueError("is no ed25519 public key")
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def key_fingerprint(key: str) -> str | None:
    """The fingerprint of a public key that is written as PEM, as the base64 of its DER, or as its fingerprint; None
    where a text is none of them. Raises ValueError where it is another kind of key."""
    text = key.strip()
    if text.startswith("-----BEGIN"):
        if "PUBLIC KEY" not in text.partition("\n")[0]:
            raise ValueError("is no public key: give the public part, openssl pkey -in private.pem -pubout")
        text = "".join(line for line in text.splitlines() if not line.startswith("-----"))
    elif text.lower().startswith("sha256:"):
        if not _FINGERPRINT.fullmatch(text.lower()):
            raise ValueError("is no fingerprint: write sha256: and 64 hexadecimal digits")
        return text.lower()
    elif not _BASE64.fullmatch(text):
        return None
    try:
        return fingerprint(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError("is no ed25519 public key") from error


def plain_name(name: str) -> str:
    """A user's name as names are compared: `Anna ` and `anna` are one."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def may_be_same_name(one: str, other: str) -> bool:
    """Whether two names of users may be one person's: `anna` and `Anna@hospital.example` may."""
    first, second = plain_name(one), plain_name(other)
    if ("@" in first) == ("@" in second):
        return first == second
    return first.partition("@")[0] == second.partition("@")[0]


class Approver(Section):
    """A person who may approve, known by a name, by a key, or by both.

    Attributes:
        name: as the review page's login or proxy gives it.
        key: fingerprint of the ed25519 public key; a key in PEM or base64 is accepted.
    """

    name: str = Field(default="", max_length=_LONGEST_NAME)
    key: str = ""

    @model_validator(mode="after")
    def _check(self) -> Approver:
        self.name = self.name.strip()
        if self.key:
            if (known := key_fingerprint(self.key)) is None:
                raise ValueError("key: write an ed25519 public key in PEM, or its fingerprint, sha256:...")
            self.key = known
        if not (self.name or self.key):
            raise ValueError("an approver has a name, a key or both")
        if not self.name.isprintable():
            raise ValueError("the name of an approver has characters that cannot be printed")
        return self

    def is_same(self, other: Approver) -> bool:
        """Whether both are one person: they share the key, or the name, with its domain where it has one."""
        keys, names = bool(self.key and self.key == other.key), bool(self.name and other.name)
        return keys or (names and plain_name(self.name) == plain_name(other.name))

    def may_be_same(self, other: Approver) -> bool:
        """Whether both may be one person, for what one person must not do: as `is_same`, but a name without a domain
        may be that of a user in any."""
        names = bool(self.name and other.name)
        return self.is_same(other) or (names and may_be_same_name(self.name, other.name))

    @property
    def label(self) -> str:
        """How a person is shown: the name; without one, the beginning of the key's fingerprint."""
        return self.name or self.key[:19]


def person(text: str) -> Approver:
    """Who a text such as `anna`, `sha256:...` or `anna sha256:...` names. Raises ValueError where it names nobody."""
    name, _, last = text.strip().rpartition(" ")
    if last.startswith("sha256:"):
        return Approver(name=name, key=last)
    return Approver(name=text.strip())


def _approver(value: Any) -> Any:
    """An entry of `of`: a text is a key where it looks like one, else a name."""
    if not isinstance(value, str):
        return value
    return {"key": value} if key_fingerprint(value) is not None else {"name": value}


class Approval(Section):
    """gate.approval: people who have to approve a candidate that has passed the gate, before it is the champion.

    Attributes:
        signers: how many different people have to approve.
        of: who may: names of users, public keys, or `{name: anna, key: ...}` for somebody who may use either.
        days: after its publication until which they have to.
    """

    signers: int = Field(default=2, ge=1, le=20)
    of: list[Annotated[Approver, BeforeValidator(_approver)]] = Field(min_length=1, max_length=200)
    days: int = Field(default=14, ge=1, le=365)

    @model_validator(mode="after")
    def _check_people(self) -> Approval:
        for i, one in enumerate(self.of):
            if any(one.may_be_same(other) for other in self.of[:i]):
                raise ValueError(f"`of` names {one.label} twice: list each person once, as name, key or both")
        if len(self.of) < self.signers:
            raise ValueError(f"{self.signers} signers are needed and `of` names {len(self.of)}: name more people")
        return self

    def sentence(self) -> str:
        """What is asked for, in words."""
        people = "person" if len(self.of) == 1 else "people"
        days = "day" if self.days == 1 else "days"
        have = "has" if self.signers == 1 else "have"
        return (
            f"{self.signers} of {len(self.of)} named {people} {have} to approve it within {self.days} {days} before it "
            "becomes the champion."
        )

    def find(self, person: Approver) -> int | None:
        """The place in `of` of a person; None where he is not among them."""
        return next((i for i, each in enumerate(self.of) if each.is_same(person)), None)


class GateThresholds(Section):
    """Thresholds of a gate, and who has to approve what passes it. The defaults are strict.

    Attributes:
        approval: None where a candidate that passes becomes the champion at once.
    """

    approval: Approval | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_switches(cls, values: Any) -> Any:
        """Refuse `yes` and `no`, which would be read as 1 and 0: as switched off, or as what nothing can pass."""
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and name != "approval":
                raise ValueError(f"{name} is a number, neither yes nor no: write one, such as 0.05 for 5 %")
        return values

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not asked for, so that the run keys of those who ask for none stay."""
        values: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {n: value for n, value in values.items() if n not in _LEFT_OUT or value != fields[n].default}

    def loosened(self) -> dict[str, float]:
        """The thresholds that are looser than the defaults, by name: higher ones of `max_...` and `..._margin`, lower
        ones of the others."""
        values = {name: value for name, value in self.model_dump().items() if name != "approval"}
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return {
            name: value
            for name, value in values.items()
            if (value > defaults[name] if is_upper_bound(name) else value < defaults[name])
        }
