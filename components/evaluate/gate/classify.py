"""The gate of the classify recipe: decide whether a candidate may be published."""

from __future__ import annotations

from typing import Any

from clinadapt.config.classify import ClassifyGate


def decide(evaluation: dict[str, Any], thresholds: ClassifyGate) -> dict[str, Any]:
    """Check an evaluation against the thresholds.

    Args:
        evaluation: content of evaluation.json.
        thresholds: differences as shares (0.05 is 5 points), probabilities for p.

    Returns:
        decision (`pass` or `fail`), sentence, and checks with name, passed and detail.
    """
    against = {c["b"]: c for c in evaluation["comparisons"]}
    checks = [
        _gain(against["base"], "more accurate than the base model with an untrained head", thresholds.gain_over_base),
        _gain(against["majority"], "more accurate than the majority class", thresholds.gain_over_majority),
    ]
    if "champion" in against:
        name = f"not worse than the champion {evaluation['champion_version']}"
        detail = f"accuracy differs by {points(against['champion'])}"
        checks.append(not_worse(against["champion"], name, detail, thresholds.worse_than_champion))
    elif evaluation["champion_version"]:
        checks.append(
            {
                "name": f"comparable with the champion {evaluation['champion_version']}",
                "passed": False,
                "detail": "the champion was trained on other labels: publish under another adapter name",
            }
        )
    failed = [check for check in checks if not check["passed"]]
    return {
        "decision": "fail" if failed else "pass",
        "sentence": f"{_result(evaluation, against['tfidf'])} {outcome(failed)}",
        "checks": checks,
    }


def points(comparison: dict[str, Any]) -> str:
    """A difference of shares in percentage points, with its interval."""
    difference, low, high = (100 * comparison[key] for key in ("difference", "low", "high"))
    return f"{difference:+.1f} points ({low:+.1f} to {high:+.1f})"


def not_worse(comparison: dict[str, Any], name: str, detail: str, threshold: float) -> dict[str, Any]:
    """The check that the candidate is not significantly worse than the champion."""
    return {
        "name": name,
        "passed": comparison["p_worse"] >= threshold,
        "detail": f"{detail}; one-sided test for worse: p = {comparison['p_worse']:.3f}, required: "
        f"at least {threshold}",
    }


def outcome(failed: list[dict[str, Any]]) -> str:
    """Last sentence of the verdict."""
    if not failed:
        return "Passed the gate."
    return f"Failed the gate, check '{failed[0]['name']}': {failed[0]['detail']}."


def _gain(comparison: dict[str, Any], name: str, threshold: float) -> dict[str, Any]:
    return {
        "name": name,
        "passed": comparison["low"] > threshold,
        "detail": f"accuracy differs by {points(comparison)}; required: lower bound above {threshold * 100:+.1f}",
    }


def _result(evaluation: dict[str, Any], tfidf: dict[str, Any]) -> str:
    """The accuracy and how it compares with TF-IDF. Where TF-IDF is better, that comes first."""
    accuracy = evaluation["models"]["candidate"]["metrics"]["accuracy"]["value"]
    baseline = evaluation["models"]["tfidf"]["metrics"]["accuracy"]["value"]
    p = f"p = {tfidf['p']:.2f}" if tfidf["p"] >= 0.01 else "p < 0.01"
    adapter = f"adapter has an accuracy of {accuracy:.1%} on held-out rows (best possible: {evaluation['ceiling']:.1%})"
    if tfidf["difference"] < 0:
        return f"TF-IDF with logistic regression is more accurate ({baseline:.1%}, {p}): the {adapter}."
    relation = "higher than" if tfidf["p"] < 0.05 else "not significantly different from"
    return f"The {adapter}, {relation} TF-IDF with logistic regression ({baseline:.1%}, {p})."
