"""What Kubeflow Pipelines keeps of runs, below its artifact root: dataset and splits of every run, logs of every step.

v2/artifacts/<pipeline>/<run id>/...                                 artifacts and logs of the launcher
artifacts/<workflow>/...                                             logs that Argo archived
private-artifacts/<namespace>/v2/artifacts/<pipeline>/<run id>/...   the same of a profile
private-artifacts/<namespace>/<workflow>/...

The bucket is shared with other pipelines. Ours are told by the names of their pipelines, and their workflows by the
records that each run leaves in our store.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.errors import UserError
from clinadapt.registry.purge import Purgeable, in_tables, made_of
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Entry, Store
from clinadapt.storage.uris import parse_uri

WHAT = "artifacts and logs that Kubeflow Pipelines keeps of a run"
_OURS = re.compile("(classify|instruct)-")  # names of our pipelines, and of the workflows that `submit` starts
_LAYOUTS = [
    re.compile(r"(?:^|/)v2/artifacts/(?P<name>[^/]+)/[^/]+/"),
    re.compile(r"(?:^|/)private-artifacts/[^/]+/(?P<name>[^/]+)/"),
    re.compile(r"(?:^|/)artifacts/(?P<name>[^/]+)/"),
]


@dataclass(frozen=True)
class ArtifactRoot:
    """What is below an artifact root.

    Attributes:
        store: the artifact root.
        places: URI of a folder -> its objects, of our runs.
        others: number of objects of other pipelines, or in none of the layouts above.
    """

    store: Store
    places: dict[str, list[Entry]]
    others: int

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
        runs = {key.split("/")[1] for key in store.list("runs/")}
        places, others = defaultdict(list), 0
        for entry in root.entries():
            path = f"{folder}/{entry.key}" if folder else entry.key
            match = next(filter(None, (layout.search(path) for layout in _LAYOUTS)), None)
            if match is None or not (_OURS.match(match["name"]) or match["name"] in runs):
                others += 1
            else:
                places[f"{parts.scheme}://{parts.authority}/{path[: match.end() - 1]}"].append(entry)
        return cls(root, dict(places), others)

    def older_than(self, age: timedelta) -> list[Purgeable]:
        """Places that were last written to before `age` ago."""
        before = datetime.now(UTC) - age
        old = {p: entries for p, entries in self.places.items() if max(e.modified for e in entries) < before}
        return [self._purgeable(place, entries) for place, entries in old.items()]

    def of_note(self, note_id: str, store: Store) -> tuple[list[Purgeable], list[str]]:
        """Places with a table that has the note, and NAME/VERSION of the versions in `store` made of them."""
        items, digests = [], set()
        for place, entries in self.places.items():
            keys = [entry.key for entry in entries]
            if not in_tables(self.store, keys, note_id):
                continue
            items.append(self._purgeable(place, entries))
            for key in (key for key in keys if key.rpartition("/")[2] == MANIFEST):
                with suppress(ValueError, KeyError, TypeError, UserError):
                    digests.add(json.loads(self.store.get(key)[0])["digest"])
        return items, made_of(store, digests)

    def _purgeable(self, place: str, entries: list[Entry]) -> Purgeable:
        return Purgeable(place, WHAT, [entry.key for entry in entries])
