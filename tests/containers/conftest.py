"""An engine, the image of the steps, and a network that leads to nothing but a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import docker
import pytest
from containers import Engine, Site
from kfp.local import docker_task_handler
from s3_support import bucket, free_memory, rados_gateway

from clinadapt.config.image import IMAGE
from clinadapt.storage import open_store


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """The engine, with the image of the steps in it."""
    try:
        client = docker.from_env()
    except docker.errors.DockerException:
        pytest.skip("no container engine answers: start one (as root: apt-get install docker.io, dockerd)")
    try:
        client.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        pytest.skip(f"there is no image {IMAGE}: make images IMAGES=cpu")
    yield client
    client.close()


@pytest.fixture(scope="session")
def network(client: docker.DockerClient) -> Iterator[docker.models.networks.Network]:
    """A network without a way out; only this machine's own address in it can be reached."""
    network = client.networks.create(f"clinadapt-{uuid4().hex[:8]}", internal=True)
    network.reload()
    assert network.attrs["Internal"]
    yield network
    network.remove()


@pytest.fixture(scope="session")
def address(network: docker.models.networks.Network) -> str:
    """This machine's address in the network."""
    return network.attrs["IPAM"]["Config"][0]["Gateway"]


@pytest.fixture(scope="session")
def gateway(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads the steps to a RADOS Gateway."""
    with rados_gateway(tmp_path_factory.mktemp("rgw"), address) as environment:
        yield environment


@pytest.fixture
def site(
    gateway: dict[str, str],
    network: docker.models.networks.Network,
    notes_csv: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Site:
    """A bucket of its own, with 240 notes at notes.csv."""
    free_memory(monkeypatch)
    for name, value in gateway.items():
        monkeypatch.setenv(name, value)
    engine = Engine()
    monkeypatch.setattr(docker_task_handler, "run_docker_container", engine.run)
    store = open_store(f"s3://{bucket()}")
    store.put("notes.csv", notes_csv().read_bytes())
    return Site(engine, store, gateway, network.name, tmp_path)
