"""Copies of notes as hospitals make them are in the cluster of their note, and unrelated notes are not."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from copied_notes import KINDS

from clinadapt.data.copies import Copies, linked_texts
from clinadapt.data.duplicates import comparable_form, normal_form
from clinadapt.data.note_links import join


def copies(kind: str, notes: list[str]) -> list[str]:
    rng = Random(0)
    return [KINDS[kind](note, [other for other in notes[:20] if other != note], rng) for note in notes]


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_than_two_percent_of_the_copies_are_missed(kind: str, built_in_texts: list[str]) -> None:
    long = [text for text in dict.fromkeys(built_in_texts) if len(text.split()) >= 60]
    notes = long[:150]
    texts = [normal_form(text) for text in [*notes, *copies(kind, notes)]]
    cluster = join(len(texts), linked_texts(texts, 0.3)).cluster
    missed = np.mean(cluster[: len(notes)] != cluster[len(notes) :])
    assert missed < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_of_real_notes(kind: str, mtsamples: list[dict[str, str]]) -> None:
    long = sorted({row["transcription"] for row in mtsamples if len(row["transcription"].split()) >= 80})
    notes = Random(4).sample(long, 100)
    texts = [normal_form(text) for text in [*notes, *copies(kind, notes)]]
    cluster = join(len(texts), linked_texts(texts, 0.3)).cluster
    assert np.mean(cluster[: len(notes)] != cluster[len(notes) :]) < 0.02


def test_unrelated_notes_stay_apart(mtsamples: list[dict[str, str]]) -> None:
    texts = Random(2).sample(sorted({normal_form(row["transcription"]) for row in mtsamples}), 1200)
    sizes = np.bincount(join(len(texts), linked_texts(texts, 0.3)).cluster)
    assert (sizes * (sizes - 1)).sum() < 1e-4 * len(texts) ** 2
    assert sizes.max() < 0.01 * len(texts)


def test_a_sentence_of_5_to_15_words_belongs_to_the_note_in_which_it_stands(mtsamples: list[dict[str, str]]) -> None:
    """As a note, and as the answer about a conversation: sentences that at most two notes have."""
    rng = Random(1)
    texts = list(map(normal_form, rng.sample(sorted({row["transcription"] for row in mtsamples}), 300)))
    comparable = [f" {comparable_form(text)} " for text in texts]
    drawn = {}
    for number, text in enumerate(texts):
        words = text.split()
        start, length = rng.randrange(max(1, len(words) - 15)), rng.randrange(5, 16)
        phrase = " ".join(words[start : start + length])
        if phrase.count(" ") > 3 and sum(f" {comparable_form(phrase)} " in other for other in comparable) <= 2:
            drawn[phrase] = number
    copies = Copies()
    for text in texts:
        copies.add_note(text)
    for number, phrase in enumerate(drawn):
        copies.add_note(" ".join("".join(rng.choices("abcdefgh", k=8)) for _ in range(30)))  # a conversation
        copies.add_answer(phrase, len(texts) + number)
    for cluster in (join(len(texts) + len(drawn), linked_texts([*texts, *drawn], 0.3)).cluster,
                    join(len(copies), copies.links(0.3)).cluster):  # fmt: skip
        assert np.mean([cluster[n] != cluster[len(texts) + i] for i, n in enumerate(drawn.values())]) < 0.02
        sizes = np.bincount(cluster)
        assert (sizes * (sizes - 1)).sum() < 0.01 * len(cluster) ** 2


def test_a_common_phrase_joins_nothing() -> None:
    copies = Copies()
    for number in range(30):
        copies.add_note(
            f"visit{number}a he has no known drug allergies and topic{number}x matters{number}y here{number}z"
        )
    for note in range(3):
        copies.add_answer("he has no known drug allergies and", 29 - note)
        copies.add_answer("yes this patient has topic1 of the kind", 20 + note)
    assert not any(copies.links(0.9).values())


def test_an_answer_that_is_whole_in_its_own_note_joins_nothing() -> None:
    copies = Copies()
    for number in range(2):
        copies.add_note(
            f"patient{number} was seen by me{number} today in clinic for left knee pain after a fall{number}"
        )
    copies.add_answer("in clinic for left knee pain", 0)
    assert not copies.links(0.9)["an answer about one is about the other, or in it"]


def test_a_template_is_no_copy_where_patients_are_named() -> None:
    rng = Random(4)

    def text(words: int) -> str:
        return " ".join("".join(rng.choices("abcdefgh", k=6)) for _ in range(words))

    template = text(150)
    notes = [f"{template} {text(100)}" for _ in range(60)]
    notes.append(f"{notes[0].removesuffix(notes[0][-60:])} {text(10)}")  # of another patient, yet a copy
    patients = [[number] for number in range(len(notes))]
    assert len(set(join(len(notes), linked_texts(notes, 0.3)).cluster)) == 1
    cluster = join(len(notes), linked_texts(notes, 0.3, patients)).cluster
    assert len(set(cluster)) == 60 and cluster[0] == cluster[60]


def test_what_few_patients_share_is_no_template() -> None:
    copies = Copies()
    for number in range(8):
        copies.add_note(" ".join([*(f"word{place}" for place in range(60)), *(f"own{number}x{i}" for i in range(40))]))
    copies.leave_out_template([[number] for number in range(8)])
    assert len(set(join(8, copies.links(0.3)).cluster)) == 1


def test_notes_that_are_hardly_more_than_a_template_are_apart() -> None:
    form = " ".join(f"word{place}" for place in range(80))
    texts = [f"{form} own{number}" if number else form for number in range(30)]
    copies = Copies()
    for each in texts:
        copies.add_note(each)
    copies.leave_out_template([[number] for number in range(30)])
    copies.add_note(f"{form} {form} later")
    assert len(set(join(31, copies.links(0.3)).cluster)) == 31
