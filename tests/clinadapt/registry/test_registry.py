"""The registry: a linear history, rollback, what verify finds and what gc leaves alone."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clinadapt.artifacts.code_version import run_key
from clinadapt.artifacts.hashing import sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, file_entry, list_files, with_digest, write_manifest
from clinadapt.artifacts.signing import sign_manifest, verify_manifest
from clinadapt.artifacts.slsa import ATTESTATION
from clinadapt.errors import UserError
from clinadapt.registry import garbage_collection, pretrained_bases
from clinadapt.registry import versions as versions_
from clinadapt.registry.adapters import download_adapter, published_recipe
from clinadapt.registry.champion import champion, history, promote
from clinadapt.registry.garbage_collection import Garbage, garbage
from clinadapt.registry.promotion import promote_manually, roll_back
from clinadapt.registry.purge import made_of
from clinadapt.registry.versions import verify
from clinadapt.storage import open_store
from clinadapt.storage.folder_store import FolderStore
from clinadapt.storage.object_store import Conflict, Store
from clinadapt.storage.transfer import upload_folder
from pipelines.cli.main import main

NAME = "specialty"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
METRICS = {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}}


def folder_of(store: Store) -> Path:
    return Path(store.uri.removeprefix("file://"))


def make(store: Store, folder: Path, number: int, name: str = NAME) -> str:
    """A version as publish writes it, without a model; number tells it from others."""
    folder = folder / f"{name}-{number}"
    folder.mkdir()
    settings = {"seed": number}
    version = run_key("sha256:splits", "sha256:base", settings, "0.1.0+code")
    (folder / "adapter_model.safetensors").write_bytes(os.urandom(2000))
    (folder / "README.md").write_text(f"# {name}\n")
    write_json(folder / "training.json", {"settings": settings})
    write_json(folder / "clinadapt.json", {"base_digest": "sha256:base", "temperature": 1.5})
    write_json(folder / "evaluation.json", {"models": {"candidate": {"metrics": METRICS}}})
    manifest = {
        "name": name,
        "version": version,
        "dataset_digest": "sha256:data",
        "splits_digest": "sha256:splits",
        "base_model": "builtin://minilm",
        "base_digest": "sha256:base",
        "settings": settings,
        "settings_digest": sha256_json(settings),
        "code_version": "0.1.0+code",
        "metrics": METRICS,
        "created": f"2026-01-{number:02}T00:00:00Z",
        "published_by": "a test",
    }
    write_json(folder / MANIFEST, sign_manifest(write_manifest(folder, manifest)))
    upload_folder(store, folder, f"adapters/{name}/{version}")
    return version


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def versions(store: Store, tmp_path: Path) -> list[str]:
    """Three versions, none of them champion."""
    return [make(store, tmp_path, number) for number in (1, 2, 3)]


def age(store: Store, prefix: str, days: float) -> None:
    """Let everything below a prefix be older."""
    then = time.time() - days * 86400
    for key in store.list(prefix):
        os.utime(folder_of(store) / key, (then, then))


def answered(store: Store) -> str:
    return (champion(store, NAME) or ("", ""))[0]


def test_the_history_is_linear(store: Store, versions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_RUN", "run-7")
    for version in versions:
        promote(store, NAME, version, (champion(store, NAME) or ("", ""))[1], {"accuracy": METRICS["accuracy"]})
    past = history(store, NAME)
    assert [entry["version"] for entry in past] == versions
    assert [entry["previous"] for entry in past] == [None, *versions[:-1]]
    assert {entry["by"] for entry in past} == {"run-7"}
    assert len({entry["id"] for entry in past}) == 3
    assert past[0]["accuracy"] == METRICS["accuracy"]
    assert answered(store) == versions[-1]


def test_rollback_goes_back_and_further_back(store: Store, versions: list[str]) -> None:
    one, two, three = versions
    for version in versions:
        promote_manually(store, NAME, version)
    assert roll_back(store, NAME) == two
    assert roll_back(store, NAME) == one
    with pytest.raises(UserError, match="'specialty' has no previous champion"):
        roll_back(store, NAME)
    promote_manually(store, NAME, three)
    assert roll_back(store, NAME) == one
    assert [entry["rollback"] for entry in history(store, NAME)] == [False] * 3 + [True, True, False, True]
    previous = [entry["previous"] for entry in history(store, NAME)]
    assert previous == [None, one, two, three, two, one, three]


@pytest.mark.parametrize(
    ("version", "message"),
    [("0000000000000000", "no adapter version"), ("", "'specialty' has no previous champion")],
)
def test_what_cannot_be_promoted(store: Store, versions: list[str], version: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        promote_manually(store, NAME, version) if version else roll_back(store, NAME)
    assert champion(store, NAME) is None


def test_a_promotion_whose_answer_was_lost_has_happened(
    store: Store, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pointer was written, a rival moved it on, and only then the write was repeated and refused."""
    put = store.put

    def lose(key: str, data: bytes, **condition: Any) -> str:
        monkeypatch.undo()
        etag = put(key, data, **condition)
        promote(store, NAME, versions[1], etag, {})
        raise Conflict(key)

    monkeypatch.setattr(store, "put", lose)
    promote(store, NAME, versions[0], "", {})
    assert [entry["version"] for entry in history(store, NAME)] == versions[:2]


ENTRY = {"id": "1", "version": "a", "previous": None, "when": "2026-01-01T00:00:00Z", "by": "x", "rollback": False}


@pytest.mark.parametrize(
    "pointer",
    [
        "{",
        "[]",
        '"abc"',
        '{"version": "a"}',
        '{"version": "a", "history": null}',
        '{"version": "a", "history": ["a"]}',
        *(
            json.dumps({"version": "a", "history": [ENTRY | change]})
            for change in ({"when": "soon"}, {"when": None}, {"when": "2026-01-01T00:00:00"}, {"version": ["a"]})
        ),
        '{"version": null, "history": []}',
        *(json.dumps({"version": "a", "history": [{n: v for n, v in ENTRY.items() if n != lost}]}) for lost in ENTRY),
    ],
)
def test_a_broken_pointer(store: Store, pointer: str) -> None:
    store.put(f"adapters/{NAME}/champion.json", pointer.encode())
    with pytest.raises(UserError, match=r"champion.json in .* is broken"):
        champion(store, NAME)


def test_verify_finds_nothing_wrong(store: Store, versions: list[str]) -> None:
    assert [verify(store, NAME, version) for version in versions] == [[], [], []]


def flipped(data: bytes, spot: int) -> bytes:
    """With one bit of one byte the other way round."""
    return data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :]


def test_a_changed_byte_in_any_file_is_found_by_name(store: Store, versions: list[str]) -> None:
    for key in store.list(f"adapters/{NAME}/{versions[0]}/"):
        data = store.get(key)[0]
        (folder_of(store) / key).write_bytes(flipped(data, len(data) // 2))
        found = verify(store, NAME, versions[0])
        assert found and all(line.startswith(key) for line in found)
        with pytest.raises(UserError, match=key):
            download_adapter(f"{NAME}/{versions[0]}", store.uri)
        (folder_of(store) / key).write_bytes(data)
    assert verify(store, NAME, versions[0]) == []


def test_every_byte_of_a_manifest_counts(store: Store, versions: list[str]) -> None:
    data = store.get(f"adapters/{NAME}/{versions[0]}/{MANIFEST}")[0]
    verify_manifest(data, MANIFEST)
    for spot in range(len(data)):
        with pytest.raises(UserError, match="manifest.json is not what was published"):
            verify_manifest(flipped(data, spot), MANIFEST)


def test_what_was_added_or_is_missing(store: Store, versions: list[str]) -> None:
    prefix = f"adapters/{NAME}/{versions[0]}"
    store.put(f"{prefix}/adapter_model.bin", b"pickle")
    store.delete(f"{prefix}/README.md")
    assert verify(store, NAME, versions[0]) == [
        f"{prefix}/README.md is not what was published (missing): publish this version again",
        f"{prefix}/adapter_model.bin is not what was published (not listed): publish this version again",
    ]


def reseal(store: Store, version: str, **fields: Any) -> None:
    """Change fields of a manifest and seal it again."""
    key = f"adapters/{NAME}/{version}/{MANIFEST}"
    write_json(folder_of(store) / key, sign_manifest(json.loads(store.get(key)[0]) | fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"splits_digest": "sha256:other"}, "manifest.json: version, the key of data"),
        ({"code_version": "0.2.0"}, "manifest.json: version, the key of data"),
        ({"settings_digest": "sha256:other"}, "manifest.json: settings_digest"),
        ({"metrics": {"accuracy": {"value": 1, "low": 1, "high": 1}}}, "evaluation.json: metrics"),
    ],
)
def test_fields_that_do_not_follow(store: Store, versions: list[str], fields: dict[str, Any], message: str) -> None:
    reseal(store, versions[0], **fields)
    assert any(message in line for line in verify(store, NAME, versions[0]))


@pytest.mark.parametrize("lost", ["settings", "metrics", "code_version"])
def test_a_sealed_manifest_that_lacks_something(store: Store, versions: list[str], lost: str) -> None:
    path = folder_of(store) / f"adapters/{NAME}/{versions[0]}/{MANIFEST}"
    manifest = json.loads(path.read_bytes())
    write_json(path, sign_manifest({name: value for name, value in manifest.items() if name != lost}))
    (line,) = verify(store, NAME, versions[0])
    assert f"has no field '{lost}'" in line


@pytest.mark.parametrize("lost", ["training.json", "evaluation.json"])
def test_a_sealed_manifest_that_lists_too_little(store: Store, versions: list[str], lost: str) -> None:
    prefix = f"adapters/{NAME}/{versions[0]}"
    manifest = json.loads(store.get(f"{prefix}/{MANIFEST}")[0])
    files = {name: entry for name, entry in manifest["files"].items() if name != lost}
    reseal(store, versions[0], files=files, digest=sha256_json(files))
    assert verify(store, NAME, versions[0]) == [
        f"{prefix}/{lost} is not what was published (not listed): publish this version again"
    ]
    store.delete(f"{prefix}/{lost}")
    assert verify(store, NAME, versions[0]) == [
        f"{prefix}/{lost} is not what was published (not listed): publish this version again"
    ]


@pytest.mark.parametrize("content", ["[]", "{}", '{"models": 3}', "[" * 100_000], ids=["list", "empty", "odd", "deep"])
def test_sealed_records_of_another_form(store: Store, versions: list[str], content: str) -> None:
    prefix = f"adapters/{NAME}/{versions[0]}"
    path = folder_of(store) / f"{prefix}/evaluation.json"
    path.write_text(content)
    files = json.loads(store.get(f"{prefix}/{MANIFEST}")[0])["files"] | {"evaluation.json": file_entry(path)}
    reseal(store, versions[0], files=files, digest=sha256_json(files))
    (line,) = verify(store, NAME, versions[0])
    assert line == f"{prefix} has records that publish does not write: publish this version again"
    reseal(store, versions[0], chain=3)
    assert len(verify(store, NAME, versions[0])) == 1


@pytest.mark.parametrize(
    "content",
    [b"[]", b"3", b"{}", b"[" * 100_000, b"\xff", b'{"splits_digest": []}'],
    ids=["list", "3", "{}", "deep", "binary", "odd"],
)
def test_a_manifest_of_another_form_stops_neither_purge_nor_gc(
    store: Store, versions: list[str], content: bytes
) -> None:
    store.put(f"adapters/{NAME}/{versions[0]}/{MANIFEST}", content)
    assert made_of(store, ["sha256:other"]) == []
    with suppress(UserError):  # which says that the base model is unknown
        garbage(store, DAY, DAY)


def test_files_that_are_no_versions_are_left_alone(store: Store, versions: list[str]) -> None:
    strange = [f"adapters/{MANIFEST}", f"adapters/{NAME}/{MANIFEST}", f"adapters/{NAME}/notes.txt"]
    for key in strange:
        store.put(key, b"{}")
    age(store, "adapters/", 100)
    assert versions_.adapter_names(store) == [NAME]
    assert sorted(versions_.version_ids(store, NAME)) == sorted(versions)
    garbage_collection.collect(store, garbage(store, 90 * DAY, 24 * HOUR), 90 * DAY, lambda line: None)
    assert sorted(store.list("adapters/")) == sorted(strange)


def test_a_version_that_was_moved(store: Store, versions: list[str]) -> None:
    one, two, _ = (folder_of(store) / f"adapters/{NAME}/{version}/{MANIFEST}" for version in versions)
    two.write_bytes(one.read_bytes())
    assert f"belongs to {NAME}/{versions[0]}" in verify(store, NAME, versions[1])[0]


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str, str]:
    """A private key, its public key and another public key, as PEM text."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    one, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    private = one.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()
    public = [k.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo) for k in (one, other)]
    return private, public[0].decode(), public[1].decode()


def test_a_signature(store: Store, tmp_path: Path, keys: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    private, public, other = keys
    (tmp_path / "public.pem").write_text(public)
    unsigned = make(store, tmp_path, 1)
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", private)
    signed = make(store, tmp_path, 2)
    download_adapter(f"{NAME}/{signed}", store.uri)
    monkeypatch.setenv("CLINADAPT_VERIFY_KEY", str(tmp_path / "public.pem"))
    download_adapter(f"{NAME}/{signed}", store.uri)
    assert verify(store, NAME, signed) == []
    with pytest.raises(UserError, match=rf"{unsigned}/manifest.json is not signed and CLINADAPT_VERIFY_KEY requires"):
        download_adapter(f"{NAME}/{unsigned}", store.uri)
    monkeypatch.delenv("CLINADAPT_SIGNING_KEY")
    attestation = json.loads(store.get(f"adapters/{NAME}/{signed}/{MANIFEST}")[0])[ATTESTATION]
    reseal(store, signed, published_by="somebody else")
    with pytest.raises(UserError, match="is not signed"):
        download_adapter(f"{NAME}/{signed}", store.uri)
    key = f"adapters/{NAME}/{unsigned}/{MANIFEST}"
    manifest = json.loads(store.get(key)[0])
    broken = attestation | {"signatures": [attestation["signatures"][0] | {"sig": "AAAA"}]}
    for forged, message in (
        (attestation, "has the signature of another manifest: do not use this version"),
        (broken, "is not signed by the key in CLINADAPT_VERIFY_KEY: do not use this version"),
        (attestation | {"payloadType": "text/plain"}, "is not signed by the key"),
        (attestation | {"signatures": []}, "is not signed by the key"),
        ({"payload": 1}, "is not signed by the key"),
        ("AAAA", "is not signed by the key"),
    ):
        write_json(folder_of(store) / key, with_digest(manifest | {ATTESTATION: forged}))
        with pytest.raises(UserError, match=message):
            download_adapter(f"{NAME}/{unsigned}", store.uri)
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", private)
    reseal(store, signed)
    monkeypatch.setenv("CLINADAPT_VERIFY_KEY", other)
    assert "is not signed by the key" in verify(store, NAME, signed)[0]


@pytest.fixture
def signed_champions(
    store: Store, tmp_path: Path, keys: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """Two signed versions, both promoted in turn, with both keys set."""
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", keys[0])
    monkeypatch.setenv("CLINADAPT_VERIFY_KEY", keys[1])
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "cache"))
    versions = make(store, tmp_path, 1), make(store, tmp_path, 2)
    for version in versions:
        promote_manually(store, NAME, version)
    return versions


def test_a_champion_pointer_is_signed_where_a_key_is_set(store: Store, signed_champions: tuple[str, str]) -> None:
    old, new = signed_champions
    key = f"adapters/{NAME}/champion.json"
    pointer = json.loads(store.get(key)[0])
    assert pointer["counter"] == 2 and answered(store) == new
    unsigned = {name: value for name, value in pointer.items() if name != ATTESTATION}
    for forged, message in (
        (unsigned | {"version": old}, "champion.json .* is not signed"),
        (pointer | {"version": old}, "has the signature of another pointer"),
        (pointer | {ATTESTATION: {"payload": 1}}, "is not signed by the key"),
    ):
        store.put(key, json.dumps(forged).encode())
        with pytest.raises(UserError, match=message):
            answered(store)
        with pytest.raises(UserError, match=message):
            download_adapter(NAME, store.uri)
    store.put("adapters/other/champion.json", json.dumps(pointer).encode())
    with pytest.raises(UserError, match="has the signature of another pointer"):
        champion(store, "other")


def test_an_older_champion_pointer_is_not_taken_back(
    store: Store, signed_champions: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = signed_champions
    key = f"adapters/{NAME}/champion.json"
    before = store.get(key)[0]
    roll_back(store, NAME)
    assert answered(store) == old
    store.put(key, before)
    with pytest.raises(UserError, match=r"older than the one that this machine has seen \(write 2, seen 3\)"):
        answered(store)
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "other machine"))
    assert answered(store) != old


def test_a_pointer_that_could_not_be_read_back_is_not_written(
    store: Store, signed_champions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLINADAPT_SIGNING_KEY")
    with pytest.raises(UserError, match="set CLINADAPT_SIGNING_KEY too"):
        roll_back(store, NAME)
    assert answered(store) == signed_champions[1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CLINADAPT_SIGNING_KEY", "/none.pem", "is neither PEM text nor a readable file"),
        ("CLINADAPT_SIGNING_KEY", "-----BEGIN NOTHING-----", "is not an unencrypted ed25519 private key"),
    ],
)
def test_a_key_that_is_none(name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        sign_manifest({})


def test_a_version_of_an_earlier_release_is_refused(store: Store, tmp_path: Path) -> None:
    """With its own seal and signature, and the former names in manifest and card."""
    version = make(store, tmp_path, 1)
    folder = folder_of(store) / f"adapters/{NAME}/{version}"
    write_json(folder / "clinadapt.json", {"recipe": "instruct", "length": 512, "new_tokens": 64})
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest = {name: value for name, value in manifest.items() if name not in ("manifest_digest", "published_by")}
    manifest |= {"by": "a test", "signature": "AAAA"}
    write_json(folder / MANIFEST, {**manifest, "seal": sha256_json(manifest)})
    message = f"adapters/{NAME}/{version}/{MANIFEST} was published by an earlier release"
    with pytest.raises(UserError) as refused:
        download_adapter(f"{NAME}/{version}", store.uri)
    assert str(refused.value).startswith(message)
    with pytest.raises(UserError, match="by an earlier release"):
        published_recipe(f"{NAME}/{version}", store.uri)
    assert [line[: len(message)] for line in verify(store, NAME, version)] == [message]
    with pytest.raises(UserError, match="by an earlier release"):
        promote_manually(store, NAME, version)


def whats(found: list[Garbage]) -> set[str]:
    return {item.prefix.removeprefix(f"adapters/{NAME}/") for item in found}


def test_gc_keeps_what_is_young_or_needed(store: Store, versions: list[str], tmp_path: Path) -> None:
    one, two, three = versions
    four = make(store, tmp_path, 4)
    for version in (one, two, three):
        promote_manually(store, NAME, version)
    assert garbage(store, 90 * DAY, 24 * HOUR) == []
    age(store, "adapters/", 100)
    assert whats(garbage(store, 90 * DAY, 24 * HOUR)) == {four}  # the others answered within 90 days
    pointer = json.loads(store.get(f"adapters/{NAME}/champion.json")[0])
    for number, entry in enumerate(pointer["history"]):
        entry["when"] = f"2020-01-0{number + 1}T00:00:00Z"
    write_json(folder_of(store) / f"adapters/{NAME}/champion.json", pointer)
    assert whats(garbage(store, 90 * DAY, 24 * HOUR)) == {one, four}  # three answers, two is its rollback
    lines: list[str] = []
    garbage_collection.collect(store, garbage(store, 90 * DAY, 24 * HOUR), 90 * DAY, lines.append)
    assert sorted(versions_.version_ids(store, NAME)) == sorted([two, three])
    assert store.list(f"adapters/{NAME}/{one}/") == []
    assert sorted(lines) == sorted(f"removed adapters/{NAME}/{version}" for version in (one, four))


def test_gc_removes_uploads_that_never_finished(store: Store, versions: list[str]) -> None:
    store.delete(f"adapters/{NAME}/{versions[0]}/{MANIFEST}")
    store.put("staging/abc/file", b"x")
    store.put("runs/.preflight-abc", b"x")
    store.put("runs/a-run/train.json", b"x")
    assert garbage(store, 90 * DAY, 24 * HOUR) == []
    age(store, "", 2)
    found = garbage(store, 90 * DAY, 24 * HOUR)
    assert whats(found) == {versions[0], "staging/abc", "runs/.preflight-abc"}
    garbage_collection.collect(store, found, 90 * DAY, lambda line: None)
    assert garbage(store, 90 * DAY, 24 * HOUR) == []
    assert store.exists("runs/a-run/train.json")
    assert sorted(versions_.version_ids(store, NAME)) == sorted(versions[1:])


def test_gc_removes_checkpoints_that_nobody_goes_on_with(store: Store) -> None:
    store.put("checkpoints/abc/step-9/tensors.safetensors", b"x")
    store.put(f"checkpoints/abc/step-9/{MANIFEST}", b"x")
    age(store, "", 2)
    assert garbage(store, 90 * DAY, 24 * HOUR) == []
    age(store, "", 100)
    found = garbage(store, 90 * DAY, 24 * HOUR)
    assert whats(found) == {"checkpoints/abc"}
    garbage_collection.collect(store, found, 90 * DAY, lambda line: None)
    garbage_collection.collect(store, found, 90 * DAY, lambda line: None)  # as when two clean up at once
    assert store.list("checkpoints/") == []


def test_gc_removes_where_the_results_of_trainjobs_were(store: Store) -> None:
    store.put("trainjobs/abc.json", b"{}")
    age(store, "trainjobs/", 2)
    assert garbage(store, 90 * DAY, 24 * HOUR) == []
    age(store, "trainjobs/", 100)
    found = garbage(store, 90 * DAY, 24 * HOUR)
    assert whats(found) == {"trainjobs/abc.json"}
    garbage_collection.collect(store, found, 90 * DAY, lambda line: None)
    assert store.list("trainjobs/") == []


def test_gc_removes_old_answers_and_bases_that_no_version_was_made_on(store: Store, versions: list[str]) -> None:
    """`versions` were made on sha256:base."""
    used, unused, half = (
        pretrained_bases.base_prefix(digest) for digest in ("sha256:base", "sha256:other", "sha256:half")
    )
    for base in (used, unused, half):
        store.put(f"{base}/model.safetensors", b"x")
    for base in (used, unused):
        store.put(f"{base}/{MANIFEST}", b"{}")
    store.put("evaluations/abc/answers-0.json", b"{}")
    age(store, "bases/", 2)
    age(store, "evaluations/", 2)
    assert whats(garbage(store, 90 * DAY, 24 * HOUR)) == {half}
    age(store, "bases/", 100)
    age(store, "evaluations/", 100)
    found = garbage(store, 90 * DAY, 24 * HOUR)
    assert whats(found) == {half, unused, "evaluations/abc"}
    garbage_collection.collect(store, found, 90 * DAY, lambda line: None)
    assert store.list("bases/") == [f"{used}/{MANIFEST}", f"{used}/model.safetensors"]
    assert store.list("evaluations/") == []


def test_gc_keeps_what_is_promoted_at_that_moment(store: Store, versions: list[str]) -> None:
    age(store, "adapters/", 100)
    found = garbage(store, 90 * DAY, 24 * HOUR)
    assert len(found) == 3
    promote_manually(store, NAME, versions[1])
    lines: list[str] = []
    garbage_collection.collect(store, found, 90 * DAY, lines.append)
    assert versions_.version_ids(store, NAME) == [versions[1]]
    assert verify(store, NAME, versions[1]) == []
    assert f"kept adapters/{NAME}/{versions[1]}: it was promoted meanwhile" in lines


def test_gc_removes_reviews_with_their_version(store: Store, versions: list[str]) -> None:
    promote_manually(store, NAME, versions[1])
    for version in (versions[0], versions[1], "gone"):
        store.put(f"reviews/{NAME}/{version}/queue.json", b"{}")
    age(store, "reviews/", 2)
    assert garbage(store, 90 * DAY, 24 * HOUR) == []
    age(store, "reviews/", 100)
    found = garbage(store, 90 * DAY, 24 * HOUR)
    assert {item.prefix for item in found} == {f"reviews/{NAME}/{versions[0]}", f"reviews/{NAME}/gone"}
    promote_manually(store, NAME, versions[0])
    lines: list[str] = []
    garbage_collection.collect(store, found, 90 * DAY, lines.append)
    assert store.list("reviews/") == sorted(f"reviews/{NAME}/{version}/queue.json" for version in versions[:2])
    assert f"kept reviews/{NAME}/{versions[0]}: its version was promoted or proposed meanwhile" in lines


def test_gc_keeps_what_somebody_goes_on_with(store: Store) -> None:
    store.put("staging/abc/adapter_model.safetensors", b"x")
    age(store, "staging/", 3)
    found = garbage(store, 90 * DAY, 24 * HOUR)
    assert whats(found) == {"staging/abc"}
    store.put("staging/abc/README.md", b"x")
    lines: list[str] = []
    garbage_collection.collect(store, found, 90 * DAY, lines.append)
    assert lines == ["kept staging/abc: it was written to meanwhile"]
    assert len(store.list("staging/abc/")) == 2


def test_what_gc_removes_while_it_is_promoted_is_no_champion(
    store: Store, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest goes between the moment at which somebody looked and the one at which the pointer moves."""
    one, two, _ = versions
    put = FolderStore.put

    def raced(self: FolderStore, key: str, data: bytes, **options: Any) -> str:
        if key.endswith("/champion.json"):
            self.delete(f"adapters/{NAME}/{two}/{MANIFEST}")
        return put(self, key, data, **options)

    for before in ("", one):
        if before:
            store = open_store(store.uri)
            promote_manually(store, NAME, one)
        with monkeypatch.context() as patched:
            patched.setattr(FolderStore, "put", raced)
            manifest = store.get(f"adapters/{NAME}/{two}/{MANIFEST}")[0]
            with pytest.raises(UserError, match=f"{NAME}/{two} was removed by gc meanwhile"):
                promote_manually(store, NAME, two)
        assert answered(store) == before
        store.put(f"adapters/{NAME}/{two}/{MANIFEST}", manifest)


def test_gc_removes_parts(store: Store) -> None:
    from datetime import UTC, datetime

    store.put("a/key", b"x")
    (folder_of(store) / "a/.part-cut").write_bytes(b"half")
    assert store.incomplete_uploads(datetime.now(UTC) - DAY) == []
    os.utime(folder_of(store) / "a/.part-cut", (0, 0))
    assert store.incomplete_uploads(datetime.now(UTC) - DAY) == ["a/.part-cut"]
    assert store.incomplete_uploads(datetime.now(UTC) - DAY, delete=True) == ["a/.part-cut"]
    assert list_files(folder_of(store)).keys() - {".lock"} == {"a/key"}


def command(store: Store, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["clinadapt", "registry", *arguments, "--store", store.uri])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_the_commands(
    store: Store, versions: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, _ = versions
    assert command(store, monkeypatch, "promote", f"{NAME}/{one}") == 0
    assert command(store, monkeypatch, "promote", f"{NAME}/{two}") == 0
    assert command(store, monkeypatch, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["versions"]
    assert {entry["version"]: entry["champion"] for entry in listed} == {v: v == two for v in versions}
    assert command(store, monkeypatch, "rollback", NAME) == 0
    assert answered(store) == one
    assert command(store, monkeypatch, "show", NAME, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["manifest"]["version"] == one
    assert [entry["version"] for entry in shown["history"]] == [one, two, one]
    assert command(store, monkeypatch, "diff", NAME, f"{NAME}/{two}", "--json") == 0
    differences = json.loads(capsys.readouterr().out)["differences"]
    assert differences["settings.seed"] == [1, 2]
    assert "base_digest" not in differences
    assert command(store, monkeypatch, "verify", "--json") == 0
    assert json.loads(capsys.readouterr().out)["versions"] == {f"{NAME}/{v}": [] for v in sorted(versions)}
    assert command(store, monkeypatch, "gc", "--keep-days", "0", "--unfinished-hours", "0", "--json") == 0
    garbage = json.loads(capsys.readouterr().out)["garbage"]  # two was rolled back, three never answered
    assert {item["prefix"] for item in garbage} == {f"adapters/{NAME}/{version}" for version in versions[1:]}
    assert len(versions_.version_ids(store, NAME)) == 3
    assert command(store, monkeypatch, "gc", "--keep-days", "0", "--unfinished-hours", "0", "--delete") == 0
    assert versions_.version_ids(store, NAME) == [one]


def test_what_is_listed_fits_into_80_columns(
    store: Store, versions: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No value is folded over two lines: each is found in one line."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("CLINADAPT_RUN", "instruct-cpu-instruct-20261129-005351-ab12")
    for version in versions[:2]:
        promote_manually(store, NAME, version)
    assert command(store, monkeypatch, "list") == 0
    listed = capsys.readouterr().out.splitlines()
    rows = [line for line in listed if any(version in line for version in versions)]
    assert [line[2:18] for line in rows] == versions[::-1], "newest first"
    assert [line[0] for line in rows] == [" ", "*", " "]
    assert all("accuracy 0.700 (0.600 to 0.800)" in line and line.endswith(" ago") for line in rows)
    assert command(store, monkeypatch, "show", NAME) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{NAME}/{versions[1]} (champion)"
    fields = ("0.700 (0.600 to 0.800)", "builtin://minilm", "2026-01-02T00:00:00Z", "0.1.0+code")
    assert all(any(line.endswith(field) for line in shown) for field in fields)
    assert [line.split()[2] for line in shown[-2:]] == [versions[1], versions[0]]
    assert command(store, monkeypatch, "diff", NAME, f"{NAME}/{versions[0]}") == 0
    different = capsys.readouterr().out.splitlines()
    assert different[different.index("settings.seed") :][1:3] == ["  - 2", "  + 1"]
    assert command(store, monkeypatch, "gc", "--keep-days", "0", "--unfinished-hours", "0") == 0
    assert f"adapters/{NAME}/{versions[2]}" in capsys.readouterr().out
    assert all(len(line) <= 80 for line in [*listed, *shown, *different])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", NAME], "'specialty' has no version: write NAME/VERSION"),
        (["promote", f"{NAME}/none"], "no adapter version 'specialty/none'"),
        (["rollback", "none"], "'none' has no previous champion"),
        (["show", "none"], "no adapter 'none' in .*; there are: specialty"),
        (["list", "none"], "no adapter 'none'"),
        (["verify", "none"], "no adapter 'none' in .*; there are: specialty"),
    ],
)
def test_the_commands_say_what_is_wrong(
    store: Store,
    versions: list[str],
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(store, monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


def test_verify_tells_by_its_status(
    store: Store, versions: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put(f"adapters/{NAME}/{versions[0]}/README.md", b"# other")
    assert command(store, monkeypatch, "verify", NAME) == 2
    assert f"{versions[0]}/README.md is not what was published" in capsys.readouterr().err.replace("\n", "")
