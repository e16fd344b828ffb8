"""Whether a base model can be trained in prefix trees, tried on a miniature of its very configuration."""

from __future__ import annotations

import copy
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from clinadapt.artifacts.hashing import write_json
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel
from clinadapt.models.causal_loss import Loss
from clinadapt.models.devices import prepare_frozen_base
from clinadapt.models.prefix_tree import Segment, build_pack, collate

TOLERANCE = 1e-3  # of the loss, and of the norm of all gradients, in fp32
_WINDOW = 8  # tokens, shorter than the segments of the check
_VOCABULARY = 64
_MAX_PARAMETERS = 50_000_000  # of a miniature: a larger one takes too long in preflight


def transformers_config(base: BaseModel) -> PreTrainedConfig:
    """The configuration of a base model as transformers reads it.

    Raises:
        UserError: transformers does not know the architecture, or not without code from the model's repository; or a
            value in config.json is impossible.
    """
    kind = base.config["model_type"]
    if kind not in CONFIG_MAPPING:
        raise UserError(f"base model '{base.uri}': architecture '{kind}' is not in transformers: choose another model")
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / "config.json", base.config)
            return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # whatever the architecture's own checks raise
        raise UserError(
            f"base model '{base.uri}': config.json is no {kind}: {str(error).splitlines()[0][:200]}"
        ) from error


def miniature(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same configuration with narrow layers, as few as have one of each kind, a small vocabulary, and windows that
    a few tokens exceed; all that is computed, and the number of positions, is unchanged."""
    config = copy.deepcopy(config)
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        if isinstance(part, PreTrainedConfig):
            _shrink(part)
    return config


def _shrink(config: PreTrainedConfig) -> None:
    kinds = list(getattr(config, "layer_types", None) or [])
    layers = min(getattr(config, "num_hidden_layers", 2), max(2, max((kinds.index(k) + 1 for k in kinds), default=2)))
    heads, groups = (getattr(config, f"num_{name}_heads", None) for name in ("attention", "key_value"))
    sizes: dict[str, Any] = {
        "num_hidden_layers": layers,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 1 if groups == 1 else 4 if groups == heads else 2,
        "head_dim": 16,
        "vocab_size": _VOCABULARY,
        "layer_types": kinds[:layers],
        "sliding_window": _WINDOW,
        "attention_chunk_size": _WINDOW,
        "local_attention": _WINDOW,
    }
    hidden = getattr(config, "hidden_size", None)
    sizes |= {name: 64 for name, value in vars(config).items() if name.endswith("_hidden_size") and value == hidden}
    for name, size in sizes.items():
        if getattr(config, name, None) is not None:
            with suppress(AttributeError):  # derived from others
                setattr(config, name, size)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if isinstance(token := getattr(config, name, None), int):
            setattr(config, name, min(token, _VOCABULARY - 1))
        else:
            setattr(config, name, None)


def tree_fault(base: BaseModel) -> str:
    """Why a base model is not trained in prefix trees; empty where its miniature has the same loss and gradients there
    as by its own forward, a segment at a time.

    Raises:
        UserError: as `transformers_config`.
    """
    config = transformers_config(base)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _compare(miniature(config))
    except Exception as error:  # a miniature may be impossible in ways that only its architecture knows
        return f"its architecture cannot be tried in small ({type(error).__name__})"


def _compare(config: PreTrainedConfig) -> str:
    with torch.device("meta"):
        on_meta = AutoModelForCausalLM.from_config(config)
    if on_meta._is_stateful:
        return "its layers are recurrent"
    if on_meta.num_parameters() > _MAX_PARAMETERS:
        return "its architecture cannot be tried in small"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for weights in model.parameters():  # as published weights, far enough from zero for every part to count
        torch.nn.init.normal_(weights, mean=float(weights.dim() == 1), std=0.1)
    prepare_frozen_base(model)
    segments = _segments()
    total = torch.zeros(())
    for segment in segments:
        ids = torch.from_numpy(segment.input_ids)[None]
        logits = model(input_ids=ids).logits[0, segment.prompt_tokens - 1 : -1]
        total = total + cross_entropy(logits.float(), ids[0, segment.prompt_tokens :], reduction="sum")
    total.backward()
    alone = _gradients(model)
    packed = Loss(model.train())(**collate([build_pack(segments[:3]), build_pack(segments[3:])])).sum()
    packed.backward()
    together = _gradients(model)
    if not abs(packed.item() - total.item()) <= TOLERANCE * abs(total.item()):
        return f"the loss of a tree is {packed.item():.4g} and alone {total.item():.4g}"
    if not (together - alone).norm() <= TOLERANCE * alone.norm():
        return f"the gradients of a tree differ by {float((together - alone).norm() / alone.norm()):.2g}"
    return ""


def _segments() -> list[Segment]:
    """Three segments of which two share 17 tokens, and a fourth; all longer than two windows."""
    random = np.random.default_rng(0)
    note = random.integers(3, _VOCABULARY - 1, 17)
    tails = [random.integers(3, _VOCABULARY - 1, length) for length in (9, 5, 21, 19)]
    return [
        Segment(np.concatenate([note, tails[0]]), 19),
        Segment(np.concatenate([note, tails[1]]), 18),
        Segment(tails[2], 3),
        Segment(tails[3], 1),
    ]


def _gradients(model: Any) -> torch.Tensor:
    gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return gradients
