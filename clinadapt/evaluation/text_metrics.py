"""Metrics of a single answer, computed by fixed rules without a model."""

from __future__ import annotations

import re
import string
from collections import Counter

import regex
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from clinadapt.clinical.number_format import point_decimals
from clinadapt.data.text import parts, words

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))(?<!\d{4},)")
_WITHIN_NUMBER = re.compile(r"(?<=\d)[.,](?=\d)")
_DOT = "\ua78f"  # a letter to Unicode, so a part of a word
_PUNCTUATION = regex.compile(rf"[{re.escape(string.punctuation)}\p{{P}}]")


class _Words(Tokenizer):
    """Words in any script, in small letters and without a stemmer, which needs NLTK data."""

    def tokenize(self, text: str) -> list[str]:
        return words(text.lower().replace("_", " "))


_SCORER = RougeScorer(["rougeL"], tokenizer=_Words())


def token_f1(answer: str, reference: str, decimal_comma: bool = False) -> float:
    """F1 of the words in common, between 0 and 1, after SQuAD's normalization (Rajpurkar et al. 2016,
    arXiv:1606.05250), which makes one word of 2.5 and 25: here a number is a word with its decimals.

    Args:
        answer, reference: the texts.
        decimal_comma: whether 0,125 is less than one in them.
    """
    a, b = (_words(_with_numbers(text, decimal_comma)) for text in (answer, reference))
    if not a or not b:
        return float(a == b)
    common = (Counter(a) & Counter(b)).total()
    return 2 * common / (len(a) + len(b))


def rouge_l(answer: str, reference: str, decimal_comma: bool = False) -> float:
    """F-measure of the longest common subsequence of words, between 0 and 1 (Lin 2004, aclanthology.org/W04-1013);
    arguments as of `token_f1`."""
    answer, reference = (_with_numbers(text, decimal_comma) for text in (answer, reference))
    return float(_SCORER.score(reference, answer)["rougeL"].fmeasure)


def matches(answer: str, reference: str, check: str, decimal_comma: bool = False) -> bool:
    """Whether a checkable answer equals its reference.

    Args:
        answer, reference: the texts.
        check: `exact` ignores case, white space and a final full stop; `set` compares the parts between semicolons the
            same way, in any order. Decimal points count: 2.5 mg is not 25 mg.
        decimal_comma: as of `token_f1`.
    """
    answer, reference = (_with_numbers(text, decimal_comma) for text in (answer, reference))
    if check == "set":
        return {_normalize(part) for part in answer.split(";")} == {_normalize(part) for part in reference.split(";")}
    return _normalize(answer) == _normalize(reference)


def _with_numbers(text: str, decimal_comma: bool) -> str:
    """A text whose numbers are single words, however their thousands are written: 1,250.5 and 1250.5 are one."""
    return _WITHIN_NUMBER.sub(_DOT, _THOUSANDS.sub("", point_decimals(text, decimal_comma)))


def _words(text: str) -> list[str]:
    return parts(_ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower())))


def _normalize(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(". 。।۔")
