"""Which versions and reports the tab Approval shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from approvals import NAME, VERDICT, approve_on_page, await_approval, policy, publish

from clinadapt.artifacts.hashing import sha256_file
from clinadapt.registry.approval.standing import read_standing
from clinadapt.registry.champion import champion
from clinadapt.review.approval_tab import _comparison, _report, _Versions, _waiting
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


def figures(base: str, splits: str = "sha256:notes") -> dict[str, Any]:
    metric = {"value": 0.5, "low": 0.25, "high": 0.75}
    about = {"base_model": f"s3://bases/{base}", "base_digest": f"sha256:{base}", "splits_digest": splits}
    return about | {"metrics": {"token_f1": metric, "perplexity": metric | {"value": 2.5 if base == "a" else 9.5}}}


def test_only_what_can_be_compared_stands_beside_the_champion() -> None:
    """Perplexity is by token of a base model; other held-out notes are easier or harder ones."""
    same, other = (_comparison([figures("a"), figures(base)], ["v2", "v1 (champion)"]) for base in ("a", "b"))
    assert "<td>s3://bases/a (a)</td><td>s3://bases/b (b)</td>" in other and same.count("2.500 (") == 2
    assert "<td>perplexity</td><td>2.500 (0.250 to 0.750)</td><td>–</td>" in other and "9.500" not in other
    assert other.count("<td>0.500 (0.250 to 0.750)</td>") == 2 and "other held-out notes" not in same + other
    assert "are of other held-out notes" in _comparison([figures("a"), figures("a", "sha256:others")], ["v2", "v1"])
    assert "–" not in _comparison([figures("a")], ["v1"])


def test_who_approves_sees_what_the_gate_said(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    tab, board = _Versions(store, NAME, tmp_path), policy(["anna"], 1)
    failed = {"name": "few wrong refusals", "passed": False, "detail": "9.0%; required: at most 5.0%"}
    records = (VERDICT, {**VERDICT, "decision": "fail", "checks": [failed]}, None)
    versions = [publish(store, tmp_path, i, board, verdict=each) for i, each in enumerate(records, 1)]
    for version in versions:
        await_approval(store, version)
    loose, other, silent = (tab.shown(version)[0] for version in versions)
    assert "<b>Passed a loosened gate.</b> One of the default checks is switched off in this profile" in loose
    assert "for &lt;b&gt;a&lt;/b&gt; group of notes</td><td>at most 15 points</td><td>switched off</td>" in loose
    assert "<b>Failed the gate.</b>" in other
    assert "<td>Few wrong refusals</td><td>failed</td><td>9.0%; required: at most 5.0%</td>" in other
    assert "majority class" not in loose  # it passed
    assert "Not recorded: an earlier release" in silent
    key = f"adapters/{NAME}/{versions[0]}/verdict.json"
    store.put(key, store.get(key)[0].replace(b"a loosened gate", b"the default gate"))
    html, _, form = tab.shown(versions[0])
    assert f"Not read – {key} is not what was published" in html and not form.visible


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
    assert "A later run has compared it with another champion" in html
    assert "Without the report – runs/a-run/report.html" in html and "is gone, as after a purge" in html
    assert f"<h3>{NAME}/{first}</h3>" in html and not report.visible and form.visible
    assert tab.decided("approval", first, "its figures convince me", "anna")[-1].value.count("champion") == 1
    assert (champion(store, NAME) or ("",))[0] == first
