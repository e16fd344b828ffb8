"""LLM as a judge: an OpenAI-compatible model scores answers from 1 to 4, as for Asclepius (Kweon et al. 2023,
arXiv:2309.00237)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from clinadapt.llm_client import ChatClient, OutOfTokens, Refused
from components.evaluate.metrics import ratios

_SYSTEM = """You judge answers to an instruction about a clinical note. Score each answer by itself:
4: right and complete, and states nothing that is not in the note
3: right, but a small thing is missing or not needed
2: partly wrong, or something important is missing
1: wrong, not an answer, or it states something that is not in the note
If the note cannot answer the instruction, an answer that says so is right.
Reply with one line per answer and nothing else, as in: A: 3"""
_LETTERS = "ABCDEFGH"
_MAX_TOKENS = 64


def judge(
    client: ChatClient, rows: Sequence[Mapping[str, Any]], texts: Mapping[str, Sequence[str]], threads: int, seed: int
) -> dict[str, Any]:
    """Let the judge score the answers of all models. It sees them without names, in an order drawn anew for each
    question, against position bias (Zheng et al. 2023, arXiv:2306.05685).

    Args:
        client: of the judge.
        rows: with note_text, instruction and cluster.
        texts: model -> text of its answer to each row.
        threads: requests in flight.
        seed: of the orders and the bootstrap.

    Returns:
        judge (name of the model), host (of its endpoint), scored, parse_failures and refused (numbers of questions;
        those without a score are left out, not counted as 0), scores: model -> mean score with its interval.
    """
    rng = np.random.default_rng(seed)
    orders = [list(map(str, rng.permutation(list(texts)))) for _ in rows]

    def request(i: int) -> str | None:
        return _request(client, rows[i], [texts[name][i] for name in orders[i]])

    with ThreadPoolExecutor(threads) as pool:
        replies = list(pool.map(request, range(len(rows))))
    parsed = [parse(reply, len(texts)) if reply is not None else None for reply in replies]
    scored = [i for i, scores in enumerate(parsed) if scores]
    table = np.array([[(parsed[i] or [])[orders[i].index(name)] for name in texts] for i in scored], dtype=float)
    result: dict[str, Any] = {
        "judge": client.model,
        "host": client.host,
        "scored": len(scored),
        "refused": replies.count(None),
        "parse_failures": len(rows) - len(scored) - replies.count(None),
        "scores": {},
    }
    if scored:
        cluster = np.array([rows[i]["cluster"] for i in scored])
        result["scores"] = dict(zip(texts, ratios(table, np.ones_like(table), cluster, seed), strict=True))
    return result


def parse(reply: str, answers: int) -> list[int] | None:
    """Scores of answers A, B, ... in a reply; None where one is missing, repeated or outside 1 to 4."""
    lines = re.findall(r"^\W*(?:Answer\s+)?([A-H])\W*[:=]\W*(\d+)", reply, re.MULTILINE)
    scores = {letter: int(score) for letter, score in lines}
    expected = _LETTERS[:answers]
    if len(lines) != answers or set(scores) != set(expected) or not all(1 <= score <= 4 for score in scores.values()):
        return None
    return [scores[letter] for letter in expected]


def _request(client: ChatClient, row: Mapping[str, Any], answers: Sequence[str]) -> str | None:
    """The judge's reply; None where it refuses or runs out of tokens."""
    shown = "\n\n".join(f"### Answer {letter}\n{text}" for letter, text in zip(_LETTERS, answers, strict=False))
    note = re.sub(r"(?m)^(\s*)#{1,6}(?=\s)", r"\1", row["note_text"])  # so that no heading of the note ends it
    question = f"### Note\n{note}\n\n### Instruction\n{row['instruction']}\n\n{shown}"
    try:
        return client.complete(
            [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": question}], _MAX_TOKENS
        ).text
    except (Refused, OutOfTokens):
        return None
