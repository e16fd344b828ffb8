"""The input folders of a step, which Kubeflow Pipelines' cache may hand out after their objects were removed.

What is reused is verified here: by preflight, which lets the cached steps run again where the output of one is gone,
and by each step, since objects may go in between and not every store of artifacts can be read by preflight.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import parse_json, read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder
from clinadapt.artifacts.sealed_folder import SealedFolder, verify_folder
from clinadapt.artifacts.step_record import RUN
from clinadapt.errors import UserError
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

_GENERATION = "cache/generation"  # key of the store
GENERATION = "cache_generation"  # setting of every step that is cached, with the value of that key
# Settings that differ between runs of the same pipeline
_CHANGING = ("source_digest", "code_version", GENERATION, "champion_version", "champion_etag")


def input_folder(artifact: Any, store_uri: str) -> Path:
    """The folder of an input artifact, every file verified against its manifest.

    Where it is gone or damaged, the outputs that were cached until now are given up: the next run makes them again.

    Args:
        artifact: of KFP.
        store_uri: of the store.

    Raises:
        UserError: files are gone, or differ.
    """
    folder = Path(artifact.path)
    try:
        verify_folder(folder, reject_unlisted="")
    except DamagedFolder as error:
        with suppress(UserError):
            _give_up(open_store(store_uri))
        advice = "run again, the steps before this one then run anew"
        if error.problem.endswith("missing"):
            raise UserError(
                f"the input {artifact.uri} is gone ({error}), though Kubeflow Pipelines' cache refers to it (a "
                f"lifecycle rule, or another pipeline root): {advice}"
            ) from None
        raise UserError(f"the input {artifact.uri} is not what the step before wrote ({error}): {advice}") from None
    return folder


def input_base(uri: str, digest: str, store_uri: str) -> None:
    """Verify that a base model that pretrain made is still in the store; of any other base model nothing is asked.

    Where it is gone, as after `clinadapt registry gc`, the outputs that were cached until now are given up.

    Args:
        uri: of the base model.
        digest: its digest.
        store_uri: of the store.

    Raises:
        UserError: it is gone.
    """
    store = open_store(store_uri)
    if uri.startswith(f"{store.uri}/bases/") and not _holds(uri, digest):
        with suppress(UserError):
            _give_up(store)
        raise UserError(
            f"the base model {uri}, which pretrain made, is gone (clinadapt registry gc removes one that no version "
            "uses), though the cached output of a step refers to it: run again, the steps before this one then run anew"
        )


def record_output(artifact: Any, step: str, settings: Mapping[str, Any], store_uri: str) -> None:
    """Leave where the output of a cached step is and what it holds, for `current_generation` of later runs.

    Args:
        artifact: of KFP, written and sealed; on this machine, where there is no store of artifacts, nothing is left.
        step: that wrote it.
        settings: its settings.
        store_uri: of the store.
    """
    if not artifact.uri.startswith(("minio://", "s3://")):
        return
    record_place(artifact.uri, read_json(Path(artifact.path) / MANIFEST)["digest"], step, settings, store_uri)


def record_place(uri: str, digest: str, step: str, settings: Mapping[str, Any], store_uri: str) -> None:
    """As `record_output`, of a sealed folder that is no artifact of KFP, by its URI and digest."""
    key, inputs = _identity(step, settings)
    output = {"inputs": inputs, "uri": uri, "digest": digest}
    with suppress(UserError):
        open_store(store_uri).put(key, json.dumps(output).encode())


def current_generation(store: Store, steps: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The generation of cached outputs, a new one where an output that Kubeflow Pipelines would reuse is gone.

    Args:
        store: of the runs.
        steps: cached step -> its settings, but for the generation.

    Returns:
        The generation, and the steps whose output is gone.
    """
    generation = cache_generation(store)
    gone = [step for step, settings in steps.items() if _is_gone(store, step, {**settings, GENERATION: generation})]
    if gone:
        _give_up(store)
        generation = cache_generation(store)
    return generation, gone


def cache_generation(store: Store) -> str:
    """Name of the run that last found an output gone; empty if none did."""
    try:
        return store.get(_GENERATION)[0].decode()
    except KeyError:
        return ""


def _give_up(store: Store) -> None:
    store.put(_GENERATION, os.environ.get(RUN, "").encode())


def _identity(step: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """(key of the record of a step's output, the same for all runs with these settings; digest of all its settings)."""
    plain = _as_passed(settings)
    lasting = {name: value for name, value in plain.items() if name not in _CHANGING}
    return f"cache/outputs/{step}-{sha256_json(lasting)[7:23]}.json", sha256_json(plain)


def _as_passed(value: Any) -> Any:
    """A value as it arrives in a step, whichever side looks at it: protobuf has no integers and KFP passes no nulls."""
    if isinstance(value, Mapping):
        return {name: _as_passed(each) for name, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_as_passed(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_gone(store: Store, step: str, settings: Mapping[str, Any]) -> bool:
    """Whether the output of these settings was written and is there no more. False where that cannot be known."""
    key, inputs = _identity(step, settings)
    with suppress(KeyError, ValueError, TypeError, UserError):
        output = parse_json(store.get(key)[0])
        if output["inputs"] != inputs:
            return False
        return not _holds(output["uri"], output["digest"])
    return False


def _holds(uri: str, digest: str) -> bool:
    """Whether there is a sealed folder of this digest at a URI. Raises UserError where that cannot be read."""
    root, _, prefix = uri.replace("minio://", "s3://", 1).rpartition("/")
    folder = SealedFolder(open_store(root), prefix)
    try:
        return bool(folder.read_manifest()["digest"] == digest)
    except (KeyError, DamagedFolder):
        return False
