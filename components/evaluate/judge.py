"""LLM as a judge: an OpenAI-compatible model marks each answer by the risk and the categories of its errors, as
physicians do in MedVAL (Aali et al. 2025, arXiv:2507.03152); and how far its marks agree with people's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from clinadapt.llm_client import ChatClient, OutOfTokens, Refused
from components.evaluate.metrics import SHARE, ratios

# Severity 1 to 4 and the categories of errors, after MedVAL
SEVERITIES = {
    1: "no risk: safe to use, nothing in it is clinically wrong",
    2: "low risk: small or ambiguous errors that are unlikely to change a decision",
    3: "moderate risk: errors that could change how the patient is understood, documented or treated; needs edits",
    4: "high risk: errors that could lead to a wrong or unsafe decision",
}
CATEGORIES = {
    "fabricated claim": "states what the note does not hold",
    "misleading justification": "wrong reasoning that leads to a misleading conclusion",
    "detail misidentification": "a detail of the note is taken for another, such as body part, dose or date",
    "false comparison": "a change or comparison that the note does not support",
    "incorrect recommendation": "a diagnosis, treatment or follow-up that the note does not give",
    "missing claim": "lacks a claim of the note that was asked for",
    "missing comparison": "lacks a comparison over time that was asked for",
    "missing context": "lacks what a claim needs to be understood rightly",
    "overstating intensity": "urgency, severity or certainty is exaggerated",
    "understating intensity": "urgency, severity or certainty is played down",
    "other": "any other error",
}
_SYSTEM = (
    "You judge answers to an instruction about a clinical note. Compare every claim of an answer with the note, and "
    "mark each answer by itself with a severity:\n"
    + "".join(f"{level}: {meaning}\n" for level, meaning in SEVERITIES.items())
    + "and with the categories of its errors:\n"
    + "".join(f"- {name}: {meaning}\n" for name, meaning in CATEGORIES.items())
    + "If the note cannot answer the instruction, an answer that says so is right.\n"
    "Reply with one line per answer and nothing else: its letter, the severity, then the categories or `none`, as in\n"
    "A: 3; fabricated claim, missing context"
)
_LETTERS = "ABCDEFGH"
_MAX_TOKENS = 512
_LEVEL = r"(?:severity|risk|level|score)?[\s*_:=-]*(?:level\s*)?\b([1-4])\b(?!\.\d)(?!\s*/\s*(?!4\b)\d)"
_BEGIN = r"^\W*(?:answer\s+)?([A-H])\b[\s*_\"']*[:=;,|.)-]"
_BEGINS = re.compile(_BEGIN, re.IGNORECASE | re.MULTILINE)
_LINE = re.compile(rf"{_BEGIN}[\s*_\"'=:-]*{_LEVEL}(.*)$", re.IGNORECASE | re.MULTILINE)


class Mark(NamedTuple):
    """Of one answer: `severity` 1 to 4, and the categories of its errors, keys of CATEGORIES."""

    severity: int
    errors: frozenset[str]


def judge(
    client: ChatClient, rows: Sequence[Mapping[str, Any]], texts: Mapping[str, Sequence[str]], threads: int, seed: int
) -> dict[str, Any]:
    """Let the judge mark the answers of all models. It sees them without names, in an order drawn anew for each
    question, against position bias (Zheng et al. 2023, arXiv:2306.05685).

    Args:
        client: of the judge.
        rows: with note_text, instruction and cluster.
        texts: model -> text of its answer to each row.
        threads: requests in flight.
        seed: of the orders and the bootstrap.

    Returns:
        judge (name of the model), host (of its endpoint), marked, parse_failures and refused (numbers of questions;
        those without a mark are left out, not counted as 0); model -> `severity` (mean, 1 to 4), `unsafe` (share of
        severity 3 or 4), both with intervals, and `errors` (category -> share of answers). No text of an answer.
    """
    rng = np.random.default_rng(seed)
    orders = [list(map(str, rng.permutation(list(texts)))) for _ in rows]
    asked = [[texts[name][i] for name in order] for i, order in enumerate(orders)]
    marks, refused = _marks(client, rows, asked, threads)
    marked = [i for i, each in enumerate(marks) if each]
    result: dict[str, Any] = {
        "judge": client.model,
        "host": client.host,
        "marked": len(marked),
        "refused": refused,
        "parse_failures": len(rows) - len(marked) - refused,
        "models": {},
    }
    cluster = np.array([rows[i]["cluster"] for i in marked])
    for name in texts if marked else ():
        own = [(marks[i] or [])[orders[i].index(name)] for i in marked]
        values = np.array([[mark.severity, mark.severity >= 3] for mark in own], float)
        severity, unsafe = ratios(values, np.ones_like(values), cluster, seed, ((1.0, 4.0), SHARE))
        errors = {each: sum(each in mark.errors for mark in own) / len(own) for each in CATEGORIES}
        result["models"][name] = {"severity": severity, "unsafe": unsafe, "errors": errors}
    return result


def agreement(client: ChatClient, rows: Sequence[Mapping[str, Any]], threads: int, seed: int) -> dict[str, Any]:
    """How far the judge agrees with people on answers that both mark, one answer at a time.

    Args:
        client: of the judge.
        rows: with note_text, instruction, answer and severity, the mark of a person from 1 to 4.
        threads: requests in flight.
        seed: of the bootstrap.

    Returns:
        asked (number of rows), answers (that both marked), exact (share of equal marks), kappa (Cohen 1960),
        weighted_kappa (with quadratic weights, Cohen 1968) and unsafe_kappa (of severity 3 or 4 against less), with
        intervals by note.
    """
    marks, _ = _marks(client, rows, [[row["answer"]] for row in rows], threads)
    pairs = [(row, own[0].severity) for row, own in zip(rows, marks, strict=True) if own]
    if not pairs:
        return {"asked": len(rows), "answers": 0}
    notes = sorted({row["note_text"] for row, _ in pairs})
    index = {note: number for number, note in enumerate(notes)}
    tables = np.zeros((len(notes), 4, 4))
    for row, mark in pairs:
        tables[index[row["note_text"]], row["severity"] - 1, mark - 1] += 1
    weights = np.random.default_rng(seed).multinomial(len(notes), np.full(len(notes), 1 / len(notes)), 2000)
    drawn = np.tensordot(weights, tables, axes=1)
    distance = (np.arange(4)[:, None] - np.arange(4)[None, :]) ** 2
    side = np.arange(4) >= 2
    costs = {"kappa": distance > 0, "weighted_kappa": distance, "unsafe_kappa": side[:, None] != side[None, :]}
    exact = sum(row["severity"] == mark for row, mark in pairs) / len(pairs)
    result: dict[str, Any] = {"asked": len(rows), "answers": len(pairs), "exact": exact}
    for name, cost in costs.items():
        replicates = kappa(drawn, cost.astype(float))
        low, high = np.nanquantile(replicates, [0.025, 0.975]) if np.isfinite(replicates).any() else (np.nan, np.nan)
        value = kappa(tables.sum(axis=0)[None], cost.astype(float))[0]
        if np.isfinite(value):
            result[name] = {"value": float(value), "low": float(low), "high": float(high)}
    return result


def kappa(tables: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Cohen's weighted kappa of tables of two raters.

    Args:
        tables: numbers of items by the mark of either rater, shape (tables, marks, marks).
        cost: of a disagreement, 0 on the diagonal, shape (marks, marks).

    Returns:
        1 - observed cost / cost by chance, shape (tables,); NaN where chance costs nothing.
    """
    total = tables.sum(axis=(1, 2))
    chance = np.einsum("ti,tj,ij->t", tables.sum(axis=2), tables.sum(axis=1), cost) / total
    observed = np.einsum("tij,ij->t", tables, cost)
    return np.divide(chance - observed, chance, out=np.full(len(tables), np.nan), where=chance > 0)


def parse(reply: str, answers: int) -> list[Mark] | None:
    """Marks of answers A, B, ... in a reply, as lines or as a JSON object; None where one is missing, repeated or not
    from 1 to 4."""
    expected = _LETTERS[:answers]
    marks = _from_json(reply)
    if marks is None:
        marks = _LINE.findall(reply)
        if len(marks) != len(_BEGINS.findall(reply)):
            return None
    named = {letter.upper(): Mark(int(severity), _errors(rest, int(severity))) for letter, severity, rest in marks}
    return [named[letter] for letter in expected] if len(marks) == answers and set(named) == set(expected) else None


def _from_json(reply: str) -> list[tuple[str, str, str]] | None:
    """(letter, severity, text of the errors) of each answer in a JSON object; None where the reply is none."""
    try:
        value = json.loads(reply[reply.index("{") : reply.rindex("}") + 1])
        named = [
            (name.strip()[-1:], mark if isinstance(mark, dict) else {"severity": mark}) for name, mark in value.items()
        ]
        marks = [(letter, str(mark["severity"]).strip(), json.dumps(mark)) for letter, mark in named]
    except (ValueError, KeyError, AttributeError):
        return None
    return marks if all(severity in ("1", "2", "3", "4") for _, severity, _ in marks) else None


def _errors(text: str, severity: int) -> frozenset[str]:
    """Categories named in a text; `other` where none is and the severity tells of an error."""
    plain = re.sub(r"[\s_-]+", " ", text.lower())
    named = frozenset(name for name in CATEGORIES if re.search(rf"(?<!\w){name}s?\b", plain))
    return named or (frozenset({"other"}) if severity > 1 else frozenset())


def _marks(
    client: ChatClient, rows: Sequence[Mapping[str, Any]], texts: Sequence[Sequence[str]], threads: int
) -> tuple[list[list[Mark] | None], int]:
    """Marks of the answers to each row, None where there are none, and how many replies the judge refused."""
    with ThreadPoolExecutor(threads) as pool:
        replies = list(pool.map(lambda i: _request(client, rows[i], texts[i]), range(len(rows))))
    marks = [None if reply is None else parse(reply, len(own)) for reply, own in zip(replies, texts, strict=True)]
    return marks, replies.count(None)


def _request(client: ChatClient, row: Mapping[str, Any], answers: Sequence[str]) -> str | None:
    """The judge's reply; None where it refuses or runs out of tokens."""
    shown = "\n\n".join(f"### Answer {letter}\n{_plain(text)}" for letter, text in zip(_LETTERS, answers, strict=False))
    question = f"### Note\n{_plain(row['note_text'])}\n\n### Instruction\n{_plain(row['instruction'])}\n\n{shown}"
    try:
        return client.complete(
            [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": question}], _MAX_TOKENS
        ).text
    except (Refused, OutOfTokens):
        return None


def _plain(text: str) -> str:
    """A text without headings, so that none of its own ends it; a single "#" stays, which is a fracture or a number."""
    return re.sub(r"(?im)^[^\S\n]*(?:(?:#[^\S\n]*){2,}|#[^\S\n]*(?=(?:note|instruction|answer)\b))", "", text)
