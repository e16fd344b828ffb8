"""Identifiers that have a form of their own: dates, numbers, addresses, telephone numbers.

American forms, and those of Britain, Germany and Korea. Every repetition is bounded, so that the time is linear in the
length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers

from clinadapt.privacy.anchors import (
    DOMAIN,
    LINE_END,
    NEAR_NUMBER,
    NUMBER,
    STATE,
    STREET_NUMBER,
    Anchor,
    AnchorKinds,
    Anchors,
    first_words,
    heads,
)
from clinadapt.privacy.date_patterns import DATES, KOREAN_DATES
from clinadapt.privacy.features import tokens
from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import own_list

_LINK = r"[ \t]{0,3}(?i:(?:number|no|num|id|nr|nummer|code)\b\.?)?[ \t]{0,2}[#:=.…]{0,14}[ \t]{0,3}(?:(?:is|was|of) )?"
_CODE = (
    r"(?![A-Z]\d\d\.\d)(?:[A-Z0-9]{1,20}(?:[-/.][A-Z0-9]{1,14}){0,4}(?<=[A-Z0-9]))(?<!\d\dMG)"
    r"(?:(?<=\d{3})|(?<=\d{3}[-/.A-Z])|(?<=\d{2}[-/.][A-Z0-9])|(?<=\d{2}[-/.A-Z][A-Z0-9]))"
)
_LABELLED = [
    ("MRN", r"medical rec(?:ord)?s?|med\.? ?rec|mrn|mr|m\.r\.n\.|unit|chart|hosp(?:ital)?|patient id|pat\.? id|"
            r"patient identifier|patient|record|pid|krankenaktennummer|patientennummer|fallnummer|등록번호|차트번호|환자번호"),
    ("ACCOUNT", r"account|acct|encounter|visit|invoice|billing|bill|fin|csn|har|iban|konto"),
    ("PLAN", r"plan|member|policy|insurance|subscriber|group|medicare|medicaid|mbi|beneficiary|versicherten\w{0,12}|"
             r"krankenversicherung\w{0,8}|kvnr|보험증번호|authorization|auth"),
    ("SSN", r"social security|ssn|ss|soc\.? sec|last ?(?:four|4)(?: of (?:ssn|social))?|주민등록번호|rrn|"
            r"national insurance|ni|nino"),
    ("DEVICE", r"serial|s/n|sn|lot|lot/serial|device|udi|batch|imei"),
    ("VEHICLE", r"license plate|licence plate|registration|vin|kennzeichen|차량번호"),
    ("LICENSE", r"driver'?s? licen[sc]e|driving licen[sc]e|licen[sc]e|lic|dea|npi|gmc|nmc|upin|면허번호|lanr|bsnr"),
    ("OTHERID", r"accession|acc|case|job|specimen|requisition|req|order|confirmation|study|protocol|certificate|"
                r"document|doc|dictation|nhs|chi|h&c|passport|identification|id|reference|our ref|your ref|file|claim|"
                r"interpreter|employee|emp|band|prison|prisoner|inmate|booking|student|staff|badge|subject|participant|sample|barcode|ticket|voucher|serial|steuer-?id|"
                r"ausweis\w{0,8}|personalausweis\w{0,8}|sozialversicherung\w{0,10}|여권번호|ubrn|episode"),
]  # fmt: skip
_STREET = (
    r"(?:street|st|avenue|ave|av|road|rd|drive|dr|lane|ln|boulevard|blvd|court|ct|circle|cir|way|place|pl|terrace|ter|"
    r"parkway|pkwy|highway|hwy|trail|trl|square|sq|loop|close|crescent|gardens|grove|mews|row|hill|walk|pike|plaza|rise|"
    r"alley|path|run|ridge|point|view|green|gate|approach|chase|parade|quay|wharf|broadway|turnpike)"
)
_ABBREVIATIONS = (
    "AK|AL|AR|AZ|CA|CO|CT|DC|DE|FL|GA|HI|IA|ID|IL|IN|KS|KY|LA|MA|MD|ME|MI|MN|MO|MS|MT|NC|ND|NE|NH|NJ|NM|NV|NY|OH|OK|OR|PA|"
    "PR|RI|SC|SD|TN|TX|UT|VA|VT|WA|WI|WV|WY"
)
_STATE = f"(?:{_ABBREVIATIONS})"
STATE_NAME = (
    r"(?:alabama|alaska|arizona|arkansas|california|colorado|connecticut|delaware|florida|georgia|hawaii|idaho|illinois|"
    r"indiana|iowa|kansas|kentucky|louisiana|maine|maryland|massachusetts|michigan|minnesota|mississippi|missouri|montana|"
    r"nebraska|nevada|new (?:hampshire|jersey|mexico|york)|(?:north|south) (?:carolina|dakota)|ohio|oklahoma|oregon|"
    r"pennsylvania|rhode island|tennessee|texas|utah|vermont|(?:west )?virginia|washington|wisconsin|wyoming)"
)
_KOREAN_FAMILIES = "".join(own_list("names.yaml")["korean_family"].split()) + "선"
_KOREAN_ROLES = (
    "교수|간호사|의사|전공의|전문의|담당|담당의|주치의|집도의|수술의|보호자|배우자|남편|아내|부인|아들|딸|며느리|사위|손자|손녀|어머니|아버지|모친|부친|형|누나|언니|"
    "오빠|동생|남동생|여동생|조카|간병인|통역|서명|작성자|의뢰자|환자명|성명|이름|수신|발신"
)
_KOREAN_TOWNS = (
    "서울|부산|대구|인천|광주|대전|울산|세종|수원|용인|고양|성남|화성|부천|남양주|안산|안양|평택|시흥|파주|의정부|김포|광명|군포|하남|오산|이천|안성|구리|의왕|포천|"
    "양주|여주|동두천|과천|춘천|원주|강릉|동해|태백|속초|삼척|청주|충주|제천|천안|공주|보령|아산|서산|논산|계룡|당진|전주|군산|익산|정읍|남원|김제|목포|여수|순천|나주|"
    "광양|포항|경주|김천|안동|구미|영주|영천|상주|문경|경산|창원|진주|통영|사천|김해|밀양|거제|양산|제주|서귀포|마산|진해"
)
_DOMAINS = "com|org|net|edu|gov|info|io|health|care|de|kr|eu"
_UNIT = r"(?! ?(?:mg|mcg|ml|mL|cc|g|kg|units?|U|IU|mm|cm|Hz|kcal|calories|cells|copies|ng|pg|mEq|%|x)\b)"
_HOUSE = (
    r"(?<![\w,])(?<!\d\.)\d{1,6}[A-Za-z]?,? (?:(?:[NSEW]|NE|NW|SE|SW|North|South|East|West|NORTH|SOUTH|EAST|WEST)\.? )?"
)
_FLAT = r"(?:,? (?:#|(?i:apt|apartment|suite|unit|ste|flat|floor|fl|rm|room|bldg|lot)\.? ?#?) ?\w{1,6}\b)?"
_DWELLING = "flat|apt|apartment|suite"
_CALL = (
    r"(?:phone|ph|tel|telephone|telefon|mobile|mob|cell|cellphone|home|work|office|pager|pgr|beeper|bleep|ext|extension|"
    r"contact|call|called|call back|callback|reached|text|voicemail|direct|dial|hotline|전화|연락처|휴대폰|handy)"
)
_AGE_WORD = r"(?:ninety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?|(?:a |one )?hundred(?:(?: and)?[- ](?:one|two|three|four|five|six|seven|eight|nine|ten))?|neunzig|nineties)"
_PERSON = "he|she|patient|pt|mother|father|mom|dad|mum|wife|husband|aunt|uncle|grandmother|grandfather|who"
_OLD = r"(?:9\d|1[0-2]\d)"

# (type, expression); the group `id` is the identifier, the whole match where there is none
_EXPRESSIONS: list[tuple[str, Anchor, str]] = [
    ("SSN", NUMBER, r"(?<![\d-])\d{3}([- .])\d{2}\1\d{4}(?!\d)"),
    ("SSN", NUMBER, r"(?<!\d)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]) ?- ?[0-9][\d*]{6}(?!\d)"),
    ("SSN", NUMBER, r"(?<![\d-])\d{3}-\d{2}-(?:[xX]{4}|\*{4})"),
    ("SSN", NEAR_NUMBER, r"(?:x{3}|X{3}|\*{3})-(?:x{2}|X{2}|\*{2})-(?P<id>\d{4})"),
    ("SSN", NEAR_NUMBER, r"\b[A-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-D]\b"),
    ("OTHERID", NUMBER, r"(?<![\d.,-])\d{3}[ -]\d{3}[ -]\d{4}(?!\d)"),
    ("OTHERID", NUMBER, r"(?<![\d.,-])\d{2} \d{3} \d{3} \d{3}(?!\d)"),
    ("OTHERID", NUMBER, r"(?<![\d.])\d{2} ?\d{6} ?[A-Z] ?\d{3}(?!\d)"),
    ("ACCOUNT", NEAR_NUMBER, r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ("URL", heads("http|ftp|sftp|www"), r"(?i:\b(?:https?|ftp|sftp)://|\bwww\.)[^\s<>\"')\]]{1,200}[^\s<>\"')\].,;:]"),
    ("URL", DOMAIN, r"(?i:\b[a-z0-9-]{2,40}(?:\.[a-z0-9-]{2,40}){0,3}\.(?:" + _DOMAINS + r"|co\.uk|nhs\.uk)\b(?:/[^\s<>\"')\]]{0,200})?)(?<![.,;])"),
    ("IP", NUMBER, r"(?<![\d.])(?=\d{1,3}\.\d{1,3}\.\d)(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![\d]|\.\d)"),
    ("IP", NEAR_NUMBER, r"\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b"),
    ("IP", NEAR_NUMBER, r"\b(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\b"),
    ("FAX", heads("fax"), r"(?i:\bfax(?: number| no\.?)?[:#. ]{0,10})(?P<id>\(?\+?\d(?:[\d() /-]|\.(?! )){5,20}\d)"),
    ("PHONE", NUMBER, r"(?<![\w-])(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3} ?[ ./-] ?)\d{3} ?[ .-] ?\d{4}(?: ?(?i:x|ext\.?|extension) ?\d{1,6})?(?!\d)"),
    ("PHONE", NUMBER, r"(?<![\w-])(?:\+|00)\d{1,3}[ .-]?(?:\(0\) ?)?\(?\d{1,5}\)?(?:[ ./-]{0,3}\d{2,8}){1,5}(?!\d)"),
    ("PHONE", NUMBER, rf"(?<![\w.,-])\d{{3}}[-.]\d{{4}}(?![\w/-]|\.\d){_UNIT}"),
    ("PHONE", heads(_CALL), rf"(?<![^\W_])(?=\D{{1,45}}\d)(?i:{_CALL}s?\b(?: number| no)?(?: is| at| on)?[ .:#…]{{0,14}})(?!\d{{1,2}}\.\d{{1,3}}(?![\d.-])|\d{{2,3}}/\d{{2,3}}(?![\d/]))(?P<id>\(?\+?\d(?:[\d() /-]|\.(?! )){{2,20}}\d(?: ?(?i:x|ext\.?) ?\d{{1,6}})?)(?! ?(?:years?|days?|mg|am|pm|hours?|times|weeks?)\b)"),
    ("PHONE", NEAR_NUMBER, r"(?<![\w.])(?i:x|ext\.?) ?\d{4,5}\b"),
    ("VEHICLE", NEAR_NUMBER, r"\b(?=[A-HJ-NPR-Z0-9]{0,16}\d)[A-HJ-NPR-Z0-9]{17}\b"),
    ("VEHICLE", heads("plate|tag|reg|kennzeichen"), r"(?i:\b(?:plates?|tags?|registration|reg|kennzeichen)\b(?: number| no)?\.?(?: is| was| of (?:the )?(?:\w{2,12} )?(?:car|vehicle|truck|van))?[:# ]{1,3})(?P<id>(?i:[A-ZÄÖÜ]{1,4}(?:[ -][A-Z]{1,2})?[ -]?\d{1,5}[A-Z]{0,3}|\d{1,4}[ -]?[A-Z가-힣]{1,4}(?:[ -]?\d{1,4})?))\b"),
    ("VEHICLE", NEAR_NUMBER, r"\b[A-Z]{2}\d{2} ?[A-Z]{3}\b(?! ?\d)"),
    ("VEHICLE", NEAR_NUMBER, r"(?<![\w-])(?!CK-MB|PHQ-|GAD-|CAM-|MMS-)[A-ZÄÖÜ]{1,3}-[A-Z]{1,2} \d{2,4}[EH]?\b"),
    ("INITIALS", LINE_END, r"(?m)(?<![\w/])[^\W\d_a-z]{2,3}[:/][a-z]{2,3}(?=[ \t]{0,3}$)"),
    *(("DATE", anchor, date) for anchor, date in DATES),
    ("STREET", NUMBER, rf"{_HOUSE}(?:(?:[A-Z][\w'’-]{{0,30}}|[A-Z][\w.]{{0,4}}|\d{{1,3}}(?i:st|nd|rd|th)) ){{1,4}}(?<! WITH )(?<! AND )(?<! BY )(?<! TO )(?<! FROM )(?i:{_STREET})\b\.?{_FLAT}"),
    ("STREET", NUMBER, rf"{_HOUSE}(?:Broadway|Avenue [A-Z]|Highway \d{{1,3}}|(?:County|State) (?:Road|Route) \d{{1,4}}|Route \d{{1,4}})\b{_FLAT}"),
    ("STREET", heads(_DWELLING), rf"(?i:\b(?:{_DWELLING})\b\.? ?#?)\w{{1,4}}(?=,? ?\d{{1,5}} [A-Z])"),
    ("STREET", heads("p|po|pobox"), r"(?i:\bP\.? ?O\.? ?Box \d{1,6}\b)"),
    ("STREET", STREET_NUMBER, r"(?<![^\W\d_])[A-ZÄÖÜ][\wäöüß-]{2,30}(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|damm|ufer) \d{1,4}(?:[-–]\d{1,4})? ?[a-z]?\b"),
    ("STREET", STREET_NUMBER, r"(?<![^\W\d_])(?:[A-ZÄÖÜ]\w{1,30}[- ]){1,3}(?:Straße|Strasse|Str\.|Weg|Platz|Allee) \d{1,4}(?:[-–]\d{1,4})? ?[a-z]?\b"),
    ("CITY", STATE, rf"\b(?P<id>(?!(?:Dr|Mr|Mrs|Ms|MD|RN)\b)[A-Z][A-Za-z'’.-]{{1,25}}(?: [A-Z][A-Za-z'’.-]{{1,25}}){{0,2}})(?<!\.),? {_STATE}(?: \d{{5}}|[.,;)\n]|$)"),
    ("CITY", STATE, rf"\b(?P<id>[A-Z][A-Za-z'’.-]{{1,25}}(?: [A-Z][A-Za-z'’.-]{{1,25}}){{0,2}}),? (?i:{STATE_NAME})\b"),
    ("PLAN", heads("medicare|medicaid|policy|member|insurance|health fund"), r"(?i:\b(?:medicare|medicaid|policy|member|insurance|health fund)\b)" + _LINK + r"(?P<id>\d{2,6}(?: \d{1,6}){1,4})(?![\d%]|\.\d| ?(?:mg|ml|units))"),
    ("ZIP", heads("zip|postal|post"), r"(?i:\b(?:zip|postal|post)(?: ?code)?[: ]{1,3})(?P<id>\d{5}(?:-\d{4})?)\b"),
    ("ZIP", NUMBER, r"(?<![\d-])\d{5}-\d{4}(?![\d-])"),
    ("ZIP", NEAR_NUMBER, r"\b[ABCEGHJ-NPRSTVXY]\d[A-Z] \d[A-Z]\d\b"),
    ("ZIP", NEAR_NUMBER, r"\b(?:GIR ?0AA|[A-PR-UWYZ][A-HK-Y]?\d[A-HJKMNPR-Y\d]? ?\d[ABD-HJLNP-UW-Z]{2})\b"),
    ("AGE90", NUMBER, rf"(?<![\d./:-])(?P<id>{_OLD})(?= ?-? ?(?i:y[-/.]?o\b|y\.o\.|yo|y\b|yrs?\b|years?\b(?! ago)|year-old|jahre|jährig|세\b|세[^상]|anos|years' old))"),
    ("AGE90", NUMBER, rf"(?<![\d./:-])(?P<id>{_OLD})(?=(?:[ -]?(?:M|F|male|female|woman|man|lady|gentleman))\b)"),
    ("AGE90", NEAR_NUMBER, rf"(?<![^\W_])[MF]/(?P<id>{_OLD})(?![\d/%]|\.\d)"),
    ("AGE90", heads("age|alter|turn|나이|연령"), rf"(?i:\b(?:aged?|age of|age is|age at \w{{2,14}}|alter|turned|turning|turns|나이|연령)[: =.]{{1,12}}(?:an? )?)(?P<id>{_OLD})(?![\d/%]|\.\d)"),
    ("AGE90", heads(_PERSON), rf"(?i:\b(?:{_PERSON})(?:'s| is| was|,| will be| would be)?(?: now| just| almost| nearly| already| turned){{0,2}} (?:an? )?)(?P<id>{_OLD})(?=[;)]|,(?! \d)|\.(?!\d)|$|\n| (?i:now|today|and|but|or|yet|so|lives|next|this|soon|years|with|who)\b)"),
    ("AGE90", NUMBER, rf"(?<![\d./:-])(?P<id>{_OLD}(?:st|nd|rd|th))(?= (?:birthday|year of life))"),
    ("AGE90", heads(_AGE_WORD), rf"(?i:\b(?P<id>{_AGE_WORD})(?=[- ](?:years?|y/?o|yrs?)\b))"),
    ("AGE90", heads("aged|turn|in|is|now|almost|nearly"), r"(?i:\b(?:aged?|age of|turned|turning|turns|in (?:his|her|their)|is|now|almost|nearly)(?: early| mid| late)? (?P<id>ninet(?:y|ies)(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?|90s))\b(?! (?:percent|degrees|minutes|mg|days|%))"),
    ("OTHERID", NEAR_NUMBER, r"(?<![\w.,/-])(?![A-TV-Z]\d[\dA-Z]\.|BP\d|HR\d)(?=(?:[A-Z\-/]{0,8}\d){5})[A-Z0-9]{1,20}(?:[-/][A-Z0-9]{1,14}){0,4}(?![\w-]|,\d| ?(?:mg|mcg|mL|ml|cm|mm)\b)"),
]  # fmt: skip
# By an expression without which none of these can match
_GATED: dict[str, list[tuple[str, str]]] = {
    r"@|\[at\]": [
        ("EMAIL", r"[\w.%+-]{1,64} ?(?:@|\[at\]) ?[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}"),
    ],
    "[가-힣]": [
        *(("DATE", date) for date in KOREAN_DATES),
        ("NAME", rf"(?:환자|보호자|담당의|주치의|환자명|성명|이름)[:： ]{{1,3}}(?P<id>[{_KOREAN_FAMILIES}][가-힣]{{2}})(?![가-힣])"),
        ("NAME", rf"(?:{_KOREAN_ROLES})(?:은|는|이|가|인)? ?[(:：]? ?(?P<id>[{_KOREAN_FAMILIES}][가-힣]{{2}})(?![가-힣])(?! ?(?:시행|예정|상태|필요|확인|가능|요함)\b)"),
        ("NAME", rf"(?<![가-힣])(?P<id>[{_KOREAN_FAMILIES}][가-힣]{{1,2}}) ?(?:님|씨|교수|선생님|간호사|원장|과장|전공의|전문의|수간호사|약사|치료사|복지사)(?:이|가|은|는|께|에게|께서|과|와|의)?(?![가-힣])"),
        ("STREET", r"(?<![가-힣\d])[가-힣]{1,9}(?:대로|로|길)(?: ?\d{1,3}(?:번)?길)? ?\d{1,4}(?:-\d{1,3})?(?![\d]|\.\d|-\d| ?(?:mg|ml|cc|mcg|g|kg|%|회|일|개|시간|주|분|정|명|차|도|세)(?![a-z]))"),
        ("CITY", rf"(?<![가-힣])(?:{_KOREAN_TOWNS})(?:특별시|광역시|특별자치시|시)?(?=(?:에서|에|으로|로|의|까지|소재|거주)?(?![가-힣]))"),
        ("STREET", r"(?:[가-힣]{2,7}(?:특별자치시|특별시|광역시|특별자치도|도|시) )?(?:[가-힣]{1,6}(?:시|군|구) ){1,2}(?:[가-힣\d]{1,12}(?:읍|면|동|로|길|가)(?: ?\d{1,4}(?:-\d{1,4})?)?(?:번지|번길 ?\d{1,4})?)?(?:,? ?\d{1,4}동)?(?: ?\d{1,4}호)?"),
    ],
}  # fmt: skip
_LABELLED_CODE = re.compile(
    rf"(?<![^\W_])(?=\D{{1,60}}\d)(?i:{'|'.join(f'(?P<{kind}>{words})' for kind, words in _LABELLED)}){_LINK}"
    rf"(?P<id>{_CODE})(?![a-z]{{2}})"
)
_LABELS = heads("|".join(words for _, words in _LABELLED))
_PATTERNS = [(kind, anchor, re.compile(expression)) for kind, anchor, expression in _EXPRESSIONS]
_GATED_PATTERNS = [
    (re.compile(gate), [(kind, re.compile(expression)) for kind, expression in expressions])
    for gate, expressions in _GATED.items()
]
ANCHORS = {_LABELS} | {anchor for _, anchor, _ in _PATTERNS}
STATES = {*_ABBREVIATIONS.split("|"), *first_words(STATE_NAME)}
DOMAINS = {*_DOMAINS.split("|"), "co", "nhs"}
_KINDS = AnchorKinds(ANCHORS, STATES, DOMAINS)
_STREET_WORD = re.compile(
    rf"{_STREET}|[nsew]|north|south|east|west|apt|apartment|suite|unit|ste|flat|floor|fl|rm|room|bldg|lot|p|o|box|county|"
    r"state|route|stra(?:ss|ß)e|weg|platz|allee"
)
_ZIP = re.compile(r"(?<![\w.,-])\d{5}(?:-\d{4})?(?![\w-]|,\d)")
_BEFORE_ZIP = re.compile(rf"(?:\b{_STATE}|\b(?i:{STATE_NAME})),? {{0,2}}$")
_CANDIDATE_PHONE = re.compile(r"(?<![\w.,/-])\(?0\d[\d() ./-]{6,18}\d(?!\w|[.,]\d)")
_HOURS = re.compile(r"(?:[01]\d|2[0-3])[0-5]\d-(?:[01]\d|2[0-4])[0-5]\d")  # of a shift
_BARE_NUMBER = re.compile(r"\d{1,6}(?:[-/]\d{1,6}){0,3}")


def is_street_word(word: str) -> bool:
    """Whether a lower-case word says that a name is one of a street, or a part of its address."""
    return _STREET_WORD.fullmatch(word) is not None


def pattern_spans(text: str, anchors: Anchors | None = None) -> Iterator[Span]:
    """Identifiers that have a form of their own; they may overlap.

    Args:
        text: a note.
        anchors: of it, where they are at hand.
    """
    anchors = anchors or Anchors(text, tokens(text), _KINDS)
    for kind, matches in _matches(text, anchors):
        for match in matches:
            start, end = match.span("id" if "id" in match.re.groupindex else 0)
            if end - start > 1 and not (match.re is _PATTERNS[-1][2] and _is_plain_number(match[0])):
                yield Span(start, end, kind)
    for match in anchors.matches(_LABELS, _LABELLED_CODE):
        kind = next(kind for kind, _ in _LABELLED if match[kind])
        yield Span(*match.span("id"), kind)
    for match in anchors.matches(NUMBER, _ZIP):
        if _BEFORE_ZIP.search(text, max(0, match.start() - 20), match.start()):
            yield Span(*match.span(), "ZIP")
    for match in anchors.matches(NUMBER, _CANDIDATE_PHONE):
        if _is_phone_number(match[0]):
            yield Span(*match.span(), "PHONE")


def _matches(text: str, anchors: Anchors) -> Iterator[tuple[str, Iterator[re.Match[str]]]]:
    """The type and the matches of each expression."""
    for kind, anchor, pattern in _PATTERNS:
        yield kind, anchors.matches(anchor, pattern)
    for gate, patterns in _GATED_PATTERNS:
        if gate.search(text):
            yield from ((kind, pattern.finditer(text)) for kind, pattern in patterns)


def _is_plain_number(code: str) -> bool:
    """Whether a number is a count, a range, a dose or the code of a procedure rather than one that names somebody."""
    if not _BARE_NUMBER.fullmatch(code):
        return False
    if _HOURS.fullmatch(code):
        return True
    groups = re.split("[-/]", code)
    if len(groups) == 1 or re.fullmatch(r"\d{5}-\d{1,2}", code):
        return True
    if len(groups) == 3 and min(map(len, groups)) == 1 and max(map(len, groups)) < 4:  # `100-0-0`, of a day's doses
        return True
    return len(groups) != 3 and all(len(group) <= 4 and not group.startswith("0") for group in groups)


def _is_phone_number(candidate: str) -> bool:
    """Whether Britain, Germany or Korea assigns the number, written with its leading 0."""
    if _HOURS.fullmatch(candidate):
        return False
    for region in ("GB", "DE", "KR"):
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(candidate, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
