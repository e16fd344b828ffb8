"""Check whether the use of a published version has moved away from its evaluation, and record what came of it.

monitoring/<name>/<version>/check.json    the last check: when, state, and figures for Prometheus
monitoring/<name>/<version>/run.json      a run was started for what has moved; removed when nothing has moved any more
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from clinadapt.artifacts.hashing import read_json, to_json
from clinadapt.artifacts.manifest import DamagedFolder
from clinadapt.artifacts.step_record import utc_now
from clinadapt.errors import UserError
from clinadapt.monitoring.aggregates import SMALLEST_CELL, Baseline
from clinadapt.monitoring.comparison import Comparison, Test, compare
from clinadapt.monitoring.recorder import PREFIX
from clinadapt.monitoring.stored import CHECK, Use, read_use, today_utc
from clinadapt.monitoring.wording import sentence
from clinadapt.registry.adapters import locate_adapter
from clinadapt.registry.versions import problem_line, read_version, version_folder
from clinadapt.storage.object_store import Conflict, Store

FORMAT = 1
STARTED = "run.json"
DAYS, MOST_DAYS = 90, 3650  # that are read
State = Literal["no use", "not enough use", "nothing moved", "moved"]


@dataclass(frozen=True)
class Check:
    """A version in use, compared with its evaluation.

    Attributes:
        name, version, recipe: of the adapter.
        published: day of its publication (UTC).
        checked: day that the check is of (UTC).
        baseline: of its evaluation.
        use: that was read.
        comparison: of the two.
    """

    name: str
    version: str
    recipe: str
    published: date
    checked: date
    baseline: Baseline
    use: Use
    comparison: Comparison

    @property
    def state(self) -> State:
        """What came of it."""
        if not self.comparison.days:
            return "no use"
        if not self.comparison.enough:
            return "not enough use"
        return "moved" if self.comparison.alarms else "nothing moved"

    @property
    def moved(self) -> bool:
        """Whether there is an alarm."""
        return self.state == "moved"

    @property
    def sentence(self) -> str:
        """What moved, since when, by how much, and how certain that is."""
        return sentence(self.comparison)

    @property
    def command(self) -> str:
        """Of a new run, with newer notes."""
        return f"clinadapt run {self.recipe} NOTES --profile PROFILE --adapter-name {self.name} --test 'newest 10%'"

    def to_json(self) -> dict[str, Any]:
        """For programs; no count below the smallest that may be shown."""
        return {
            "adapter": f"{self.name}/{self.version}",
            "state": self.state,
            "sentence": self.sentence,
            "answers": self.comparison.answers,
            "days": [each.isoformat() for each in self.comparison.days or ()],
            "psi": _psi(self.comparison),
            "moved": [_alarm(test) for test in self.comparison.alarms],
            "unreadable": self.use.unreadable,
            "off_clock": self.use.off_clock,
            "other_versions": {version: last.isoformat() for version, last in self.use.others.items()},
            "command": self.command if self.moved else None,
        }


def check(store: Store, adapter: str, log: Callable[[str], None], days: int = DAYS, today: date | None = None) -> Check:
    """Compare the use of a version with its evaluation, and record the result.

    Args:
        store: with the adapter and the counts of its use.
        adapter: NAME for its champion, or NAME/VERSION.
        log: receives a line where the store does not take the result.
        days: that are read, up to today; at most MOST_DAYS.
        today: the day (UTC) that the check is of; that of the clock when None.

    Raises:
        UserError: there is no such version, its evaluation is damaged, the store cannot be read, or `days` of a run
            form are none or too many.
    """
    if not 1 <= days <= MOST_DAYS:
        raise UserError(f"days: read 1 to {MOST_DAYS:,} days")
    if "://" in adapter:
        raise UserError("give the name of the adapter, or NAME/VERSION, and the store with --store")
    _, name, version = locate_adapter(adapter, store.uri)[1].split("/", 2)
    manifest = read_version(store, name, version)
    baseline, today = _baseline(store, name, version, manifest), today or today_utc()
    published = datetime.fromisoformat(manifest["created"]).date()
    first = today - timedelta(days=days - 1)
    use = read_use(store, name, version, baseline.named("label"), published, first, today)
    comparison = compare(baseline, use.days)
    recipe = "instruct" if "token_f1" in manifest["metrics"] else "classify"
    result = Check(name, version, recipe, published, today, baseline, use, comparison)
    _record(store, result, log)
    return result


def claim_run(store: Store, check: Check) -> bool:
    """Whether a run is to be started for what has moved: for one of all checks, until nothing has moved any more, or
    `release_run` says that it could not be started.

    Raises:
        UserError: the store cannot be written to.
    """
    if not check.moved:
        return False
    document = {"format": FORMAT, "when": utc_now(), "moved": [test.figure for test in check.comparison.alarms]}
    try:
        store.put(_key(check, STARTED), to_json(document).encode(), if_absent=True)
    except Conflict:
        return False
    return True


def release_run(store: Store, adapter: str) -> None:
    """Let the next check of an adapter, NAME for its champion or NAME/VERSION, start the run that could not be started.

    Raises:
        UserError: there is no such adapter, or the store cannot be written to.
    """
    store.delete(f"{PREFIX}/{locate_adapter(adapter, store.uri)[1].partition('/')[2]}/{STARTED}")


def _baseline(store: Store, name: str, version: str, manifest: dict[str, Any]) -> Baseline:
    folder, file = version_folder(store, name, version), "evaluation.json"
    with TemporaryDirectory(prefix="clinadapt-monitor-") as scratch:
        try:
            folder.fetch_file(file, Path(scratch), manifest)
            return Baseline.of_evaluation(read_json(Path(scratch) / file))
        except DamagedFolder as error:
            raise UserError(problem_line(folder, error.file, error.problem)) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{folder.key(file)} is no evaluation of ours: publish this version again") from error


def _record(store: Store, check: Check, log: Callable[[str], None]) -> None:
    """Write check.json; where nothing has moved any more, forget that a run was started."""
    document = {
        "format": FORMAT,
        "when": utc_now(),
        "state": check.state,
        "answers": check.comparison.answers,
        "psi": _psi(check.comparison),
        "moved": [test.figure for test in check.comparison.alarms],
    }
    try:
        store.put(_key(check, CHECK), to_json(document).encode())
        if check.state == "nothing moved":
            store.delete(_key(check, STARTED))
    except UserError as error:
        log(f"the result of this check is not recorded: {error}")


def _key(check: Check, file: str) -> str:
    return f"{PREFIX}/{check.name}/{check.version}/{file}"


def _psi(comparison: Comparison) -> dict[str, float]:
    """Figure -> PSI, of those that have one."""
    return {each.name: round(each.psi, 4) for each in comparison.figures if each.psi == each.psi}


def _alarm(test: Test) -> dict[str, Any]:
    """A test as JSON; `now` and its interval are null where fewer answers than may be told are in the cell."""
    small = test.use.count < SMALLEST_CELL
    now, low, high = (None if small else round(each, 4) for each in (test.use.value, *test.use.interval()))
    return {
        "figure": test.figure,
        "cell": test.cell,
        "against": test.against,
        "before": round(test.reference.value, 4),
        "now": now,
        "low": low,
        "high": high,
        "answers": test.use.total,
        "since": (test.since or test.days[0]).isoformat(),
        "p": test.p,
        "threshold": test.threshold,
    }
