"""Agreement and error rate, held against scikit-learn, published figures and simulations with a known truth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review_cases import NAME, VERSION, an_answer
from sklearn.metrics import cohen_kappa_score

from clinadapt.data.intervals import wilson
from clinadapt.feedback.agreement import agreements, cohen_kappa, error_rate
from clinadapt.feedback.cases import Case, Queue
from clinadapt.feedback.marks import CaseMarks, Mark
from clinadapt.feedback.settled import JudgedCase

VERDICTS = ["right", "wrong", "unsafe"]


def judged(case: Case, reviewers: int = 2, **verdicts: str) -> JudgedCase:
    marks = tuple(
        Mark(
            name=NAME,
            version=VERSION,
            case=case.case,
            content=case.content,
            note_id=case.note_id,
            reviewer=name,
            time="",
            verdict=verdict,
        )
        for name, verdict in verdicts.items()
    )
    return JudgedCase(case, CaseMarks(marks), reviewers)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS)), min_size=1))
def test_kappa_is_that_of_scikit_learn_and_lies_in_its_interval(pairs: list[tuple[str, str]]) -> None:
    agreement = cohen_kappa(pairs, range(len(pairs)))
    first, second = zip(*pairs, strict=True)
    if len({*first, *second}) == 1:
        assert agreement.kappa is None and (agreement.low, agreement.high) == (-1, 1)
    else:
        assert agreement.kappa == pytest.approx(cohen_kappa_score(first, second))
        assert -1 <= agreement.low <= agreement.kappa <= agreement.high <= 1


def test_wilson_is_as_published() -> None:
    """Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3."""
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson(successes / n, n) == pytest.approx((low, high), abs=5e-5)


def test_full_agreement_about_few_cases_is_no_certainty() -> None:
    agreement = cohen_kappa([("right", "right"), ("wrong", "wrong")] * 5, range(10))
    assert agreement.kappa == 1 and 0.4 < agreement.low < 0.5
    same_note = cohen_kappa([("right", "right"), ("wrong", "wrong")] * 5, [0] * 10)
    assert same_note.low < 0, "ten answers about one note show no more than one"
    assert cohen_kappa([], []).kappa is None


def test_agreement_of_all_and_of_each_two() -> None:
    cases = [an_answer(number) for number in range(4)]
    marked = [
        judged(cases[0], rita="right", omar="right"),
        judged(cases[1], rita="wrong", omar="right"),
        judged(cases[2], rita="wrong", omar="wrong", ann="wrong"),
        judged(cases[3], ann="right"),
    ]
    total, pairs = agreements(marked)
    assert (total.pairs, total.reviewers) == (5, ("ann", "omar", "rita"))
    assert [(pair.reviewers, pair.pairs) for pair in pairs] == [
        (("ann", "omar"), 1), (("ann", "rita"), 1), (("omar", "rita"), 3)
    ]  # fmt: skip
    assert pairs[-1].observed == pytest.approx(2 / 3)
    both, of_two = agreements(marked[:2])
    assert [both] == of_two


def a_queue(population: int, risky: int, drawn: int) -> tuple[Queue, list[Case]]:
    cases = [an_answer(number) for number in range(risky + drawn)]
    listed = {case.case: case.content for case in cases}
    clusters = [int(case.cluster or 0) for case in cases]
    return Queue(NAME, VERSION, "instruct", 1, population, risky, 0, listed, clusters), cases


def test_the_riskiest_count_for_themselves_and_the_random_ones_for_the_rest() -> None:
    queue, cases = a_queue(population=100, risky=10, drawn=20)
    marked = [judged(case, 1, rita="unsafe" if i < 5 else "right") for i, case in enumerate(cases[:10])]
    marked += [judged(case, 1, rita="wrong" if i < 2 else "right") for i, case in enumerate(cases[10:])]
    rate = error_rate(queue, marked)
    assert rate.value == pytest.approx((5 + 90 * 0.1) / 100)
    low, high = wilson(0.1, 20)
    assert (rate.low, rate.high) == (pytest.approx(0.05 + 0.9 * low), pytest.approx(0.05 + 0.9 * high))
    assert (rate.settled, rate.population) == (30, 100)


def test_what_is_open_leaves_the_estimate_open() -> None:
    queue, cases = a_queue(population=100, risky=10, drawn=20)
    nothing = error_rate(queue, [judged(case) for case in cases])
    assert (nothing.value, nothing.low, nothing.high, nothing.settled) == (None, 0, 1, 0)
    half = [judged(case, 1, rita="wrong") for case in cases[:5]]
    rate = error_rate(queue, half)
    assert rate.value is None and rate.low == pytest.approx(0.05) and rate.high == 1
    purged = error_rate(queue, [])
    assert (purged.value, purged.low, purged.high) == (None, 0, 1)
    disagreement = [judged(case, 2, rita="right", omar="right") for case in cases[:29]]
    disagreement.append(judged(cases[29], 2, rita="right", omar="wrong"))
    rate = error_rate(queue, disagreement)
    assert rate.value == 0 and rate.high == pytest.approx(0.9 * wilson(1 / 20, 20)[1]) and rate.low == 0
    everything, cases = a_queue(population=10, risky=10, drawn=0)
    rate = error_rate(everything, [judged(case, 1, rita="right") for case in cases])
    assert (rate.value, rate.low, rate.high) == (0, 0, 0)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng, held = random.Random(3), 0
    queue, cases = a_queue(population=300, risky=30, drawn=40)
    said = {verdict: [judged(case, 1, rita=verdict) for case in cases] for verdict in ("right", "wrong")}
    for _ in range(200):
        truth = [rng.random() < (0.6 if i < 30 else 0.15) for i in range(300)]  # the first 30 are the riskiest
        chosen = list(range(30)) + rng.sample(range(30, 300), 40)
        rate = error_rate(queue, [said["wrong" if truth[i] else "right"][place] for place, i in enumerate(chosen)])
        held += rate.low <= sum(truth) / 300 <= rate.high
    assert held >= 0.95 * 200
