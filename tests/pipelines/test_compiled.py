"""What a cluster gets: every profile compiles to exactly the file that is kept, within the rules of the house."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.common.image import IMAGE
from components.common.recipe import Resources
from pipelines import profile as profiles
from pipelines.compile import compile_profile

KEPT = Path(__file__).parents[2] / "pipelines/compiled"
HEAVY_STEPS = {"train-classifier", "evaluate-classifier", "publish"}  # which load the base model
NEVER_CACHED = {"preflight", "gate", "publish", "summarise"}
SECRET_NAME = re.compile("KEY|SECRET|PASSWORD|TOKEN|CREDENTIAL", re.IGNORECASE)


@pytest.fixture(scope="module", params=profiles.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def file(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile's pipeline, compiled now."""
    return compile_profile(profiles.load(name), tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def compiled(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline, and the executors of its part for Kubernetes."""
    pipeline, platform = yaml.safe_load_all(file.read_text())
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def executors(pipeline: dict[str, Any]) -> dict[str, Any]:
    found = pipeline["deploymentSpec"]["executors"]
    return {key.removeprefix("exec-"): executor["container"] for key, executor in found.items()}


def tasks(pipeline: dict[str, Any]) -> dict[str, Any]:
    """Every task of the pipeline and of the components nested in it."""
    graphs = [pipeline["root"], *pipeline["components"].values()]
    return {name: task for graph in graphs for name, task in graph.get("dag", {}).get("tasks", {}).items()}


def test_it_is_the_file_that_is_kept(file: Path) -> None:
    kept = KEPT / file.name
    assert kept.is_file(), f"{file.name} is not kept: run make compile"
    assert file.read_text() == kept.read_text(), f"{file.name} is out of date: run make compile"


def test_nothing_else_is_kept() -> None:
    wanted = {f"{profiles.load(name).recipe}-{name}.yaml" for name in profiles.names()}
    assert {path.name for path in KEPT.glob("*.yaml")} <= wanted, "a profile is gone: remove its file"


def test_the_run_form_is_short(name: str, compiled: tuple[dict[str, Any], Any]) -> None:
    parameters = compiled[0]["root"]["inputDefinitions"]["parameters"]
    assert len(parameters) <= 15
    profile = profiles.load(name)
    assert parameters["base_model"]["defaultValue"] == profile.train.base_model
    assert parameters["epochs"]["defaultValue"] == profile.train.epochs
    assert all("defaultValue" in parameter for parameter in parameters.values())


def test_no_step_installs_anything(compiled: tuple[dict[str, Any], Any]) -> None:
    for step, container in executors(compiled[0]).items():
        script = " ".join([*container["command"], *container["args"]])
        assert not re.search(r"\bpip\b|ensurepip|apt-get|curl|wget", script), step
        assert container["image"] == IMAGE


def test_a_gpu_only_where_the_profile_says(name: str, compiled: tuple[dict[str, Any], Any]) -> None:
    profile = profiles.load(name)
    for step, container in executors(compiled[0]).items():
        wanted: Resources = profile.train_resources if step in HEAVY_STEPS else profile.resources
        found = container["resources"]
        assert found["resourceCpuLimit"] == wanted.cpu
        assert found["resourceMemoryLimit"] == wanted.memory
        gpu = found.get("accelerator")
        assert (gpu and (gpu["resourceType"], gpu["resourceCount"])) == (
            (wanted.gpu_type, str(wanted.gpu)) if wanted.gpu else None
        ), step


def test_there_are_profiles_with_and_without_a_gpu() -> None:
    assert {profiles.load(name).train_resources.gpu > 0 for name in profiles.names()} == {True, False}


def test_no_literal_secret(compiled: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Keys come from a secret by reference: no value stands in the file."""
    pipeline, kubernetes = compiled
    for step, container in executors(pipeline).items():
        assert not [entry for entry in container.get("env", []) if SECRET_NAME.search(entry["name"])], step
    for executor in kubernetes.values():
        assert set(executor) <= {"fieldPathAsEnv", "secretAsEnv"}
        for secret in executor.get("secretAsEnv", []):
            assert all(set(entry) == {"secretKey", "envVar"} for entry in secret["keyToEnv"])
    assert not re.search(r"AKIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{30,}|-----BEGIN", yaml.safe_dump(pipeline))


def test_what_is_cached(compiled: tuple[dict[str, Any], Any]) -> None:
    found = tasks(compiled[0])
    cached = {step for step in executors(compiled[0]) if found[step]["cachingOptions"].get("enableCache")}
    assert cached == set(executors(compiled[0])) - NEVER_CACHED


def test_training_is_retried(compiled: tuple[dict[str, Any], Any]) -> None:
    """An evicted pod's training goes on from its checkpoint; nothing else is worth a retry."""
    policies = {step: task["retryPolicy"] for step, task in tasks(compiled[0]).items() if "retryPolicy" in task}
    assert list(policies) == ["train-classifier"]
    assert policies["train-classifier"]["maxRetryCount"] == 5


def test_a_summary_whatever_happens(compiled: tuple[dict[str, Any], Any]) -> None:
    root = compiled[0]["root"]["dag"]["tasks"]
    assert root["summarise"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def test_publish_waits_for_the_gate(compiled: tuple[dict[str, Any], Any]) -> None:
    conditions = [task["triggerPolicy"]["condition"] for task in tasks(compiled[0]).values()
                  if "condition" in task.get("triggerPolicy", {})]  # fmt: skip
    assert conditions == ["inputs.parameter_values['pipelinechannel--gate-Output'] == 'pass'"]


def test_the_same_twice(name: str, file: Path, tmp_path: Path) -> None:
    assert compile_profile(profiles.load(name), tmp_path).read_bytes() == file.read_bytes()


def test_no_path_of_this_machine(compiled: tuple[dict[str, Any], Any]) -> None:
    text = yaml.safe_dump(compiled[0])
    assert str(Path.home()) not in text and str(KEPT.parents[2]) not in text
