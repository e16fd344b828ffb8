"""How good one answer is, by rules that anybody can check."""

from __future__ import annotations

import re
import string
from collections import Counter

from rouge_score.rouge_scorer import RougeScorer

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SCORER = RougeScorer(["rougeL"])  # its own tokenizer, no stemmer: needs no data of nltk

# An answer refuses when its first sentence says that the note does not tell: "The note does not say (mention, state,
# ...)", "... is not mentioned (stated, ...)", "... cannot be determined", "There is no information (mention, ...)".
# Only the first sentence, and only the note as the one who says nothing: "The patient does not report pain" is a fact,
# and a long summary that ends with "the dose is not stated" is none.
_SAYS = r"say|mention|state|specify|contain|include|provide|give|indicate|describe|document|record|tell|report"
_SAID = r"mentioned|stated|specified|said|given|provided|documented|recorded|reported|described|indicated|included"
_REFUSAL = re.compile(
    rf"\b(?:note|record|text|document|report|summary|dialogue|conversation|it|this)\s+(?:does|do|did)(?:\s+not|n['’]t)\s+"
    rf"(?:\w+ly\s+)?(?:{_SAYS})\b"
    rf"|\b(?:not|never|n['’]t)\s+(?:\w+ly\s+)?(?:{_SAID})\b"
    r"|\b(?:cannot|can\s+not|can['’]t|could\s+not|unable\s+to)\s+(?:be\s+)?(?:determine|answer|infer|find|found|tell)"
    r"|\bno\s+(?:information|mention|record|indication)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")


def refuses(answer: str) -> bool:
    """Whether an answer says that the note does not tell."""
    return bool(_REFUSAL.search(_SENTENCE_END.split(answer.strip(), maxsplit=1)[0]))


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words in common, after SQuAD's normalisation (Rajpurkar et al. 2016, arXiv:1606.05250)."""
    a, b = _words(answer), _words(reference)
    if not a or not b:
        return float(a == b)
    common = (Counter(a) & Counter(b)).total()
    return 2 * common / (len(a) + len(b))


def rouge_l(answer: str, reference: str) -> float:
    """F of the longest common subsequence of words (Lin 2004)."""
    return float(_SCORER.score(reference, answer)["rougeL"].fmeasure)


def matches(answer: str, reference: str, check: str) -> bool:
    """Whether a checkable answer is right. `exact`: the same but for case, blanks and a full stop at the end. `set`:
    the same parts between semicolons, in any order. Points within numbers count: 2.5 mg is not 25 mg."""
    if check == "set":
        return {_plain(part) for part in answer.split(";")} == {_plain(part) for part in reference.split(";")}
    return _plain(answer) == _plain(reference)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(". ")
