"""Published versions of adapters: listed, read and verified.

adapters/<name>/<version>/...    immutable sealed folder; the version is the run key
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from clinadapt.artifacts.code_version import run_key
from clinadapt.artifacts.hashing import parse_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.signing import verify_manifest
from clinadapt.artifacts.slsa import broken_link
from clinadapt.errors import UserError
from clinadapt.storage.object_store import Store

_FIELDS = {
    "base_model", "base_digest", "splits_digest", "settings", "settings_digest", "code_version", "metrics", "created",
    "published_by",
}  # fmt: skip
VERDICT = "verdict.json"
_RECORDS = ("training.json", "clinadapt.json", "evaluation.json")  # files that every version has


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _CheckForm(_Strict):
    name: str
    passed: bool
    detail: str
    judged: bool = True
    more_notes: int = 0
    lacking: str = ""


class _LoosenedForm(_Strict):
    meaning: str
    default: str
    here: str


class _VerdictForm(_Strict):
    """What of verdict.json clinadapt.documents.verdict puts into words; an earlier release has only the values of what
    was loosened."""

    decision: str
    outcome: str = ""
    sentence: str = ""
    checks: list[_CheckForm]
    loosened: dict[str, _LoosenedForm | float | str] = {}


def headline(metrics: dict[str, Any]) -> str:
    """Name of the metric that summarises an evaluation: accuracy (classify) or token_f1 (instruct)."""
    return next(name for name in ("accuracy", "token_f1") if name in metrics)


def adapter_names(store: Store) -> list[str]:
    """Names under which adapters are published, sorted."""
    return sorted({key.split("/")[1] for key in store.list("adapters/") if key.count("/") > 1})


def version_ids(store: Store, name: str) -> list[str]:
    """Complete versions of an adapter, sorted."""
    parts = (key.split("/") for key in store.list(f"adapters/{name}/"))
    return [part[2] for part in parts if len(part) == 4 and part[3] == MANIFEST]


def version_folder(store: Store, name: str, version: str) -> SealedFolder:
    """The sealed folder of a version."""
    return SealedFolder(store, f"adapters/{name}/{version}")


def read_manifest(store: Store, name: str, version: str) -> dict[str, Any]:
    """The verified manifest of a version.

    Raises:
        UserError: there is no such version, its manifest was changed or moved here, or its signature does not verify.
    """
    key = version_folder(store, name, version).key(MANIFEST)
    try:
        manifest = verify_manifest(store.get(key)[0], key)
    except KeyError as error:
        raise UserError(
            f"no adapter version '{name}/{version}' in {store.uri}: list the folder adapters/ to see what there is"
        ) from error
    if (manifest.get("name"), manifest.get("version")) != (name, version):
        owner = f"{manifest.get('name')}/{manifest.get('version')}"
        raise UserError(f"{key} belongs to {owner} and was moved here: publish again")
    return manifest


def read_version(store: Store, name: str, version: str) -> dict[str, Any]:
    """As `read_manifest`, with all fields that publish writes.

    Raises:
        UserError: as `read_manifest`, or a field is missing.
    """
    manifest = read_manifest(store, name, version)
    if missing := sorted(_FIELDS - manifest.keys()):
        key = version_folder(store, name, version).key(MANIFEST)
        raise UserError(f"{key} has no field '{missing[0]}', so publish did not write it: remove it and publish again")
    return manifest


def read_record(store: Store, manifest: dict[str, Any], file: str) -> Any:
    """Content of a JSON file of the version with this verified manifest. Raises UserError where it is not what was
    published, or a verdict has not the form of one."""
    folder = version_folder(store, manifest["name"], manifest["version"])
    with TemporaryDirectory(prefix="clinadapt-record-") as scratch:
        try:
            record = parse_json(folder.fetch_file(file, Path(scratch), manifest).read_bytes())
        except DamagedFolder as error:
            raise UserError(problem_line(folder, error.file, error.problem)) from error
        except ValueError as error:
            raise UserError(problem_line(folder, file, "is no JSON")) from error
    if file == VERDICT and not is_verdict(record):
        raise UserError(problem_line(folder, file, "is no verdict"))
    return record


def read_verdict(store: Store, manifest: dict[str, Any]) -> dict[str, Any] | None:
    """What the gate said of the version with this verified manifest; None where an earlier release published it without
    a record. Raises UserError as `read_record`."""
    return dict(read_record(store, manifest, VERDICT)) if VERDICT in manifest["files"] else None


def is_verdict(record: Any) -> bool:
    """Whether a record has the form of a verdict, of this release or an earlier one."""
    try:
        _VerdictForm.model_validate(record)
    except ValidationError:
        return False
    return True


def verify(store: Store, name: str, version: str) -> list[str]:
    """Hash every file of a version and check its provenance.

    Returns:
        One line for each problem, beginning with the key of the file; empty for an intact version.
    """
    folder = version_folder(store, name, version)
    try:
        manifest = read_version(store, name, version)
    except UserError as error:
        return [str(error)]
    problems = {file: "is not listed" for file in _RECORDS if file not in manifest["files"]} | folder.problems(manifest)
    if problems:
        return [problem_line(folder, file, problem) for file, problem in sorted(problems.items())]
    try:
        records = {file: parse_json(store.get(folder.key(file))[0]) for file in _RECORDS}
        return [f"{folder.prefix}/{line}" for line in _inconsistencies(manifest, records)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{folder.prefix} has records that publish does not write: publish this version again"]


def problem_line(folder: SealedFolder, file: str, problem: str) -> str:
    """One line about a damaged file of a published version."""
    return f"{folder.key(file)} is not what was published ({problem.removeprefix('is ')}): publish this version again"


def _inconsistencies(manifest: dict[str, Any], records: dict[str, Any]) -> Iterator[str]:
    """Fields that contradict each other: the version is the key of its data, base model, settings and code."""
    settings = manifest["settings"]
    inputs = manifest["splits_digest"], manifest["base_digest"], settings, manifest["code_version"]
    recomputed = run_key(*inputs, manifest.get("gate"))
    metrics = records["evaluation.json"]["models"]["candidate"]["metrics"]
    claims: list[tuple[str, str, Any, Any]] = [
        (MANIFEST, "settings_digest", manifest["settings_digest"], sha256_json(settings)),
        (MANIFEST, "version, the key of data, base model, settings, code and gate,", manifest["version"], recomputed),
        ("training.json", "settings", records["training.json"]["settings"], settings),
        ("clinadapt.json", "base_digest", records["clinadapt.json"]["base_digest"], manifest["base_digest"]),
        ("evaluation.json", "metrics", metrics, manifest["metrics"]),
    ]
    if broken := broken_link(manifest.get("chain", [])):
        yield f"{MANIFEST}: in the chain of steps, {broken} does not match the output of the step before"
    for file, field, actual, expected in claims:
        if actual != expected:
            yield f"{file}: {field} does not match the rest of the version"
