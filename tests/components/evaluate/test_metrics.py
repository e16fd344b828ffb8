"""Metrics over rows, compared with scikit-learn on the rows themselves and with simulations of known truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest, kstest
from sklearn import metrics as sk

from clinadapt.errors import UserError
from clinadapt.models.calibration import fit_temperature
from components.evaluate.baselines import majority, tfidf
from components.evaluate.classify import Leakage, check_ceiling
from components.evaluate.metrics import BINS, HeldOutNotes, compare, measure, probabilities, ratios, roc


@pytest.fixture
def notes() -> HeldOutNotes:
    """200 notes of four labels, a third of them listed more than once, in 150 clusters."""
    draw = np.random.default_rng(3)
    counts = np.eye(4)[draw.choice(4, 200, p=[0.5, 0.25, 0.2, 0.05])]
    counts[:70] += draw.multinomial(2, [0.25] * 4, 70)
    return HeldOutNotes(counts, draw.integers(0, 150, 200))


@pytest.fixture
def logits(notes: HeldOutNotes) -> np.ndarray:
    return np.random.default_rng(4).normal(size=notes.counts.shape) + 1.5 * notes.counts


def expanded(notes: HeldOutNotes, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(true label, value of its note) of every row."""
    index, labels = np.nonzero(notes.counts)
    repeats = notes.counts[index, labels].astype(int)
    return np.repeat(labels, repeats), np.repeat(values[index], repeats, axis=0)


def test_against_scikit_learn(notes: HeldOutNotes, logits: np.ndarray) -> None:
    p = probabilities(logits)
    result = measure(p, probabilities(logits, 2.0), notes, seed=0)
    truth, rows = expanded(notes, p)
    predicted = rows.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "macro_f1": sk.f1_score(truth, predicted, average="macro"),
        "log_loss": sk.log_loss(truth, rows),
        "log_loss_scaled": sk.log_loss(truth, expanded(notes, probabilities(logits, 2.0))[1]),
    }
    assert {name: result["metrics"][name]["value"] for name in expected} == pytest.approx(expected)
    assert result["confusion"] == sk.confusion_matrix(truth, predicted).tolist()
    scores = np.array(sk.precision_recall_fscore_support(truth, predicted)).T
    names = ("precision", "recall", "f1", "support")
    assert np.array([[entry[name] for name in names] for entry in result["per_class"]]) == pytest.approx(scores)
    for entry in result["per_class"]:
        for name, (low, high) in entry["intervals"].items():
            assert low < entry[name] < high
    for metric in result["metrics"].values():
        assert metric["low"] <= metric["value"] <= metric["high"]


def test_a_label_that_is_never_predicted(notes: HeldOutNotes) -> None:
    p = np.tile([0.7, 0.1, 0.1, 0.1], (200, 1))
    result = measure(p, None, notes, seed=0)
    truth, rows = expanded(notes, p)
    predicted = rows.argmax(axis=1)
    assert result["metrics"]["macro_f1"]["value"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    assert result["metrics"]["balanced_accuracy"]["value"] == pytest.approx(0.25)
    assert [entry["f1"] for entry in result["per_class"]][1:] == [0, 0, 0]
    assert not any(name.endswith("_scaled") for name in result["metrics"])
    assert "NaN" not in json.dumps(result)


def test_any_label_accuracy_by_hand() -> None:
    """A note under two labels is right with either; a note counts as often as it is listed."""
    notes = HeldOutNotes(np.array([[1, 1, 0], [0, 0, 3], [2, 0, 0]]), np.arange(3))
    p = np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.6, 0.2, 0.2]])
    result = measure(p, None, notes, seed=0)["metrics"]
    assert result["any_label_accuracy"]["value"] == pytest.approx(4 / 7)
    assert result["accuracy"]["value"] == pytest.approx(3 / 7)


def test_ceiling_by_hand() -> None:
    notes = HeldOutNotes(np.array([[1, 1, 0], [0, 0, 3], [2, 1, 0]]), np.arange(3))
    assert notes.ceiling() == pytest.approx(6 / 8)
    best = measure(softmax(9.0 * notes.counts, axis=1), None, notes, seed=0)
    assert best["metrics"]["accuracy"]["value"] == pytest.approx(notes.ceiling())


def test_ece_by_hand() -> None:
    """Two bins: confidence 0.6 with accuracy 0 in one row, 0.9 with accuracy 2/3 in three rows."""
    notes = HeldOutNotes(np.array([[0, 1], [1, 0], [1, 0], [0, 1]]), np.arange(4))
    p = np.array([[0.6, 0.4], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    result = measure(p, None, notes, seed=0)
    assert result["metrics"]["ece"]["plain"] == pytest.approx((1 * 0.6 + 3 * abs(0.9 - 2 / 3)) / 4)
    assert result["reliability"] == [
        {"confidence": pytest.approx(0.6), "accuracy": 0.0, "weight": 1.0},
        {"confidence": pytest.approx(0.9), "accuracy": pytest.approx(2 / 3), "weight": 3.0},
    ]


def test_ece_on_rows(notes: HeldOutNotes, logits: np.ndarray) -> None:
    """The definition of Guo et al. 2017, row by row."""
    p = probabilities(logits)
    truth, rows = expanded(notes, p)
    confidence, hit = rows.max(axis=1), rows.argmax(axis=1) == truth
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == b].sum() - hit[bins == b].sum()) for b in range(BINS)]
    assert measure(p, None, notes, seed=0)["metrics"]["ece"]["plain"] == pytest.approx(sum(gaps) / len(truth))


def test_full_confidence_is_in_the_last_bin() -> None:
    notes = HeldOutNotes(np.array([[1, 0], [0, 1]]), np.arange(2))
    result = measure(np.array([[1.0, 0.0], [1.0, 0.0]]), None, notes, seed=0)
    assert result["metrics"]["ece"]["plain"] == pytest.approx(0.5)
    assert np.isfinite(result["metrics"]["log_loss"]["value"])


def test_the_calibration_error_is_less_biased_and_in_its_interval() -> None:
    """Perfectly calibrated models on 60 notes, whose plain error is all noise; the interval holds the estimate."""
    draw, plain, mended = np.random.default_rng(11), [], []
    for seed in range(20):
        truth = draw.dirichlet([1, 1, 1], 60)
        notes = HeldOutNotes(np.array([draw.multinomial(1, p) for p in truth]), np.arange(60))
        ece = measure(truth, None, notes, seed)["metrics"]["ece"]
        assert 0 <= ece["low"] <= ece["value"] <= ece["high"] and ece["value"] <= ece["plain"]
        plain.append(ece["plain"])
        mended.append(ece["value"])
    assert np.mean(mended) < 0.75 * np.mean(plain)


@pytest.mark.parametrize("known", [0.3, 1.0, 2.5, 8.0])
def test_temperature_recovers_a_known_one(known: float) -> None:
    true = 2 * np.random.default_rng(5).normal(size=(300, 5))
    assert fit_temperature(known * true, softmax(true, axis=1)) == pytest.approx(known, rel=1e-3)


def test_a_temperature_of_few_notes_is_better_with_the_ratio_of_a_model_that_errs_alike() -> None:
    """What ClassifyCard.temperature_ratio is for, by simulation: two models of the same notes that err together."""
    draw = np.random.default_rng(7)
    plain, mended = [], []
    for _ in range(20):
        truth = 2 * draw.normal(size=(600, 4))
        counts = np.array([draw.multinomial(1, p) for p in softmax(truth, axis=1)])
        seen = truth + draw.normal(size=truth.shape)
        probe, trained = (scale * (seen + 0.5 * draw.normal(size=truth.shape)) for scale in (1, 1.3))
        few = slice(0, 80)
        ratio = fit_temperature(probe, counts) / fit_temperature(probe[few], counts[few])
        found, best = fit_temperature(trained[few], counts[few]), fit_temperature(trained, counts)
        plain.append(np.log(found / best))
        mended.append(np.log(ratio * found / best))
    assert np.std(mended) < 0.75 * np.std(plain)


def test_temperature_leaves_the_order_and_mends_the_calibration(notes: HeldOutNotes) -> None:
    draw = np.random.default_rng(6)
    true = 2 * draw.normal(size=(3000, 4))
    counts = np.array([draw.multinomial(1, p) for p in softmax(true, axis=1)])
    overconfident = 4 * true
    t = fit_temperature(overconfident[:1500], counts[:1500])
    rest = HeldOutNotes(counts[1500:], np.arange(1500))
    raw, scaled = probabilities(overconfident[1500:]), probabilities(overconfident[1500:], t)
    assert (raw.argmax(axis=1) == scaled.argmax(axis=1)).all()
    result = measure(raw, scaled, rest, seed=0)["metrics"]
    assert result["ece_scaled"]["value"] < 0.05 < result["ece"]["value"]
    assert result["log_loss_scaled"]["value"] < result["log_loss"]["value"]


def test_the_interval_covers_the_truth() -> None:
    """Clusters whose notes are right or wrong together: the 95 % interval holds the true accuracy about 95 times in
    100, where one that took notes for independent would not."""
    draw = np.random.default_rng(7)
    covered, runs, clusters, accuracy = 0, 300, 120, 0.7
    for seed in range(runs):
        cluster = np.repeat(np.arange(clusters), draw.integers(1, 5, clusters))
        right = (draw.random(clusters) < accuracy)[cluster].astype(int)
        notes = HeldOutNotes(np.eye(2)[right], cluster)
        interval = measure(np.tile([0.2, 0.8], (len(cluster), 1)), None, notes, seed)["metrics"]["accuracy"]
        covered += interval["low"] <= accuracy <= interval["high"]
    print(f"covered {covered / runs:.1%}")
    assert 0.91 <= covered / runs <= 0.985


def predictions(draw: np.random.Generator, truth: np.ndarray, accuracy: float) -> np.ndarray:
    return np.where(draw.random(len(truth)) < accuracy, truth, 1 - truth)


def test_p_is_uniform_where_nothing_differs() -> None:
    draw = np.random.default_rng(8)
    found = []
    for seed in range(200):
        truth = draw.integers(0, 2, 400)
        notes = HeldOutNotes(np.eye(2)[truth] * draw.integers(1, 3, (400, 1)), np.arange(400) // 2)
        found.append(compare(predictions(draw, truth, 0.7), predictions(draw, truth, 0.7), notes, seed))
    p = np.array([entry["p"] for entry in found])
    worse = np.array([entry["p_worse"] for entry in found])
    covered = np.mean([entry["low"] <= 0 <= entry["high"] for entry in found])
    print(f"p < 0.05 in {np.mean(p < 0.05):.1%}, p_worse < 0.05 in {np.mean(worse < 0.05):.1%}, covered {covered:.1%}")
    assert kstest(p, "uniform").pvalue > 0.01
    assert kstest(worse, "uniform").pvalue > 0.01
    assert 0.91 <= covered <= 0.985


def test_p_is_small_where_one_is_better() -> None:
    draw = np.random.default_rng(9)
    truth = draw.integers(0, 2, 400)
    notes = HeldOutNotes(np.eye(2)[truth], np.arange(400))
    good, bad = predictions(draw, truth, 0.85), predictions(draw, truth, 0.7)
    up, down = compare(good, bad, notes, 0), compare(bad, good, notes, 0)
    assert up["difference"] == pytest.approx(np.mean(good == truth) - np.mean(bad == truth))
    assert 0 < up["low"] < up["difference"] < up["high"]
    assert up["p"] < 0.001 and up["p_worse"] > 0.999
    assert down["difference"] == -up["difference"] and down["p_worse"] < 0.001


def test_the_same_predictions_do_not_differ(notes: HeldOutNotes) -> None:
    predicted = notes.counts.argmax(axis=1)
    found = compare(predicted, predicted, notes, 0)
    low, high = found.pop("low"), found.pop("high")
    assert found == {"difference": 0, "p": 1, "p_worse": 1, "clusters": len(np.unique(notes.cluster))}
    assert -0.06 < low < -0.01 and 0.01 < high < 0.06  # of 150 clusters none differs: few others may


@pytest.mark.parametrize(("right", "of"), [(0, 6), (6, 6), (3, 12), (1, 40), (160, 200)])
def test_of_rows_that_are_right_or_wrong_it_is_the_exact_interval(right: int, of: int) -> None:
    """Clopper and Pearson's; also where all rows are alike, which a bootstrap takes for certain."""
    numerators = (np.arange(of) < right).astype(float)[:, None]
    (entry,) = ratios(numerators, np.ones((of, 1)), np.arange(of), 0)
    exact = binomtest(right, of).proportion_ci(0.95, "exact")
    assert (entry["low"], entry["high"]) == (pytest.approx(exact.low, abs=0.02), pytest.approx(exact.high, abs=0.02))
    assert (entry["value"], entry["of"], entry["clusters"]) == (right / of, of, of)


def test_answers_of_one_score_say_as_much_as_their_number_does() -> None:
    """Six scores of 0.5 leave about half of the range open, and none of a share of 600 rows in one cluster all."""
    (six,) = ratios(np.full((6, 1), 0.5), np.ones((6, 1)), np.arange(6), 0)
    assert six["low"] == pytest.approx(0.27, abs=0.03) and six["high"] == pytest.approx(0.73, abs=0.03)
    (one,) = ratios(np.zeros((600, 1)), np.ones((600, 1)), np.zeros(600), 0)
    assert (one["low"], one["clusters"]) == (0, 1) and one["high"] > 0.95


def test_a_classifier_that_is_always_right_is_not_certain() -> None:
    notes = HeldOutNotes(np.eye(3)[np.arange(30) % 3], np.arange(30))
    for name, entry in measure(notes.counts, None, notes, seed=0)["metrics"].items():
        if name in ("accuracy", "any_label_accuracy", "balanced_accuracy", "macro_f1"):
            assert entry["value"] == 1 and entry["high"] == pytest.approx(1) and 0.85 < entry["low"] < 0.92, name


def test_what_has_no_bound_keeps_the_interval_of_its_clusters() -> None:
    """Losses: nothing is known of how large the next may be."""
    loss = np.random.default_rng(2).exponential(size=(400, 1))
    (entry,) = ratios(loss, np.ones((400, 1)), np.arange(400), 0, [(0.0, math.inf)])
    assert entry["low"] < entry["value"] < entry["high"] < entry["value"] + 0.15


def test_roc(notes: HeldOutNotes, logits: np.ndarray) -> None:
    p = probabilities(logits)
    truth, rows = expanded(notes, p)
    for i, curve in enumerate(roc(p, notes, list("abcd"))):
        assert curve["auc"] == pytest.approx(sk.roc_auc_score(truth == i, rows[:, i]))
        assert len(curve["fpr"]) == len(curve["tpr"]) == len(curve["thresholds"]) <= 200
        assert (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == (0, 0, 1, 1)
        assert np.isfinite(curve["thresholds"]).all()


def test_more_than_the_ceiling_is_a_leak() -> None:
    check_ceiling("candidate", 0.75, 0.75)
    with pytest.raises(Leakage, match=r"candidate .*0\.7600.*0\.7500: .*leaked"):
        check_ceiling("candidate", 0.76, 0.75)
    assert issubclass(Leakage, UserError)


def test_no_predictor_of_notes_passes_the_ceiling(notes: HeldOutNotes) -> None:
    draw = np.random.default_rng(10)
    for _ in range(50):
        p = draw.dirichlet(np.ones(4), 200)
        assert measure(p, None, notes, 0)["metrics"]["accuracy"]["value"] <= notes.ceiling()


def test_majority() -> None:
    counts = np.array([[3, 0], [1, 1], [0, 1]])
    assert majority(counts, 2) == pytest.approx(np.array([[4 / 6, 2 / 6]] * 2))


def test_tfidf_trains_on_rows_and_chooses_on_validation() -> None:
    """A cross-listed note is trained on under both labels, weighted by its rows."""
    words = {0: "heart valve murmur", 1: "knee hip fracture"}
    draw = np.random.default_rng(11)
    truth = {"train": np.arange(60) % 2, "validation": np.arange(20) % 2, "test": np.arange(20) % 2}
    texts = {
        name: [" ".join(draw.permutation([*words[label].split(), "patient", "seen"])) for label in labels]
        for name, labels in truth.items()
    }
    counts = {name: np.eye(2)[labels] for name, labels in truth.items()}
    logits = tfidf(texts, counts)
    assert set(logits) == {"validation", "test"}
    assert (logits["test"].argmax(axis=1) == truth["test"]).all()
    assert np.exp(logits["test"]).sum(axis=1) == pytest.approx(1)
    counts["train"][truth["train"] == 0] = [1, 3]
    assert (tfidf(texts, counts)["test"].argmax(axis=1) == 1).all()
