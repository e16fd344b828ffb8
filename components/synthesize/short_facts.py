"""Questions about facts that a sentence states in few words: medication, allergy, diagnosis, relatives, counts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.mention import Mention
from clinadapt.clinical.sections import section_lexicon, without_period
from components.synthesize.dose_relations import is_changed_elsewhere
from components.synthesize.parsed_note import ParsedNote, quote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import ANY_DRUG, not_given, not_mentioned

AS_LISTED = ("What medications are recorded?", "What does the note list as medications?")  # not what is taken now
_TAKES = re.compile(
    r"\b(?:(?:[Hh]e|[Ss]he|[Pp]atient|M(?:r|rs|s)\. [A-Z]\w*) (?:takes|is taking|is on|currently takes)|"
    r"(?:[Cc]urrent|[Rr]egular|[Hh]ome|[Hh]is|[Hh]er) medications? (?:is|are|include[s]?|consists? of)) "
)
_NOT_NOW = re.compile(
    r"\b(?:not|no longer|never|stopped|discontinu\w*|used to|previously|until|if|but)\b", re.IGNORECASE
)
# Near a drug that is not among those that the patient takes
_NOT_TAKEN = re.compile(
    r"allerg|intoleran|stop|discontinu|start|begin|began|\badd|given|gave|receiv|consider|prescrib|instead|avoid|"
    r"recommend|\bIV\b|\bno\b|\bhold|\bheld|last (?:year|month)|\btried|in the past|previous",
    re.IGNORECASE,
)
_ALLERGIC = re.compile(
    r"\b(?:is allergic to|has an allergy to|is an allergy to|[Aa]llergic to) "
    r"(?:the )?(?P<answer>[a-z][^.;:\n]{2,45})(?=[.;\n]|$)"
)
_DIAGNOSIS = re.compile(
    r"\b(?:[Ii]mpression is(?: of)?|[Dd]iagnosis (?:is|was)|I think (?:that )?(?:he|she|this (?:man|woman)) has|"
    r"[Ii]n my view this is|[Ww]e felt that this was|I explained that this is|[Ii]n summary, this is) "
    r"(?!that\b|the same|as |to |not |still |pending|"
    r"an? (?:possibility|concern|consideration|question|matter)|possible|in (?:doubt|question)|under |"
    r"based |deferred|unclear|uncertain|given|made|known|[a-z]+ed\b)"
    r"(?P<answer>[A-Za-z0-9][^.;:\n]{3,80}?)"
    r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?=[.;\n]|,? (?:and|but|so|which) (?:I|we|he|she|it|this|there|is|was|has|"
    r"will)\b|$)"
)
_ANOTHER_NAME = {"diagnosis": "impression"}  # a section that would hold the same
_RELATIVE = re.compile(
    r"\b(?:[Hh]is |[Hh]er |[Tt]he patient's |^|(?<=[.:\n] )|(?<=\n))"
    r"(?P<who>mother|father|brother|sister|grandmother|grandfather|uncle|aunt)"
    r"(?: (?:had|has had|has|died of)| -) (?P<what>[A-Za-z][^.;,:\n]{2,45}?)(?= at (?:the )?age| aged|[.;,\n]|$)",
    re.IGNORECASE,
)
_NO_ILLNESS = re.compile(
    r"\b(?:no|not|unknown|died|and|same|similar|it|this|that|these|some|any|been|gone|come|got|taken|to|last|ago|when|"
    r"who|children|sons?|daughters?|problems?|trouble|issues?|history|concerns?)\b|\w+ed\b|&",
    re.IGNORECASE,
)
_NUMBER = r"(?:[1-9]\d?|one|two|three|four|five|six|seven|eight|nine|ten|twelve)"
_NO_COUNT = r"(?:mm|cm|m[lg]|mcg|fr|french|gauge|g|in|inch|of|by|x)\b"  # after a number that counts no things
_SOME_MORE = r"(?:further|additional|more|other|extra|another|remaining)\b"  # than some that are counted elsewhere
_COUNTED = {  # what is counted -> what was done with it
    "staples": "placed", "ports": "placed", "clips": "placed",
    "screws": "placed", "stents": "placed", "polyps": "found", "biopsies": "taken", "injections": "given",
}  # fmt: skip
_ANTIBIOTIC = re.compile(
    r"cillin|^cef|^ceph|(?<!^mito)(?<!^bleo)(?<!dactino)mycin$|floxacin$|cycline$|penem$|^(?:metronidazole|"
    r"nitrofurantoin|trimethoprim|linezolid)"
)
_ANY_ANTIBIOTIC = (
    r"antibiotic|antimicrob|\w+cillin|\bcef|\bceph|\w+mycin|\w+floxacin|\w+cycline|\w+penem|metronidazole|flagyl|"
    r"\babx\b|\bamox|fluclox|clarithro|azithro|\bdoxy\b|trimeth|\bgent\b|\bvanco?\b|clinda|tazocin|"
    r"bactrim|septra|cipro|levaquin|keflex|ancef|rocephin|zosyn|unasyn|augmentin|nitrofurantoin|macrobid|"
    r"trimethoprim|linezolid"
)
_NOT_GIVEN = re.compile(
    r"allerg|\ball ?:|reaction|rash|hives|intoleran|\b(?:no|not|never|without|avoid\w*|would|could|if|consider\w*|"
    r"declin\w*|refus\w*|unless|instead of|rather than|resistant|sensitive)\b",
    re.IGNORECASE,
)
# To rinse with or to apply, which is no treatment
_LOCAL = re.compile(
    r"irrigat|solution|flush|soak|beads|rins|wash|ointment|cream|impregnat|contrast|isovue", re.IGNORECASE
)
_START = r"\bstart|\bcommenc|\binitiat|\badded\b|\badd\b"
# Begins a new clause; other words after a comma or `and` may be a second place of the same finding
_CLAUSE = (
    r"(?:(?:no|not|an?|there|it|he|she|they|which|who|measuring|about|approximately|consistent|without|with|but|has|"
    r"had|is|was|were|are|will|otherwise)\b|\d)"
)
_NO_PLACE = (
    r"(?:(?:(?:in|at|of|on) the (?:same|above)\b)|(?:to (?:light |deep |the )?(?:percussion|palpation|touch|pressure|"
    r"movement)|"
    r"(?:in|at|of|over|on) (?:the |this |that |his |her )?(?:time|night|rest|first|times|present|birth|baseline|least|"
    r"last|past|morning|evening|days?|weeks?|months?|years?|mother|father|sister|brother|family|patient|exam\w*|future|"
    r"course|setting|absence|unknown|uncertain|age|childhood|infancy|adolescence|pregnancy|work|school|college|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|jan|feb|mar|apr|june?|july?|aug|sept?|oct|nov|dec|january|february|"
    r"march|april|august|september|october|november|december|spring|summer|autumn|winter|christmas|easter))\b)"
)
_FINDING = (
    r"nodule|stone|mass|cyst|hernia|fracture|tear|stenosis|"
    r"narrowing|tenderness|rash|ulcer|lesion|murmur|wound|scar|lump|swelling|opacity|infiltrate|effusion|bruit|polyp|"
    r"abscess|ha?ematoma|infarct|protrusion|herniation|tingling|crackles|rales|weakness|numbness|o?edema|thickening|"
    r"stricture|hypokinesis"
)
_SPREADS = re.compile("crackles|rales|o?edema|swelling|numbness|tingling|rash")  # up to somewhere, from elsewhere
_ANOTHER_FINDING = re.compile(rf"\b(?:and|or) .*\b(?:{_FINDING}|wheez\w*|creps|pain|bruis\w*|deformity)", re.IGNORECASE)
_ANOTHER_THING = re.compile(  # `on her chest and problems`
    r"\b(?:and|or) (?!(?:the|his|her|both|left|right|upper|lower|mid\w*|medial|lateral|anterior|posterior|back|neck|"
    r"chest|abdomen|face|scalp|trunk|arms?|legs?|hands?|feet|foot|toes?|fingers?|knees?|ankles?|hips?|shoulders?|"
    r"elbows?|wrists?|"
    r"thighs?|forearms?|buttocks?|groin|flank|shins?|calf|calves|l\d|c\d|t\d|s\d)\b)|\bscrews?\b",
    re.IGNORECASE,
)
_OF_WHAT = re.compile(  # `at the origin`, of an artery that another word names
    r"(?:(?:in|at|of|on|over|near) )?the (?:origin|base|tip|surface|middle|cent(?:er|re)|edge|margins?|top|"
    r"bottom|end|area|region|site|level|border)",
    re.IGNORECASE,
)
_IS_CLAUSE = re.compile(r"\b(?:he|she|it|they|we|i|patient|this|that|size|kind|type|nature|sort)\b", re.IGNORECASE)
_LOCATED = re.compile(
    rf"(?<!no )(?<!No )(?<!wear and )\b(?P<finding>{_FINDING}) (?!{_NO_PLACE})(?:of )?"
    r"(?P<where>(?:(?<= of )|(?:in|at|over|on|along|behind|under|near|to) )(?:the |both |his |her )?"
    r"[a-z][a-z0-9 ]{3,40}?)"
    rf"(?=[.;]|,? (?:and |but |with )(?:{_CLAUSE})|, (?:{_CLAUSE})| with | for | w/ | at \d| which | was | is | has |"
    r" have | had | are | on [A-Z\d]| (?:that|who|where|when|as|rather|because|since|while|after|before|until|if|than|"
    r"from|due|secondary|causing|seen|noted|found|visible|measuring|consistent|suggest\w+|today|now|again|yesterday|"
    r"currently|recently|still|too|especially|mainly|mostly)\b|$)",
    re.IGNORECASE | re.MULTILINE,
)
_IS_DENIED = re.compile(
    r"\b(?:den(?:y|ies|ied|ying)|no|not|without|never|negative|nor|rule out|exclude|if|unless|may|might|could|should|"
    r"prevent\w*|avoid\w*|risks?|warn\w*|consent\w*|chance|potential|possibl\w*|in case of|return for|"
    r"(?:watch|monitor|check|look|assess|evaluat|screen)\w* for)\b",
    re.IGNORECASE,
)
_SIDE = re.compile(
    r"(?<!\bwas )(?<!\bwere )(?<!\bbe )(?<!\bbeen )(?<!\bhe )(?<!\bshe )(?<!\bhad )(?<!\bhas )(?<!patient )(?<!\ball "
    r")\b(left|right)\b"
    r"(?! (?:in place|behind|open|intact|over|out|to|at|by|for|here|away|now|after|before|when|amount|with|without|"
    r"untreated|alone|the|colon|hepatic|(?:[a-z]+ ){0,2}(?:arter\w+|veins?|vessels?)|"
    r"his|her|school|work|home|hospital|against|AMA|heart|coronary|main|circumflex|bundle|anterior descending)\b"
    r"| (?:atri|ventric))",
    re.IGNORECASE,
)


_IS_PAST = re.compile(r"\b(?:in (?:19|20)\d\d|status post|s/p|previous(?:ly)?|prior)\b", re.IGNORECASE)
_BY_CATHETER = re.compile(
    r"\b(?:sheath|guide ?wire|seldinger|\d-?french|judkins)\b", re.IGNORECASE
)  # through any groin
_DIAGNOSED = {"preoperative diagnosis", "postoperative diagnosis"}  # of these an operation is one side's or none's


def short_facts(note: ParsedNote, task: str) -> Iterator[Triple]:
    """Facts that the note states once, in a sentence."""
    yield from _medication(note, task)
    yield from _sentence_fact(note, task, _ALLERGIC, "allergies")
    yield from _sentence_fact(note, task, _DIAGNOSIS, "diagnosis")
    yield from _relatives(note, task)
    yield from _counts(note, task)
    yield from _antibiotic(note, task)
    yield from _started(note, task)
    yield from _locations(note, task)
    yield from _side(note, task)


def _medication(note: ParsedNote, task: str) -> Iterator[Triple]:
    """What the patient takes, where one sentence lists it and each of its parts names a drug."""
    entry = section_lexicon()["medications"]
    if any(section.name == "medications" for section in note.sections):
        return
    if re.search(r"\bno (?:regular )?medic", note.text, re.IGNORECASE):
        return
    lists = [(m.end(), end) for start, end in note.sentences for m in _TAKES.finditer(note.text, start, end)]
    if len(lists) != 1:
        return
    start, end = lists[0]
    listed = without_period(note.text[start:end])
    position = start
    for part in re.split(r", (?:and )?| and ", listed):
        position = note.text.index(part, position)
        if not any(position <= mention.start < position + len(part) for mention in note.drugs):
            return
        position += len(part)
    if _NOT_NOW.search(listed) or ":" in listed or "\n\n" in listed or len(listed) > 300:
        return
    taken = {mention.value for mention in note.drugs if start <= mention.start < end}
    if any(mention.value not in taken and not _is_not_taken(note, mention) for mention in note.drugs):
        return
    subject = Subject(entry["lacking"], not_mentioned(entry["about"]), ANY_DRUG)
    is_old = is_changed_elsewhere(note, start, start + len(listed))
    yield quote(note, AS_LISTED if is_old else tuple(entry["ask"]), (start, start + len(listed)), task, subject)


def _is_not_taken(note: ParsedNote, mention: Mention) -> bool:
    """Whether the sentence of a drug says that the patient does not take it, or that it is new."""
    sentence = next((span for span in note.sentences if span[0] <= mention.start < span[1]), None)
    return bool(sentence and _NOT_TAKEN.search(note.text, *sentence))


def _sentence_fact(note: ParsedNote, task: str, pattern: re.Pattern[str], name: str) -> Iterator[Triple]:
    """What a section of that name would hold, where the note has none and one sentence says it."""
    entry = section_lexicon()[name]
    if any(section.name in {name, _ANOTHER_NAME.get(name)} for section in note.sections):
        return
    matches = [match for start, end in note.sentences for match in pattern.finditer(note.text, start, end)]
    if len(matches) == 1 and not re.search(
        r"\b(?:not|no|never)\b", note.text[max(0, matches[0].start() - 12) : matches[0].start()]
    ):
        subject = Subject(entry["lacking"], not_mentioned(entry["about"]))
        yield quote(note, tuple(entry["ask"]), matches[0].span("answer"), task, subject)


def _relatives(note: ParsedNote, task: str) -> Iterator[Triple]:
    """What a relative had, and who had it, where the note speaks of one relative."""
    matches = list(_RELATIVE.finditer(note.text))
    if len(matches) != 1 or _NO_ILLNESS.search(matches[0]["what"]):
        return
    (match,) = matches
    if "-" in match[0] and not _is_in_section(note, match.start(), "family history"):
        return
    who = match["who"].lower()
    if len(re.findall(rf"\b{who}\b", note.text, re.IGNORECASE)) != 1:
        return
    family = section_lexicon()["family history"]["lacking"]
    yield quote(
        note,
        (
            f"What did the patient's {who} have?",
            f"Which illness did the {who} have?",
            f"What does the note say of the patient's {who}?",
        ),
        match.span("what"),
        task,
        Subject(family, not_mentioned(f"the patient's {who}")),
    )
    yield quote(
        note,
        (f"Who in the family had {match['what']}?", f"Which relative had {match['what']}?"),
        match.span("who"),
        task,
        Subject(family, not_mentioned("any relative")),
    )


def _is_in_section(note: ParsedNote, position: int, name: str) -> bool:
    return any(section.name == name and section.start <= position < section.end for section in note.sections)


def _counts(note: ParsedNote, task: str) -> Iterator[Triple]:
    for noun, done in _COUNTED.items():
        counts = list(
            re.finditer(
                rf"(?<![\w./-])({_NUMBER}) (?!{_NO_COUNT}|{_SOME_MORE})(?:(?!quadrant)[a-z-]+ )?{noun}\b",
                note.text,
                re.IGNORECASE,
            )
        )
        mentions = re.findall(rf"\b{noun[:-1]}", note.text, re.IGNORECASE)
        numbers = re.findall(rf"\b{_NUMBER}(?: [a-z-]+){{0,4}}? {noun}\b", note.text, re.IGNORECASE)
        if len(counts) == len(numbers) == 1 and len(mentions) <= 2:
            yield quote(
                note,
                (
                    f"How many {noun} were {done}?",
                    f"What is the number of {noun}?",
                    f"How many {noun} does the note count?",
                ),
                counts[0].span(1),
                task,
                Subject(rf"\b{noun[:-2]}", not_mentioned(f"any {noun}")),
            )


def _antibiotic(note: ParsedNote, task: str) -> Iterator[Triple]:
    """The only antibiotic of the note, unless the patient is allergic to it."""
    mentions = [mention for mention in note.drugs if _ANTIBIOTIC.search(mention.value)]
    if len(mentions) != 1 or "antibiotic" in note.text.lower():
        return
    (mention,) = mentions
    if note.is_of_relative(mention) or _NOT_GIVEN.search(note.text, max(0, mention.start - 60), mention.end + 30):
        return
    if _LOCAL.search(note.text, max(0, mention.start - 60), mention.end + 40):
        return
    is_prescribed = re.search(r"prescri|\b[Rr]x\b", note.text[max(0, mention.start - 60) : mention.end + 40])
    yield quote(
        note,
        (
            "Which antibiotic does the note name?",
            *(
                ("Which antibiotic was prescribed?", "What antibiotic was prescribed?")
                if is_prescribed
                else ("Which antibiotic was given?", "What antibiotic was used?")
            ),
        ),
        (mention.start, mention.end),
        task,
        Subject(_ANY_ANTIBIOTIC, not_mentioned("an antibiotic")),
    )


def _started(note: ParsedNote, task: str) -> Iterator[Triple]:
    """The only drug that the note says was started."""
    started = [
        mention
        for mention in note.drugs
        if re.search(
            r"(?<!be )\b(?:started|started on|commenced|added) $", note.text[max(0, mention.start - 20) : mention.start]
        )
        or re.match(
            r"(?: \d[\d.,]* ?(?:mg|mcg|g)(?: [a-z.]+){1,3})? (?:was|has been) (?:started|added|commenced)\b",
            note.text[mention.end :],
        )
    ]
    others = re.findall(_START, note.text, re.IGNORECASE)
    # of several drugs in one sentence, the others may have been started too
    alone = all(
        sum(start <= mention.start < end for mention in note.drugs) == 1
        for start, end in note.sentences
        if started and start <= started[0].start < end
    )
    if len(started) == 1 and len(others) == 1 and alone and not is_changed_elsewhere(note, *started[0][:2]):
        yield quote(
            note,
            ("Which drug was started?", "What new drug was started?", "Which medication was added?"),
            (started[0].start, started[0].end),
            task,
            Subject(rf"{_START}|prescri|put on|\bnew\b|begin|began|given", not_mentioned("a drug that was started")),
        )


def _locations(note: ParsedNote, task: str) -> Iterator[Triple]:
    """Where a finding is that the note names once."""
    for match in _LOCATED.finditer(note.text):
        finding = match["finding"].lower()
        if len(re.findall(rf"\b{finding}", note.text, re.IGNORECASE)) != 1 or "\n" in match[0]:
            continue
        if (
            _ANOTHER_FINDING.search(match["where"])
            or _ANOTHER_THING.search(match["where"])
            or _IS_CLAUSE.search(match["where"])
            or _OF_WHAT.fullmatch(match["where"])
            or (match["where"].lower().startswith("to ") and _SPREADS.fullmatch(finding))
            or _IS_DENIED.search(note.text, *_clause(note, match.start()))
        ):
            continue
        present, past = ("are", "were") if finding in ("crackles", "rales") else ("is", "was")
        yield quote(
            note,
            (
                f"Where {present} the {finding}?",
                f"Where {past} the {finding}?",
                f"Where does the note locate the {finding}?",
            ),
            match.span("where"),
            task,
            Subject(rf"\b{finding[:7]}", not_mentioned(f"a {finding}")),
        )


def _clause(note: ParsedNote, position: int) -> tuple[int, int]:
    """From the start of the sentence, or of what stands behind its last semicolon, to a position."""
    start = next((start for start, end in note.sentences if start <= position < end), position)
    return max(start, note.text.rfind(";", start, position) + 1), position


def _side(note: ParsedNote, task: str) -> Iterator[Triple]:
    """The side of a note that speaks of one side alone."""
    sides = list(_SIDE.finditer(note.text))
    if len({match[0].lower() for match in sides}) != 1 or len(sides) < 2:
        return
    if _BY_CATHETER.search(note.text):
        return
    if re.search(r"\bboth\b|bilat|\b[LR]\b|[Rr]ight[- ]hand|[Ll]eft[- ]hand", note.text):
        return
    if all(_IS_PAST.search(note.text, max(0, side.start() - 60), side.start()) for side in sides):
        return
    diagnoses = [section for section in note.sections if section.name in _DIAGNOSED]
    if diagnoses and not any(part.start <= side.start() < part.end for side in sides for part in diagnoses):
        return
    yield quote(
        note,
        (
            "Which side is affected?",
            "Is it the left or the right side?",
            "Which side does the note speak of?",
            "On which side is the problem?",
        ),
        sides[0].span(),
        task,
        Subject(
            r"\b(?:left|right|both|bilat\w*|[lr]t?|unilateral|sided?|[rl](?:uq|lq|if|ul|ll|ml|ue|le|bbb|ca|sil|thr|"
            r"tkr)|"
            r"o[dsu]|re|le)\b",
            (*not_mentioned("a side"), *not_given("a side")),
        ),
    )
