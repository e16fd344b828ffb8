"""Queue a version's held-out answers for people to judge, as evaluate drew them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import log
from clinadapt.data.schemas.review import CASES, CASES_FILE
from clinadapt.feedback.cases import Case, Queue, Reason, case_id, has_queue, write_queue
from clinadapt.models.adapter_card import adapter_recipe
from clinadapt.privacy.written_texts import TooLongToScreen, names_nobody, redacted
from clinadapt.storage.object_store import Store

_COLUMNS = {
    "classify": {"note": "text"},
    "instruct": {"note": "note_text", "instruction": "instruction", "private": "private"},
}  # of test.parquet


def queue_answers(
    splits: Path, adapter: Path, evaluation: Path, store: Store, name: str, version: str, reviewers: int
) -> None:
    """Write `reviews/<name>/<version>/`: the cases, and the queue last. A queue that is there already stays.

    Args:
        splits, adapter, evaluation: what the steps before wrote.
        store: to publish in.
        name, version: of the adapter.
        reviewers: people who have to agree about an answer.

    Raises:
        UserError: the store refuses a write; the same call again completes the queue.
    """
    if has_queue(store, name, version):
        return
    recipe: Any = adapter_recipe(adapter)
    manifest = read_json(splits / MANIFEST)
    table = pq.read_table(evaluation / CASES_FILE, schema=CASES)
    drawn = table.to_pylist()
    columns = _COLUMNS[recipe]
    test = pq.read_table(splits / "test.parquet", columns=[*columns.values(), "cluster"])
    clean = names_nobody(manifest.get("phi", {}))
    cases: list[Case] = []
    clusters: list[int] = []
    for row, held_out in zip(drawn, test.take(table["index"]).to_pylist(), strict=True):
        fields = {field: held_out[column] for field, column in columns.items()}
        try:
            texts = _texts(fields | {"answer": row["answer"]}, recipe, clean)
        except TooLongToScreen:
            continue
        case = case_id(recipe, row["note_id"], fields.get("instruction", ""))
        reasons = tuple(Reason(**reason) for reason in row["reasons"])
        origin: dict[str, Any] = {"origin": "held-out", "drawn": row["drawn"], "cluster": held_out["cluster"]}
        cases.append(Case(name, version, case, recipe, row["note_id"], **texts, **origin, reasons=reasons))
        clusters.append(held_out["cluster"])
    counts = read_json(evaluation / "evaluation.json")["review"]
    too_long = len(drawn) - len(cases)
    queue = Queue(
        name,
        version,
        recipe,
        reviewers,
        population=counts["population"] - too_long,
        riskiest=sum(case.drawn == "risk" for case in cases),
        withheld=counts["withheld"] + too_long,
        cases={case.case: case.content for case in cases},
        clusters=clusters,
        labels=manifest.get("labels", []),
        hosts=counts.get("hosts", []),
    )
    write_queue(store, queue, cases)
    log("publish", f"{len(cases)} of {queue.population} held-out answers wait to be judged: clinadapt review")
    if counts["withheld"]:
        log(
            "publish",
            f"{counts['withheld']} answers about private notes do not: see review.private_notes in the profile",
        )


def _texts(fields: dict[str, Any], recipe: str, clean: bool) -> dict[str, Any]:
    """Note, instruction and answer without what identifies somebody, and whether the answer is as the model wrote it.

    Args:
        fields: these, and whether the note is private.
        recipe: an answer of classify is a label.
        clean: whether what names somebody was screened out of the notes; then the answer alone is.

    Raises:
        TooLongToScreen: a text takes too long.
    """
    note, instruction, answer = fields["note"], fields.get("instruction", ""), fields["answer"]
    if fields.get("private", recipe == "classify") and not clean:
        written = [note, instruction, *([answer] if recipe == "instruct" else [])]
        screened = dict(zip(written, redacted(written), strict=True))
        note, instruction, answer = screened[note], screened[instruction], screened.get(answer, answer)
    elif recipe == "instruct":
        (answer,) = redacted([answer], source=fields["note"], direct_only=True)
    as_written = answer == fields["answer"]
    return {"note": note, "instruction": instruction, "answer": answer, "as_written": as_written}
