"""Can this run succeed? Store, data, base model, LoRA targets, disk and memory, in seconds and on a CPU."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from contextlib import suppress
from importlib.util import find_spec

from kubernetes.utils.quantity import parse_quantity

from components.common.base_model import BaseModel, describe
from components.common.errors import UserError
from components.common.provenance import code_version
from components.common.recipe import ADAPTER_NAME, Resources, Train
from components.common.registry import champion
from components.common.sources import digest as source_digest
from components.common.steps import say
from components.common.store import Conflict, Store, open_store
from components.common.targets import adapted_layers
from components.preflight.memory import estimate, method

_ROOM = 2**30  # bytes of scratch space that a run needs beside the base model


def run(source: str, store_uri: str, adapter_name: str, train: Train, resources: Resources) -> dict[str, str]:
    """Check everything that can be checked before work begins.

    Returns:
        dataset_digest, base_digest, and version and etag of today's champion (empty where there is none).

    Raises:
        UserError: the first check that fails.
    """
    if not re.search(ADAPTER_NAME, adapter_name):
        raise UserError(f"adapter name '{adapter_name}': use small letters, digits and hyphens, at most 63")
    store = open_store(store_uri)
    check_store(store)
    say("preflight", f"store {store_uri} can be written")
    data = source_digest(source)
    say("preflight", f"data source found, {data[:26]}")
    base = describe(train.base_model)
    layers = adapted_layers(base, train.lora)
    say("preflight", f"base model {base.config['model_type']}, {base.parameters() / 1e6:.1f} M parameters, "
        f"LoRA on {len(layers)} layers")  # fmt: skip
    if train.quantization == "nf4" and find_spec("bitsandbytes") is None:
        raise UserError("nf4 needs bitsandbytes, which is not installed: pip install bitsandbytes")
    check_disk()
    check_memory(base, train, resources)
    version, etag = champion(store, adapter_name) or ("", "")
    say("preflight", f"the champion to compare with is {version or 'none yet'}")
    return {
        "dataset_digest": data,
        "base_digest": base.digest,
        "champion_version": version,
        "champion_etag": etag,
        "code_version": code_version(),
    }


def check_store(store: Store) -> None:
    """Write, read and remove a small object, with and without conditions. Raises UserError when the store cannot be
    used."""
    key = f"runs/.preflight-{uuid.uuid4().hex}"
    etag = store.put(key, b"preflight")
    try:
        if store.get(key)[0] != b"preflight":
            raise UserError(f"the store {store.uri} does not give back what was written: do not use it")
        store.put(key, b"matches", if_match=etag)
        for condition in ({"if_absent": True}, {"if_match": etag}):
            with suppress(Conflict):
                store.put(key, b"must not be written", **condition)
                raise UserError(
                    f"the store {store.uri} ignores conditional writes (If-None-Match, If-Match), so two runs could "
                    "both win: update the server or use another one"
                )
    except Conflict as error:
        raise UserError(f"the store {store.uri} refuses a conditional write that holds: update the server") from error
    finally:
        store.delete(key)


def check_disk() -> None:
    """Raises UserError when scratch space is short."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < _ROOM:
        raise UserError(
            f"{tempfile.gettempdir()} has {free / 2**30:.1f} GiB free, the run needs {_ROOM / 2**30:.1f}: "
            "free space or set TMPDIR"
        )


def check_memory(base: BaseModel, train: Train, resources: Resources) -> None:
    """Compare the estimate with the GPU of the profile, or with this machine. Raises UserError when it cannot fit."""
    gpu = resources.gpu > 0
    need = estimate(base, train, labels=10, device="cuda" if gpu else "cpu")["methods"][method(train.quantization)][
        "total"
    ]
    have = resources.gpu_memory_gib * 2**30 if gpu else _memory_of_train(resources)
    say("preflight", f"training needs about {need / 2**30:.1f} GiB of {have / 2**30:.1f} GiB")
    if need > have:
        raise UserError(
            f"training needs about {need / 2**30:.1f} GiB and there are {have / 2**30:.1f}: "
            "lower batch_size, train_windows or windows.length, or use nf4"
        )


def _memory_of_train(resources: Resources) -> float:
    """On a cluster what the train step is given, for this step has less; elsewhere what the machine has."""
    return float(parse_quantity(resources.memory)) if "KUBERNETES_SERVICE_HOST" in os.environ else machine_memory()


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
