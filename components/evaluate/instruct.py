"""Ask base, adapter and champion the same instructions about held-out notes, and compare what they answer."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json, sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.config.instruct import Evaluation
from clinadapt.data.schemas.instruct import EXAMPLES
from clinadapt.data.tables import write_table
from clinadapt.errors import UserError
from clinadapt.llm_client import ChatClient
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.chat_template import Question
from clinadapt.models.devices import free_memory
from clinadapt.models.generator import Answer, Generator
from clinadapt.models.reproducibility import RELOAD_SAMPLE, answer_digest
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from components.evaluate.answer_cache import Kept
from components.evaluate.champion import Champion
from components.evaluate.judge import judge
from components.evaluate.metrics import CONFIDENCE, paired, ratios
from components.evaluate.text_metrics import matches, refuses, rouge_l, token_f1

TITLES = {"candidate": "Adapter", "base": "Base model", "champion": "Champion"}
METRICS = (
    "token_f1",
    "rouge_l",
    "match",
    "loss",
    "unsupported",
    "refused_rightly",
    "refused_wrongly",
    "ended",
)
_POWER = 0.8
_Z = 1.96 + 0.84  # of a two-sided 95 % interval, and of 80 % power
_FIRST_TOKENS = 5  # questions that the time to the first token is the median of
_JUDGE_THREADS = 8  # requests in flight
_EXCERPT = 700  # characters of a note that an example shows
Row = dict[str, Any]


@dataclass
class _Said:
    """What one model answered: answers and losses in the order of the rows, and how long it took."""

    answers: list[Answer]
    losses: np.ndarray
    tokens: np.ndarray
    seconds: float
    first_token_seconds: float


def run(
    splits: Path, adapter: Path, output: Path, champion: Champion, settings: Evaluation, seed: int
) -> dict[str, Any]:
    """Write evaluation.json, examples.json (never of private rows), predictions.parquet and the manifest; return
    evaluation.json's content. What is answered is kept in the store batch by batch, and an evaluation that was cut goes
    on.

    Args:
        splits: what format wrote; test.parquet is read.
        adapter: what train wrote.
        output: the folder to write to.
        champion: what runs today, and the store.
        settings: how much is asked.
        seed: of the sample and of the bootstrap.

    Raises:
        UserError: a model cannot be loaded, or there is nothing to ask.
    """
    table = pq.read_table(splits / "test.parquet", schema=EXAMPLES).drop_columns(["input_ids"])
    chosen = sample(table["task"].to_pylist(), table["note_id"].to_pylist(), settings.rows_per_task, seed)
    if not chosen:
        raise UserError("there is no held-out instruction: add sources or raise examples.test_share")
    rows = table.take(chosen).to_pylist()
    store = open_store(champion.store)
    model = _Model(adapter)
    said = {"candidate": _ask(model, True, rows, settings, store, "adapter")}
    said["base"] = _ask(model, False, rows, settings, store, "base model")
    del model
    free_memory()
    if champion.version:
        who = f"champion, version {champion.version},"
        said["champion"] = champion.load(lambda folder: _ask(_Model(folder), True, rows, settings, store, who))
    said = {name: said[name] for name in TITLES if name in said}

    parts = {name: score(rows, entry.answers, entry.losses, entry.tokens) for name, entry in said.items()}
    tasks = np.array([row["task"] for row in rows])
    cluster = np.array([row["cluster"] for row in rows])
    evaluation = {
        "recipe": "instruct",
        "rows": len(rows),
        "notes": len({row["note_id"] for row in rows}),
        "clusters": len(np.unique(cluster)),
        "held_out_rows": len(table),
        "tasks": {str(task): int((tasks == task).sum()) for task in np.unique(tasks)},
        "unanswerable": sum(not row["answerable"] for row in rows),
        "checkable": sum(row["check"] != "none" for row in rows),
        "confidence": CONFIDENCE,
        "max_new_tokens": settings.max_new_tokens,
        "batch_size": settings.batch_size,
        "trimmed_tokens": int(sum(answer.trimmed_tokens for answer in said["candidate"].answers)),
        "trimmed_rows": sum(answer.trimmed_tokens > 0 for answer in said["candidate"].answers),
        "models": {name: _model(name, said[name], parts[name], tasks, cluster, seed) for name in said},
        "comparisons": _comparisons(parts, tasks, cluster, seed),
        "champion_version": champion.version,
        "champion_etag": champion.etag,
    }
    if settings.judge:
        texts = {name: [answer.text for answer in entry.answers] for name, entry in said.items()}
        evaluation["judge"] = judge(_judge(champion.store), rows, texts, _JUDGE_THREADS, seed)
    evaluation["smallest_difference"] = smallest_difference(evaluation["comparisons"][0])
    _write(output, evaluation, chosen, rows, said, splits, adapter)
    return evaluation


def sample(tasks: Sequence[str], notes: Sequence[str], most: int, seed: int) -> list[int]:
    """Rows to ask, in order: at most `most` of each task, from notes in one random order, so that notes are asked
    whole where that can be."""
    order = {note: place for place, note in enumerate(np.random.default_rng(seed).permutation(sorted(set(notes))))}
    by_note = sorted(range(len(notes)), key=lambda i: (order[notes[i]], i))
    left = dict.fromkeys(tasks, most)
    chosen = []
    for i in by_note:
        if left[tasks[i]]:
            left[tasks[i]] -= 1
            chosen.append(i)
    return chosen


def score(
    rows: Sequence[Row], answers: Sequence[Answer], losses: np.ndarray, tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each metric of each answer as a fraction, (tops, bottoms) of shape (rows, METRICS); a bottom of 0 where a metric
    does not apply."""
    tops, bottoms = np.zeros((len(rows), len(METRICS))), np.ones((len(rows), len(METRICS)))
    for i, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        refused = refuses(answer.text)
        invented = unsupported_facts(answer.text, f"{row['note_text']}\n{row['instruction']}")
        check = row["check"] != "none"
        entries = {
            "token_f1": (token_f1(answer.text, row["answer"]), 1),
            "rouge_l": (rouge_l(answer.text, row["answer"]), 1),
            "match": (check and matches(answer.text, row["answer"], row["check"]), check),
            "loss": (losses[i], tokens[i]),
            "unsupported": (bool(invented), 1),
            "refused_rightly": (refused and not row["answerable"], not row["answerable"]),
            "refused_wrongly": (refused and row["answerable"], row["answerable"]),
            "ended": (answer.complete, 1),
        }
        tops[i], bottoms[i] = zip(*(entries[name] for name in METRICS), strict=True)
    return tops, bottoms


def smallest_difference(comparison: dict[str, Any]) -> float:
    """The smallest true difference in token F1 that the gate would see four times in five at this sample size: 2.8
    standard errors (Cohen 1988, Statistical Power Analysis, chapter 2), of the paired difference by bootstrap."""
    return _Z * (comparison["high"] - comparison["low"]) / (2 * 1.96)


class _Model:
    """The adapter in a folder; it is loaded when it is asked what is not kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.card = folder, InstructCard.read(folder)

    @cached_property
    def generator(self) -> Generator:
        return Generator(self.folder)


def _ask(model: _Model, adapted: bool, rows: Sequence[Row], settings: Evaluation, store: Store, who: str) -> _Said:
    """What a model says, or its base model without the adapter."""
    log("evaluate", f"asking the {who} {len(rows)} instructions")
    questions = [[row[key] for key in ("note_text", "instruction", "answer")] for row in rows]
    asked = [sha256_json(questions), settings.max_new_tokens, settings.batch_size]
    kept = Kept(store, model.folder, model.card, adapted, asked)

    def piece(name: str, ask: Callable[..., Any], of: list[Row]) -> Any:
        def make() -> Any:
            with nullcontext() if adapted else model.generator.without_adapter():
                return ask(model.generator, of, settings)

        return kept.piece(name, make)

    answers: dict[int, Answer] = {}
    losses, tokens, seconds = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64), 0.0
    for number, part in enumerate(_parts(rows, settings.batch_size)):
        made = piece(f"answers-{number}", _answered, [rows[i] for i in part])
        answers |= zip(part, (Answer(*answer) for answer in made["answers"]), strict=True)
        losses[part], tokens[part] = made["losses"], made["tokens"]
        seconds += made["seconds"]
    first = piece("first-token", _first_token, list(rows[:_FIRST_TOKENS]))
    return _Said([answers[i] for i in range(len(rows))], losses, tokens, seconds, first)


def _parts(rows: Sequence[Row], size: int) -> list[list[int]]:
    """The rows that are asked and kept together: those that publish asks again together too (answer_reload_sample),
    then batches of like length."""
    rest = sorted(
        range(RELOAD_SAMPLE, len(rows)), key=lambda i: -len(rows[i]["note_text"]) - len(rows[i]["instruction"])
    )
    return [list(range(min(RELOAD_SAMPLE, len(rows)))), *(rest[i : i + size] for i in range(0, len(rest), size))]


def _answered(generator: Generator, rows: Sequence[Row], settings: Evaluation) -> dict[str, Any]:
    questions = [Question(row["note_text"], row["instruction"]) for row in rows]
    start = time.monotonic()
    answers = generator.answers(questions, settings.max_new_tokens, settings.batch_size)
    seconds = time.monotonic() - start
    losses, tokens = generator.answer_losses(questions, [row["answer"] for row in rows])
    return {
        "answers": [astuple(answer) for answer in answers],
        "losses": losses.tolist(),
        "tokens": tokens.tolist(),
        "seconds": seconds,
    }


def _first_token(generator: Generator, rows: Sequence[Row], settings: Evaluation) -> float:
    """Seconds, the median of a few questions."""
    seconds = []
    for row in rows:
        start = time.monotonic()
        generator.answers([Question(row["note_text"], row["instruction"])], 1, settings.batch_size)
        seconds.append(time.monotonic() - start)
    return statistics.median(seconds)


def _judge(store: str) -> ChatClient:
    """Replies are kept in the store, so that a second evaluation pays for none again."""
    return ChatClient("CLINADAPT_JUDGE", open_store(store), concurrency=_JUDGE_THREADS)


def _model(
    name: str,
    said: _Said,
    parts: tuple[np.ndarray, np.ndarray],
    tasks: np.ndarray,
    cluster: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    tokens = sum(len(answer.tokens) + answer.complete for answer in said.answers)
    return {
        "title": TITLES[name],
        "metrics": _estimates(*parts, cluster, seed),
        "per_task": {
            str(task): _estimates(parts[0][tasks == task], parts[1][tasks == task], cluster[tasks == task], seed)
            for task in np.unique(tasks)
        },
        "seconds": said.seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / said.seconds,
        "first_token_seconds": said.first_token_seconds,
    }


def _estimates(tops: np.ndarray, bottoms: np.ndarray, cluster: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """Metrics that apply to these rows; of the loss a token, its exponential, the perplexity."""
    found = dict(zip(METRICS, ratios(tops, bottoms, cluster, seed), strict=True))
    found["perplexity"] = {key: math.exp(min(value, 700)) for key, value in found.pop("loss").items()}
    return {name: entry for name, entry in found.items() if not math.isnan(entry["value"])}


def _comparisons(
    parts: dict[str, tuple[np.ndarray, np.ndarray]], tasks: np.ndarray, cluster: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """The adapter against each other model: token F1 over all and by task, then every other metric but the loss, which
    models with other tokenizers share no unit of."""
    found = []
    everything = np.ones(len(tasks), dtype=bool)
    wanted: list[tuple[str, str | None, np.ndarray]] = [("token_f1", None, everything)]
    wanted += [("token_f1", str(task), tasks == task) for task in np.unique(tasks)]
    wanted += [(name, None, everything) for name in METRICS if name not in ("token_f1", "loss")]
    for other in (name for name in parts if name != "candidate"):
        for metric, task, of in wanted:
            column = METRICS.index(metric)
            difference = parts["candidate"][0][of, column] - parts[other][0][of, column]
            weight = parts["candidate"][1][of, column]
            if weight.any():
                result = paired(difference, weight, cluster[of], seed)
                found.append({"a": "candidate", "b": other, "metric": metric, "task": task, **result})
    return found


def _write(
    output: Path,
    evaluation: dict[str, Any],
    chosen: list[int],
    rows: Sequence[Row],
    said: dict[str, _Said],
    splits: Path,
    adapter: Path,
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {"index": pa.array(chosen, pa.int64())}
    columns |= {name: [row[name] for row in rows] for name in ("source", "row", "note_id", "task")}
    columns["digest"] = [answer_digest(answer) for answer in said["candidate"].answers]
    for name, entry in said.items():
        columns[f"answer_{name}"] = pa.array(
            [None if row["private"] else answer.text for row, answer in zip(rows, entry.answers, strict=True)],
            pa.string(),
        )
    write_table(pa.table(columns), output / "predictions.parquet")
    write_json(output / "examples.json", examples(rows, {name: entry.answers for name, entry in said.items()}))
    write_json(output / "evaluation.json", evaluation)
    made = read_json(adapter / MANIFEST)
    inputs = {"splits": read_json(splits / MANIFEST)["digest"], "adapter": made["digest"]}
    write_manifest(output, {f"{name}_digest": each for name, each in inputs.items()}, "evaluate", inputs, [made])


def examples(rows: Sequence[Row], answers: dict[str, list[Answer]]) -> list[dict[str, Any]]:
    """The first answerable row of each task and the first two that cannot be answered, of what is not private: whatever
    they are like, nobody has chosen them."""
    firsts: dict[Any, int] = {}
    refusals = 0
    for i, row in enumerate(rows):
        if row["private"]:
            continue
        if row["answerable"]:
            firsts.setdefault(row["task"], i)
        elif refusals < 2:
            firsts[f"unanswerable {refusals}"] = i
            refusals += 1
    shown = []
    for i in firsts.values():
        row = rows[i]
        note = row["note_text"]
        shown.append(
            {
                "task": row["task"],
                "answerable": row["answerable"],
                "note": note if len(note) <= _EXCERPT else note[:_EXCERPT].rstrip() + " …",
                "instruction": row["instruction"],
                "reference": row["answer"],
                "answers": {name: said[i].text for name, said in answers.items()},
            }
        )
    return sorted(shown, key=lambda example: (not example["answerable"], example["task"]))
