"""The runs of a cluster, the newest first, with what each is about and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from pipelines.kfp_api import Remote
from pipelines.recurring_runs import recurring_runs
from pipelines.run_progress import state_of
from pipelines.submit import find_experiment


class Row(NamedTuple):
    """A run: when it started (UTC), running or its outcome, what it is about, and its id."""

    started: str
    state: str
    name: str
    run_id: str


def runs(remote: Remote) -> Iterator[Any]:
    """The runs that `submit` and schedules started, the newest first."""
    experiment = find_experiment(remote)
    if experiment is None:
        return iter(())
    return remote.list_all(
        remote.runs.run_service_list_runs, "runs", experiment_id=experiment.experiment_id, sort_by="created_at desc"
    )


def recent(remote: Remote, limit: int) -> list[Row]:
    """The newest runs. One that a schedule started is called after it: its own name is Kubeflow's."""
    experiment = find_experiment(remote)
    schedules = {
        recurring.recurring_run_id: recurring.display_name
        for recurring in recurring_runs(remote, experiment and experiment.experiment_id)
    }
    rows = []
    for run in islice(runs(remote), limit):
        started = f"{run.created_at:%Y-%m-%d %H:%M}"
        schedule = schedules.get(run.recurring_run_id)
        name = f"{schedule}, scheduled {started}" if schedule else run.display_name
        rows.append(Row(started, state_of(remote, run), name, run.run_id))
    return rows
