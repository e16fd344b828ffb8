"""Which versions and reports the tab Approval shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from approvals import NAME, approve_on_page, await_approval, policy, publish

from clinadapt.artifacts.hashing import sha256_file
from clinadapt.registry.approval.standing import read_standing
from clinadapt.registry.champion import champion
from clinadapt.review.approval_tab import _report, _Versions, _waiting
from clinadapt.storage import open_store
from clinadapt.storage.object_store import CorruptObject, Store


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


def assert_nothing_to_decide(tab: _Versions, version: str, problem: str) -> None:
    html, report, form = tab.shown(version)
    assert f"Not read – runs/a-run/report.html, with which {NAME}/{version} was proposed, {problem}" in html
    assert not report.visible and not form.visible


def damaged_download(store: Store, key: str, path: Path) -> None:
    """As a server that finds that its disk returns other bytes, which no folder on this machine does."""
    raise CorruptObject(key)


def test_a_version_that_is_proposed_anew_has_the_report_of_its_new_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one compared it with no champion; what people approve is the second."""
    store, reports = open_store((tmp_path / "store").as_uri()), tmp_path / "reports"
    reports.mkdir()
    first, second = (publish(store, tmp_path, number, policy(["anna"], 1)) for number in (1, 2))

    def shown() -> str:
        standing = read_standing(store, NAME, first)
        return _report(store, NAME, first, reports, standing.proposal if standing else None).read_text()

    await_approval(store, first, report=sha256_file(tmp_path / f"{NAME}-1/report.html"))
    await_approval(store, second)
    assert shown() == "<p>report</p>"
    approve_on_page(store, second, "anna")
    (tmp_path / "new.html").write_text("<p>beside the new champion</p>")
    store.upload(tmp_path / "new.html", "runs/a-run/report.html")
    await_approval(store, first, report=sha256_file(tmp_path / "new.html"))
    assert shown() == "<p>beside the new champion</p>"
    tab = _Versions(store, NAME, reports)
    store.put("runs/a-run/report.html", b"<p>altered</p>")
    assert_nothing_to_decide(tab, first, "was altered")
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "download", damaged_download)
        assert_nothing_to_decide(tab, first, "is damaged")
    store.delete("runs/a-run/report.html")
    html, report, form = tab.shown(first)
    assert "Without the report – runs/a-run/report.html" in html and "is gone, as after a purge" in html
    assert f"<h3>{NAME}/{first}</h3>" in html and not report.visible and form.visible
    assert tab.decided("approval", first, "its figures convince me", "anna")[-1].value.count("champion") == 1
    assert (champion(store, NAME) or ("",))[0] == first
