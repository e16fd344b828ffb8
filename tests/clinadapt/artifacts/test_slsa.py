"""Provenance of a published version, read by the libraries of in-toto and DSSE; its links held against the files."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from support import UNFINISHED, Run

from clinadapt.artifacts.hashing import read_json, sha256_json, to_json, write_json
from clinadapt.artifacts.manifest import IMAGE, MANIFEST, with_digest, write_manifest
from clinadapt.artifacts.signing import IN_TOTO, sign_manifest, verify_manifest
from clinadapt.artifacts.slsa import (
    ATTESTATION,
    MANIFEST_CONTENT,
    PREDICATE_TYPE,
    broken_link,
    export_provenance,
    provenance,
    statement,
)
from clinadapt.errors import UserError
from clinadapt.registry.versions import headline, verify
from clinadapt.storage import open_store
from pipelines.cli.main import main
from pipelines.compile import compile_profile
from pipelines.named_settings import load_cluster, load_profile

SHA = "sha256:" + "ab" * 32


def exported(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `clinadapt registry provenance` prints."""
    monkeypatch.setattr("sys.argv", ["clinadapt", "registry", "provenance", "specialty", "--store", str(run.store)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    return json.loads(capsys.readouterr().out)


def validated(found: dict[str, Any]) -> Any:
    """The predicate, once in-toto's own library accepts the statement and SLSA's schema knows every field."""
    attestation = pytest.importorskip("in_toto_attestation.v1.statement")
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement_pb2 import Statement

    parsed = ParseDict(found, Statement())
    attestation.Statement.copy_from_pb(parsed).validate()
    predicate = ParseDict(found["predicate"], Provenance())
    details = predicate.run_details
    for entry in (*predicate.build_definition.resolved_dependencies, *details.byproducts,
                  *details.builder.builder_dependencies):  # fmt: skip
        ResourceDescriptor.copy_from_pb(entry).validate()
    return predicate


def test_a_run_is_stated(demo_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = exported(demo_run, monkeypatch, capsys)
    predicate, manifest = validated(found), read_json(demo_run.version / MANIFEST)
    assert found["predicateType"] == PREDICATE_TYPE
    *files, content = found["subject"]
    assert content["name"] == MANIFEST_CONTENT
    unsigned = {name: value for name, value in manifest.items() if name not in (ATTESTATION, "manifest_digest")}
    assert content["digest"] == {"sha256": sha256_json(unsigned).removeprefix("sha256:")}
    for subject in files:
        content = (demo_run.version / subject["name"]).read_bytes()
        assert subject["digest"] == {"sha256": hashlib.sha256(content).hexdigest()}
    assert {subject["name"] for subject in files} == {
        path.relative_to(demo_run.version).as_posix()
        for path in demo_run.version.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    built, ran = predicate.build_definition, predicate.run_details
    assert built.build_type.endswith("#pipelines/classify.py")
    named = {entry.name: dict(entry.digest) for entry in built.resolved_dependencies}
    assert named["base model"] == {"sha256": manifest["base_digest"].removeprefix("sha256:")}
    assert named["dataset"] == {"sha256": manifest["dataset_digest"].removeprefix("sha256:")}
    assert next(entry.uri for entry in built.resolved_dependencies if entry.name == "source").startswith("file://")
    assert ran.metadata.invocation_id == demo_run.result["run"]
    assert ran.metadata.started_on.ToDatetime() <= ran.metadata.finished_on.ToDatetime()
    made = {entry.name: entry.digest["sha256"] for entry in ran.byproducts}
    assert made["metrics"] == sha256_json(manifest["metrics"]).removeprefix("sha256:")


def test_the_chain_is_that_of_the_steps(demo_run: Run) -> None:
    chain = read_json(demo_run.version / MANIFEST)["chain"]
    assert [link["step"] for link in chain] == ["download", "screen", "format", "train", "evaluate", "gate"]
    written = {read_json(path)["digest"] for path in demo_run.outputs.rglob(MANIFEST)}
    assert {link["output"] for link in chain} <= written
    assert broken_link(chain) is None


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_verify_names_the_broken_link(demo_run: Run, tmp_path: Path, number: int) -> None:
    store = Path(shutil.copytree(demo_run.store, tmp_path / "store", ignore=UNFINISHED))
    path = store / demo_run.version.relative_to(demo_run.store) / MANIFEST
    manifest = read_json(path)
    link = manifest["chain"][number]
    name = next(name for name in link["inputs"] if name != "base_model")
    link["inputs"][name] = SHA
    write_json(path, sign_manifest(manifest))
    (line,) = verify(open_store(store.as_uri()), "specialty", demo_run.version.name)
    assert line.endswith(
        f"manifest.json: in the chain of steps, {name} of {link['step']} does not match the output of the step before"
    )


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> Any:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", pem)
    return key


def test_one_signature_covers_files_and_manifest(private: Any, tmp_path: Path) -> None:
    """Checked with the library's own verification, as a tool that knows nothing of Clinadapt would."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    (tmp_path / "file").write_bytes(b"x")
    manifest = sign_manifest(write_manifest(tmp_path, {"name": "a"}), {"a": "predicate"})
    envelope = Envelope.from_dict(json.loads(json.dumps(manifest[ATTESTATION])))
    key = SSlibKey.from_crypto(private.public_key())
    assert list(envelope.verify([key], 1)) == [key.keyid]
    assert envelope.payload_type == IN_TOTO
    signed = json.loads(envelope.payload)
    assert signed["predicate"] == {"a": "predicate"}
    content = {name: value for name, value in manifest.items() if name not in (ATTESTATION, "manifest_digest")}
    assert {subject["name"]: subject["digest"]["sha256"] for subject in signed["subject"]} == {
        "file": hashlib.sha256(b"x").hexdigest(),
        MANIFEST_CONTENT: sha256_json(content).removeprefix("sha256:"),
    }
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


def test_every_byte_of_a_signed_manifest_counts_without_the_key(private: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    write_json(tmp_path / MANIFEST, sign_manifest(write_manifest(tmp_path, {})))
    data = (tmp_path / MANIFEST).read_bytes()
    assert ATTESTATION in verify_manifest(data, MANIFEST)
    for spot in range(len(data)):
        with pytest.raises(UserError, match="manifest.json is not what was published"):
            verify_manifest(data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :], MANIFEST)


def test_a_signature_does_not_hold_for_another_manifest(
    private: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same files with other fields, and of other files."""
    from cryptography.hazmat.primitives import serialization as s

    public = private.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo).decode()
    monkeypatch.setenv("CLINADAPT_VERIFY_KEY", public)
    (tmp_path / "file").write_bytes(b"x")
    manifest = sign_manifest(write_manifest(tmp_path, {"name": "a"}))
    verify_manifest(to_json(manifest).encode(), MANIFEST)
    (tmp_path / "file").write_bytes(b"y")
    for other in (manifest | {"name": "b"}, manifest | write_manifest(tmp_path, {"name": "a"})):
        with pytest.raises(UserError, match="has the signature of another manifest"):
            verify_manifest(to_json(with_digest(other)).encode(), MANIFEST)


def instruct_manifest(folder: Path) -> dict[str, Any]:
    """Of a version whose instructions a teacher made and whose base was pretrained, each step in a named image."""
    (folder / "file").write_bytes(b"x")
    last: dict[str, Any] = {}
    steps: list[tuple[str, dict[str, str]]] = [
        ("download", {"https://host/notes.csv": "etag:1", "builtin://cases": "builtin://cases"}),
        ("synthesize", {"teacher": SHA}),
        ("format", {}),
        ("pretrain", {"base_model": "hf:" + "1" * 40}),
    ]
    for step, inputs in steps:
        last = write_manifest(folder, {}, step, inputs, [last])
    metrics = {"loss": {"value": 2, "low": 1, "high": 3}, "token_f1": {"value": 0.2, "low": 0.1, "high": 0.3}}
    digests = dict.fromkeys(("dataset_digest", "splits_digest", "base_digest"), SHA)
    manifest = {"name": "a", "recipe": "instruct", "base_model": "hf://org/name", "settings": {}, "metrics": metrics,
             "code_version": "0.1.0+abc", "created": "2026-01-01T00:00:00Z",
             "published_by": "a-run", **digests}  # fmt: skip
    return write_manifest(folder, manifest, upstream=[last])


def test_teacher_pretraining_and_images_are_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IMAGE, image := f"registry.example.org/clinadapt/cpu@{SHA}")
    manifest = instruct_manifest(tmp_path)
    predicate = validated(statement(manifest, provenance(manifest)))
    named = {entry.name: entry for entry in predicate.build_definition.resolved_dependencies}
    assert dict(named["teacher"].digest) == {"sha256": "ab" * 32}
    assert dict(named["base model before pretraining"].digest) == {"gitCommit": "1" * 40}
    (image_used,) = predicate.run_details.builder.builder_dependencies
    assert (image_used.uri, dict(image_used.digest)) == (image, {"sha256": "ab" * 32})
    assert headline(manifest["metrics"]) == "token_f1"


def test_steps_are_told_their_image_where_it_has_a_digest(tmp_path: Path) -> None:
    profile = load_profile("cpu-demo")
    for name, digest_known in (("default", False), ("airgap", True)):
        folder = tmp_path / name
        folder.mkdir()
        text = compile_profile(profile, load_cluster(name), folder).read_text()
        assert (IMAGE in text) is digest_known


def test_an_attestation_is_printed_as_it_was_signed(
    demo_run: Run, tmp_path: Path, private: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Path(shutil.copytree(demo_run.store, tmp_path / "store", ignore=UNFINISHED))
    path = store / demo_run.version.relative_to(demo_run.store) / MANIFEST
    manifest = read_json(path)
    write_json(path, sign_manifest(manifest, provenance(manifest)))
    printed = exported(Run(demo_run.command, demo_run.result, demo_run.home, store), monkeypatch, capsys)
    assert printed == read_json(path)[ATTESTATION]
    validated(json.loads(base64.b64decode(printed["payload"])))


def test_an_export_is_stated(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    fields = {"name": "a", "version": "v", "base_model": "hf://org/name", "base_digest": "hf:" + "1" * 40,
              "adapter_digest": SHA, "dtype": "float16", "code_version": "0.1.0+abc",
              "created": "2026-01-01T00:00:00Z", "published_by": "a-run"}  # fmt: skip
    manifest = write_manifest(tmp_path, fields)
    predicate = validated(statement(manifest, export_provenance(manifest)))
    named = {entry.name: dict(entry.digest) for entry in predicate.build_definition.resolved_dependencies}
    assert named == {"adapter": {"sha256": "ab" * 32}, "base model": {"gitCommit": "1" * 40}}
