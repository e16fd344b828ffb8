"""May the candidate be published? A decision, the checks behind it, and one sentence."""

from __future__ import annotations

from typing import Any

from clinadapt.config.classify import ClassifyGate


def decide(evaluation: dict[str, Any], thresholds: ClassifyGate) -> dict[str, Any]:
    """decision (`pass` or `fail`), sentence and checks (name, passed, detail) for an evaluation."""
    against = {c["b"]: c for c in evaluation["comparisons"]}
    checks = [
        _gain(against["base"], "beats the base before training", thresholds.gain_over_base),
        _gain(against["majority"], "beats the majority class", thresholds.gain_over_majority),
    ]
    if "champion" in against:
        c = against["champion"]
        checks.append(
            {
                "name": f"is not worse than the champion {evaluation['champion_version']}",
                "passed": c["p_worse"] >= thresholds.worse_than_champion,
                "detail": f"difference {points(c)}, p = {c['p_worse']:.3f} that it is worse by chance alone "
                f"(fails below {thresholds.worse_than_champion})",
            }
        )
    elif evaluation["champion_version"]:
        checks.append(
            {
                "name": f"can be compared with the champion {evaluation['champion_version']}",
                "passed": False,
                "detail": "the champion knows other labels: publish under another adapter name",
            }
        )
    failed = [check for check in checks if not check["passed"]]
    return {
        "decision": "fail" if failed else "pass",
        "sentence": _sentence(evaluation, failed, against["tfidf"]),
        "checks": checks,
    }


def _gain(c: dict[str, Any], name: str, needed: float) -> dict[str, Any]:
    return {
        "name": name,
        "passed": c["low"] > needed,
        "detail": f"difference {points(c)}; its lower end has to be above {needed * 100:+.1f}",
    }


def _chance(c: dict[str, Any]) -> str:
    return f"p = {c['p']:.2f}" if c["p"] >= 0.01 else "p < 0.01"


def points(c: dict[str, Any]) -> str:
    """A difference of shares with its interval."""
    return f"{c['difference'] * 100:+.1f} points ({c['low'] * 100:+.1f} to {c['high'] * 100:+.1f})"


def _sentence(evaluation: dict[str, Any], failed: list[dict[str, Any]], tfidf: dict[str, Any]) -> str:
    """The verdict. Where TF-IDF wins, it says so before anything else."""
    accuracy = evaluation["models"]["candidate"]["metrics"]["accuracy"]["value"]
    cheap = evaluation["models"]["tfidf"]["metrics"]["accuracy"]["value"]
    figures = f"{accuracy:.1%} of held-out rows, of at most {evaluation['ceiling']:.1%} that the text allows"
    if tfidf["difference"] < 0:
        start = (
            f"TF-IDF with logistic regression wins ({cheap:.1%} against {accuracy:.1%}, {_chance(tfidf)}): "
            f"the adapter names the specialty of {figures},"
        )
    else:
        proof = "better than" if tfidf["p"] < 0.05 else "level with"
        start = (
            f"The adapter names the specialty of {figures}, {proof} TF-IDF with logistic regression "
            f"({cheap:.1%}, {_chance(tfidf)}),"
        )
    if failed:
        return f"{start} and is not published: the check '{failed[0]['name']}' failed ({failed[0]['detail']})."
    return f"{start} and is fit to be published."
