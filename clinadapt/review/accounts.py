"""Accounts of reviewers, each with a password of their own: the file that CLINADAPT_REVIEW_ACCOUNTS names, with a line
`name:scrypt$salt$hash` for each, written by `clinadapt review-account`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path

from clinadapt.errors import UserError
from clinadapt.feedback.marks import LONGEST_NAME, person
from clinadapt.storage.local_files import os_errors

ACCOUNTS = "CLINADAPT_REVIEW_ACCOUNTS"
SHORTEST_PASSWORD = 8  # characters
_KIND = "scrypt"
_COST = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}  # RFC 7914, interactive logins: 16 MiB of memory


class Accounts:
    """The accounts of a file, as what Gradio asks at a login."""

    def __init__(self, path: Path) -> None:
        """Read a file. Raises UserError where it cannot be read, a line is no account, or two are of one person."""
        self._hashes: dict[str, tuple[bytes, bytes]] = {}
        people: dict[str, int] = {}
        for number, line in _lines(path):
            name, _, rest = line.rpartition(":")
            try:
                kind, salt, digest = rest.split("$")
                entry = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
            except ValueError:
                kind, entry = "", (b"", b"")
            if kind != _KIND or not name.strip() or not all(entry):
                raise UserError(f"line {number} of {path} is no account: write it with clinadapt review-account")
            if (first := people.setdefault(person(name), number)) != number:
                raise UserError(f"lines {first} and {number} of {path} are accounts of one person: remove one")
            self._hashes[name] = entry
        if not self._hashes:
            raise UserError(f"{path} has no account: add one with clinadapt review-account")
        self._nobody = os.urandom(16), os.urandom(_COST["dklen"])

    def __call__(self, name: str, password: str) -> bool:
        """Whether this is the password of this name; it takes as long where there is no such name."""
        salt, digest = self._hashes.get(name, self._nobody)
        return hmac.compare_digest(_hash(password, salt), digest) and name in self._hashes


def add_account(path: Path, name: str, password: str) -> None:
    """Add an account to a file, which is created for this user only (0600).

    Raises:
        UserError: name or password cannot be used, the person has an account already, or the file cannot be written.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise UserError(f"an account's name has 1 to {LONGEST_NAME} printable characters, no blank at its ends")
    if len(password) < SHORTEST_PASSWORD:
        raise UserError(f"a password has at least {SHORTEST_PASSWORD} characters: choose a longer one")
    if path.exists() and person(name) in {person(line.rpartition(":")[0]) for _, line in _lines(path)}:
        raise UserError(f"{path} has an account of that name already: remove its line first")
    salt = os.urandom(16)
    start = "\n" if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n") else ""  # after an editor
    parts = (base64.b64encode(part).decode() for part in (salt, _hash(password, salt)))
    with os_errors(f"cannot write {path}"):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{start}{name}:{_KIND}${'$'.join(parts)}\n")


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **_COST)


def _lines(path: Path) -> list[tuple[int, str]]:
    """(number from 1, line) of the lines of a file that are not empty."""
    try:
        with os_errors(f"cannot read {path}", "check the path and its permissions"):
            lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: write it with clinadapt review-account") from error
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
