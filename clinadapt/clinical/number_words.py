"""Numbers in words, also as they are spoken: "one twenty five" is 125, "nineteen ninety six" 1996."""

from __future__ import annotations

import re

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen"""
_ORDINALS = """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
fifteenth sixteenth seventeenth eighteenth nineteenth"""
_LARGE = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORD_VALUES = (
    {word: value for value, word in enumerate(_SMALL.split())}
    | {"nought": 0, "naught": 0}
    | {word: 10 * i for i, word in enumerate(_LARGE.split(), start=2)}
)
ORDINALS = _ORDINALS.split()  # of one on
_MAGNITUDES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_WORD = "|".join(sorted([*NUMBER_WORD_VALUES, *_MAGNITUDES], key=len, reverse=True))
FIRST_WORD = "|".join(sorted(NUMBER_WORD_VALUES, key=len, reverse=True))
NUMBER_WORDS = (
    rf"\b(?:(?:a )?(?:hundred|thousand)|{FIRST_WORD})(?:(?:[ -]|(?<=hundred) and |(?<=thousand) and )(?:{_WORD}))*"
    rf"(?: oh? (?:{FIRST_WORD}))?(?: point (?:{FIRST_WORD})(?:[ -](?:{FIRST_WORD}))?)?\b"
)


def spoken_numbers(text: str) -> list[float]:
    """The numbers of a text of number words in lower case: usually one; "two three" are two."""
    text, _, decimals = text.removeprefix("a ").partition(" point ")
    if decimals:
        digits = "".join(f"{number:g}" for number in spoken_numbers(decimals))
        *others, last_number = spoken_numbers(text)
        return [*others, last_number + float(f"0.{digits}")]
    if zero := re.search(r" oh? ", text):  # one o two, nineteen oh five
        before, after = spoken_numbers(text[: zero.start()]), spoken_numbers(text[zero.end() :])
        return [*before[:-1], 100 * before[-1] + after[0], *after[1:]]
    numbers: list[float] = []
    total, current, last = 0.0, None, 0  # `last`: value of the last word, to see whether the next can continue it
    for word in re.split(r" and |[ -]", text):
        if word in _MAGNITUDES:
            factor = _MAGNITUDES[word]
            if factor == 100:
                current = (current or 1) * 100
            else:
                total, current = (total + (current or 1)) * factor, None
            last = factor
            continue
        value = NUMBER_WORD_VALUES[word]
        if current is None:
            current = value
        elif last >= 100 or (20 <= last < 100 and last % 10 == 0 and 0 < value < 10):
            current += value
        elif last < 30 and value >= 10 and current < 100:  # one twenty, nineteen ninety, twenty ten
            current = current * 100 + value
        else:
            numbers.append(total + current)
            total, current = 0.0, value
        last = value
    return [*numbers, float(total + (current or 0))]
