"""The held-out notes of a published version, fetched from its splits: a version itself contains no note."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.errors import UserError
from clinadapt.storage import open_store

TEST = "test.parquet"


def find_splits(home: Path, digest: str) -> str | None:
    """URI of the splits with this digest among the outputs of local runs in `home`; None where there are none."""
    for path in sorted((home / "outputs").rglob(f"splits/{MANIFEST}")):
        if read_json(path).get("digest") == digest:
            return path.parent.resolve().as_uri()
    return None


def find_splits_below(uri: str, digest: str) -> str | None:
    """URI of the splits with this digest, which are `uri` itself or a folder named `splits` below it; None where there
    are none.

    Args:
        uri: `file://` or `s3://`, such as the root of Kubeflow Pipelines' artifacts.
        digest: of the splits.
    """
    store = open_store(uri)
    keys = [key for key in store.list() if f"/{key}".endswith(f"/splits/{MANIFEST}")]
    for key in [MANIFEST, *sorted(keys)]:
        with suppress(KeyError, DamagedFolder):
            if SealedFolder(store, key.rpartition("/")[0]).read_manifest().get("digest") == digest:
                return f"{store.uri}/{key}".removesuffix(f"/{MANIFEST}")
    return None


@contextmanager
def held_out(splits: str, digest: str) -> Iterator[Path]:
    """A folder with the verified test.parquet and the manifest of splits, removed at the end.

    Args:
        splits: `file://` or `s3://` URI of the folder that format wrote.
        digest: the splits' expected digest.

    Raises:
        UserError: they are missing, or have another digest.
    """
    folder = SealedFolder(open_store(splits))
    with TemporaryDirectory(prefix="clinadapt-held-out-") as scratch:
        try:
            manifest = folder.read_manifest()
        except (KeyError, DamagedFolder) as error:
            raise UserError(
                f"{splits} contains no splits: give the folder that format wrote, the artifact `splits`"
            ) from error
        try:
            if manifest["digest"] != digest:
                raise DamagedFolder(MANIFEST, "has another digest")
            folder.fetch_file(TEST, Path(scratch), manifest)
            write_json(Path(scratch) / MANIFEST, manifest)
        except DamagedFolder as error:
            raise UserError(
                f"{splits} is not what this version was evaluated with ({error}): give the splits with digest "
                f"{digest}, see clinadapt registry show"
            ) from error
        yield Path(scratch)
