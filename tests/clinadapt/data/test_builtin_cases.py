"""The built-in notes: reproducible, plausible, worth learning from, and not given away by a single word."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import combinations
from random import Random

import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from sklearn.tree import DecisionTreeClassifier

from clinadapt.data.builtin_cases import generate
from clinadapt.data.builtin_cases.note_writer import COMPOSED, Note
from clinadapt.data.builtin_cases.sampling import sample_case
from clinadapt.data.builtin_cases.vocabulary import Condition, vocabulary
from clinadapt.data.builtin_cases.writer import Writer

LABELS = [label for label, _ in vocabulary()["specialties"].values()]
DIGEST = """
import hashlib, json
from clinadapt.data.builtin_cases import generate
print(hashlib.sha256(json.dumps(list(generate(300, 7))).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def rows() -> list[Note]:
    return list(generate(2000, seed=1))


@pytest.fixture(scope="module")
def notes(rows: list[Note]) -> dict[str, list[Note]]:
    """Each different note with its listings."""
    listings = defaultdict(list)
    for row in rows:
        listings[row["transcription"]].append(row)
    return listings


def test_the_same_seed_gives_the_same_rows_in_any_process() -> None:
    here = hashlib.sha256(json.dumps(list(generate(300, 7))).encode()).hexdigest()
    for hash_seed in "0", "12345":
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        there = subprocess.run([sys.executable, "-c", DIGEST], env=env, capture_output=True, text=True, check=True)
        assert there.stdout.strip() == here


def test_another_seed_gives_other_notes() -> None:
    first, second = ({row["transcription"] for row in generate(300, seed)} for seed in (7, 8))
    assert not first & second


@pytest.mark.parametrize("count", [0, 1, 37, 500])
def test_as_many_rows_as_asked_for_and_fewer_are_the_beginning_of_more(count: int, rows: list[Note]) -> None:
    assert list(generate(count, seed=1)) == rows[:count]


def test_rows_have_the_layout_of_mtsamples(rows: list[Note]) -> None:
    for row in rows:
        assert list(row) == ["description", "medical_specialty", "sample_name", "transcription", "keywords"]
        assert all(value.strip() for value in row.values())
        assert row["keywords"].startswith(row["medical_specialty"].lower() + ", ")
        assert not re.search(r"[{}|\[\]]", "".join(row.values())), "a template was left unfilled"


def test_every_specialty_is_there_unevenly(rows: list[Note]) -> None:
    shares = {label: n / len(rows) for label, n in Counter(row["medical_specialty"] for row in rows).items()}
    assert shares.keys() == set(LABELS)
    assert 0.06 < min(shares.values()) < 0.15 and 0.2 < max(shares.values()) < 0.35


def test_the_label_is_never_named(rows: list[Note]) -> None:
    words = {word for label in LABELS for word in re.findall(r"\w+", label)}
    named = re.compile(rf"\b({'|'.join(words)})\b", re.IGNORECASE)
    assert not [row["sample_name"] for row in rows if named.search(row["transcription"] + row["description"])]


def test_some_notes_are_listed_under_a_second_specialty(notes: dict[str, list[Note]]) -> None:
    twice = [listings for listings in notes.values() if len(listings) > 1]
    assert 0.09 < len(twice) / len(notes) < 0.15
    for listings in twice:
        assert len(listings) == 2 and listings[0]["medical_specialty"] != listings[1]["medical_specialty"]
        assert listings[0]["sample_name"] == listings[1]["sample_name"]


def test_a_few_notes_are_dictated_again_and_the_others_differ(notes: dict[str, list[Note]]) -> None:
    shingles = {text: _shingles(text) for text in notes}
    where = defaultdict(list)
    for text, grams in shingles.items():
        for gram in grams:
            where[gram].append(text)
    candidates = {pair for texts in where.values() if len(texts) <= 3 for pair in combinations(sorted(texts), 2)}
    alike = [(a, b) for a, b in candidates if _jaccard(shingles[a], shingles[b]) >= 0.3]
    assert 0.005 < len(alike) / len(notes) < 0.02
    for first, second in alike:
        assert notes[first][0]["description"] == notes[second][0]["description"], "two patients, one note"
        assert notes[first][0]["medical_specialty"] == notes[second][0]["medical_specialty"]


def _shingles(text: str, size: int = 8) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[i : i + size]) for i in range(len(words) - size + 1)}


def _jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)


def test_notes_are_varied(notes: dict[str, list[Note]]) -> None:
    once = [listings for listings in notes.values() if len(listings) == 1]
    assert len(once) + 2 * (len(notes) - len(once)) == sum(map(len, notes.values())), "a note came up by chance twice"
    lengths = sorted(len(text.split()) for text in notes)
    assert 110 < lengths[len(lengths) // 2] < 180
    assert lengths[len(lengths) // 50] > 45 and lengths[-1] < 420
    histories = {re.sub(r"[\d/]+", "0", listings[0]["description"]) for listings in notes.values()}
    assert len(histories) > 0.4 * len(notes)
    sentences = {sentence for text in notes for sentence in re.split(r"(?<=[.:])\s+", text)[:4] if len(sentence) > 40}
    assert len(sentences) > 0.9 * len(notes)


def test_what_is_said_fits_the_sex(rows: list[Note]) -> None:
    of_women = r"pregnan|gravid|uter(us|ine)|ovar|vagina|menstrua|menses|pap smear|hysterect|cesarean|cervix|\bG\d ?P\d"
    of_men = r"prostat|scrot|testis|testes|vasectomy|\bPSA\b|hydrocele|\bBPH\b"
    for row in rows:
        woman = bool(re.search(r"-year-old (woman|female|lady)", row["description"]))
        assert woman != bool(re.search(r"-year-old (man|male|gentleman)", row["description"]))
        assert not re.search(of_men if woman else of_women, row["transcription"], re.IGNORECASE), row["sample_name"]
        assert not re.search(r"\b(he|his|him)\b" if woman else r"\b(she|hers?)\b", row["transcription"]), row[
            "sample_name"
        ]


CLASHES = (  # drugs of one class are not given together, anticoagulants and NSAIDs neither
    r"[a-z]+statin\b",
    r"[a-z]+(?:pril|sartan)\b",
    r"[a-z]+(?:prazole|tidine)\b",
    r"apixaban|warfarin|rivaroxaban|enoxaparin|ibuprofen|naproxen|meloxicam|celecoxib|ketorolac",
    r"tamsulosin|alfuzosin",
    r"sertraline|amitriptyline",
    r"tiotropium|albuterol",
    r"oxybutynin|mirabegron|trospium",
    r"aspirin",
    r"levetiracetam|lamotrigine|topiramate",
    r"cyclobenzaprine|baclofen",
)
ALLERGIES = {"Penicillin": r"cillin|\bcef|\bceph", "Codeine": r"codone|morph|fentanyl", "Ibuprofen": r"profen|naproxen"}


@pytest.mark.parametrize("condition", vocabulary()["conditions"], ids=lambda condition: condition.title)
def test_drugs_fit_one_another_the_allergy_and_the_pregnancy(condition: Condition) -> None:
    rng = Random(0)
    for _ in range(40):
        case = sample_case(condition, rng)
        for clash in CLASHES:
            at_home = set(re.findall(clash, " ".join(case.home_drugs)))
            treated = set(re.findall(clash, " ".join(case.treatment)))
            assert len(at_home) < 2 and not (at_home and treated), clash
        for substance, forbidden in ALLERGIES.items():
            if case.slots["allergy"].startswith(substance):
                assert not re.search(forbidden, " ".join(case.home_drugs + case.treatment)), substance
        if "ga" in case.slots:
            assert not re.search(r"statin|[a-z]pril|sartan|warfarin|topiramate|metformin", " ".join(case.home_drugs))


def test_the_words_name_only_what_exists() -> None:
    shared = vocabulary()
    for condition in shared["conditions"]:
        assert set(condition.avoid.split()) <= shared["past"].keys() | shared["operations"].keys(), condition.title
        assert condition.vitals.keys() <= shared["vitals"].keys(), condition.title
        assert condition.exam.keys() <= shared["exam"].keys(), condition.title
        assert condition.listed.keys() <= shared["specialties"].keys(), condition.title
        assert bool(condition.study) == bool(condition.findings), condition.title
        assert bool(condition.procedure) == bool(condition.steps), condition.title
        assert condition.study.get("region", "film") in shared["regions"], condition.title
        assert condition.procedure.get("setting", "theatre") in shared["settings"], condition.title


def test_every_template_can_be_filled_in() -> None:
    rng = Random(0)
    for condition in vocabulary()["conditions"]:
        writer = Writer(sample_case(condition, rng), rng, COMPOSED)
        fields = [getattr(condition, name) for name in ("history", "plan", "follow", "course", "findings", "steps")]
        for template in [*fields, *condition.exam.values(), *condition.labs.values()]:
            for text in (writer.expand(template) for _ in range(5)):
                assert not re.search(r"[{}|\[\]]", text), condition.title


def test_400_rows_hold_at_least_20_different_notes_of_each_specialty() -> None:
    for seed in 1, 7, 8:
        first_listed = {}
        for row in generate(400, seed):
            first_listed.setdefault(row["transcription"], row["medical_specialty"])
        assert min(Counter(first_listed.values())[label] for label in LABELS) >= 20


def test_text_tells_the_specialty_but_no_single_word_does() -> None:
    rows = list(generate(1000, seed=2))
    texts, labels = [row["transcription"] for row in rows], [row["medical_specialty"] for row in rows]
    split = GroupShuffleSplit(n_splits=1, test_size=0.3, random_state=0)
    train, test = next(split.split(texts, labels, groups=texts))
    vectors = TfidfVectorizer(sublinear_tf=True, min_df=3)
    x_train, x_test = vectors.fit_transform([texts[i] for i in train]), vectors.transform([texts[i] for i in test])
    y_train, y_test = [labels[i] for i in train], [labels[i] for i in test]
    majority = Counter(y_test).most_common(1)[0][1] / len(y_test)
    accuracy = LogisticRegression(C=10, tol=1e-2, max_iter=300).fit(x_train, y_train).score(x_test, y_test)
    assert majority + 0.35 < accuracy < 0.93
    few_words = DecisionTreeClassifier(max_leaf_nodes=len(LABELS), random_state=0).fit(x_train, y_train)
    assert few_words.score(x_test, y_test) < accuracy - 0.15

    presence = CountVectorizer(binary=True, min_df=5).fit_transform(texts)
    for label in LABELS:
        mine = [i for i, other in enumerate(labels) if other == label]
        hits = presence[mine].sum(axis=0)
        assert (2 * hits / (presence.sum(axis=0) + len(mine))).max() < 0.7, f"one word finds {label}"
