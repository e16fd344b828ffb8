"""Question answering: the content of a section, vital signs, age, habits, and whether the patient has a symptom."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from clinadapt.clinical.sections import Section, one_line, section_lexicon
from components.synthesize.denials import denied
from components.synthesize.diagnostics import investigation_results
from components.synthesize.dose_relations import is_changed_elsewhere
from components.synthesize.history import sex, told_history
from components.synthesize.operation_facts import operation_facts
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.section_content import EXAMINED, content_span, section_content
from components.synthesize.short_facts import AS_LISTED, short_facts
from components.synthesize.symptoms import symptom_questions
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import ANY_DRUG, not_given, not_mentioned
from components.synthesize.vital_signs import vital_signs

TASK = "Question Answering"

MAX_SECTIONS, MAX_OTHER_SECTIONS = 6, 3
MAX_MATCHES = 6  # of a topic in one sentence
_WITH_PARTS = {"physical examination", "review of systems"}  # what follows under headings belongs to them
_HEADING = re.compile(r"[A-Z]{4,}(?:[ /-][A-Z]{2,}){0,3}")
_CAPITALS_WITHIN = re.compile(r"[.,:;\n] ?[A-Z]{4,}\b")  # may be another heading
_EXAMINATION = {"physical examination", "vital signs"}
_OF_PROCEDURE = {"preoperative diagnosis", "postoperative diagnosis", "procedure performed", "anesthesia"}


_AGE = re.compile(
    r"\b(?P<age>\d{1,3})[- ](?:year|yr)s?[- ]old\b|"
    r"(?<![\d./])(?<!\d )\b(?P<short>\d{1,2})(?: ?(?:y/?o|yo|Y/?O)(?: [FM])?|[FM])\b(?=[ ,.])|"
    r"\b(?:(?:[Hh]e|[Ss]he|[Pp]atient|[Pp]t) is (?P<is>\d{2})(?=,? and\b|\.|;)|"
    r"(?:M(?:r|rs|s)\.? [A-Z]\w*|patient|man|woman|gentleman|lady|boy|girl),? aged (?P<aged>\d{1,2})(?![\d/.-]|,? \d|"
    r" (?:months|weeks|days)))"
)
_RELATIVE = re.compile(
    r"(?:,? [A-Za-z-]+){0,2}? (?:brother|sister|sibling|twin|son|daughter|mother|father|husband|wife|child|children|"
    r"boyfriend|girlfriend|cousin|niece|nephew|grand\w+|aunt|uncle|fracture|injury|scar|house|graft|stent|valve|"
    r"device|film|study|foley|catheter|sheath|tube|drain|dilator|introducer|mum|mom|dad|partner|carer)\b",
    re.IGNORECASE,
)
# Whose age stands before the words `93 years old`; or the age at which something began, or of a thing
_AGE_OF_ANOTHER = re.compile(
    r"(?:\b(?:at|since|from|until|by|before|after|when (?:he|she|the patient) was|(?:that|which|it) (?:is|was))"
    r"(?: (?:about|around|approximately|over|nearly|almost|age|the age of|(?:more|less|greater) than))?|"
    r"\b(?:step-?|half-?)?(?:mother|father|brothers?|sisters?|sons?|daughters?|husband|wife|partner|mum|mom|dad|uncle|"
    r"aunt|grand\w+|cousin|twin|friend|child(?:ren)?|boys?|girls?|babies|baby)\b[^.;:\n]{0,25}) ?$",
    re.IGNORECASE,
)
_ANY_AGE = (
    r"\A[\s\S]{0,80}?(?<![\d./,:-])\b\d{1,2}(?=[,.) ])(?![.,]\d| ?(?:/|m[cglm]|kg|cm|%))|"
    r"M(?:rs?|s) \w+,? \d\d\b|\b(?:male|female|man|woman|lady|m|f),? \d\d\b|, \d\d, |"
    r"\b(?:of|is|was|turned|nearly|almost) (?:1\d|[2-9]\d)\b(?! ?(?:m[cglm]|g\b|kg|cm|%|/|\.\d|units|degrees|beats|"
    r"per|hours|days|"
    r"weeks|minutes|seconds|x\b))|\b\d0s\b|teens|twenties|thirties|fort(?:y|ies)|fift(?:y|ies)|sixt(?:y|ies)|"
    r"sevent(?:y|ies)|eight(?:y|ies)|ninet(?:y|ies)|"
    r"\b(?:years?|yrs?|months?|weeks?|days?)[- ]?old|\baged?\b|y\.o|y/?o\b|\b\d{1,2} ?[FM]\b|dob|birth|boy|girl|infant|"
    r"neonat|newborn|\b\d{1,2} ?(?:mo|m/o)\b|\b(?:baby|child|toddler|teenage\w*|adolescent|elderly)\b|\bborn\b|"
    r"\byo\b|\b\d{1,2} ?(?:y|yrs?|mths?|wks?)\b|\d/(?:12|52) (?:old|review)|\bcga\b"
)
_TOPICS = {
    "smoking": (
        r"smok(?!y|e[- ](?:plume|evac|inhal|alarm|detect|fill|from))|tobacco(?! dust)|cigar|pack[- ]year|nicotine|"
        r"vap(?:e|ing)"
    ),
    "alcohol": (
        r"(?<!with )\balcohol(?! (?:swab|prep|pad|and|was))|etoh|\bbeers?\b|\bwine\b|units (?:a|per) week|units/w|"
        r"\b(?:does not|doesn't|never|not|non-?|social|heavy|binge|problem) ?(?:drink(?:s|ing|er)?)\b(?! \w)|"
        r"\bdrink(?:s|ing|er)? (?:socially|heavily|occasionally|rarely|daily|at weekends|on weekends|too much)"
    ),
    "the patient's work": (
        r"(?<!\bit )(?<!that )(?<!which )(?<!medication )\b(?:works|worked|working|work is) "
        r"(?:as|at|for (?!him|her\b|me\b|them|this|that|a (?:while|time|bit)|the (?:pain|patient|best)|\d)|"
        r"in (?!an?\b|about|\d|(?:his|her|the) (?:garage|yard|garden|house|home|kitchen|shop)))|"
        r"occupation(?!al)|\bretired\b(?! to (?:his|her|bed))|unemployed|self-employed|employ(?:er|ment|ee)|"
        r"\bemployed (?:as|at|by|in|with)\b|"
        r"\b(?:his|her|current|new|desk|previous|last|full-time|part-time|sedentary|physical|manual|stressful) job\b"
    ),
    "the patient's living situation": (
        r"\blives\b|\blive (?:in|with|on|at|near)\b|(?<!was )(?<!been )(?<!were )\bliving (?:with|alone|in|at|on|"
        r"situation|arrange\w*)|(?:nursing|care|residential) home resident|"
        r"\bresid(?:e[sd]?|ing|ence|ent (?:of|at|in))\b"
    ),
    "anticoagulation": (
        r"anticoag|warfarin|coumadin|heparin(?!ized)(?! (?:flush|lock|saline))|apixaban|rivaroxaban|eliquis|"
        r"xarelto|blood thinner|lovenox|(?:enoxa|dalte|tinza)parin|fondaparinux|edoxaban|dabigatran|pradaxa|\blmwh\b"
    ),
    "pregnancy": r"pregnan|gravid|gestation|trimester|antenatal",
}
# Words with which a note may speak of a topic, though they do not answer a question about it
_NEAR_TOPIC = {
    "the patient's living situation": (
        r"liv(?:ed|es?|ing)\b|resid|\bhome\b|\bstay(?:s|ed|ing) (?:with|in|at)|alone|apartment|house|shelter"
    ),
    "anticoagulation": r"heparin|\binr\b|thinner",
    "the patient's work": (  # also by its name alone: `Accountant. Drinks socially.`
        r"work|employ|retire|profession|career|\bjob\b|\bsocial|\bs(?:oc)?hx?\b|\bhabits\b|student|teacher|nurse\b|"
        r"driver|farmer|engineer|accountant|barista|builder|plumber|electrician|carpenter|mechanic|cleaner|chef|cook\b|"
        r"lawyer|solicitor|secretary|manager|clerk|cashier|waiter|waitress|hairdresser|postman|soldier|policem|"
        r"police officer|fire ?(?:man|fighter)|lorry|trucker|technician|musician|pilot|minister|pastor|housewife|"
        r"homemaker"
    ),
    "pregnancy": r"pregnan|gravid|gestation|trimester|\blmp\b|antenatal|last (?:menstrual )?period",
    "alcohol": r"drink|alcohol|\bunits (?:a|per)\b|units/w|spirits|vodka|whisk|liquor|sober",
    "smoking": r"smok|tobacco|cigs?\b|nicotine|\bppd\b|\bp(?:ac)?k[ -]?y|packs?\b|\b\d+ ?/ ?(?:d|day)\b",
}
# Words that tell of a topic where its name does not stand: with them in another sentence, the answer would lack a part
_ALSO_OF_TOPIC = {
    "alcohol": r"\bdrinks? (?!plenty|more|fluids?|water|enough|well)|vodka|whisk|liquor|sober|\bunits (?:a|per) week",
    "smoking": _NEAR_TOPIC["smoking"],
    "anticoagulation": r"\binr\b",
    "the patient's work": r"\b(?:not|stopped|off|out of|back to|currently|still) work(?:ing)?\b|\bjob\b",
}

# A habit of somebody else, and somebody else's home
_ANOTHER_PERSON = (
    r"\b(?:mother|father|brothers?|sisters?|sons?|daughters?|husband|wife|partner|parents?|mum|mom|dad|uncle|aunt|"
    r"grand\w+|cousin|boyfriend|girlfriend)\b"
)
_OF_ANOTHER = {
    "the patient's living situation": (
        rf"{_ANOTHER_PERSON}[^.;]{{0,40}}? (?:lives?|resides?|living)\b|\bwho lives?\b|\bworks?\b|\bplan\b"
    ),
    "the patient's work": (
        rf"{_ANOTHER_PERSON}|"
        r"\b(?:both|drugs?|medic\w+|tablets?|pills?|cream|injections?|treatment|it|they) (?:\w+ )?work"
    ),
    "anticoagulation": r"\b(?:mother|father|brother|sister)\b",
}
_JUDGEMENT = {"diagnosis", "assessment", "impression"}
# A disease by its name or its abbreviation, so that a note tells the diagnosis without the word
_DISEASE = (
    r"\b(?:ca|mets|n?stemi|cva|tia|af|dm|t[12]dm|htn|ckd|aki|uti|urti|lrti|copd|cap|dvt|oa|ptsd|gord|gerd|od|nof)\b|"
    r"tumou?r|malignan|dementia|asthma|failure|disease|syndrome|diabet|hypertens|stroke|arthr|sprain|injur|disorder|"
    r"depress|sepsis|ulcer|hernia|epilep|migrain|eczema|stone|fall\b|croup|viral|virus|\bflu\b|\bcold\b|\boutcome|"
    r"\w{3}(?:itis|osis|oma|pathy|a?emia|algia)\b"
)

_STUDY_HEADERS = {"EXAM", "EXAMINATION", "STUDY", "EXAMINATION PERFORMED", "PROCEDURE"}
_STUDY = (
    r"\bct\b|tomograph|\bmri\b|magnetic|ultraso|sonogra|x-?ray|radiograph|echo|mammo|\bviews?\b|doppler|"
    r"scan|\beeg\b|\bemg\b"
)


def generate(note: ParsedNote) -> Iterator[Triple]:
    """Sections, vital signs that the note gives once, the age, habits, the study and symptoms."""
    yield from _sections(note)
    yield from _other_sections(note)
    yield from vital_signs(note, TASK)
    yield from _age(note)
    yield from _topics(note)
    yield from _study(note)
    yield from short_facts(note, TASK)
    yield from denied(note, TASK)
    yield from told_history(note, TASK)
    yield from sex(note, TASK)
    yield from operation_facts(note, TASK)
    yield from investigation_results(note, TASK)
    yield from symptom_questions(note, TASK)


def _sections(note: ParsedNote) -> Iterator[Triple]:
    counts = Counter(section.name for section in note.sections)
    is_procedure = bool(_OF_PROCEDURE & counts.keys())  # its medications are those given, not those taken
    candidates, around = [], ""  # the part of the note that a line such as `SKIN:` stands in
    for section in note.sections:
        in_examination = around in _EXAMINATION
        if section.name not in EXAMINED:
            around = section.name or around
        entry = section_lexicon().get(section.name, {})
        if "ask" not in entry or counts[section.name] > 1 or (section.name in EXAMINED and not in_examination):
            continue
        if is_procedure and section.name == "medications":
            continue
        if answer := section_content(note.text, section):
            candidates.append((section, entry, answer))
    note.rng.shuffle(candidates)
    for section, entry, answer in candidates[:MAX_SECTIONS]:
        span = content_span(note.text, section)
        is_old = section.name == "medications" and is_changed_elsewhere(note, *span)
        question = note.choose(*(AS_LISTED if is_old else entry["ask"]))
        lacking = f"{entry['lacking']}|{_DISEASE}" if section.name in _JUDGEMENT else entry["lacking"]
        yield Triple(
            question,
            answer,
            TASK,
            check="exact" if len(answer) < 80 else "none",
            spans=(span,),
            subject=Subject(lacking, not_mentioned(entry["about"]), ANY_DRUG if "medications" in section.name else ""),
        )


def _other_sections(note: ParsedNote) -> Iterator[Triple]:
    """What stands under a heading in capitals that is no listed one; the question names the heading."""
    counts = Counter(section.header.upper() for section in note.sections)
    sections = [
        section
        for section in note.sections
        if "ask" not in section_lexicon().get(section.name, {})
        and section.name not in _WITH_PARTS
        and _HEADING.fullmatch(section.header)
        and counts[section.header] == 1
        and len(re.findall(rf"\b{re.escape(section.header)}\b", note.text, re.IGNORECASE)) == 1
        and _is_heading(note.text, section)
        and not _CAPITALS_WITHIN.search(note.text, section.start, section.end)
    ]
    note.rng.shuffle(sections)
    answers = ((section, section_content(note.text, section)) for section in sections)
    for section, answer in islice((pair for pair in answers if len(pair[1].split()) > 1), MAX_OTHER_SECTIONS):
        yield Triple(
            note.choose(
                f'What does the note give under "{section.header}"?',
                f'What is written under "{section.header}"?',
                f'What stands in the note under the heading "{section.header}"?',
            ),
            answer,
            TASK,
            check="exact" if len(answer) < 80 else "none",
            spans=((section.start, section.end),),
            subject=Subject(re.escape(section.header), not_mentioned(f'"{section.header}"')),
        )


def _is_heading(text: str, section: Section) -> bool:
    """Whether a header is one for certain: before a colon and not cut by a comma, or alone, behind an empty line."""
    if re.search(r"[A-Z], ?$", text[: section.header_start]):
        return False
    if ":" in text[section.header_start : section.start]:
        return True
    return "\n" in text[section.header_start : section.start] and text[: section.header_start].endswith("\n\n")


def _age(note: ParsedNote) -> Iterator[Triple]:
    matches = list(_AGE.finditer(note.text))
    matches = [
        match
        for match in matches
        if not _RELATIVE.match(note.text, match.end())
        and not _AGE_OF_ANOTHER.search(note.text, max(0, match.start() - 60), match.start())
    ]
    ages = {match[match.lastgroup or 0] for match in matches}
    age = next(iter(ages), "")
    if len(ages) == 1 and matches[0].start() < 500:
        yield Triple(
            note.choose("How old is the patient?", "What is the patient's age?", "What age is the patient?"),
            f"{age} years" if age != "1" else "1 year",
            TASK,
            check="exact",
            spans=(matches[0].span(),),
            subject=Subject(_ANY_AGE, not_given("the patient's age")),
        )


def _study(note: ParsedNote) -> Iterator[Triple]:
    """The imaging study that a short section names as the examination."""
    sections = [section for section in note.sections if section.header.upper() in _STUDY_HEADERS]
    if len(sections) != 1 or not 2 <= len(note.text[sections[0].start : sections[0].end].split()) <= 12:
        return
    study = section_content(note.text, sections[0])
    if study and re.search(_STUDY, study, re.IGNORECASE):
        yield Triple(
            note.choose(
                "Which study was done?", "What examination does the report describe?", "What kind of study is it?"
            ),
            study,
            TASK,
            check="exact",
            spans=((sections[0].start, sections[0].end),),
            subject=Subject(rf"{_STUDY}|study|imag|radiolog", not_mentioned("any imaging study")),
        )


def _topics(note: ParsedNote) -> Iterator[Triple]:
    """The only sentence about a topic."""
    for topic, pattern in _TOPICS.items():
        matches = list(re.finditer(pattern, note.text, re.IGNORECASE))
        if not 1 <= len(matches) <= MAX_MATCHES:
            continue
        spans = {span for span in note.sentences for match in matches if span[0] <= match.start() < span[1]}
        if len(spans) != 1 or not all(any(s <= m.start() < e for s, e in spans) for m in matches):
            continue
        ((start, end),) = spans
        sentence = one_line(note.text[start:end])
        of_another = _OF_ANOTHER.get(topic, _ANOTHER_PERSON)
        if topic != "pregnancy" and re.search(of_another, sentence, re.IGNORECASE):
            continue
        also = re.finditer(_ALSO_OF_TOPIC.get(topic, pattern), note.text, re.IGNORECASE)
        if any(not start <= match.start() < end for match in also):
            continue
        if 2 <= len(sentence.split()) <= 30 and ":" not in sentence and not re.match(r"\d+\.?$", sentence):
            yield Triple(
                note.choose(f"What does the note say about {topic}?", f"Is anything recorded about {topic}?"),
                sentence,
                TASK,
                spans=((start, end),),
                subject=Subject(f"{pattern}|{_NEAR_TOPIC.get(topic, pattern)}", not_mentioned(topic)),
            )
