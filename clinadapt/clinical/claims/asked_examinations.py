"""What a question asks of one examination, and the note has of another: the ECG's findings for those of the echo."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS

# Examinations, and how texts name each (a regular expression); short forms that are words, too, in capitals: a toe, US
_EXAMINATIONS = {
    "ECG": r"\b(?:ecg|ekg|electrocardiogra\w+|rhythm strip|holter|telemetry)\b",
    "echocardiogram": r"\b(?:echo(?:s|cardio\w*)?|tte|tee|lv function)\b|(?-i:\bTOE\b)",
    "X-ray": r"\bx-?rays?\b|\bradiogra\w+|\b[ckap]?xrs?\b|\bplain films?\b",
    "CT": r"\bct[ap]?\b|\bctpa\b|\bcomputed tomogra\w+",
    "MRI": r"\bmr[iav]\b|\bmagnetic\b|\bmrcp\b",
    "ultrasound": r"\bultraso\w+|\buss\b|\bdoppler|\bduplex\b|\bsono\w+|(?-i:\b(?:US|E?FAST)\b)",
    "angiogram": r"\bcath(?:eterisation|eterization)?\b|\bangio\w*",
    "EEG": r"\beeg\b|\belectroenceph\w+",
    "nerve conduction": r"\bemg\b|\bncs\b|\bnerve conduction",
    "gastroscopy": r"\bo?gd\b|\begd\b|\bgastroscop\w+|\bendoscop\w+",
    "colonoscopy": r"\bcolonoscop\w+|\bendoscop\w+|\bsigmoidoscop\w+",
    "culture": r"\bswabs?\b|\bcultures?\b|\b(?:blood|urine|sputum|wound) cx\b|\bsputum\b",
    "urine": r"\burin(?:e|alysis)\b|\bdip(?:s|stick|stix)?\b(?! joint)|\bmsu\b|\bua\b",
    "CSF": r"\bcsf\b|\blumbar puncture\b|\blp\b",
    "blood gas": r"\bblood gas(?:es)?\b|\b[av]bgs?\b",
    "spirometry": r"\bspirometr\w+|\bpfts?\b|\blung function\b",
    "biopsy": r"\bbiops\w+|\bhistolog\w+|\bpatholog(?:y|ist)\b|\bcytolog\w+",
    "bone scan": r"\bdexa\b|\bbone (?:scan|density)",
}  # fmt: skip
_NAMED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _EXAMINATIONS.items()}
_ASKS = re.compile(
    r"\W*what (?:did|does|was seen on|was found on|is seen on|were the (?:results?|findings) of|was the result of|"
    r"are the findings (?:of|on))\b(?P<of>[^?]*)\?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?:(?<=\n)|(?<=[.;] )|\A)(?P<label>[^\W\d][^.:;\n]{0,40}): ")
_MOST = 0.8  # of the words of an answer, when it is a copy
_LEAST = 0.4
_FEWEST = 4  # words of a copy that may differ in some


def check_asked_examinations(stated: Reading, source: Reading, asked: Reading) -> Iterator[CheckedClaim]:
    """An answer that copies what the note has under the name of another examination, and not under that of this one; or
    a bare number beside another."""
    match = _ASKS.match(asked.text)
    wanted = _examinations(match["of"]) if match else set()
    if not wanted or source.turns or _examinations(stated.text) & wanted or not stated.words:
        return
    content = [w.stem for w in stated.words if w.stem not in STOP_WORDS]
    span = stated.span_of(0, len(stated.words))
    other = _number_of_another(stated, source, wanted) or _copied(content, source, wanted)
    if other:
        claim = Claim("result", *span, f"of {min(wanted)}")
        yield CheckedClaim(claim, "contradicted", other)


def _examinations(text: str) -> set[str]:
    return {name for name, pattern in _NAMED.items() if pattern.search(text)}


def _copied(content: list[str], source: Reading, wanted: set[str]) -> tuple[int, int] | None:
    """Span of the label of another examination behind which the note has the words of an answer, and hardly any behind
    that of the one which is asked for, or where it is named besides."""
    labels = [(m, names) for m in _LABEL.finditer(source.text) if (names := _examinations(m["label"]))]
    ends = [*(m.start() for m, _ in labels[1:]), len(source.text)]
    own, others = set[str](), list[tuple[tuple[int, int], set[str]]]()
    for (match, names), end in zip(labels, ends if labels else (), strict=True):
        if (names | _examinations(source.text[match.end() : end])) & wanted:
            own |= {w.stem for w in source.words_within(match.end(), end)}
        else:
            end = end if len(content) >= _FEWEST else source.sentence_at(match.start())[1]
            others.append((match.span("label"), {w.stem for w in source.words_within(match.end(), end)}))
    is_long = len(content) >= _FEWEST
    if not own or not content or _share(content, own) > (_LEAST if is_long else 0):
        return None
    return next((span for span, words in others if _share(content, words) >= (_MOST if is_long else 1)), None)


def _share(content: list[str], words: set[str]) -> float:
    return sum(each in words for each in content) / len(content)


def _number_of_another(stated: Reading, source: Reading, wanted: set[str]) -> tuple[int, int] | None:
    """Span of the number of a bare answer in the note, where all sentences with it name other examinations, and this is
    named elsewhere."""
    numbers = [q for q in stated.quantities if not q.is_code]
    if len(numbers) != 1 or len(stated.words) > _FEWEST or not _examinations(source.text) & wanted:
        return None
    own = [q[:2] for q in source.quantities if q.number == numbers[0].number]
    named = [_examinations(source.text[slice(*source.sentence_at(start))]) for start, _ in own]
    return own[0] if own and all(name and not name & wanted for name in named) else None
