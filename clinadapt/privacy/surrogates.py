"""Invented identifiers in place of real ones: by an HMAC of the key, the patient and the identifier.

CLINADAPT_PHI_KEY   a secret of at least 32 characters (openssl rand -hex 32). The same key gives the same bytes;
                    whoever has it can test a guessed identifier against an invented one.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Collection, Sequence
from functools import cache

from clinadapt.data.patients import MIN_KEY
from clinadapt.errors import UserError
from clinadapt.privacy.context import is_generic_place
from clinadapt.privacy.date_shift import DateReading, shifted
from clinadapt.privacy.features import tokens
from clinadapt.privacy.patterns import is_street_word
from clinadapt.privacy.word_lists import (
    clinical_words,
    cue_classes,
    english_rank,
    eponyms,
    family_names,
    given_names,
    own_list,
)

PHI_KEY = "CLINADAPT_PHI_KEY"
_IN_WORDS = ("NAME", "HOSPITAL", "EMPLOYER", "CITY", "STREET")
_WEEKS = (52, 520)  # that dates are moved into the past
_OLD = "over-89"  # an age over 89, as the Safe Harbor rule of HIPAA allows it


def phi_key() -> bytes:
    """The key of invented identifiers. Raises UserError if it is missing or too short."""
    key = os.environ.get(PHI_KEY, "").strip()
    if len(key) < MIN_KEY:
        raise UserError(
            f"the policy surrogate needs {PHI_KEY}, a secret of at least {MIN_KEY} characters: make one with openssl "
            "rand -hex 32, and keep it"
        )
    return key.encode()


def key_id(key: bytes) -> str:
    """Identifies a key without giving it away; empty without one."""
    return hmac.digest(key, b"key", "sha256").hex()[:16] if key else ""


class Surrogates:
    """Invents the identifiers of one patient: one for each, however often and in whatever capitals it stands."""

    def __init__(self, key: bytes, patient: str, taken: Collection[str], reading: DateReading) -> None:
        """`taken`: words of the patient's own identifiers, case-folded, none of which is given out."""
        self._key, self._patient, self._taken, self._reading = key, patient, taken, reading
        first, last = _WEEKS
        self.weeks = -(first + self._number("weeks") % (last - first))

    def of(self, kind: str, text: str) -> str:
        """What stands in place of an identifier of a type."""
        if kind == "DATE":
            return shifted(text, self.weeks, self._reading) or f"[{kind}]"
        if kind == "AGE90":
            return _OLD
        if kind == "EMAIL":
            return f"{self._code(text.partition('@')[0])}@example.org"
        if kind == "URL":
            return f"www.example.org/{self._code(re.sub('[^a-z0-9]', '', text.lower()))[-8:]}"
        return self._in_words(kind, text) if kind in _IN_WORDS else self._code(text)

    def _number(self, purpose: str, count: int = 0) -> int:
        message = "\0".join((self._patient, purpose, str(count))).encode()
        return int.from_bytes(hmac.digest(self._key, message, "sha256"), "big")

    def _in_words(self, kind: str, text: str) -> str:
        words = [token for token in tokens(text) if token.text[0] != "\n"]
        generic = [_is_generic(kind, token.text) for token in words]
        if all(generic) and (letters := [i for i, token in enumerate(words) if token.text[0].isalpha()]):
            generic[letters[0]] = False
        result, last = "", 0
        for token, stays in zip(words, generic, strict=True):
            result += text[last : token.start] + (token.text if stays else self._word(token.text))
            last = token.end
        return result + text[last:]

    def _word(self, word: str) -> str:
        if len(word) == 1 or not word[0].isalpha():
            return self._code(word)
        if "가" <= word[0] <= "힣":
            return "".join(self._choice(own_list("people.yaml")["hangul"].split("; "), char)[:1] for char in word)
        lower = word.casefold()
        new = self._choice(_given() if lower in given_names() else _family(), lower)
        return new.upper() if word.isupper() else new if word.islower() else new.capitalize()

    def _choice(self, pool: Sequence[str], word: str) -> str:
        """One of a list that is no word of the patient's own; a code where none is left."""
        numbers = (self._number(f"word {word}", count) for count in range(1000))
        names = (pool[number % len(pool)].strip() for number in numbers)
        return next((name for name in names if name != word and name not in self._taken), "") or self._code(word)

    def _code(self, code: str) -> str:
        """The same form with another letter or figure in each place, the same however it is grouped."""
        plain = "".join(character for character in code.casefold() if character.isalnum())
        number, result = self._number(f"code {plain}"), ""
        for character in code:
            base = next((letters for letters in ("0123456789", _SMALL, _SMALL.upper()) if character in letters), "")
            if base or character.isalnum():
                base = base or _SMALL
                number, step = divmod(number, len(base) - 1)
                number = number or self._number(f"code {plain}", len(result))
                character = base[(max(base.find(character), 0) + 1 + step) % len(base)]
            result += character
        return result


_SMALL = "abcdefghijklmnopqrstuvwxyz"


def _is_generic(kind: str, word: str) -> bool:
    """Whether a word of an identifier tells what it is, not which one."""
    lower = word.lower()
    if not word[0].isalnum():
        return True
    if word[0].isdigit():
        return False
    if kind in ("HOSPITAL", "EMPLOYER"):
        return is_generic_place(lower)
    if kind == "STREET":
        return is_street_word(lower)
    return "particle" in cue_classes().get(lower, ())


@cache
def _given() -> list[str]:
    return [name for name in sorted(given_names(), key=lambda name: (given_names()[name], name)) if _is_plain(name)][
        :600
    ]


@cache
def _family() -> list[str]:
    ranked = sorted(family_names(), key=lambda name: (family_names()[name], name))
    return [name for name in ranked if _is_plain(name)][:4000]


def _is_plain(name: str) -> bool:
    """Whether a name is not also a word, so that it reads as one."""
    word = english_rank(name) < 12_000 or name in clinical_words() or name in eponyms() or name in cue_classes()
    return len(name) > 3 and name.isascii() and not word
