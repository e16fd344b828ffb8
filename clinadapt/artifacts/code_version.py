"""Code versions: a digest of the sources that a module can reach, so that only a change which can matter invalidates
cached outputs.

The sources that a module reaches are its own, those of every module of ours that it imports at any depth (also inside
functions, but not under TYPE_CHECKING) with the packages around them, and the data files (YAML, templates) that any of
these names in a string.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST

PACKAGES = ("clinadapt", "components", "pipelines")
CACHED_STEPS = {"download", "screen", "synthesize", "format", "pretrain", "train", "prefer", "evaluate"}
_DATA = (".yaml", ".j2")
_WITH_IMPORTS = (ast.stmt, ast.excepthandler, ast.match_case)  # nodes that are imports, or may have them inside
_QUOTED = re.compile(r'"([^"\s]+)"')


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide, with our own code, the bytes of a trained adapter or an answer."""
    names = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "scikit-learn")
    return {name: version(name) for name in names}


@cache
def code_version(module: str) -> str:
    """Package version and a digest of all sources that a module reaches: `0.1.0+1a2b3c4d5e6f`.

    Args:
        module: dotted name of a module of clinadapt, components or pipelines, such as `components.train.classify`.
    """
    digest = hashlib.sha256()
    for name, path in sorted(reachable_sources(module).items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version('clinadapt')}+{digest.hexdigest()[:12]}"


def step_code_version(step: str, recipe: str) -> str:
    """The code version of one of CACHED_STEPS."""
    other = {"pretrain": "components.train.pretrain", "prefer": "components.train.dpo"}
    return code_version(other.get(step, f"components.{step}.{recipe}"))


def training_code_version(recipe: str, preferences: bool) -> str:
    """The code version of an adapter: of train and, where preference pairs are trained on, of prefer too."""
    train = step_code_version("train", recipe)
    return f"{train}.{step_code_version('prefer', recipe).partition('+')[2]}" if preferences else train


def reachable_sources(module: str) -> dict[str, Path]:
    """Path relative to the installation -> path of every source and data file that a module reaches."""
    pending, sources = [_source(module)], dict[str, Path]()
    while pending:
        path = pending.pop()
        if (name := _relative(path)) not in sources:
            sources[name] = path
            pending += _references(path)
    return sources


def run_key(data: str, base: str, settings: dict[str, Any], code: str, gate: dict[str, Any] | None = None) -> str:
    """The version of an adapter: 16 hex digits of a hash of all that determines it.

    Args:
        data: digest of the splits.
        base: digest of the base model.
        settings: of all training stages.
        code: `code_version` of the training stages.
        gate: thresholds of the gate, so that the same training under another rule is judged again; None for a version
            that an earlier release published.
    """
    inputs = {"data": data, "base": base, "settings": _canonical(settings), "code": code}
    return sha256_json(inputs | ({"gate": _canonical(gate)} if gate else {}))[7:23]


def adapter_version(splits: Path, adapter: Path, gate: dict[str, Any] | None = None) -> str:
    """The run key of an adapter, from the folders that format and train wrote and the thresholds of the gate."""
    training = read_json(adapter / "training.json")
    digests = read_json(splits / MANIFEST)["digest"], read_json(adapter / MANIFEST)["base_digest"]
    return run_key(*digests, training["settings"], training["code_version"], gate)


def _canonical(value: Any) -> Any:
    """JSON in which 2.0 is 2: Kubeflow Pipelines hands numbers on as doubles."""
    if isinstance(value, dict):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_canonical(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def _roots() -> dict[str, Path]:
    return {package: Path(str(files(package))) for package in PACKAGES}


def _relative(path: Path) -> str:
    return next(
        f"{package}/{path.relative_to(root).as_posix()}"
        for package, root in _roots().items()
        if path.is_relative_to(root)
    )


@cache
def _references(path: Path) -> list[Path]:
    """Our own sources and data files that a source or data file refers to."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [file for name in _QUOTED.findall(text) for file in _data_files().get(name, ())]
    tree = ast.parse(text)
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    files = [file for name in strings for file in _data_files().get(name, ())]
    folders = [path.parent / name for name in strings if name.isidentifier() and (path.parent / name).is_dir()]
    inside = [file for folder in folders for file in folder.iterdir() if file.suffix in _DATA]
    return [*_imported(tree), *_packages_around(path), *files, *inside]


def _source(module: str) -> Path:
    """The file of a module or of a package's `__init__`. Raises ModuleNotFoundError."""
    package, *rest = module.split(".")
    path = _roots()[package].joinpath(*rest)
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    raise ModuleNotFoundError(module)


def _imported(tree: ast.AST) -> Iterator[Path]:
    """Sources of our own modules that the code of a module imports."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [name for alias in node.names for name in (f"{node.module}.{alias.name}", f"{node.module}")]
        for name in names:
            if name.split(".")[0] in PACKAGES:
                try:
                    yield _source(name)
                except ModuleNotFoundError:  # a function or class of the module, which is listed too
                    continue
        pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, _WITH_IMPORTS)]


def _packages_around(path: Path) -> Iterator[Path]:
    """`__init__.py` of the packages that a module is in: Python runs them before it."""
    roots = _roots().values()
    for folder in path.parents:
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
        if folder in roots:
            return


@cache
def _data_files() -> dict[str, list[Path]]:
    """File name -> data files of that name."""
    by_name: dict[str, list[Path]] = {}
    for root in _roots().values():
        for path in sorted(path for path in root.rglob("*") if path.suffix in _DATA):
            by_name.setdefault(path.name, []).append(path)
    return by_name
