"""Patient, encounter, date, sex and age of the rows of a source; identifiers become keyed hashes and ages bands as they
are read.

CLINADAPT_PATIENT_KEY   a secret of at least 32 characters (openssl rand -hex 32). With it, an identifier is stored as
                        the first 16 hex digits of its HMAC-SHA256, the same in every run. Without it, patients and
                        encounters are numbered in the order of their first row: within one dataset that joins as well,
                        but numbers of two datasets have nothing to do with each other, and files with patients are not
                        cached.
"""

from __future__ import annotations

import hmac
import math
import os
import re
import secrets
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from clinadapt.config.origin import ORIGIN, date_column, date_columns, origin_columns
from clinadapt.data.date_values import read_date
from clinadapt.data.patient_groups import age_band, is_missing, sex
from clinadapt.data.readers import column_names
from clinadapt.data.sources import redacted_uri
from clinadapt.errors import UserError

PATIENT_KEY = "CLINADAPT_PATIENT_KEY"
MIN_KEY = 32  # characters
MAX_IDENTIFIER = 64  # characters; a longer value is a text
_DIGITS = 16  # of a hash, hexadecimal


class _Group(NamedTuple):
    """A field whose values are grouped: what reads a value, the name of what it cannot read, and how to write that."""

    read: Callable[[Any], str | None]
    unreadable: str
    how: str


_GROUPS = {
    "sex": _Group(sex, "unreadable sexes", "F or M, female or male, or other"),
    "age": _Group(age_band, "unreadable ages", "67, 67 y, 6 months or 90+"),
}


class Origin(NamedTuple):
    """Whose note a row is: hashes of patient and encounter, when it was written (UTC where the zone is known), and sex
    and band of the age of the patient; None where the row does not say."""

    patient: str | None = None
    encounter: str | None = None
    date: datetime | None = None
    sex: str | None = None
    age_band: str | None = None


class Pseudonyms:
    """Hashes identifiers with the key in CLINADAPT_PATIENT_KEY, or without one with a key of this object.

    Attributes:
        key_id: identifies the key without giving it away; empty without one.
    """

    def __init__(self) -> None:
        """Raises UserError if the key is too short."""
        key = os.environ.get(PATIENT_KEY, "").strip()
        if key and len(key) < MIN_KEY:
            raise UserError(f"{PATIENT_KEY} has fewer than {MIN_KEY} characters: make one with openssl rand -hex 32")
        self._key = key.encode() or secrets.token_bytes(32)
        self.key_id = self._hash("key") if key else ""
        self._numbers: dict[str, dict[str, str]] = {}

    def of(self, field: str, value: Any) -> str | None:
        """The hash of an identifier; None for a value that stands for a missing one."""
        normal = normal_identifier(value)
        return self._hash(f"{field} {normal}") if normal else None

    def stored(self, field: str, hashed: str | None) -> str | None:
        """What a dataset stores: the hash, or without a key its number in this dataset."""
        if self.key_id or hashed is None:
            return hashed
        numbers = self._numbers.setdefault(field, {})
        return numbers.setdefault(hashed, str(len(numbers) + 1))

    def _hash(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()[:_DIGITS]


def normal_identifier(value: Any) -> str:
    """An identifier as exports write it in different ways: 123, 123.0, "00123" and " 123" are one. Empty for a missing
    one, and for a value that is too long for one."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = unicodedata.normalize("NFKC", str(value)).strip().casefold()
    text = re.sub(r"^(\d+)\.0+$", r"\1", text)
    if text.isdigit():
        return text.lstrip("0")
    missing = is_missing(text, also="anonymous") or re.fullmatch(r"-\d+", text)
    return "" if missing or len(text) > MAX_IDENTIFIER else text


class OriginReader:
    """Reads the origin of the rows of one source.

    Attributes:
        named: field -> column, as the settings name it.
        columns: field -> the columns that it was read from.
        counts: rows; rows with each field of ORIGIN; `unreadable dates`, `unreadable sexes` and `unreadable ages`.
    """

    def __init__(self, named: Mapping[str, str], pseudonyms: Pseudonyms) -> None:
        """`named`: field -> column, as the settings name it; the others are found by their usual names."""
        self.named, self._pseudonyms = dict(named), pseudonyms
        self._form = date_column(self.named.get("date", ""))[1]
        # columns of the previous row, its origin's, and those of its date, of which the first that is filled counts
        self._found: tuple[tuple[str, ...], dict[str, str], list[str]] = ((), {}, [])
        self.columns: dict[str, list[str]] = {}
        self.counts: Counter[str] = Counter()

    def read(self, row: Mapping[str, Any]) -> Origin:
        """The origin of a row of the source."""
        if (header := tuple(row)) != self._found[0]:
            found = origin_columns(header, self.named)
            named = [found["date"]] if "date" in found else []
            self._found = (header, found, named if "date" in self.named else date_columns(header))
            for field, column in found.items():
                self._record(field, column)
        _, found, dates = self._found
        self.counts["rows"] += 1
        patient, encounter = (
            self._pseudonyms.of(field, row[found[field]]) if field in found else None
            for field in ("patient", "encounter")
        )
        # the discharge summaries of MIMIC-III have a chartdate and no charttime
        dated = next((column for column in dates if normal_identifier(row[column])), None)
        when = self._date(row[dated]) if dated else None
        if dated:
            self._record("date", dated)
        groups = (self._group(field, row[found[field]]) if field in found else None for field in _GROUPS)
        origin = Origin(patient, encounter, when, *groups)
        for field, value in zip(ORIGIN, origin, strict=True):
            self.counts[field] += value is not None
        return origin

    def _record(self, field: str, column: str) -> None:
        if column not in self.columns.setdefault(field, []):
            self.columns[field].append(column)

    def _group(self, field: str, value: Any) -> str | None:
        group = _GROUPS[field].read(value)
        self.counts[_GROUPS[field].unreadable] += group is None and not is_missing(value)
        return group

    def _date(self, value: Any) -> datetime | None:
        when = read_date(value, self._form)
        self.counts["unreadable dates"] += when is None
        return when

    def summary(self) -> dict[str, Any]:
        """`columns`, those of them that were `found` by their usual names, and `counts`."""
        found = [column for field, columns in self.columns.items() if field not in self.named for column in columns]
        return {"columns": self.columns, "found": found, "counts": dict(self.counts)}

    def refuse_unused(self, source: str, columns: list[str]) -> None:
        """Raise a UserError if the settings name a column that no row has.

        Args:
            source: URI of the source.
            columns: of the source.
        """
        for field, name in self.named.items():
            column = date_column(name)[0] if field == "date" else name
            if column and field not in self.columns:
                raise no_column(source, column, columns)


def no_column(source: str, column: str, columns: list[str]) -> UserError:
    """What is wrong where the settings name a column that no row of a source has; arguments as of `refuse_unused`."""
    return UserError(f"{redacted_uri(source)} has no column '{column}': choose another one ({column_names(columns)})")


def combined(summaries: Sequence[Mapping[str, Any]], pseudonyms: Pseudonyms) -> dict[str, Any]:
    """What a manifest records of the origin of the rows of all sources but built-in ones, whose notes are nobody's.

    Args:
        summaries: `OriginReader.summary` of each file.
        pseudonyms: of the identifiers.

    Returns:
        `rows` (valid ones), of them those with each field of ORIGIN, and with `unreadable dates`, `sexes` and `ages`;
        `columns` (field -> those that it was read from), `found`: those of them that no setting names, and `keyed`:
        whether identifiers are hashed with a key. Empty without a file.
    """
    if not summaries:
        return {}
    counts = sum((Counter(summary["counts"]) for summary in summaries), Counter[str]())
    unreadable = ("unreadable dates", *(group.unreadable for group in _GROUPS.values()))
    return {
        **{name: counts[name] for name in ("rows", *ORIGIN, *unreadable)},
        "columns": {field: sorted({c for s in summaries for c in s["columns"].get(field, [])}) for field in ORIGIN},
        "found": sorted({column for summary in summaries for column in summary["found"]}),
        "keyed": bool(pseudonyms.key_id),
    }


def describe_origin(origin: Mapping[str, Any]) -> Iterator[str]:
    """What `combined` has recorded, as lines of a log; none where all sources are built in."""
    if not origin:
        return
    by_field = {field: ", ".join(map(repr, columns)) for field, columns in origin["columns"].items() if columns}
    if by_field:
        found = f" (by their usual names: {', '.join(map(repr, origin['found']))})" if origin["found"] else ""
        yield f"columns of {'; '.join(f'{field}: {columns}' for field, columns in by_field.items())}{found}"
    if origin["patient"]:
        keyed = f"hashed with {PATIENT_KEY}"
        how = keyed if origin["keyed"] else f"numbered within this dataset, as {PATIENT_KEY} is not set"
        yield f"{origin['patient']} of {origin['rows']} rows name a patient; patients are {how}"
    else:
        yield "no row names its patient (--patient names the column), so one patient may be on both sides of the split"
    if count := origin["unreadable dates"]:
        yield f"{count} dates cannot be read for certain: give their format, as in --date 'visit_date %d/%m/%Y'"
    for group in _GROUPS.values():
        if count := origin[group.unreadable]:
            yield f"{count} {group.unreadable}, which count as unknown: write them as {group.how}"
