"""Evaluate an instruct adapter: let adapter, base model and champion answer the same held-out instructions, score the
answers and compare the models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json, sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.base import Review
from clinadapt.config.instruct import Evaluation
from clinadapt.data.schemas.instruct import EXAMPLES
from clinadapt.data.tables import write_table
from clinadapt.errors import UserError
from clinadapt.evaluation.answer_scores import TEXT_SCORES
from clinadapt.models.devices import free_memory
from clinadapt.models.reproducibility import answer_digest
from clinadapt.storage import open_store
from components.evaluate.aggregates import answer_aggregates
from components.evaluate.answer_checks import REFERENCE, AnswerCheck, check_answers
from components.evaluate.champion import Champion
from components.evaluate.corrections import answers_on_corrections, read_corrected
from components.evaluate.counterfactual_answers import measure_answers
from components.evaluate.examples import examples
from components.evaluate.generation import CachedModel, ModelAnswers, Row
from components.evaluate.judging import judged
from components.evaluate.memory import audited
from components.evaluate.metrics import CONFIDENCE, SHARE, paired, ratios
from components.evaluate.results import write_results
from components.evaluate.review_cases import DEFAULT_REVIEW, Candidate, answer_risks, write_cases
from components.evaluate.scores import SCORED_METRICS, reference_rates, score
from components.evaluate.subgroups import subgroups

MODEL_TITLES = {"candidate": "Adapter", "base": "Base model", "champion": "Champion"}
_Z_CONFIDENCE, _Z_POWER = 1.96, 0.84  # standard normal quantiles of a two-sided 95 % interval and of 80 % power


def run(
    splits: Path,
    adapter: Path,
    output: Path,
    champion: Champion,
    settings: Evaluation,
    seed: int,
    allowed_hosts: Sequence[str] = (),
    review: Review = DEFAULT_REVIEW,
) -> dict[str, Any]:
    """Answer a sample of the held-out instructions with every model, score the answers and write the results.

    Writes evaluation.json, predictions.parquet, examples.json (never of private rows), cases.parquet (of private rows
    where `review` says so) and the manifest. Answers are cached batch by batch: an interrupted evaluation resumes.

    Args:
        splits, adapter: output of format, of which test.parquet is read, and of train.
        output: folder.
        champion: to compare with.
        settings: size of the sample, generation settings, judge.
        seed: of the sample, the bootstrap and the permutation tests.
        allowed_hosts: hosts of a judge that the held-out notes may be sent to.
        review: which answers people are asked to judge.

    Returns:
        Content of evaluation.json.

    Raises:
        UserError: a model cannot be loaded, or there is no held-out instruction.
    """
    held_out = pq.read_table(splits / "test.parquet", schema=EXAMPLES)
    index = _drawn(held_out, settings.rows_per_task, seed)
    rows = _with_decimals(held_out.take(index), splits)
    corrected = _with_decimals(read_corrected(splits, EXAMPLES), splits)
    answers, on_corrected, of_candidate = _answer(rows, corrected, splits, adapter, champion, settings, seed)
    checks = check_answers(rows, _texts(answers))
    scores = {name: score(rows, model, checks[name]) for name, model in answers.items()}
    tasks, cluster = (np.array([row[name] for row in rows]) for name in ("task", "cluster"))
    evaluation = {
        "recipe": "instruct",
        **_counts(len(held_out), rows, tasks, cluster),
        **_generation(answers["candidate"], settings),
        "reference": reference_rates(checks[REFERENCE], cluster, seed),
        "models": {name: _summary(name, answers[name], scores[name], tasks, cluster, seed) for name in answers},
        "by_row": _by_row(index, scores["candidate"][0]),
        **_compared(scores, tasks, cluster, seed),
        "subgroups": _subgroups(rows, scores["candidate"], cluster, seed),
        **of_candidate,
        "aggregates": answer_aggregates(rows, answers["candidate"].answers, checks["candidate"]),
        **champion.reference(),
        **answers_on_corrections(corrected, on_corrected, MODEL_TITLES, seed),
    }
    if settings.judge:
        evaluation["judge"] = judged(rows, _texts(answers), champion, settings, allowed_hosts, seed)
    _write_answers(output, index, rows, answers, checks["candidate"], seed)
    counts = write_cases(output, "instruct", _candidates(index, rows, answers, checks["candidate"]), review, seed)
    evaluation["review"] = {**counts, "hosts": list(allowed_hosts)}
    write_results(output, evaluation, splits, adapter)
    return evaluation


def _drawn(held_out: pa.Table, rows_per_task: int, seed: int) -> list[int]:
    """The rows of the sample. Raises UserError where there is no held-out instruction."""
    index = sample(held_out["task"].to_pylist(), held_out["note_id"].to_pylist(), rows_per_task, seed)
    if not index:
        raise UserError("no held-out instructions: add sources or raise examples.test_share")
    return index


def _with_decimals(examples: pa.Table, splits: Path) -> list[dict[str, Any]]:
    """The rows of examples without their tokens, each with `decimal_comma`: whether its source writes numbers so."""
    commas = read_json(splits / MANIFEST)["synthesis"]["decimal_comma"]
    rows = examples.drop_columns(["input_ids"]).to_pylist()
    return [row | {"decimal_comma": row["source"] in commas} for row in rows]


def _counts(held_out: int, rows: Sequence[Row], tasks: np.ndarray, cluster: np.ndarray) -> dict[str, Any]:
    """How many rows are held out, how many of what kind are asked, and the confidence of the intervals over them."""
    return {
        "held_out_rows": held_out,
        "confidence": CONFIDENCE,
        "rows": len(rows),
        "notes": len({row["note_id"] for row in rows}),
        "clusters": len(np.unique(cluster)),
        "tasks": {str(task): int((tasks == task).sum()) for task in np.unique(tasks)},
        "unanswerable": sum(not row["answerable"] for row in rows),
        "checkable": sum(row["check"] != "none" for row in rows),
        "held_out_digest": sha256_json([[row["note_id"], row["instruction"]] for row in rows]),
    }


def _by_row(index: list[int], numerators: np.ndarray) -> dict[str, list[float]]:
    """What the candidate's answer to each row scored, with the row's number in test.parquet as `index`: numbers alone,
    which are published with the version, so that a server can be compared with the evaluation row by row."""
    scores = {name: numerators[:, SCORED_METRICS.index(name)].round(4).tolist() for name in TEXT_SCORES}
    return {"index": index, **scores}


def _generation(candidate: ModelAnswers, settings: Evaluation) -> dict[str, int]:
    """How answers are generated, with the tokens of notes that the candidate did not see and the rows with such."""
    trimmed = [answer.trimmed_tokens for answer in candidate.answers]
    return {
        "max_new_tokens": settings.max_new_tokens,
        "batch_size": settings.batch_size,
        "trimmed_tokens": sum(trimmed),
        "trimmed_rows": sum(tokens > 0 for tokens in trimmed),
    }


def sample(tasks: Sequence[str], notes: Sequence[str], rows_per_task: int, seed: int) -> list[int]:
    """Draw at most `rows_per_task` rows of each task, note by note in random order, so that the rows of a note are
    drawn together where possible.

    Args:
        tasks: of each row, shape (rows,).
        notes: note_id of each row, shape (rows,).

    Returns:
        Row numbers in the order in which they were drawn.
    """
    order = {note: rank for rank, note in enumerate(np.random.default_rng(seed).permutation(sorted(set(notes))))}
    remaining = dict.fromkeys(tasks, rows_per_task)
    drawn = []
    for i in sorted(range(len(notes)), key=lambda i: (order[notes[i]], i)):
        if remaining[tasks[i]]:
            remaining[tasks[i]] -= 1
            drawn.append(i)
    return drawn


def minimum_detectable_difference(comparison: dict[str, Any]) -> float:
    """Smallest true difference in token F1 that the gate detects with 80 % power at this sample size: 2.8 standard
    errors of the paired difference (Cohen 1988, Statistical Power Analysis, chapter 2).

    Args:
        comparison: with the bounds `low` and `high` of its interval, from which the standard error follows.
    """
    standard_error = (comparison["high"] - comparison["low"]) / (2 * _Z_CONFIDENCE)
    return (_Z_CONFIDENCE + _Z_POWER) * standard_error


def _answer(
    rows: Sequence[Row],
    corrected: Sequence[Row],
    splits: Path,
    adapter: Path,
    champion: Champion,
    settings: Evaluation,
    seed: int,
) -> tuple[dict[str, ModelAnswers], dict[str, ModelAnswers], dict[str, Any]]:
    """Answers of each model to held-out and to corrected instructions, in the order of MODEL_TITLES, and of the
    candidate alone what it answers about counterfactual notes, and its audit where one is asked for; one base model is
    in memory at a time."""
    store, answers, on_corrected = open_store(champion.store), dict[str, ModelAnswers](), dict[str, ModelAnswers]()

    def ask(model: CachedModel, name: str, title: str) -> None:
        answers[name] = model.answer(rows, settings, title, use_adapter=name != "base")
        if corrected:
            on_corrected[name] = model.answer(corrected, settings, title, use_adapter=name != "base")

    model = CachedModel(adapter, store)
    ask(model, "candidate", "adapter")
    ask(model, "base", "base model")
    counterfactuals = measure_answers(model, rows, answers["candidate"].texts, settings, seed)
    of_candidate = {"counterfactuals": counterfactuals, **audited(model, splits)}
    del model
    free_memory()
    if champion.version:
        champion.load(lambda folder: ask(CachedModel(folder, store), "champion", f"champion {champion.version}"))
    return answers, on_corrected, of_candidate


def _summary(
    name: str,
    answers: ModelAnswers,
    scores: tuple[np.ndarray, np.ndarray],
    tasks: np.ndarray,
    cluster: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    """Entry of a model in evaluation.json."""
    tokens = sum(len(answer.tokens) + answer.complete for answer in answers.answers)
    per_task = {}
    for task in np.unique(tasks):
        of_task = tasks == task
        per_task[str(task)] = _estimates(scores[0][of_task], scores[1][of_task], cluster[of_task], seed)
    return {
        "title": MODEL_TITLES[name],
        "metrics": _estimates(*scores, cluster, seed),
        "per_task": per_task,
        "seconds": answers.seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / answers.seconds,
        "first_token_seconds": answers.first_token_seconds,
    }


def _estimates(
    numerators: np.ndarray, denominators: np.ndarray, cluster: np.ndarray, seed: int
) -> dict[str, dict[str, float]]:
    """Metrics that apply to these rows with their intervals; perplexity, exp(loss per token), instead of loss."""
    bounds = [(0.0, math.inf) if name == "loss" else SHARE for name in SCORED_METRICS]
    estimates = dict(zip(SCORED_METRICS, ratios(numerators, denominators, cluster, seed, bounds), strict=True))
    loss = estimates.pop("loss")
    estimates["perplexity"] = loss | {key: math.exp(min(loss[key], 700)) for key in ("value", "low", "high")}
    return {name: entry for name, entry in estimates.items() if not math.isnan(entry["value"])}


def _subgroups(
    rows: Sequence[Row], scores: tuple[np.ndarray, np.ndarray], cluster: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """Metrics of one model in each group of rows: `by`, `group`, rows, clusters and metrics."""
    return [
        {
            "by": by,
            "group": group,
            "rows": int(chosen.sum()),
            "clusters": len(np.unique(cluster[chosen])),
            "metrics": _estimates(scores[0][chosen], scores[1][chosen], cluster[chosen], seed),
        }
        for by, groups in subgroups(rows).items()
        for group, chosen in groups.items()
    ]


def _comparisons(
    scores: dict[str, tuple[np.ndarray, np.ndarray]], tasks: np.ndarray, cluster: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """Paired comparisons of the candidate with every other model: token F1 over all tasks and by task, then every other
    metric except the loss, which is not comparable between tokenizers."""
    all_rows = np.ones(len(tasks), dtype=bool)
    selections: list[tuple[str, str | None, np.ndarray]] = [("token_f1", None, all_rows)]
    selections += [("token_f1", str(task), tasks == task) for task in np.unique(tasks)]
    selections += [(name, None, all_rows) for name in SCORED_METRICS if name not in ("token_f1", "loss")]
    comparisons = []
    for other in (name for name in scores if name != "candidate"):
        for metric, task, selected in selections:
            column = SCORED_METRICS.index(metric)
            difference = scores["candidate"][0][selected, column] - scores[other][0][selected, column]
            weight = scores["candidate"][1][selected, column]
            if weight.any():
                result = paired(difference, weight, cluster[selected], seed)
                comparisons.append({"a": "candidate", "b": other, "metric": metric, "task": task, **result})
    return comparisons


def _candidates(
    index: list[int], rows: Sequence[Row], answers: dict[str, ModelAnswers], checks: Sequence[AnswerCheck]
) -> list[Candidate]:
    """The candidate's answers, as people may judge them."""
    champion = answers["champion"].texts if "champion" in answers else [None] * len(rows)
    texts = answers["candidate"].texts
    risks = [
        answer_risks(row, text, checked.unsupported, other)
        for row, text, checked, other in zip(rows, texts, checks, champion, strict=True)
    ]
    return [
        Candidate(i, row["note_id"], row["instruction"], text, row["private"], risk)
        for i, row, text, risk in zip(index, rows, texts, risks, strict=True)
    ]


def _compared(
    scores: dict[str, tuple[np.ndarray, np.ndarray]], tasks: np.ndarray, cluster: np.ndarray, seed: int
) -> dict[str, Any]:
    comparisons = _comparisons(scores, tasks, cluster, seed)
    detectable = minimum_detectable_difference(comparisons[0])
    return {"comparisons": comparisons, "minimum_detectable_difference": detectable}


def _texts(answers: dict[str, ModelAnswers]) -> dict[str, list[str]]:
    return {name: model.texts for name, model in answers.items()}


def _write_answers(
    output: Path,
    index: list[int],
    rows: Sequence[Row],
    answers: dict[str, ModelAnswers],
    checks: Sequence[AnswerCheck],
    seed: int,
) -> None:
    """Write predictions.parquet, with the digest of every answer of the candidate, and examples.json, of which some are
    drawn by the seed. Neither contains the text of an answer about a private note."""
    output.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {"index": pa.array(index, pa.int64())}
    columns |= {name: [row[name] for row in rows] for name in ("source", "row", "note_id", "task")}
    columns["digest"] = [answer_digest(answer) for answer in answers["candidate"].answers]
    for name, model in answers.items():
        columns[f"answer_{name}"] = pa.array(
            [None if row["private"] else text for row, text in zip(rows, model.texts, strict=True)],
            pa.string(),
        )
    write_table(pa.table(columns), output / "predictions.parquet")
    write_json(output / "examples.json", examples(rows, _texts(answers), checks, seed))
