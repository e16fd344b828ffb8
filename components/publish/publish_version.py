"""Publish an adapter as an immutable version, after reloading it from the store and comparing its answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from clinadapt.artifacts.code_version import library_versions
from clinadapt.artifacts.hashing import read_json, sha256_file, sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, joined_chain, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.signing import sign_manifest
from clinadapt.artifacts.slsa import provenance
from clinadapt.artifacts.step_record import RUN, log, utc_now
from clinadapt.config.base import ChangeControl
from clinadapt.documents.writing import CONFORMANCE, write_version_documents
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import AdapterCard, ClassifyCard, InstructCard, adapter_recipe
from clinadapt.privacy.written_texts import direct_identifiers, names_nobody
from clinadapt.registry.approval.decisions import propose, refuse_weaker
from clinadapt.registry.approval.standing import policy_of
from clinadapt.registry.champion import actor, champion, history, promote
from clinadapt.registry.kubeflow_model_registry import register_if_configured
from clinadapt.registry.pretrained_bases import base_manifest
from clinadapt.registry.versions import VERDICT, headline, is_verdict, version_folder
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import delete_folder, upload_folder
from components.publish.model_card import model_card
from components.publish.review_queue import queue_answers

_NOT_COPIED = {MANIFEST, "training.json"}  # of the adapter's folder: they are written anew
_OF_SPLITS_ONLY = {"files", "chain", "digest", "manifest_digest"}  # fields of their manifest that data.json leaves out
_OF_VERDICT = ("decision", "sentence", "outcome", "checks", "loosened", "created")  # the rest stands in other records


class Inputs(NamedTuple):
    """Folders that the steps format, train, evaluate and gate wrote."""

    splits: Path
    adapter: Path
    evaluation: Path
    verdict: Path


def run(
    splits: Path,
    adapter: Path,
    evaluation: Path,
    verdict: Path,
    store_uri: str,
    name: str,
    reviewers: int = 2,
    change_control: dict[str, Any] | None = None,
    started_by: str = "",
) -> dict[str, Any]:
    """Write the sealed folder `adapters/<name>/<version>/`, queue its answers for review and make it the champion, or,
    where the gate's settings ask for approval, propose it to the people who have to approve it.

    The version is the run key, so that the same run publishes one version only. A version that somebody rolled back
    stays rolled back. Then the version is registered in the model registry, if one is configured.

    Args:
        splits, adapter, evaluation, verdict: what the steps before wrote.
        store_uri: the store to publish in.
        name: of the adapter.
        reviewers: people who have to agree about a queued answer.
        change_control: section of the profile; without bounds when None.
        started_by: who started the run, and so may not approve it.

    Returns:
        uri, version, where approval is needed `state` and `sentence` (what it waits for), and, where a model registry
        is configured, model_registry (what happened there).

    Raises:
        UserError: the gate did not pass it, the reloaded adapter gives other answers than in the evaluation, another
            run has promoted a version meanwhile, people have refused this version, or the adapter needs more approvals
            than this run asks for.
    """
    inputs = Inputs(splits, adapter, evaluation, verdict)
    gate = _passed(verdict)
    store, version = open_store(store_uri), gate["version"]
    target = version_folder(store, name, version)
    policy = policy_of({"name": name, "version": version, "gate": gate["thresholds"]})
    refuse_weaker(store, name, policy)
    if target.exists():
        log("publish", f"{name} {version} is published already")
        _check_reload(target, inputs)
    else:
        control = change_control or ChangeControl().model_dump()
        _publish(target, inputs, name, version, {"change_control": control} | _starter(started_by))
    queue_answers(splits, adapter, evaluation, store, name, version, reviewers)
    outcome = {}
    if policy:
        report = sha256_file(verdict / "report.html") if os.environ.get(RUN) else ""  # the gate has stored it
        outcome = _propose(store, name, version, gate, started_by, report)
    elif _was_rolled_back(store, name, version):
        log("publish", f"{name} {version} was rolled back: promote it with clinadapt registry promote")
    else:
        if (champion(store, name) or ("", ""))[0] != version:
            _promote(store, name, version, gate["evaluation"], gate["code_version"])
        log("publish", f"{name} {version} is the champion")
    registered = register_if_configured(store, name, version, partial(log, "publish"))
    return {"uri": f"{store.uri}/{target.prefix}", "version": version, **outcome, **registered}


def _passed(verdict: Path) -> dict[str, Any]:
    """What the gate said. Raises UserError where that is not that the candidate may be published."""
    gate: dict[str, Any] = read_json(verdict / VERDICT)
    if not is_verdict(gate):
        raise UserError(f"not published: {verdict / VERDICT} is no verdict: judge the evaluation again")
    if gate["decision"] != "pass":
        raise UserError(f"not published: {gate.get('outcome', 'the gate did not pass it')}")
    return gate


def _starter(started_by: str) -> dict[str, str]:
    return {"started_by": started_by} if started_by else {}


def _publish(target: SealedFolder, inputs: Inputs, name: str, version: str, settings: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="clinadapt-publish-") as scratch:
        folder = Path(scratch)
        fields = _assemble(folder, inputs, target.store, name, version)
        base = base_manifest(fields["base_model"])
        upstream = [base, read_json(inputs.verdict / MANIFEST)]
        fields |= settings | {"libraries": library_versions()}
        fields |= {"pretraining": base["settings"]} if "pretraining" in base else {}
        shares = write_version_documents(folder, fields | {"chain": joined_chain(upstream)})
        fields |= {"documents": shares, "created": utc_now()}
        _check_staged(folder, target.store, inputs)
        manifest = write_manifest(folder, fields, upstream=upstream)
        write_json(folder / MANIFEST, sign_manifest(manifest, provenance(manifest)))
        if not target.publish(folder, if_absent=True):
            log("publish", f"another run has published {name} {version} meanwhile")
            _check_reload(target, inputs)


def _was_rolled_back(store: Store, name: str, version: str) -> bool:
    """Whether the last entry of the history is a rollback from this version."""
    last = history(store, name)[-1:]
    return bool(last) and last[0]["rollback"] and last[0]["previous"] == version


def _propose(
    store: Store, name: str, version: str, gate: dict[str, Any], started_by: str, report: str
) -> dict[str, str]:
    """Propose a version; return its state and what it waits for. Raises UserError where people have refused it."""
    evaluation = gate["evaluation"]
    fields = _history_fields(evaluation, gate["code_version"])
    standing = propose(store, name, version, evaluation["champion_version"], actor(), started_by, fields, report)
    if standing.state == "refused":
        raise UserError(f"{name}/{version} was {standing.sentence()}; that is final: train another version")
    log("publish", f"{name} {version}: {standing.sentence()}")
    if standing.state not in ("awaiting approval", "approved"):
        return {}
    return {"state": "awaiting approval", "sentence": standing.sentence()}


def _history_fields(evaluation: dict[str, Any], code_version: str) -> dict[str, Any]:
    """What an entry of the champion's history records of a version."""
    metrics = evaluation["models"]["candidate"]["metrics"]
    fields = {headline(metrics): metrics[headline(metrics)], "code_version": code_version}
    return fields | {"held_out_digest": evaluation["held_out_digest"]}


def _promote(store: Store, name: str, version: str, evaluation: dict[str, Any], code_version: str) -> None:
    fields = _history_fields(evaluation, code_version)
    try:
        promote(store, name, version, evaluation["champion_etag"], fields)
    except UserError:
        if (champion(store, name) or ("", ""))[0] != version:  # else another run of the same version was faster
            raise


def _assemble(folder: Path, inputs: Inputs, store: Store, name: str, version: str) -> dict[str, Any]:
    """Write all files of a version but its manifest; return the fields of the manifest."""
    adapter, evaluation = inputs.adapter, read_json(inputs.evaluation / "evaluation.json")
    for path in (path for path in adapter.iterdir() if path.name not in _NOT_COPIED):
        shutil.copyfile(path, folder / path.name)
    for file in ("report.html", CONFORMANCE):
        shutil.copyfile(inputs.verdict / file, folder / file)
    shutil.copyfile(adapter / "training.json", folder / "training.json")
    write_json(folder / "evaluation.json", evaluation)
    verdict = read_json(inputs.verdict / VERDICT)
    write_json(folder / VERDICT, {field: verdict[field] for field in _OF_VERDICT if field in verdict})
    card = _calibrated_card(adapter, evaluation)
    card.write(folder)
    splits, training = read_json(inputs.splits / MANIFEST), read_json(adapter / "training.json")
    refuse_identifiers(card, splits)
    write_json(folder / "data.json", _data_record(splits))
    fields = {
        "name": name,
        "version": version,
        "recipe": adapter_recipe(adapter),
        "dataset_digest": splits["dataset_digest"],
        "splits_digest": splits["digest"],
        "base_model": card.base_model,
        "base_digest": card.base_digest,
        "settings": training["settings"],
        "settings_digest": sha256_json(training["settings"]),
        "code_version": training["code_version"],
        "gate": verdict["thresholds"],
        "metrics": evaluation["models"]["candidate"]["metrics"],
        "published_by": actor(),
        **_run_start(store),
    }
    model_card(fields, card, evaluation, splits, verdict).save(folder / "README.md")
    return fields


def _data_record(splits: dict[str, Any]) -> dict[str, Any]:
    """What the version records of its data: the manifest of the splits without files, and of labels that were left out,
    which nobody has screened, their number alone."""
    record = {field: value for field, value in splits.items() if field not in _OF_SPLITS_ONLY}
    return record | ({"rare_labels": len(record["rare_labels"])} if "rare_labels" in record else {})


def refuse_identifiers(card: AdapterCard, splits: dict[str, Any]) -> None:
    """Raises UserError where what the model card shows of the data or of the profile names somebody directly. The
    labels of a screened dataset have been screened with it, unless the profile only counts a type that names somebody
    directly."""
    phi = splits.get("phi", {})
    labels = card.labels if isinstance(card, ClassifyCard) and not names_nobody(phi) else []
    shown = {"a label": labels, "phi.reason": [phi.get("reason", "")]}
    for what, texts in shown.items():
        if kinds := sorted({kind for text in texts for kind in direct_identifiers(text)}):
            raise UserError(f"not published, {what} on the model card names somebody ({', '.join(kinds)}): change it")


def _run_start(store: Store) -> dict[str, str]:
    """{started: time} of the run's first step; empty where publish does not run in a pipeline."""
    try:
        return {"started": json.loads(store.get(f"runs/{os.environ[RUN]}/preflight.json")[0])["started"]}
    except KeyError:
        return {}


def _calibrated_card(adapter: Path, evaluation: dict[str, Any]) -> AdapterCard:
    """The adapter's card; a classifier's with the temperature and the threshold that the evaluation fitted."""
    if adapter_recipe(adapter) == "instruct":
        return InstructCard.read(adapter)
    temperature = evaluation["models"]["candidate"]["temperature"]
    fitted = {"temperature": temperature, "unsure_below": evaluation["abstention"]["threshold"]}
    return ClassifyCard.read(adapter).model_copy(update=fitted)


def _check_staged(folder: Path, store: Store, inputs: Inputs) -> None:
    """Upload to `staging/` and compare the reloaded adapter. Raises UserError as `_check_reload`."""
    staging = SealedFolder(store, f"staging/{uuid.uuid4().hex}")
    try:
        upload_folder(store, folder, staging.prefix)
        _check_reload(staging, inputs)
    finally:
        delete_folder(store, staging.prefix)


def _check_reload(adapter: SealedFolder, inputs: Inputs) -> None:
    """Load the adapter from the store in a fresh process and compare its held-out answers with the evaluation's.

    Raises:
        UserError: the answers differ, or the adapter does not load.
    """
    log("publish", "reloading the adapter from the store in a fresh process")
    process = _reload([adapter.store.uri, adapter.prefix, str(inputs.splits), str(inputs.evaluation)])
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UserError(f"not published, the adapter in the store cannot be reloaded: {reason[0]}")
    result = json.loads(process.stdout)
    if result["different"]:
        largest = f" (logits differ by up to {result['largest']:.2g})" if "largest" in result else ""
        raise UserError(
            f"not published, {result['different']} of {result['answers']} held-out answers differ after reloading"
            f"{largest}: evaluate and publish on the same kind of processor"
        )
    log("publish", f"{result['answers']} held-out answers are the same as in the evaluation")


def _reload(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clinadapt.registry.reload_check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
