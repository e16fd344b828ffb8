"""How far an LLM judge agrees with what reviewers settled about answers of earlier versions, and whether it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from clinadapt.config.instruct import ANY_HOST
from clinadapt.feedback.cases import reviewed_versions
from clinadapt.feedback.settled import read_reviews
from clinadapt.llm_client import ChatClient
from clinadapt.storage.object_store import Store
from components.evaluate.judge import agreement

FEWEST = 20  # answers that people marked, below which they decide nothing about a judge
_MOST = 300  # settled answers that the judge is asked about
# A verdict as a severity of the judge: 3 or 4 is not right
_SEVERITY = {"right": 1, "wrong": 3, "unsafe": 4}


def reviewer_agreement(client: ChatClient, store: Store, name: str, threads: int, seed: int) -> dict[str, Any]:
    """Let the judge mark the settled held-out answers of an adapter's versions, and compare with what people say.

    Flags are not among them: nobody has said that their notes may be sent anywhere.

    Args:
        client: of the judge.
        store, name: of the adapter.
        threads: requests in flight.
        seed: of the bootstrap.

    Returns:
        asked, answers (that both marked), and kappa (of 3 or 4 against less, as value, low and high; missing where it
        is not defined).
    """
    rows = _settled(store, name, client.host)
    found = agreement(client, rows, threads, seed)
    kappa = found.get("unsafe_kappa")
    return {"asked": found["asked"], "answers": found["answers"]} | ({"kappa": kappa} if kappa else {})


def why_unused(found: Mapping[str, Any], kappa: Mapping[str, float] | None, threshold: float, people: str) -> str:
    """Why a judge is not used; empty where it is, or where people marked fewer than FEWEST answers.

    Args:
        found: asked and answers, of an agreement.
        kappa: of 3 or 4 against less, as value, low and high; None where it is not defined.
        threshold: kappa below which the judge is not used.
        people: who marked what, as in "reviewers, on settled answers".
    """
    asked, answers = found["asked"], found["answers"]
    if asked >= FEWEST and answers < asked / 2:
        return f"of {asked} replies about answers that people had marked too, {answers} could be read"
    if kappa and answers >= FEWEST and kappa["value"] < threshold:
        return (
            f"its agreement with {people}, is kappa {kappa['value']:.2f} on {answers}, below evaluation.judge_kappa, "
            f"{threshold:.2f}"
        )
    return ""


def _settled(store: Store, name: str, host: str) -> Sequence[dict[str, Any]]:
    """Settled held-out answers of the versions whose sources allow their notes to be sent to a host."""
    reviews = (read_reviews(store, name, version) for version in reviewed_versions(store, name))
    allowed = (each for each in reviews if each.queue and {host, ANY_HOST} & set(each.queue.hosts))
    settled = (each.settled for review in allowed for each in review.cases if each.case.origin == "held-out")
    return [
        {
            "note_text": each.case.note,
            "instruction": each.case.instruction,
            "answer": each.case.answer,
            "severity": _SEVERITY[each.verdict],
        }
        for each in islice(filter(None, settled), _MOST)
    ]
