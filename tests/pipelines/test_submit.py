"""`clinadapt submit` against a server that speaks the API of Kubeflow Pipelines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fake_kfp import FakeKfp
from fake_server import serve
from support import Clinadapt

from clinadapt.errors import UserError
from pipelines import submit
from pipelines.kfp_api import Remote, connect
from pipelines.named_settings import load_cluster, load_profile

PROFILE, CLUSTER = load_profile("cpu-demo"), load_cluster("default")


@pytest.fixture(scope="module")
def pipeline() -> submit.Compiled:
    return submit.compiled(PROFILE, CLUSTER)


@pytest.fixture
def fake() -> FakeKfp:
    return FakeKfp()


@pytest.fixture
def endpoint(fake: FakeKfp) -> Iterator[str]:
    with serve(fake) as address:
        yield address


@pytest.fixture
def remote(endpoint: str) -> Remote:
    return connect(endpoint, None)


def changed(pipeline: submit.Compiled) -> submit.Compiled:
    return submit.Compiled(pipeline.name, pipeline.description, pipeline.text + "# changed\n", pipeline.form)


def test_a_new_version_where_the_pipeline_changed_and_none_where_it_is_equal(
    fake: FakeKfp, remote: Remote, pipeline: submit.Compiled
) -> None:
    first = submit.upload(remote, pipeline)
    assert first[2] and submit.upload(remote, pipeline) == (*first[:2], False)
    second = submit.upload(remote, changed(pipeline))
    assert second[0] == first[0] and second[1] != first[1] and second[2]
    back = submit.upload(remote, pipeline)
    assert back[2] and back[1] not in (first[1], second[1]), "the newest is what was submitted last"
    assert submit.upload(remote, pipeline) == (*back[:2], False)
    names = [version["display_name"] for version in fake.objects["versions"]]
    assert names[0] == pipeline.version and names[2].startswith(f"{pipeline.version}-again-")


def test_the_placeholder_of_a_digest_is_not_uploaded(fake: FakeKfp, remote: Remote, pipeline: submit.Compiled) -> None:
    text = pipeline.text.replace(CLUSTER.cpu.image, load_cluster("airgap").cpu.image)
    with pytest.raises(UserError, match="placeholder 0000... for an image digest"):
        submit.upload(remote, submit.Compiled(pipeline.name, "", text, pipeline.form))
    assert fake.changed() == []


def test_a_run(fake: FakeKfp, remote: Remote, pipeline: submit.Compiled) -> None:
    cluster = CLUSTER.model_copy(update={"service_account": "pipeline-runner"})
    run = submit.start(remote, PROFILE, cluster, pipeline, {"num_train_epochs": 2, "adapter_name": "organs"})
    (made,) = fake.objects["runs"]
    assert made["run_id"] == run.run_id and made["service_account"] == "pipeline-runner"
    assert made["display_name"].startswith("organs, cpu-demo, 20")
    assert made["runtime_config"] == {"parameters": {"num_train_epochs": 2, "adapter_name": "organs"}}
    reference = made["pipeline_version_reference"]
    assert reference["pipeline_version_id"] == fake.objects["versions"][0]["pipeline_version_id"]
    submit.start(remote, PROFILE, CLUSTER, pipeline, {})
    assert [len(fake.objects[kind]) for kind in ("pipelines", "versions", "experiments", "runs")] == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (["num_train_epochs=3", "learning_rate=0.001"], {"num_train_epochs": 3, "learning_rate": 0.001}),
        (["learning_rate=1"], {"learning_rate": 1}),
        (["source=s3://notes/a=b.csv"], {"source": "s3://notes/a=b.csv"}),
        (['labels=["A", "B"]', "quantization=nf4"], {"labels": ["A", "B"], "quantization": "nf4"}),
    ],
)
def test_settings(pipeline: submit.Compiled, settings: list[str], parameters: dict[str, Any]) -> None:
    assert submit.parsed(settings, pipeline.form) == parameters


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("num_train_epochs", "write it as name=value"),
        ("epoch=3", "unknown parameter 'epoch'"),
        ("num_train_epochs=three", "write its value as JSON"),
        ("num_train_epochs=true", "give a value of type int"),
        ("labels=3", "give a value of type list"),
        ("quantization=nf8", "use one of none, nf4"),
    ],
)
def test_settings_that_are_wrong(pipeline: submit.Compiled, setting: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        submit.parsed([setting], pipeline.form)


def task(name: str, state: str) -> dict[str, str]:
    return {"task_id": name, "display_name": name, "state": state, "start_time": "2026-01-01T00:00:00Z",
            "end_time": "2026-01-01T00:01:05Z"}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "states", "status", "last"),
    [
        ("SUCCEEDED", {"gate": "SUCCEEDED", "publish": "SUCCEEDED"}, 0, "published"),
        ("SUCCEEDED", {"gate": "SUCCEEDED", "publish": "SKIPPED"}, 3, "refused by the gate: see its report"),
        ("SUCCEEDED", {"gate": "SUCCEEDED"}, 3, "refused by the gate: see its report"),
        ("SUCCEEDED", {"lookup": "SUCCEEDED"}, 0, "nothing new: the registry already has this version"),
        ("FAILED", {"train-classify": "FAILED"}, 1, "failed; see the log of train-classify in the UI"),
        ("CANCELED", {"train-classify": "CANCELED"}, 1, "canceled; see the run in the UI"),
    ],
)
def test_following(
    fake: FakeKfp,
    remote: Remote,
    pipeline: submit.Compiled,
    capsys: pytest.CaptureFixture[str],
    state: str,
    states: dict[str, str],
    status: int,
    last: str,
) -> None:
    """A line for each change, those of the drivers and of the graph left out, and one sentence at the end."""
    run = submit.start(remote, PROFILE, CLUSTER, pipeline, {})
    made = fake.objects["runs"][0]
    answers = iter(
        [
            ("PENDING", {}),
            ("RUNNING", {"exit-handler-1": "RUNNING", "preflight-driver": "SUCCEEDED", "preflight": "RUNNING"}),
            ("RUNNING", {"exit-handler-1": "RUNNING", "preflight": "RUNNING"}),
            (state, {"preflight": "SUCCEEDED", **states}),
        ]
    )

    def before(method: str, path: str) -> None:
        made["state"], now = next(answers)
        made["run_details"] = {"task_details": [task(name, state) for name, state in now.items()]}

    fake.before = before
    assert submit.follow(remote, run.run_id, interval=0) == status
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].split() == ["preflight", "running", "65", "s"]
    assert lines[1].split() == ["preflight", "succeeded", "65", "s"]
    assert lines[-1].endswith(last) and len(lines) == 3 + len(states)


def test_following_on_a_terminal(
    fake: FakeKfp, remote: Remote, pipeline: submit.Compiled, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    run = submit.start(remote, PROFILE, CLUSTER, pipeline, {})
    states = {"gate": "SUCCEEDED", "publish": "SUCCEEDED", "condition-2-driver": "SUCCEEDED"}
    fake.objects["runs"][0] |= {
        "state": "SUCCEEDED",
        "run_details": {"task_details": [task(name, state) for name, state in states.items()]},
    }
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert submit.follow(remote, run.run_id) == 0
    shown = capsys.readouterr().err
    assert "publish" in shown and "\x1b[" in shown and "driver" not in shown


def test_the_command(fake: FakeKfp, endpoint: str, clinadapt: Clinadapt) -> None:
    done = clinadapt("submit", "-p", "cpu-demo", "--set", "num_train_epochs=2", "--endpoint", endpoint, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    (run,) = fake.objects["runs"]
    assert (result["run_id"], result["name"]) == (run["run_id"], run["display_name"])
    assert f"{endpoint}/#/runs/details/{run['run_id']}" in done.stderr
    done = clinadapt("submit", "-p", "cpu-demo", "--endpoint", "http://127.0.0.1:9", "--json")
    assert done.returncode == 2 and "cannot be reached" in json.loads(done.stdout)["error"]
