"""Declared schedules, and reconciling a cluster's recurring runs with them.

KFP cannot update a recurring run, and deleting one ends its run in progress. So a change first creates the new one,
disabled; then disables and deletes the old one; then enables the new one. If interrupted, the next `apply` continues:
it finds existing recurring runs by name and description. If two processes create the same one, both keep the older.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import kfp_server_api as kfp_api
import yaml
from pydantic import Field, ValidationError, field_validator

from clinadapt.config.base import Section, first_error
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import Cluster
from pipelines.cron import Cron
from pipelines.kfp_api import ApiError, Remote
from pipelines.monitor import compiled_monitor
from pipelines.named_settings import load_profile
from pipelines.run_progress import ENDED, state_of
from pipelines.submit import (
    Compiled,
    check,
    compiled,
    experiment_id,
    find_experiment,
    find_pipeline,
    find_version,
    plugins_input,
    upload,
)

# The description of the recurring runs that `apply` manages. Existing ones are recognized by it: do not change
DESCRIPTION = "Kept by clinadapt schedule apply; change pipelines/schedules instead."


class Schedule(Section):
    """A declared recurring run. Missed runs are not caught up on.

    Attributes:
        name: shown in the UI; prefix of the names of its runs.
        profile: profile to run, in the pipeline version that `apply` compiles from it; nothing else moves the version.
        pipeline: `train`, that of the profile, or `monitor`, which watches the profile's adapter in use.
        cron: six fields: second, minute, hour, day of the month, month, weekday.
        time_zone: of `cron`; must be the cluster's, as KFP's controller has a single one.
        parameters: of the run form; the profile's values apply to the others.
        max_concurrency: maximum number of its runs at a time.
        enabled: whether it starts runs.
    """

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$")
    profile: str
    pipeline: Literal["train", "monitor"] = "train"
    cron: str
    time_zone: str = "UTC"
    parameters: dict[str, Any] = {}
    max_concurrency: int = Field(default=1, ge=1, le=10)
    enabled: bool = True

    @property
    def form(self) -> dict[str, Any]:
        """The run form as its runs get it: training is started by the schedule, unless `parameters` name somebody."""
        starter = {"started_by": f"schedule {self.name}"} if self.pipeline == "train" else {}
        return starter | self.parameters

    @property
    def kind(self) -> tuple[str, str]:
        """(profile, pipeline), which a version of a pipeline is compiled from."""
        return self.profile, self.pipeline

    @field_validator("cron")
    @classmethod
    def _possible(cls, cron: str) -> str:
        return Cron(cron).expression

    @field_validator("time_zone")
    @classmethod
    def _known(cls, time_zone: str) -> str:
        try:
            return ZoneInfo(time_zone).key
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("give a name of the IANA time zone database, such as Europe/Berlin") from error


def load(folder: Path, cluster: Cluster) -> list[Schedule]:
    """Load all schedules of a folder.

    Raises:
        UserError: a file is invalid, two have the same name, or a time zone is not the cluster's.
    """
    if not folder.is_dir():
        raise UserError(f"folder {folder} not found: give the folder with the schedules")
    schedules: dict[str, Schedule] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            schedule = Schedule.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not valid YAML: check its indentation and quotes") from error
        except ValidationError as error:
            raise UserError(f"{path}: {first_error(error)}") from error
        if schedule.name in schedules:
            raise UserError(f"{path}: duplicate name {schedule.name}: rename one of the schedules")
        if schedule.time_zone != cluster.time_zone:
            raise UserError(
                f"{path}: time_zone {schedule.time_zone} is not the cluster's, {cluster.time_zone}: write the cron in "
                "the cluster's, which is CRON_SCHEDULE_TIMEZONE of the deployment ml-pipeline-scheduledworkflow"
            )
        schedules[schedule.name] = schedule
    return list(schedules.values())


@dataclass
class Change:
    """The change to the recurring runs of one name.

    Attributes:
        action: create, replace, enable, disable, delete, keep; or wait, if a run in progress blocks the change.
        declared: the schedule, None if it is no longer declared.
        keep: the recurring run to keep, if any.
        delete: the recurring runs to delete.
        diff: lines, one for each difference.
        running: name of the run in progress that `delete` would end.
        version: name of the pipeline version that it holds, or will.
    """

    name: str
    action: str
    declared: Schedule | None = None
    keep: Any | None = None
    delete: list[Any] = field(default_factory=list)
    diff: list[str] = field(default_factory=list)
    running: str | None = None
    version: str = ""

    def lines(self) -> Iterator[str]:
        """The change as text: one line, and its diff indented below."""
        sign = {"create": "+", "delete": "-", "keep": "=", "wait": "!"}.get(self.action, "~")
        version = f", version {self.version}" if self.version else ""
        text = {
            "keep": f"unchanged{version}",
            "create": f"create{version}",
            "wait": f"not changed: run {self.running} is in progress",
        }
        yield f"{sign} {self.name}: {text.get(self.action, self.action)}"
        yield from (f"    {line}" for line in self.diff)


class Plan:
    """The changes that make a cluster match the declared schedules, and the pipelines to upload for them."""

    def __init__(self, remote: Remote, cluster: Cluster, schedules: list[Schedule], force: bool = False) -> None:
        self.remote, self.cluster, self.force = remote, cluster, force
        compile_one = {"train": compiled, "monitor": compiled_monitor}
        kinds = {schedule.kind for schedule in schedules}
        self.pipelines = {kind: compile_one[kind[1]](load_profile(kind[0]), cluster) for kind in sorted(kinds)}
        for schedule in schedules:
            check(schedule.parameters, self.pipelines[schedule.kind].form)
        self.schedules = schedules
        self.outdated = [pipeline for pipeline in self.pipelines.values() if not self._uploaded(pipeline)]
        self.changes = self._changes()

    def _uploaded(self, pipeline: Compiled) -> bool:
        existing = find_pipeline(self.remote, pipeline.name)
        return existing is not None and find_version(self.remote, existing.pipeline_id, pipeline) is not None

    def _changes(self) -> list[Change]:
        experiment = find_experiment(self.remote)
        self.experiment_id = experiment.experiment_id if experiment else None
        existing: dict[str, list[Any]] = {schedule.name: [] for schedule in self.schedules}
        for recurring in recurring_runs(self.remote, self.experiment_id):
            existing.setdefault(recurring.display_name, []).append(recurring)
        declared = {schedule.name: schedule for schedule in self.schedules}
        return [self._change(name, declared.get(name), runs) for name, runs in existing.items()]

    def _change(self, name: str, declared: Schedule | None, existing: list[Any]) -> Change:
        """Keep the oldest recurring run that matches the declaration, delete the others."""
        existing.sort(key=lambda recurring: (recurring.created_at, recurring.recurring_run_id))
        matching = [recurring for recurring in existing if declared and not self.difference(declared, recurring)]
        keep = matching[0] if matching else None
        delete = [recurring for recurring in existing if recurring is not keep]
        diff = self.difference(declared, existing[-1]) if declared and existing and not keep else []
        if keep:
            switch = "enable" if declared and declared.enabled else "disable"
            action = "replace" if delete else "keep" if _enabled(keep) == (switch == "enable") else switch
            diff = [f"{len(delete)} duplicates"] if delete else []
        else:
            action = "create" if declared and not existing else "replace" if declared else "delete"
        change = Change(name, action, declared, keep, delete, diff)
        change.version = self.pipelines[declared.kind].version if declared else ""
        change.running = next((run for recurring in delete if (run := self.in_progress(recurring))), None)
        if change.running and not self.force:
            change.action = "wait"
        return change

    def difference(self, declared: Schedule, recurring: Any) -> list[str]:
        """The differences that need a new recurring run, one line each; `enabled` can be changed in place."""
        trigger, config = recurring.trigger, recurring.runtime_config
        actual = {
            "pipeline": pipeline_name(self.remote, recurring.pipeline_version_reference),
            "version": version_name(self.remote, recurring.pipeline_version_reference),
            "cron": trigger.cron_schedule.cron if trigger and trigger.cron_schedule else None,
            "parameters": (config and config.parameters) or {},
            "max_concurrency": int(recurring.max_concurrency or 1),
            "no_catchup": bool(recurring.no_catchup),
            "service_account": recurring.service_account,
        }
        expected = {
            "pipeline": self.pipelines[declared.kind].name,
            "version": self.pipelines[declared.kind].version,
            "cron": declared.cron,
            "parameters": declared.form,
            "max_concurrency": declared.max_concurrency,
            "no_catchup": True,
        }
        if self.cluster.service_account:
            expected["service_account"] = self.cluster.service_account
        return [f"{key}: {actual[key]!r} -> {value!r}" for key, value in expected.items() if actual[key] != value]

    def in_progress(self, recurring: Any) -> str | None:
        """Name of a run of `recurring` that has not ended, if any."""
        runs = self.remote.list_all(
            self.remote.runs.run_service_list_runs,
            "runs",
            experiment_id=recurring.experiment_id,
            sort_by="created_at desc",
        )
        its_runs = (run for run in runs if run.recurring_run_id == recurring.recurring_run_id)
        return next((run.display_name for run in its_runs if run.state not in ENDED), None)

    def apply(self) -> bool:
        """Apply the changes. Returns whether all are done: False if a run in progress blocks one."""
        for pipeline in self.outdated:
            upload(self.remote, pipeline)
        done = [self._apply(change) for change in self.changes]
        return all(done)

    def _apply(self, change: Change) -> bool:
        if change.action in ("create", "replace") and change.declared and not change.keep:
            created = self._create(change.declared)
            listed = recurring_runs(self.remote, self.experiment_id)  # another process may have created one too
            existing = {r.recurring_run_id: r for r in [created, *listed] if r.display_name == change.name}
            change = self._change(change.name, change.declared, list(existing.values()))
        if change.action == "wait":
            return False
        if not all(self._delete(recurring) for recurring in change.delete):
            return False
        if change.keep and change.declared:
            self._switch(change.keep, change.declared.enabled)
        return True

    def _delete(self, recurring: Any) -> bool:
        """Disable and delete, unless a run started since the plan was made: a disabled one starts none."""
        service, recurring_run_id = self.remote.recurring, recurring.recurring_run_id
        self._switch(recurring, enabled=False)
        if not self.force and self.in_progress(recurring):
            if _enabled(recurring):
                self._unless_deleted(service.recurring_run_service_enable_recurring_run, recurring_run_id)
            return False
        self._unless_deleted(service.recurring_run_service_delete_recurring_run, recurring_run_id)
        return True

    def _create(self, schedule: Schedule) -> Any:
        self.experiment_id = self.experiment_id or experiment_id(self.remote)
        pipeline_id, version_id, _ = upload(self.remote, self.pipelines[schedule.kind])
        return self.remote.call(
            self.remote.recurring.recurring_run_service_create_recurring_run,
            kfp_api.V2beta1RecurringRun(
                display_name=schedule.name,
                description=DESCRIPTION,
                experiment_id=self.experiment_id,
                pipeline_version_reference=kfp_api.V2beta1PipelineVersionReference(pipeline_id, version_id),
                runtime_config=kfp_api.V2beta1RuntimeConfig(parameters=schedule.form),
                trigger=kfp_api.V2beta1Trigger(cron_schedule=kfp_api.V2beta1CronSchedule(cron=schedule.cron)),
                max_concurrency=str(schedule.max_concurrency),
                no_catchup=True,
                mode=kfp_api.RecurringRunMode.DISABLE,
                service_account=self.cluster.service_account or None,
                plugins_input=plugins_input(self.pipelines[schedule.kind], schedule.parameters),
            ),
        )

    def _switch(self, recurring: Any, enabled: bool) -> None:
        service = self.remote.recurring
        if enabled and not _enabled(recurring):
            self._unless_deleted(service.recurring_run_service_enable_recurring_run, recurring.recurring_run_id)
        elif not enabled and _enabled(recurring):
            self._unless_deleted(service.recurring_run_service_disable_recurring_run, recurring.recurring_run_id)

    def _unless_deleted(self, method: Callable[..., Any], recurring_run_id: str) -> None:
        """Call a method on a recurring run that another process may have deleted."""
        try:
            self.remote.call(method, recurring_run_id)
        except ApiError as error:
            if error.status != 404:
                raise


def pipeline_name(remote: Remote, reference: Any | None) -> str | None:
    """Name of a recurring run's pipeline; None if it has none."""
    if not reference or not reference.pipeline_id:
        return None
    pipeline = _unless_gone(remote, remote.pipelines.pipeline_service_get_pipeline, reference.pipeline_id)
    return pipeline.display_name if pipeline else "deleted pipeline"


def version_name(remote: Remote, reference: Any | None) -> str:
    """Name of the pipeline version that a recurring run holds."""
    if not reference or not reference.pipeline_version_id:
        return "the newest"  # as `apply` created them before, and whoever submits moves it
    version = _unless_gone(
        remote,
        remote.pipelines.pipeline_service_get_pipeline_version,
        reference.pipeline_id,
        reference.pipeline_version_id,
    )
    return version.display_name if version else "deleted version"


def _unless_gone(remote: Remote, method: Callable[..., Any], *identifiers: str) -> Any | None:
    try:
        return remote.call(method, *identifiers)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _enabled(recurring: Any) -> bool:
    return recurring.mode == "ENABLE"


def recurring_runs(remote: Remote, experiment_id: str | None) -> list[Any]:
    """The recurring runs that `apply` manages; those created by hand are ignored."""
    if experiment_id is None:
        return []
    listed = remote.list_all(
        remote.recurring.recurring_run_service_list_recurring_runs, "recurring_runs", experiment_id=experiment_id
    )
    return [recurring for recurring in listed if recurring.description == DESCRIPTION]


def status(remote: Remote) -> list[tuple[str, str, str, str, str, str]]:
    """(name, on or off, cron, version, time of the last run, what came of it) of every schedule in the cluster."""
    experiment = find_experiment(remote)
    if experiment is None:
        return []
    last_runs: dict[str, Any] = {}
    for run in remote.list_all(
        remote.runs.run_service_list_runs, "runs", experiment_id=experiment.experiment_id, sort_by="created_at desc"
    ):
        last_runs.setdefault(run.recurring_run_id, run)
    rows = []
    for recurring in recurring_runs(remote, experiment.experiment_id):
        run = last_runs.get(recurring.recurring_run_id)
        when = f"{run.created_at:%Y-%m-%d %H:%M}" if run else "never"
        state = state_of(remote, run) if run else ""
        cron = recurring.trigger.cron_schedule.cron
        version = version_name(remote, recurring.pipeline_version_reference)
        rows.append((recurring.display_name, "on" if _enabled(recurring) else "off", cron, version, when, state))
    return rows
