"""Metrics, clusters and baselines in ten scripts, by properties that hold in all of them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from clinadapt.data.duplicates import Shingles, normal_form
from clinadapt.data.text import words
from clinadapt.evaluation.text_metrics import matches, rouge_l, token_f1
from components.evaluate.baselines import tfidf

# Two sentences of each, without a word in common
SCRIPTS = {
    "Latin": ("Der Patient klagt über Schmerzen im rechten Knie.", "Sie nimmt täglich zweimal Aspirin ein!"),
    "Cyrillic": ("Пациент жалуется на боль в правом колене.", "Она принимает аспирин дважды каждый день!"),
    "Greek": ("Ο ασθενής παραπονιέται για πόνο δεξιά.", "Παίρνει ασπιρίνη δύο φορές ημερησίως!"),
    "Arabic": ("يشكو المريض من ألم في الركبة اليمنى.", "تتناول الأسبرين مرتين يوميا؟"),
    "Hebrew": ("המטופל מתלונן על כאב בברך ימין.", "היא נוטלת אספירין פעמיים ביום!"),
    "Devanagari": ("रोगी को दाहिने घुटने में दर्द है।", "वह प्रतिदिन दो बार एस्पिरिन लेती।"),
    "Hangul": ("환자는 오른쪽 무릎 통증을 호소한다.", "그녀는 매일 두번 아스피린을 복용했다!"),
    "Han": ("患者主诉右膝疼痛。", "她每日服用两次阿司匹林!"),
    "Kana": ("みぎひざがいたむ。", "アスピリンをのんだ!"),
    "Thai": ("ผู้ป่วยปวดเข่าขวา", "มีไข้"),
}


@pytest.fixture(params=SCRIPTS)
def texts(request: pytest.FixtureRequest) -> tuple[str, str]:
    return SCRIPTS[request.param]


@pytest.mark.parametrize("metric", [token_f1, rouge_l])
def test_equal_texts_score_one_and_disjoint_ones_zero(texts: tuple[str, str], metric: object) -> None:
    one, other = texts
    assert not set(words(one.lower())) & set(words(other.lower()))
    for text in texts:
        assert metric(text, text) == 1  # type: ignore[operator]
        assert metric(text.rstrip(".!。।؟"), f"  {text} ") == 1  # type: ignore[operator]
    assert metric(one, other) == 0  # type: ignore[operator]


@pytest.mark.parametrize("metric", [token_f1, rouge_l])
def test_the_order_of_similarity_is_that_of_shared_words(texts: tuple[str, str], metric: object) -> None:
    """200 answers: of two prefixes of a text, the longer is the nearer."""
    one, other = (words(text) for text in texts)
    draw = random.Random(0)
    for _ in range(200):
        fewer, more = sorted(draw.sample(range(len(one) + 1), 2))
        reference, rest = " ".join(one), other[: draw.randrange(len(other))]
        near, far = (" ".join([*one[:count], *rest]) for count in (more, fewer))
        assert metric(near, reference) > metric(far, reference)  # type: ignore[operator]


def test_checked_answers_ignore_the_final_stop() -> None:
    assert matches("右膝疼痛。", "右膝疼痛", "exact") and matches("दर्द है।", "दर्द है", "exact")


def test_near_twins_are_found(texts: tuple[str, str]) -> None:
    """A note of 60 sentences and its copy with one word less, beside another note."""
    draw, shingles = random.Random(0), Shingles()
    vocabulary = [word for text in texts for word in words(text)]
    blank = "" if normal_form(texts[0]).count(" ") > texts[0].count(" ") + 2 else " "
    note, another = (blank.join(draw.choices(vocabulary, k=400)) for _ in range(2))
    copy = note[:700] + note[705:]
    for text in (note, copy, another):
        shingles.add(shingles.hashes(normal_form(text)))
    assert [sorted(pair) for pair in shingles.near_duplicates(0.3)] == [[0, 1]]


def test_the_baseline_learns_words(texts: tuple[str, str]) -> None:
    kinds = [0, 1] * 10
    notes = [texts[kind] + str(number) for number, kind in enumerate(kinds)]
    counts = np.eye(2)[kinds]
    found = tfidf({"train": notes, "validation": notes, "test": notes}, {"train": counts, "validation": counts})
    assert (found["test"].argmax(axis=1) == kinds).all()


def test_a_baseline_without_a_common_word_predicts() -> None:
    notes = {name: ["one", "two"] for name in ("train", "validation", "test")}
    assert np.isfinite(tfidf(notes, {"train": np.eye(2), "validation": np.eye(2)})["test"]).all()
