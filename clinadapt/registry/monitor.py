"""Check whether the use of a published version has moved away from its evaluation, and record what came of it.

monitoring/<name>/<version>/check.json    the last check: when, state, figures for Prometheus, since when nothing has
                                          moved, and the run that was started for what has
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from clinadapt.artifacts.hashing import parse_json, to_json
from clinadapt.artifacts.step_record import utc_now
from clinadapt.errors import UserError
from clinadapt.monitoring.aggregates import SMALLEST_CELL, Baseline
from clinadapt.monitoring.comparison import Comparison, Test, compare
from clinadapt.monitoring.recorder import PREFIX
from clinadapt.monitoring.stored import CHECK, Use, read_use, today_utc
from clinadapt.monitoring.wording import sentence
from clinadapt.registry.adapters import locate_adapter
from clinadapt.registry.approval.records import store_time
from clinadapt.registry.versions import problem_line, read_record, read_version, version_folder
from clinadapt.storage.object_store import Conflict, CorruptObject, Store

FORMAT = 1
QUIET = timedelta(days=14)  # without an alarm, after which another one starts another run
CLAIM = timedelta(days=3)  # after which a run that nobody has confirmed is taken for one whose start was killed
_ATTEMPTS = 20  # at a write while others write the same
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
    """Whether a run is to be started for what has moved: for one of all checks, until no check has found anything for
    QUIET. An alarm that comes and goes near its threshold starts one run.

    Raises:
        UserError: the store cannot be written to.
    """
    if not check.moved:
        return False
    now = store_time(store)

    def claimed(document: dict[str, Any]) -> dict[str, Any] | None:
        run = _run(document)
        if run and (run.get("started") or now - datetime.fromisoformat(run["claimed"]) < CLAIM):
            return None
        figures = [test.figure for test in check.comparison.alarms]
        return document | {"run": {"claimed": now.isoformat(), "moved": figures}}

    return _update(store, f"{check.name}/{check.version}", claimed)


@contextmanager
def claimed_run(store: Store, adapter: str) -> Iterator[Callable[[], None]]:
    """Around the start of a run that `claim_run` has claimed. Where the function that it gives was not called, the run
    counts as one that could not be started, and the next check starts it.

    Args:
        store: with the adapter.
        adapter: NAME for its champion, or NAME/VERSION.
    """
    has_started = False

    def confirm() -> None:
        nonlocal has_started
        has_started = True

    def ended(document: dict[str, Any]) -> dict[str, Any]:
        run = _run(document)
        return document | {"run": run | {"started": utc_now()} if run and has_started else None}

    try:
        yield confirm
    finally:
        with suppress(UserError):  # what went wrong before matters more
            _update(store, locate_adapter(adapter, store.uri)[1].partition("/")[2], ended)


def _run(document: dict[str, Any]) -> dict[str, Any] | None:
    """The run that was claimed, or started, for what has moved."""
    run = document.get("run")
    try:
        return run if isinstance(run, dict) and datetime.fromisoformat(run["claimed"]).tzinfo else None
    except (KeyError, ValueError, TypeError):
        return None


def _baseline(store: Store, name: str, version: str, manifest: dict[str, Any]) -> Baseline:
    evaluation = read_record(store, manifest, "evaluation.json")
    try:
        return Baseline.of_evaluation(evaluation)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        folder = version_folder(store, name, version)
        raise UserError(problem_line(folder, "evaluation.json", "is no evaluation")) from error


def _record(store: Store, check: Check, log: Callable[[str], None]) -> None:
    """Write check.json; where nothing has moved for QUIET, without the run that was started before."""

    def recorded(last: dict[str, Any]) -> dict[str, Any]:
        quiet_since = _quiet_since(last, check)
        is_quiet = quiet_since is not None and check.checked - quiet_since >= QUIET
        return {
            "format": FORMAT,
            "when": utc_now(),
            "state": check.state,
            "answers": check.comparison.answers,
            "psi": _psi(check.comparison),
            "moved": [test.figure for test in check.comparison.alarms],
            "quiet_since": quiet_since and quiet_since.isoformat(),
            "run": None if is_quiet else _run(last),
        }

    try:
        _update(store, f"{check.name}/{check.version}", recorded)
    except UserError as error:
        log(f"the result of this check is not recorded: {error}")


def _quiet_since(last: dict[str, Any], check: Check) -> date | None:
    """Day since which no check has found anything moved; None where this one has, or cannot tell."""
    if check.state != "nothing moved":
        return None
    with suppress(ValueError, TypeError, KeyError):
        return min(date.fromisoformat(last["quiet_since"]), check.checked)
    return check.checked


def _update(store: Store, version: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> bool:
    """Change check.json of NAME/VERSION, by compare-and-swap; one that is broken counts as empty.

    Args:
        store: to write to.
        version: NAME/VERSION.
        change: what becomes of the document; None leaves it as it is.

    Returns:
        Whether it was changed.
    """
    key = f"{PREFIX}/{version}/{CHECK}"
    for _ in range(_ATTEMPTS):
        document, etag = _read_check(store, key)
        if (changed := change(document)) is None:
            return False
        with suppress(Conflict):
            store.put(key, to_json(changed).encode(), if_absent=etag is None, if_match=etag)
            return True
    raise UserError(f"{key} is written to by others all the time: check again later")


def _read_check(store: Store, key: str) -> tuple[dict[str, Any], str | None]:
    """check.json and its etag; None where there is none."""
    try:
        data, etag = store.get(key)
    except KeyError:
        return {}, None
    except CorruptObject:
        return {}, store.etag(key)
    try:
        document = parse_json(data)
    except ValueError:
        document = None
    return (document if isinstance(document, dict) else {}), etag


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
