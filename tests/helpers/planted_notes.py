"""Notes with planted identifiers, whose templates and names the detector's training does not know: letters of general
practitioners, nursing and telephone notes, summaries in capitals, in British, German and Korean use too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import yaml

DATA = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
GIVEN, FAMILY, TOWNS, RELATIONS, MONTHS, MONTHS_GERMAN, HANGUL = (
    DATA[key].split() for key in ("given", "family", "towns", "relations", "months", "months_german", "hangul")
)
LABELS = {slot: kind for kind, slots in DATA["labels"].items() for slot in slots.split()}
_PART = re.compile(r"\{(\w+)\}|<(\w+):([^>]*)>")


def planted_notes(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Notes with `text`, `spans` and `negatives`, as `clinadapt phi measure` reads them; the same seed gives the same."""
    rng = Random(seed)
    for number in range(count):
        yield _note(DATA["notes"][number % len(DATA["notes"])], rng) | {"note_id": f"planted-{number:03}"}


def _note(template: str, rng: Random) -> dict[str, Any]:
    text, spans, negatives, position = "", [], [], 0
    family = rng.sample(FAMILY, 3)
    for match in _PART.finditer(template):
        text += template[position : match.start()]
        position = match.end()
        value = _value(match[1], family, rng) if match[1] else match[3]
        span = {"start": len(text), "end": len(text) + len(value)}
        if match[2]:
            negatives.append(span | {"kind": match[2].upper()})
        elif match[1] in LABELS:
            spans.append(span | {"type": LABELS[match[1]]})
        text += value
    text += template[position:]
    capitals = text.isupper() or sum(c.isupper() for c in text) > 0.6 * sum(c.isalpha() for c in text)
    return {"text": text, "spans": spans, "negatives": negatives, "caps": capitals}


def _value(slot: str, family: list[str], rng: Random) -> str:
    if slot.isupper() and slot not in ("MDY", "LASTFIRST"):
        return _value(slot.lower(), family, rng).upper()
    day = date(2001, 1, 1) + timedelta(days=rng.randrange(8900))
    month = MONTHS[day.month - 1]
    first, last, letter = rng.choice(GIVEN), rng.choice(family), rng.choice("ABCDEGHJKLMNPRST")
    values = {
        "first": first, "last": last, "full": f"{first} {last}", "LASTFIRST": f"{last}, {first}".upper(),
        "initlast": f"{letter}. {last}", "lower": f"{first} {last}".lower(), "lastlower": last.lower(),
        "initials": f"{letter}{rng.choice('BDFKW')}", "title": rng.choice(("Mr", "Mrs", "Ms", "Mr.", "Mrs.")),
        "his": rng.choice(("his", "her")), "rel": rng.choice(RELATIONS), "ko_name": rng.choice(HANGUL),
        "longdate": rng.choice((f"{day.day} {month} {day.year}", f"{day.day} {month[:3]} {day.year}", f"{_th(day.day)} {month} {day.year}")),
        "dmy": rng.choice((f"{day.day:02}/{day.month:02}/{day.year}", f"{day.day}.{day.month}.{day.year % 100:02}")),
        "dm": f"{day.day}/{day.month}/{day.year % 100:02}", "mdy": f"{day.month}/{day.day}/{day.year}", "MDY": f"{day.month:02}/{day.day:02}/{day.year}",
        "de_date": rng.choice((f"{day.day:02}.{day.month:02}.{day.year}", f"{day.day}. {MONTHS_GERMAN[day.month - 1]} {day.year}")),
        "ko_date": rng.choice((f"{day.year}년 {day.month}월 {day.day}일", f"{day.year}. {day.month}. {day.day}.", f"{day.year}-{day.month:02}-{day.day:02}")),
        "md_short": f"{day.month}/{day.day}", "monthyear": f"{month} {day.year}", "weekday": rng.choice(("Monday", "Friday")),
        "ukphone": rng.choice((f"01{rng.randint(2, 9)}2{rng.randint(0, 9)} {rng.randint(200000, 899999)}", f"077{rng.randint(10, 99)} {rng.randint(100000, 999999)}", f"020 7946 0{rng.randint(100, 999)}")),
        "usphone": rng.choice((f"({rng.randint(210, 979)}) 555-{rng.randint(1000, 9999)}", f"{rng.randint(210, 979)}-{rng.randint(210, 979)}-{rng.randint(1000, 9999)}", f"{rng.randint(210, 979)}.555.{rng.randint(1000, 9999)}")),
        "dephone": rng.choice((f"0951 / {rng.randint(100000, 999999)}", f"+49 171 {rng.randint(1000000, 9999999)}")),
        "kophone": f"010-{rng.randint(2000, 9999)}-{rng.randint(1000, 9999)}",
        "street": f"{rng.randint(1, 240)} {rng.choice(('Foxglove', 'Station', 'Priory', 'Old Mill', 'Jubilee', 'Larch'))} {rng.choice(('Road', 'Lane', 'Close', 'Avenue', 'Street', 'Drive'))}",
        "street_de": f"{rng.choice(('Ahornweg', 'Lindenstraße', 'Bahnhofstr.', 'Goethestraße'))} {rng.randint(1, 90)}",
        "plz": f"{rng.randint(10000, 99999)}", "postcode": f"{rng.choice(('HP', 'KY', 'S', 'BT'))}{rng.randint(1, 40)} {rng.randint(1, 9)}{rng.choice(('AB', 'QD', 'XJ', 'LN'))}",
        "nhs": f"{rng.randint(400, 799)} {rng.randint(100, 999)} {rng.randint(1000, 9999)}", "kvnr": f"{letter}{rng.randint(100000000, 999999999)}",
        "code": rng.choice((f"{rng.randint(100000, 9999999)}", f"{letter}{rng.randint(10000, 999999)}", f"{letter}{letter}-{rng.randint(1000, 99999)}", f"{rng.randint(10, 99)}-{rng.randint(10000, 99999)}")),
        "rrn": f"{rng.randint(40, 99)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}-{rng.randint(1, 2)}{rng.randint(100000, 999999)}",
        "ssn": f"{rng.randint(100, 699)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}", "nino": f"AB{rng.randint(100000, 999999)}C",
        "email": f"{first}.{last}@{rng.choice(('btinternet.com', 'web.de', 'example.org'))}".lower().replace(" ", "").replace("'", ""),
        "age90": str(rng.randint(90, 104)), "n": str(rng.randint(19, 88)), "plate": f"{letter}{rng.choice('BCD')}{rng.randint(10, 99)} {rng.choice(('XYZ', 'KLM'))}",
        "dea": f"{letter}{rng.choice('BF')}{rng.randint(1000000, 9999999)}", "place": rng.choice(DATA["places"]), "firm": rng.choice(DATA["firms"]), "town": rng.choice(TOWNS),
    }  # fmt: skip
    return values[slot]


def _th(day: int) -> str:
    return f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
