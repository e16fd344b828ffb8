"""A base model loaded without its weights, by the loader that training uses: what training would fail on, before it
begins.

The model is made on the meta device from files that have the headers of the real ones and holes for weights.
"""

from __future__ import annotations

import json
import math
import struct
import tempfile
from bisect import bisect_left
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from clinadapt.artifacts.hashing import write_json
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, fetch_tokenizer
from clinadapt.models.classifier import check_linear_head, load_tokenizer
from clinadapt.models.tree_check import miniature, transformers_config

_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}


def checked_classifier(base: BaseModel, pooling: str, max_length: int) -> BaseModel:
    """Check that a base model can be trained as a sequence classifier on windows of `max_length` tokens.

    Returns:
        The base model with its `modules` and its `drawn` modules.

    Raises:
        UserError: training would fail, and what to do about it.
    """
    pad = load_tokenizer(fetch_tokenizer(base.uri)).pad_token_id
    if pad is None:
        raise UserError(f"the tokenizer of base model '{base.uri}' has no pad token and no eos token: set one")
    check_token(base, pad, "padding")
    model, missing = load_on_meta(
        base, AutoModelForSequenceClassification, num_labels=2, pad_token_id=pad, ignore_mismatched_sizes=True
    )
    check_positions(base, model, AutoModelForSequenceClassification, "windows.max_length", max_length)
    drawn = sorted({name for key in missing if (name := _head_of(model, key))})
    adapted = linear_layers(model)
    if pooling == "mean":
        check_linear_head(model)  # which is replaced: nothing else of what follows the body is used
        drawn, adapted = [], {name: shape for name, shape in adapted.items() if not _head_of(model, name)}
    sizes = {name: sum(weights.numel() for weights in model.get_submodule(name).parameters()) for name in drawn}
    return replace(base, drawn=sizes, modules={n: s for n, s in adapted.items() if _head_of(model, n) not in sizes})


def _head_of(model: Any, name: str) -> str:
    """The module of a sequence classifier beyond its body, or the pooler, that a module or weight is in; empty where it
    is in the body."""
    parts = name.split(".")
    if "pooler" in parts:
        return ".".join(parts[: parts.index("pooler") + 1])
    return "" if parts[0] == model.base_model_prefix else parts[0]


def check_token(base: BaseModel, token: int, what: str) -> None:
    """Raise a UserError where the embeddings of a base model have no row for a token of its tokenizer."""
    size = transformers_config(base).get_text_config().vocab_size
    if token >= size:
        raise UserError(
            f"the {what} token of the tokenizer is number {token} and the base model has {size}: "
            "add it to the model (resize_token_embeddings), or set another in tokenizer_config.json"
        )


def check_positions(base: BaseModel, model: Any, kind: Any, setting: str, tokens: int) -> None:
    """Try an input of so many tokens on a miniature, where the model has a table of positions."""
    words = model.get_input_embeddings().num_embeddings
    tables = {m.num_embeddings for m in model.modules() if isinstance(m, torch.nn.Embedding)} - {words}
    if not any(size > 2 for size in tables):
        return
    small = kind.from_config(miniature(transformers_config(base))).eval()

    def fits(length: int) -> bool:
        try:
            with torch.inference_mode():
                small(input_ids=torch.full((1, length), 5))
        except (IndexError, RuntimeError):
            return False
        return True

    if not fits(tokens) and fits(1):  # one that cannot run at all is no model of the positions
        longest = bisect_left(range(1, tokens + 1), True, key=lambda length: not fits(length))
        raise UserError(
            f"{setting} is {tokens} and base model '{base.uri}' reads {longest} tokens at most: set {setting} to that"
        )


def load_on_meta(base: BaseModel, kind: Any, **options: Any) -> tuple[Any, set[str]]:
    """Load a base model on the meta device as an auto class of transformers, with options of its from_pretrained.

    Returns:
        The model, and the names of the weights of a sequence classifier's head that the base model lacks or has in
        another shape.

    Raises:
        UserError: the class refuses the model, other weights are missing, or they have another shape.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with tempfile.TemporaryDirectory() as name:
            _write_holes(base, Path(name))
            model, report = kind.from_pretrained(
                Path(name),
                device_map={"": "meta"},
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # whatever the architecture's own code raises
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"base model '{base.uri}' cannot be loaded: {reason}") from error
    finally:
        logging.set_verbosity(verbosity)
    missing = set(report["missing_keys"])
    mismatched = {str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"]}
    heads = {k for k in missing | mismatched if kind is AutoModelForSequenceClassification and _head_of(model, k)}
    if lacking := sorted(missing - heads):
        raise UserError(
            f"base model '{base.uri}' lacks {len(lacking)} of its weights ({lacking[0]}): fetch all of its files again"
        )
    if other := sorted(mismatched - heads):
        raise UserError(f"base model '{base.uri}': the shape of {other[0]} is not that of config.json: fetch it again")
    return model, heads


def linear_layers(model: Any) -> dict[str, list[int]]:
    """Name -> [out features, in features] of the linear layers of an architecture, whatever its files call them."""
    shapes: dict[str, list[int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            shapes[name] = [module.out_features, module.in_features]
        elif isinstance(module, Conv1D):
            shapes[name] = [module.nf, module.nx]
    return shapes


def _write_holes(base: BaseModel, folder: Path) -> None:
    """config.json, and a sparse file of safetensors with the names and shapes of all weights."""
    write_json(folder / "config.json", base.config)
    header, end = {}, 0
    for name, (dtype, shape) in base.tensors.items():
        size = math.prod(shape) * _BITS.get(dtype, 8) // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + end)
