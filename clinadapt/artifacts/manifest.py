"""The manifest of a folder: its files with size and sha256, and the chain of steps that produced it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import sha256_file, sha256_json, to_json, write_json
from clinadapt.storage.transfer import MANIFEST

IMAGE = "CLINADAPT_IMAGE"  # the image that this step runs in, set where a cluster names images by digest
MANIFEST_DIGEST = "manifest_digest"  # field of a manifest: the digest of its other fields


class DamagedFolder(Exception):
    """A file of a sealed folder differs from its manifest; `file` is its name, `problem` what is wrong with it."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file} {problem}")
        self.file, self.problem = file, problem


def file_entry(path: Path) -> dict[str, Any]:
    """A file as a manifest lists it: size in bytes, sha256."""
    return {"size": path.stat().st_size, "sha256": sha256_file(path)}


def list_files(folder: Path, exclude: Iterable[str] = (MANIFEST,)) -> dict[str, dict[str, Any]]:
    """Relative path -> file_entry of every file below `folder` but the manifest itself."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: file_entry(paths[name]) for name in sorted(paths) if name not in exclude}


def write_manifest(
    folder: Path,
    fields: dict[str, Any],
    step: str = "",
    inputs: dict[str, str] | None = None,
    upstream: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Seal a folder: write the manifest of all its files, last, and return it.

    `digest` is that of the list of files and identifies the folder by content. `chain` records the provenance: one link
    per step, {step, inputs: name -> digest, output: digest}, with the image where a cluster names images by digest.

    Args:
        folder: to seal.
        fields: what else to record.
        step, inputs: the link of this folder; none without a step.
        upstream: manifests of the inputs, whose links come first.
    """
    files = list_files(folder)
    digest = sha256_json(files)
    chain = joined_chain(upstream)
    if step:
        image = {"image": os.environ[IMAGE]} if IMAGE in os.environ else {}
        chain.append({"step": step, "inputs": inputs or {}, "output": digest, **image})
    manifest = with_digest({**fields, "chain": chain, "files": files, "digest": digest})
    write_json(folder / MANIFEST, manifest)
    return manifest


def joined_chain(upstream: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The links of several manifests, each once."""
    chain: list[dict[str, Any]] = []
    for link in (link for manifest in upstream for link in manifest.get("chain", [])):
        if link not in chain:
            chain.append(link)
    return chain


def with_digest(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with `manifest_digest`, which any changed byte of the file contradicts."""
    fields = {name: value for name, value in manifest.items() if name != MANIFEST_DIGEST}
    return {**fields, MANIFEST_DIGEST: sha256_json(fields)}


def parse_manifest(data: bytes) -> dict[str, Any]:
    """The content of a manifest.json.

    Raises:
        DamagedFolder: it is not JSON, or a byte of it was changed.
    """
    try:
        manifest = json.loads(data)
        intact = manifest == with_digest(manifest) and data == to_json(manifest).encode()
        intact = intact and manifest["digest"] == sha256_json(manifest["files"])
        intact = intact and all(entry.keys() == {"size", "sha256"} for entry in manifest["files"].values())
        intact = intact and not any("\0" in name for name in manifest["files"])
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise DamagedFolder(MANIFEST, "is not a manifest") from error
    if not intact:
        raise DamagedFolder(MANIFEST, "does not match its digest")
    return dict(manifest)


def differences(
    expected: dict[str, dict[str, Any]], actual: dict[str, dict[str, Any]], reject_unlisted: str = "*"
) -> dict[str, str]:
    """File name -> what is wrong with it; empty where the folder matches its manifest.

    Args:
        expected: the files of a manifest.
        actual: as `list_files` returns them.
        reject_unlisted: pattern of the names that must not be there unless the manifest lists them; empty: none.
    """
    problems = {name: "is not listed" for name in actual.keys() - expected.keys() if fnmatch(name, reject_unlisted)}
    for name in expected:
        if name not in actual:
            problems[name] = "is missing"
        elif actual[name] != expected[name]:
            problems[name] = "differs in size or sha256"
    return dict(sorted(problems.items()))
