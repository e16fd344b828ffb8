"""A small tokenizer made from the notes themselves, for a Llama that starts from nothing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, takewhile
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from clinadapt.artifacts.hashing import write_json

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
ENOUGH = 50_000_000  # characters of text; more changes a vocabulary little


def train_tokenizer(texts: Iterable[str], size: int, folder: Path) -> None:
    """Write a byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909) of at most `size` tokens in the files that
    transformers loads. Every text can be written in it; it begins a text with `<s>`. The texts are read up to ENOUGH.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    counted = accumulate(texts, lambda seen, text: (seen[0] + len(text), text), initial=(0, ""))
    tokenizer.train_from_iterator((text for _, text in takewhile(lambda seen: seen[0] < ENOUGH, counted)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **SPECIAL},
    )
