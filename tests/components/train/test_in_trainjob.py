"""A training step that hands its training to a TrainJob, killed at every point: one adapter, never two, never none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fake_server import Error, serve
from fake_trainer import NAMESPACE, FakeTrainer

from clinadapt.artifacts.artifact_cache import load, publish, publish_folder
from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, list_files, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_record import RUN
from clinadapt.config.instruct import InstructTraining, PreferenceTraining
from clinadapt.config.nodes_task import NodesTask
from clinadapt.errors import UserError
from clinadapt.kubernetes import trainjobs
from clinadapt.kubernetes.api import Api
from clinadapt.kubernetes.cluster import Cluster
from clinadapt.kubernetes.trainjob import template
from clinadapt.storage import open_store
from clinadapt.storage.folder_store import FolderStore
from components.train import in_trainjob, multi_node
from pipelines.named_settings import load_profile

CLUSTER = Cluster.model_validate({"name": "c", "trainer": {}})
SETTINGS = InstructTraining(base_model="hf://a/b@1")


class Killed(BaseException):
    """The step's pod is gone, without a word."""


class Nodes:
    """The nodes of a TrainJob: they read the splits, leave a checkpoint, train and leave the result, one moment at each
    look of the step. `faults`: moments at which a node is lost."""

    def __init__(self, fake: FakeTrainer, faults: tuple[int, ...] = ()) -> None:
        self.fake, self.faults, self.moment, self.trained = fake, faults, 0, 0
        fake.train = self

    def __call__(self, job: dict[str, Any]) -> None:
        self.moment += 1
        task = NodesTask.model_validate_json(job["spec"]["trainer"]["args"][0])
        store = open_store(task.store)
        if self.moment in self.faults:
            self.fake.pods.clear()  # and another comes
            return
        if not self.fake.pods:
            self.fake.write(self.fake.pod(job), "started")
        elif not store.list("checkpoints/"):
            for uri in filter(None, (task.splits, task.adapter)):
                assert SealedFolder(store, uri.removeprefix(f"{task.store}/")).exists(), "what the nodes read"
            store.put("checkpoints/a/step-1", b"state")
        elif not store.list("trained/"):
            self.finish(store, task)
        else:
            self.fake.end(job)

    def finish(self, store: Any, task: NodesTask) -> None:
        self.trained += 1
        folder = Path(store.uri.removeprefix("file://")).parent / f"trained-{self.trained}"
        folder.mkdir()
        write_json(folder / "training.json", {"weights": 7})
        splits = read_json(Path(store.uri.removeprefix("file://")).parent / "splits" / MANIFEST)
        digests = {"splits_digest": splits["digest"], "base_digest": "sha256:base"}
        digest = write_manifest(folder, digests, "train", {"splits": splits["digest"]}, [splits])["digest"]
        publish_folder(SealedFolder(store, f"trained/a/{digest[7:23]}"), folder)
        publish(store, trainjobs.result_key(task), json.dumps({"trained": f"trained/a/{digest[7:23]}"}).encode())


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTrainer]:
    made = FakeTrainer()
    with serve(made) as address:
        api = Api(address, NAMESPACE)
        api.wait = 0.0
        monkeypatch.setattr(in_trainjob, "in_cluster", lambda: api)
        monkeypatch.setattr(trainjobs, "in_cluster", lambda: api)
        monkeypatch.setattr(trainjobs.time, "sleep", lambda seconds: None)
        monkeypatch.setenv(RUN, "run-1")
        monkeypatch.setenv(trainjobs.TEMPLATE, json.dumps(template(load_profile("t4-phi2"), CLUSTER, 1, "train")))
        yield made


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(b"rows")
    write_manifest(folder, {}, "format", {"dataset": "sha256:data"})
    make_adapter(folder, b"weights")
    return folder


def make_adapter(splits: Path, weights: bytes) -> None:
    """Beside the splits, the adapter that prefer goes on from."""
    adapter, data = splits.with_name("adapter"), read_json(splits / MANIFEST)
    adapter.mkdir(exist_ok=True)
    (adapter / "adapter_model.safetensors").write_bytes(weights)
    write_manifest(adapter, {"base_digest": "sha256:base"}, "train", {"splits": data["digest"]}, [data])


@pytest.fixture(params=["instruct", "prefer"])
def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The steps that train an instruct adapter in a TrainJob."""
    step = "prefer" if request.param == "prefer" else "train"
    monkeypatch.setenv(trainjobs.TEMPLATE, json.dumps(template(load_profile("t4-phi2"), CLUSTER, 1, step)))
    return str(request.param)


def attempt(splits: Path, number: int = 0, stage: str = "instruct") -> Path:
    """One attempt of the step; returns its output."""
    output, adapter = splits.parent / f"output-{number}", splits.with_name("adapter")
    store, is_prefer = (splits.parent / "store").as_uri(), stage == "prefer"
    settings = PreferenceTraining() if is_prefer else SETTINGS
    given = {"adapter": adapter} if is_prefer else {}
    assert in_trainjob.run(stage, splits, output, settings, store, **given) == {"weights": 7}
    return output


def check(fake: FakeTrainer, nodes: Nodes, output: Path, splits: Path, stage: str = "instruct") -> None:
    """One training, one result, verified, with the provenance of these inputs; no text of patients left over."""
    store = open_store((splits.parent / "store").as_uri())
    assert nodes.trained == 1 and len(set(fake.created)) == len(fake.created) == 1
    assert len([key for key in store.list("trained/") if key.endswith(MANIFEST)]) == 1
    manifest = read_json(output / MANIFEST)
    assert manifest["files"] == list_files(output)
    steps, inputs = ["format", "train"], {"splits": read_json(splits / MANIFEST)["digest"], "base_model": "sha256:base"}
    if stage == "prefer":
        steps, inputs["adapter"] = [*steps, "prefer"], read_json(splits.with_name("adapter") / MANIFEST)["digest"]
    assert [link["step"] for link in manifest["chain"]] == steps and manifest["chain"][-1]["inputs"] == inputs
    assert store.list("splits/") == []


def test_a_training_and_its_result(fake: FakeTrainer, splits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = Nodes(fake)
    check(fake, nodes, attempt(splits), splits)
    assert "clinadapt | train | started" in capsys.readouterr().err
    attempt(splits, 1)  # by another run
    assert "this training is done already" in capsys.readouterr().err and nodes.trained == 1


def test_prefer_takes_its_result_and_no_other(fake: FakeTrainer, splits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time it is there; another adapter is another training."""
    monkeypatch.setenv(trainjobs.TEMPLATE, json.dumps(template(load_profile("t4-phi2"), CLUSTER, 1, "prefer")))
    store, nodes = open_store((splits.parent / "store").as_uri()), Nodes(fake)
    for number in (1, 2):
        check(fake, nodes, attempt(splits, number, "prefer"), splits, "prefer")
    assert fake.created[0].startswith("prefer-t4-phi2-")
    make_adapter(splits, b"others")
    monkeypatch.setattr(nodes, "finish", lambda store, task: store.put("trained/x/y", b"another training"))
    store.delete(next(key for key in store.list("trained/") if key.endswith(MANIFEST)))
    with pytest.raises(UserError, match="its result is not in"):
        attempt(splits, 3, "prefer")
    assert len(set(fake.created)) == 2


def killed_at(monkeypatch: pytest.MonkeyPatch, fake: FakeTrainer, point: int) -> Callable[[], bool]:
    """Kill the step at its n-th use of the store or of the API, before or after it; returns whether it came to that."""
    count = 0

    def use() -> None:
        nonlocal count
        count += 1
        if count == point:
            raise Killed

    for name in ("get", "put", "exists", "list", "download", "upload", "delete"):
        method = getattr(FolderStore, name)

        def of_the_step(self: Any, *args: Any, method: Any = method, **options: Any) -> Any:
            if not inside:
                use()
            result = method(self, *args, **options)
            if not inside:
                use()
            return result

        monkeypatch.setattr(FolderStore, name, of_the_step)
    inside: list[bool] = []
    text = Api.text

    def asked(self: Api, *args: Any, **options: Any) -> str:
        use()
        inside.append(True)  # what the nodes do meanwhile is not the step's
        try:
            result = text(self, *args, **options)
        finally:
            inside.pop()
        use()
        return result

    monkeypatch.setattr(Api, "text", asked)
    return lambda: count >= point


def test_killed_at_every_point(fake: FakeTrainer, tmp_path: Path, splits: Path, stage: str) -> None:
    """Its own pod is lost at each use of the store or of the API; the next attempt goes on where it was."""
    kills = 0
    for point in range(1, 1000):
        place = tmp_path / f"kill-{point}"
        place.mkdir()
        mine = splits.rename(place / "splits")
        splits.with_name("adapter").rename(place / "adapter")
        fake.jobs, fake.pods, fake.logs, fake.created = {}, {}, {}, []
        nodes = Nodes(fake)
        with pytest.MonkeyPatch.context() as patch:
            came_to_it = killed_at(patch, fake, point)
            try:
                output = attempt(mine, stage=stage)
            except Killed:
                kills += 1
                output = None
            reached = came_to_it()
        output = output or attempt(mine, 1, stage)
        check(fake, nodes, output, mine, stage)
        splits = mine.rename(tmp_path / "splits")
        (place / "adapter").rename(tmp_path / "adapter")
        if not reached:
            break
    print(f"{stage}: {kills} kills of the step, one adapter each")
    assert kills > 40


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_node_is_lost_at_every_moment(fake: FakeTrainer, splits: Path, moment: int, stage: str) -> None:
    nodes = Nodes(fake, (moment, moment + 1))
    check(fake, nodes, attempt(splits, stage=stage), splits, stage)


@pytest.mark.parametrize("first", range(1, 12, 2))
def test_the_api_is_away_at_every_point(fake: FakeTrainer, splits: Path, first: int, stage: str) -> None:
    """For a minute: the request is retried, also where it was carried out and its answer lost."""
    nodes, requests = Nodes(fake), 0

    def before(method: str, path: str) -> None:
        nonlocal requests
        requests += 1
        if first <= requests < first + 5:
            raise Error(503, "the control plane is updated")

    fake.before = before
    check(fake, nodes, attempt(splits, stage=stage), splits, stage)


@pytest.mark.parametrize("method", ["get", "put", "exists", "list", "download", "upload", "delete"])
def test_the_store_is_away_at_every_point(
    fake: FakeTrainer, splits: Path, monkeypatch: pytest.MonkeyPatch, stage: str, method: str
) -> None:
    """Each use of the store fails once, as after its own retries: the attempt ends in one line, and a later one goes
    on."""
    nodes, original, inside = Nodes(fake), getattr(FolderStore, method), [False]
    failures, uses = 0, 0

    def train(job: dict[str, Any]) -> None:
        inside[0] = True  # what the nodes do meanwhile is not the step's
        try:
            nodes(job)
        finally:
            inside[0] = False

    def fails(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal failures, uses
        if not inside[0]:
            uses += 1
            if uses == failures + 1:
                failures, uses = uses, 0
                raise UserError("the store cannot be reached")
        return original(self, *args, **options)

    fake.train = train
    monkeypatch.setattr(FolderStore, method, fails)
    for number in range(100):
        try:
            output = attempt(splits, number, stage)
            break
        except UserError as error:
            assert "cannot be reached" in str(error)
    monkeypatch.setattr(FolderStore, method, original)
    check(fake, nodes, output, splits, stage)


@pytest.mark.parametrize("expired", [["trained/"], ["trained/", "trainjobs/"]])
def test_a_training_whose_result_has_expired_is_trained_again(
    fake: FakeTrainer, splits: Path, expired: list[str]
) -> None:
    nodes = Nodes(fake)
    attempt(splits)
    store = open_store((splits.parent / "store").as_uri())
    for key in (key for prefix in expired for key in store.list(prefix)):
        store.delete(key)
    attempt(splits, 1)
    assert nodes.trained == 2 and len(fake.created) == 2 and len(set(fake.created)) == len(fake.jobs) == 1


def test_a_result_that_is_damaged_is_not_taken(fake: FakeTrainer, splits: Path) -> None:
    nodes = Nodes(fake)
    attempt(splits)
    (file,) = (splits.parent / "store").glob("trained/a/*/training.json")
    file.write_bytes(b"{}")
    with pytest.raises(UserError, match="is complete and its result is not in"):
        attempt(splits, 1)
    assert nodes.trained == 1


def test_a_pointer_to_another_signed_training_is_not_followed(
    fake: FakeTrainer, splits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", Ed25519PrivateKey.generate().private_bytes(*pem).decode())
    nodes = Nodes(fake)
    attempt(splits)
    attempt(splits, 1)
    store = open_store((splits.parent / "store").as_uri())
    (key,) = store.list("trainjobs/")
    pointer = load(store, key)
    assert nodes.trained == 1 and pointer is not None
    digest = hashlib.sha256(pointer).hexdigest()
    store.put(key, json.dumps({"digest": digest}).encode() + b"\n" + pointer)
    with pytest.raises(UserError, match="not signed by our key"):
        attempt(splits, 2)


def test_the_nodes_refuse_splits_that_somebody_exchanged(
    fake: FakeTrainer, splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainjobs.time, "sleep", lambda seconds: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        attempt(splits)
    (job,) = fake.jobs.values()
    task = NodesTask.model_validate_json(job["spec"]["trainer"]["args"][0])
    folder = Path(task.splits.removeprefix("file://"))
    multi_node.fetch_folder(task.splits, tmp_path / "as they were", "format", task.digests[:1])
    (folder / "train.parquet").write_bytes(b"others")
    write_manifest(folder, {}, "format", {"dataset": "sha256:data"})
    with pytest.raises(UserError, match="is not what format wrote"):
        multi_node.fetch_folder(task.splits, tmp_path / "exchanged", "format", task.digests[:1])


def test_the_end_of_a_run_stops_its_trainjob(
    fake: FakeTrainer, splits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainjobs.stop_trainjobs()  # no trainer in this cluster
    with pytest.raises(Killed):
        fake.train = lambda job: None
        monkeypatch.setattr(trainjobs.time, "sleep", lambda seconds: (_ for _ in ()).throw(Killed()))
        attempt(splits)
    monkeypatch.setenv(trainjobs.STOP, "delete")
    trainjobs.stop_trainjobs()
    assert fake.jobs == {} and f"TrainJob {fake.created[0]} deleted: its run has ended" in capsys.readouterr().err
