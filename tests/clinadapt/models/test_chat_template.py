"""One template for training, evaluation and prediction: what is trimmed, what may never be, and where it ends."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from clinadapt.errors import UserError
from clinadapt.models.chat_template import SYSTEM, TRIM_MARK, Question, Template, load_tokenizer

NOTE = " ".join(f"Finding number {i} is unremarkable." for i in range(200))
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{{ '<' + m.role + '>' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def tokenizer(tiny_llama: Path) -> Any:
    return load_tokenizer(tiny_llama)


def test_the_prompt_is_the_chat_without_its_answer(tokenizer: Any) -> None:
    template, question = Template(tokenizer), Question("Knee pain.", "What hurts?")
    (prompt,) = template.encode_prompts([question], [1000])
    (answer,) = template.encode_answers(["The knee."])
    user = {"role": "user", "content": "### Note\nKnee pain.\n\n### Instruction\nWhat hurts?"}
    messages = [{"role": "system", "content": SYSTEM}, user, {"role": "assistant", "content": "The knee."}]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    assert tokenizer.decode(prompt.input_ids + answer) == whole
    assert tokenizer.decode(prompt.input_ids) == template.prompt(question)
    assert template.parse(prompt.input_ids) == question
    assert (prompt.input_ids[0], answer[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert answer.count(tokenizer.eos_token_id) == 1


def test_a_chat_template_without_a_system_role(tokenizer: Any) -> None:
    tokenizer.chat_template = NO_SYSTEM
    template = Template(tokenizer)
    assert (
        template.prompt(Question("a", "b")) == f"<user>{SYSTEM}\n\n### Note\na\n\n### Instruction\nb</s>\n<assistant>"
    )
    assert template.encode_answers(["c"])[0][-1] == tokenizer.eos_token_id


@pytest.mark.parametrize(
    "chat", ["{{ messages[0].content | upper }}", "{% for m in messages %}{{ m.role }}{% endfor %}"]
)
def test_a_template_that_rewrites_messages_is_refused(tokenizer: Any, chat: str) -> None:
    tokenizer.chat_template = chat
    with pytest.raises(UserError, match="chat template"):
        Template(tokenizer)


def test_a_tokenizer_without_eos_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="end-of-sequence"):
        load_tokenizer(tmp_path)


def test_special_tokens_spelt_in_a_text_are_words(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    template = Template(tokenizer)
    (prompt,) = template.encode_prompts([Question("a</s>b<|turn|>c", "d<s>e")], [1000])
    (answer,) = template.encode_answers(["f</s>g"])
    assert prompt.input_ids.count(tokenizer.bos_token_id) == 1
    assert not {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|turn|>")} & set(prompt.input_ids)
    assert answer.count(tokenizer.eos_token_id) == 1


def note_of(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids).split("### Note\n")[1].split("\n\n### Instruction")[0]


def test_a_long_note_is_trimmed_between_its_ends_and_protected_spans(tokenizer: Any) -> None:
    template, start = Template(tokenizer), NOTE.index("Finding number 91")
    span = (start, start + len("Finding number 91 is unremarkable."))
    questions = [Question(NOTE, "What is it?"), Question(NOTE, "What is it?", [span])]
    whole, *_ = template.encode_prompts(questions[:1], [10_000])
    plain, spared = template.encode_prompts(questions, [300, 300])
    for prompt in (plain, spared):
        note = note_of(tokenizer, prompt.input_ids)
        assert 280 <= len(prompt.input_ids) <= 300
        assert note.startswith("Finding number 0 is") and note.endswith("199 is unremarkable.") and TRIM_MARK in note
        assert set(note.split()) <= {*NOTE.split(), TRIM_MARK.strip()}  # no half words
        assert tokenizer.decode(prompt.input_ids).endswith("What is it?\n\n### Answer\n")
        assert prompt.trimmed_tokens == pytest.approx(len(whole.input_ids) - len(prompt.input_ids), abs=25)
    assert "number 91 is unremarkable." in note_of(tokenizer, spared.input_ids)
    assert "number 91 " not in note_of(tokenizer, plain.input_ids)


def test_a_protected_span_after_a_special_token_is_not_trimmed(tokenizer: Any) -> None:
    note = "</s> " * 40 + NOTE
    start = note.index("Finding number 91")
    (prompt,) = Template(tokenizer).encode_prompts([Question(note, "x", [(start, start + 34)])], [300])
    assert "number 91 is unremarkable." in note_of(tokenizer, prompt.input_ids)


def test_one_word_longer_than_the_room_is_cut_inside(tokenizer: Any) -> None:
    (prompt,) = Template(tokenizer).encode_prompts([Question("٣ة" * 3000, "x")], [200])
    assert 150 < len(prompt.input_ids) <= 200


def test_an_instruction_is_never_trimmed(tokenizer: Any) -> None:
    template = Template(tokenizer)
    questions = [Question("a note", NOTE), Question("a note", "short")]
    assert [prompt is None for prompt in template.fit_prompts(questions, [300, 300])] == [True, False]
    with pytest.raises(UserError, match="raise the length"):
        template.encode_prompts(questions, [300, 300])


def test_alone_or_in_a_batch_a_prompt_is_the_same(tokenizer: Any) -> None:
    template = Template(tokenizer)
    questions = [Question(NOTE[: 500 * i], f"Question {i}?") for i in range(6)]
    together = template.encode_prompts(questions, [256] * 6)
    assert together == [template.encode_prompts([question], [256])[0] for question in questions]


def test_questions_about_a_long_note_share_an_excerpt_with_all_protected_spans(tokenizer: Any) -> None:
    template = Template(tokenizer)
    starts = [NOTE.index(f"Finding number {number} ") for number in (91, 120)]
    questions = [
        Question(NOTE, f"{'Tell me: ' * i}what is it?", [(start, start + 34)]) for i, start in enumerate(starts)
    ]
    short = Question("Another note.", "What?")
    shared = template.fit_prompts([questions[0], short, questions[1]], [310, 300, 290], True)
    one, other = (note_of(tokenizer, prompt.input_ids) for prompt in (shared[0], shared[2]) if prompt)
    assert one == other and "number 91 is" in one and "number 120 is" in one
    assert all(prompt and len(prompt.input_ids) <= most for prompt, most in zip(shared, (310, 300, 290), strict=True))
    assert shared[1] == template.encode_prompts([short], [300])[0]
    alone = template.fit_prompts([questions[0], questions[1]], [310, 290])
    assert alone[0] and "number 120 is" not in note_of(tokenizer, alone[0].input_ids)


def test_a_long_instruction_does_not_take_the_note_from_the_others(tokenizer: Any) -> None:
    template = Template(tokenizer)
    questions = [Question(NOTE, "What is it?"), Question(NOTE, " ".join(["long"] * 150))]
    assert template.fit_prompts(questions, [300, 300], True) == template.fit_prompts(questions, [300, 300])
    middle = NOTE.index("Finding number 91")
    all_protected = [Question(NOTE, "What?", [(middle, middle + 1500)]), Question(NOTE, "Why?", [(0, 1500)])]
    assert template.fit_prompts(all_protected, [400, 400], True) == template.fit_prompts(all_protected, [400, 400])


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% include 'other' %}",
        "{{ 1 / 0 }}",
        "{{ messages[9].content }}",
        "{{ messages.content.text }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ 'a' + 1 }}",
    ],
)
def test_a_template_that_fails_is_an_error_line(template: str, tiny_llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(UserError, match=r"the chat template of the base model (fails|rewrites)"):
        Template(load_tokenizer(folder))
