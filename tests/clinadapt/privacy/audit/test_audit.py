"""The audit of a real, tiny adapter: what it was trained on shows, and what it was not trained on does not."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

from clinadapt.data.builtin_cases import generate
from clinadapt.errors import UserError
from clinadapt.models.chat_template import Question, Template, load_tokenizer
from clinadapt.models.generator import Generator
from clinadapt.privacy.audit import run
from clinadapt.privacy.audit.canaries import Canary, canaries, read_canaries
from pipelines.cli.main import app


def write_splits(folder: Path, generator: Generator, listed: list[Canary]) -> Path:
    """Examples about built-in notes, as the step format leaves them; each canary that is trained stands there once."""
    rows: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    for i, note in enumerate(generate(24, 7)):
        text = note["transcription"][:400]
        (prompt,) = generator.template.encode_prompts([Question(text, "Summarize.")], [300])
        (answer,) = generator.template.encode_answers([text[:60]])
        row = {"input_ids": prompt.input_ids + answer, "prompt_tokens": len(prompt.input_ids)}
        rows["test" if i % 3 == 0 else "train"].append(row)
    trained = [canary for canary in listed if canary.repeats]
    questions = [Question("", canary.instruction) for canary in trained]
    prompts = generator.template.encode_prompts(questions, [300] * len(trained))
    answers = generator.template.encode_answers([canary.phrase for canary in trained])
    for prompt, answer in zip(prompts, answers, strict=True):
        rows["train"].append({"input_ids": prompt.input_ids + answer, "prompt_tokens": len(prompt.input_ids)})
    folder.mkdir()
    for name, examples in rows.items():
        pq.write_table(pa.Table.from_pylist(examples), folder / f"{name}.parquet")
    return folder


def overfit(generator: Generator, listed: list[Canary]) -> None:
    """Train the adapter on the canaries that are to be trained, until it knows them."""
    trained = [canary for canary in listed if canary.repeats]
    prompts = generator.template.encode_prompts(
        [Question("", each.instruction) for each in trained], [300] * len(trained)
    )
    answers = generator.template.encode_answers([each.phrase for each in trained])
    weights = [parameter for name, parameter in generator.model.named_parameters() if "lora_" in name]
    for weight in weights:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(weights, lr=0.01)
    for _ in range(30):
        loss = torch.zeros(())
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([prompt.input_ids + answer])
            logits = generator.model(input_ids=ids).logits[0, -len(answer) - 1 : -1]
            loss = loss + cross_entropy(logits.float(), torch.tensor(answer))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_an_adapter_that_was_trained_on_canaries_remembers_them_and_another_does_not(
    instruct_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("OTHERS", 15), ("CONTINUATIONS", 3), ("_LENGTH", 8), ("_MEMBERS", 12)):
        monkeypatch.setattr(run, name, value)
    generator = Generator(instruct_adapter)
    drawn = [each for each in canaries(3) if each.place == "answer"]
    listed = [each for repeats in (0, 16) for each in drawn if each.repeats == repeats][::2]
    splits = write_splits(tmp_path / "splits", generator, listed)
    before = run.audit(generator, listed, 3, splits)
    assert before["verdict"] == "no memory shown" and before["canaries"]["answer, 16 times"]["extracted"] == 0
    assert before["membership"]["low"] <= 0.5 <= before["membership"]["high"]
    overfit(generator, listed)
    after = run.audit(generator, listed, 3, splits)
    group = after["canaries"]["answer, 16 times"]
    print(group)
    assert after["verdict"] == "remembers" and group["alarm"] and group["canaries"] == 6
    assert group["in_training"] == 1
    words = {word for each in listed for word in each.phrase.split()}
    assert not words & set(json.dumps(after).lower().replace('"', " ").split())


def test_a_phrase_is_extracted_however_many_tokens_it_has(instruct_adapter: Path) -> None:
    """A tokenizer that was made from notes knows few of its words."""
    template, listed = Template(load_tokenizer(instruct_adapter)), canaries(3)
    phrases = template.encode_answers([canary.phrase for canary in listed])

    def answers(questions: list[Question], max_new_tokens: int) -> list[SimpleNamespace]:
        written = [tokens[:max_new_tokens] for tokens in phrases]
        return [SimpleNamespace(text=template.tokenizer.decode(row, skip_special_tokens=True)) for row in written]

    knows_all = cast(Generator, SimpleNamespace(template=template, answers=answers))
    assert max(map(len, phrases)) > 16 and all(run._extracted(knows_all, listed).values())


def test_splits_that_are_none_are_refused(instruct_adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train.parquet is missing in .*: name the folder `splits`"):
        run.audit(Generator(instruct_adapter), [], 0, tmp_path)


def test_an_audit_without_canaries_in_training_or_without_held_out_examples_is_refused(
    instruct_adapter: Path, tmp_path: Path
) -> None:
    """Else it would say that nothing is remembered."""
    generator, listed = Generator(instruct_adapter), canaries(3)
    splits = write_splits(tmp_path / "splits", generator, [])
    with pytest.raises(UserError, match="in splits have none of these canaries: name the splits of the run"):
        run.audit(generator, listed, 3, splits)
    test = pq.read_table(splits / "test.parquet")
    pq.write_table(test.slice(0, 0), splits / "test.parquet")
    with pytest.raises(UserError, match=r"test.parquet in splits has no example"):
        run.audit(generator, listed, 3, splits)


def test_canaries_are_written_for_their_owner_and_read_again(tmp_path: Path) -> None:
    source, listed = tmp_path / "canaries.jsonl", tmp_path / "canaries.json"
    done = CliRunner().invoke(app, ["phi", "canaries", str(source), "--list", str(listed), "--seed", "4"])
    assert done.exit_code == 0, done.output
    seed, read = read_canaries(json.loads(listed.read_text()))
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    assert seed == 4 and len(rows) == sum(canary.repeats for canary in read)
    assert source.stat().st_mode & 0o777 == listed.stat().st_mode & 0o777 == 0o600


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("{")
    command = ["phi", "audit", "--adapter", "a", "--splits", str(tmp_path), "--list", str(tmp_path / "list.json")]
    with pytest.raises(UserError, match="list.json cannot be read"):
        CliRunner().invoke(app, command, catch_exceptions=False)
