"""A token classifier of a few kilobytes, which takes chosen words for what a test says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_token_classifier(folder: Path, labels: Mapping[str, str], words: Mapping[str, str]) -> Path:
    """Write a BERT whose label for a word depends on the word alone.

    Args:
        folder: of the model.
        labels: `id2label` of its configuration, "0" for any other word.
        words: lower-case word -> its label.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(folder)
    size = 16
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=size,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=size,
        max_position_embeddings=34,
        id2label=dict(labels),
        label2id={label: int(number) for number, label in labels.items()},
    )
    torch.manual_seed(0)
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if not name.endswith("LayerNorm.weight"):
                weights.zero_()
        for number, word in enumerate([*special, *words]):  # a direction of its own for each label
            label = next((int(each) for each, kind in labels.items() if kind == words.get(word)), 0)
            model.bert.embeddings.word_embeddings.weight[number, label] = 1
        for label in range(len(labels)):
            model.classifier.weight[label, label] = 1
    model.save_pretrained(folder)
    return folder
