"""Purge: delete what holds text of notes, by age or for one note. Published adapters hold none and stay.

What lies in the store and in the home folder of local runs, and what it holds, is in TEXTS and LOCAL.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import parse_json, read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.data.duplicates import note_id as id_of_note
from clinadapt.data.schemas.known import NOTE_IDS, NOTE_IDS_FILE
from clinadapt.data.tables import iter_batches, iter_rows
from clinadapt.errors import UserError
from clinadapt.registry.versions import adapter_names, version_folder, version_ids
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Entry, Store

# First part of a key -> what is there
TEXTS = {
    "flagged": "flags of reviewers, with the note",
    "reviews": "answers to judge, with their notes, and what reviewers say of them",
    "restricted": "reports with example texts",
    "runs": "records and reports of runs",
    "teacher": "replies of the teacher",
    "judge": "replies of the judge",
    "sources": "parsed source rows",
    "splits": "splits that a TrainJob reads",
    "tokens": "tokenized rows",
    "evaluations": "answers about held-out notes",
    "checkpoints": "states of unfinished trainings",
    "monitoring": "counts of answers in use, without text",
}
LOCAL = {
    "outputs": "outputs of local runs",
    "cache": "cached outputs of local runs",
    "logs": "logs of local runs",
    "records": "records of local runs",
}
# Of which nothing tells the note: all of it goes with a note. The others are searched, or hold no text of one
_UNATTRIBUTABLE = ("restricted", "teacher", "judge", "tokens", "evaluations", "checkpoints")
_WITH_TABLES = ("sources", "splits")
_RECORDS = ("flagged", "reviews")  # JSON records about one note each, by adapter and version
# Parts of a key that what is deleted together shares; of others 2
_DEPTHS = {**dict.fromkeys(_RECORDS, 3), "monitoring": 4}
_NO_TEXT = "/queue.json"  # end of the key of a record of `reviews` that is about no note
_TEXT_COLUMNS = ("text", "note_text")


@dataclass(frozen=True)
class Purgeable:
    """What is deleted together: keys of the store, or a local path.

    Attributes:
        place: the shared prefix in the store, or the path.
        what: what it holds.
        keys: of the store.
        path: of a file or folder; None for keys.
    """

    place: str
    what: str
    keys: list[str] = field(default_factory=list)
    path: Path | None = None


def older_than(store: Store, home: Path, age: timedelta) -> list[Purgeable]:
    """Everything in TEXTS and LOCAL that was last written to before `age` ago."""
    before = datetime.now(UTC) - age
    items = [
        Purgeable(place, what, [entry.key for entry in entries])
        for what, groups in _stored(store).items()
        for place, entries in groups.items()
        if max(entry.modified for entry in entries) < before
    ]
    return items + [
        Purgeable(str(path), what, path=path)
        for path, what in _local(home)
        if max(each.lstat().st_mtime for each in [path, *path.rglob("*")]) < before.timestamp()
    ]


def of_note(store: Store, home: Path, note_ids: set[str]) -> tuple[list[Purgeable], list[str]]:
    """Everything that holds a note, or of which nothing tells whether it does.

    Args:
        store: to search.
        home: of local runs.
        note_ids: the note's hashes, as `same_note` returns them.

    Returns:
        What to delete, and NAME/VERSION of the adapters that were trained or judged on outputs that hold the note.
    """
    items = []
    for what, groups in _stored(store).items():
        for place, entries in groups.items():
            keys = [entry.key for entry in entries]
            kind = place.partition("/")[0]
            if kind in _UNATTRIBUTABLE or (kind in _WITH_TABLES and in_tables(store, keys, note_ids)):
                items.append(Purgeable(place, what, keys))
            elif kind in _RECORDS and (records := [key for key in keys if _in_record(store, key, note_ids)]):
                items.append(Purgeable(place, what, records))
    digests = set()
    for path, what in _local(home):
        tables = [path] if path.suffix == ".parquet" else list(path.rglob("*.parquet"))
        if any(_in_table(table, note_ids) for table in tables):
            items.append(Purgeable(str(path), what, path=path))
            for manifest in path.rglob(MANIFEST):
                with suppress(OSError, ValueError, AttributeError):
                    digests.add(read_json(manifest).get("digest"))
    return items, made_of(store, digests)


def made_of(store: Store, digests: Collection[str]) -> list[str]:
    """NAME/VERSION of the published versions that were made of splits with these digests."""
    return [adapter for adapter, digest in _splits(store) if digest in digests]


def purge(store: Store, items: Iterable[Purgeable], log: Callable[[str], None]) -> None:
    """Delete items; `log` receives one line for each. Raises UserError where something cannot be deleted."""
    for item in items:
        for key in sorted(item.keys, key=lambda key: not key.endswith(f"/{MANIFEST}")):
            store.delete(key)
        if item.path is not None:
            with os_errors(f"cannot delete {item.path}", "check the rights of the folder"):
                shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink(missing_ok=True)
        log(f"removed {item.place}")


def _stored(store: Store) -> dict[str, dict[str, list[Entry]]]:
    """What it holds -> place -> entries, for all of TEXTS."""
    by_content = {}
    for kind, what in TEXTS.items():
        groups = defaultdict(list)
        for entry in store.entries(f"{kind}/"):
            groups["/".join(entry.key.split("/")[: _DEPTHS.get(kind, 2)])].append(entry)
        by_content[what] = dict(groups)
    return by_content


def _local(home: Path) -> list[tuple[Path, str]]:
    """(path, what it holds) of every file or folder directly in the folders LOCAL."""
    folders = [(home / name, what) for name, what in LOCAL.items()]
    return [(path, what) for folder, what in folders if folder.is_dir() for path in sorted(folder.iterdir())]


def same_note(note_id: str, tables: Iterable[Path]) -> set[str]:
    """All hashes of a note: screening changes it, and each policy in its own way.

    Args:
        note_id: 16 hexadecimal digits, before or after screening; as in the splits and in predictions.parquet.
        tables: of schema NOTE_IDS; one that cannot be read tells nothing.
    """
    partners: dict[str, set[str]] = defaultdict(set)
    for table in tables:
        with suppress(pa.ArrowException, OSError):
            for row in iter_rows(table, NOTE_IDS.names):
                pair = set(filter(None, row.values()))
                for each in pair:
                    partners[each] |= pair
    note_ids, new = {note_id}, [note_id]
    while new:
        added = partners[new.pop()] - note_ids
        note_ids |= added
        new.extend(added)
    return note_ids


def note_id_tables(home: Path) -> list[Path]:
    """The tables of schema NOTE_IDS that local runs left."""
    return [table for path, _ in _local(home) for table in path.rglob(NOTE_IDS_FILE)]


def _in_record(store: Store, key: str, note_ids: set[str]) -> bool:
    """Whether a flag, a case or a mark is about the note; also where it cannot be read."""
    if key.startswith("reviews/") and key.endswith(_NO_TEXT):
        return False
    try:
        record = parse_json(store.get(key)[0])
        hashes = {record.get("note_id"), id_of_note(str(record["note"])) if "note" in record else None} - {None}
        return not hashes or not note_ids.isdisjoint(hashes)
    except (KeyError, ValueError, TypeError, AttributeError):
        return True


def in_tables(store: Store, keys: list[str], note_ids: set[str]) -> bool:
    """Whether a Parquet table among the keys has a note by one of its hashes; also where it cannot be read."""
    with TemporaryDirectory(prefix="clinadapt-purge-") as scratch:
        for key in (key for key in keys if key.endswith(".parquet")):
            path = Path(scratch) / "table.parquet"
            store.download(key, path)
            if _in_table(path, note_ids):
                return True
    return False


def _in_table(path: Path, note_ids: set[str]) -> bool:
    """Whether a Parquet table has the note, by a hash or its text; also where it cannot be read."""
    try:
        names = pq.read_schema(path).names
        hashes = [name for name in NOTE_IDS.names if name in names] if "note_id" in names else []
        columns = hashes or [name for name in _TEXT_COLUMNS if name in names]
        return any(
            (value if hashes else id_of_note(value or "")) in note_ids
            for batch in (iter_batches(path, columns) if columns else ())
            for column in columns
            for value in batch[column].to_pylist()
        )
    except (pa.ArrowException, OSError):
        return True


def _splits(store: Store) -> list[tuple[str, str]]:
    """(NAME/VERSION, digest of its splits) of every published version."""
    splits = []
    for name in adapter_names(store):
        for version in version_ids(store, name):
            with suppress(KeyError, ValueError, TypeError, UserError):
                manifest = parse_json(store.get(version_folder(store, name, version).key(MANIFEST))[0])
                splits.append((f"{name}/{version}", str(manifest["splits_digest"])))
    return splits
