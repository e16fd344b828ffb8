"""Who may import whom, read from the source itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "components").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")])
STEPS = {path.name for path in (ROOT / "components").iterdir() if path.is_dir()} - {"common", "__pycache__"}
HEAVY = {"torch", "transformers", "peft"}
MODELS = {
    "causal.py",
    "classifier.py",
    "devices.py",
    "generator.py",
    "merged.py",
    "template.py",
}  # of common: they run models
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file names in an import, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place(path: Path) -> tuple[str, str]:
    """(top package, step) of a source file; the step of a file of `pipelines` is empty."""
    parts = path.relative_to(ROOT).parts
    return parts[0], parts[1] if parts[0] == "components" and len(parts) > 2 else ""


def may_import(package: str, step: str, name: str, module: str) -> bool:
    """Whether the file `name` of a package and step may import `module`."""
    top, *rest = module.split(".")
    if top == "components":
        return package == "pipelines" or rest[0] in ("common", step)
    if top == "pipelines":
        return package == "pipelines"
    if top == "kfp":
        return package == "pipelines" or name == "component.py"
    if top in HEAVY:
        return step in ("train", "evaluate", "review") or (step == "common" and name in MODELS)
    return top not in PICKLES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_floor_allows(path: Path) -> None:
    package, step = place(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [module for module in imported(tree) if not may_import(package, step, path.name, module)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_of_a_model_is_trusted_or_unpickled(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for keyword in (keyword for call in calls for keyword in call.keywords):
        if keyword.arg in ("trust_remote_code", "allow_pickle"):
            assert isinstance(keyword.value, ast.Constant) and keyword.value.value is False, f"line {keyword.lineno}"
    unpickled = [ast.unparse(call.func) for call in calls]
    assert not {"torch.load", "pd.read_pickle", "pandas.read_pickle"} & set(unpickled)


@pytest.mark.parametrize(
    ("file", "module", "allowed"),
    [
        ("components/train/classify.py", "components.evaluate.metrics", False),
        ("components/train/component.py", "components.evaluate.component", False),
        ("components/train/classify.py", "components.common.store.open_store", True),
        ("components/train/classify.py", "kfp.dsl", False),
        ("components/train/component.py", "kfp.dsl", True),
        ("components/train/classify.py", "pipelines.profile", False),
        ("components/train/classify.py", "torch", True),
        ("components/common/classifier.py", "peft.PeftModel", True),
        ("components/common/generator.py", "torch", True),
        ("components/common/merged.py", "peft.PeftModel", True),
        ("components/common/triples.py", "torch", False),
        ("components/export/compare.py", "torch", False),
        ("components/common/base_model.py", "transformers", False),
        ("components/format/classify.py", "torch", False),
        ("pipelines/cli.py", "torch", False),
        ("pipelines/classify.py", "kfp.dsl", True),
        ("components/common/store.py", "pickle", False),
    ],
)
def test_the_rule_itself(file: str, module: str, allowed: bool) -> None:
    path = ROOT / file
    assert may_import(*place(path), path.name, module) is allowed


def test_every_step_is_looked_at() -> None:
    assert {"preflight", "download", "format", "train", "evaluate", "publish", "review"} <= STEPS
    assert {place(path)[1] for path in SOURCES} >= STEPS


def test_the_command_loads_nothing_heavy_before_it_needs_it() -> None:
    code = "import sys, pipelines.cli; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & (HEAVY | {"kfp", "pandas", "sklearn", "scipy", "pyarrow", "gradio", "boto3", "datasets"})
    assert "typer" in loaded
