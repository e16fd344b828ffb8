"""The folders below manifests/, rendered by kustomize."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@functools.cache
def render(folder: str) -> list[dict[str, Any]]:
    """The documents of a folder below manifests/; `base+serving+mlflow` is a copy of it that names these components, as
    README.md says."""
    folder, *components = folder.split("+")
    with tempfile.TemporaryDirectory() as scratch:
        copied = shutil.copytree(ROOT / "manifests", Path(scratch) / "manifests") / folder
        up = "/".join(".." for _ in Path(folder).parts)
        settings = yaml.safe_load((copied / "kustomization.yaml").read_text())
        settings.setdefault("components", []).extend(f"{up}/components/{name}" for name in components)
        (copied / "kustomization.yaml").write_text(yaml.safe_dump(settings))
        return _build(copied)


def documented(overlay: str) -> list[dict[str, Any]]:
    """The documents of an overlay that README.md shows, in a block that begins with its path."""
    text = (ROOT / "manifests/README.md").read_text(encoding="utf-8")
    head = f"```yaml\n# manifests/overlays/{overlay}/kustomization.yaml"
    (block,) = (part.partition("\n```")[0] for part in text.split(head)[1:])
    with tempfile.TemporaryDirectory() as scratch:
        folder = shutil.copytree(ROOT / "manifests", Path(scratch) / "manifests") / "overlays" / overlay
        folder.mkdir()
        (folder / "kustomization.yaml").write_text(f"#{block}\n")
        return _build(folder)


def _build(folder: Path) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which renders the manifests, is not installed")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))
