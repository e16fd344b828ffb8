"""Use of a version drawn at random: days of answers with given shares, and how daily checks see them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.artifacts.hashing import write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.monitoring.aggregates import Aggregate, Baseline
from clinadapt.monitoring.comparison import Test, compare
from clinadapt.monitoring.observations import FIGURES, RARE
from clinadapt.monitoring.stored import today_utc
from clinadapt.registry.champion import promote
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import upload_folder

FIRST = date(2026, 1, 1)
READ_DAYS = 30  # fewer than `clinadapt monitor` reads, to be quick
LABELS = ("Cardiology", "Orthopedics", "Urology", "Neurology", "Radiology")
_TASKS, _LENGTHS, _BANDS = (FIGURES[name].cells for name in ("task", "length", "confidence"))
Shares = dict[str, dict[str, float]]  # figure -> cell -> probability


def share(value: float) -> dict[str, float]:
    """The cells of a figure that an answer has or has not."""
    return {"yes": value, "no": 1 - value}


_NOTES: Shares = {
    "length": dict(zip(_LENGTHS, (0.02, 0.05, 0.1, 0.3, 0.3, 0.15, 0.05, 0.03), strict=True)),
    "language": {"en": 0.97, RARE: 0.03},
}
INSTRUCT: Shares = {
    "refusals": share(0.1),
    "unsupported": share(0.08),
    "contradicted": share(0.03),
    "cut_off": share(0.02),
    "task": dict(zip(_TASKS, (*(0.12,) * 8, 0.04), strict=True)),
    **_NOTES,
}
CLASSIFY: Shares = {
    "label": dict(zip((*LABELS, RARE), (0.35, 0.25, 0.2, 0.12, 0.06, 0.02), strict=True)),
    "confidence": dict(zip(_BANDS, (0.0, 0.0, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.28), strict=True)),
    **_NOTES,
}


def moved(shares: Shares, figure: str, cell: str, by: float) -> Shares:
    """The same shares with one cell of a figure larger, and its others smaller in proportion."""
    before = shares[figure]
    rest = 1 - before[cell]
    after = {name: value * (rest - by) / rest for name, value in before.items()} | {cell: before[cell] + by}
    return shares | {figure: after}


def drawn(rng: np.random.Generator, answers: int, shares: Mapping[str, Mapping[str, float]]) -> Aggregate:
    """Counts of independent answers, each about a note of its own."""
    total = Aggregate(answers, answers)
    for figure, cells in shares.items():
        counts = rng.multinomial(answers, list(cells.values()))
        total.cells[figure] = {cell: int(count) for cell, count in zip(cells, counts, strict=True) if count}
    return total


def evaluated(rng: np.random.Generator, answers: int, shares: Shares) -> Baseline:
    """The baseline of an evaluation that drew from the same shares."""
    return Baseline(drawn(rng, answers, shares))


def checks(
    baseline: Baseline, use: Iterator[Aggregate], first_look: int = 0, read_days: int = READ_DAYS
) -> Iterator[tuple[date, list[Test]]]:
    """(day, alarms) of a check at the end of each day; the checks before day number `first_look` are left out."""
    days: dict[date, Aggregate] = {}
    for number, total in enumerate(use):
        today = FIRST + timedelta(number)
        days[today] = total
        if number >= first_look:
            oldest = today - timedelta(read_days)
            recent = {day: counts for day, counts in days.items() if day > oldest}
            yield today, compare(baseline, recent).alarms


def publish(store: Store, scratch: Path, version: str, evaluation: dict[str, Any]) -> None:
    """Make a version of the adapter `a`, published sixty days ago with this evaluation.json, the champion."""
    folder = scratch / f"version-{version}"
    folder.mkdir()
    write_json(folder / "evaluation.json", evaluation)
    fields = {
        "name": "a", "version": version, "base_model": "m", "base_digest": "d", "splits_digest": "s",
        "settings": {}, "settings_digest": "x", "code_version": "c", "metrics": {"token_f1": {"value": 0.5}},
        "created": (today_utc() - timedelta(60)).isoformat() + "T09:00:00Z", "published_by": "me",
    }  # fmt: skip
    write_json(folder / MANIFEST, write_manifest(folder, fields))
    upload_folder(store, folder, f"adapters/a/{version}")
    pointer = "adapters/a/champion.json"
    promote(store, "a", version, store.etag(pointer) if store.exists(pointer) else "", {})
    shutil.rmtree(folder)


def evaluation_of(seed: int, answers: int, shares: Shares) -> dict[str, Any]:
    """An evaluation.json that drew from these shares."""
    baseline = evaluated(np.random.default_rng(seed), answers, shares)
    return {"labels": list(LABELS), "aggregates": baseline.to_json()}


def use(store: Store, version: str, ago: int, answers: int, shares: Shares) -> None:
    """Write the counts of one day."""
    total = drawn(np.random.default_rng(ago), answers, shares)
    key = f"monitoring/a/{version}/{today_utc() - timedelta(ago)}/page-{ago}.json"
    store.put(key, json.dumps(total.to_json()).encode())


def publish_and_shift(store: Store, scratch: Path) -> None:
    """Version 1: twenty days as in the evaluation, then five with 15 points more refusals."""
    publish(store, scratch, "1", evaluation_of(1, 600, INSTRUCT))
    for ago in range(25, 5, -1):
        use(store, "1", ago, 60, INSTRUCT)
    for ago in range(5, 0, -1):
        use(store, "1", ago, 100, moved(INSTRUCT, "refusals", "yes", 0.15))
