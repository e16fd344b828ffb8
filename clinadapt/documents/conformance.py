"""Whether a version is within the predetermined change control plan: field by field, against the champion that its run
began with.

Data and seeds may change, the settings that the profile names within its bounds. Everything else is as it was, the
thresholds of the gate are not looser, and the gate has passed. What the earlier version does not record counts as
changed. A first version has nothing to be compared with: it is reviewed as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clinadapt.config.base import is_upper_bound
from clinadapt.documents.definition import Pointer
from clinadapt.documents.facts import Facts, Unresolved
from clinadapt.documents.forms import flat

Bounds = Mapping[str, list[float]]

_MAY_CHANGE = {"data": "manifest.json#/dataset_digest", "splits": "manifest.json#/splits_digest"}
# The pretrained base of a run is new with the data: what stays is the one that pretraining began with
_FIXED = {
    "recipe": "manifest.json#/recipe",
    "code": "manifest.json#/code_version",
    "labels": "clinadapt.json#/labels",
    "tasks": "clinadapt.json#/tasks",
    "teacher": "data.json#/synthesis/teacher/digest",
    "screening of identifiers": "data.json#/phi/policy",
    "screening by type": "data.json#/phi/types",
    "bounds of the plan": "manifest.json#/change_control/bounds",
}
# What a name of a setting begins with -> where it is
_SETTINGS = {
    "training": "manifest.json#/settings",
    "pretraining": "manifest.json#/pretraining",
    "preparation": "data.json#/settings",
}
_GATE, _DECISION = "manifest.json#/gate", "verdict.json#/decision"
_UNRECORDED = "not recorded"


def conformance(facts: Facts, earlier: Facts | None) -> dict[str, Any]:
    """The record of one run.

    Args:
        facts: of the version: manifest.json, clinadapt.json, data.json, verdict.json.
        earlier: of the version it is compared with; None for a first version.

    Returns:
        compared_with: its version, or None. within: whether all fields are within the plan; None without an earlier
        version. outside: names of the fields that are not. bounds: of the plan. fields: entries of field, rule,
        before, now, within and source (a pointer that holds in both versions).
    """
    bounds = _get(facts, "manifest.json#/change_control/bounds")
    bounds = bounds if isinstance(bounds, dict) else {}
    fields = list(_fields(facts, earlier, bounds)) if earlier else []
    outside = [entry["field"] for entry in fields if not entry["within"]]
    return {
        "compared_with": _get(earlier, "manifest.json#/version") if earlier else None,
        "within": not outside if earlier else None,
        "outside": outside,
        "bounds": bounds,
        "fields": fields,
    }


def _fields(facts: Facts, earlier: Facts, bounds: Bounds) -> Iterator[dict[str, Any]]:
    for name, pointer in _MAY_CHANGE.items():
        yield _entry(name, "may change", pointer, facts, earlier, True)
    before, now = _base_model(earlier), _base_model(facts)
    base = {"field": "base model", "rule": "fixed", "before": before, "now": now}
    yield {**base, "within": before == now != _UNRECORDED, "source": "manifest.json#/base_digest"}
    for name, pointer in _FIXED.items():
        if any(_get(each, pointer) != _UNRECORDED for each in (facts, earlier)):
            yield _entry(name, "fixed", pointer, facts, earlier)
    yield from _settings(facts, earlier, bounds)
    yield from _thresholds(facts, earlier)
    decision = _get(facts, _DECISION)
    passed = {"field": "gate", "rule": "has passed", "before": _get(earlier, _DECISION), "now": decision}
    yield {**passed, "within": decision == "pass", "source": _DECISION}


def _settings(facts: Facts, earlier: Facts, bounds: Bounds) -> Iterator[dict[str, Any]]:
    """Settings of training and of what precedes it: seeds may change, bounded ones of training within their bounds. The
    base model is none of them, its digest is compared."""
    for stage, root in _SETTINGS.items():
        for name in dict.fromkeys([*_flat(earlier, root), *_flat(facts, root)]):
            pointer = f"{root}/{name.replace('.', '/')}"
            if name == "base_model":
                continue
            if name.rpartition(".")[2] == "seed":
                yield _entry(f"{stage} {name}", "may change", pointer, facts, earlier, True)
            elif stage == "training" and name in bounds:
                low, high = bounds[name]
                value = _get(facts, pointer)
                inside = isinstance(value, int | float) and low <= value <= high
                yield _entry(f"{stage} {name}", f"between {low:g} and {high:g}", pointer, facts, earlier, inside)
            else:
                yield _entry(f"{stage} {name}", "fixed", pointer, facts, earlier)


def _thresholds(facts: Facts, earlier: Facts) -> Iterator[dict[str, Any]]:
    """Thresholds of the gate, and who has to approve: asking people where nobody was asked before is not looser, nor is
    another time for it."""
    for name in dict.fromkeys([*_flat(earlier, _GATE), *_flat(facts, _GATE)]):
        pointer = f"{_GATE}/{name.replace('.', '/')}"
        before, now = _get(earlier, pointer), _get(facts, pointer)
        within = before == now
        if isinstance(before, int | float) and isinstance(now, int | float):
            within = now <= before if is_upper_bound(name) else now >= before
        if name.startswith("approval.") and before == _UNRECORDED and _flat(earlier, _GATE):
            within = True
        elif name == "approval.days":
            within = now != _UNRECORDED
        yield _entry(f"gate {name}", "not looser", pointer, facts, earlier, within)


def _entry(
    name: str, rule: str, pointer: str, facts: Facts, earlier: Facts, within: bool | None = None
) -> dict[str, Any]:
    """One field; where `within` is None, it is whether the value is recorded and the same."""
    before, now = _get(earlier, pointer), _get(facts, pointer)
    if within is None:
        within = before == now != _UNRECORDED
    return {"field": name, "rule": rule, "before": before, "now": now, "within": within, "source": pointer}


def _get(facts: Facts, pointer: str) -> Any:
    """The value, or that it is not recorded."""
    try:
        return facts.value(Pointer.parse(pointer))
    except Unresolved:
        return _UNRECORDED


def _flat(facts: Facts, pointer: str) -> list[str]:
    """Dotted names of the values below a pointer."""
    value = _get(facts, pointer)
    return [name for name, _ in flat(value)] if isinstance(value, dict) and value else []


def _base_model(facts: Facts) -> Any:
    """Digest of the base model that training, or pretraining before it, began with."""
    chain = _get(facts, "manifest.json#/chain")
    for link in chain if isinstance(chain, list) else []:
        if isinstance(link, dict) and link.get("step") == "pretrain":
            return link.get("inputs", {}).get("base_model", _UNRECORDED)
    return _get(facts, "manifest.json#/base_digest")
