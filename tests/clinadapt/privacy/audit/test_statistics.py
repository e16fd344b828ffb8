"""The audit finds what is remembered and little else, shown by simulation; its figures, counted by hand."""

from typing import Any

import numpy as np
import pytest

from clinadapt.errors import UserError
from clinadapt.privacy.audit.canaries import (
    EACH,
    PLACES,
    REPEATS,
    as_json,
    canaries,
    candidates,
    read_canaries,
    triples,
)
from clinadapt.privacy.audit.statistics import (
    TrainingText,
    exposure,
    membership_auc,
    remembered,
    simulated_gains,
    verdict,
)
from clinadapt.privacy.detector import identifiers

TRIALS = 200


def alarms(gain: float, seed: int) -> float:
    """Share of audits that raise an alarm about 24 canaries, compared with 24 that were not trained."""
    rng = np.random.default_rng(seed)
    count = EACH * len(PLACES)
    tests = (remembered(simulated_gains(rng, count, gain), simulated_gains(rng, count, 0)) for _ in range(TRIALS))
    return float(np.mean([bool(test["alarm"]) for test in tests]))


def test_the_audit_finds_canaries_repeated_eight_times_and_raises_few_false_alarms() -> None:
    """A phrase that was trained eight times gained 3 bits in a small model: 1.25 deviations."""
    assert 2.0 < simulated_gains(np.random.default_rng(1), 400, 1.5).mean() < 3.0  # less than was measured
    found, false = alarms(1.5, seed=2), alarms(0.0, seed=3)
    print(f"found {found:.3f}, false alarms {false:.3f}, of {TRIALS} audits each")
    assert found >= 0.95 and false <= 0.05 + 2 * (0.05 * 0.95 / TRIALS) ** 0.5


def audits(gain: float, repeats: int, seed: int) -> float:
    """Share of audits that say `remembers`, by their groups of 12 canaries; those that stand `repeats` times or more
    gain so much, the others nothing."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(TRIALS):
        groups: dict[str, dict[str, Any]] = {}
        for place in PLACES:
            control = simulated_gains(rng, EACH, 0)
            for each in REPEATS:
                gains = simulated_gains(rng, EACH, gain if each >= repeats else 0)
                groups[f"{place} {each}"] = remembered(gains, control)
        found += verdict(groups) == "remembers"
    return found / TRIALS


def test_an_audit_by_groups_finds_what_stands_eight_times_and_raises_few_false_alarms() -> None:
    """The 16-times groups alone, which gain no more than a phrase that stands eight times."""
    found, false = audits(1.5, 16, seed=4), audits(0.0, 16, seed=5)
    print(f"found {found:.3f}, false alarms {false:.3f}, of {TRIALS} audits each")
    assert found >= 0.95 and false <= 0.05 + 2 * (0.05 * 0.95 / TRIALS) ** 0.5


def test_exposure_is_the_rank_in_bits() -> None:
    assert exposure(0.5, [1.0] * 255) == 8 and exposure(2.0, [1.0] * 255) == 0
    assert exposure(1.0, [1.0] * 3) == pytest.approx(np.log2(4 / 2.5))


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    assert (
        membership_auc([1.0, 2.0], [3.0, 4.0])["value"] == 1 and membership_auc([1.0, 3.0], [2.0, 2.0])["value"] == 0.5
    )
    narrow, wide = membership_auc([1.0, 3.0] * 50, [2.0] * 100), membership_auc([1.0, 3.0] * 5, [2.0] * 10)
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]


def test_several_groups_raise_no_more_alarms_than_one() -> None:
    assert verdict({"a": {"p": 0.02}, "b": {"p": 0.9}}) == "remembers"
    assert verdict({"a": {"p": 0.03}, "b": {"p": 0.9}}) == "no memory shown" and verdict({}) == "no memory shown"


def test_a_text_that_repeats_eight_words_of_training_is_counted_and_not_kept() -> None:
    texts = TrainingText(["The wound of Jaskmo Velnadal was dry, and she went home."], b"k" * 32)
    assert texts.share(["x. The WOUND of jaskmo velnadal was dry and so on", "the wound was dry", ""]) == pytest.approx(
        1 / 3
    )
    assert b"velnadal" not in repr(vars(texts)).encode()


def test_canaries_are_the_same_for_a_seed_and_pass_the_screening() -> None:
    listed = canaries(5)
    assert listed == canaries(5) != canaries(6)
    assert {(each.repeats, each.place) for each in listed} == {(n, place) for n in (0, *REPEATS) for place in PLACES}
    assert len({each.phrase for each in listed}) == len({each.number for each in listed}) == len(listed)
    once = next(each for each in listed if each.repeats == 4 and each.place == "note")
    rows = list(triples([once], seed=5))
    assert len({row["note"] for row in rows}) == 4 and all(once.phrase in row["note"] for row in rows)
    assert len(set(candidates(once, 255, 5))) == 255 and once.phrase not in candidates(once, 255, 5)
    assert identifiers(f"{once.instruction} {once.phrase}") == []


@pytest.mark.parametrize("content", [None, [], {}, {"seed": "x", "canaries": []}, {"seed": 3, "canaries": [[1, "a"]]}])
def test_a_list_that_is_none_is_refused(content: object) -> None:
    assert read_canaries(as_json(3)) == (3, canaries(3))
    with pytest.raises(UserError, match="make one with clinadapt phi canaries"):
        read_canaries(content)
