"""Digests of code and libraries, and the run key made of them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST


def libraries() -> dict[str, str]:
    """Versions of those that decide, with our code, the bytes that a training or an answer comes to."""
    names = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "trl", "tokenizers", "scikit-learn")
    return {name: version(name) for name in names}


@cache
def code_version() -> str:
    """Package version and a digest of the sources of clinadapt, components and pipelines: `0.1.0+1a2b3c4d5e6f`.

    What pipelines/ says in YAML (profiles, clusters, schedules, compiled) is no code.
    """
    digest = hashlib.sha256()
    for package in ("clinadapt", "components", "pipelines"):
        root = Path(str(files(package)))
        for path in sorted([*root.rglob("*.py"), *root.rglob("*.j2"), *root.rglob("*.yaml")]):
            if package != "pipelines" or path.suffix == ".py":
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version('clinadapt')}+{digest.hexdigest()[:12]}"


def run_key(splits: Path, adapter: Path) -> str:
    """What names a run by content: data, base model, settings and code, as 16 hex digits.

    Args:
        splits, adapter: folders that format and train wrote.
    """
    base = read_json(adapter / MANIFEST)["base_digest"]
    settings = read_json(adapter / "training.json")["settings"]
    return run_key_of(read_json(splits / MANIFEST)["digest"], base, settings, code_version())


def run_key_of(data: str, base: str, settings: dict[str, Any], code: str) -> str:
    """The run key of these digests, settings and code version."""
    return sha256_json({"data": data, "base": base, "settings": settings, "code": code})[7:23]
