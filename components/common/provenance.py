"""Digests and versions: everything a run used is named by its content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
IMAGE = "CLINADAPT_IMAGE"  # the image of this step, set by a cluster that names it by digest


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


def first_difference(wanted: dict[str, Any], found: dict[str, Any]) -> str | None:
    """The first file that is missing, is another one or is not listed, of two such lists; None where they agree."""
    return next((name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)), None)


def libraries() -> dict[str, str]:
    """Versions of those that decide, with our code, the bytes that a training or an answer comes to."""
    names = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "trl", "tokenizers", "scikit-learn")
    return {name: version(name) for name in names}


def write_manifest(
    folder: Path,
    facts: dict[str, Any],
    step: str = "",
    inputs: dict[str, str] | None = None,
    after: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Seal a folder: list its files with size and sha256 beside `facts`. Written last means done.

    `chain` says what came of what: a link for each step, {step, inputs: name -> digest, output: digest}, and the image
    that it ran in, where the cluster names images by digest.

    Args:
        folder, facts: see above.
        step, inputs: the link of this very folder; none without them.
        after: manifests of what went in, whose links come before.
    """
    listed = list_files(folder)
    digest = sha256_json(listed)
    chain: list[dict[str, Any]] = []
    for link in (link for manifest in after for link in manifest.get("chain", [])):
        if link not in chain:
            chain.append(link)
    if step:
        image = {"image": os.environ[IMAGE]} if IMAGE in os.environ else {}
        chain.append({"step": step, "inputs": inputs or {}, "output": digest, **image})
    manifest = {**facts, "chain": chain, "files": listed, "digest": digest}
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
