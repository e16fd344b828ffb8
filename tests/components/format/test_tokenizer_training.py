"""A tokenizer that is made from notes has no token of one patient's name or number."""

from pathlib import Path

from tokenizers import Tokenizer

from clinadapt.data.builtin_cases import generate
from components.format.tokenizer_training import MIN_PATIENTS, train_tokenizer


def test_no_token_stands_in_the_notes_of_few_patients_and_figures_are_apart(tmp_path: Path) -> None:
    names = [f"Velnadal{chr(97 + i)}k" for i in range(12)]
    texts = [(i, f"{names[i]} {names[i]} has the record 4711{i:04}. {row['transcription']}" + f" {names[i]}" * 50)
             for i, row in enumerate(generate(12, 7))]  # fmt: skip
    train_tokenizer(texts, 2000, tmp_path / "tokenizer")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer/tokenizer.json"))
    assert tokenizer.get_vocab_size() > 300
    for token, number in tokenizer.get_vocab().items():
        word = tokenizer.decode([number])
        if len(token) > 1 and not token.startswith("<"):
            assert len({patient for patient, text in texts if word in text}) >= MIN_PATIENTS, word
            assert not any(character.isdigit() for character in word.strip()), word
    text = f"{names[0]} 4711 0000, été"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
