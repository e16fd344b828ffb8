"""A TrainJob created or found, watched and stopped, against a server with the admission checks of Kubeflow Trainer."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fake_server import Error, serve
from fake_trainer import NAMESPACE, FakeTrainer, admission

from clinadapt.config.instruct import InstructTraining
from clinadapt.config.nodes_task import NodesTask
from clinadapt.errors import UserError
from clinadapt.kubernetes import trainjobs
from clinadapt.kubernetes.api import Api
from clinadapt.kubernetes.cluster import Cluster, Timeouts
from clinadapt.kubernetes.trainjob import template
from clinadapt.kubernetes.trainjobs import RUN_LABEL, TrainJobs, fill, missing
from pipelines.named_settings import load_profile

CLUSTER = Cluster.model_validate({"name": "c", "trainer": {"nodes": 2}})
TEMPLATE = template(load_profile("t4-phi2"), CLUSTER, 2, "train")
TASK = NodesTask(splits="s3://b/splits", store="s3://b", settings=InstructTraining(base_model="hf://a/b@1"))


@pytest.fixture
def fake() -> FakeTrainer:
    return FakeTrainer()


@pytest.fixture
def api(fake: FakeTrainer) -> Iterator[Api]:
    with serve(fake) as address:
        made = Api(address, NAMESPACE)
        made.wait, made.patience = 0.0, 5.0
        yield made


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def jobs(api: Api, lines: list[str]) -> TrainJobs:
    made = TrainJobs(api, "run-1", lines.append)
    made.interval = 0.0
    return made


def manifest(cluster: Cluster = CLUSTER) -> dict[str, Any]:
    return fill(template(load_profile("t4-phi2"), cluster, 2, "train"), TASK)


def moments(fake: FakeTrainer, *what: Any) -> None:
    """What happens at each look of the step, one after another."""
    left = iter(what)
    fake.train = lambda job: next(left, lambda job: None)(job)


def test_the_step_shows_the_lines_of_rank_0_once(fake: FakeTrainer, jobs: TrainJobs, lines: list[str]) -> None:
    def start(job: Any) -> None:
        fake.write(fake.pod(job, 0), "started", "step 2/264")
        fake.write(fake.pod(job, 1), "not of rank 0")

    def more(job: Any) -> None:
        fake.write(next(iter(fake.pods)), "step 4/264", "step 6/264", "done in 9 s")

    moments(fake, start, more, lambda job: None, fake.end)
    jobs.train(manifest())
    (name,) = fake.created
    assert lines == [f"TrainJob {name} created", "started", "step 2/264", "step 4/264", "step 6/264", "done in 9 s"]


def test_another_attempt_finds_it_and_goes_on(fake: FakeTrainer, jobs: TrainJobs, lines: list[str]) -> None:
    fake.create(manifest())
    moments(fake, lambda job: None, fake.end)
    jobs.train(manifest())
    assert len(fake.created) == 1 and lines == [f"TrainJob {fake.created[0]} found, watching it"]
    assert fake.jobs[fake.created[0]]["metadata"]["labels"][RUN_LABEL] == "run-1", "of the run that watches it now"


@pytest.mark.parametrize("kind", ["Failed", "Complete"])
def test_what_has_ended_before_is_created_again(fake: FakeTrainer, jobs: TrainJobs, kind: str) -> None:
    fake.end(fake.create(manifest()), kind, "x")
    moments(fake, fake.end)
    jobs.train(manifest())
    assert len(fake.created) == 2 and len(fake.jobs) == 1


def test_the_error_is_that_of_the_failing_node(fake: FakeTrainer, jobs: TrainJobs) -> None:
    def fail(job: Any) -> None:
        fake.write(fake.pod(job, 0, "Running"), "step 2/264")
        fake.write(fake.pod(job, 1, "Failed"), "started", "error: nf4 needs bitsandbytes, which is not installed")
        fake.end(job, "Failed", "applying FailJobSet failure policy action")

    moments(fake, fail)
    with pytest.raises(UserError, match="failed: nf4 needs bitsandbytes, which is not installed$"):
        jobs.train(manifest())


def test_the_error_is_of_the_node_that_has_one(fake: FakeTrainer, jobs: TrainJobs) -> None:
    """Its neighbour, whose pod is the newer one, fails because it is alone."""

    def fail(job: Any) -> None:
        fake.write(fake.pod(job, 1, "Failed"), "started", "error: no space left on the device")
        fake.write(fake.pod(job, 0, "Failed"), "step 2/264", "interrupted")
        fake.end(job, "Failed", "applying FailJobSet failure policy action")

    moments(fake, fail)
    with pytest.raises(UserError, match="failed: no space left on the device$"):
        jobs.train(manifest())


@pytest.mark.parametrize(
    ("status", "what"),
    [
        (
            {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            "exit status 137 .OOMKilled. / started / step 2/264",
        ),
        ({"terminated": {"exitCode": 1, "reason": "Error"}}, "exit status 1 .Error. / started / step 2/264"),
        ({"running": {}}, "started / step 2/264"),
    ],
)
def test_a_node_without_an_error_of_its_own_says_how_it_ended(
    fake: FakeTrainer, jobs: TrainJobs, status: dict[str, Any], what: str
) -> None:
    """As one that the kernel killed, or a bug, whose traceback may quote a note."""

    def fail(job: Any) -> None:
        name = fake.pod(job, 0, "Failed", containerStatuses=[{"name": "node", "state": status}])
        fake.write(name, "started", "step 2/264")
        fake.logs[name].append("2026-01-01T00:00:09.000000000Z ValueError: Mrs. Miller, 61")
        fake.end(job, "Failed", "jobset failed")

    moments(fake, fail)
    with pytest.raises(UserError, match=f"failed: {what}$"):
        jobs.train(manifest())


def test_an_evicted_node_says_why(fake: FakeTrainer, jobs: TrainJobs) -> None:
    def fail(job: Any) -> None:
        fake.pod(job, 0, "Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage. ")
        fake.end(job, "Failed", "jobset failed")

    moments(fake, fail)
    with pytest.raises(UserError, match="failed: The node was low on resource: ephemeral-storage.$"):
        jobs.train(manifest())


def test_a_failure_without_a_pod_has_the_trainjobs_message(fake: FakeTrainer, jobs: TrainJobs) -> None:
    moments(fake, lambda job: fake.end(job, "Failed", "DeadlineExceeded"))
    with pytest.raises(UserError, match="failed: DeadlineExceeded"):
        jobs.train(manifest())


def test_a_lost_node_is_no_failure(fake: FakeTrainer, jobs: TrainJobs, lines: list[str]) -> None:
    """Its pod is gone, another comes; the last condition in the list is no state of its own."""

    def lost(job: Any) -> None:
        fake.pods.clear()
        fake.write(fake.pod(job, 0), "resuming at step 28 of 264")

    moments(fake, lambda job: fake.write(fake.pod(job, 0), "step 28/264"), lost, fake.end)
    jobs.train(manifest())
    assert lines[1:] == ["step 28/264", "resuming at step 28 of 264"]


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2", "none"])
def test_a_queue_says_why_it_waits(fake: FakeTrainer, jobs: TrainJobs, lines: list[str], version: str) -> None:
    """Before Kueue 0.15 by the one version of its API, from 0.20 on by the other."""
    fake.kueue = version
    cluster = Cluster.model_validate({"name": "c", "trainer": {"queue": "nlp", "priority": "urgent"}})
    reason = "insufficient unused quota for cpu in flavor any, 600m more needed"
    job = manifest(cluster)
    assert job["metadata"]["labels"].items() >= {
        "kueue.x-k8s.io/queue-name": "nlp", "kueue.x-k8s.io/priority-class": "urgent"
    }.items()  # fmt: skip
    fake.workloads = [
        {
            "metadata": {"labels": {"kueue.x-k8s.io/job-uid": "uid-0"}},
            "status": {"conditions": [{"type": "QuotaReserved", "status": "False", "message": reason}]},
        }
    ]
    looks = 0

    def before(method: str, path: str) -> None:
        nonlocal looks
        looks += path.endswith(job["metadata"]["name"]) and method == "GET"
        if looks == 3:  # there is room
            fake.jobs[job["metadata"]["name"]]["spec"]["suspend"] = False

    fake.before = before
    moments(fake, fake.end)
    jobs.train(job)
    shown = "suspended" if version == "none" else reason
    assert lines == [f"TrainJob {fake.created[0]} created", f"TrainJob {fake.created[0]} waits: {shown}"]


def test_a_pod_without_a_node_says_why(fake: FakeTrainer, jobs: TrainJobs, lines: list[str]) -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: Insufficient gpu"}
    moments(fake, lambda job: fake.pod(job, 0, "Pending", conditions=[unscheduled]), lambda job: None, fake.end)
    jobs.train(manifest())
    assert lines[1:] == [f"TrainJob {fake.created[0]} waits: 0/3 nodes are available: Insufficient gpu"]


@pytest.mark.parametrize("suspend", [False, True])
def test_the_end_of_a_run_stops_what_it_trains(fake: FakeTrainer, jobs: TrainJobs, api: Api, suspend: bool) -> None:
    """Not what another run watches, nor what is complete; a suspended one is resumed by the next run."""
    job = fake.create(manifest())
    job["metadata"]["labels"][RUN_LABEL] = "run-1"
    other = copy.deepcopy(job) | {"metadata": {**job["metadata"], "name": "other", "labels": {RUN_LABEL: "run-2"}}}
    done = copy.deepcopy(job) | {"metadata": {**job["metadata"], "name": "done"}}
    fake.end(done)
    fake.jobs |= {"other": other, "done": done}
    assert jobs.stop(suspend) == [job["metadata"]["name"]]
    assert other["spec"].get("suspend") is None and set(fake.jobs) >= {"other", "done"}
    assert (job["metadata"]["name"] in fake.jobs) == suspend
    if suspend:
        assert job["spec"]["suspend"]
        moments(fake, fake.end)
        TrainJobs.train(jobs, manifest())
        assert not job["spec"]["suspend"] and not job["metadata"]["annotations"]


def test_one_that_is_deleted_meanwhile_is_named(fake: FakeTrainer, jobs: TrainJobs) -> None:
    fake.before = lambda method, path: fake.jobs.clear() if method == "GET" else None
    with pytest.raises(UserError, match="was deleted while it trained: run again to resume"):
        jobs.train(manifest())


def test_an_api_that_is_away_is_waited_for(fake: FakeTrainer, jobs: TrainJobs, api: Api) -> None:
    away = iter([503, 500, 429] * 3)

    def before(method: str, path: str) -> None:
        if status := next(away, None):
            raise Error(status, "away")

    fake.before = before
    moments(fake, fake.end)
    jobs.train(manifest())
    api.patience = 0.0
    fake.before = lambda method, path: (_ for _ in ()).throw(Error(503, "so it is"))
    with pytest.raises(UserError, match=r"HTTP 503 \(so it is\): see the log of the API server"):
        jobs.train(manifest())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"runtimes": None}, "is not there .HTTP 404.: install Kubeflow Trainer 2.2 or later"),
        ({"runtimes": ["torch-distributed"]}, "TrainingRuntime clinadapt cannot be read in nlp .HTTP 404."),
        ({"allowed": False}, "may not create TrainJobs in nlp: apply manifests/components/trainer"),
        ({}, None),
    ],
)
def test_preflight_names_what_is_missing(fake: FakeTrainer, api: Api, change: dict[str, Any], what: str | None) -> None:
    vars(fake).update(change)
    found = missing(api, "clinadapt")
    assert found is None if what is None else re.search(what, found or "")


def test_preflight_does_not_wait_for_an_api_that_it_cannot_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a network policy: its own time would end without a word."""
    monkeypatch.setenv(trainjobs.RUNTIME, "clinadapt")
    unreachable = Api("http://127.0.0.1:9", NAMESPACE)
    unreachable.wait = 0.0
    monkeypatch.setattr(trainjobs, "in_cluster", lambda: unreachable)
    assert trainjobs._PREFLIGHT_PATIENCE <= 60 < Timeouts().preflight
    monkeypatch.setattr(trainjobs, "_PREFLIGHT_PATIENCE", 0.0)
    with pytest.raises(UserError, match="cannot be reached .*: see the network policy api-server"):
        trainjobs.check_trainer()


def test_the_admission_checks_of_kubeflow_trainer() -> None:
    """pkg/runtime/framework/plugins/jobset/jobset.go"""
    assert admission(manifest()) == []
    job = manifest()
    job["spec"]["runtimePatches"][0]["manager"] = "clinadapt"
    assert admission(job) == ["manager clinadapt: must be a domain-prefixed path (such as acme.io/foo)"]
    (target,) = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    target["template"]["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "b"}]
    assert "must not have envs" in admission(job)[1]
    target["template"]["spec"]["template"]["spec"]["containers"][0]["name"] = "trainer"
    assert "must not have container" in admission(job)[1]
    target["name"] = "trainer"
    assert "must not have targetJob" in admission(job)[1]


def test_the_name_is_that_of_the_training() -> None:
    first, other = (fill(TEMPLATE, task) for task in (TASK, TASK.model_copy(update={"code_version": "another"})))
    assert first["metadata"]["name"] != other["metadata"]["name"] and len(first["metadata"]["name"]) <= 52
    assert first == manifest(), "the same training, the same name"
