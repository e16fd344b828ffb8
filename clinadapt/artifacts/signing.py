"""Signatures: DSSE envelopes (https://github.com/secure-systems-lab/dsse). That of a published manifest is over an
in-toto statement that names the digest of every file and of the manifest's own content.

CLINADAPT_SIGNING_KEY   ed25519 private key, the path of a PEM file or its text: manifests, champions and caches are
                        signed
CLINADAPT_VERIFY_KEY    the public key: a manifest or champion without its signature is refused
CLINADAPT_APPROVER_KEY  ed25519 private key of a person who approves versions: signs what he decides

openssl genpkey -algorithm ed25519 -out private.pem; openssl pkey -in private.pem -pubout -out public.pem
"""

from __future__ import annotations

import copy
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import parse_json, to_json
from clinadapt.artifacts.manifest import MANIFEST_DIGEST, DamagedFolder, parse_manifest, with_digest
from clinadapt.artifacts.slsa import ATTESTATION, statement, subjects
from clinadapt.errors import UserError

SIGNING_KEY, VERIFY_KEY = "CLINADAPT_SIGNING_KEY", "CLINADAPT_VERIFY_KEY"
APPROVER_KEY = "CLINADAPT_APPROVER_KEY"
IN_TOTO = "application/vnd.in-toto+json"


class InvalidSignature(Exception):
    """A signature is missing, broken or by another key."""


def sign_manifest(manifest: dict[str, Any], predicate: dict[str, Any] | None = None) -> dict[str, Any]:
    """The manifest with `attestation`, its signed statement, where CLINADAPT_SIGNING_KEY is set.

    Args:
        manifest: as `write_manifest` returns it.
        predicate: the SLSA provenance that the statement carries.

    Raises:
        UserError: the key cannot be read.
    """
    content = {name: value for name, value in manifest.items() if name not in (ATTESTATION, MANIFEST_DIGEST)}
    if _read_key(SIGNING_KEY):
        content |= {ATTESTATION: sign_json(statement(content, predicate or {}), IN_TOTO)}
    return with_digest(content)


def sign_json(payload: dict[str, Any], payload_type: str, variable: str = SIGNING_KEY) -> dict[str, Any] | None:
    """The DSSE envelope of a payload; None where the variable with the key is not set.

    Raises:
        UserError: the key cannot be read.
    """
    key = _read_key(variable)
    if key is None:
        return None
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(to_json(payload).encode(), payload_type, {})
    envelope.sign(CryptoSigner(key))
    return dict(envelope.to_dict())


def attested(content: dict[str, Any], envelope: dict[str, Any] | None) -> bytes:
    """A JSON object as it is stored, with its envelope as `attestation` where it has one."""
    return to_json(content | ({ATTESTATION: envelope} if envelope else {})).encode()


def verify_json(envelope: Any, payload_type: str, public_key: bytes | None = None) -> Any:
    """The payload of a DSSE envelope whose signature verifies.

    Args:
        envelope: as `sign_json` returns it.
        payload_type: that it must have.
        public_key: ed25519, DER; that in CLINADAPT_VERIFY_KEY when None, or the public part of CLINADAPT_SIGNING_KEY
            where only that is set.

    Raises:
        InvalidSignature: it is no such envelope, or another key signed it.
        UserError: the key cannot be read.
    """
    from cryptography.hazmat.primitives.serialization import load_der_public_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error
    from securesystemslib.signer import SSlibKey

    try:
        if public_key is None:
            key = _read_key(VERIFY_KEY) or _read_key(SIGNING_KEY).public_key()
        else:
            key = load_der_public_key(public_key)
        parsed = Envelope.from_dict(copy.deepcopy(envelope))  # from_dict changes its argument
        parsed.verify([SSlibKey.from_crypto(key)], threshold=1)
        if parsed.payload_type != payload_type:
            raise InvalidSignature
        return json.loads(parsed.payload)
    except (Error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidSignature from error


def public_part(variable: str) -> bytes | None:
    """The public part, in DER, of the private key that a variable gives; None where it is not set.

    Raises:
        UserError: the key cannot be read.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = _read_key(variable)
    if key is None:
        return None
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def has_key() -> bool:
    """Whether a key is set, so that what is read from a cache has to be signed."""
    return bool(os.environ.get(SIGNING_KEY) or os.environ.get(VERIFY_KEY))


def must_verify() -> bool:
    """Whether CLINADAPT_VERIFY_KEY is set, so that what is published has to be signed."""
    return bool(os.environ.get(VERIFY_KEY))


def can_sign() -> bool:
    """Whether CLINADAPT_SIGNING_KEY is set."""
    return bool(os.environ.get(SIGNING_KEY))


def verify_manifest(data: bytes, location: str) -> dict[str, Any]:
    """The content of a published manifest.json, verified, without its `manifest_digest`.

    Args:
        data: content of the file.
        location: its key or URI, for the message.

    Raises:
        UserError: a byte was changed, an earlier release wrote it, or CLINADAPT_VERIFY_KEY is set and the signature is
            missing, by another key or of another manifest.
    """
    if _from_earlier_release(data):
        raise UserError(
            f"{location} was published by an earlier release and cannot be loaded: remove champion.json of this "
            "adapter from the store and run the pipeline again, or run it with another --adapter-name"
        )
    try:
        manifest = parse_manifest(data)
    except DamagedFolder as error:
        raise UserError(
            f"{location} is not what was published ({error.problem}): publish this version again"
        ) from error
    if must_verify():
        _verify_attestation(manifest, location)
    return {name: value for name, value in manifest.items() if name != MANIFEST_DIGEST}


def _from_earlier_release(data: bytes) -> bool:
    """Earlier releases wrote the fields `seal` and `signature`."""
    try:
        return "seal" in parse_json(data)
    except (ValueError, TypeError):
        return False


def _verify_attestation(manifest: dict[str, Any], location: str) -> None:
    if ATTESTATION not in manifest:
        raise UserError(f"{location} is not signed and {VERIFY_KEY} requires it: publish with {SIGNING_KEY} set")
    try:
        signed = verify_json(manifest[ATTESTATION], IN_TOTO)["subject"]
    except (InvalidSignature, KeyError, TypeError) as error:
        raise UserError(
            f"{location} is not signed by the key in {VERIFY_KEY}: do not use this version, find out who wrote it"
        ) from error
    if signed != subjects(manifest):
        raise UserError(
            f"{location} has the signature of another manifest: do not use this version, find out who wrote it"
        )


def _read_key(name: str) -> Any:
    """The ed25519 key that an environment variable gives as a path or as PEM text; None where it is not set."""
    value = os.environ.get(name)
    if not value:
        return None
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    try:
        pem = value.encode() if value.startswith("-----BEGIN") else Path(value).read_bytes()
    except OSError as error:
        raise UserError(f"{name} is neither PEM text nor a readable file: check it") from error
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_public_key(pem) if name == VERIFY_KEY else load_pem_private_key(pem, password=None)
        if isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
            return key
    kind, command = ("public", "pkey -pubout") if name == VERIFY_KEY else ("private", "genpkey -algorithm ed25519")
    raise UserError(f"{name} is not an unencrypted ed25519 {kind} key: make one with openssl {command}")
