"""The metrics of a model do not depend on where its authors name the token or text that ends an answer, nor on the day:
of base, candidate and champion alike."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import HELD_OUT, make_adapter, make_instruct_splits
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import chat_template_utils

from clinadapt.artifacts.manifest import write_manifest
from clinadapt.config.instruct import Evaluation
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Generator
from clinadapt.models.published_template import PINNED_DATE
from clinadapt.registry.reload_check import compare
from clinadapt.registry.versions import version_folder
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from components.evaluate.champion import Champion
from components.evaluate.instruct import run as evaluate

END = 1  # </s>
SETTINGS = Evaluation(rows_per_task=3, max_new_tokens=16, batch_size=4)
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TODAY = "{{ 'Today: ' + strftime_now('%d %b %Y') }}\n"
Name = Callable[..., Path]


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_instruct_splits(tmp_path_factory.mktemp("instruct") / "splits")


@pytest.fixture(scope="module")
def weights(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama, with a template, whose weights end an answer with END where another token was likely."""
    folder = Path(shutil.copytree(tiny_llama, tmp_path_factory.mktemp("weights") / "base"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    generator = Generator(make_adapter(folder.parent / "adapter", folder, seed=1, scale=0.005))
    questions = [Question(note, instruction) for note, _, asked in HELD_OUT for instruction, *_ in asked]
    answers = generator.answers(questions, max_new_tokens=16)
    likely, _ = Counter(token for answer in answers for token in set(answer.tokens[2:])).most_common(1)[0]
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.lm_head.weight.data[END] = 1.02 * model.lm_head.weight.data[likely]
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def named(weights: Path, tmp_path: Path) -> Name:
    """The same weights, with the tokenizer's eos, a template and what the generation config says."""

    def name(folder: str, eos: str, template: str = TEMPLATE, **published: Any) -> Path:
        path = Path(shutil.copytree(weights, tmp_path / folder))
        tokenizer = AutoTokenizer.from_pretrained(path)
        tokenizer.eos_token, tokenizer.chat_template = eos, template
        tokenizer.save_pretrained(path)
        GenerationConfig(**published).save_pretrained(path)
        return path

    return name


def published(adapter: Path, store: Store) -> str:
    """The key prefix of an adapter in a store, as a version of its own."""
    write_manifest(adapter, {"name": "answers", "version": "v"})
    folder = version_folder(store, "answers", "v")
    assert folder.publish(adapter, if_absent=True)
    return folder.prefix


def metrics(splits: Path, base: Path) -> dict[str, dict[str, float]]:
    """Of base, candidate and champion, but those of the reference answers, which end with the tokenizer's eos."""
    store = open_store((base.parent / f"{base.name}-store").as_uri())
    candidate, champion = (
        make_adapter(base.parent / f"{base.name}-{seed}", base, seed=seed, scale=0.005) for seed in (1, 2)
    )
    published(champion, store)
    compared = Champion(store.uri, "answers", "v", "")
    models = evaluate(splits, candidate, base.parent / f"{base.name}-e", compared, SETTINGS, seed=0)["models"]
    return {
        model: {name: entry["value"] for name, entry in result["metrics"].items() if name != "perplexity"}
        for model, result in models.items()
    }


def test_an_end_of_any_name_gives_the_same_metrics(splits: Path, named: Name) -> None:
    by_tokenizer = metrics(splits, named("tokenizer", "</s>", eos_token_id=END))
    by_list = metrics(splits, named("list", "<s>", eos_token_id=[0, END]))
    unnamed = metrics(splits, named("unnamed", "<s>", eos_token_id=0))
    assert by_tokenizer == by_list and by_list.keys() == {"base", "candidate", "champion"}
    for model, values in by_list.items():
        assert values["finished"] > 0 and values != unnamed[model], model


def test_what_was_judged_on_one_day_is_proven_on_the_next(
    splits: Path, named: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what publish runs before it publishes; the date of the answers is published with the adapter."""

    def let_it_be(year: int) -> None:
        class Clock(chat_template_utils.datetime):  # type: ignore[misc,name-defined]
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return cls(year, 12, 31, 23, 59)

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)

    base, store = named("dated", "</s>", TODAY + TEMPLATE, eos_token_id=END), open_store((tmp_path / "store").as_uri())
    let_it_be(2031)
    adapter = make_adapter(tmp_path / "adapter", base, seed=1)
    evaluate(splits, adapter, tmp_path / "e", Champion(store.uri, "answers", "", ""), SETTINGS, seed=0)
    let_it_be(2032)
    proof = compare(store.uri, published(adapter, store), splits, tmp_path / "e")
    assert proof == {"answers": 12, "different": 0}
    rendered = AutoTokenizer.from_pretrained(adapter).apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False
    )
    assert f"Today: {PINNED_DATE:%d %b %Y}" in rendered
