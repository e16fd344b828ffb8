"""The manifest of a folder: its files with size and sha256, and the chain of steps that made it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import sha256_file, sha256_json, write_json
from clinadapt.storage.transfer import MANIFEST

IMAGE = "CLINADAPT_IMAGE"  # the image of this step, set by a cluster that names it by digest


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
