"""Copies of notes as hospitals make them are in the cluster of their note, and unrelated notes are not."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from copied_notes import KINDS

from clinadapt.data.duplicates import linked_texts, normal_form
from clinadapt.data.note_links import join

FOUND = sorted(KINDS.keys() - {"reordered"})  # 8-grams do not survive short sentences in another order


def copies(kind: str, notes: list[str]) -> list[str]:
    rng = Random(0)
    return [KINDS[kind](note, [other for other in notes[:20] if other != note], rng) for note in notes]


@pytest.mark.parametrize("kind", FOUND)
def test_fewer_than_two_percent_of_the_copies_are_missed(kind: str, built_in_texts: list[str]) -> None:
    long = [
        text for text in dict.fromkeys(built_in_texts) if len(text.split()) >= 100
    ]  # a quarter has 25 words or more
    notes = long[:250]
    texts = [normal_form(text) for text in [*notes, *copies(kind, notes)]]
    cluster = join(len(texts), linked_texts(texts, 0.3)).cluster
    missed = np.mean(cluster[: len(notes)] != cluster[len(notes) :])
    assert missed < 0.02


@pytest.mark.parametrize("kind", FOUND)
def test_the_same_of_real_notes(kind: str, mtsamples: list[dict[str, str]]) -> None:
    long = sorted({row["transcription"] for row in mtsamples if len(row["transcription"].split()) >= 80})
    notes = Random(4).sample(long, 200)
    texts = [normal_form(text) for text in [*notes, *copies(kind, notes)]]
    cluster = join(len(texts), linked_texts(texts, 0.3)).cluster
    assert np.mean(cluster[: len(notes)] != cluster[len(notes) :]) < 0.02


def test_unrelated_notes_stay_apart(mtsamples: list[dict[str, str]]) -> None:
    texts = sorted({normal_form(row["transcription"]) for row in mtsamples})
    sizes = np.bincount(join(len(texts), linked_texts(texts, 0.3)).cluster)
    assert (sizes * (sizes - 1)).sum() < 1e-4 * len(texts) ** 2
    assert sizes.max() < 0.01 * len(texts)
