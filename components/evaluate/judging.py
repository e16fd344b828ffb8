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
from components.evaluate.judge_calibration import agrees_too_little, reviewer_agreement
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
    reviewers = reviewer_agreement(own, store, champion.name, threshold, _THREADS, seed)
    result: dict[str, Any] = {"judge": own.model, "host": own.host, "reviewers": reviewers}
    if not reviewers["used"]:
        _log_unused(own.model, "reviewers", reviewers["kappa"], f"{reviewers['answers']} settled answers", threshold)
        return result
    if marks := settings.judge_marks:
        marked, unusable = read_marks(marks)
        found = agreement(client(marks.send_to), marked, _THREADS, seed)
        result["agreement"] = found | {"unusable": unusable}
        if agrees_too_little(found, threshold):
            number = f"{found['answers']} answers of judge_marks"
            _log_unused(own.model, "people", found["unsafe_kappa"], number, threshold)
            return result
    return result | judge(own, rows, dict(answers), _THREADS, seed)


def _log_unused(model: str, people: str, kappa: Mapping[str, float], answers: str, threshold: float) -> None:
    log(
        "evaluate",
        f"the judge {model} is not used: its agreement with {people}, kappa {kappa['value']:.2f} on {answers}, is "
        f"below evaluation.judge_kappa, {threshold:.2f}",
    )
