"""The gate of the instruct recipe: decide whether a candidate may be published."""

from __future__ import annotations

from typing import Any

from clinadapt.config.instruct import InstructGate
from components.evaluate.gate.classify import not_worse, outcome, points


def decide(evaluation: dict[str, Any], thresholds: InstructGate) -> dict[str, Any]:
    """Check an evaluation against the thresholds.

    Args:
        evaluation: content of evaluation.json.
        thresholds: differences as shares (0.05 is 5 points), probabilities for p.

    Returns:
        decision (`pass` or `fail`), sentence, and checks with name, passed and detail.
    """
    against = {(c["b"], c["metric"]): c for c in evaluation["comparisons"] if c["task"] is None}
    version = evaluation["champion_version"]
    reference, title = ("champion", f"the champion {version}") if version else ("base", "the base model")
    gain, unsupported = against["base", "token_f1"], against[reference, "unsupported"]
    checks = [
        {
            "name": "higher token F1 than the base model",
            "passed": gain["low"] > thresholds.gain_over_base,
            "detail": f"token F1 differs by {points(gain)}; required: lower bound above "
            f"{100 * thresholds.gain_over_base:+.1f}",
        },
        {
            "name": f"no more unsupported facts than {title}",
            "passed": unsupported["low"] <= thresholds.unsupported,
            "detail": "the share of answers with an unsupported number, dose, date or drug differs by "
            f"{points(unsupported)}; required: lower bound at most {100 * thresholds.unsupported:+.1f}",
        },
    ]
    if version:
        comparison = against["champion", "token_f1"]
        detail = f"token F1 differs by {points(comparison)}"
        name = f"not worse than the champion {version}"
        checks.append(not_worse(comparison, name, detail, thresholds.worse_than_champion))
    failed = [check for check in checks if not check["passed"]]
    return {
        "decision": "fail" if failed else "pass",
        "sentence": f"{_result(evaluation, gain)} {outcome(failed)}",
        "checks": checks,
    }


def _result(evaluation: dict[str, Any], gain: dict[str, Any]) -> str:
    candidate, base = (evaluation["models"][name]["metrics"] for name in ("candidate", "base"))
    relation = "" if gain["low"] > 0 or gain["high"] < 0 else ", not significantly different"
    return (
        f"On {evaluation['rows']} held-out instructions the adapter scores token F1 "
        f"{100 * candidate['token_f1']['value']:.1f} against {100 * base['token_f1']['value']:.1f} for its base model"
        f"{relation}; {candidate['unsupported']['value']:.1%} of its answers contain an unsupported number, dose, date "
        f"or drug (base model {base['unsupported']['value']:.1%})."
    )
