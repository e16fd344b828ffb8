"""May an instruct adapter be published? A decision, the checks behind it, and one sentence."""

from __future__ import annotations

from typing import Any

from clinadapt.config.instruct import InstructGate
from components.evaluate.gate.classify import points


def decide(evaluation: dict[str, Any], thresholds: InstructGate) -> dict[str, Any]:
    """decision (`pass` or `fail`), sentence and checks (name, passed, detail) for an evaluation."""
    against = {(c["b"], c["metric"]): c for c in evaluation["comparisons"] if c["task"] is None}
    version = evaluation["champion_version"]
    yardstick, title = ("champion", f"the champion {version}") if version else ("base", "the base model")
    gain, invented = against["base", "token_f1"], against[yardstick, "unsupported"]
    checks = [
        {
            "name": "answers better than its base model",
            "passed": gain["low"] > thresholds.gain_over_base,
            "detail": f"token F1 differs by {points(gain)}; the lower end has to be above "
            f"{100 * thresholds.gain_over_base:+.1f}",
        },
        {
            "name": f"invents no more than {title}",
            "passed": invented["low"] <= thresholds.unsupported,
            "detail": "the share of answers with a fact that the note does not hold differs by "
            f"{points(invented)}; the lower end may be {100 * thresholds.unsupported:+.1f} at most",
        },
    ]
    if version:
        c = against["champion", "token_f1"]
        checks.append(
            {
                "name": f"is not worse than the champion {version}",
                "passed": c["p_worse"] >= thresholds.worse_than_champion,
                "detail": f"token F1 differs by {points(c)}, p = {c['p_worse']:.3f} that it is worse by chance alone "
                f"(fails below {thresholds.worse_than_champion})",
            }
        )
    failed = [check for check in checks if not check["passed"]]
    return {
        "decision": "fail" if failed else "pass",
        "sentence": _sentence(evaluation, failed, gain),
        "checks": checks,
    }


def _sentence(evaluation: dict[str, Any], failed: list[dict[str, Any]], gain: dict[str, Any]) -> str:
    after, before = (evaluation["models"][name]["metrics"] for name in ("candidate", "base"))
    verb = "better than" if gain["low"] > 0 else "worse than" if gain["high"] < 0 else "level with"
    start = (
        f"On {evaluation['rows']} held-out instructions the adapter answers {verb} its base model: "
        f"{100 * after['token_f1']['value']:.1f} of 100 in token F1 against {100 * before['token_f1']['value']:.1f}, "
        f"and {after['unsupported']['value']:.1%} of its answers name a fact that the note does not hold "
        f"(base model {before['unsupported']['value']:.1%})"
    )
    if failed:
        return f"{start}; it is not published: the check '{failed[0]['name']}' failed ({failed[0]['detail']})."
    return f"{start}; it is fit to be published."
