"""Train a small tokenizer on the notes, for a Llama that is pretrained from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, takewhile
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from clinadapt.artifacts.hashing import write_json

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
MAX_CHARACTERS = 50_000_000  # more text changes a small vocabulary little
MIN_PATIENTS = 5  # in whose notes a word stands that tokens are made from


def train_tokenizer(texts: Iterable[tuple[int, str]], vocab_size: int, folder: Path) -> None:
    """Train a byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909) and write it as transformers loads it.

    The tokenizer encodes any text and puts `<s>` before it. It is made from the words that stand in the notes of at
    least MIN_PATIENTS patients, and every figure is a token of its own, so that no token tells the name or the record
    number of one patient.

    Args:
        texts: number of the patient, or of the cluster of notes, and a text; read until MAX_CHARACTERS.
        vocab_size: largest number of tokens.
        folder: is created, and gets tokenizer.json and tokenizer_config.json.
    """
    tokenizer = Tokenizer(models.BPE())
    figures, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([figures, words])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    counted = accumulate(texts, lambda total, text: (total[0] + len(text[1]), text), initial=(0, (0, "")))
    limited = (text for _, text in takewhile(lambda total: total[0] < MAX_CHARACTERS, counted))
    tokenizer.train_from_iterator(_shared_words(tokenizer.pre_tokenizer, limited), trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **SPECIAL_TOKENS},
    )


def _shared_words(splitter: pre_tokenizers.PreTokenizer, texts: Iterable[tuple[int, str]]) -> Iterator[list[str]]:
    """Each word that stands in the notes of enough patients, as often as it stands there."""
    counts: dict[str, int] = {}
    patients: dict[str, set[int]] = {}  # MIN_PATIENTS at most
    for patient, text in texts:
        for _, (start, end) in splitter.pre_tokenize_str(text):
            word = text[start:end]
            counts[word] = counts.get(word, 0) + 1
            of_word = patients.setdefault(word, set())
            if len(of_word) < MIN_PATIENTS:
                of_word.add(patient)
    for word, count in counts.items():
        if len(patients[word]) == MIN_PATIENTS:
            yield [word] * count
