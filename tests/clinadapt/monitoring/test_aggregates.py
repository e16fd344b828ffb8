"""Counts: added, read back strictly, rare cells pooled, and those of an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clinadapt.monitoring.aggregates import SMALLEST_CELL, Aggregate, Baseline, baseline
from clinadapt.monitoring.observations import RARE, of_note, of_prediction


def counted(labels: list[str]) -> Baseline:
    observations = [of_prediction(label, 0.9) for label in labels]
    notes = {str(i): of_note("The patient was seen in the clinic.") for i in range(len(labels))}
    return baseline(observations, [str(i) for i in range(len(labels))], notes)


def test_what_is_written_is_read() -> None:
    total = Aggregate(3, 2, 1)
    for label in ("Urology", "Urology", "Cardiology"):
        total.add(of_prediction(label, 0.5))
    read = Aggregate.from_json(total.to_json(), ["Urology", "Cardiology"])
    assert read == total
    both = read + total
    assert (both.answers, both.notes, both.flags) == (6, 4, 2)
    assert both.cells["label"] == {"Urology": 4, "Cardiology": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"answers": -1},
        {"answers": 2.0},
        {"answers": True},
        {"answers": 10**10},
        {"cells": {"label": {"Mr. Smith, 46": 1}}},
        {"cells": {"name": {"x": 1}}},
        {"cells": {"label": {"Urology": 4}}},
        {"cells": {"label": {"Urology": "1"}}},
        {"cells": {"length": {"Urology": 1}}},
        {"cells": None},
        {"notes": None},
    ],
)
def test_what_is_no_count_of_ours_is_refused(change: dict[str, Any]) -> None:
    document = Aggregate(3, 3, 0).to_json() | change
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        Aggregate.from_json(document, ["Urology"])


def test_a_rare_label_is_never_named() -> None:
    evaluation = counted(["Urology"] * 20 + ["Leprosy"] * (SMALLEST_CELL - 1) + ["Cardiology"] * SMALLEST_CELL)
    assert evaluation.named("label") == ("Urology", "Cardiology", RARE)
    assert evaluation.aggregate.cells["label"] == {"Urology": 20, "Cardiology": 5, RARE: 4}
    assert "Leprosy" not in str(evaluation.to_json())
    assert evaluation.pooled({"label": "Leprosy", "confidence": "0.9 to 1"})["label"] == RARE
    assert evaluation.pooled({"label": "Urology", "language": "sv"}) == {"label": "Urology", "language": RARE}
    assert Baseline(Aggregate()).pooled({"label": "Urology"}) == {"label": RARE}


def test_the_baseline_of_an_evaluation_is_read_from_it() -> None:
    evaluation = counted(["Urology"] * 20 + ["Cardiology"] * 5)
    document = {"labels": ["Cardiology", "Urology"], "aggregates": evaluation.to_json()}
    assert Baseline.of_evaluation(document) == evaluation
    document["aggregates"]["design_effects"]["label"] = float("nan")
    with pytest.raises(ValueError):
        Baseline.of_evaluation(document)


def test_several_answers_about_a_note_tell_less_than_as_many_notes() -> None:
    rng = np.random.default_rng(0)
    notes = [str(note) for note in range(200) for _ in range(8)]
    alike = [label for label in rng.choice(["Urology", "Cardiology"], 200) for _ in range(8)]
    mixed = list(rng.choice(["Urology", "Cardiology"], 1600))
    effects = [
        baseline([of_prediction(label, 0.9) for label in labels], notes, {}).design_effects["label"]
        for labels in (alike, mixed)
    ]
    assert effects[0] == pytest.approx(8, abs=0.2) and 1 <= effects[1] < 1.3


def test_an_evaluation_of_an_earlier_release_tells_its_rates() -> None:
    rates = {
        "unsupported": 0.1,
        "contradicted": 0.05,
        "finished": 0.9,
        "correct_refusals": 0.8,
        "wrong_refusals": 0.025,
    }
    metrics = {name: {"value": value} for name, value in rates.items()}
    evaluation = {"rows": 100, "notes": 20, "unanswerable": 20, "models": {"candidate": {"metrics": metrics}}}
    cells = Baseline.of_evaluation(evaluation).aggregate.cells
    assert {name: counts["yes"] for name, counts in cells.items()} == {
        "refusals": 18, "unsupported": 10, "contradicted": 5, "cut_off": 10
    }  # fmt: skip
    models = {"candidate": {"confusion": [[30, 2], [4, 14]]}}
    read = Baseline.of_evaluation({"labels": ["a", "b"], "notes": 50, "models": models})
    assert read.aggregate.cells == {"label": {"a": 34, "b": 16}} and read.aggregate.answers == 50
    for broken in ({}, {"rows": 1}, {"labels": ["a"], "models": models, "notes": 1}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            Baseline.of_evaluation(broken)
