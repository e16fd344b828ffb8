"""A check of a published version: alarm, record, page, and what it says of broken input."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from simulated_use import CLASSIFY, INSTRUCT, evaluation_of, moved, publish, publish_and_shift, use
from typer.testing import CliRunner

from clinadapt.documents.monitor_page import _share_cell, render
from clinadapt.errors import EXIT_MOVED, UserError
from clinadapt.monitoring.comparison import Share
from clinadapt.monitoring.stored import today_utc
from clinadapt.monitoring.wording import shown
from clinadapt.registry import monitor
from clinadapt.registry.garbage_collection import collect, garbage
from clinadapt.registry.monitor import CLAIM, QUIET, check, claim_run, claimed_run
from clinadapt.registry.monitor_metrics import check_families
from clinadapt.registry.purge import older_than, purge
from clinadapt.storage import open_store
from clinadapt.storage.object_store import CorruptObject, Store
from pipelines.cli.main import app

TODAY = today_utc()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def shifted(store: Store, tmp_path: Path) -> None:
    publish_and_shift(store, tmp_path)


def test_a_shift_is_an_alarm_and_one_run(store: Store, shifted: None) -> None:
    lines: list[str] = []
    result = check(store, "a", lines.append)
    assert result.state == "moved" and lines == []
    assert result.to_json()["moved"][0]["figure"] == "refusals" and result.recipe == "instruct"
    assert result.to_json()["moved"][0]["since"] == str(TODAY - timedelta(5))
    assert result.command.startswith("clinadapt run instruct ")
    assert json.loads(store.get("monitoring/a/1/check.json")[0])["moved"] == ["refusals"]
    assert check(store, "a", print).moved  # a look by hand starts nothing, and prevents nothing
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: claim_run(store, result), range(4))) == [False, False, False, True]
    assert not claim_run(store, check(store, "a", print))


def starts(store: Store) -> bool:
    """Whether a check of today starts a run, which is then started."""
    result = check(store, "a", print)
    if claim_run(store, result):
        with claimed_run(store, "a") as confirm:
            confirm()
        return True
    return False


def test_an_alarm_that_comes_and_goes_starts_one_run(store: Store, tmp_path: Path) -> None:
    """A new one starts another where no check has found anything for two weeks."""
    publish(store, tmp_path, "1", evaluation_of(1, 600, INSTRUCT))
    days = {40: 0.2, 34: 0.0, 33: 0.3, 27: 0.0, 13: 0.0, 12: 0.3}
    started = []
    for ago, by in days.items():
        use(store, "1", ago, 2_000, moved(INSTRUCT, "refusals", "yes", by))
        result = check(store, "a", print, today=TODAY - timedelta(ago))
        assert result.moved == bool(by)
        if claim_run(store, result):
            started.append(ago)
            with claimed_run(store, "a/1") as confirm:
                confirm()
    assert started == [40, 12]


def test_a_run_whose_start_was_killed_is_started_later(
    store: Store, shifted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert claim_run(store, check(store, "a", print)) and not starts(store), "another one is about to start it"
    later = monitor.store_time(store) + CLAIM
    monkeypatch.setattr(monitor, "store_time", lambda _: later)
    assert starts(store)
    later += QUIET
    assert not starts(store), "it was started, and use has not come back"


def test_a_start_that_fails_leaves_the_run_to_the_next_check(store: Store, shifted: None) -> None:
    assert claim_run(store, check(store, "a", print))
    with pytest.raises(KeyboardInterrupt), claimed_run(store, "a"):
        raise KeyboardInterrupt
    assert starts(store) and not starts(store)


def test_a_broken_record_of_the_last_check_is_written_anew(store: Store, shifted: None) -> None:
    for data in (b"{", b"[]", b'{"run": 3, "quiet_since": "soon"}', b'{"run": {"claimed": "2026-01-01T00:00:00"}}'):
        store.put("monitoring/a/1/check.json", data)
        assert starts(store) and not starts(store)


def test_a_store_that_takes_no_record_is_told_of(store: Store, shifted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise UserError("no rights")

    monkeypatch.setattr(store, "put", refuse)
    lines: list[str] = []
    assert check(store, "a/1", lines.append).state == "moved"
    assert lines == ["the result of this check is not recorded: no rights"]


def test_an_object_whose_checksum_is_wrong_is_left_out(
    store: Store, shifted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(store, "a", print)
    get = store.get

    def damaged(key: str) -> Any:
        if key.endswith(("/page-1.json", "/check.json")):
            raise CorruptObject(key)
        return get(key)

    monkeypatch.setattr(store, "get", damaged)
    assert check(store, "a", print).use.unreadable == 1
    psi, *_ = check_families(store, [("a", "1")])
    assert psi.samples == []


def test_days_of_mixed_versions_are_each_compared_with_their_own(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "1", evaluation_of(1, 600, INSTRUCT))
    publish(store, tmp_path, "2", evaluation_of(2, 600, moved(INSTRUCT, "refusals", "yes", 0.3)))
    for ago in range(6, 0, -1):
        use(store, "1", ago, 100, INSTRUCT)
        use(store, "2", ago, 100, moved(INSTRUCT, "refusals", "yes", 0.3))
    for adapter, other in (("a", "1"), ("a/1", "2")):
        result = check(store, adapter, print)
        assert result.state == "nothing moved" and result.use.others == {other: TODAY - timedelta(1)}


def test_the_command_its_exit_status_and_its_page(store: Store, shifted: None, tmp_path: Path) -> None:
    use(store, "old", 1, 10, INSTRUCT)
    store.put(f"monitoring/a/1/{TODAY}/page-x.json", b"{")
    target = tmp_path / "monitor.html"
    done = CliRunner().invoke(app, ["monitor", "a", "--store", store.uri, "--to", str(target)])
    assert done.exit_code == EXIT_MOVED and done.stdout.startswith("Refusals rose from ")
    assert "proposed: clinadapt run instruct NOTES" in done.stderr
    assert "1 files of counts are left out: 1 broken" in done.stderr and "also in use: version old" in done.stderr
    html = target.read_text(encoding="utf-8")
    assert "Refusals rose from " in html and "<script" not in html and "Moved away from the evaluation" in html
    done = CliRunner().invoke(app, ["monitor", "a", "--store", store.uri, "--json"])
    assert json.loads(done.stdout)["state"] == "moved"
    done = CliRunner().invoke(app, ["monitor", "a", "--store", store.uri, "--to", "."])
    assert done.exit_code == 2 and "is a directory" in done.stderr
    done = CliRunner().invoke(app, ["monitor", "nobody", "--store", store.uri])
    assert isinstance(done.exception, UserError) and "no adapter 'nobody'" in str(done.exception)


def test_quiet_use_is_status_0(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "1", evaluation_of(1, 600, CLASSIFY))
    arguments = ["monitor", "a", "--store", store.uri]
    assert CliRunner().invoke(app, [*arguments, "--to", str(tmp_path / "page.html")]).exit_code == 0
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "No use" in html and "too few answers" in html and "no difference shown" not in html
    for ago, answers, begins in ((8, 20, "Not enough use"), (1, 400, "Nothing has moved")):
        use(store, "1", ago, answers, CLASSIFY)
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0 and done.stdout.startswith(begins), done.output


def test_no_small_count_is_shown(store: Store, tmp_path: Path) -> None:
    shares = moved(CLASSIFY, "label", "Radiology", -0.05)
    publish(store, tmp_path, "1", evaluation_of(1, 2_000, CLASSIFY))
    use(store, "1", 1, 300, shares)
    html = render(check(store, "a", print))
    assert "Radiology" in html  # a label of the evaluation
    counted = json.loads(store.get(store.list(f"monitoring/a/1/{TODAY - timedelta(1)}")[0])[0])["cells"]["label"]
    assert 0 < counted["Radiology"] < 5 and f"{counted['Radiology'] / 300:.3f}" not in html
    assert shown(Share(4, 100)) == "fewer than 5" and "under 5" in str(_share_cell(Share(4, 100)))


def test_an_earlier_release_and_a_broken_evaluation(store: Store, tmp_path: Path) -> None:
    rates = {
        "unsupported": 0.08,
        "contradicted": 0.03,
        "finished": 0.98,
        "correct_refusals": 0.8,
        "wrong_refusals": 0.0,
    }
    metrics = {name: {"value": value} for name, value in rates.items()}
    old = {"rows": 800, "notes": 100, "unanswerable": 100, "models": {"candidate": {"metrics": metrics}}}
    publish(store, tmp_path, "1", old)
    use(store, "1", 1, 500, INSTRUCT)
    result = check(store, "a", print)
    assert result.state == "nothing moved" and [each.name for each in result.comparison.figures] == [
        "refusals", "unsupported", "contradicted", "cut_off"
    ]  # fmt: skip
    publish(store, tmp_path, "2", {"rows": 3})
    with pytest.raises(UserError, match="adapters/a/2/evaluation.json is not what was published .no evaluation"):
        check(store, "a", print)


def test_counts_go_by_day(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "1", evaluation_of(1, 600, INSTRUCT))
    for ago in (1, 2):
        use(store, "1", ago, 10, INSTRUCT)
    old = tmp_path / f"store/monitoring/a/1/{TODAY - timedelta(2)}/page-2.json"
    age(old, days=100)
    (item,) = garbage(store, timedelta(90), timedelta(1))
    assert item.prefix == f"monitoring/a/1/{TODAY - timedelta(2)}" and item.reason == "counts of answers, expired"
    listed = older_than(store, tmp_path / "home", timedelta(90))
    assert [each.place for each in listed] == [item.prefix]
    collect(store, [item], timedelta(90), print)
    assert [key.split("/")[3] for key in store.list("monitoring/")] == [str(TODAY - timedelta(1))]
    purge(store, older_than(store, tmp_path / "home", timedelta(-1)), print)
    assert store.list("monitoring/") == []


def age(path: Path, days: float) -> None:
    """Let a file be older."""
    when = path.stat().st_mtime - days * 86_400
    os.utime(path, (when, when))
