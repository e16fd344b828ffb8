"""Triples become tokens; a note, its copies and its sections are in one split, whatever their source."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import SYNTHESIS, jaccard, shingles

from clinadapt.artifacts.manifest import write_manifest
from clinadapt.config.instruct import Examples
from clinadapt.data.builtin_cases import generate
from clinadapt.data.duplicates import normal_form
from clinadapt.data.schemas.instruct import CORPUS, EXAMPLES, PREFERENCES, PREFERRED, TASKS, TEXTS, TRIPLES
from clinadapt.data.tables import SPLITS, open_tables
from clinadapt.errors import UserError
from clinadapt.models.chat_template import Template, load_tokenizer
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from components.format import token_cache
from components.format.instruct import run

SETTINGS = Examples(max_length=256, test_share=0.2, validation_share=0.2)


def triple(note: str, instruction: str = "What?", answer: str = "That.", **fields: Any) -> tuple[Any, ...]:
    row = {"source": 0, "row": 1, "note_text": note, "instruction": instruction, "answer": answer, "task": TASKS[0],
           "answerable": True, "check": "none", "spans": [], "private": False, "specialty": None,
           "patient": None, "encounter": None, "date": None, "sex": None, "age_band": None, **fields}  # fmt: skip
    return tuple(row[name] for name in TRIPLES.names)


def write(folder: Path, triples: Any, notes: Any = (), preferences: Any = ()) -> Path:
    """Write an output of synthesize."""
    folder.mkdir()
    with open_tables(folder, notes=TEXTS, triples=TRIPLES, preferences=PREFERENCES) as tables:
        for name, rows in (("triples", triples), ("notes", notes), ("preferences", preferences)):
            for row in rows:
                missing = len(TEXTS if name == "notes" else PREFERENCES) - len(row) if name != "triples" else 0
                tables[name].add((*row, *[None] * missing))
    write_manifest(folder, {"source": [{"kind": "notes", "uri": "builtin://cases"}], "origin": {}, **SYNTHESIS})
    return folder


def a_store(folder: Path) -> Store:
    return open_store((folder / "store").as_uri())


@pytest.fixture(scope="module")
def notes() -> list[str]:
    return [row["transcription"] for row in generate(120, 3)]


def read(folder: Path, name: str, schema: Any = EXAMPLES) -> list[dict[str, Any]]:
    return pq.read_table(folder / f"{name}.parquet", schema=schema).to_pylist()


def splits_of(folder: Path) -> dict[int, set[str]]:
    """Row of a triple -> the splits that it is in."""
    found = defaultdict(set)
    for name in SPLITS:
        for row in read(folder, name):
            found[row["row"]].add(name)
    return found


def test_whole_run_with_a_tokenizer_of_its_own(notes: list[str], tmp_path: Path) -> None:
    triples = [
        triple(note, f"Question {task}?", "The answer.", row=number, task=task, answerable=task != TASKS[1],
               sex="female", age_band="under 18 years")
        for number, note in enumerate(notes, start=1)
        for task in TASKS[:2]
    ]  # fmt: skip
    texts = [(1, number, "notes", note, None, False) for number, note in enumerate(notes, start=1)]
    pairs = [(2, number, note, "Which?", "This one.", "Not this.") for number, note in enumerate(notes, start=1)]
    folder = write(tmp_path / "in", triples, texts, pairs)
    manifest = run(folder, tmp_path / "out", SETTINGS, "builtin://llama", 500, True, a_store(tmp_path))
    again = run(folder, tmp_path / "again", SETTINGS, "builtin://llama", 500, True, a_store(tmp_path))
    assert manifest["digest"] == again["digest"]
    tokenizer = load_tokenizer(tmp_path / "out/tokenizer")
    assert len(tokenizer) == 500 and tokenizer.chat_template
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<s>", "</s>", "<pad>")
    rows = {name: read(tmp_path / "out", name) for name in SPLITS}
    different = len({normal_form(note) for note in notes})
    assert sum(map(len, rows.values())) == 2 * different
    assert manifest["dropped"]["note and instruction repeated"] == 2 * (len(notes) - different)
    for name, examples in rows.items():
        assert manifest["rows"][name] == len(examples) == sum(manifest["task_mix"][name].values())
        assert manifest["answerable"][name] == 0.5
        assert manifest["tokens"][name]["total"] == sum(len(row["input_ids"]) for row in examples)
        assert manifest["tokens"][name]["trimmed_tokens"] == sum(row["trimmed_tokens"] for row in examples)
        for row in examples:
            answer = row["input_ids"][row["prompt_tokens"] :]
            assert tokenizer.decode(answer) == "The answer.</s>"
            assert len(row["input_ids"]) <= 256
            assert (row["specialty"], row["sex"], row["age_band"]) == (None, "female", "under 18 years")
            assert (row["answer"] is None) == (row["note_text"] is None) == (name == "train")
    corpus = read(tmp_path / "out", "corpus", CORPUS)
    sides_of = {row["note_id"]: name for name in SPLITS for row in rows[name]}
    assert {row["note_id"]: row["side"] for row in corpus} == {n: s for n, s in sides_of.items() if s != "test"}
    for row in corpus:
        ids = row["input_ids"]
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert ids.count(tokenizer.eos_token_id) == 1
    preferred = read(tmp_path / "out", "preferences", PREFERRED)
    assert {row["note_id"] for row in preferred} == {n for n, side in sides_of.items() if side == "train"}
    assert tokenizer.decode(preferred[0]["rejected_ids"]) == "Not this.</s>"


def test_no_near_duplicates_in_two_splits(notes: list[str], tiny_llama: Path, tmp_path: Path) -> None:
    """Checked on every pair of notes, without the code that clusters."""
    changed = [note.replace(".", " indeed.", 2) for note in notes]
    triples = [triple(note, row=number) for number, note in enumerate(notes + changed)]
    manifest = run(
        write(tmp_path / "in", triples), tmp_path / "out", SETTINGS, tiny_llama.as_uri(), 0, False, a_store(tmp_path)
    )
    assert manifest["shared_clusters"] == 0
    found = splits_of(tmp_path / "out")
    grams = {number: shingles(normal_form((notes + changed)[number])) for number in found}
    crossing = [
        (i, j)
        for i in found
        for j in found
        if i < j and found[i] != found[j] and grams[i] & grams[j] and jaccard(grams[i], grams[j]) >= 0.3
    ]
    assert crossing == []


def test_a_section_text_is_in_the_split_of_the_note_that_contains_it(
    notes: list[str], tiny_llama: Path, tmp_path: Path
) -> None:
    different = list({normal_form(note): note for note in notes}.values())[:60]
    whole = [triple(note, row=number) for number, note in enumerate(different)]
    dialogues = [
        triple(f"Doctor: what of case {number}? Patient: it is number {number}.", "Write it.",
               " ".join(note.split()[20:50]), row=number)
        for number, note in enumerate(different)
    ]  # fmt: skip
    run(
        write(tmp_path / "in", whole + dialogues),
        tmp_path / "out",
        SETTINGS,
        tiny_llama.as_uri(),
        0,
        False,
        a_store(tmp_path),
    )
    found = splits_of(tmp_path / "out")
    assert len(found) == 60
    assert {len(on) for on in found.values()} == {1}
    assert set.union(*found.values()) == set(SPLITS)


def test_other_notes_do_not_move_a_note(notes: list[str], tiny_llama: Path, tmp_path: Path) -> None:
    few = [triple(note, row=number) for number, note in enumerate(notes[:60])]
    more = [triple(row["transcription"], row=1000 + n) for n, row in enumerate(generate(60, 99))]
    run(write(tmp_path / "few", few), tmp_path / "a", SETTINGS, tiny_llama.as_uri(), 0, False, a_store(tmp_path))
    run(
        write(tmp_path / "more", more + few), tmp_path / "b", SETTINGS, tiny_llama.as_uri(), 0, False, a_store(tmp_path)
    )
    a, b = splits_of(tmp_path / "a"), splits_of(tmp_path / "b")
    moved = [row for row in a if row in b and a[row] != b[row]]
    assert len(moved) <= 0.1 * len(a)  # those whose cluster grew together with another


def test_only_new_rows_are_tokenized(
    notes: list[str], tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes are added at the end and inside, one is removed, a chunk is damaged: the bytes are those without cache."""
    monkeypatch.setattr(token_cache, "NOTES_PER_CHUNK", 4)
    triples = [triple(note, f"Question {task}?", row=n, task=task) for n, note in enumerate(notes) for task in TASKS]
    new = [triple(row["transcription"], row=1000 + n) for n, row in enumerate(generate(12, 99))]
    grown = [*triples[:160], new[0], *triples[160:400], *triples[408:], *new[1:]]
    asked: list[str] = []
    encode = Template.encode_answers
    monkeypatch.setattr(
        Template, "encode_answers", lambda self, answers: asked.extend(answers) or encode(self, answers)
    )
    store = a_store(tmp_path)
    base = tiny_llama.as_uri()
    run(write(tmp_path / "in", triples), tmp_path / "out", SETTINGS, base, 0, False, store)
    assert len(asked) == len({t[2] + t[3] for t in triples})
    damaged = store.list("tokens/")[0]
    store.put(damaged, store.get(damaged)[0][:-200] + bytes(200))
    asked.clear()
    found = run(write(tmp_path / "grown", grown), tmp_path / "b", SETTINGS, base, 0, False, store)
    assert 0 < len(asked) < 0.4 * len(grown)
    fresh = run(tmp_path / "grown", tmp_path / "c", SETTINGS, base, 0, False, a_store(tmp_path / "other"))
    assert found["digest"] == fresh["digest"]
    shorter = SETTINGS.model_copy(update={"max_length": 128})
    asked.clear()
    run(tmp_path / "grown", tmp_path / "d", shorter, base, 0, False, store)
    assert len(asked) == fresh["rows"]["train"] + fresh["rows"]["validation"] + fresh["rows"]["test"]


def test_tokens_of_another_end_of_sequence_are_not_reused(notes: list[str], tiny_llama: Path, tmp_path: Path) -> None:
    """tokenizer.json and chat template are the same; eos_token is in tokenizer_config.json."""
    other = Path(shutil.copytree(tiny_llama, tmp_path / "other"))
    tokenizer = load_tokenizer(other)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(7)
    tokenizer.save_pretrained(other)
    folder, store = write(tmp_path / "in", [triple(note, row=n) for n, note in enumerate(notes)]), a_store(tmp_path)
    for number, base in enumerate((tiny_llama, other)):
        run(folder, tmp_path / f"out-{number}", SETTINGS, base.as_uri(), 0, False, store)
    ends = [{row["input_ids"][-1] for row in read(tmp_path / f"out-{number}", "train")} for number in range(2)]
    assert ends == [{load_tokenizer(tiny_llama).eos_token_id}, {7}]


def test_a_failing_cache_is_ignored(
    notes: list[str], tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").write_text("no folder")
    triples = [triple(note, row=n) for n, note in enumerate(notes)]
    run(write(tmp_path / "in", triples), tmp_path / "out", SETTINGS, tiny_llama.as_uri(), 0, False, a_store(tmp_path))
    assert "cannot cache in tokens" in capsys.readouterr().err


def test_chats_are_split_by_their_instruction(tiny_llama: Path, tmp_path: Path) -> None:
    triples = [triple("", f"Say the number {number}.", row=number) for number in range(80)]
    manifest = run(
        write(tmp_path / "in", triples), tmp_path / "out", SETTINGS, tiny_llama.as_uri(), 0, True, a_store(tmp_path)
    )
    assert manifest["clusters"] == 80
    assert read(tmp_path / "out", "corpus", CORPUS) == []


def test_spans_are_spared_in_training_only(tiny_llama: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    letters = str.maketrans("0123456789", "abcdefghij")  # notes that differ in numbers alone are near duplicates
    filler = [" ".join(f"w{n}x{i}".translate(letters) for i in range(400)) for n in range(40)]
    notes = [f"{text[:1200]} the key is {n} {text[1200:]}" for n, text in enumerate(filler)]
    triples = [
        triple(note, answer=str(n), row=n, spans=[{"start": 1201, "end": note.index(f"is {n} ") + 5}])
        for n, note in enumerate(notes)
    ]
    manifest = run(
        write(tmp_path / "in", triples), tmp_path / "out", SETTINGS, tiny_llama.as_uri(), 0, False, a_store(tmp_path)
    )
    for name in SPLITS:
        assert manifest["tokens"][name]["trimmed_rows"] == manifest["rows"][name]
        assert {"the key is" in tokenizer.decode(row["input_ids"]) for row in read(tmp_path / "out", name)} == {
            name == "train"
        }


def test_too_long_rows_are_dropped_and_counted(notes: list[str], tiny_llama: Path, tmp_path: Path) -> None:
    triples = [triple(note, row=number) for number, note in enumerate(notes[:40])]
    bad = [triple(notes[50], "Long answer", "word " * 400), triple(notes[50], "word " * 400)]
    preferences = [(0, 1, note, "q", "good", "word " * 400) for note in notes[:40]]
    folder = write(tmp_path / "in", triples + bad, preferences=preferences)
    manifest = run(folder, tmp_path / "out", SETTINGS, tiny_llama.as_uri(), 0, False, a_store(tmp_path))
    dropped = manifest["dropped"]
    assert (dropped["answer too long"], dropped["instruction too long"]) == (1, 1)
    assert dropped["preference too long"] + dropped["preference about a held-out note"] == 40
    assert manifest["rows"]["preferences"] == 0
    assert not (tmp_path / "out/corpus.parquet").exists()


def test_too_few_notes_leave_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the notes form 1 clusters"):
        run(
            write(tmp_path / "in", [triple("One note.")]),
            tmp_path / "out",
            SETTINGS,
            tiny_llama.as_uri(),
            0,
            False,
            a_store(tmp_path),
        )
    assert not (tmp_path / "out").exists()
