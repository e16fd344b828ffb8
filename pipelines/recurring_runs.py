"""Declared schedules, and the recurring runs of a cluster made equal to them.

A recurring run cannot be changed, only made anew, and deleting one ends the run in progress. So a change first makes
the new one, disabled; then disables and deletes the old one; then enables the new one. Interrupted anywhere, the next
`apply` finds what there is by name and mark and goes on; of two that make the same one, both keep the older.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kfp_server_api as kfp_api
import yaml
from pydantic import Field, ValidationError, field_validator

from clinadapt.config.base import Section, first_error
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import Cluster
from pipelines.kfp_api import Refused, Remote
from pipelines.named_settings import load_profile
from pipelines.submit import (
    ENDED,
    Compiled,
    check,
    compiled,
    experiment,
    find_experiment,
    find_pipeline,
    is_version,
    newest_version,
    upload,
)

MARK = "Kept by clinadapt schedule apply; change pipelines/schedules instead."
_FIELDS = (("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 6))
_NAMES = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
          "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}  # fmt: skip


class Schedule(Section):
    """A recurring run. Runs that were missed are never caught up on.

    Attributes:
        name: in the UI, and the beginning of the names of its runs.
        profile: what to run, always its newest version.
        cron: six fields: second, minute, hour, day of the month, month, weekday.
        time_zone: in which `cron` is meant; has to be the cluster's, for its controller knows one only.
        parameters: of the run form; the profile's values for the others.
        max_concurrency: runs of it at a time.
        enabled: whether it fires.
    """

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$")
    profile: str
    cron: str
    time_zone: str = "UTC"
    parameters: dict[str, Any] = {}
    max_concurrency: int = Field(default=1, ge=1, le=10)
    enabled: bool = True

    @field_validator("cron")
    @classmethod
    def _six_fields(cls, cron: str) -> str:
        parts = cron.split()
        if len(parts) != 6:
            raise ValueError("give six fields: second, minute, hour, day, month, weekday")
        for part, (name, low, high) in zip(parts, _FIELDS, strict=True):
            for item in part.split(","):
                if not _in_range(item, low, high):
                    raise ValueError(f"{name} '{part}' is not in {low} to {high}, a range or a step")
        return " ".join(parts)


def _in_range(item: str, low: int, high: int) -> bool:
    """Whether one item of a cron field (`*`, `?`, 3, 1-5, */2, MON) can be met."""
    match = re.fullmatch(r"([*?]|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?", item)
    if not match:
        return False
    bounds = [bound for bound in match.group(2, 3) if bound]
    numbers = [int(bound) for bound in bounds if bound.isdecimal()]
    named = all(bound.isdecimal() or bound.upper() in _NAMES for bound in bounds)
    return named and all(low <= number <= high for number in numbers) and numbers == sorted(numbers)


def load(folder: Path, cluster: Cluster) -> list[Schedule]:
    """Every schedule of a folder.

    Raises:
        UserError: a file is wrong, two have one name, or a time zone is not the cluster's.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give the folder with the schedules")
    found: dict[str, Schedule] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            schedule = Schedule.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except yaml.YAMLError as error:
            raise UserError(f"{path} is not YAML: mend its indentation or quotes") from error
        except ValidationError as error:
            raise UserError(f"{path}: {first_error(error)}") from error
        if schedule.name in found:
            raise UserError(f"{path}: there is another schedule named {schedule.name}; rename one")
        if schedule.time_zone != cluster.time_zone:
            raise UserError(
                f"{path}: time_zone {schedule.time_zone} is not the cluster's, {cluster.time_zone}: its controller "
                "knows one only, CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow; write the cron in that one"
            )
        found[schedule.name] = schedule
    return list(found.values())


@dataclass
class Change:
    """What has to be done about one name.

    Attributes:
        action: create, replace, enable, disable, delete, keep; or wait, where a run in progress stands in the way.
        keep: the recurring run that stays, if any.
        drop: those that go.
        why: lines of a diff.
        running: name of the run in progress that `drop` would end.
    """

    name: str
    action: str
    wanted: Schedule | None = None
    keep: Any | None = None
    drop: list[Any] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    running: str | None = None

    def lines(self) -> Iterator[str]:
        sign = {"create": "+", "delete": "-", "keep": "=", "wait": "!"}.get(self.action, "~")
        text = {"keep": "unchanged", "wait": f"left as it is: {self.running} is in progress"}
        yield f"{sign} {self.name}: {text.get(self.action, self.action)}"
        yield from (f"    {line}" for line in self.why)


class Plan:
    """The changes, and the pipelines that they need."""

    def __init__(self, remote: Remote, cluster: Cluster, schedules: list[Schedule], force: bool = False) -> None:
        self.remote, self.cluster, self.force = remote, cluster, force
        loaded = {schedule.profile: load_profile(schedule.profile) for schedule in schedules}
        self.pipelines = {name: compiled(profile, cluster) for name, profile in loaded.items()}
        for schedule in schedules:
            check(schedule.parameters, self.pipelines[schedule.profile].form)
        self.schedules = schedules
        self.outdated = [pipeline for pipeline in self.pipelines.values() if not self._newest(pipeline)]
        self.changes = self._changes()

    def _newest(self, pipeline: Compiled) -> bool:
        found = find_pipeline(self.remote, pipeline.name)
        newest = newest_version(self.remote, found.pipeline_id) if found else None
        return newest is not None and is_version(newest.display_name, pipeline)

    def _changes(self) -> list[Change]:
        found = find_experiment(self.remote)
        self.experiment_id = found.experiment_id if found else None
        ours: dict[str, list[Any]] = {schedule.name: [] for schedule in self.schedules}
        for recurring in recurring_runs(self.remote, self.experiment_id):
            ours.setdefault(recurring.display_name, []).append(recurring)
        wanted = {schedule.name: schedule for schedule in self.schedules}
        return [self._change(name, wanted.get(name), existing) for name, existing in ours.items()]

    def _change(self, name: str, wanted: Schedule | None, existing: list[Any]) -> Change:
        """Keep the oldest that is as declared, drop the others."""
        existing.sort(key=lambda recurring: (recurring.created_at, recurring.recurring_run_id))
        same = [recurring for recurring in existing if wanted and not self.difference(wanted, recurring)]
        keep = same[0] if same else None
        drop = [recurring for recurring in existing if recurring is not keep]
        why = self.difference(wanted, existing[-1]) if wanted and existing and not keep else []
        if keep:
            switch = "enable" if wanted and wanted.enabled else "disable"
            action = "replace" if drop else "keep" if _enabled(keep) == (switch == "enable") else switch
            why = [f"{len(drop)} of that name too many"] if drop else []
        else:
            action = "create" if wanted and not existing else "replace" if wanted else "delete"
        change = Change(name, action, wanted, keep, drop, why)
        change.running = next((run for recurring in drop if (run := self.in_progress(recurring))), None)
        if change.running and not self.force:
            change.action = "wait"
        return change

    def difference(self, wanted: Schedule, recurring: Any) -> list[str]:
        """What differs, one line each; whether it is enabled left out, for that can be changed."""
        reference, trigger = recurring.pipeline_version_reference, recurring.trigger
        config = recurring.runtime_config
        there = {
            "pipeline": self._pipeline_name(reference),
            "cron": trigger.cron_schedule.cron if trigger and trigger.cron_schedule else None,
            "parameters": (config and config.parameters) or {},
            "max_concurrency": int(recurring.max_concurrency or 1),
            "no_catchup": bool(recurring.no_catchup),
        }
        here = {
            "pipeline": self.pipelines[wanted.profile].name,
            "cron": wanted.cron,
            "parameters": wanted.parameters,
            "max_concurrency": wanted.max_concurrency,
            "no_catchup": True,
        }
        if self.cluster.service_account:
            there["service_account"], here["service_account"] = recurring.service_account, self.cluster.service_account
        return [f"{key}: {there[key]!r} -> {here[key]!r}" for key in here if there[key] != here[key]]

    def _pipeline_name(self, reference: Any | None) -> str | None:
        """Name of the pipeline that a recurring run follows; with its version where it is tied to one."""
        if not reference or not reference.pipeline_id:
            return None
        try:
            pipeline = self.remote.call(self.remote.pipelines.pipeline_service_get_pipeline, reference.pipeline_id)
        except Refused as error:
            if error.status == 404:
                return "one that is gone"
            raise
        newest = newest_version(self.remote, reference.pipeline_id)
        tied = reference.pipeline_version_id
        if tied and (newest is None or tied != newest.pipeline_version_id):
            return f"{pipeline.display_name} at an older version"
        return pipeline.display_name

    def in_progress(self, recurring: Any) -> str | None:
        """Name of a run of it that has not ended."""
        runs = self.remote.every(
            self.remote.runs.run_service_list_runs,
            "runs",
            experiment_id=recurring.experiment_id,
            sort_by="created_at desc",
        )
        mine = (run for run in runs if run.recurring_run_id == recurring.recurring_run_id)
        return next((run.display_name for run in mine if run.state not in ENDED), None)

    def apply(self) -> bool:
        """Make the cluster so. Returns whether all is done; False where a run in progress stands in the way."""
        if self.outdated:
            for pipeline in self.outdated:
                upload(self.remote, pipeline)
            self.changes = self._changes()  # a schedule may be tied to what was the newest version
        done = [self._make(change) for change in self.changes]
        return all(done)

    def _make(self, change: Change) -> bool:
        if change.action in ("create", "replace") and change.wanted and not change.keep:
            made = self._create(change.wanted)
            listed = recurring_runs(self.remote, self.experiment_id)  # another may have made one too
            now = {r.recurring_run_id: r for r in [made, *listed] if r.display_name == change.name}
            change = self._change(change.name, change.wanted, list(now.values()))
        if change.action == "wait":
            return False
        if not all(self._drop(recurring) for recurring in change.drop):
            return False
        if change.keep and change.wanted:
            self._switch(change.keep, change.wanted.enabled)
        return True

    def _drop(self, recurring: Any) -> bool:
        """Delete one, unless a run of it has begun since the plan was made: none begins once it is disabled."""
        service, recurring_run_id = self.remote.recurring, recurring.recurring_run_id
        self._switch(recurring, enabled=False)
        if not self.force and self.in_progress(recurring):
            if _enabled(recurring):
                self._unless_gone(service.recurring_run_service_enable_recurring_run, recurring_run_id)
            return False
        self._unless_gone(service.recurring_run_service_delete_recurring_run, recurring_run_id)
        return True

    def _create(self, wanted: Schedule) -> Any:
        self.experiment_id = self.experiment_id or experiment(self.remote)
        pipeline_id = upload(self.remote, self.pipelines[wanted.profile])[0]
        return self.remote.call(
            self.remote.recurring.recurring_run_service_create_recurring_run,
            kfp_api.V2beta1RecurringRun(
                display_name=wanted.name,
                description=MARK,
                experiment_id=self.experiment_id,
                pipeline_version_reference=kfp_api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id),
                runtime_config=kfp_api.V2beta1RuntimeConfig(parameters=wanted.parameters),
                trigger=kfp_api.V2beta1Trigger(cron_schedule=kfp_api.V2beta1CronSchedule(cron=wanted.cron)),
                max_concurrency=str(wanted.max_concurrency),
                no_catchup=True,
                mode=kfp_api.RecurringRunMode.DISABLE,
                service_account=self.cluster.service_account or None,
            ),
        )

    def _switch(self, recurring: Any, enabled: bool) -> None:
        service = self.remote.recurring
        if enabled and not _enabled(recurring):
            self._unless_gone(service.recurring_run_service_enable_recurring_run, recurring.recurring_run_id)
        elif not enabled and _enabled(recurring):
            self._unless_gone(service.recurring_run_service_disable_recurring_run, recurring.recurring_run_id)

    def _unless_gone(self, method: Callable[..., Any], recurring_run_id: str) -> None:
        """One call about a recurring run that another may have deleted meanwhile."""
        try:
            self.remote.call(method, recurring_run_id)
        except Refused as error:
            if error.status != 404:
                raise


def _enabled(recurring: Any) -> bool:
    return recurring.mode == "ENABLE"


def recurring_runs(remote: Remote, experiment_id: str | None) -> list[Any]:
    """The recurring runs that `apply` made; those made by hand are nobody's business."""
    if experiment_id is None:
        return []
    listed = remote.every(
        remote.recurring.recurring_run_service_list_recurring_runs, "recurring_runs", experiment_id=experiment_id
    )
    return [recurring for recurring in listed if recurring.description == MARK]


def status(remote: Remote) -> list[tuple[str, str, str, str, str]]:
    """(name, on or off, cron, last run, its state) of every schedule in the cluster."""
    found = find_experiment(remote)
    rows = []
    last: dict[str, Any] = {}
    if found:
        for run in remote.every(
            remote.runs.run_service_list_runs, "runs", experiment_id=found.experiment_id, sort_by="created_at desc"
        ):
            last.setdefault(run.recurring_run_id, run)
    for recurring in recurring_runs(remote, found and found.experiment_id):
        run = last.get(recurring.recurring_run_id)
        when = f"{run.created_at:%Y-%m-%d %H:%M}" if run else "never"
        cron = recurring.trigger.cron_schedule.cron
        rows.append((recurring.display_name, "on" if _enabled(recurring) else "off", cron, when,
                     run.state.lower() if run and run.state else ""))  # fmt: skip
    return rows
