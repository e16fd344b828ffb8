"""Refusals: answers which say that the note does not contain what was asked for.

Teachers, their filters and the evaluation share this module. An answer is a refusal when its first sentence states that
the *record* lacks the information: "The note does not mention ...", "The dose is not stated", "No dose is given", "It
cannot be determined from the note", "Not answerable". A statement about the *patient* is an answer, whatever it denies:
"The patient does not report pain", "Heparin was not given", "Surgery is not indicated".
"""

from __future__ import annotations

import re

_RECORD = (
    r"(?:(?:clinical|progress|operative|discharge|medical|provided|given|patient|hospital) )*"
    r"(?:notes?|records?|texts?|documents?|reports?|summary|dialogue|conversation|transcript|passage|chart|letter|"
    r"documentation|history and physical|context|author|writer|clinician|surgeon|information)"
    r"(?: (?:you )?(?:provided|given|supplied))?"
)
_IN_RECORD = (
    r"(?:in|from|by|within|based on|with|anywhere in)(?: the information in)? (?:the|this|that) "
    rf"(?:(?:\w+ ){{0,2}}information|{_RECORD})\b"
)
_NOT = r"(?:\s+not|n['’]t)\b"
_ADVERB = r"(?:\w+ly |seem to |appear to )?"
# Verbs of what a record does with information. `show` is also what an image does, hence not with "report".
_TELLS = (
    r"(?:say|mention|state|specify|contain|include|provide|give|indicate|describe|document|record|tell|report|use|name|"
    r"list|identify|define|explain|refer|comment|address|detail|reveal|disclose|clarify|elaborate|have|quantify|cover|"
    r"discuss|note|offer|hold|answer|go into|touch|present|supply|outline|make|allow|specifie)s?\b"
)
# Participles that only a record's content can have; and those that a treatment or a finding can have as well, which
# count only beside the record or with a piece of information as subject
_TOLD = (
    r"(?:mentioned|stated|specified|said|documented|listed|discussed|addressed|explained|defined|clarified|detailed|"
    r"named|spelled out|written down|touched on)"
)
_AMBIGUOUS = (
    r"(?:given|provided|indicated|included|reported|recorded|described|noted|found|available|known|used|contained|"
    r"present|identified|shown|clear|answerable|determined|determinable|supplied|covered|disclosed)"
)
_DATUM = (
    r"(?:information|details?|data|dos(?:e|es|age)|frequency|dates?|times?|names?|reasons?|results?|values?|age|weight|"
    r"height|answer|question|durations?|amount|number|readings?|blood pressure|heart rate|temperature|route|type|"
    r"size|location|occupation|allerg(?:y|ies)|explanation|documentation|specifics)"
)
_BE = r"(?:is|are|was|were|has been|have been)"
_PERSON = (
    r"(?:he|she|patient|pt|mother|father|wife|husband|daughter|son|family|they|mr|mrs|ms|who|physician|nurse|girl|boy|"
    r"man|woman)"
)

_PATTERNS = [
    # the record and a negated verb; with "but" between them the verb's subject is still the record
    rf"\b(?:the|this|that|given|provided)? ?{_RECORD}(?: (?:itself|alone))?(?:, [a-z ]{{3,20}},)?\s+"
    rf"(?:(?:does|do|did|could|can){_NOT}|never|nowhere|fails? to|failed to)\s+{_ADVERB}{_TELLS}",
    rf"^(?:the |this )?{_RECORD}\b.*(?:\b(?:but|yet|and|though|however)|;)(?: (?:it|they))?,? (?:does|do|did){_NOT}\s+"
    rf"{_ADVERB}{_TELLS}",
    rf"^(?:it|this|that|which)\s+(?:does|do|did){_NOT}\s+{_ADVERB}"
    r"(?:say|mention|state|specify|document|indicate|list|tell|give|describe)\b",
    rf"\b{_RECORD} (?:lacks|omits|leaves out|is silent|remains silent|says nothing|is missing|"
    r"is unclear|is not clear|is not specific|"
    r"leaves (?:this|that|it|the \w+) (?:open|out))\b",
    rf"^(?:the |this )?{_RECORD}\b (?:only |merely |just )?(?:mentions|gives|names|lists|states|says|notes)\b"
    r".*\b(?:but|,) not (?:its|the|his|"
    r"her|how|what|when|why|which|where|whether)\b",
    rf"\b{_RECORD} (?:contains|gives|provides|has|offers|makes|includes|states|lists|shows|holds) "
    r"(?:only )?(?:no|neither|nothing|little)\b",
    rf"^(?:the )?(?:doctor|clinician|physician)s? and (?:the )?patient (?:(?:do|did){_NOT}|never) "
    r"(?:discuss|mention|talk)",
    # "the dose is not stated", "not mentioned", "neither is mentioned"
    rf"(?:\b(?:not|never|nowhere)|n['’]t)\s+(?:been )?{_ADVERB}{_TOLD}\b(?! by\b| to\b)",
    rf"\bneither\b[^.]{{0,60}}\b(?:is|are|was|were) {_TOLD}\b",
    rf"(?:\b(?:not|never|nowhere)|n['’]t)\s+(?:been )?{_ADVERB}(?:{_AMBIGUOUS}|{_TOLD})\b[^.]{{0,40}}?{_IN_RECORD}",
    rf"(?:\bnot|n['’]t)\s+(?:in|part of) (?:the|this) {_RECORD}\b",
    rf"\b{_DATUM}\b(?: (?:of|for|about|on|requested|was|regarding)\b[^,.;]{{0,60}})?"
    rf"\s*(?:(?:is|are|has been){_NOT}|:? not)\s+{_ADVERB}{_AMBIGUOUS}\b",
    rf"^not {_ADVERB}(?:given|provided|recorded|reported|indicated|available|described|known)"
    rf"(?: (?:here|{_IN_RECORD}))?[.!]?$",
    # "no dose is given", "no mention of"
    rf"^(?:as far as [^,]{{0,30}}, )?(?:no|none)\b(?! {_TOLD} (?!in|from|here))[^.,;:]{{0,60}}?\b{_TOLD}\b"
    r"(?! by\b| to\b| for\b)",
    rf"^no\b[^.,;]{{0,40}}\b(?:is|are) {_TOLD}\b",
    r"^no\b[^.,;]{0,60}?\b(?:is|are) (?:given|provided|available|recorded|indicated)\b",
    rf"^no (?:such )?{_DATUM}\b(?: [^,.;]{{0,40}}?)?\b(?:is|are|was|were)? ?(?:given|provided|available|recorded)\b",
    rf"^no\b[^.;]{{0,80}}\b{_IN_RECORD}",
    r"^(?:there(?:['’]s| is| was| are|is)(?:n['’]t any| not any| no| nothing)) (?:mention|reference|information|"
    r"documentation|details?|record|specifics?)\b(?![^.]{0,60}\bby the (?:patient|mother|family))",
    rf"^there(?:['’]s| is| are) (?:no|nothing)\b[^.;]{{0,60}}?(?:{_IN_RECORD}|\b{_TOLD}\b)",
    r"^no (?:mention|reference|information)\b",
    rf"\b(?:no|any) mention\b[^.]*{_IN_RECORD}",
    rf"\b(?:nowhere|not something|not anything)\b[^.]{{0,30}}\b{_RECORD}\b",
    rf"^nothing (?:is (?:said|stated|mentioned|written)|{_IN_RECORD})",
    # "cannot be determined", "I cannot find"
    r"^(?:[^.;]{0,60}, )?(?:it|this|that|the (?:question|answer)|this (?:question|information))? ?"
    r"(?:cannot|can not|can['’]t|could not|couldn['’]t) be (?:determined|answered|inferred|found|told|established|"
    r"ascertained|concluded|deduced|identified)",
    rf"\b(?:cannot|can not|can['’]t|could not|couldn['’]t|not possible to|impossible to|unable to)\b[^.]{{0,60}}"
    rf"{_IN_RECORD}",
    r"^(?:[^.;]{0,60}, )?(?:i|we)(?:['’]m| am| are| do)?\s*(?:cannot|can['’]t|could not|couldn['’]t|unable to|"
    r"do not know|"
    r"don['’]t know|do not have|don['’]t have|not able to|not told|aren['’]t told|are not told|not know)\b",
    r"^(?:unable to|cannot|can['’]t) (?:determine|answer|tell|say|find)\b",
    r"^(?:[^.;]{0,60}, )?(?:it is not|it isn['’]t|it['’]s not|it is im|it['’]s im) ?possible to "
    r"(?:determine|say|tell|answer|know|infer)",
    rf"\b(?:unclear|not clear|unknown|not known) {_IN_RECORD}",
    r"\b(?:insufficient|not enough|not sufficient) (?:information|details?|data)\b",
    rf"\b(?:missing|absent|omitted|left out|lacking) {_IN_RECORD}",
    rf"^(?:the |this )?{_RECORD} (?:stops|ends) before\b",
    r"^(?:it is|it['’]s) (?:not clear|unclear|not known|unknown) (?:which|whether|if|when|how|why|what|who|where)\b",
    rf"\b(?:does|do|did){_NOT} (?:appear|come up|occur) {_IN_RECORD}",
    r"^(?:not answerable|unanswerable|n/a\.?$|no information\.?$)",
    rf"\bnote (?:does|did){_NOT} show (?:when|whether|how|why|what|which|who|where)\b",
]
_REFUSAL = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS), re.IGNORECASE)
_LONGEST = 600  # characters of a sentence that are read
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
_OPENING = re.compile(
    r"^(?:(?:answer|response|[a-z ]{1,20}): (?=\S)|(?:i['’]m |i am )?(?:very )?sorry[,.;]? (?:but )?|unfortunately,? |"
    rf"(?:based on|according to|from|in|within) (?:the|this) {_RECORD}(?: alone)?, )+",
    re.IGNORECASE,
)
# Said beside the refusal, these make the sentence an answer: a dose or a value, or a disorder's own name
_ANSWERS = re.compile(r"\d\s*(?:mg|mcg|g|ml|units?|%|mmhg)\b|\b(?:19|20)\d\d\b|otherwise specified", re.IGNORECASE)
_PERSON_IS_SUBJECT = re.compile(
    rf"(?<!of the )\b{_PERSON}\b(?!['’]s)(?:(?! but | and )[^.,;]){{0,30}}?\b"
    rf"(?:(?:does|do|did|was|were|has|have){_NOT}|never\b)",
    re.IGNORECASE,
)
_CONCESSION = re.compile(r"^(?:although|while|though|even though)\b[^,]*,\s*", re.IGNORECASE)


def is_refusal(answer: str) -> bool:
    """Whether the first sentence of an answer states that the note lacks the information.

    Apologies and labels ("Answer:") are passed over, and what a subordinate clause concedes does not count. A value or
    a year before the statement makes it an answer that is only incomplete: "Metformin 500 mg; frequency not stated".
    """
    text = answer.strip()
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip()]
    if sentences and re.fullmatch(r"\W*(?:i['’]m |i am )?(?:very )?sorry\W*", sentences[0], re.IGNORECASE):
        sentences = sentences[1:]
    if not sentences:
        return False
    sentence = _OPENING.sub("", sentences[0].strip()[:_LONGEST])
    main = _CONCESSION.sub("", sentence)
    match = _REFUSAL.search(main)
    if not match:
        return False
    person = _PERSON_IS_SUBJECT.search(main)  # "the note states that she was not given a dose"
    if person and person.start() < match.start() < person.end():
        return False
    return not _ANSWERS.search(main, 0, match.end())
