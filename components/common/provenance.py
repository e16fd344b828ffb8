"""Digests and versions: everything a run used is named by its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def sha256_file(path: Path) -> str:
    """`sha256:<hex>` of a file, read in blocks."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """`sha256:<hex>` of a JSON value in canonical form (sorted keys, no blanks)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def list_files(folder: Path, exclude: Iterable[str] = (MANIFEST,)) -> dict[str, dict[str, Any]]:
    """Relative path -> {size in bytes, sha256} of every file below `folder` but the manifest itself."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    names = {p.relative_to(folder).as_posix(): p for p in paths}
    return {
        name: {"size": path.stat().st_size, "sha256": sha256_file(path)}
        for name, path in names.items()
        if name not in exclude
    }


def write_manifest(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Seal a folder: list its files with size and sha256 beside `facts`. Written last means done."""
    listed = list_files(folder)
    manifest = {**facts, "files": listed, "digest": sha256_json(listed)}
    write_json(folder / MANIFEST, manifest)
    return manifest


def write_json(path: Path, value: Any) -> None:
    """Write JSON to be read by people and diffs: indented, one trailing newline."""
    path.write_text(to_json(value), encoding="utf-8")


def to_json(value: Any) -> str:
    """JSON as it stands in a file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


@cache
def code_version() -> str:
    """Package version and a digest of the sources of components and pipelines: `0.1.0+1a2b3c4d5e6f`.

    What pipelines/ says in YAML (profiles, clusters, schedules, compiled) is no code.
    """
    digest = hashlib.sha256()
    for package in ("components", "pipelines"):
        root = Path(str(files(package)))
        for path in sorted([*root.rglob("*.py"), *root.rglob("*.j2"), *root.rglob("*.yaml")]):
            if package == "components" or path.suffix == ".py":
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version('clinadapt')}+{digest.hexdigest()[:12]}"


def run_key(splits: Path, adapter: Path) -> str:
    """What names a run by content: data, base model, settings and code, as 16 hex digits.

    Args:
        splits, adapter: folders that format and train wrote.
    """
    base = read_json(adapter / MANIFEST)["base_digest"]
    settings = read_json(adapter / "training.json")["settings"]
    return name_run(read_json(splits / MANIFEST)["digest"], base, settings, code_version())


def name_run(data: str, base: str, settings: dict[str, Any], code: str) -> str:
    """The run key of these digests, settings and code version."""
    return sha256_json({"data": data, "base": base, "settings": settings, "code": code})[7:23]
