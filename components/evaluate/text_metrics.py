"""Metrics of a single answer, computed by fixed rules without a model."""

from __future__ import annotations

import re
import string
from collections import Counter

import regex
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from clinadapt.data.text import parts, words

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = regex.compile(rf"[{re.escape(string.punctuation)}\p{{P}}]")


class _Words(Tokenizer):
    """Words in any script, in small letters and without a stemmer, which needs NLTK data."""

    def tokenize(self, text: str) -> list[str]:
        return words(text.lower().replace("_", " "))


_SCORER = RougeScorer(["rougeL"], tokenizer=_Words())


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words in common, between 0 and 1, after SQuAD's normalization (Rajpurkar et al. 2016,
    arXiv:1606.05250)."""
    a, b = _words(answer), _words(reference)
    if not a or not b:
        return float(a == b)
    common = (Counter(a) & Counter(b)).total()
    return 2 * common / (len(a) + len(b))


def rouge_l(answer: str, reference: str) -> float:
    """F-measure of the longest common subsequence of words, between 0 and 1 (Lin 2004, aclanthology.org/W04-1013)."""
    return float(_SCORER.score(reference, answer)["rougeL"].fmeasure)


def matches(answer: str, reference: str, check: str) -> bool:
    """Whether a checkable answer equals its reference.

    Args:
        answer, reference: the texts.
        check: `exact` ignores case, white space and a final full stop; `set` compares the parts between semicolons the
            same way, in any order. Decimal points count: 2.5 mg is not 25 mg.
    """
    if check == "set":
        return {_normalize(part) for part in answer.split(";")} == {_normalize(part) for part in reference.split(";")}
    return _normalize(answer) == _normalize(reference)


def _words(text: str) -> list[str]:
    return parts(_ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower())))


def _normalize(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(". 。।۔")
