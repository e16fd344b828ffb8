"""Expressions for dates as notes write them: American, British, German and Korean forms. Every repetition is bounded."""

from __future__ import annotations

from clinadapt.privacy.anchors import NUMBER, Anchor, heads

MONTH = (
    r"(?:jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|mrz|apr(?:il)?|may|mai|june?|juni|july?|juli|aug(?:ust)?|"
    r"sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)"
)
_WHOLE_MONTH = (
    r"(?:january|february|march|april|june|july|august|september|october|november|december|januar|februar|märz|"
    r"juni|juli|oktober|dezember)"
)
_DAY, _MONTH_NUMBER, _ORDINAL = r"(?:3[01]|[12]\d|0?[1-9])", r"(?:1[0-2]|0?[1-9])", r"(?i:st|nd|rd|th)"
_YEAR = r"(?:(?:18|19|20)\d\d|['’]\d\d)"
_INITIAL = "(?=[JFMASONDjfmasond])"  # of a month: a cheap test before the costly one
# Before a month and day without a year, as in "seen 3/4"
_CUE = (
    r"(?:on|dd|dt|d|t|dos|dob|doa|dod|date[ds]?|since|until|till|til|thru|from|seen|visit(?:ed)?|admit(?:ted)?|adm|"
    r"discharged?|disch|dc|d/c|returns?|returned|rtc|appt|appointment|f/u|follow[- ]?up|moved|rescheduled|scheduled|"
    r"called|reported|signed|drawn|collected|received|repeat(?:ed)?|held|booked|due|by|before|after|effective|starting|"
    r"started|began|ended|transcribed|dictated|reviewed|performed|done|last|next|dose given|labs?|cultures?|"
    r"compared with|compared to|service|entered|expires?|filled|refill(?:ed)?|week of|of|am|pm|session|next \w{3,12}|for|ct|mri|xr|ekg|echo)"
)
_MONTHS = heads("jan|feb|mar|märz|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez")
_SHORT = r"(?P<id>(?:1[0-2]|0?[1-9])[/-](?:3[01]|[12]\d|0?[1-9]))(?![\d%]|[/-]\d| ?(?i:mg|strength|murmur|systolic|pain|power|times|weeks|days|months|hours|cm|mm|x|of|tablets?|cups?)\b)"

# Where they are tried, and the expression
DATES: list[tuple[Anchor, str]] = [
    (NUMBER, rf"(?<![\d/-])(?<!\d\.){_DAY} ?([/.-]) ?{_DAY} ?\1 ?(?:(?:18|19|20)\d\d|\d\d)(?![\d]|[/-]\d|\.\d)"),
    (NUMBER, rf"(?<![\d-])(?<!\d\.)(?:18|19|20)\d\d([-/.]) ?{_MONTH_NUMBER}\1 ?{_DAY}(?:T\d\d:\d\d(?::\d\d)?Z?)?(?![\d-])"),
    (NUMBER, rf"(?<![\d/.-]){_MONTH_NUMBER}[/-](?:19|20)\d\d(?![\d/-])"),
    (NUMBER, r"(?<![\d/.-])(?:19|20)\d\d[/-](?:1[0-2]|0[1-9])(?![\d/-])"),
    (NUMBER, rf"(?<![^\W_])(?i:{_DAY}(?:{_ORDINAL})?\.?(?: of|\.)?(?: ?[-/] ?| ){{0,1}}{MONTH}\.?(?:[ ,/-]{{1,2}}{_YEAR}|[ /-]\d\d\b|{_YEAR}))(?![^\W_])"),
    (_MONTHS, rf"(?<![^\W_]){_INITIAL}(?i:{MONTH}(?:\.?[ -]?{_DAY}(?:{_ORDINAL})?,?[ -]{{0,2}}{_YEAR}(?!\d)|\.? {_DAY}{_ORDINAL}(?![^\W_])|"
    rf"\.?(?: of|,)? ?{_YEAR}(?!\d)|[-/]\d\d(?![^\W_]|[/-]\d)))"),
    (_MONTHS, rf"(?<![^\W_]){_INITIAL}(?:(?i:{_WHOLE_MONTH})|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?|(?:May|MAY|Mai)) {_DAY}(?! ?(?:mg|ml|mL|%|mm|cm|times|minutes|hours|days))(?![\d.:]\d|\d)"),
    (NUMBER, rf"(?<![^\W_])(?i:{_DAY}{_ORDINAL}(?: of)? (?:{_WHOLE_MONTH}|may))(?![^\W_])"),
    (NUMBER, rf"(?<![\w.])(?i:{_DAY}\.? ?(?:{_WHOLE_MONTH}))(?![^\W_])"),
    (NUMBER, rf"(?<![\w.]){_DAY}[ -](?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|JAN|FEB|MAR|APR|JUN|JUL|AUG|SEPT?|OCT|NOV|DEC|MAY(?! (?:BE|HAVE|NOT|ALSO|NEED|CONTINUE|RETURN)\b))(?![^\W_])"),
    (heads("in|since|until|by|of|last|this|next|from|to|through|during|before|after|early|late|mid|around|every"), rf"(?<![^\W_])(?=[isublotdneafmIUBLOTNFDSAEM])(?i:(?:in|since|until|by|of|last|this|next|from|to|through|during|before|after|early|late|mid|around|every)[ -])"
    rf"(?P<id>(?i:{_WHOLE_MONTH})|May)(?! (?:be|have|not|also|need|continue)\b)(?![^\W_])"),
    (heads(_CUE), rf"(?<![^\W_])(?=\D{{1,22}}\d\d?[/-]\d)(?i:{_CUE}[: ]{{1,3}}(?:the )?(?:\()?){_SHORT}"),
    (NUMBER, r"(?<![\d/-])(?:1[0-2]|0?[1-9])/(?:3[01]|[12]\d|0?[1-9])(?=(?: ?[-–] ?| (?i:to|through|and|until) )(?:1[0-2]|0?[1-9])/(?:3[01]|[12]\d|0?[1-9])(?![\d/]))(?=.{0,14}$|.{0,20}[^%\w])"),
    (NUMBER, rf"(?<=[A-Za-z])(?P<id>{_DAY}[/.-]{_DAY}[/.-](?:(?:19|20)\d\d|\d\d))(?!\d)"),
    (heads("am|vom|bis|seit|zum|ab|den"), rf"(?i:\b(?:am|vom|bis|seit|zum|ab|den) )(?P<id>{_DAY}\. ?(?:1[0-2]|0?[1-9])\.)(?!\d)"),
]  # fmt: skip

# Only for texts with Hangul
KOREAN_DATES = [
    r"(?:(?:19|20)?\d\d년 ?)?(?:1[0-2]|0?[1-9])월(?: ?(?:3[01]|[12]\d|0?[1-9])일)?",
    r"(?<!\d)(?:19|20)\d\d\. ?(?:1[0-2]|0?[1-9])\. ?(?:3[01]|[12]\d|0?[1-9])\.?(?!\d)",
]  # fmt: skip
