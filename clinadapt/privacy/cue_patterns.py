"""Identifiers that the words before them tell, or a form of charts: names, streets, numbers, ages, rarer dates. Every
repetition is bounded.

They are found beside those of patterns.py, which the tagger sees by their type, and of which its training depends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from clinadapt.privacy.anchors import NEAR_NUMBER, NUMBER, Anchor, AnchorKinds, Anchors, heads
from clinadapt.privacy.date_form_patterns import DATE_FORMS
from clinadapt.privacy.features import Token
from clinadapt.privacy.patterns import ANCHORS, DOMAINS, STATES
from clinadapt.privacy.spans import Span

_NAME_WORD = r"(?!(?i:first|last|given|middle|family|forenames?|surname|title|hosp|ward|dob|mrn|sex|age|nhs|date|address|tel|phone|and|is)\b)[^\W\d_a-z][^\W\d_]{1,24}(?:['’-][^\W\d_]{1,24}){0,2}"
_NAME_LABEL = r"(?:legal|maiden|full|preferred|family|given|first|last|middle) name|surname|forenames?"
_CALLED = r"goes by|prefers to be called|likes to be called|wishes to be called|nickname(?: is)?|nicknamed"
_OLD = r"(?:9\d|1[0-2]\d)"
_OLD_WORD = r"(?:ninety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?|(?:a |one )?hundred(?: and)?(?:[- ](?:one|two|three|four|five|six|seven|eight|nine|ten))?)"
_NO_AGE = r"(?![\d%/:]|\.\d| ?(?i:percent|degrees|mg|ml|beats|cc|pounds|lbs|kg|am|pm|hours|hrs|days|minutes|mm|cm|miles|feet|meters|times)\b)"
_DIED = r"died|dead|deceased|passed|lived|death"
_PERSON = "he|she|patient|pt|mother|father|mom|dad|mum|gran|grandma|grandpa|wife|husband|aunt|uncle|who"
_INSURER = r"aetna|cigna|humana|bcbs|blue ?cross|anthem|molina|tricare|medicaid|medicare|uhc|unitedhealthcare|kaiser|bupa|aok|barmer"
_DIGIT = r"(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|double)"
_STREET_WORD = r"[A-Z][a-zà-ÿ]{2,20}"
_TENS = "eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_REGISTER = (
    "gdc|hcpc|gphc|goc|nmc|gmc|ahpra|mcrn|imc|npi|dea|osc|gosc|hpc|nmbi|coru"  # where professionals are registered
)
_THING = "bag|seal|kit|bottle|slide|incident|datix|complaint|property|receipt|token|exhibit|cassette|consignment|parcel|permit|visa|passport"
_LONG = r"(?=(?:[A-Z ./-]{0,6}\d){4})"  # at least four figures
_DWELLS = "lives?|lived|living|resides?|staying|stays|moved|address|home|attended|called|visit|visited|found|neighbou?r|neighbours"
_UNIT = r" ?(?i:mg|mcg|ml|l|g|kg|mm|cm|units?|iu|tabs?|days?|weeks?|hrs?|hours|min|am|pm|patients|cases|people|of|x|times)\b"

_EXPRESSIONS: list[tuple[str, Anchor, str]] = [
    ("NAME", heads("legal|maiden|full|preferred|family|given|first|last|middle|surname|forename"), rf"(?i:\b(?:{_NAME_LABEL})[:=]?[ \t]{{1,3}}(?:is |was )?)(?P<id>{_NAME_WORD}(?: {_NAME_WORD}){{0,3}})(?![^\W_])"),
    ("NAME", heads("goes|prefers|likes|wishes|nickname"), r"(?i:\b(?:" + _CALLED + r")[: ]{1,3})[\"“'‘]?(?P<id>[A-ZÀ-Þ][\w’-]{1,20})"),
    ("NAME", heads("regards|sincerely|faithfully|wishes|grüße|grüßen"), r"(?i:\b(?:regards|sincerely|faithfully|wishes|grüßen?)\b[,.]?[ \n]{1,3})(?!(?i:dictated|electronically|signed|consultant|not|for|the|cc|gp|department|typed)\b)(?P<id>[A-ZÀ-Þ][\w'’-]{1,20}(?: [A-ZÀ-Þ][\w'’-]{0,20}\.?){0,3})"),
    ("AGE90", heads(_DIED), rf"(?i:\b(?:{_DIED})(?: away)? (?:at|to|to be|until) (?:age |the age of |about |over )?)(?P<id>{_OLD}|(?i:{_OLD_WORD}))\b{_NO_AGE}"),
    ("AGE90", heads(_PERSON), rf"(?i:\b(?:{_PERSON})(?:['’]s| is| was| just turned| turned| turns)(?: now| almost| nearly| already)? )(?P<id>(?i:{_OLD_WORD}))\b{_NO_AGE}"),
    ("SSN", heads("ssn|social"), r"(?i:\b(?:ssn|social)\b[^.\n\d]{0,30}\b(?:ending|ends|last four|last 4)(?: in| with|:)? ?)(?P<id>\d{4})(?!\d)"),
    ("SSN", NUMBER, r"(?<![\d.])[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3}(?: ?\d\d)?(?!\d)"),
    ("LICENSE", heads("lic|licence|license"), r"(?i:\blic(?:en[cs]e)?\b\.?(?: no\.?| number)?[:# ]{1,3})(?P<id>[A-Z]{2,3} \d[\dA-Z]{4,12})\b"),
    ("DEVICE", heads("s|sn|serial"), r"(?i:\b(?:s/n|sn|serial(?: no\.?| number)?)[:# ]{1,3})(?P<id>(?=[A-Z0-9 -]{0,14}\d)[A-Z0-9]{1,10}-[A-Z0-9]{1,10}(?: [A-Z0-9]*\d[A-Z0-9]{2,10})?)\b"),
    ("PLAN", heads(_INSURER), rf"(?i:\b(?:{_INSURER})(?: (?:grp|group|id|no|number|policy|member|plan))?[:#. ]{{1,3}})(?P<id>(?=[A-Z0-9 -]{{0,8}}\d{{3}})[A-Z]{{0,3}} ?\d[\dA-Z]{{2,12}}(?:[ -]\d{{2,6}}){{0,3}})(?![\d.%]| ?(?:mg|ml)\b)"),
    ("PLAN", heads("grp|group|subscriber|member|id"), r"(?i:\b(?:grp|group|subscriber|member(?: id)?|id)[:# ]{1,3})(?P<id>(?:[A-Z]{3} )?\d{3} \d{3} \d{2,4}|\d{4,6}-\d{2,3})(?![\d-])"),
    ("PHONE", heads(_DIGIT), rf"(?i:\b(?:{_DIGIT}[ ,.-]{{1,3}}){{6,11}}{_DIGIT}\b)"),
    ("PHONE", heads(_DIGIT), rf"(?i:\b(?:{_DIGIT}[ ,.-]{{1,3}}){{3,8}}\d{{3,4}}(?:[ ,.-]{{1,3}}\d{{3,4}}){{0,2}})(?!\d)"),
    ("STREET", NUMBER, rf"(?<![\w,./-])\d{{1,5}}[A-Za-z]? (?:[NSEW]\.? )?{_STREET_WORD}(?: [A-Z][a-zà-ÿ]{{1,20}}){{0,3}} (?:Cl|Bl|Cres|Gdns|Wy|Xing|Mnr|Hts|Bvd|Blv|Ave|Av|St|Rd)\b\.?(?: \d{{1,2}}(?= #))?(?:,? #\d{{1,3}}(?:-\d{{1,4}})?)?"),
    ("STREET", NUMBER, rf"(?<![\w,./-])\d{{1,5}} [NSEW]\.? {_STREET_WORD}(?: {_STREET_WORD})?,? (?:(?i:apt|apartment|unit|suite|ste|flat|fl)\.? ?#?|#)\w{{1,5}}\b"),
    ("STREET", heads("am|an|auf|in|unter|zum|zur"), r"\b(?:Am|An der|Auf de[mr]|In der|Unter den|Zum|Zur) (?:[A-ZÄÖÜ][a-zäöüß]{2,20} ){1,2}\d{1,3} ?[a-z]?\b(?! ?(?i:mg|ml|uhr|tage|mal)\b)"),
    ("STREET", NEAR_NUMBER, r"\b[A-Z][A-Za-z]{1,15} (?:Rd|Road|Route|Rte) \d{1,4}\b(?!\.\d| ?(?:mg|ml)\b)"),
    ("STREET", heads("corner|intersection|junction"), r"(?i:\b(?:corner|intersection|junction) of )(?P<id>\w{1,20}(?: \w{1,20})? (?:and|&) [A-Z0-9]\w{0,20})"),
    ("STREET", heads("rr|rural"), r"\b(?:RR|R\.R\.|Rural Route) ?\d{1,3},? Box \d{1,5}\b"),
    ("STREET", heads("flat|apt|apartment|unit"), r"(?i:\b(?:flat|apt|apartment|unit)\b\.? ?)\d{1,3}/\d{1,3}(?=,? ?\d{1,5} [A-Z])"),
    ("STREET", heads("one|two|three|four|five|six|seven|eight|nine|ten"), rf"\b(?:One|Two|Three|Four|Five|Six|Seven|Eight|Nine|Ten) (?:{_STREET_WORD} ){{1,3}}(?:Street|Avenue|Road|Drive|Lane|Place|Plaza|Square|Court|Way|Boulevard|Parkway)\b(?:,? (?:Suite|Ste|Floor|Unit)\.? \w{{1,5}})?"),
    ("STREET", heads(_DWELLS), rf"(?i:\b(?:{_DWELLS})\b[^.\n\d]{{0,14}}? (?:at|to) (?:no\.? ?)?)(?P<id>\d{{1,4}}[a-z]?,? {_STREET_WORD}(?: {_STREET_WORD}){{0,2}})(?!{_UNIT})"),
    ("STREET", heads(_DWELLS), rf"(?i:\b(?:{_DWELLS})\b[^.\n\d]{{0,14}}? (?:at|in) )(?P<id>(?i:no\.? ?)\d{{1,4}}[a-z]?)\b"),
    ("STREET", heads("lot|plot|trailer|pitch|space"), rf"\b(?:Lot|Plot|Trailer|Pitch|Space) \d{{1,4}}[A-Z]?,? {_STREET_WORD}(?: {_STREET_WORD}){{1,2}}"),
    ("STREET", heads("pharmacy|house|flat|apartment|shop|store|bar|cafe"), rf"(?i:\b(?:pharmacy|house|flat|apartment|shop|store|bar|cafe) on )(?!(?i:mon|tues|wednes|thurs|fri|satur|sun)day|(?i:january|february|march|april|may|june|july|august|september|october|november|december|christmas|easter)\b)(?P<id>{_STREET_WORD})(?=[.,;)\n]|$)"),
    ("LICENSE", heads("lic|licence|license"), r"(?i:\blic(?:en[cs]e)?\b\.?(?: no\.?| number)?[:# ]{1,3})(?P<id>[A-Z]{0,2}\d{2,4}(?:[ -]\d{2,4}){1,4})(?![\w%]|\.\d)"),
    ("MRN", heads("emis|systmone|hn|pas|rio|rxr|epic|cerner|ehr|emr"), r"\b(?:EMIS|SystmOne|SYSTMONE|HN|PAS|RiO|RIO|RXR|Epic|Cerner|EHR|EMR)(?i: no\.?| number| id)?[:# ]{1,3}(?P<id>[A-Z]{0,2}\d{4,10})(?![\w%]|[.,]\d)" + f"(?!{_UNIT})"),
    ("HOSPITAL", heads("queen|king|princess|prince|lady|royal"), r"\b(?:Queen|King|Princess|Prince|Lady|Royal|QUEEN|KING|PRINCESS|ROYAL) [A-ZÀ-Þ][\wà-ÿ]{2,15}(?:['’][sS]|['’])(?![\w])"),
    ("STREET", heads("m|a"), r"\b[MA]\d{1,3},? (?:J|[Jj]unction )\d{1,2}\b"),
    ("OTHERID", NEAR_NUMBER, r"\b[A-Z]{1,3}\d{4,8}[A-Z]{1,3}\b(?<!MG)(?<!ML)"),
    ("OTHERID", NEAR_NUMBER, r"\b[A-Z]{2,4}_\d{6,8}(?:_\d{2,6})?(?!\w)"),
    ("OTHERID", NUMBER, r"(?m)^\d{4,9}(?=,[A-ZÀ-Þ][a-zà-ÿ])"),
    ("MRN", heads("mrn|acct|account|student|member|patient|employee|username|login"), r"(?i:\b(?:mrn|acct|account|(?:student|member|patient|employee) id|username|login)[:# ]{1,3})(?P<id>(?=[\w-]{0,14}\d{3})[a-z]{1,8}-?\d{3,10})\b"),
    ("PLAN", heads("ins|insurance|card|policy|member"), r"(?i:\b(?:ins|insurance|card|policy|member)\b[:# ]{1,3})(?P<id>[A-Z][A-Z0-9]{0,3}(?: \d{2,6}){2,5})(?![\d%/]|\.\d)"),
    ("PHONE", NUMBER, r"(?<![\w.,/-])[6-9]\d{4} \d{5}(?!\d|[.,]\d)"),
    ("NAME", heads("kim|lee|park|choi|jung|jeong|kang|cho|yoon|jang|lim|han|oh|seo|shin|kwon|hwang|ahn|song|bae|baek|heo|noh|moon|yang|son|ryu|hong|yoo|nam"), r"\b(?:Kim|Lee|Park|Choi|Jung|Jeong|Kang|Cho|Yoon|Jang|Lim|Han|Oh|Seo|Shin|Kwon|Hwang|Ahn|Song|Bae|Baek|Heo|Noh|Moon|Yang|Son|Ryu|Hong|Yoo|Nam) [A-Z][a-z]{1,5}-[A-Za-z][a-z]{1,5}\b"),
    ("STREET", NUMBER, r"(?<![\w,./-])\d{1,5} [A-Z][a-z]{2,15}-(?:ro|gil|daero)\b(?: ?\d{1,3}(?:-gil)?(?: ?\d{1,4})?)?"),
    ("STREET", heads("hwy|highway|route|rte"), r"(?i:\b(?:hwy|highway|route|rte))\.? ?\d{1,3}(?: (?:&|and|at|near) [A-Z]\w{2,20}(?: (?:Rd|St|Ave|Road|Street|Avenue|Blvd|Ln|Dr)\b\.?)?)?"),
    ("CITY", heads("co|county"), r"\b(?:Co\.?|County) (?P<id>Antrim|Armagh|Carlow|Cavan|Clare|Cork|Donegal|Down|Durham|Dublin|Fermanagh|Galway|Kerry|Kildare|Kilkenny|Laois|Leitrim|Limerick|Londonderry|Derry|Longford|Louth|Mayo|Meath|Monaghan|Offaly|Roscommon|Sligo|Tipperary|Tyrone|Waterford|Westmeath|Wexford|Wicklow)\b"),
    ("HOSPITAL", heads("at|from|to"), r"(?i:\b(?:at|from|to)) (?P<id>(?:[A-ZÀ-Þ][a-zà-ÿ]{2,15} ){0,2}[A-ZÀ-Þ][a-zà-ÿ]{2,15}['’]s)(?=[,.;)\n]|$)"),
    ("OTHERID", heads("ref|reference"), r"(?i:\bref(?:erence)?\b\.?(?: no\.?| number)?[:# ]{1,3})(?P<id>(?=[A-Za-z/-]{0,16}\d\d)[A-Za-z0-9]{1,10}(?:[/-][A-Za-z0-9]{1,12}){1,4})(?![\w/-])"),
    ("OTHERID", heads("file|claim|case|ref|reference|no|number|card|badge|permit|docket|book"), r"(?i:\b(?:file|claim|case|ref(?:erence)?|no|number|card|badge|permit|docket|book)\b\.?(?: no\b\.?)?[:# ]{1,3})(?P<id>(?:[A-Z]{1,3} )?\d{2,4}(?: \d{3,4}){1,3}|[A-Z]{1,3} \d{4,8})(?![\w%/]|\.\d| ?(?:mg|ml|patients|cases|people)\b)"),
    ("OTHERID", heads("keysafe|key|door|gate|entry|alarm|keypad|passcode|locker|pin"), r"(?i:\b(?:key ?safe|keypad|passcode|pin|(?:door|gate|entry|alarm|key|locker)(?: code| pin| no\.?))(?: is| code)?[:# ]{1,3})(?P<id>[A-Z]?\d{3,6}[A-Z]?#?)(?![\w%]|\.\d| ?(?:mg|ml|am|pm)\b)"),
    ("OTHERID", NUMBER, r"(?<=[ (]#)\d{4,6}(?![\w,.-]\d|\w| ?(?:tabs?|caps?|tablets|capsules)\b)"),
    ("MRN", heads("hosp|hospital|unit|mrn|chart|hx|record"), r"(?i:\b(?:hosp(?:ital)?|unit|mrn|chart|hx|record)\b\.?(?: no\b\.?| number)?[ #:.…]{1,20})(?P<id>(?:[A-Z]{1,3} )?\d{2,4}(?: \d{2,4}){1,3}(?: [A-Z]{1,2}\b)?)(?![\d%/]|\.\d| ?(?:mg|ml|days|hrs|beds)\b)"),
    ("DEVICE", heads("s|sn|serial|ser"), r"(?i:\b(?:s/n|sn|ser(?:ial)?(?: no\.?| number)?)[:# ]{1,3})(?P<id>\d{3,8} \d{3,8})(?!\d)"),
    ("VEHICLE", heads("plate|tag|reg|pov|car|truck|van"), r"(?i:\b(?:plate|tag|reg|pov|car|truck|van)\b,?[:# ]{1,3})(?:[A-Z]{2} )?(?P<id>[A-Z]{1,3}[ -]?\d{2,4}(?:[ -]\d{2,4})?)(?![\w%]|\.\d)"),
    ("VEHICLE", heads("plate|tag"), r"(?i:\b(?:license |number )?(?:plate|tag)[:# ]{1,3})(?P<id>[A-Z]{2} [A-Z]{2,3}[ -]?\d{3,4})\b"),
    ("URL", NEAR_NUMBER, r"(?<![\w.@/])[a-z][a-z0-9-]{2,40}(?:\.[a-z0-9-]{2,20}){1,3}/(?=[^\s/]{0,40}(?:/[^\s]{0,40})?\d\d)[^\s<>\"')\]]{2,120}(?<![.,;])"),
    ("PHONE", heads("ring|rang|call|phone|text|number|tel|cell|reach"), r"(?i:\b(?:ring|rang|call|phone|text|number|tel|cell|reach)\b(?: [\w']{1,12}){0,3} (?:is|on|at) )(?P<id>\d{3,5}[ -]\d{3,5}(?: \d{3,5})?)(?![\d/.%])"),
    ("PHONE", NUMBER, r"(?<![\w.,-])\d{3}[-.]\d{4},? ?(?i:x|ext\.?|extension) ?\d{1,6}\b"),
    ("PHONE", NUMBER, r"(?<=# is )\d{3}[ .-]\d{4}(?!\d)"),
    ("ZIP", NEAR_NUMBER, r"\b[AC-FHKNPRTV-Y]\d[\dW] (?![CLST]\d{1,2}[CLST]\d|\d{1,2}(?:MG|ML|CM|MM|HR))(?=[A-Z0-9]{0,3}\d)(?=[A-Z0-9]{0,3}[A-Z])[A-Z0-9]{4}\b"),
    ("STREET", NUMBER, r"(?<![\w,./-])\d{1,5} (?:Camino|Calle|Avenida|Via|Rue|rue|Paseo|Rua|Carrer) (?:d[eu] |de la |del )?[A-Z]\w{1,20}(?: [A-Z][a-z]\w{1,20})?(?: ?#\d{1,4})?"),
    ("STREET", NUMBER, r"(?<![\w,./-])\d{1,5} (?i:(?:county|state|farm) (?:road|route|rd|rte|hwy) \w{1,5})\b"),
    ("STREET", heads("flat|apt|apartment"), r"(?i:\b(?:flat|apt|apartment)\b\.? ?#?)\d{1,4}[A-Za-z]?,? (?!(?:The|He|She|Is|In|On)\b)[A-Z][a-z]{2,20}(?: [A-Z][a-z]{2,20}){0,2}\b"),
    ("STREET", heads("rm|room|apt|suite|ste"), r"(?i:\b(?:rm|room|apt|suite|ste)\b\.? ?#?)\d{1,5}[A-Za-z]?, ?\d{1,5} [A-Z][a-z]{2,20}(?: [A-Z][a-z]{2,20}){0,2}\b"),
    ("STREET", heads("address"), r"(?i:\baddress)(?:[.…]{2,20}|[ \t]?:)[ \t]{0,4}(?P<id>(?=[^\n|;]{0,40}\d)[A-Z0-9](?:[^\n|;\t ]| (?! )){3,80})"),
    ("HOSPITAL", heads("klinikum|krankenhaus|hôpital|hopital|ospedale"), r"(?:Klinikum|Krankenhaus|Hôpital|Hopital|Ospedale) (?:(?:am|an der|im|in der|du|de la|de|des|di|of the|at) )?[A-ZÀ-Þ][\wà-ÿ’'-]{2,25}(?: [A-ZÀ-Þ][\wà-ÿ’'-]{2,25})?"),
    ("LICENSE", heads(_REGISTER), rf"\b(?i:{_REGISTER})\b\.?(?i: no\.?| number| reg(?:istration)?(?: no\.?)?| pin)?[:# ]{{1,3}}(?P<id>(?:[A-Z]{{1,3}} ?)?\d[\dA-Z]{{4,9}})(?![\w%]|\.\d)"),
    ("LICENSE", NEAR_NUMBER, r"\b[A-Z][A-Z9]{4} ?\d{6} ?[A-Z][A-Z9]\d ?[A-Z]{2}\b"),
    ("OTHERID", heads("no|nos|number|num|nr"), rf"(?i:\b(?:nos?|number|num|nr)\b\.?[:# ]{{1,3}})(?!(?:19|20)\d\d\b)(?P<id>{_LONG}(?:[A-Z]{{1,4}}[ /-]?)?\d{{1,8}}(?:[ ./-]\d{{1,8}}){{0,4}}(?: ?[A-Z]{{1,2}}\b)?)(?![\w%]|[.,]\d|{_UNIT})"),
    ("OTHERID", heads(_THING), rf"(?i:\b(?:{_THING})\b(?: (?:no\b\.?|number|ref))?[:# ]{{1,3}})(?P<id>{_LONG}(?:[A-Z]{{1,4}}[ /-]?)\d{{2,8}}(?:[ /-]\d{{1,8}}){{0,3}})(?![\w%]|[.,]\d|{_UNIT})"),
    ("OTHERID", heads("ref|reference"), r"(?i:\bref(?:erence)?\b\.?(?: no\.?)?[:# ]{1,3})(?:[A-Z]{2,8} )(?P<id>\d{4,10})(?![\w%/]|[.,]\d)"),
    ("OTHERID", heads("c|call|callsign"), r"(?i:\b(?:c/s|call ?sign)[:# ]{1,3})(?P<id>[A-Z]{1,2} ?\d{2,4})\b"),
    ("OTHERID", heads("pc|ps|dc|pcso|officer|constable|badge"), r"\b(?:PC|PS|DC|PCSO|Officer|Constable|badge|Badge|BADGE)[ #]{1,2}(?P<id>\d{3,5})(?![\w%/]|[.,]\d)"),
    ("OTHERID", NUMBER, r"(?<![\w.,/-])\d(?:[ -]\d){5,11}(?![\w%]|[ .,/-]\d)"),
    ("MRN", heads("ur|urn|ipd|opd|uhid|nhi|crn|pid|mr|medical"), r"\b(?:(?:UR|URN|IPD|OPD|UHID|NHI|CRN|PID|MR)(?i: no\b\.?| number)?|(?i:medical record)(?i: number| no\.?)?,?)[:# ]{1,3}(?P<id>\d(?:[ -]\d){4,10}|\d{3,7}/\d{2,4}|[A-Z]{0,3}-?\d{4,10})(?![\w%]|[.,]\d)"),
    ("SSN", NEAR_NUMBER, r"(?<!\w)(?:[xX*]{4}[ -]?){1,2}(?P<id>\d{4})(?!\d)"),
    ("PLAN", heads("policy|member|insurance|card|plan|versicherung|gms|medicare|medicaid"), rf"(?i:\b(?:policy|member(?:ship)?|insurance|card|plan|gms|medicare|medicaid)\b(?: (?:no\b\.?|number|id))?[:# ]{{1,3}})(?P<id>{_LONG}(?:[A-Z]{{1,3}} ?)?\d{{1,6}}(?:[ -]\d{{1,6}}){{1,4}}(?:\.\d{{1,2}}| [A-Z])?)(?![\w%]|,\d|{_UNIT})"),
    ("DEVICE", heads("s|sn|serial|ser"), r"(?i:\b(?:s/n|sn|ser(?:ial)?(?: no\.?| number)?)[:# ]{1,3})(?P<id>[A-Z]{1,3}&[A-Z]{1,3}-?\d{3,10})\b"),
    ("INITIALS", heads("ref"), r"(?i:\b(?:our |your )?ref\b\.?[: ]{1,3})(?P<id>[A-Z]{2,4}/[A-Za-z]{2,4}(?:/[A-Z0-9]{2,12})?)(?![\w/])"),
    ("INITIALS", NEAR_NUMBER, r"(?<![\w/])[A-Z]{2,3}[/:][a-z]{2,3}(?= {1,3}[DT]: ?\d)"),
    ("INITIALS", heads("f|fy|sho|spr|st|ct|hca|odp|tech|mw|cna|rmn|reg"), r"\b(?:F[12]|FY[12]|SHO|SpR|Reg|reg|ST\d|CT\d|HCA|ODP|[Tt]ech|MW|CNA|RMN):? (?P<id>[A-Z]{2})(?=[ \t]{0,3}(?:\n|$))"),
    ("FAX", heads("fax"), r"(?i:\bfax[:. ]{1,3})(?P<id>-\d{2,5})(?!\d)"),
    ("ZIP", NUMBER, r"(?:(?<=-do )|(?<=-si )|(?<=-gu )|(?<=-do, )|(?<=-si, )|(?<=-gu, ))\d{5}(?!\d)"),
    ("MRN", NEAR_NUMBER, r"(?<![\w/])[A-Z]{2,3} (?!\d{3}000)\d{6,8}(?![\w%]|[.,/-]\d)"),
    ("INITIALS", heads("min|minutes|typed|tr|dict"), r"(?i:\b(?:min(?:utes?)?|typed by|tr|dict)\b: ?)(?P<id>[A-Za-z]{2,3})(?=[ \t]{0,3}(?:$|\n))"),
    ("AGE90", heads("ninety|hundred|one|a"), rf"(?<=[,(] )(?i:{_OLD_WORD})(?=[.;,)\n]|$)"),
    ("AGE90", heads("m|f"), rf"(?<![\w/])[MF] (?P<id>{_OLD})(?=[,;)\n]|$| (?i:with|who|known|lives|from|admitted)\b)"),
    ("AGE90", heads("will|turns|turning|becomes|celebrates|celebrated"), rf"(?i:\b(?:will be|will turn|turns|turning|becomes|celebrate[sd])(?: (?:his|her|their))? )(?P<id>{_OLD})(?= (?:in|on|next|this|tomorrow|soon|years)\b|[,.;)](?!\d))"),
    ("AGE90", heads("age|aged"), rf"(?i:\b(?:age|aged|age of) )(?P<id>(?i:{_OLD_WORD}))\b"),
    ("AGE90", heads("early|mid|late|in|high"), r"(?i:\b(?:early|mid|late|high|in (?:his|her|their|the))[- ])(?P<id>(?i:nineties|90s))\b"),
    ("AGE90", heads("in"), rf"(?i:\bin (?:his|her|their|the)(?: early| late)? )(?P<id>{_OLD}(?:st|nd|rd|th)|(?i:(?:ninety|hundred(?: and)?)[- ](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)|ninetieth|hundredth))(?= year\b)"),
    ("AGE90", heads("a"), r"(?i:\ba )(?P<id>(?i:nonagenarian|centenarian|supercentenarian))\b"),
    ("AGE90", heads("ninetieth|hundredth|one|ninety"), r"(?i:\b(?P<id>ninetieth|ninety-(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|(?:one )?hundredth)(?= birthday))"),
    ("NAME", heads("call|shout|cry|cries|crying|ask|named|known|nickname|answers"), r"(?i:\b(?:call(?:s|ed|ing)?|shout(?:s|ed|ing)?|cry(?:ing)?|cries|ask(?:s|ed|ing)?)(?: out)? for |\b(?:named|known as|nickname|answers to):? )[\"“](?P<id>[A-ZÀ-Þ][\w’-]{1,20}(?: [A-ZÀ-Þ][\w’-]{1,20})?)(?=[\"”])"),
    ("STREET", NUMBER, r"(?<![\w,./-])\d{1,3}(?:st|nd|rd|th) (?:(?:North|South|East|West|[NSEW])\.? )?(?:Ave|Avenue|St|Street|Rd|Road|Dr|Drive|Pl|Place|Terrace|Ct|Court|Ln|Lane|Blvd)\b\.?(?! [A-Z][a-z]{2,15}'s)"),
    ("STREET", NUMBER, r"(?<![\w,./-])\d{2,6} ?- ?\d{1,4}[A-Z]? (?:Ave|Avenue|St|Street|Rd|Road|Dr|Drive|Ct|Court|Ln|Lane|Blvd|Crescent|Cres|Way)\b\.?"),
    ("STREET", heads(_TENS), rf"\b(?i:(?:{_TENS})(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?) (?:{_STREET_WORD} ){{1,3}}(?:Street|Avenue|Road|Drive|Lane|Place|Square|Court|Way|Terrace|Close|Crescent|Gardens|Grove|Hill|Row|Walk|Rise|Park|View)\b"),
    ("STREET", NUMBER, r"(?<![\w,./-])\d{1,5}[A-Za-z]? (?:[A-Z]{3,20} ){1,3}(?:TERR|CL|CRES|GDNS|AV|PK|GRN|SQ|BLDGS|MWS)\b"),
    ("STREET", heads("heol|ffordd|stryd|lôn|rhodfa|cwrt|bóthar|sráid|maes|clos"), r"\b(?:Heol|Ffordd|Stryd|Lôn|Rhodfa|Cwrt|Clos|Bóthar|Sráid|Maes[- ](?:yr|y))[- ](?:(?:y|yr|na|an|the) )?[A-ZÀ-Þ][\w'’-]{1,20}(?: [A-ZÀ-Þ][\w'’-]{2,20})?"),
    ("STREET", NUMBER, r"(?<![\w,./-])\d{1,4}(?:-\d{1,4})? [A-Z][a-z]{2,15}-?(?:ro|gil|daero|dong)(?: \d{1,4}(?:beon)?(?:-?gil)?(?:,? ?\d{1,4}(?:-\d{1,4})?)?)?\b"),
    ("STREET", heads("halls|hall|hostel|estate|caravan"), r"(?i:\b(?:halls?(?: of residence)?|hostel|estate|caravan park)[,:]? )(?P<id>[A-Z][\w'’-]{2,20}(?: [A-Z][\w'’-]{2,20}){0,2}(?:,? (?i:block|room|flat|plot|unit|rm) ?\w{1,4})?)(?![a-z])"),
    ("STREET", heads("estate|house|court|lodge|towers|point|mansions"), r"(?i:\b(?:estate|house|court|lodge|towers|mansions)), (?P<id>\d{1,4} [A-Z][a-z]{2,20}(?: [A-Z][a-z]{2,20})?)\b"),
    ("URL", heads("mychart|portal|patient|my"), r"(?i:\b(?:mychart|portal|patient|my\w{2,20})(?:\.[a-z0-9-]{2,40}){1,4}/[^\s<>\"')\]]{1,200})(?<![.,;])"),
]  # fmt: skip

# Only for texts with a ^, as DICOM and HL7 have them
_HL7_NAME = re.compile(
    r"(?<![\w^])[A-Z][\w.'’-]{0,30}(?: [A-Z][\w.'’-]{0,30}){0,2}\^[A-Z][\w.'’-]{0,30}(?:\^[\w.]{0,20}){0,3}"
)
_PATTERNS = [
    (kind, anchor, re.compile(expression))
    for kind, anchor, expression in (*_EXPRESSIONS, *(("DATE", *form) for form in DATE_FORMS))
]
_KINDS = AnchorKinds(ANCHORS | {anchor for _, anchor, _ in _PATTERNS}, STATES, DOMAINS)


def anchors_of(text: str, words: Sequence[Token]) -> Anchors:
    """Where in a text with these tokens the expressions of this module and of patterns.py are tried."""
    return Anchors(text, words, _KINDS)


def cue_spans(text: str, anchors: Anchors) -> Iterator[Span]:
    """Identifiers of a text with these anchors; they may overlap."""
    for kind, anchor, pattern in _PATTERNS:
        part = "id" if "id" in pattern.groupindex else 0
        yield from (Span(*match.span(part), kind) for match in anchors.matches(anchor, pattern))
    if "^" in text:
        yield from (Span(*match.span(), "NAME") for match in _HL7_NAME.finditer(text))
