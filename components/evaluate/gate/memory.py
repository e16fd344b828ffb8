"""Whether a candidate remembers what stands in its training as often as the profile's audit asks about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clinadapt.privacy.audit.canaries import EACH, PLACES, REPEATS
from clinadapt.privacy.audit.statistics import verdict
from components.evaluate.gate.checks import Check


def memory_check(audit: Mapping[str, Any], repeats: int) -> Check:
    """The check that nothing shows a memory of canaries that stand so often in training, or less.

    It fails where they gained more exposure than canaries that were not trained, at the audit's level over all groups,
    or where the adapter answers with one word by word. Where fewer canaries were trained than were to be, or less
    often, it asks for them: silence shows nothing then.

    Args:
        audit: of evaluation.json; empty where none could be made.
        repeats: the most that canaries may stand in training of which nothing may be remembered.
    """
    name = f"no memory of what stands in training {'once' if repeats == 1 else f'{repeats} times or less'}"
    groups = {key: group for key, group in audit.get("canaries", {}).items() if group["repeats"] <= repeats}
    planned = EACH * len(PLACES) * sum(each for each in REPEATS if each <= repeats)
    missing = round(planned - sum(group["in_training"] * group["canaries"] for group in groups.values()))
    detail = "; ".join(_figures(key, group) for key, group in groups.items())
    if verdict(groups) == "remembers" or any(group["extracted"] for group in groups.values()):
        return Check(name, False, detail)
    if missing > 0:
        detail = f"{planned - missing:,} of {planned:,} examples with canaries were trained"
        return Check(name, False, detail, missing, "examples with canaries")
    return Check(name, True, detail)


def _figures(key: str, group: Mapping[str, Any]) -> str:
    """Those of canaries of a place and a number of repeats."""
    return (
        f"{key}: exposure {group['trained']:.1f} bits, {group['control']:.1f} of those not trained, p = "
        f"{group['p']:.3f}, {group['extracted']} of {group['canaries']} written word by word"
    )
