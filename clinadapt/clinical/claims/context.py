"""What the words around a finding say of it: negated, uncertain, of the family. The rules of NegEx and ConText."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from clinadapt.clinical.claims.dialogue import Turn, answer_questions, has_guest, of_others, patient_relation
from clinadapt.clinical.claims.words import Word
from clinadapt.clinical.mention import matches_at

_REACH = 14  # words that a negation reaches at most
_FAMILY = (
    r"(?:mother|father|brother|sister|aunt|uncle|grandmother|grandfather|grandparent|grandma|grandpa|grandad|granddad|"
    r"grandson|granddaughter|maternal|paternal|sibling|"
    r"parent|"
    r"cousin|son|daughter|dad|mom|mum|niece|nephew|relative|twin)s?"
)
_COMPANION = (
    r"(?:husband|wife|spouse|partner|boyfriend|girlfriend|fianc[eé]e?|room-?mate|flatmate|friend|colleague|classmate|"
    r"neighbou?r)"
)
# "Presents with his mother for follow-up of asthma" is about the patient
_COMPANY = (
    r"\b(?:presents?|presented|here|lives?|living|comes|came|seen|accompanied|brought|visits|arrives|arrived|clinic)"
    rf"(?: in| today| to (?:the |our )?\w+)? (?:with|by) (?:(?:his|her|the|their|a) )?{_FAMILY}\b(?!,? who\b)"
)
# An examination behind "on" or the like, which what is denied before it does not reach: "no abscess on the MRI"
_EXAMINATION = (
    r"(?:(?<= on )|(?<= at )|(?<= by )|(?<= from )|(?<= in )|(?<= on the )|(?<= in the )|(?<= by the )|(?<= at the ))"
    r"(?:mri|cta?|ctpa|x-?rays?|xr|cxr|films?|radiographs?|ultrasound|"
    r"uss?|echo[a-z]*|tte|tee|scan[a-z]*|imaging|exam[a-z]*|e[ck]g|eeg|angiogra[a-z]+|biops[a-z]+|cultures?|doppler|"
    r"duplex|mammogra[a-z]+|endoscopy|colonoscopy|cystoscopy|bronchoscopy|auscultation|palpation|microscopy|"
    r"urinalysis|histology|cytology|tomography)"
)
_TRIGGERS = re.compile(
    rf"(?P<pseudo>{_COMPANY}|\bnot (?:limited|restricted) to\b|\bno (?:further|changes?|increase|longer|interval|"
    r"doubt)\b|\bnot (?:only|necessarily|certain|sure|just)\b"
    r"|\bwithout difficulty\b|\bgram negative\b)"
    r"|(?P<neg>(?<=[a-z\d]) (?:neg|negative|-ve)\b(?= ?(?:[.,;)\n]|\Z)))"
    r"|(?P<after>\bthere (?:is|was|are|were) none\b|\b(?:is|was|are|were|has been|have been) excluded\b|"
    r"(?<!not )\bexcluded(?= (?:on|by|with|after|at)\b| ?[.,;)]| ?$)"
    r"|\b(?:(?:is|was|were|has been) )?(?:declined|refused)\b(?= ?(?:[.,;\n]|\Z))|\b(?:is|was|are|were|"
    r"has been|have been|be) denied\b"
    r"|\b(?:(?:is|was|are|were|has been|have been|be) )?(?:absent|ruled out|unremarkable|non-?existent"
    r"|(?:(?:has|have|had) )?not (?:yet )?(?:been )?(?:started|begun|"
    r"made)|(?<!has )(?<!have )(?<!had )not (?:seen|present|noted|identified|found|appreciated|observed|detected|"
    r"demonstrated|evident|visuali[sz]ed|placed|inserted|sited|"
    r"reported|palpable|given|used|needed|required|prescribed|done|performed|administered|taken)"
    r"|(?:could|can|did|was|were) ?not be (?:felt|heard|seen|palpated|found|elicited|detected|identified|"
    r"visuali[sz]ed))\b(?! for (?!now\b|the )|"
    r" any\b)|\b(?:is|was|are|were) negative\b(?! for)"
    r"|[:,-] ?(?:none|no|negative|denies|denied|absent|nil)\b(?= ?[.,;]| ?$| ?\n\s*(?:\n|[^\n]{0,40}:|[-*\d])))"
    r"|(?P<before>(?<![a-z\d][- ])(?<![a-z\d])negative (?!for\b)(?=[a-z])"
    r"|\b(?:nobody|no one)\b[^.,;\n]{0,40}?\b(?:has|had|have|was|were|is|suffers?)(?: had| been)?\b|"
    r"\bno\b(?!\s*[,;:.])"
    r"|\bden(?:ies|ied|y|ying)\b|\bwithout\b|\bnegative for\b|\bnot\b|n['’]t\b|\bnever\b|\bnone of\b"
    r"|\bnone (?=(?:at|in|on|during|when|while|now|currently|today)\b)|\bnone (?:has|have|had|was|were) (?:been )?"
    r"|\bnothing\b(?! by mouth| but\b| other)|\b(?:absence|free|clear) of\b|\bfree from\b|"
    r"\brule[sd]? out for\b|\bexclud(?:es|ed|ing)\b|\black(?:s|ed|ing)?\b|\bfail(?:ure|ed|s)? to\b|"
    r"\b(?:declin|refus)(?:es|"
    r"ed|ing)\b|\bturn(?:s|"
    r"ed) down\b|\bnor\b|\bneither\b|\bhold(?:ing)? off(?: on)?\b)"
    r"|(?P<prefix>\bnon[- ](?=[a-z]))"
    r"|(?P<uncertain>\bdoubt(?:s|ed|ful)?\b|\b(?:thought|felt|believed|considered) to (?:be|have)\b"
    r"|\bpossibl[ey]\b|\bunlikely\b|\bpotentially\b|\bprobabl[ey]\b|\blikely\b|\bsuspect(?:ed|s)?\b"
    r"|\bnot (?:yet )?(?:been )?(?:excluded|ruled out)\b"
    r"|\bsuspicio(?:us|n) (?:for|of)\b"
    r"|\bquestionable\b|\brule out\b|\br/o\b|\bmay (?:be|have|represent)\b|\bmight\b|\bcould (?:be|represent)\b"
    r"|\b(?:concern(?:ing|s|ed)?|worr(?:y|ied)) (?:for|about|of)\b|\bcannot (?:be )?(?:exclude|rule)\w*\b|"
    r"\bpresumed\b|\bpossibility of\b|\b(?:is|are|remains?) (?:an?|one|also a) possibilit(?:y|ies)\b"
    r"|\b(?:is|are) (?:the|an?) (?:most )?(?:probable|likely|presumed|suspected) (?:diagnosis|cause|explanation)\b"
    r"|\bsuggest(?:s|ive of|ing)\b|\bappears to\b|\bquer(?:y|ies|ying)\b|\?(?=[\w#]))"
    r"|(?P<hypothetical>\bif\b|\b(?:plan(?:s|ning)|hop(?:es|ing)|want(?:s|ing)|wish(?:es|ing)|trying)"
    r"(?: to (?:become|get|be)| for)?(?: a)? (?=pregnan)|\b(?:once|until|provided)\b(?=[^.,;]{0,40} (?:excluded|"
    r"ruled out)\b)|\bshould (?:he|she|they|you|there)\b|\bin case of\b|\brisks? (?:of|include)\b"
    r"|\b(?:may|might|could|can) (?:become|get|develop|lead to|cause)\b|\bwatch (?:out )?for\b|"
    r"\bmonitor(?:ed)? for\b|\b(?:return|call|ring|come) (?:back )?for\b)"
    rf"|(?P<end>{_EXAMINATION}\b(?! (?:of|for) (?!the\b|his\b|her\b))|\b(?:but|and (?=an? )|however|although|"
    rf"though|except|aside from|apart from|other than|which|who|"
    r"because|"
    r"presents?|presented|complain(?:s|ed|ing)|reports?|reported|admits|has|had|have|is|was|are|were|positive|"
    r"in view of|owing to|on account of|given (?:the|his|her|that)|"
    r"shows?|showed|reveal(?:s|ed)|states|endorses|there|he|she|patient|now|then|treated|due to|impression|"
    r"(?<=and )(?:drinks?|takes?|uses?|smokes?|lives?|works?|continues?|remains?|does)|"
    r"(?<=, )(?:drinks|takes|uses|smokes|lives|works|continues|remains))\b|[;:])"
    r"|(?P<comma>,(?=[^,.;\n]{0,60}?\b(?:is|are|was|were|has|had|clear|normal|intact|positive|reports?|states|takes|"
    r"unremarkable|soft|regular)\b))"
    rf"|(?P<family>\bsource (?:patient|person|individual)\b|\b{_COMPANION}(?=,? (?:who |also )*(?:has|had|"
    rf"suffers?|takes|was (?:recently )?diagnosed|died)\b"
    r"|(?: who| also| is| was)* (?:uses|smokes|drinks|diagnosed|screened|tested|treated|[a-z]{3,}ic|pregnant)\b)"
    rf"|\bfamily (?:medical )?(?:history|hx)\b|\bfhx\b|\bfh:|\bfamily (?=has|have|had|with)|\bfamily(?= too|"
    rf" as well|[.,?])|\b{_FAMILY}\b(?!['’]s? (?:milk|day)| (?:said|says|states?|stated|reports?|"
    r"reported|brought|brings|noticed|notes|noted|denies|denied|deny|also deny|called|thinks|believes|is at|"
    r"was present)))",
)
# What a trigger can begin with: the pattern is only tried there
_MARK_START = re.compile(r"[,;:-]| (?=neg|-ve)|\?(?=[\w#])|n['’]t\b")
_WORD_START = re.compile(
    r"(?:if|plan|hop|want|wish|trying|once|until|provided|should|in|risk|watch|monitor|return|call|ring|come|quer|"
    r"no|owing|on account|given|without|gram|is|was|are|were|has|have|had|be|"
    r"denied|den(?:y|ie|ying)|absent|ruled?s?|"
    r"unremarkable|negative|never|none|absence|free|clear|exclud|hold|lacks?|fail|nor|neither|possibl|potential|probabl|"
    r"(?:un)?likely|doubt|thought|felt|believ|consider|suspec|suspic|questionable|r/o|may|might|could|concern|worr|cannot|presumed|suggest|appears|but|"
    r"and|however|declin|refus|turn|can|"
    r"although|though|except|aside|apart|other|which|who|because|present|complain|report|admits|positive|show|reveal|"
    r"states|endorses|there|he|she|patient|now|then|treated|due|family|husband|wife|spouse|partner|boyfriend|"
    r"girlfriend|fianc|room|flatmate|friend|colleague|classmate|neighb|mother|father|brother|sister|aunt|uncle|grand|"
    r"maternal|paternal|sibling|parent|cousin|son|daughter|dad|mom|mum|fhx?\Z|remain|mri|ct|x|film|radiog|ultras|uss?\Z|echo|tte|tee|scan|imag|exam|e[ck]g|eeg|angio|biops|"
    r"cultur|doppl|duplex|mammog|endosc|colonosc|cystosc|bronchosc|auscul|palpat|microsc|urinal|histol|cytol|tomog|niece|nephew|relative|twin|source|here|live|living|comes|"
    r"came|seen|accompanied|brought|visits|arrive|clinic|impression|drink|take|use|smoke|work|continue|remain|does)"
)
# Stems of which each trigger that marks something has one; the others only end or prevent the reach of those
_MARKING = re.compile(
    r"(?:if|plan|plann|hop|want|wish|try|once|until|provid|no|not|nor|none|nil|t|r|may|son|call|ring|come|case|risk|dad|mom|mum|neg|ve|fhx?)\Z|non|nobody|noth|neither|never|"
    r"negativ|den|without|"
    r"absen|rul|hold|declin|refus|turn\Z|can\Z|unremark|free|clear|exclud|lack|fail|possib|potential|probab|likely|"
    r"unlikely|doubt|thought|felt|believ|consider|suspec|suspic|question|might|could|should|"
    r"concern|worr|cannot|presum|suggest|appear|quer|watch|monitor|return|famil|mother|father|brother|sister|aunt|"
    r"uncl|grand|"
    r"maternal|paternal|sibl|parent|cousin|daughter|niec|nephew|relativ|twin|fianc|room|flatmat|friend|colleagu|classmat|neighb|husband|wife|spous|partner|"
    r"boyfriend|girlfriend|sourc"
)
_OF_FAMILY = re.compile(rf"\b(?:in|of|with) (?:his|her|the|a|my|your) (?:{_FAMILY}|family)\b")
_ENDS_CLAUSE = re.compile(r"\s*(?:[.,;)\n]|\Z)")
_NEW_CLAUSE = re.compile(r"[;:]|, (?:and|but)\b")
_CLAUSE_START = re.compile(r"[;:]|\bbut\b")
_SUSPECTED_START = re.compile(r"[;:,]| - |\bbut\b")
_RESULT_START = re.compile(r"[,;:]|\b(?:and|but)\b")
_IS = re.compile(r"(?:is|are|remains?) ")
_THE_CAUSE = re.compile(r" (?:the|an?) (?:likely |possible )?(?:cause|reason|source|explanation|culprit)\b")
_HAS_CAUSE = re.compile(  # "is probably due to X": it is there, and X is only thought of
    r" (?:due|caused|secondary|related|because|from|attributed|explained|the (?:cause|result|reason)|a result)\b"
)
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\n\d\.)(?<!\. \d\.)(?<!  \d\.)"
    r"(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bMrs\.)(?<!\bvs\.)\s+(?=[^a-z])"
    r"|(?<!\s)[^\S\n]*+\n\s*+(?=[^a-z\s])|(?<=[a-z)]\.),(?=[A-Z])"
    r"|(?<=\?)\s+|(?<=[.!?][\"”])\s+(?=[^a-z])"
)
_MEASURED = re.compile(r"[a-z]+(?: [a-z]+)? \d")
_QUERY = re.compile(r"\?(?=[\w#])")
_MARK = re.compile(r"[.!?\n]")
_DENIES = re.compile(r"no\b|den|without|negative|free|lack")
_HAS_NOT = re.compile(
    r"(?:(?:not|n['’]t|never) (?:had|have|having|been|experienced?|noticed|reported|felt|seen|"
    r"suffered)(?: from)? any|"
    r"never (?:had|has|have|been))\b"
)
_FAMILY_SECTION = re.compile(r"\bF(?:AMILY (?:MEDICAL )?HISTORY:?|amily History:)")
_HEADER = re.compile(r"[A-Z][A-Z /&]{4,}:|\n[A-Z][a-z]+(?: [A-Z]?[a-z]+){0,2}:")


Span = tuple[int, int]


class Context(NamedTuple):
    """Of each word of a text.

    Attributes:
        negated: 0; 1 for negated, 3 where "no", "denies" or "without" precedes it by at most three words, 4 where
            "not had any" does, or an "or" stands between; 2 where a question leaves it open.
        uncertain, family: whether it is in the scope of such words.
        someone: whether it may be about somebody else than the patient.
        hypothetical: whether it only may come to be, as in "return if drowsy"; `negated` is 2 there.
    """

    negated: list[int]
    uncertain: list[bool]
    family: list[bool]
    someone: list[bool]
    hypothetical: list[bool]


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences and lines of a text."""
    cuts = [match.span() for match in matches_at(_SENTENCE_END, text, _possible_ends(text))]
    starts, ends = [0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(text)]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


@lru_cache(maxsize=100_000)
def _may_begin(word: str) -> bool:
    return bool(_WORD_START.match(word))


@lru_cache(maxsize=100_000)
def _may_mark(stem: str) -> bool:
    return bool(_MARKING.match(stem))


def _possible_ends(text: str) -> Iterator[int]:
    """Where a sentence may end: behind a mark, and where the blanks before the end of a line begin."""
    for match in _MARK.finditer(text):
        if match[0] != "\n":
            yield match.end()
            if text[match.end() : match.end() + 1] in ('"', "”"):
                yield match.end() + 1
            continue
        start = match.start()
        while start and text[start - 1] != "\n" and text[start - 1].isspace():
            start -= 1
        yield start


def context(
    text: str, lower: str, words: list[Word], starts: list[int], spans: list[tuple[int, int]], spoken: list[Turn]
) -> Context:
    """Context of each word, which begin at `starts`, of a text with these sentences and turns; `lower` is the text in
    lower case."""
    count = len(words)
    result = Context([0] * count, *([False] * count for _ in range(4)))
    patient, guest = patient_relation(lower, spoken), has_guest(spoken)
    bounds = []
    marks = [word.start for word in words if _may_mark(word.stem)]
    if "?" in lower:  # "?pneumonia"
        marks = sorted([*marks, *(match.start() for match in _QUERY.finditer(lower))])
    next_mark = 0
    for start, end in spans:
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        bounds.append((first, last))
        next_mark = bisect_left(marks, start, next_mark)
        if first < last and next_mark < len(marks) and marks[next_mark] < end:
            _mark(lower, words, starts, (first, last), (start, end), result, patient)
        for begin, stop in of_others(lower, spoken, (start, end), guest) if spoken else ():
            for i in range(bisect_left(starts, begin), bisect_left(starts, stop)):
                result.someone[i] = True
    answer_questions(lower, spoken, spans, bounds, words, result.negated)
    for match in _FAMILY_SECTION.finditer(text):
        header = _HEADER.search(text, match.end())
        stop = header.start() if header else min(len(text), match.end() + 600)
        for i in range(bisect_left(starts, match.end()), bisect_left(starts, stop)):
            result.family[i] = True
    return result


def _mark(
    text: str, words: list[Word], starts: list[int], bounds: Span, sentence: Span, result: Context, patient: str
) -> None:
    """Mark the words within `bounds`, those of one sentence; `patient` is what the patient is to a guest who speaks."""
    (first, last), end = bounds, sentence[1]
    triggers = _triggers(text, words[first:last], *sentence)
    negated_since = uncertain_since = family_since = listed = -1
    position, denies, denied_from, in_brackets, reach = 0, 0, 0, -1, 3
    for i in range(first, last):
        while position < len(triggers) and triggers[position].start() <= words[i].start:
            trigger, kind = triggers[position], triggers[position].lastgroup
            position += 1
            if kind == "prefix":
                result.negated[i : i + 2] = [1] * len(result.negated[i : i + 2])
            elif kind == "before":
                negated_since = listed = i
                family_since = i if "family" in trigger[0] else family_since
                has_not = _HAS_NOT.match(text, trigger.start(), end)
                reach = 1 if trigger[0] == "not" and not has_not else 3
                denies = 3 if reach == 1 or _DENIES.match(trigger[0]) else 4 if has_not else 0
                denied_from = has_not.end() if has_not and denies == 4 else 0
            elif kind == "uncertain":
                uncertain_since = i if not _THE_CAUSE.match(text, trigger.end()) else -1  # of X, which is there
                begin = _uncertain_from(text, words, starts, first, i, trigger)
                result.uncertain[begin:i] = [True] * (i - begin)
            elif kind == "family":
                family_since = i if trigger[0] != patient else family_since
            elif kind == "hypothetical":
                result.hypothetical[i:last] = [True] * (last - i)
            elif kind in ("end", "comma"):
                if negated_since >= 0 and i - negated_since > 1:
                    negated_since = -1
                if kind == "end" and i - uncertain_since > 1:
                    uncertain_since = -1
            elif kind in ("after", "neg"):
                _mark_before(text, words, first, i, trigger, result)
        gap = text[words[i - 1].end : words[i].start] if negated_since >= 0 and i > first else ""
        is_measured = "," in gap and _MEASURED.match(text, words[i].start, end)  # "no stones, left kidney 8.2 cm"
        negated_since = -1 if is_measured else negated_since
        if negated_since >= 0:
            listed = i if "," in gap or "/" in gap or words[i].stem == "or" else listed  # such a list may be long
            if gap.endswith("(") and i - negated_since > 1:  # "not on an ACE inhibitor (angioedema)"
                in_brackets = text.find(")", words[i].start, end)
            if words[i].start < in_brackets:
                result.negated[i] = 2
            elif i - max(negated_since, listed) <= _REACH:
                near = i - negated_since <= (reach if denies == 3 else 6) and words[i].start >= denied_from
                follows = denies and words[i - 1].stem == "or" and i - 1 > negated_since
                result.negated[i] = denies if denies and near else 4 if follows else 1
        if result.hypothetical[i]:
            result.negated[i] = 2
        result.uncertain[i] |= uncertain_since >= 0 and i - uncertain_since <= 8
        result.family[i] = family_since >= 0
    for trigger in triggers[position:]:
        if trigger.lastgroup in ("after", "neg"):
            _mark_before(text, words, first, last, trigger, result)
    if family_since >= 0 and (of_family := _OF_FAMILY.search(text, words[first].start, end)):
        whole = [*_NEW_CLAUSE.finditer(text, words[first].start, of_family.start())]
        begin = bisect_left(starts, whole[-1].end(), first, last) if whole else first
        result.family[begin:last] = [True] * (last - begin)


def _uncertain_from(
    text: str, words: list[Word], starts: list[int], first: int, stop: int, trigger: re.Match[str]
) -> int:
    """The first of the words before `stop` that a trigger behind them calls uncertain: "Abscess is likely", "Abscess,
    probable."; `stop` where none is."""
    if _IS.match(trigger[0]) or _THE_CAUSE.match(text, trigger.end()):
        return first
    if text[words[stop - 1].start : words[stop - 1].end] in ("is", "was", "are", "were", "thought", "felt", "deemed"):
        return stop if _HAS_CAUSE.match(text, trigger.end()) else first
    if not _ENDS_CLAUSE.match(text, trigger.end()):
        return stop
    begin = words[first].start  # "Abscess, probable."
    before = [*_SUSPECTED_START.finditer(text, begin, begin + len(text[begin : trigger.start()].rstrip(" ,:-")))]
    return bisect_left(starts, before[-1].end(), first, stop) if before else first


def _triggers(text: str, words: list[Word], start: int, end: int) -> list[re.Match[str]]:
    """Triggers in `text[start:end]`, a text in lower case with these words."""
    begins = [w.start for w in words if _may_begin(text[w.start : w.end])]
    begins += [match.start() for match in _MARK_START.finditer(text, start, end)]
    return [*matches_at(_TRIGGERS, text, sorted(begins), end)]


def _mark_before(text: str, words: list[Word], first: int, stop: int, trigger: re.Match[str], result: Context) -> None:
    """Negate the words before a trigger, back to the last clause; of "neg" up to three back to the last comma."""
    before, is_result = trigger.start(), trigger.lastgroup == "neg"
    for i in range(stop - 1, max(first, stop - (4 if is_result else 9)) - 1, -1):
        if words[i].start >= before or result.hypothetical[i]:
            continue
        if i + 1 < stop and (_RESULT_START if is_result else _CLAUSE_START).search(
            text, words[i].end, words[i + 1].start
        ):
            break
        result.negated[i] = 4 if words[i].end + 1 >= before else 1
