"""What the last check of each champion found, for Prometheus: PSI and alarms by figure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from clinadapt.artifacts.hashing import parse_json
from clinadapt.monitoring.observations import FIGURES
from clinadapt.monitoring.recorder import PREFIX
from clinadapt.monitoring.stored import CHECK
from clinadapt.storage.object_store import CorruptObject, Store

_BROKEN = (CorruptObject, ValueError, KeyError, TypeError, AttributeError, OverflowError)


def check_families(store: Store, champions: Iterable[tuple[str, str]]) -> list[Metric]:
    """The last check of each champion; one without a check, or whose record is broken, has no values.

    Args:
        store: to read.
        champions: (name, version) of each.
    """
    psi = _gauge("monitoring_psi", "Population stability index of use against the evaluation.", "adapter", "figure")
    moved = _gauge("monitoring_moved", "Whether a figure has moved away from the evaluation.", "adapter", "figure")
    answers = _gauge("monitoring_answers", "Answers that the last check compared.", "adapter")
    when = _gauge("monitoring_check_timestamp_seconds", "Time of the last check (Unix).", "adapter")
    for name, version in champions:
        try:
            document = parse_json(store.get(f"{PREFIX}/{name}/{version}/{CHECK}")[0])
            values, alarms, compared, checked = _parsed(document)
        except _BROKEN:
            continue
        answers.add_metric([name], compared)
        when.add_metric([name], checked)
        for figure, value in values.items():
            psi.add_metric([name, figure], value)
            moved.add_metric([name, figure], figure in alarms)
    return [psi, moved, answers, when]


def _parsed(document: dict[str, Any]) -> tuple[dict[str, float], set[str], float, float]:
    """(PSI by figure, figures that moved, answers, Unix time). Raises one of _BROKEN for what no check has written."""
    psi = {figure: float(value) for figure, value in document["psi"].items()}
    alarms, answers = set(document["moved"]), float(document["answers"])
    if not (psi.keys() | alarms) <= FIGURES.keys() or not all(map(math.isfinite, (*psi.values(), answers))):
        raise ValueError("figure")
    return psi, alarms, answers, datetime.fromisoformat(document["when"]).timestamp()


def _gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"clinadapt_{name}", what, labels=labels)
