"""Questions about what sentences tell of the patient: the complaint, the history, an operation, the sex."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.sections import section_lexicon
from components.synthesize.parsed_note import ParsedNote, quote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

_PERSON = (
    r"(?:[Hh]e|[Ss]he|who|[Pp]atient|[Pp]t|[Mm]an|[Ww]oman|[Gg]entleman|[Ll]ady|[Ff]emale|[Mm]ale|[Bb]oy|[Gg]irl|"
    r"M(?:r|rs|s)\.? [A-Z]\w*)"
)
# Where an answer ends: with its sentence, or before a clause about something else
_END = (
    r"(?=[.;\n]|"
    r",? (?:and|but|so|which|who|where|when|after|until|whereupon) (?:(?:also|then|subsequently|recently|further) )?"
    r"(?:was|were|is|are|has|had|have|he|she|they|it|this|there|found|underwent|denies|presents?|states|does|did|came|"
    r"went|taken|treated|being)\b|"
    r", (?:he|she|they|the patient|there|otherwise|without|but|where|which|who|was|has|had|now|here|status post|s/p|"
    r"on (?:exam|arrival)|found)\b|$)"
)
_PRESENTED = re.compile(
    rf"(?:\b{_PERSON},? |^|(?<=[.:] )|y/?o(?: [MF])? |\d ?[MF] |\b{_PERSON} is [^.;:\n]{{2,30}} and )"
    r"(?:[Pp]resents|[Pp]resented|[Cc]omes in|[Cc]ame in)(?: today| now| again| here)?"
    r"(?: to (?:the |our |this )?(?:ER|ED|emergency (?:room|department)|clinic|office|hospital))?(?: today)? "
    rf"(?:with|for|complaining of|because of) (?P<answer>[A-Za-z0-9][^.;:\n]{{4,160}}?){_END}"
)
_COMPLAINS = re.compile(
    r"(?<!also )(?<!for )\b(?:[Cc]omplains of|[Cc]omplaining of|[Cc]/[Oo]:?) "
    rf"(?P<answer>[A-Za-z0-9][^.;:\n]{{3,140}}?){_END}"
)
_HISTORY = re.compile(
    rf"\b{_PERSON} has (?:an? )?(?:(?:known|long|longstanding|past|prior|previous|significant) )*(?:medical )?"
    rf"history (?:of|significant for) (?P<answer>[A-Za-z0-9][^.;:\n]{{3,140}}?){_END}"
)
_UNDERWENT = re.compile(
    r"\b[Uu]nderwent (?P<answer>(?:an? |the |his |her )?[A-Za-z][A-Za-z0-9 /'-]{4,80}?)"
    r"(?=[.;:\n(]|, (?:which|with|after|where|followed|complicated)\b| (?:earlier|later|again|previously|on|in|at|for|"
    r"with|by|due|because|which|to|and (?:was|is|has|had|he|she|then)|from|under|without|secondary|yesterday|today|"
    r"this|that|last|two|three|four|\w+ (?:days?|weeks?|months?|years?) ago)\b|$)"
)
_NO_OPERATION = re.compile(
    r"\b(?:procedure|surgery|operation|evaluation|examination|exam|workup|work-up|treatments?|tests?|testing|same|"
    r"above|counsel\w+|surgical|training|rehab\w*|changes?|several|multiple|series|course|this)\b",
    re.IGNORECASE,
)
_OPERATION = re.compile(
    r"\w{3,}(?:ectomy|ostomy|otomy|plasty|desis|rrhaphy)\b|"
    r"\b(?:decompression|fusion|bypass|transplant\w*|amputation|resection|osteosynthesis)\b",
    re.IGNORECASE,
)
_NOT_SAID = re.compile(
    r"\b(?:not|no|never|den(?:y|ies|ied)|without|if|whether|unless|should|in case|when|mother|father|brother|sister|"
    r"family)\b",
    re.IGNORECASE,
)
_POINTS_ELSEWHERE = re.compile(
    r"\b(?:above|following|as follows|below|the same|similar|this|these|that|it|them|presents?|complain\w*|"
    r"history of|given|\d ?m?g)\b|_{2}",
    re.IGNORECASE,
)
# He came with his daughter, or for followup: no reason that tells anything
_NO_REASON = re.compile(
    r"(?:(?:his|her|their|an?|the) )?(?:mother|father|parents?|mum|mom|dad|wife|husband|son|daughter|sister|brother|"
    r"grand\w+|aunt|uncle|partner|friend|carer|(?:follow-?up|evaluation|consultation|review|visit|care)$)|"
    r"(?:\w+ ){0,3}(?:things|reasons|issues|concerns|complaints|matters)$",
    re.IGNORECASE,
)
_SEXED = {
    "female": re.compile(
        r"\b(?:woman|female|lady|girl)\b|"
        r"\b\d{1,3} ?(?:y/?o|yrs?)? ?F\b(?!r| [a-z]*(?:[Ff]oley|cath|sheath|tube|drain|scope))"
    ),
    "male": re.compile(r"\b(?:man|male|gentleman|boy)\b|\b\d{1,3} ?(?:y/?o|yrs?)? ?M\b"),
}
_ANY_SEX = (
    r"\b(?:s?he|his|hers?|him|(?:her|him)self|(?:fe)?male|wom[ae]n|m[ae]n|boy|girl|lady|gentleman|mrs?|ms|miss|wife|"
    r"husband|gravid\w*|pregnan\w*|g\d ?p\d|lmp|\d{1,3} ?(?:y/?o|yrs?)? ?[mf])\b|[,(/] ?[mf](?=[,.)/ ]|$)|mother|"
    r"father|daughter|\bson\b|uter|"
    r"prostat|testi|vagin|ovar|peni[sl]|scrot|menstru|menopaus|vulv|hysterec|cervix|breast|circumcis|spermatic|"
    r"cord lipoma|lipoma of the cord|hydrocele|varicocele|epididym|vas deferens|phimosis|erectile|fallopian|endometri|"
    r"myometri|adnex|fibroid|oophor|salping|obstetric|gyna?ec|antenatal|prenatal|post-?partum|miscarr|ca?esarean|"
    r"c-section|\b(?:g\d+,? ?p\d+\w*|para \d|bph|psa|turp|pcos|iucd)\b"
)


def told_history(note: ParsedNote, task: str) -> Iterator[Triple]:
    """What the note tells once: with what the patient came, of what there is a history, which operation was done."""
    sections = {section.name for section in note.sections}
    is_report = any(re.search("PROCEDURE|OPERATI", section.header.upper()) for section in note.sections)
    complaint = section_lexicon()["chief complaint"]
    history = section_lexicon()["past medical history"]
    operation = section_lexicon()["procedure performed"]["lacking"]
    if "chief complaint" not in sections:
        subject = Subject(complaint["lacking"], not_mentioned(complaint["about"]))
        if not is_report and (presented := _only(note, _PRESENTED, r"\bpresent(?:s|ed)\b|\bcomes? in\b|\bcame in\b")):
            is_purpose = note.text[: presented[0]].endswith("for ")
            questions = tuple(ask for ask in complaint["ask"] if not (is_purpose and "complaint" in ask))
            yield quote(note, questions, presented, task, subject)
        elif complains := _only(note, _COMPLAINS, r"complain|c/o"):
            questions = ("What does the patient complain of?", "Of what does the patient complain?")
            yield quote(note, questions, complains, task, subject)
    if "past medical history" not in sections and (
        known := _only(note, _HISTORY, r"(?<!family )\b(?:history (?:of|significant)|h/o|hx|pmh)\b")
    ):
        questions = ("What does the patient have a history of?", "Of what does the patient have a history?")
        yield quote(note, questions, known, task, Subject(history["lacking"], not_mentioned(history["about"])))
    if (
        not is_report
        and (done := _only(note, _UNDERWENT, "underwent"))
        and not _NO_OPERATION.search(note.text[slice(*done)])
        and all(done[0] <= match.start() < done[1] for match in _OPERATION.finditer(note.text))
    ):
        questions = (
            "What did the patient undergo?",
            "Which procedure did the patient undergo?",
            "What procedure does the note say was undergone?",
        )
        yield quote(note, questions, done, task, Subject(operation, not_mentioned("a procedure")))


def _only(note: ParsedNote, pattern: re.Pattern[str], words: str) -> tuple[int, int] | None:
    """The span of the answer where one sentence matches, and the words stand nowhere else in the note."""
    matches = [match for span in note.sentences for match in pattern.finditer(note.text, *span)]
    if len(matches) != 1 or len(re.findall(words, note.text, re.IGNORECASE)) > 1:
        return None
    (match,) = matches
    is_cut = match["answer"].count('"') % 2 or re.match(r"\.\w", note.text[match.end("answer") :])
    before = note.text[max(0, match.start() - 40) : match.start("answer")]
    if is_cut or _NOT_SAID.search(before.rpartition(". ")[2]):
        return None
    if _POINTS_ELSEWHERE.search(match["answer"]) or _NO_REASON.match(match["answer"]):
        return None
    return match.span("answer")


def sex(note: ParsedNote, task: str) -> Iterator[Triple]:
    """The sex of the patient, where the beginning of the note says it and names no other person so."""
    found = {sex: match for sex, pattern in _SEXED.items() if (match := pattern.search(note.text))}
    if len(found) != 1:
        return
    ((name, match),) = found.items()
    introduced = re.search(r"(?:\d|patient|[Tt]his|[Aa]n?)[^.;\n]{0,60}$", note.text[: match.end()])
    if match.start() < 300 and introduced:
        yield Triple(
            note.choose("What is the patient's sex?", "Is the patient male or female?", "What sex is the patient?"),
            name,
            task,
            check="exact",
            spans=(match.span(),),
            subject=Subject(_ANY_SEX, not_given("the patient's sex")),
        )
