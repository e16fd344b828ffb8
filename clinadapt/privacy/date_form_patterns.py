"""Expressions for dates in rarer forms: days alone, seasons, feasts, words, French and Spanish months. Every
repetition is bounded."""

from __future__ import annotations

from clinadapt.clinical.number_words import ORDINALS
from clinadapt.privacy.anchors import NUMBER, Anchor, heads

_DAY, _MONTH, _ORDINAL = r"(?:3[01]|[12]\d|0?[1-9])", r"(?:1[0-2]|0?[1-9])", r"(?i:st|nd|rd|th)"
_YEAR = r"(?:(?:18|19|20)\d\d|['’]\d\d)"
_FULL = rf"{_DAY}([/.-]){_DAY}\1(?:(?:18|19|20)\d\d|\d\d)"
_WEEKDAY = r"(?:mon|tues?|wed(?:nes|s)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?"
_DAYS = "mon|tue|wed|thu|fri|sat|sun"
_ENGLISH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_SHORT = r"(?:[Jj]an|[Ff]eb|[Mm]ar|[Aa]pr|[Jj]un|[Jj]ul|[Aa]ug|[Ss]ept?|[Oo]ct|[Nn]ov|[Dd]ec|JAN|FEB|MAR|APR|JUN|JUL|AUG|SEPT?|OCT|NOV|DEC)"
_ROMANCE = (
    r"(?:janvier|février|fevrier|mars|avril|mai|juin|juillet|août|aout|septembre|octobre|novembre|décembre|decembre|enero|"
    r"febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)"
)
_SHORT_HEADS = "jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec"
_ROMAN = r"(?:i{1,3}|iv|vi{0,3}|ix|xi{0,2})"  # a month, as in "20 iii 23"
_UNITS = "|".join(ORDINALS[:9])
_ORDINAL_WORD = rf"(?:(?:twenty|thirty)[- ](?:{_UNITS})|{'|'.join(ORDINALS)}|twentieth|thirtieth)"
_YEAR_WORDS = (
    r"(?:nineteen|twenty|two thousand)(?:[- ](?:and|oh|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|twenty|"
    r"thirty|forty|fifty|sixty|seventy|eighty|ninety|one|two|three|four|five|six|seven|eight|nine)){1,3}"
)
_SEASON = "spring|summer|autumn|fall|winter"
_FEAST = (
    r"new year['’]?s (?:eve|day)|christmas(?: eve| day)?|thanksgiving(?: day)?|easter(?: sunday| monday)?|good friday|"
    r"halloween|mardi gras(?: day)?|labor day|memorial day|independence day|boxing day|valentine['’]?s day|"
    r"mother['’]?s day|father['’]?s day|april fools(?:['’] day)?|(?:victoria|canada|australia|anzac|remembrance|armistice|veterans|presidents|columbus|bastille|st\.? (?:patrick|george|andrew|david|stephen)['’]?s) day|bonfire night|burns night|hogmanay|diwali|hanukkah|passover|eid al-(?:fitr|adha)|juneteenth|chuseok|seollal|heiligabend|silvester|ostern|pfingsten"
)
# Before a day and month, in whatever order, that may also be a share, a grade or a time as in "rv 6/52"
_CUE = (
    r"foley|cath(?:eter)?|port|trach|presented|given|onset|fall|fell|born|died|edd|edc|due date|lmp|picc|tee|tte|placed|inserted|removed|implanted|op|"
    r"surgery|missed|vaccinated|tested|swab|covid|flu|strep|exp|expiry|tci|elos|doa|trng|resume|restart|rptd?|orif|c/s|conf|mtg|meeting|micro|soap|handover|round|wr|call|list|note|bm|yesterday|today|tomorrow|arrived|arrival"
)
_ALONE = "on|since|until|till|by|from|before|after|due|next|back|dated|labs|clinic|mdt|seen|visit|appt|next visit|next appt|next mdt"
_NO_SHARE = r"(?!1/[234](?!\d)|[23]/[34](?!\d)|[0-5]/5(?!\d)|[0-6]/6(?!\d)|\d/7(?!\d)|\d{1,2}/1[02](?!\d))"
_RETURN = "rtc|f/u|fu|rv|r/v|review|reviewed|recall|recheck|repeat|rpt|return|due|appt|appointment|clinic|visit|scan|mri|ct|bloods|echo|op|surgery|edd|edr|elos|tci|dob"
_DOTTED = "tci|edd|edc|elos|doa|appt|appointment|visit|seen|clinic|theatre|list|admitted|discharged|til|until|till|since|rv|review|due|next"
_TEENS = "|".join([*ORDINALS[9:], "twentieth", "thirtieth"])
_GLUED = "f/u|adm|admit|dob|dos|d/c|rtc|echo|ekg"  # before a date without a blank
_NEAR = "til|until|till|tmrw|tomorrow|yesterday|yest|tonight|today"
_NO_UNIT = r"(?![\d%]|[/-]\d| ?(?i:mg|ml|cc|strength|murmur|pain|power|of|cm|mm|weeks|days|hours|tab|amp|ns)\b)"

# A day of the month alone, as in `on the 22nd`, where no noun of which it is the number follows
_BEFORE_DAY = f"{_ALONE}|court|theatre|list|admitted|discharged|home|flying|flight|delivered|theatre|inst|dob"
_NO_CENTILE = "".join(
    f"(?<!{measure} )" for measure in ["weight", "height", "length", "circumference", "ofc", "hc", "bmi"]
)
_TIME_OF_DAY = (
    "morning|evening|afternoon|night|week|weekend|early hours|events|letter|note|visit|clinic|bloods|scan|email|round"
)
_AND = "(?:,? (?:and|or|to|until|till|&)|,| ?[-–]) ?"
_OTHER_DAYS = rf"(?:{_AND}(?:the )?{_DAY}{_ORDINAL}){{0,3}}"
_FUNCTION_WORDS = (
    "at|for(?! (?:height|weight|age|head|length|bmi|hc|ofc))|inst|ult|when|because|with|was|were|is|are|has|had|have|but|and(?! (?:the )?\\d)|or(?! (?:the )?\\d)|we|he|she|it|"
    "they|you|who|which|that|then|went|may|will|would|could|can|if|as|so|while|after|before|by|from|in|via|to(?! (?:the )?\\d)|"
    "last|next|this|his|her|their|my|our|due|re|w|pm|am|please|pls|only|just|again|onwards|onward|nil|no|not"
)
_NO_NOUN = rf"(?:[ ]?(?:[.;:)!?\n\"'”’]|,(?! ?(?:and )?(?:the )?\d)|$)| (?:{_FUNCTION_WORDS})\b| [–—-] | (?-i:[A-Z][a-z]{{1,20}}\b))"

_OF_CHANGE = "taken|changed|clinic|appt|appointment|mdt|rung|rang|left|scan|next|board|cert|expires|wed|moved|started|stopped|began|back|apt|theatre|cons|signed|typed|reported|sent|posted|delivered|home|out|review|bloods"
_TENS_OF_YEARS = (
    "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
)
_CLOCK = r"(?:[01]?\d|2[0-3])[:.h]?[0-5]\d"

DATE_FORMS: list[tuple[Anchor, str]] = [
    (heads(_DAYS), rf"(?i:\b{_WEEKDAY}\.?,? )(?P<id>{_DAY}/{_DAY}){_NO_UNIT}"),
    (NUMBER, rf"(?<![\w./-]){_DAY}/{_MONTH}(?=,? ?(?:@ ?|at )?(?:[01]?\d|2[0-3]):[0-5]\d(?!\d))"),
    (NUMBER, rf"(?<![\w./-]){_DAY}/{_DAY}(?=,? ?(?:@ ?|at ){_CLOCK}(?![\d%/]))"),
    (heads(_OF_CHANGE), rf"(?i:\b(?:{_OF_CHANGE}),?[: ]{{1,3}}(?:on )?)(?!\d{{1,2}}/24(?!\d)){_NO_SHARE}(?P<id>{_DAY}/{_DAY})(?=[ ]?[,.;:)@\n]|$| (?i:by|at|with|w|to|for|from|re)\b){_NO_UNIT}"),
    (NUMBER, rf"(?<![\w./-]){_DAY}\.{_MONTH}\.?(?= ?(?:[-–]|(?i:to|bis|until|till|through|and)) ?{_DAY}\.{_MONTH}\.)"),
    (NUMBER, r"(?<![\w.,/-])(?:[0-4]\d)(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?=\.?(?: [A-Z]|\n|$))(?<!00)"),
    (heads("the"), rf"(?i:\bthe )(?P<id>(?i:{_ORDINAL_WORD} of the {_ORDINAL_WORD}(?:,? (?:nineteen |twenty |two thousand (?:and )?)?(?:{_TENS_OF_YEARS})?(?:[- ]?(?:one|two|three|four|five|six|seven|eight|nine))?)?))\b"),
    (heads("med|cert|note|off|signed|sick"), rf"(?i:\b(?:med ?3|cert|note|off|signed off|sick note)(?: is)?(?: to| until| till| til)? )(?P<id>{_DAY}{_ORDINAL})\b"),
    (NUMBER, rf"(?<![^\W_]){_DAY}{_ORDINAL}(?: of)? {_SHORT}\b"),
    (NUMBER, rf"(?<=\d[-–]){_FULL}(?!\d)"),
    (NUMBER, rf"(?<![\w.])(?i:{_DAY}(?:er)?(?: de)? {_ROMANCE}(?: del?)? {_YEAR})(?!\d)"),
    (NUMBER, r"(?<![\w./-])(?<!\d,)(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?![\w/-]|\.\d|,\d{3}(?!\d))"),
    (NUMBER, r"(?<![\w./-])(?:1[0-2]|0?[1-9])/0\d(?=[,.;:)\n]|$| (?:to|and|as|with|for|through|at)\b| [—–-] )(?!\.\d)"),
    (NUMBER, rf"(?<![\w./-]){_DAY}/(?!5 |10 ){_DAY}(?= (?:[01]\d|2[0-3])[0-5]\d(?!\d|[/-]| ?(?i:mg|mcg|ml|units?)\b))"),
    (heads("dob|born"), r"(?i:\b(?:dob|born)[: ]{1,3})(?P<id>\d{6}(?:\d\d)?)(?!\d)"),
    (heads("date|dos|doa|dod|adm|seen"), r"(?i:\b(?:date|dos|doa|dod|adm|admitted|seen)[: ]{1,3})(?P<id>(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2]))(?:19|20)?\d\d)(?!\d)"),
    (heads(_SHORT_HEADS), rf"(?<![^\W_]){_SHORT}\.? {_DAY}(?![\d.:]\d|\d|%)(?! ?(?i:mg|mcg|ml|units?|mm|cm|times|min|minutes|hours|hrs|days|weeks|points?)\b)"),
    (NUMBER, rf"(?<![\w./-]){_DAY}(?:([./-]){_ROMAN}\1| (?!(?:v|x|i)\b){_ROMAN} )(?:(?:19|20)\d\d|\d\d)(?!\d)"),
    (NUMBER, rf"(?<![\w.])(?i:{_DAY} de {_ROMANCE})\b"),
    (NUMBER, r"(?<![\w./-])0[1-9]-(?:0[1-9]|[12]\d|3[01])(?![\w/-]|\.\d)"),
    (heads("appt|appointment|visit|clinic|surgery|mdt|review|admitted|discharged"), rf"(?i:\b(?:appt|appointment|visit|clinic|surgery|mdt|review|admitted|discharged),? (?:on )?the )(?P<id>{_DAY}{_ORDINAL})(?! (?i:rib|toe|finger|digit|metatarsal|metacarpal|nerve|ventricle|percentile|day|week|dose|cycle|visit)\b)"),
    (heads(_GLUED), rf"(?i:(?<![^\W_])(?:{_GLUED}))(?P<id>{_DAY}/{_DAY})(?![\d%]|[/-]\d)"),
    (heads(_NEAR), rf"(?i:\b(?:{_NEAR}) ?~? ?\(?)(?P<id>{_DAY}/{_DAY}){_NO_UNIT}"),
    (heads(f"{_CUE}|{_DAYS}"), rf"(?<![^\W_])(?i:(?:{_CUE}|{_WEEKDAY}),?[: ]{{1,3}}(?:on )?\(?){_NO_SHARE}(?P<id>{_DAY}/{_DAY}){_NO_UNIT}"),
    (NUMBER, rf"(?<![\d/-]){_MONTH}/{_MONTH}(?= ?(?:[-–]|(?i:to|until)) ?(?:3[01]|2\d|1[3-9])/{_MONTH}(?![\d/]))"),
    (NUMBER, rf"(?<![\d/-]){_DAY}/{_MONTH} ?(?:[-–]|(?i:to|until)) ?(?P<id>(?:3[01]|2\d|1[3-9])/{_MONTH})(?![\d/])"),
    (heads(_DAYS), rf"(?i:\b{_WEEKDAY}\.?,? \(?(?:the )?)(?P<id>{_DAY}{_ORDINAL})(?![^\W_])"),
    (heads(_BEFORE_DAY), rf"(?i:{_NO_CENTILE}\b(?:{_BEFORE_DAY}) (?:the )?(?P<id>{_DAY}{_ORDINAL})(?={_OTHER_DAYS}{_NO_NOUN}))"),
    (heads(_BEFORE_DAY), rf"(?i:{_NO_CENTILE}\b(?:{_BEFORE_DAY}) (?:the )?{_DAY}{_ORDINAL}{_AND}(?:the )?(?P<id>{_DAY}{_ORDINAL})(?={_OTHER_DAYS}{_NO_NOUN}))"),
    (heads(_TIME_OF_DAY), rf"(?i:\b(?:{_TIME_OF_DAY})(?: of)? the (?P<id>{_DAY}{_ORDINAL})(?={_NO_NOUN}))"),
    (heads(_BEFORE_DAY), rf"(?i:\b(?:on|until|till|since) the (?P<id>{_UNITS}))(?=[.;!?)\n]|$)"),
    (heads(_SEASON), rf"(?i:\b(?:{_SEASON})(?: of|,)? (?:19|20)\d\d)(?!\d)"),
    (heads(_FEAST), rf"(?i:\b(?:{_FEAST})(?:,? (?:19|20)\d\d)?)\b"),
    (heads("q"), r"\bQ[1-4][ /-]?20\d\d\b"),
    (heads(_ENGLISH), rf"(?i:\b{_ENGLISH}(?: the)? {_ORDINAL_WORD}(?:,? {_YEAR_WORDS})?)\b"),
    (heads("the"), rf"(?i:\bthe {_ORDINAL_WORD} of {_ENGLISH}(?:,? {_YEAR_WORDS})?)\b"),
    (NUMBER, r"(?<!\w)(?:3[01]|[12]\d|0[1-9])(?:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\d\d(?!\w)"),
    (heads("dob|d|born|geb"), rf"(?i:\b(?:dob|d\.o\.b\.|born|geb\.?)[: ]{{1,3}})(?P<id>{_DAY}([ .]){_MONTH}\2(?:(?:19|20)\d\d|\d\d))(?!\d)"),
    (NUMBER, rf"\A{_DAY}/(?!7\b|52\b|12\b|[5-9] ){_DAY}(?=[ :,])"),
    (NUMBER, rf"\A{_DAY}/{_DAY}(?= (?i:[01]\d[0-5]\d|2[0-3][0-5]\d|am|pm|wr|ward round|s/b|seen|clinic|list|handover)\b)"),
    (NUMBER, rf"\A{_DAY}\.{_MONTH}(?= [A-Za-z])(?! ?(?i:mg|ml|mm|cm|kg|g|units?|h|hrs?|cc)\b)"),
    (heads(_DOTTED), rf"(?i:\b(?:{_DOTTED})(?: on)?[: ]{{1,3}})(?P<id>{_DAY}\.{_MONTH})(?=[ ,;)\n]|\.(?!\d)|$)(?! ?(?i:mg|ml|mm|cm|kg|g|units?|h|hrs?|cc|%|x)\b)"),
    (heads("mo|di|mi|do|fr|sa|so"), rf"\b(?:Mo|Di|Mi|Do|Fr|Sa|So)\.?,? (?P<id>{_DAY}\.{_MONTH}\.(?:\d\d(?:\d\d)?)?)(?!\d)"),
    (NUMBER, r"(?<![\d./])(?:3[01]|[12]\d|0[1-9])\.(?:1[0-2]|0[1-9])\.(?= [A-ZÄÖÜ]|[ ]?[-–] ?\d|\))"),
    (heads("the"), rf"(?i:\bthe (?P<id>{_TEENS}|twenty[- ](?:{_UNITS})|thirty[- ]first))\b(?! ?(?i:day|week|percentile|centile|rib|nerve|dose|cycle|visit|time|century|year|birthday))"),
    (heads(_RETURN), rf"(?i:\b(?:{_RETURN})[: ]{{1,3}}(?:in )?)(?P<id>(?i:{_ENGLISH})|{_SHORT}\.?)(?![^\W_])(?! (?i:be|have|not|also|need|continue)\b)(?! ?\d)"),
    (heads("mo|tu|we|th|fr|sa|su"), rf"\b(?:Mo|Tu|We|Th|Fr|Sa|Su)\.? (?P<id>{_DAY}/{_DAY}){_NO_UNIT}"),
    (NUMBER, r"(?<![\w./,-])(?:1[0-2]|0?[1-9])-0[1-9](?![\w/-]|\.\d| ?(?i:mg|ml|mcg|units?|cm|mm|hrs?|hours|days|weeks)\b)"),
    (NUMBER, r"(?<![\d./])(?:3[01]|[12]\d|[1-9])\.(?:1[0-2]|[1-9])\.(?=[,;:])"),
    (heads("am|zum|bis|ab|seit|vom"), rf"\b(?:[Aa]m|zum|bis|ab|seit|vom) (?P<id>{_DAY}\.)(?= (?:ge[a-zß]{{3,15}}t|[a-z]{{0,4}}ge[a-z]{{2,12}}en|geplant|wieder|um|in|nach|zur?|zum|ins?|wird|ist|erneut|ent\w{{3,10}}|ver\w{{3,10}}|vor\w{{3,12}})\b)"),
    (heads("vom|am"), rf"(?i:\b(?:vom|am) )(?P<id>{_DAY}\.)(?= ?(?:bis|-|–|und)(?: zum)? \d{{1,2}}\.)"),
]  # fmt: skip
