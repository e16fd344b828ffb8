"""The template grammar of the built-in notes.

`[a|b]` is one of its alternatives; `{12..18}`, `{1.2..3.4}` and `{50..400/50}` are numbers in a range (as many decimals
as the start has, an optional step); `{name}` is a slot or a phrase, `{Name}` the same with a capital. Brackets nest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import NamedTuple

from clinadapt.data.builtin_cases.vocabulary import vocabulary

Slots = Mapping[str, str | Callable[[], str]]  # slot name -> text, or a function that writes it


class _Range(NamedTuple):
    start: int  # in units of the last decimal, like the step
    step: int
    choices: int
    decimals: int


class _Slot(NamedTuple):
    name: str
    capital: bool


_Part = str | _Range | _Slot | list["str | list[_Part]"]
_TOKEN = re.compile(r"[\[\]|]|\{[^{}]+\}|[^\[\]|{}]+")
_RANGE = re.compile(r"\{([\d.]+?)\.\.([\d.]+)(?:/([\d.]+))?\}")


def expand(template: str, rng: Random, slots: Slots) -> str:
    """Write out a template. Raises KeyError for a name that is neither a slot nor a phrase."""
    return _expand(_parse(template), rng, slots)


def capitalize_first(text: str) -> str:
    """Capitalize the first letter and leave the others as they are."""
    return text[:1].upper() + text[1:]


@cache
def _parse(template: str) -> list[_Part]:
    levels: list[list[list[_Part]]] = [[[]]]  # open brackets, their alternatives, the parts of each
    for token in _TOKEN.findall(template):
        if token == "[":
            levels.append([[]])
        elif token == "]":
            alternatives = levels.pop()
            levels[-1][-1].append([_join_constant(parts) for parts in alternatives])
        elif token == "|":
            levels[-1].append([])
        else:
            levels[-1][-1].append(_parse_braces(token) if token[0] == "{" else token)
    ((parts,),) = levels
    return parts


def _join_constant(parts: list[_Part]) -> str | list[_Part]:
    """An alternative as one string if it has nothing to fill in."""
    return "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else parts


def _parse_braces(token: str) -> _Range | _Slot:
    if not (match := _RANGE.fullmatch(token)):
        name = token[1:-1]
        known = name in vocabulary()["phrases"] or name[0].islower()
        return _Slot(name if known else name[0].lower() + name[1:], not known)
    start, stop, step = match.groups()
    decimals = max(len(number.partition(".")[2]) for number in (start, step or ""))
    start, stop, step = (round(float(number) * 10**decimals) for number in (start, stop, step or 10**-decimals))
    return _Range(start, step, (stop - start) // step + 1, decimals)


def _expand(parts: list[_Part], rng: Random, slots: Slots) -> str:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, list):
            chosen = part[int(rng.random() * len(part))]
            text += chosen if isinstance(chosen, str) else _expand(chosen, rng, slots)
        elif isinstance(part, _Range):
            number = part.start + part.step * int(rng.random() * part.choices)
            text += f"{number / 10**part.decimals:.{part.decimals}f}" if part.decimals else str(number)
        else:
            value = slots.get(part.name)
            if value is None:
                value = _expand(_parse(vocabulary()["phrases"][part.name]), rng, slots)
            elif not isinstance(value, str):
                value = value()
            text += capitalize_first(value) if part.capital else value
    return text
