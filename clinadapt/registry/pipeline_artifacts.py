"""What Kubeflow Pipelines keeps of runs, below its artifact root: dataset and splits of every run, logs of every step.

v2/artifacts/<pipeline>/<run id>/...                                 artifacts and logs of the launcher
artifacts/<workflow>/...                                             logs that Argo archived
private-artifacts/<namespace>/v2/artifacts/<pipeline>/<run id>/...   the same of a profile
private-artifacts/<namespace>/<workflow>/...

The bucket is shared with other pipelines, of any name. A run is ours where it has a step that only our pipelines have;
the logs of a workflow are ours where our store has its record, or where it bears the name of a pipeline of ours.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.data.schemas.known import NOTE_IDS_FILE
from clinadapt.errors import UserError
from clinadapt.registry.purge import Purgeable, in_tables, made_of
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Entry, Store
from clinadapt.storage.uris import parse_uri

WHAT = "artifacts and logs that Kubeflow Pipelines keeps of a run"
_STEPS = ("preflight-classify/", "preflight-instruct/")  # one of which each run of ours has
_LAYOUTS = [
    re.compile(r"(?P<area>(?:private-artifacts/[^/]+/)?)v2/artifacts/(?P<pipeline>[^/]+)/[^/]+/"),
    re.compile(r"(?P<area>private-artifacts/[^/]+/)(?P<workflow>[^/]+)/"),
    re.compile(r"(?P<area>)artifacts/(?P<workflow>[^/]+)/"),
]


@dataclass(frozen=True)
class _Place:
    """A folder of a run or a workflow.

    Attributes:
        path: in the bucket, with its last slash.
        area: the path before the layout, the same for the runs and the workflows of a namespace.
        pipeline: of a run; empty for a workflow.
        workflow: empty for a run.
    """

    path: str
    area: str
    pipeline: str
    workflow: str


@dataclass(frozen=True)
class ArtifactRoot:
    """What is below an artifact root.

    Attributes:
        store: the artifact root.
        places: URI of a folder -> its objects, of our runs.
        others: number of objects of other pipelines, or in none of the layouts above.
        note_ids: keys of all tables of schema NOTE_IDS.
    """

    store: Store
    places: dict[str, list[Entry]]
    others: int
    note_ids: list[str]

    @classmethod
    def below(cls, uri: str, store: Store) -> ArtifactRoot:
        """List what an artifact root has.

        Args:
            uri: minio://, s3:// or file://, of the bucket or of a folder in it.
            store: with the records of our runs.

        Raises:
            UserError: it is no store, or it cannot be listed.
        """
        root = open_store(f"s3://{uri.removeprefix('minio://')}" if uri.startswith("minio://") else uri)
        parts = parse_uri(root.uri)
        folder = parts.path.strip("/")
        by_place: dict[_Place, dict[str, Entry]] = defaultdict(dict)
        others, note_ids = 0, []
        for entry in root.entries():
            path = f"{folder}/{entry.key}" if folder else entry.key
            if place := _place(path, folder):
                by_place[place][path] = entry
            else:
                others += 1
            if path.rpartition("/")[2] == NOTE_IDS_FILE:
                note_ids.append(entry.key)
        ours = _ours(by_place, {key.split("/")[1] for key in store.list("runs/")})
        others += sum(len(entries) for place, entries in by_place.items() if place not in ours)
        start = f"{parts.scheme}://{parts.authority}/"
        places = {start + place.path.rstrip("/"): list(by_place[place].values()) for place in ours}
        return cls(root, places, others, note_ids)

    def note_id_tables(self, scratch: Path) -> Iterator[Path]:
        """Download the tables of schema NOTE_IDS one after the other; each is gone when the next is asked for."""
        for key in self.note_ids:
            self.store.download(key, scratch / NOTE_IDS_FILE)
            yield scratch / NOTE_IDS_FILE

    def older_than(self, age: timedelta) -> list[Purgeable]:
        """Places that were last written to before `age` ago."""
        before = datetime.now(UTC) - age
        old = {p: entries for p, entries in self.places.items() if max(e.modified for e in entries) < before}
        return [self._purgeable(place, entries) for place, entries in old.items()]

    def of_note(self, note_ids: set[str], store: Store) -> tuple[list[Purgeable], list[str]]:
        """Places with a table that has the note, and NAME/VERSION of the versions in `store` made of them."""
        items, digests = [], set()
        for place, entries in self.places.items():
            keys = [entry.key for entry in entries]
            if not in_tables(self.store, keys, note_ids):
                continue
            items.append(self._purgeable(place, entries))
            for key in (key for key in keys if key.rpartition("/")[2] == MANIFEST):
                with suppress(ValueError, KeyError, TypeError, UserError):
                    digests.add(parse_json(self.store.get(key)[0])["digest"])
        return items, made_of(store, digests)

    def _purgeable(self, place: str, entries: list[Entry]) -> Purgeable:
        return Purgeable(place, WHAT, [entry.key for entry in entries])


def _place(path: str, folder: str) -> _Place | None:
    """The place of an object; a layout begins where the artifact root does, or has its beginning in the root's URI.

    Args:
        path: in the bucket.
        folder: of the artifact root in the bucket, without a last slash.
    """
    parents = [0, *(match.end() for match in re.finditer("/", folder)), *([len(folder) + 1] if folder else [])]
    matches = (layout.match(path, start) for layout in _LAYOUTS for start in reversed(parents))
    if (match := next(filter(None, matches), None)) is None:
        return None
    names = {"pipeline": "", "workflow": ""} | match.groupdict()
    return _Place(path[: match.end()], path[: match.end("area")], names["pipeline"], names["workflow"])


def _ours(by_place: dict[_Place, dict[str, Entry]], runs: set[str]) -> list[_Place]:
    """The places of our runs and workflows.

    Args:
        by_place: path -> object, of each place.
        runs: names of the runs, which are those of their workflows, that our store has a record of.
    """
    steps = {place: tuple(place.path + step for step in _STEPS) for place in by_place if place.pipeline}
    confirmed = [place for place in steps if any(path.startswith(steps[place]) for path in by_place[place])]
    pipelines = {(place.area, place.pipeline) for place in confirmed}
    return confirmed + [
        place
        for place in by_place
        if place.workflow and (place.workflow in runs or (place.area, place.workflow.rpartition("-")[0]) in pipelines)
    ]
