"""Values of records as text: the forms that a definition names behind a pointer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clinadapt.documents.page import count, decimal, duration, moment, percent
from clinadapt.documents.verdict import result

Text = str | list[str]  # a list: one item a line

# Characters that neither XML 1.0 nor a reader can do anything with
_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u007f-\u009f]")


# Metrics whose names do not explain themselves
METRICS = {
    "any_label_accuracy": "predictions among the note's labels",
    "contradicted": "answers with a claim that the note contradicts",
    "correct_refusals": "refusals of questions that the note does not answer",
    "ece": "expected calibration error",
    "finished": "answers that end within the limit",
    "omitted": "claims of the reference answers that are missing",
    "rouge_l": "ROUGE-L",
    "unsupported": "answers with a claim that the note does not support",
    "wrong_refusals": "refusals of questions that the note answers",
}


def clean(text: str) -> str:
    """Text in one line, without control characters."""
    return " ".join(_UNPRINTABLE.sub("\ufffd", text).split())


def text(value: Any) -> str:
    """A text, number, truth value, or list of them."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "; ".join(map(text, value)) or "none"
    if isinstance(value, dict):
        return "; ".join(settings(value))
    return "none" if value is None else clean(str(value)) or "none"


def estimate(value: Mapping[str, float]) -> str:
    """Value and interval of a metric."""
    return f"{decimal(value['value'])} ({decimal(value['low'])} to {decimal(value['high'])})"


def interval(value: Mapping[str, float | None]) -> str:
    """As `estimate`, where the value itself may not be known yet."""
    known = "not yet known" if value["value"] is None else decimal(value["value"])
    return f"{known} ({decimal(value['low'] or 0.0)} to {decimal(value['high'] or 0.0)})"


def estimates(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Metric by metric, with intervals."""
    return [f"{metric_title(name)}: {estimate(value)}" for name, value in metrics.items()]


def metric_title(name: str) -> str:
    """token_f1 -> token F1"""
    base, scaled = (name.removesuffix("_scaled"), ", calibrated") if name.endswith("_scaled") else (name, "")
    return METRICS.get(base, clean(base).replace("_f1", " F1").replace("_", " ")) + scaled


def keys(value: Mapping[str, Any]) -> str:
    """Names of an object."""
    return "; ".join(map(clean, value)) or "none"


def names(value: Mapping[str, Any]) -> list[str]:
    """Names of an object, an item each."""
    return [metric_title(name) for name in value]


def items(value: Any) -> list[str]:
    """A value, or each of a list, as an item."""
    return [text(each) for each in (value if isinstance(value, list) else [value])]


def steps(value: list[Mapping[str, Any]]) -> list[str]:
    """Every step of the chain with its output."""
    return [f"{clean(link['step'])}: {clean(link['output'])}" for link in value]


def outside(value: list[str]) -> list[str]:
    """Names of what is outside of the plan."""
    return [clean(each) for each in value] or ["nothing"]


def numbers(value: Mapping[str, float]) -> list[str]:
    """Name: number."""
    return [f"{clean(name)}: {count(number)}" for name, number in value.items()] or ["none"]


def settings(value: Mapping[str, Any]) -> list[str]:
    """Every value of nested objects with its dotted name."""
    return [f"{name}: {text(each)}" for name, each in flat(value)] if value else ["none"]


def thresholds(gate: Mapping[str, Any]) -> list[str]:
    """As `settings`, of a gate without who has to approve."""
    return settings({name: value for name, value in gate.items() if name != "approval"})


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every value in nested objects."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{clean(str(key))}" if name else clean(str(key)))
    else:
        yield name, value


def size(number: float) -> str:
    """Bytes as GiB."""
    return f"{decimal(number / 2**30, 2)}\u202fGiB"


def margin(share: float) -> str:
    """A threshold of the gate; 1 switches its check off."""
    return percent(share) if share < 1 else f"{percent(share)} (the profile does not require it)"


def checks(value: list[Mapping[str, Any]]) -> list[str]:
    """The gate's checks, with what was measured and required."""
    return [f"{result(each)}: {clean(each['name'])}; {clean(each['detail'])}" for each in value]


def loosened(value: Mapping[str, Any]) -> list[str]:
    """Thresholds of the gate that a profile loosened, beside their defaults; of older versions only their values."""
    return [
        f"{clean(each['meaning'])}: {clean(each['here'])} (default: {clean(each['default'])})"
        if isinstance(each, Mapping)
        else f"{clean(name)}: {text(each)}"
        for name, each in value.items()
    ]


def models(value: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every evaluated model with its headline metric."""
    lines = []
    for model in value.values():
        name = next(name for name in ("accuracy", "token_f1") if name in model["metrics"])
        lines.append(f"{clean(model['title'])}: {metric_title(name)} {estimate(model['metrics'][name])}")
    return lines


def comparisons(value: list[Mapping[str, Any]]) -> list[str]:
    """Paired differences between the candidate and other models, over all rows."""
    lines = []
    for pair in (pair for pair in value if not pair.get("task")):
        middle, low, high = (decimal(pair[key], 3, "+") for key in ("difference", "low", "high"))
        what = f"{metric_title(pair['metric'])}, against {clean(pair['b'])}"
        lines.append(f"{what}: {middle} ({low} to {high}), p = {decimal(pair['p'])}")
    return lines


def classes(value: list[Mapping[str, Any]]) -> list[str]:
    """Precision, recall and F1 of every label."""
    return [
        f"{clean(each['label'])}: precision {decimal(each['precision'])}, recall {decimal(each['recall'])}, "
        f"F1 {decimal(each['f1'])}, rows {count(each['support'])}"
        for each in value
    ]


def tasks(value: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Token F1 of every task."""
    return [f"{clean(task)}: token F1 {estimate(metrics['token_f1'])}" for task, metrics in value.items()]


def subgroups(value: list[Mapping[str, Any]]) -> list[str]:
    """Headline metric and unsupported claims in every group of rows."""
    return [
        f"{clean(each['by'])}, {clean(each['group'])}: rows {count(each['rows'])}, "
        + ", ".join(
            f"{metric_title(name)} {estimate(each['metrics'][name])}"
            for name in ("token_f1", "accuracy", "unsupported")
            if name in each["metrics"]
        )
        for each in value
    ]


def counterfactuals(value: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How often answer or label stay the same, by what of the patient was changed."""
    return [
        f"{clean(kind)}: notes {count(each['notes'])}"
        + (f", unchanged {estimate(each['unchanged'])}" if "unchanged" in each else "")
        for kind, each in value.items()
    ]


def joined(value: list[Mapping[str, Any]]) -> list[str]:
    """What joined notes into clusters."""
    return [f"{clean(each['reason'])}: links {count(each['pairs'])}, notes {count(each['notes'])}" for each in value]


def splits(value: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Notes and rows of training, validation and test."""
    return [
        f"{clean(name)}: notes {count(each['notes'])}, rows {count(each['rows'])}, clusters {count(each['clusters'])}"
        for name, each in value.items()
    ]


def history(value: list[Mapping[str, Any]]) -> list[str]:
    """Champions, the newest first."""
    return [
        f"{moment(each['when'])}: {clean(each['version'])}, by {clean(each['by'])}"
        + (", a rollback" if each["rollback"] else "")
        for each in reversed(value)
    ] or ["none yet"]


def approvals(value: list[Mapping[str, Any]]) -> list[str]:
    """Who approved, when and why."""
    return [f"{moment(each['when'])}: {clean(each['by'])}; {text(each.get('reason'))}" for each in value]


def bounds(value: Mapping[str, list[float]]) -> list[str]:
    """Lowest and highest value of every setting that may change."""
    return [f"{clean(name)}: {text(low)} to {text(high)}" for name, (low, high) in value.items()] or ["none"]


def conformance(value: list[Mapping[str, Any]]) -> list[str]:
    """The record of one run: field by field, what it was, is, may be, and whether that is within the plan."""
    outcome = {True: "within the plan", False: "OUTSIDE THE PLAN"}
    lines = []
    for each in value:
        change = (
            text(each["now"]) if each["now"] == each["before"] else f"{text(each['before'])} -> {text(each['now'])}"
        )
        lines.append(f"{outcome[bool(each['within'])]}: {clean(each['field'])} ({clean(each['rule'])}), {change}")
    return lines


def runs(value: list[Mapping[str, Any]]) -> list[str]:
    """The conformance of every version in the registry, the newest first."""
    outcome = {True: "within the plan", False: "outside the plan", None: "first version, to be reviewed as a whole"}
    return [
        f"{clean(each['version'])}, compared with {text(each['compared_with'])}: {outcome[each['within']]}"
        + (f" ({text(each['outside'])})" if each["outside"] else "")
        for each in reversed(value)
    ] or ["none"]


FORMS: dict[str, Callable[[Any], Text]] = {
    form.__name__: form
    for form in (
        text, count, percent, margin, decimal, duration, moment, size, estimate, interval, estimates, keys, names,
        items, steps, outside, numbers, settings, thresholds, loosened, checks, models, comparisons, classes, tasks,
        subgroups, counterfactuals, joined, splits, history, approvals, bounds, conformance, runs,
    )
}  # fmt: skip
