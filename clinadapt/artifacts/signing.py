"""Signatures of published manifests: one DSSE envelope (https://github.com/secure-systems-lab/dsse) over an in-toto
statement that names the digest of every file and of the manifest's own content.

CLINADAPT_SIGNING_KEY   ed25519 private key, the path of a PEM file or its text: published manifests are signed
CLINADAPT_VERIFY_KEY    the public key: a manifest without its signature is refused

openssl genpkey -algorithm ed25519 -out private.pem; openssl pkey -in private.pem -pubout -out public.pem
"""

from __future__ import annotations

import copy
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import to_json
from clinadapt.artifacts.manifest import MANIFEST_DIGEST, DamagedFolder, parse_manifest, with_digest
from clinadapt.artifacts.slsa import ATTESTATION, statement, subjects
from clinadapt.errors import UserError

SIGNING_KEY, VERIFY_KEY = "CLINADAPT_SIGNING_KEY", "CLINADAPT_VERIFY_KEY"
IN_TOTO = "application/vnd.in-toto+json"


def sign_manifest(manifest: dict[str, Any], predicate: dict[str, Any] | None = None) -> dict[str, Any]:
    """The manifest with `attestation`, its signed statement, where CLINADAPT_SIGNING_KEY is set.

    Args:
        manifest: as `write_manifest` returns it.
        predicate: the SLSA provenance that the statement carries.

    Raises:
        UserError: the key cannot be read.
    """
    content = {name: value for name, value in manifest.items() if name not in (ATTESTATION, MANIFEST_DIGEST)}
    if key := _read_key(SIGNING_KEY):
        from securesystemslib.dsse import Envelope
        from securesystemslib.signer import CryptoSigner

        envelope = Envelope(to_json(statement(content, predicate or {})).encode(), IN_TOTO, {})
        envelope.sign(CryptoSigner(key))
        content |= {ATTESTATION: envelope.to_dict()}
    return with_digest(content)


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
    if os.environ.get(VERIFY_KEY):
        _verify_attestation(manifest, location)
    return {name: value for name, value in manifest.items() if name != MANIFEST_DIGEST}


def _from_earlier_release(data: bytes) -> bool:
    """Earlier releases wrote the fields `seal` and `signature`."""
    try:
        return "seal" in json.loads(data)
    except (ValueError, TypeError, RecursionError):
        return False


def _verify_attestation(manifest: dict[str, Any], location: str) -> None:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error
    from securesystemslib.signer import SSlibKey

    if ATTESTATION not in manifest:
        raise UserError(f"{location} is not signed and {VERIFY_KEY} requires it: publish with {SIGNING_KEY} set")
    key = SSlibKey.from_crypto(_read_key(VERIFY_KEY))
    try:
        envelope = Envelope.from_dict(copy.deepcopy(manifest[ATTESTATION]))  # from_dict changes its argument
        envelope.verify([key], threshold=1)
        signed = json.loads(envelope.payload)["subject"] if envelope.payload_type == IN_TOTO else None
    except (Error, ValueError, TypeError, KeyError, AttributeError) as error:
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
        key = load_pem_private_key(pem, password=None) if name == SIGNING_KEY else load_pem_public_key(pem)
        if isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
            return key
    kind, command = ("private", "genpkey -algorithm ed25519") if name == SIGNING_KEY else ("public", "pkey -pubout")
    raise UserError(f"{name} is not an unencrypted ed25519 {kind} key: make one with openssl {command}")
