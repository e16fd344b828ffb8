"""Windows of a long text overlap without a gap, whatever the tokens between its words."""

from pathlib import Path

import pytest
from token_classifiers import write_token_classifier
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from clinadapt.models.token_classifier import TokenClassifier


@pytest.mark.parametrize("side", ["right", "left"])
def test_no_letter_is_lost_where_blanks_are_tokens_without_characters(tmp_path: Path, side: str) -> None:
    folder = write_token_classifier(tmp_path / "model", {"0": "O"}, {f"w{number}": "O" for number in range(300)})
    signs = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({sign: number for number, sign in enumerate(signs)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, truncation_side=side, **special).save_pretrained(folder)
    text = "a b  c d  e f  g h  " * 20
    assert TokenClassifier(folder.as_uri()).labels(text) == [
        (place, place + 1, "O") for place, sign in enumerate(text) if sign != " "
    ]
