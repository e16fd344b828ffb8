"""The code version of a step follows the sources that the step can reach, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT

from clinadapt.artifacts import code_version as module
from clinadapt.artifacts.code_version import CACHED_STEPS, reachable_sources, run_key, step_code_version

STEPS = [
    (step, recipe)
    for recipe in ("classify", "instruct")
    for step in ("download", "screen", "synthesize", "format", "pretrain", "train", "prefer", "evaluate")
    if recipe == "instruct" or step not in ("synthesize", "pretrain", "prefer")
]
ALL = {f"{step}/{recipe}" for step, recipe in STEPS}
INSTRUCT = {name for name in ALL if name.endswith("instruct")}
TRAINING = {"train/classify", "train/instruct", "pretrain/instruct", "prefer/instruct"}
SCREEN = {"screen/classify", "screen/instruct"}
EVALUATION = {"evaluate/classify", "evaluate/instruct"}
FEEDBACK = {"download/classify", "download/instruct", *EVALUATION}  # read or write what reviewers judge


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the sources, which the module reads instead of the installed ones."""
    folder = tmp_path_factory.mktemp("sources")
    for package in module.PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    _forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_roots", lambda: {package: folder / package for package in module.PACKAGES})
        yield folder
    _forget()


def _forget() -> None:
    for cached in (module.code_version, module._references, module._data_files):
        cached.cache_clear()


def versions() -> dict[str, str]:
    """Of all steps; a comment that was added changes no import, so what the files refer to is read once."""
    module.code_version.cache_clear()
    return {f"{step}/{recipe}": step_code_version(step, recipe) for step, recipe in STEPS}


@pytest.fixture(scope="module")
def unchanged(sources: Path) -> dict[str, str]:
    return versions()


@pytest.fixture
def moved(sources: Path, unchanged: dict[str, str]) -> Callable[[str], set[str]]:
    """Steps whose code version changes by a comment in a file."""

    def change(file: str) -> set[str]:
        text = (sources / file).read_text(encoding="utf-8")
        comment = "{# a comment #}" if file.endswith(".j2") else "# a comment"
        (sources / file).write_text(f"{text}\n{comment}\n", encoding="utf-8")
        changed = versions()
        (sources / file).write_text(text, encoding="utf-8")
        return {name for name in unchanged if unchanged[name] != changed[name]}

    return change


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("clinadapt/errors.py", ALL),
        ("clinadapt/config/base.py", ALL),
        ("clinadapt/config/resolve.py", set()),
        ("clinadapt/storage/folder_store.py", ALL),
        ("clinadapt/artifacts/hashing.py", ALL),
        ("clinadapt/artifacts/run_summary.py", set()),
        ("clinadapt/data/duplicates.py", {"format/classify", "format/instruct", *SCREEN, *FEEDBACK}),
        ("clinadapt/clinical/dates.py", {"synthesize/instruct", "prefer/instruct", *EVALUATION}),
        ("clinadapt/clinical/abbreviations.yaml", {"synthesize/instruct", "prefer/instruct", *SCREEN, *FEEDBACK}),
        ("clinadapt/privacy/cues.yaml", {"synthesize/instruct", *SCREEN, *FEEDBACK}),
        ("clinadapt/models/label_sets.py", {"train/classify", "pretrain/instruct", "evaluate/classify"}),
        (
            "clinadapt/models/chat_template.py",
            INSTRUCT - {"download/instruct", "screen/instruct", "synthesize/instruct"} | {"evaluate/classify"},
        ),
        ("clinadapt/models/calibration.py", {"train/classify", "evaluate/classify"}),
        ("clinadapt/models/mirror.py", set()),
        ("clinadapt/llm_client/chat_client.py", {"synthesize/instruct", "evaluate/instruct"}),
        ("clinadapt/kubernetes/trainjob.py", set()),
        ("clinadapt/registry/export.py", set()),
        ("clinadapt/registry/garbage_collection.py", set()),
        ("clinadapt/review/server.py", set()),
        ("components/download/layouts.py", {"download/instruct"}),
        ("components/synthesize/filters.py", {"synthesize/instruct"}),
        ("components/synthesize/prompts/note.j2", {"synthesize/instruct"}),
        ("components/format/classify.py", {"format/classify"}),
        ("components/preflight/checks.py", set()),
        ("components/train/linear_probe.py", {"train/classify"}),
        ("components/train/packing.py", {"train/instruct", "pretrain/instruct", "prefer/instruct"}),
        ("components/train/dpo.py", {"prefer/instruct"}),
        ("components/train/resumable_trainer.py", TRAINING),
        ("components/evaluate/metrics.py", EVALUATION),
        ("components/evaluate/report/classify.py", set()),
        ("clinadapt/documents/page.html.j2", set()),
        ("components/evaluate/gate/instruct.py", set()),
        ("components/publish/publish_version.py", set()),
        ("pipelines/cli/main.py", set()),
        ("pipelines/instruct.py", set()),
        ("pipelines/profiles/cpu-demo.yaml", set()),
    ],
)
def test_a_comment_moves_the_steps_that_reach_it(
    moved: Callable[[str], set[str]], file: str, expected: set[str]
) -> None:
    steps = moved(file)
    print(f"{file}: {', '.join(sorted(steps)) or 'no step'}")
    assert steps == expected


def test_every_cached_step_is_covered() -> None:
    assert {step for step, _ in STEPS} == CACHED_STEPS


def test_every_data_file_of_the_steps_is_reached() -> None:
    """Or a change of a word list would go unnoticed. Reports, documents, model cards, the monitor's page, estimates and
    scans need no cache, and metadata.yaml is what a catalogue of components reads."""
    modules = [f"components.{step}.{recipe}" for step, recipe in STEPS if step not in ("pretrain", "prefer")]
    reached = {name for each in modules for name in reachable_sources(each)}
    readers = (
        "components.evaluate.gate.step",
        "components.publish.model_card",
        "clinadapt.documents.writing",
        "clinadapt.documents.monitor_page",
        "pipelines.cli.estimate",
        "pipelines.cli.phi",
    )
    uncached = {name for each in readers for name in reachable_sources(each)}
    files = {
        path.relative_to(ROOT).as_posix()
        for package in ("clinadapt", "components")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".yaml", ".j2") and path.name != "metadata.yaml"
    }
    assert files - reached - uncached == set()


def test_imports_under_type_checking_are_not_reached(sources: Path) -> None:
    path = sources / "components/format/classify.py"
    text = path.read_text(encoding="utf-8")
    guarded = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from clinadapt.review import server\n"
    path.write_text(text + guarded, encoding="utf-8")
    _forget()
    assert "clinadapt/review/server.py" not in reachable_sources("components.format.classify")
    path.write_text(
        f"{text}\n\ndef late() -> None:\n    from clinadapt.review import server  # noqa\n", encoding="utf-8"
    )
    _forget()
    assert "clinadapt/review/server.py" in reachable_sources("components.format.classify")
    path.write_text(text, encoding="utf-8")


def test_the_run_key_does_not_depend_on_how_a_number_was_handed_on() -> None:
    whole = {"num_train_epochs": 2, "lora": {"r": 16, "target_modules": ["q_proj"]}, "weight_decay": 0.0}
    double = {"num_train_epochs": 2.0, "lora": {"r": 16.0, "target_modules": ["q_proj"]}, "weight_decay": 0}
    assert run_key("data", "base", whole, "code") == run_key("data", "base", double, "code")
    assert run_key("data", "base", whole, "code") != run_key("data", "base", whole | {"num_train_epochs": 3}, "code")
