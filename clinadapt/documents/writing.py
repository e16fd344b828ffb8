"""Write the governance documents of a version: into the version as it is published, or into a folder later on.

documents/<document>.html, .md, .json (and .xml)    in the version, as of its publication
<folder>/<document>...., <folder>/records/          written by `registry documents`, with what the registry knows since
"""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.documents.conformance import conformance
from clinadapt.documents.definition import NAMES, document
from clinadapt.documents.facts import RECORDS, REGISTRY, Facts
from clinadapt.documents.filling import FilledDocument, fill
from clinadapt.documents.rendering import json_document, to_html, to_markdown, to_xml
from clinadapt.errors import UserError
from clinadapt.feedback.agreement import agreements, error_rate
from clinadapt.feedback.marks import person
from clinadapt.feedback.settled import read_reviews
from clinadapt.registry.adapters import locate_adapter
from clinadapt.registry.approval.standing import read_standing
from clinadapt.registry.champion import champion, history
from clinadapt.registry.versions import read_manifest, read_record, version_ids
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Store

FOLDER = "documents"  # in a version
CONFORMANCE = "conformance.json"
_OF_THIS_ATTEMPT = {
    "published_by",
    "started",
    "started_by",
    "created",
}  # fields that differ when a publication is repeated


def write_version_documents(folder: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """Write documents/ into the folder of a version that is about to be published.

    The same inputs give the same bytes, so that a publication that was interrupted can be repeated.

    Args:
        folder: with the version's records.
        fields: of its manifest.

    Returns:
        Document -> share of its fields that are filled.
    """
    stable = {name: value for name, value in fields.items() if name not in _OF_THIS_ATTEMPT}
    facts = Facts({MANIFEST: stable, **{name: read_json(folder / name) for name in RECORDS}})
    return _write(folder / FOLDER, facts, "../")


def compared_with_champion(store: Store, name: str, facts: Facts) -> dict[str, Any]:
    """The record of conformance of a candidate, or of a version, with the champion that its run began with.

    Args:
        store, name: of the adapter.
        facts: as of `conformance`, and evaluation.json, which names the champion.
    """
    return conformance(facts, _compared(store, name, facts))


def export_documents(adapter: str, store_uri: str, target: Path) -> dict[str, Any]:
    """Write the documents of a published version, and the records that they point to, into a new folder.

    Args:
        adapter: a name (its champion), name/version or URI.
        store_uri: the store that it is published in.
        target: folder that does not exist yet, which appears complete or not at all, or an empty one.

    Returns:
        uri of the version, folder, and documents: document -> share of its fields that are filled.

    Raises:
        UserError: there is no such version, a record is not what was published, the signature does not verify, or the
            folder cannot be written.
    """
    store, prefix = locate_adapter(adapter, store_uri)
    _, name, version = prefix.split("/", 2)
    target = target.resolve()
    facts = _published(store, name, version)
    facts.records[REGISTRY] = _registry(store, name, version)
    with os_errors(f"cannot write {target}"):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"{target} is not empty: give a new folder with --to")
        partial = (target if target.is_dir() else target.parent) / f".documents-{uuid.uuid4().hex[:8]}"
        try:
            partial.mkdir(parents=True, mode=0o700)
            (partial / "records").mkdir()
            for file, record in facts.records.items():
                write_json(partial / "records" / file, record)
            shares = _write(partial, facts, "records/")
            _move(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return {"uri": f"{store.uri}/{prefix}", "folder": str(target), "documents": shares}


def _move(partial: Path, target: Path) -> None:
    """Rename the folder, or what is in it where it lies in the target, which may be a mounted volume."""
    if partial.parent == target:
        for path in partial.iterdir():
            path.replace(target / path.name)
        return
    try:
        partial.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise UserError(f"{target} exists: give a new folder with --to") from error
        raise


def _write(folder: Path, facts: Facts, records: str) -> dict[str, Any]:
    """Write all documents; `records` is the folder of the records, relative to `folder`."""
    folder.mkdir(exist_ok=True)
    manifest = facts.records[MANIFEST]
    shares = {}
    for filled in (fill(document(name), facts, str(manifest["name"]), str(manifest["version"])) for name in NAMES):
        for ending, content in _contents(filled, records):
            (folder / f"{filled.document.file}.{ending}").write_text(content, encoding="utf-8")
        shares[filled.document.file] = filled.share()
    return shares


def _contents(filled: FilledDocument, records: str) -> Iterator[tuple[str, str]]:
    yield "html", to_html(filled, records)
    yield "md", to_markdown(filled, records)
    yield "json", json_document(filled)
    if filled.document.xml:
        yield "xml", to_xml(filled)


def _published(store: Store, name: str, version: str, files: Sequence[str] = RECORDS) -> Facts:
    """The verified records of a version; those that an earlier release did not write are missing, but for the record of
    conformance.

    Raises:
        UserError: there is no such version, or a record is not what was published.
    """
    manifest = read_manifest(store, name, version)
    records = {file: read_record(store, manifest, file) for file in files if file in manifest["files"]}
    facts = Facts({MANIFEST: manifest, **records})
    if CONFORMANCE not in records:
        if files is not RECORDS:
            return _published(store, name, version)
        facts.records[CONFORMANCE] = compared_with_champion(store, name, facts)
    return facts


def _compared(store: Store, name: str, facts: Facts) -> Facts | None:
    """The records of the champion that a version's run began with; None where there was none. One that is gone or
    cannot be read counts as one that recorded nothing."""
    evaluation = facts.records.get("evaluation.json")
    version = evaluation.get("champion_version") if isinstance(evaluation, dict) else None
    if not version:
        return None
    try:
        manifest = read_manifest(store, name, str(version))
        files = [file for file in ("clinadapt.json", "data.json", "verdict.json") if file in manifest["files"]]
        return Facts({MANIFEST: manifest, **{file: read_record(store, manifest, file) for file in files}})
    except UserError:
        return Facts({MANIFEST: {"version": str(version)}})


def _registry(store: Store, name: str, version: str) -> dict[str, Any]:
    """What the registry knows: the champion, its history, where this version stands with the people who have to approve
    it, the approvals with which it became the champion, what people say of its answers, and the conformance of every
    version that was one."""
    standing = read_standing(store, name, version)
    entries = history(store, name)
    published = set(version_ids(store, name))
    runs = []
    for each in dict.fromkeys(entry["version"] for entry in entries if entry["version"] in published):
        with suppress(UserError):  # one that is damaged has no record; `registry verify` names it
            record = _published(store, name, each, [CONFORMANCE]).records[CONFORMANCE]
            runs.append({"version": each, **{key: record[key] for key in ("compared_with", "within", "outside")}})
    approvals = [entry["approvals"] for entry in entries if entry["version"] == version and entry.get("approvals")]
    return {
        "champion": (champion(store, name) or (None,))[0],
        "history": entries,
        "approval": standing and {"state": standing.state, "sentence": standing.sentence()},
        "approvals": approvals[-1] if approvals else [],
        "reviews": _reviews(store, name, version),
        "runs": runs,
    }


def _reviews(store: Store, name: str, version: str) -> dict[str, Any] | None:
    """What people say of the version's answers, in numbers: no text, no reviewer. None where nobody has marked one."""
    reviews = read_reviews(store, name, version)
    if not reviews.queue or not any(judged.marks for judged in reviews.cases):
        return None
    rate, (agreement, _) = error_rate(reviews.queue, reviews.cases), agreements(reviews.cases)
    reviewers = {person(mark.reviewer) for judged in reviews.cases for mark in judged.marks}
    return {
        "cases": len(reviews.cases),
        "marked": sum(bool(judged.marks) for judged in reviews.cases),
        "settled": sum(bool(judged.settled) for judged in reviews.cases),
        "disagreements": sum(judged.state == "disagreement" for judged in reviews.cases),
        "reviewers": len(reviewers),
        "error_rate": {"value": rate.value, "low": rate.low, "high": rate.high},
        "kappa": {"value": agreement.kappa, "low": agreement.low, "high": agreement.high, "pairs": agreement.pairs},
    }
