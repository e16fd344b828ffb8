"""Which versions the tab Approval shows."""

from __future__ import annotations

from pathlib import Path

from approvals import NAME, await_approval, policy, publish

from clinadapt.review.approval_tab import _waiting
from clinadapt.storage import open_store


def test_a_broken_version_hides_no_other(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    versions = [publish(store, tmp_path, number, policy(["anna", "ben"])) for number in (1, 2, 3)]
    for version in versions:
        await_approval(store, version)
    assert _waiting(store, NAME) == versions[::-1]
    manifest = f"adapters/{NAME}/{versions[1]}/manifest.json"
    store.put(manifest, store.get(manifest)[0].replace(b"a-run", b"b-run"))
    store.delete(f"adapters/{NAME}/{versions[2]}/manifest.json")
    assert _waiting(store, NAME) == versions[:1]
