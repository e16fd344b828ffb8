"""The held-out set of a published version, found by its digest where format left it, for a version holds no note."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from clinadapt.artifacts.hashing import read_json, sha256_file, sha256_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.errors import UserError
from clinadapt.storage import open_store

TEST = "test.parquet"


def find(home: Path, digest: str) -> str | None:
    """URI of the splits with that digest among the outputs of local runs in `home`."""
    for path in sorted((home / "outputs").rglob(f"splits/{MANIFEST}")):
        if read_json(path).get("digest") == digest:
            return path.parent.resolve().as_uri()
    return None


@contextmanager
def held_out(splits: str, digest: str) -> Iterator[Path]:
    """A folder with the test.parquet of the splits at a `file://` or `s3://` URI; it goes at the end.

    Raises:
        UserError: they are not there, or are not the ones that the version was evaluated with.
    """
    store = open_store(splits)
    with TemporaryDirectory(prefix="clinadapt-held-out-") as name:
        copy = Path(name) / TEST
        try:
            listed = json.loads(store.get(MANIFEST)[0])["files"]
            store.download(TEST, copy)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{splits} holds no splits: give the folder that format wrote, the artifact `splits`"
            ) from error
        facts = {"size": copy.stat().st_size, "sha256": sha256_file(copy)}
        if sha256_json(listed) != digest or listed.get(TEST) != facts:
            raise UserError(
                f"{splits} is not what this version was evaluated with: its digest has to be {digest}, see "
                "clinadapt registry show"
            )
        yield copy.parent
