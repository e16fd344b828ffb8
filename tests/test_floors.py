"""Who may import whom, by package, read from the source itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support import ROOT

SOURCES = sorted(path for top in ("clinadapt", "components", "pipelines") for path in (ROOT / top).rglob("*.py"))
STEPS = {path.parent.name for path in (ROOT / "components").glob("*/component.py")}
# Packages of the library from the ground up: each imports itself and those of lower floors
FLOORS = (
    {"errors"},
    {"config"},
    {"storage"},
    {"artifacts"},
    {"data", "clinical", "models", "kubernetes", "llm_client"},
    {"privacy", "evaluation", "monitoring"},
    {"feedback"},
    {"registry"},
    {"documents"},
    {"review", "serving"},
)
HEAVY = {"torch", "transformers", "peft"}
HAS_TORCH = {("clinadapt", "models"), ("components", "train"), ("components", "evaluate")}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file names in an import, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(file: str) -> tuple[str, str]:
    """(top package, package or module in it) of a source file by its path from the root; the second is empty for a
    file of the top package itself."""
    top, second, *_ = (*Path(file).with_suffix("").parts, "")
    return top, "" if second == "__init__" else second


def floor(package: str) -> int:
    """The floor of a package of the library."""
    return next(number for number, packages in enumerate(FLOORS) if package in packages)


def may_import(file: str, module: str) -> bool:
    """Whether a source file, by its path from the root, may import `module`."""
    top, package = package_of(file)
    wanted, *rest = module.split(".")
    if wanted == "clinadapt":
        return top != "clinadapt" or rest[0] == package or floor(rest[0]) < floor(package)
    if wanted == "components":
        return rest[1] == "component" if top == "pipelines" else top == "components" and rest[0] == package
    if wanted == "pipelines":
        return top == "pipelines"
    if wanted == "kfp":
        return top == "pipelines" or (top == "components" and file.endswith("/component.py"))
    if wanted in HEAVY:
        return (top, package) in HAS_TORCH
    return wanted not in PICKLES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_floor_allows(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    file = path.relative_to(ROOT).as_posix()
    assert [module for module in imported(tree) if not may_import(file, module)] == []


def test_no_module_imports_itself_through_others() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES
    }
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        wanted = imported(ast.parse(path.read_text(encoding="utf-8")))
        targets = {each if each in modules else each.rpartition(".")[0] for each in wanted}
        graph[name] = {target for target in targets if target in modules}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


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
        ("clinadapt/storage/s3_store.py", "clinadapt.errors.UserError", True),
        ("clinadapt/storage/s3_store.py", "clinadapt.artifacts.hashing.sha256_file", False),
        ("clinadapt/artifacts/manifest.py", "clinadapt.storage.open_store", True),
        ("clinadapt/models/generator.py", "torch", True),
        ("clinadapt/models/generator.py", "clinadapt.data.tables.iter_rows", False),
        ("clinadapt/registry/versions.py", "clinadapt.models.adapter_card.ClassifyCard", True),
        ("clinadapt/registry/versions.py", "clinadapt.review.server", False),
        ("clinadapt/feedback/flags.py", "clinadapt.registry.versions", False),
        ("clinadapt/registry/versions.py", "torch", False),
        ("clinadapt/errors.py", "clinadapt.config.base.Section", False),
        ("clinadapt/data/readers.py", "kfp.dsl", False),
        ("clinadapt/data/readers.py", "components.download.layouts", False),
        ("clinadapt/storage/__init__.py", "pickle", False),
        ("components/train/classify.py", "components.evaluate.metrics", False),
        ("components/train/component.py", "components.evaluate.component", False),
        ("components/train/classify.py", "clinadapt.storage.open_store", True),
        ("components/train/classify.py", "kfp.dsl", False),
        ("components/train/component.py", "kfp.dsl", True),
        ("components/train/classify.py", "pipelines.named_settings", False),
        ("components/train/classify.py", "torch", True),
        ("components/format/classify.py", "torch", False),
        ("pipelines/cli/main.py", "torch", False),
        ("pipelines/classify.py", "kfp.dsl", True),
        ("pipelines/classify.py", "components.train.component.train_classifier", True),
        ("pipelines/classify.py", "components.train.classify.run", False),
    ],
)
def test_the_rule_itself(file: str, module: str, allowed: bool) -> None:
    assert may_import(file, module) is allowed


def test_every_package_has_a_floor() -> None:
    there = {
        package_of(path.relative_to(ROOT).as_posix())[1]
        for path in SOURCES
        if path.parts[len(ROOT.parts)] == "clinadapt"
    }
    assert there - {""} == set().union(*FLOORS)
    assert {
        "preflight", "download", "screen", "synthesize", "format", "train", "evaluate", "publish", "monitor"
    } == STEPS  # fmt: skip


def test_the_command_loads_nothing_heavy_before_it_needs_it() -> None:
    code = "import sys, pipelines.cli.main; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & (HEAVY | {"kfp", "pandas", "sklearn", "scipy", "pyarrow", "gradio", "boto3", "datasets"})
    assert "typer" in loaded


def test_the_library_needs_no_kfp() -> None:
    code = """
import sys
sys.modules["kfp"] = None  # an import of it fails
import importlib, pkgutil, clinadapt
for module in pkgutil.walk_packages(clinadapt.__path__, "clinadapt."):
    importlib.import_module(module.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def interface(node: ast.FunctionDef) -> bool:
    """Whether a function's length is that of its signature or of a graph: KFP components, pipelines, commands."""
    decorators = " ".join(map(ast.unparse, node.decorator_list))
    return "dsl." in decorators or "typer.Option" in ast.unparse(node.args) or node.name == "build"


def test_modules_and_functions_fit_a_reader() -> None:
    """A module has at most 400 lines, a function at most 60."""
    long = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions if not interface(node)}
        long += [f"{path.name}: {name}" for name, lines in lengths.items() if lines > 60]
        long += [path.name] if len(text.splitlines()) > 400 else []
    assert long == []
