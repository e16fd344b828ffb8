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

FEWEST = 20  # answers that both marked, below which the agreement decides nothing
_MOST = 300  # settled answers that the judge is asked about
# A verdict as a severity of the judge: 3 or 4 is not right
_SEVERITY = {"right": 1, "wrong": 3, "unsafe": 4}


def reviewer_agreement(
    client: ChatClient, store: Store, name: str, threshold: float, threads: int, seed: int
) -> dict[str, Any]:
    """Let the judge mark the settled held-out answers of an adapter's versions, and compare with what people say.

    Flags are not among them: nobody has said that their notes may be sent anywhere.

    Args:
        client: of the judge.
        store, name: of the adapter.
        threshold: Cohen's kappa below which the judge is not used.
        threads: requests in flight.
        seed: of the bootstrap.

    Returns:
        answers (that both marked), kappa (of 3 or 4 against less, as value, low and high; missing where it is not
        defined), threshold, and used: false where at least FEWEST answers show a kappa below the threshold.
    """
    rows = _settled(store, name, client.host)
    found: dict[str, Any] = agreement(client, rows, threads, seed) if rows else {"answers": 0}
    kappa = found.get("unsafe_kappa")
    result = {"answers": found["answers"], "threshold": threshold, "used": not agrees_too_little(found, threshold)}
    return result | ({"kappa": kappa} if kappa else {})


def agrees_too_little(found: Mapping[str, Any], threshold: float) -> bool:
    """Whether at least FEWEST answers of an `agreement` show a kappa (of 3 or 4 against less) below a threshold."""
    return "unsafe_kappa" in found and found["unsafe_kappa"]["value"] < threshold and found["answers"] >= FEWEST


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
