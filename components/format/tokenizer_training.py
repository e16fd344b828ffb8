"""Train a small tokenizer on the notes, for a Llama that is pretrained from scratch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, takewhile
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from clinadapt.artifacts.hashing import write_json

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
MAX_CHARACTERS = 50_000_000  # more text changes a small vocabulary little


def train_tokenizer(texts: Iterable[str], vocab_size: int, folder: Path) -> None:
    """Train a byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909) and write it as transformers loads it.

    The tokenizer encodes any text and puts `<s>` before it.

    Args:
        texts: read until MAX_CHARACTERS.
        vocab_size: largest number of tokens.
        folder: is created, and gets tokenizer.json and tokenizer_config.json.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    counted = accumulate(texts, lambda total, text: (total[0] + len(text), text), initial=(0, ""))
    limited = (text for _, text in takewhile(lambda total: total[0] < MAX_CHARACTERS, counted))
    tokenizer.train_from_iterator(limited, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **SPECIAL_TOKENS},
    )
