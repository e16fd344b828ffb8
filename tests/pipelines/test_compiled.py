"""What a cluster gets: every profile compiles to exactly the file that is kept, within the rules of the house."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import cluster as clusters
from pipelines import profile as profiles
from pipelines.classify import build
from pipelines.compile import compile_profile

KEPT = Path(__file__).parents[2] / "pipelines/compiled"
FORM = ["source", "text_column", "label_column", "labels", "top_labels", "base_model", "quantization", "epochs",
        "learning_rate", "seed", "adapter_name", "store"]  # fmt: skip


@pytest.fixture(scope="module", params=profiles.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def file(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile's pipeline, compiled now."""
    return compile_profile(profiles.load(name), clusters.load("default"), tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def compiled(file: Path) -> dict[str, Any]:
    """The pipeline, without its part for Kubernetes."""
    return next(yaml.safe_load_all(file.read_text()))


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


def test_the_run_form_is_short(name: str, compiled: dict[str, Any]) -> None:
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    assert len(parameters) <= 15
    profile = profiles.load(name)
    assert parameters["base_model"]["defaultValue"] == profile.train.base_model
    assert parameters["epochs"]["defaultValue"] == profile.train.epochs
    assert all("defaultValue" in parameter for parameter in parameters.values())
    assert parameters["quantization"]["literals"] == ["none", "nf4"]


def test_the_run_form_is_in_the_order_of_the_steps(name: str) -> None:
    """As the pipeline's function has it; the file itself is sorted by name."""
    assert list(inspect.signature(build(profiles.load(name)).pipeline_func).parameters) == FORM


def test_there_are_profiles_with_and_without_a_gpu() -> None:
    assert {profiles.load(name).train_resources.gpu > 0 for name in profiles.names()} == {True, False}


def test_a_summary_whatever_happens(compiled: dict[str, Any]) -> None:
    root = compiled["root"]["dag"]["tasks"]
    assert root["summarise"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def test_publish_waits_for_the_gate(compiled: dict[str, Any]) -> None:
    conditions = [task["triggerPolicy"]["condition"] for task in tasks(compiled).values()
                  if "condition" in task.get("triggerPolicy", {})]  # fmt: skip
    assert conditions == ["inputs.parameter_values['pipelinechannel--gate-Output'] == 'pass'"]


def test_the_same_twice(name: str, file: Path, tmp_path: Path) -> None:
    assert compile_profile(profiles.load(name), clusters.load("default"), tmp_path).read_bytes() == file.read_bytes()


def test_no_path_of_this_machine(compiled: dict[str, Any]) -> None:
    text = yaml.safe_dump(compiled)
    assert str(Path.home()) not in text and str(KEPT.parents[2]) not in text


def test_a_local_run_knows_no_cluster(name: str) -> None:
    """Neither retries, which would hide an error from the person who waits, nor paths that are a pod's."""
    local = build(profiles.load(name))
    text = str(local.pipeline_spec)
    assert "retry_policy" not in text and "/scratch" not in text and "resources" not in str(local.platform_spec)
    assert not local.platform_spec.platforms
