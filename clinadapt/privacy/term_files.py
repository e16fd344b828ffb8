"""Files with one term a line: names of staff, terms that are never identifiers."""

from __future__ import annotations

import re

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.errors import UserError
from clinadapt.privacy.spans import Span
from clinadapt.storage import open_store
from clinadapt.storage.local_files import file_path, os_errors

_MOST_BYTES = 20 * 2**20


def read_terms(uri: str) -> list[str]:
    """The terms of a text file, UTF-8; none for an empty URI. Raises UserError if it cannot be read."""
    if not uri:
        return []
    name = uri.rpartition("/")[2]
    data = _read(uri)
    if len(data) > _MOST_BYTES:
        raise UserError(f"{name} is larger than {_MOST_BYTES >> 20} MiB: give a text file with one term a line")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8: save it as a text file with one term a line") from None
    return [line.strip() for line in lines if line.strip()]


def terms_digest(uri: str) -> str:
    """Digest of the terms of a file; empty for an empty URI."""
    return sha256_json(read_terms(uri)) if uri else ""


def _read(uri: str) -> bytes:
    if uri.startswith("file://"):
        with os_errors(f"cannot read {file_path(uri).name}", "check its path"), file_path(uri).open("rb") as file:
            return file.read(_MOST_BYTES + 1)
    if not uri.startswith("s3://"):
        raise UserError("a file of terms has an unsupported URI scheme: use a path, file:// or s3://")
    folder, _, key = uri.rpartition("/")
    try:
        return open_store(folder).get(key)[0]
    except KeyError:
        raise UserError(f"{uri} not found: check bucket and key") from None


class Terms:
    """Terms that are looked for as whole words, whatever their capitals."""

    def __init__(self, terms: list[str]) -> None:
        forms = {form for term in terms for form in (term.lower(), term.casefold())}  # straße and STRASSE
        longest_first = sorted(forms, key=lambda term: (-len(term), term))
        alternatives = "|".join(map(re.escape, longest_first))
        # In a lookahead, so that terms which overlap are matched, each
        self._pattern = re.compile(rf"(?<!\w)(?=({alternatives})(?!\w))", re.IGNORECASE) if terms else None
        self._longest = max(map(len, forms), default=0)

    def cover(self, text: str, span: Span) -> bool:
        """Whether a span lies within a term."""
        if not self._pattern or span.end - span.start > self._longest:
            return False
        around = max(0, span.start - self._longest), span.end + self._longest
        return any(m.start() <= span.start and span.end <= m.end(1) for m in self._pattern.finditer(text, *around))
