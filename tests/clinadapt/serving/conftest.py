"""A store with versions of an adapter, and a server that loads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_server import serve
from fake_vllm import FakeVllm
from serving_site import Site
from support import make_instruct_splits

from clinadapt.serving.hot_swap import HotSwap


@pytest.fixture
def site(tmp_path: Path, instruct_adapter: Path) -> Iterator[Site]:
    (tmp_path / "runs").mkdir()
    splits = make_instruct_splits(tmp_path / "runs/splits")
    fake = FakeVllm()
    with serve(fake) as address:
        yield Site(tmp_path, instruct_adapter, splits, fake, address)


@pytest.fixture
def two(site: Site) -> Callable[[], HotSwap]:
    """Version `old` answers, and `new` is the champion."""

    def begin() -> HotSwap:
        site.publish("old", 0.5)
        swap = site.start()
        swap.follow()
        assert swap.serving.version == "old", swap.problem
        site.publish("new", 0.9)
        return swap

    return begin
