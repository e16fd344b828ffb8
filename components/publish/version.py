"""Publish an adapter: an immutable version in the store, proven to answer as it did in the evaluation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from components.common.adapter import Card, champion, promote
from components.common.errors import UserError
from components.common.provenance import (
    MANIFEST,
    code_version,
    read_json,
    sha256_json,
    write_json,
    write_manifest,
)
from components.common.steps import say
from components.common.store import Conflict, Store, open_store, upload_folder
from components.publish.model_card import model_card

_NOT_WEIGHTS = {MANIFEST, "training.json"}


def run(splits: Path, adapter: Path, evaluation: Path, verdict: Path, store_uri: str, name: str) -> dict[str, Any]:
    """Write `adapters/<name>/<version>/` (manifest last) and move the champion pointer; return `uri` and `version`.

    The version is the run key, so the same run publishes the same version once.

    Raises:
        UserError: the reloaded adapter does not answer as in the evaluation, or the champion has moved meanwhile.
    """
    facts = read_json(verdict / "verdict.json")
    version = facts["version"]
    store = open_store(store_uri)
    prefix = f"adapters/{name}/{version}"
    if store.exists(f"{prefix}/{MANIFEST}"):
        say("publish", f"{name} {version} is published already")
        _reload(store, prefix, splits, evaluation)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            _assemble(Path(scratch), splits, adapter, evaluation, verdict, name, version)
            _publish(Path(scratch), store, prefix, splits, evaluation)
    scores = facts["evaluation"]
    if (champion(store, name) or ("", ""))[0] != version:
        accuracy = scores["models"]["after"]["metrics"]["accuracy"]
        promote(
            store,
            name,
            version,
            scores["champion_etag"],
            {"accuracy": accuracy, "code_version": code_version()},
        )
    say("publish", f"{name} {version} is the champion")
    return {"uri": f"{store.uri}/{prefix}", "version": version}


def _assemble(
    folder: Path, splits: Path, adapter: Path, evaluation: Path, verdict: Path, name: str, version: str
) -> None:
    """Gather all files of a version in `folder`; seal them with the manifest."""
    for path in (p for p in adapter.iterdir() if p.name not in _NOT_WEIGHTS):
        shutil.copyfile(path, folder / path.name)
    shutil.copyfile(verdict / "report.html", folder / "report.html")
    shutil.copyfile(adapter / "training.json", folder / "training.json")
    scores = read_json(evaluation / "evaluation.json")
    write_json(folder / "evaluation.json", scores)
    card = Card.read(adapter).model_copy(update={"temperature": scores["models"]["after"]["temperature"]})
    card.write(folder)
    facts = {
        "name": name,
        "version": version,
        "dataset_digest": read_json(splits / MANIFEST)["dataset_digest"],
        "splits_digest": read_json(splits / MANIFEST)["digest"],
        "base_model": card.base_model,
        "base_digest": card.base_digest,
        "settings": read_json(adapter / "training.json")["settings"],
        "settings_digest": sha256_json(read_json(adapter / "training.json")["settings"]),
        "code_version": code_version(),
        "metrics": scores["models"]["after"]["metrics"],
    }
    data = read_json(splits / MANIFEST)
    model_card(facts, card, scores, data).save(folder / "README.md")
    write_manifest(folder, facts)


def _publish(folder: Path, store: Store, prefix: str, splits: Path, evaluation: Path) -> None:
    """Prove the files where nobody looks (`staging/`), then put them in their place, the manifest last."""
    staging = f"staging/{uuid.uuid4().hex}"
    manifest = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).unlink()
    try:
        upload_folder(store, folder, staging)
        _reload(store, staging, splits, evaluation)
    finally:
        for key in store.list(f"{staging}/"):
            store.delete(key)
    if store.exists(f"{prefix}/{MANIFEST}"):
        raise UserError("another run has published this very version meanwhile: run again to compare with it")
    upload_folder(store, folder, prefix)
    try:
        store.put(f"{prefix}/{MANIFEST}", manifest, if_absent=True)
    except Conflict as error:
        raise UserError("another run was publishing this very version: publish it again from other settings") from error


def _reload(store: Store, prefix: str, splits: Path, evaluation: Path) -> None:
    """Predict the held-out notes in a fresh process with the files in the store; compare with the evaluation.

    Raises:
        UserError: the predictions differ, or the adapter does not load.
    """
    say("publish", "reloading the adapter from the store in a fresh process")
    command = [
        sys.executable,
        "-m",
        "components.common.reload",
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
        raise UserError(
            f"{result['different']} of {result['notes']} held-out notes get other probabilities from the reloaded "
            f"adapter (by up to {result['largest']:.2g}), so it is not published: "
            "evaluate and publish on the same kind of processor"
        )
    say("publish", f"{result['notes']} held-out notes: the same predictions as in the evaluation")
