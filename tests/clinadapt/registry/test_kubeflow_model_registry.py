"""Published versions in a Kubeflow Model Registry: registered once, completed when cut, never blocking a publish."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clinadapt.artifacts.hashing import write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.signing import sign_manifest
from clinadapt.errors import UserError
from clinadapt.registry import kubeflow_model_registry as model_registry
from clinadapt.registry.champion import promote
from clinadapt.registry.kubeflow_model_registry import TOKEN, URL, register, register_if_configured
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import upload_folder
from pipelines.cli.main import main

pytest.importorskip("mr_openapi", reason="model-registry, of the extra dev, is not installed")
from fake_model_registry import FakeModelRegistry
from fake_server import Error, serve

ONE, OTHER = "answers/0000000000000001", "answers/0000000000000002"


def publish(store: Store, folder: Path, version: str) -> None:
    """What publish leaves of an instruct version, without weights."""
    name, _, number = version.partition("/")
    folder.mkdir()
    write_json(folder / "clinadapt.json", {"recipe": "instruct"})
    manifest: dict[str, Any] = {"name": name, "version": number, "base_model": "hf://org/base", "base_digest": "hf:1"}
    manifest |= {f"{what}_digest": f"sha256:{what}" for what in ("dataset", "splits", "settings")}
    f1, perplexity = {"value": 0.5, "low": 0.25, "high": 0.75}, {"value": 2, "low": 1, "high": float("inf")}
    manifest |= {
        "settings": {},
        "code_version": "0.1.0+code",
        "created": "2026-01-01T00:00:00Z",
        "published_by": "run-1",
    }
    manifest["metrics"] = {"token_f1": f1, "perplexity": perplexity}
    write_json(folder / MANIFEST, sign_manifest(write_manifest(folder, manifest)))
    upload_folder(store, folder, f"adapters/{version}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two versions, the first of them the champion."""
    store = open_store((tmp_path / "store").as_uri())
    for version in (ONE, OTHER):
        publish(store, tmp_path / version.rpartition("/")[2], version)
    promote(store, "answers", ONE.rpartition("/")[2], "", {})
    return store


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModelRegistry]:
    made = FakeModelRegistry()
    monkeypatch.setattr(model_registry, "_WAIT", 0.01)
    with serve(made) as url:
        monkeypatch.setenv(URL, f"{url}/")
        yield made


def register_and_collect(store: Store, version: str) -> tuple[list[str], dict[str, str]]:
    lines: list[str] = []
    return lines, register_if_configured(store, *version.split("/"), lines.append)


def properties(item: dict[str, Any]) -> dict[str, Any]:
    return {
        name: next(v for key, v in value.items() if key != "metadataType")
        for name, value in item["customProperties"].items()
    }


def test_nobody_is_told_without_an_address(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL, raising=False)
    assert register_and_collect(store, ONE) == ([], {})
    with pytest.raises(UserError, match=f"{URL} is not an address"):
        register(store, *ONE.split("/"))


@pytest.mark.parametrize("api", ["v1", "v1alpha3"])
def test_what_a_version_is_registered_with(store: Store, fake: FakeModelRegistry, api: str) -> None:
    fake.api = api
    lines, attributes = register_and_collect(store, ONE)
    assert lines == ["answers/0000000000000001 is registered in the model registry"] == list(attributes.values())
    (model,), (version,), (artifact,) = fake.objects.values()
    assert model["name"] == "answers" and properties(model) == {"champion": "0000000000000001"}
    assert (version["name"], version["author"]) == ("0000000000000001", "run-1")
    assert version["registeredModelId"] == model["id"] and fake.parents[artifact["id"]] == version["id"]
    assert artifact["uri"] == f"{store.uri}/adapters/{ONE}"
    values = properties(version)
    assert (values["token_f1"], values["token_f1_low"], values["token_f1_high"]) == (0.5, 0.25, 0.75)
    assert values["perplexity"] == 2 and "perplexity_high" not in values
    wanted = {"base_model": "hf://org/base", "base_digest": "hf:1", "dataset_digest": "sha256:dataset",
              "run_key": "0000000000000001", "recipe": "instruct", "code_version": "0.1.0+code"}  # fmt: skip
    assert wanted.items() <= values.items()


def test_its_own_client_reads_it(store: Store, fake: FakeModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry_client = pytest.importorskip("model_registry", reason="model-registry is not installed")
    register(store, *ONE.split("/"))
    client = registry_client.ModelRegistry(
        os.environ[URL].rstrip("/"), author="a test", is_secure=False, user_token="token",
        async_runner=asyncio.run,
    )  # fmt: skip
    version = client.get_model_version("answers", "0000000000000001")
    assert version.custom_properties["token_f1"] == 0.5 and version.custom_properties["recipe"] == "instruct"
    assert client.get_model_artifact("answers", "0000000000000001").uri == f"{store.uri}/adapters/{ONE}"


def test_telling_again_changes_nothing(store: Store, fake: FakeModelRegistry) -> None:
    register_and_collect(store, ONE)
    fake.requests.clear()
    register_and_collect(store, ONE)
    assert fake.changed() == []
    register_and_collect(store, OTHER)
    assert [len(items) for items in fake.objects.values()] == [1, 2, 2]
    assert properties(fake.objects["registered_models"][0]) == {"champion": "0000000000000001"}


def test_what_others_wrote_stays(store: Store, fake: FakeModelRegistry) -> None:
    owner = {"owner": {"string_value": "ward 3", "metadataType": "MetadataStringValue"}}
    fake.made("registered_models", {"name": "answers", "customProperties": owner})
    register_and_collect(store, ONE)
    assert properties(fake.objects["registered_models"][0]) == {"owner": "ward 3", "champion": "0000000000000001"}


@pytest.mark.parametrize("cut", range(1, 8))
def test_cut_anywhere_it_is_completed(store: Store, fake: FakeModelRegistry, cut: int) -> None:
    """The server goes down before its n-th answer, and is up again later."""

    def down(method: str, path: str) -> None:
        if len(fake.requests) >= cut:
            raise Error(503, "going down")

    fake.before = down
    lines, _ = register_and_collect(store, ONE)
    assert "is published but not registered in the model registry: http://127.0.0.1" in lines[0]
    assert lines[0].endswith(f"then run clinadapt registry register {ONE}") and "\n" not in lines[0]
    fake.before = lambda method, path: None
    register_and_collect(store, ONE)
    assert [len(items) for items in fake.objects.values()] == [1, 1, 1]
    assert properties(fake.objects["registered_models"][0]) == {"champion": "0000000000000001"}


def test_an_answer_that_is_lost_makes_no_second_object(store: Store, fake: FakeModelRegistry) -> None:
    """Made, and then 500: the second try meets a 409."""
    lost: set[str] = set()

    def lose(method: str, path: str) -> None:
        if method == "POST" and path not in lost:
            lost.add(path)
            raise Error(500, "lost")

    fake.after = lose
    assert "is registered" in register_and_collect(store, ONE)[0][0]
    assert len(lost) == 3 and [len(items) for items in fake.objects.values()] == [1, 1, 1]


def test_a_version_that_lies_elsewhere_now(store: Store, fake: FakeModelRegistry) -> None:
    register_and_collect(store, ONE)
    fake.objects["model_artifacts"][0]["uri"] = "s3://before"
    register_and_collect(store, ONE)
    assert fake.objects["model_artifacts"][0]["uri"] == f"{store.uri}/adapters/{ONE}"


def refuse(status: int) -> Any:
    def before(method: str, path: str) -> None:
        raise Error(status, "no")

    return before


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, rf"denies access \(401\): set {TOKEN}"),
        (403, rf"denies access \(403\): set {TOKEN}"),
        (404, rf"is not a model registry \(404\): check {URL}"),
        (400, "answers GET registered_models with status 400 and not as a model registry"),
        (302, "answers GET registered_models with status 302 and not as a model registry"),
        (500, r"cannot be reached \(status 500, 3 tries\): check that it is up"),
        (429, r"cannot be reached \(status 429, 3 tries\): check that it is up"),
    ],
)
def test_a_registry_that_refuses(store: Store, fake: FakeModelRegistry, status: int, message: str) -> None:
    fake.before = refuse(status)
    with pytest.raises(UserError, match=message) as raised:
        register(store, *ONE.split("/"))
    assert "\n" not in str(raised.value)
    assert "is published" in register_and_collect(store, ONE)[0][0]


def test_a_page_to_sign_in(store: Store, fake: FakeModelRegistry) -> None:
    fake.html = True
    with pytest.raises(UserError, match="with status 200 and not as a model registry"):
        register(store, *ONE.split("/"))


def test_nobody_is_there(store: Store, fake: FakeModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be reached \(ConnectError, 3 tries\)"):
        register(store, *ONE.split("/"))


def test_one_that_does_not_answer_in_time(
    store: Store, fake: FakeModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_registry, "_TIMEOUT", 0.1)
    fake.before = lambda method, path: time.sleep(0.5)
    with pytest.raises(UserError, match=r"cannot be reached \(ReadTimeout, 3 tries\)"):
        register(store, *ONE.split("/"))


def test_the_token_goes_along_and_into_no_line(
    store: Store, fake: FakeModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "s3cret\n")
    assert "s3cret" not in register_and_collect(store, ONE)[0][0]
    assert fake.headers["authorization"] == "Bearer s3cret"
    fake.before = refuse(401)
    assert "s3cret" not in register_and_collect(store, ONE)[0][0]
    monkeypatch.setenv(TOKEN, "s3\ncret")
    with pytest.raises(UserError, match="contains characters that are not allowed") as raised:
        register(store, *ONE.split("/"))
    assert "cret" not in str(raised.value)


def test_the_commands(
    store: Store, fake: FakeModelRegistry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def clinadapt(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["clinadapt", "registry", *arguments, "--store", store.uri])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    assert clinadapt("promote", OTHER) == 0
    assert properties(fake.objects["registered_models"][0]) == {"champion": "0000000000000002"}
    assert clinadapt("rollback", "answers") == 0
    assert properties(fake.objects["registered_models"][0]) == {"champion": "0000000000000001"}
    assert "answers/0000000000000001 is registered in the model registry" in capsys.readouterr().err
    fake.before = refuse(503)
    assert clinadapt("promote", OTHER) == 0  # the pointer has moved; the line says what is missing
    assert f"clinadapt registry register {OTHER}" in capsys.readouterr().err
    assert clinadapt("register") == 2
    assert "cannot be reached (status 503, 3 tries)" in capsys.readouterr().err
    fake.before = lambda method, path: None
    assert clinadapt("register") == 0
    assert properties(fake.objects["registered_models"][0]) == {"champion": "0000000000000002"}
    assert [len(items) for items in fake.objects.values()] == [1, 2, 2]
    assert clinadapt("list", "--json") == 0
    assert [row["token_f1"]["value"] for row in json.loads(capsys.readouterr().out)["versions"]] == [0.5, 0.5]
