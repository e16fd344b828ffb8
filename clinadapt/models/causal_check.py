"""A base model checked as a causal language model, without its weights (clinadapt.models.meta_check)."""

from __future__ import annotations

from dataclasses import replace

from transformers import AutoModelForCausalLM

from clinadapt.models.base_model import BaseModel, fetch_tokenizer
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.models.meta_check import check_positions, check_token, linear_layers, load_on_meta


def checked_causal_lm(base: BaseModel, max_length: int) -> BaseModel:
    """Check that a base model can be trained as a causal language model on segments of `max_length` tokens.

    Returns:
        The base model with its `modules`.

    Raises:
        UserError: training would fail, and what to do about it.
    """
    check_token(base, load_tokenizer(fetch_tokenizer(base.uri)).eos_token_id, "end-of-sequence")
    model, _ = load_on_meta(base, AutoModelForCausalLM)
    check_positions(base, model, AutoModelForCausalLM, "max_length", max_length)
    return replace(base, modules=linear_layers(model))
