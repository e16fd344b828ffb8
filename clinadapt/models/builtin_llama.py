"""The small Llama that pretrain makes from scratch, `builtin://llama`, described before it exists."""

from __future__ import annotations

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.config.instruct import BUILTIN_LLAMA, InstructTraining, Llama, Pretraining
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe
from clinadapt.models.decoder_tensors import decoder_tensors


def describe_instruct_base(uri: str, pretrain: Pretraining | None) -> BaseModel:
    """Describe the base model of an instruct run; `builtin://llama` is described by the section pretrain.

    Raises:
        UserError: as `describe`, or `builtin://llama` without the section pretrain.
    """
    if uri != BUILTIN_LLAMA:
        return describe(uri)
    if pretrain is None:
        raise UserError("builtin://llama is made by pretrain: choose a profile that has the section pretrain")
    return describe_builtin_llama(pretrain.llama)


def training_stages(
    instruct: InstructTraining, pretrain: Pretraining | None
) -> dict[str, InstructTraining | Pretraining]:
    """The stages of training by name, in order, with the settings they run with: a model made from scratch is trained
    in full."""
    if pretrain is None:
        return {"instruct": instruct}
    if instruct.base_model == BUILTIN_LLAMA:
        pretrain = pretrain.model_copy(update={"method": "full"})
    return {"pretrain": pretrain, "instruct": instruct}


def describe_builtin_llama(shape: Llama) -> BaseModel:
    """Describe the model by the configuration and tensors that pretrain will write; its digest is that of `shape`."""
    config = {
        "model_type": "llama",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "vocab_size": shape.vocab_size,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }
    return BaseModel(BUILTIN_LLAMA, sha256_json(shape.model_dump()), config, decoder_tensors(config, "F32"))
