"""Concurrent publishers and promoters: one champion at any time, a linear history, no mixed version."""

from __future__ import annotations

import pytest
from race import NAME, race
from s3_support import KINDS, a_store

from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.registry.versions import read_manifest, version_ids


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "moto"])
def test_one_champion(kind: str, request: pytest.FixtureRequest) -> None:
    store = a_store(kind, request)
    print(f"\n{kind}: {race(store, publishers=4, promoters=2, rounds=4)}")
    for version in version_ids(store, NAME):
        files = read_manifest(store, NAME, version)["files"]
        names = {key.rpartition("/")[2] for key in store.list(f"adapters/{NAME}/{version}/")}
        assert names == files.keys() | {MANIFEST}
