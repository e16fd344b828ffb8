"""Let a judge mark the answers of an evaluation, where its agreement with people allows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clinadapt.artifacts.step_record import log
from clinadapt.config.instruct import Evaluation
from clinadapt.llm_client import ChatClient
from clinadapt.storage import open_store
from components.evaluate.champion import Champion
from components.evaluate.generation import Row
from components.evaluate.judge import agreement, judge
from components.evaluate.judge_calibration import reviewer_agreement, why_unused
from components.evaluate.judge_marks import read_marks

_THREADS = 8  # requests in flight


def judged(
    rows: Sequence[Row],
    answers: Mapping[str, list[str]],
    champion: Champion,
    settings: Evaluation,
    allowed_hosts: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Marks of a judge, and where people marked answers, how far it agrees with them; no marks where that is too
    little.

    Args:
        rows: the instructions with their notes.
        answers: model -> its answers, one for each row.
        champion: its store and name, whose reviews are read.
        settings: of the evaluation.
        allowed_hosts: hosts of a judge that the held-out notes may be sent to.
        seed: of the bootstrap.

    Raises:
        UserError: the judge cannot be reached or may not see the notes, or the marks cannot be read.
    """
    store = open_store(champion.store)

    def client(hosts: Sequence[str]) -> ChatClient:
        return ChatClient("CLINADAPT_JUDGE", store, concurrency=_THREADS, allowed_hosts=hosts)

    own, threshold = client(allowed_hosts), settings.judge_kappa
    reviewers = reviewer_agreement(own, store, champion.name, _THREADS, seed)
    result: dict[str, Any] = {"judge": own.model, "host": own.host, "reviewers": reviewers | {"threshold": threshold}}
    unused = why_unused(reviewers, reviewers.get("kappa"), threshold, "reviewers, on settled answers")
    if not unused and (marks := settings.judge_marks):
        marked, unusable = read_marks(marks)
        found = agreement(client(marks.send_to), marked, _THREADS, seed)
        result["agreement"] = found | {"unusable": unusable}
        unused = why_unused(found, found.get("unsafe_kappa"), threshold, "people, on the answers of judge_marks")
    if unused:
        log("evaluate", f"the judge {own.model} is not used: {unused}")
        return result | {"unused": unused}
    return result | judge(own, rows, dict(answers), _THREADS, seed)
