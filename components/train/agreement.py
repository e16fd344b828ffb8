"""What one process decides for all that train together."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed

from clinadapt.errors import UserError
from components.train.stage import first_process, processes

_PATIENCE = timedelta(hours=2)  # for the first process to look at the store, which may mean a download


def agreed(question: str, decide: Callable[[], Any]) -> Any:
    """What the first process decides, in every process.

    Processes that each look at the store for themselves may see different things, and then one waits for another that
    has ended. They have met when this is called: torchrun starts them together.

    Args:
        question: its name; asked once in a training.
        decide: called in the first process only; returns a JSON value.

    Raises:
        UserError: what `decide` raised, in every process.
    """
    if processes() == 1:
        return decide()
    store = torch.distributed.PrefixStore("clinadapt", next(torch.distributed.rendezvous("env://"))[0])
    if not first_process():
        store.wait([question], _PATIENCE)
        answer = json.loads(store.get(question))
        if "error" in answer:
            raise UserError(answer["error"])
        return answer["value"]
    try:
        value = decide()
    except UserError as error:
        store.set(question, json.dumps({"error": str(error)}))
        raise
    store.set(question, json.dumps({"value": value}))
    return value
