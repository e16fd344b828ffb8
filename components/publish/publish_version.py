"""Publish an adapter: an immutable version in the store, proven to answer as it did in the evaluation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import read_json, sha256_file, sha256_json, to_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.signing import envelope, seal
from clinadapt.artifacts.slsa import statement
from clinadapt.artifacts.step_record import RUN, log
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import AdapterCard, ClassifyCard, InstructCard, adapter_recipe
from clinadapt.registry.champion import champion, history, now, promote, who
from clinadapt.registry.kubeflow_model_registry import tell
from clinadapt.registry.versions import headline
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Conflict, Store
from clinadapt.storage.transfer import delete_folder, upload_folder
from components.publish.model_card import model_card

_NOT_WEIGHTS = {MANIFEST, "training.json"}
_PATIENCE = 60  # seconds for another run to finish the very same version


def run(splits: Path, adapter: Path, evaluation: Path, verdict: Path, store_uri: str, name: str) -> dict[str, Any]:
    """Write `adapters/<name>/<version>/` (manifest last) and move the champion pointer; return `uri` and `version`.

    The version is the run key, so the same run publishes the same version once. Then a model registry is told, where
    its address is given; what came of that is returned as `model_registry`.

    Raises:
        UserError: the reloaded adapter does not answer as in the evaluation, or the champion has moved meanwhile.
    """
    facts = read_json(verdict / "verdict.json")
    version = facts["version"]
    store = open_store(store_uri)
    prefix = f"adapters/{name}/{version}"
    if store.exists(f"{prefix}/{MANIFEST}"):
        log("publish", f"{name} {version} is published already")
        _reload(store, prefix, splits, evaluation)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            _assemble(Path(scratch), splits, adapter, evaluation, verdict, name, version, store)
            manifest = (Path(scratch) / MANIFEST).read_bytes()
            (Path(scratch) / MANIFEST).unlink()
            _prove(Path(scratch), store, splits, evaluation)
            if not _put_in_place(Path(scratch), manifest, store, prefix):
                log("publish", f"another run has published {name} {version} meanwhile")
                _reload(store, prefix, splits, evaluation)
    scores = facts["evaluation"]
    if _rolled_back(store, name, version):
        log("publish", f"{name} {version} was rolled back: clinadapt registry promote brings it back")
    else:
        if (champion(store, name) or ("", ""))[0] != version:
            _promote(store, name, version, scores, facts["code_version"])
        log("publish", f"{name} {version} is the champion")
    return {"uri": f"{store.uri}/{prefix}", "version": version, **tell(store, name, version, partial(log, "publish"))}


def _rolled_back(store: Store, name: str, version: str) -> bool:
    """Whether the last thing that somebody did was to go back from this very version."""
    last = history(store, name)[-1:]
    return bool(last) and last[0]["rollback"] and last[0]["previous"] == version


def _promote(store: Store, name: str, version: str, scores: dict[str, Any], code_version: str) -> None:
    metrics = scores["models"]["candidate"]["metrics"]
    facts = {headline(metrics): metrics[headline(metrics)], "code_version": code_version}
    try:
        promote(store, name, version, scores["champion_etag"], facts)
    except UserError:
        if (champion(store, name) or ("", ""))[0] != version:  # else another run of the same key was faster
            raise


def _assemble(
    folder: Path, splits: Path, adapter: Path, evaluation: Path, verdict: Path, name: str, version: str, store: Store
) -> None:
    """Gather all files of a version in `folder`; seal them with the manifest."""
    for path in (p for p in adapter.iterdir() if p.name not in _NOT_WEIGHTS):
        shutil.copyfile(path, folder / path.name)
    shutil.copyfile(verdict / "report.html", folder / "report.html")
    shutil.copyfile(adapter / "training.json", folder / "training.json")
    scores = read_json(evaluation / "evaluation.json")
    write_json(folder / "evaluation.json", scores)
    card = _card(adapter, scores)
    card.write(folder)
    facts = {
        "name": name,
        "version": version,
        "recipe": adapter_recipe(adapter),
        "dataset_digest": read_json(splits / MANIFEST)["dataset_digest"],
        "splits_digest": read_json(splits / MANIFEST)["digest"],
        "base_model": card.base_model,
        "base_digest": card.base_digest,
        "settings": read_json(adapter / "training.json")["settings"],
        "settings_digest": sha256_json(read_json(adapter / "training.json")["settings"]),
        "code_version": read_json(adapter / "training.json")["code_version"],
        "metrics": scores["models"]["candidate"]["metrics"],
        "created": now(),
        "by": who(),
        **_started(store),
    }
    data = read_json(splits / MANIFEST)
    model_card(facts, card, scores, data).save(folder / "README.md")
    before = [_manifest_of_base(card.base_model), read_json(verdict / MANIFEST)]
    manifest = write_manifest(folder, facts, after=before)
    write_json(folder / MANIFEST, seal({**manifest, **envelope(to_json(statement(manifest)).encode())}))


def _started(store: Store) -> dict[str, str]:
    """When the run began, by the record of its first step."""
    try:
        return {"started": json.loads(store.get(f"runs/{os.environ[RUN]}/preflight.json")[0])["started"]}
    except KeyError:  # published by hand
        return {}


def _manifest_of_base(uri: str) -> dict[str, Any]:
    """What pretrain wrote beside a base model; empty for another one."""
    try:
        return dict(json.loads(open_store(uri).get(MANIFEST)[0])) if uri.startswith(("file://", "s3://")) else {}
    except KeyError:
        return {}


def _card(adapter: Path, scores: dict[str, Any]) -> AdapterCard:
    """The adapter's own facts; of a classifier with the temperature that the evaluation found."""
    if adapter_recipe(adapter) == "instruct":
        return InstructCard.read(adapter)
    return ClassifyCard.read(adapter).model_copy(update={"temperature": scores["models"]["candidate"]["temperature"]})


def _prove(folder: Path, store: Store, splits: Path, evaluation: Path) -> None:
    """Reload the files from where nobody looks (`staging/`). Raises UserError when they do not answer as evaluated."""
    staging = f"staging/{uuid.uuid4().hex}"
    try:
        upload_folder(store, folder, staging)
        _reload(store, staging, splits, evaluation)
    finally:
        delete_folder(store, staging)


def _put_in_place(folder: Path, manifest: bytes, store: Store, prefix: str) -> bool:
    """Write the version, the manifest last. No file is ever overwritten, so that two publishers cannot mix theirs.

    Returns:
        False where another run was faster.

    Raises:
        UserError: other files lie there, and nobody finishes them.
    """
    for path in sorted(folder.iterdir()):
        key = f"{prefix}/{path.name}"
        try:
            store.upload(path, key, if_absent=True)
        except Conflict as error:
            try:
                same = _same(store, key, path)
            except KeyError:  # gc has taken it meanwhile
                store.upload(path, key)
                same = True
            if not same:
                if _appears(store, f"{prefix}/{MANIFEST}"):
                    return False
                raise UserError(
                    f"another run began to publish this very version and did not finish ({key} is its own): "
                    "if it was killed, run clinadapt registry gc --unfinished-hours 0 --delete, then run again"
                ) from error
    try:
        store.put(f"{prefix}/{MANIFEST}", manifest, if_absent=True)
    except Conflict:
        return False
    if {f"{prefix}/{path.name}" for path in folder.iterdir()} - set(store.list(f"{prefix}/")):
        store.delete(f"{prefix}/{MANIFEST}")
        raise UserError(f"files of {prefix} were removed while it was published: run again, and let gc wait")
    return True


def _same(store: Store, key: str, path: Path) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        store.download(key, Path(scratch) / "copy")
        return sha256_file(Path(scratch) / "copy") == sha256_file(path)


def _appears(store: Store, key: str) -> bool:
    for _ in range(_PATIENCE):
        if store.exists(key):
            return True
        time.sleep(1)
    return False


def _reload(store: Store, prefix: str, splits: Path, evaluation: Path) -> None:
    """Answer held-out notes in a fresh process with the files in the store; compare with the evaluation.

    Raises:
        UserError: the answers differ, or the adapter does not load.
    """
    log("publish", "reloading the adapter from the store in a fresh process")
    command = [
        sys.executable,
        "-m",
        "clinadapt.registry.reload_check",
        store.uri,
        prefix,
        str(splits),
        str(evaluation),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        reason = answer.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UserError(f"the adapter in the store cannot be reloaded, so it is not published: {reason[0]}")
    result = json.loads(answer.stdout)
    if result["different"]:
        how = f" (logits differ by up to {result['largest']:.2g})" if "largest" in result else ""
        raise UserError(
            f"the reloaded adapter gives {result['different']} of {result['answers']} held-out answers otherwise{how}, "
            "so it is not published: evaluate and publish on the same kind of processor"
        )
    log("publish", f"{result['answers']} held-out answers: the same as in the evaluation")
