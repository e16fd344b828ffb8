"""`clinadapt submit` against a server that speaks the API of Kubeflow Pipelines."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from approvals import key_of, people
from fake_kfp import FakeKfp
from fake_server import Error
from support import Clinadapt

from clinadapt.config.gate import key_fingerprint
from clinadapt.errors import UserError
from pipelines import submit
from pipelines.kfp_api import IN_CLUSTER, Remote
from pipelines.named_settings import load_cluster, load_profile

PROFILE, CLUSTER = load_profile("cpu-demo"), load_cluster("default")


@pytest.fixture(scope="module")
def pipeline() -> submit.Compiled:
    return submit.compiled(PROFILE, CLUSTER)


def changed(pipeline: submit.Compiled) -> submit.Compiled:
    return submit.Compiled(pipeline.name, pipeline.description, pipeline.text + "# changed\n", pipeline.form)


def test_a_new_version_where_the_pipeline_changed_and_none_where_it_is_equal(
    fake: FakeKfp, remote: Remote, pipeline: submit.Compiled
) -> None:
    first = submit.upload(remote, pipeline)
    assert first[2] and submit.upload(remote, pipeline) == (*first[:2], False)
    second = submit.upload(remote, changed(pipeline))
    assert second[0] == first[0] and second[1] != first[1] and second[2]
    assert submit.upload(remote, pipeline) == (*first[:2], False), "a run names its version, so the first serves again"
    assert [version["display_name"] for version in fake.objects["versions"]] == [
        pipeline.version, changed(pipeline).version
    ]  # fmt: skip


def test_a_version_says_where_it_is_from(fake: FakeKfp, remote: Remote, pipeline: submit.Compiled) -> None:
    submit.upload(remote, pipeline)
    (version,) = fake.objects["versions"]
    assert version["description"].startswith("profile cpu-demo, cluster default, by ")
    assert re.search(r", commit (unknown|[0-9a-f]{7,12}(-dirty)?)$", version["description"])


@pytest.mark.parametrize("field", ["resourceTtlOnCompletion", "activeDeadlineSeconds", "literals"])
def test_an_older_server_is_named(fake: FakeKfp, remote: Remote, pipeline: submit.Compiled, field: str) -> None:
    """Before 2.17 strict protojson refuses the fields that it does not know; the reason is in error_message."""
    fake.unknown_fields = (field,)
    with pytest.raises(UserError, match=f"does not know {field}: Kubeflow Pipelines is older than 2.17, update it"):
        submit.upload(remote, pipeline)
    assert fake.objects["versions"] == []


def test_without_the_cache_every_step_runs(pipeline: submit.Compiled) -> None:
    """As another version, which moves no schedule."""
    anew = submit.compiled(PROFILE, CLUSTER, caching=False)
    assert "enableCache: true" in pipeline.text and "enableCache: true" not in anew.text
    assert anew.version != pipeline.version and anew.name == pipeline.name


def test_another_error_of_an_upload_is_passed_on(fake: FakeKfp, remote: Remote, pipeline: submit.Compiled) -> None:
    def before(method: str, path: str) -> None:
        if path.endswith("/upload_version"):
            fake.requests.append((method, path))
            raise Error(400, "Failed to create a pipeline version: the file is too large")

    fake.before = before
    with pytest.raises(UserError, match="HTTP 400 .Failed to create a pipeline version: the file is too large"):
        submit.upload(remote, pipeline)


@pytest.mark.parametrize(
    ("ui", "shown"),
    [
        ("", "{endpoint}/#/runs/details/run-1"),
        ("https://ui.example.org/pipeline/", "https://ui.example.org/pipeline/#/"),
    ],
)
def test_the_link_names_the_ui(remote: Remote, endpoint: str, ui: str, shown: str) -> None:
    cluster = CLUSTER.model_copy(update={"ui": ui})
    assert submit.link(remote, cluster, "run-1").startswith(shown.format(endpoint=endpoint))
    remote.endpoint = IN_CLUSTER
    if not ui:
        assert submit.link(remote, cluster, "run-1") == "clinadapt runs show run-1", "the API shows no page"


def test_the_placeholder_of_a_digest_is_not_uploaded(fake: FakeKfp, remote: Remote, pipeline: submit.Compiled) -> None:
    text = pipeline.text.replace(CLUSTER.cpu.image, load_cluster("airgap").cpu.image)
    with pytest.raises(UserError, match="placeholder 0000... for an image digest"):
        submit.upload(remote, submit.Compiled(pipeline.name, "", text, pipeline.form))
    assert fake.changed() == []


def test_a_run(fake: FakeKfp, remote: Remote, pipeline: submit.Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    cluster = CLUSTER.model_copy(update={"service_account": "pipeline-runner"})
    run = submit.start(remote, PROFILE, cluster, pipeline, {"num_train_epochs": 2, "adapter_name": "organs"})
    (made,) = fake.objects["runs"]
    assert made["run_id"] == run.run_id and made["service_account"] == "pipeline-runner"
    assert made["display_name"].startswith("organs, cpu-demo, 20")
    assert made["plugins_input"] == {"mlflow": {"experiment_name": "clinadapt/organs"}}
    assert made["runtime_config"] == {
        "parameters": {"started_by": "anna", "num_train_epochs": 2, "adapter_name": "organs"}
    }
    reference = made["pipeline_version_reference"]
    assert reference["pipeline_version_id"] == fake.objects["versions"][0]["pipeline_version_id"]
    (anna,) = people("anna")
    with key_of(anna):  # who approves with a key is known by it too
        submit.start(remote, PROFILE, CLUSTER, pipeline, {})
    started_by = f"anna {key_fingerprint(anna.public)}"
    assert fake.objects["runs"][1]["runtime_config"]["parameters"] == {"started_by": started_by}
    submit.start(remote, PROFILE, CLUSTER, pipeline, {"started_by": "ben"})
    assert fake.objects["runs"][2]["runtime_config"]["parameters"] == {"started_by": "ben"}
    experiment = {"experiment_name": f"clinadapt/{PROFILE.adapter_name}"}
    assert fake.objects["runs"][1]["plugins_input"] == {"mlflow": experiment}
    assert [len(fake.objects[kind]) for kind in ("pipelines", "versions", "experiments", "runs")] == [1, 1, 1, 3]


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


def test_the_command(fake: FakeKfp, endpoint: str, clinadapt: Clinadapt) -> None:
    done = clinadapt("submit", "-p", "cpu-demo", "--set", "num_train_epochs=2", "--endpoint", endpoint, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    (run,) = fake.objects["runs"]
    assert (result["run_id"], result["name"]) == (run["run_id"], run["display_name"])
    assert f"{endpoint}/#/runs/details/{run['run_id']}" in done.stderr
    done = clinadapt("submit", "-p", "cpu-demo", "--endpoint", "http://127.0.0.1:9", "--json")
    assert done.returncode == 2 and "cannot be reached" in json.loads(done.stdout)["error"]
