"""The seal of a version's manifest: any changed byte shows, and with a key also who wrote it.

CLINADAPT_SIGNING_KEY   ed25519 private key, the path of a PEM file or its text: manifests and provenance are signed
CLINADAPT_VERIFY_KEY    the public key: a manifest without its signature is refused

openssl genpkey -algorithm ed25519 -out private.pem; openssl pkey -in private.pem -pubout -out public.pem
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import sha256_json, to_json
from clinadapt.errors import UserError

SIGNING_KEY, VERIFY_KEY = "CLINADAPT_SIGNING_KEY", "CLINADAPT_VERIFY_KEY"
IN_TOTO = "application/vnd.in-toto+json"


def seal(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with `seal`, its digest, and where a key is given `signature`, which the seal covers too.

    Raises:
        UserError: the key cannot be read.
    """
    if pem := _pem(SIGNING_KEY):
        signature = _private(pem).sign(sha256_json(manifest).encode())
        manifest = {**manifest, "signature": base64.b64encode(signature).decode()}
    return {**manifest, "seal": sha256_json(manifest)}


def envelope(statement: bytes) -> dict[str, Any]:
    """The statement as `attestation`, in a DSSE envelope (https://github.com/secure-systems-lab/dsse), where a key is
    given; nothing without one.

    Raises:
        UserError: the key cannot be read.
    """
    pem = _pem(SIGNING_KEY)
    if not pem:
        return {}
    key = _private(pem)
    signed = b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(statement), statement)
    signature = {"keyid": key_id(key.public_key()), "sig": base64.b64encode(key.sign(signed)).decode()}
    payload = base64.b64encode(statement).decode()
    return {"attestation": {"payload": payload, "payloadType": IN_TOTO, "signatures": [signature]}}


def key_id(key: Any) -> str:
    """What names a public key: the sha256 of its DER form, in hex digits."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def check_seal(data: bytes, where: str) -> dict[str, Any]:
    """The manifest that `data` is, once its seal and, where a public key is given, its signature hold.

    Args:
        data: content of the file.
        where: its name, for the message.

    Raises:
        UserError: a byte was changed, or the signature is missing or another's.
    """
    try:
        sealed = json.loads(data)
        signed = {name: value for name, value in sealed.items() if name != "seal"}
        body = {name: value for name, value in signed.items() if name != "signature"}
        whole = sealed["seal"] == sha256_json(signed) and data == to_json(sealed).encode()
        whole = whole and sealed["digest"] == sha256_json(sealed["files"])
    except (ValueError, AttributeError, KeyError) as error:
        raise UserError(f"{where} is not what was published (it is broken): publish this version again") from error
    if not whole:
        raise UserError(f"{where} is not what was published (its seal does not hold): publish this version again")
    if pem := _pem(VERIFY_KEY):
        _check_signature(sealed.get("signature"), body, pem, where)
    return body


def _check_signature(signature: str | None, body: dict[str, Any], pem: bytes, where: str) -> None:
    from cryptography.exceptions import InvalidSignature

    if signature is None:
        raise UserError(f"{where} is not signed and {VERIFY_KEY} asks for it: publish with {SIGNING_KEY} set")
    try:
        _public(pem).verify(base64.b64decode(signature, validate=True), sha256_json(body).encode())
    except (InvalidSignature, binascii.Error) as error:
        raise UserError(
            f"{where} is not signed by the key in {VERIFY_KEY}: do not use this version, find out who wrote it"
        ) from error


def _pem(name: str) -> bytes | None:
    """The key that the environment names, as a path or as PEM text."""
    given = os.environ.get(name, "")
    if not given or given.startswith("-----BEGIN"):
        return given.encode() or None
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise UserError(f"{name} is neither PEM text nor a file that can be read: check it") from error


def _private(pem: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(SIGNING_KEY, "private", "genpkey -algorithm ed25519") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(SIGNING_KEY, "private", "genpkey -algorithm ed25519")
    return key


def _public(pem: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(VERIFY_KEY, "public", "pkey -pubout") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(VERIFY_KEY, "public", "pkey -pubout")
    return key


def _no_key(name: str, kind: str, command: str) -> UserError:
    return UserError(f"{name} holds no ed25519 {kind} key without a password: make one with openssl {command}")
