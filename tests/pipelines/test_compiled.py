"""What a cluster gets: every profile compiles to exactly the file that is kept, within the rules of the house."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.catalogue import EXAMPLE
from pipelines.compile import build, compile_profile
from pipelines.named_settings import load_cluster, load_profile, profile_names

KEPT = Path(__file__).parents[2] / "pipelines/compiled"
FORM = {
    "classify": ["source", "feedback", "columns", "labels", "top_labels", "min_notes_per_label", "test",
                 "base_model", "quantization", "num_train_epochs", "learning_rate", "seed", "adapter_name",
                 "started_by", "store"],
    "instruct": ["sources", "teacher", "test", "base_model", "quantization", "num_train_epochs", "learning_rate",
                 "seed", "adapter_name", "started_by", "store"],
}  # fmt: skip


@pytest.fixture(scope="module", params=profile_names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def file(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile's pipeline, compiled now."""
    return compile_profile(load_profile(name), load_cluster("default"), tmp_path_factory.mktemp("compiled"))


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
    wanted = {f"{kind}-{name}.yaml" for name in profile_names() for kind in (load_profile(name).recipe, "monitor")}
    assert {path.name for path in KEPT.glob("*.yaml")} <= wanted | {EXAMPLE}, "a profile is gone: remove its file"


def test_the_run_form_is_short(name: str, compiled: dict[str, Any]) -> None:
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    assert len(parameters) <= 15
    profile = load_profile(name)
    assert parameters["base_model"]["defaultValue"] == profile.training.base_model
    assert parameters["num_train_epochs"]["defaultValue"] == profile.training.num_train_epochs
    assert all("defaultValue" in parameter for parameter in parameters.values())
    assert parameters["quantization"]["literals"] == ["none", "nf4"]


def test_the_run_form_is_in_the_order_of_the_steps(name: str) -> None:
    """As the pipeline's function has it; the file itself is sorted by name."""
    assert (
        list(inspect.signature(build(load_profile(name)).pipeline_func).parameters) == FORM[load_profile(name).recipe]
    )


def test_there_are_profiles_with_and_without_a_gpu() -> None:
    assert {load_profile(name).train_resources.gpu > 0 for name in profile_names()} == {True, False}


def test_the_groups_of_the_graph_say_what_they_are(compiled: dict[str, Any]) -> None:
    names = {key: task["taskInfo"]["name"] for key, task in tasks(compiled).items()}
    groups = {key: name for key, name in names.items() if key.startswith(("exit-handler", "condition"))}
    assert groups == {
        "exit-handler-1": "adapt", "condition-2": "there is something new", "condition-3": "the gate says yes"
    }  # fmt: skip


def test_a_summary_whatever_happens(compiled: dict[str, Any]) -> None:
    root = compiled["root"]["dag"]["tasks"]
    assert root["summarise"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def conditions(pipeline: dict[str, Any], graph: dict[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every step's conditions, from the outermost in."""
    found: dict[str, Any] = {}
    for name, task in graph["dag"]["tasks"].items():
        own = task.get("triggerPolicy", {}).get("condition")
        inner, all_of = pipeline["components"][task["componentRef"]["name"]], (*above, *([own] if own else []))
        found |= conditions(pipeline, inner, all_of) if "dag" in inner else {name: all_of}
    return found


def test_publish_waits_for_the_gate_and_all_that_may_take_a_gpu_for_the_lookup(compiled: dict[str, Any]) -> None:
    new = "inputs.parameter_values['pipelinechannel--lookup-Output'] == 'new'"
    fit = "inputs.parameter_values['pipelinechannel--gate-Output'] == 'pass'"
    found = conditions(compiled, compiled["root"])
    always = {"preflight-classify", "preflight-instruct", "download-classify", "download-instruct", "screen-classify",
              "screen-instruct", "synthesize",
              "format-classify", "format-instruct", "lookup", "summarise"}  # fmt: skip
    assert {name for name, all_of in found.items() if not all_of} == always & found.keys()
    assert found.pop("publish") == (new, fit)
    waiting = {name: all_of for name, all_of in found.items() if all_of}
    assert {"gate"} < waiting.keys() and set(waiting.values()) == {(new,)}
    takes_gpu = {
        name
        for name, task in tasks(compiled).items()
        if "accelerator" in container(compiled, task).get("resources", {})
    }
    assert takes_gpu <= {*waiting, "publish"}


def container(pipeline: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """What a task runs; empty for a graph."""
    component = pipeline["components"][task["componentRef"]["name"]]
    executors = pipeline["deploymentSpec"]["executors"]
    return executors[component["executorLabel"]]["container"] if "executorLabel" in component else {}


def test_the_same_twice(name: str, file: Path, tmp_path: Path) -> None:
    assert compile_profile(load_profile(name), load_cluster("default"), tmp_path).read_bytes() == file.read_bytes()


def test_no_path_of_this_machine(compiled: dict[str, Any]) -> None:
    text = yaml.safe_dump(compiled)
    assert str(Path.home()) not in text and str(KEPT.parents[2]) not in text


def test_a_local_run_knows_no_cluster(name: str) -> None:
    """Neither retries, which would hide an error from the person who waits, nor paths that are a pod's."""
    local = build(load_profile(name))
    text = str(local.pipeline_spec)
    assert "retry_policy" not in text and "/scratch" not in text and "resources" not in str(local.platform_spec)
    assert not local.platform_spec.platforms
