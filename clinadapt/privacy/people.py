"""Invented people, places and numbers."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from random import Random

from clinadapt.clinical.drug_names import generics_by_name
from clinadapt.privacy.towns import listed_towns
from clinadapt.privacy.word_lists import (
    cities,
    english_words,
    eponyms,
    family_names,
    given_names,
    large_towns,
    own_list,
)

_PARTS = {"degree": "degrees", "title": "titles", "rel": "relations", "spec": "specialties", "state": "states",
          "verb": "verbs"}  # fmt: skip
_FORMATS = ("{m}/{d}/{y}", "{m:02}/{d:02}/{y}", "{y}-{m:02}-{d:02}", "{M} {d}, {y}", "{d} {M} {y}", "{d}-{N}-{y}",
            "{M} {d}", "{m}/{d}/{s:02}", "{d:02}.{m:02}.{y}", "{M} {y}", "{N} {d} {y}")  # fmt: skip

_PREFIXES = ("van ", "Van ", "Van der ", "von ", "Von ", "De ", "de la ", "De La ", "Di", "Mc", "Mac", "O'", "Al-",
             "El-", "St. ", "La", "Del ")  # fmt: skip


@cache
def _parts(kind: str) -> list[str]:
    """A list of people.yaml."""
    return [part.strip() for part in own_list("people.yaml")[kind].split(";")]


@cache
def _eponyms() -> list[str]:
    return sorted(eponyms())


@cache
def _towns(large: bool) -> list[tuple[str, ...]]:
    """The words of towns: of those that many notes have, or of all of at most three words."""
    listed = {(town,) for town in cities()} | {town for town in listed_towns() if 1 < len(town) < 4}
    return sorted({tuple(town.split("-")) for town in large_towns()} if large else listed)


@cache
def _drugs() -> list[str]:
    return sorted(name for name in generics_by_name() if " " not in name)


class People:
    """Draws the values of a note's slots."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._family = [self._family_name() for _ in range(4)]

    def value(self, slot: str) -> str:
        """A value of a slot of training_templates.yaml."""
        if slot in _PARTS:
            return self._rng.choice(_parts(_PARTS[slot]))
        return str(getattr(self, f"_{slot}")())

    def _invented(self) -> str:
        rng = self._rng
        word = "".join(rng.choice(_parts("syllables")) for _ in range(rng.randint(1, 3))) + rng.choice(_parts("ends"))
        return word.capitalize()

    def _ranked(self, kind: str, most: int) -> str:
        ordered = _by_rank(kind)
        return self._rng.choice(ordered[: min(most, len(ordered))]).capitalize()

    def _first(self) -> str:
        rng, kind = self._rng, self._rng.random()
        if kind < 0.4:
            return _typo(self._ranked("given", 600), rng)
        if kind < 0.62:
            return rng.choice(own_list("names.yaml")["given"].split())
        if kind < 0.7:
            return rng.choice(("-", " ")).join((self._ranked("given", 300), self._ranked("given", 300)))
        if kind < 0.82:
            return self._ranked("words", 2000)
        return self._invented()

    def _family_name(self) -> str:
        rng, kind = self._rng, self._rng.random()
        if kind < 0.28:
            return _typo(self._ranked("family", 1500), rng)
        if kind < 0.42:
            return self._ranked("family", 30_000)
        if kind < 0.56:
            return rng.choice(own_list("names.yaml")["family"].split())
        if kind < 0.72:
            return self._ranked("words", 2000)
        if kind < 0.76:
            return rng.choice(_eponyms()).capitalize()
        if kind < 0.84:
            return rng.choice(_PREFIXES) + self._invented()
        if kind < 0.88:
            return "-".join((self._ranked("family", 1000), self._ranked("family", 1000)))
        return self._invented()

    def _last(self) -> str:
        return self._rng.choice(self._family)

    def _lastcaps(self) -> str:
        return self._last().upper()

    def _full(self) -> str:
        return f"{self._first()} {self._last()}" if self._rng.random() < 0.8 else self._fullmid()

    def _fullmid(self) -> str:
        initial = self._rng.choice("ABCDEFGHJKLMNPRSTUVW")
        return f"{self._first()} {initial}{self._rng.choice(('.', '.', ''))} {self._last()}"

    def _lastfirst(self) -> str:
        initial = self._rng.choice(("", "", f" {self._rng.choice('ABCDEFGHJKLM')}."))
        return f"{self._last()}, {self._first()}{initial}"

    def _lastfirstcaps(self) -> str:
        return self._lastfirst().upper()

    def _initlast(self) -> str:
        letters = self._rng.sample("ABCDEFGHJKLMNPRSTW", self._rng.choice((1, 1, 2)))
        dot = self._rng.choice((".", ". ", " "))
        return "".join(f"{letter}{dot}" for letter in letters).strip() + " " + self._last()

    def _lower(self) -> str:
        return self._rng.choice((self._first(), f"{self._first()} {self._last()}", self._last())).lower()

    def _initials(self) -> str:
        letters = self._rng.sample("ABCDEFGHJKLMNPRSTW", 2)
        return self._rng.choice(("{}.{}.", "{}{}", "{}. {}.")).format(*letters)

    def _koreanname(self) -> str:
        family = self._rng.choice(own_list("names.yaml")["korean_family"].split())
        return family + "".join(self._rng.sample(_parts("hangul"), 2))

    def _romkorean(self) -> str:
        """A Korean name in Latin letters: `Kang Dae-hyun`."""
        rng = self._rng
        first, second = rng.choice(_parts("korean_syllables")), rng.choice(_parts("korean_syllables"))
        return f"{rng.choice(_parts('korean_families'))} {first.capitalize()}-{second}"

    def _lastinit(self) -> str:
        """`Begum N`."""
        last = self._rng.choice((self._last(), self._lastcaps()))
        return f"{last} {self._rng.choice('ABCDEFGHJKLMNPRSTW')}"

    def _lastii(self) -> str:
        """`Shim YJ`."""
        return f"{self._last()} {''.join(self._rng.sample('BCDEGHJKLMNSWY', 2))}"

    def _city(self) -> str:
        if (kind := self._rng.random()) < 0.6:
            return " ".join(part.capitalize() for part in self._rng.choice(_towns(large=kind < 0.4)))
        pattern = self._rng.choice(_parts("towns"))
        return pattern.format(self._last() if self._rng.random() < 0.5 else self._invented())

    def _hospital(self) -> str:
        rng = self._rng
        saint = " ".join((rng.choice(("St.", "St", "Saint")), rng.choice(own_list("places.yaml")["saints"].split())))
        own = (
            self._city(),
            self._last(),
            self._city(),
            saint,
            f"{self._last()}-{self._last()}",
            f"Mount {self._invented()}",
        )
        stem = rng.choice((*own, *_parts("churches")))
        form = rng.random()
        if form < 0.06:
            return " ".join((rng.choice(("University of", "Royal", "Klinikum", "Universitätsklinikum")), self._city()))
        return (
            stem if form < 0.12 and stem.startswith(("St", "Our")) else " ".join((stem, rng.choice(_parts("places"))))
        )

    def _firm(self) -> str:
        stem = self._rng.choice((self._last(), self._city(), f"{self._last()} and {self._last()}", self._invented()))
        return (
            f"{stem} {self._rng.choice(_parts('firms'))}"
            if self._rng.random() < 0.85
            else f"{stem}, {self._last()} and {self._last()}"
        )

    def _street(self) -> str:
        name = self._rng.choice(
            (self._last(), self._invented(), "Oak", "Main", "Park", "Church", "2nd", "Mill", "High", "North Elm")
        )
        flat = self._rng.choice(("", "", "", " Apt 4", ", Flat 2", " #12"))
        return f"{self._rng.randint(1, 9999)} {name} {self._rng.choice(_parts('streets'))}{flat}"

    def _site(self) -> str:
        """A hospital, a surgery or a home as shorthand names it, mostly without a word for what it is."""
        rng = self._rng
        own = rng.choice((self._last(), self._city(), self._invented(), self._ranked("words", 2000)))
        saint = rng.choice(own_list("places.yaml")["saints"].split())
        return rng.choice((self._capitals(), own, own, f"{own} {rng.choice(_parts('homes'))}", f"St {saint}'s"))

    def _shop(self) -> str:
        """A firm, a shop or a school without a word for its trade, or with a rarer one."""
        rng = self._rng
        own = rng.choice((self._last(), self._invented(), self._ranked("words", 2000), self._city()))
        forms = (own, f"{own}'s", f"{own} & {self._last()}", f"{own} {rng.choice(_parts('trades'))}", self._firm())
        return rng.choice((*forms, f"{self._capitals()} {self._city()}"))

    def _road(self) -> str:
        """A street without a number, or the name of a house."""
        rng = self._rng
        own = rng.choice((self._last(), self._invented(), self._city(), self._ranked("words", 2000)))
        road = f"{own} {rng.choice(_parts('roads'))}"
        flat = rng.choice(("Flat {}", "Unit {}", "lot {}", "{}b", "Apt {}")).format(rng.randint(1, 99))
        house = rng.choice((flat, flat, "The Bungalow", f"{own} Cottage"))
        return rng.choice((road, road, f"{rng.randint(1, 240)} {road}", f"{house}, {road}"))

    def _capitals(self) -> str:
        return "".join(self._rng.choice("ABCDEFGHKLMNPRSTUVW") for _ in range(self._rng.randint(3, 4)))

    def _abbr(self) -> str:
        """An abbreviation of a finding, a test or a procedure."""
        rng = self._rng
        letters = "".join(rng.choice("ABCDEFGHIKLMNOPRSTUVX") for _ in range(rng.randint(2, 4)))
        return rng.choice((letters, letters, letters, f"{letters}{rng.randint(1, 9)}", letters.capitalize()))

    def _brand(self) -> str:
        """A medicine that no list has."""
        stem = "".join(self._rng.choice(_parts("syllables")) for _ in range(self._rng.randint(1, 2)))
        name = f"{stem}{self._rng.choice(_parts('medicines'))}"
        return name.capitalize() if self._rng.random() < 0.85 else name

    def _code(self) -> str:
        rng = self._rng
        letters = "".join(rng.choice("ABCDEFGHKLMNPRSTWXZ") for _ in range(rng.choice((0, 1, 2, 3))))
        digits = "".join(rng.choice("0123456789") for _ in range(rng.choice((4, 5, 6, 7, 8, 10))))
        cut = rng.randint(1, len(digits) - 1)
        halves = f"{letters}{digits[:cut]}-{digits[cut:]}", f"{digits[:cut]}{letters}{digits[cut:]}"
        return rng.choice((letters + digits, f"{letters}-{digits}" if letters else digits, *halves))

    def _plate(self) -> str:
        letters = "".join(self._rng.choice("ABCDEFGHJKLMNPRSTVWXYZ") for _ in range(3))
        number = self._rng.randint(100, 9999)
        return self._rng.choice(
            (f"{letters}-{number}", f"{letters} {number}", f"{number} {letters}", f"{letters}{number}")
        )

    def _date(self) -> str:
        day = date(1930, 1, 1) + timedelta(days=self._rng.randrange(35_000))
        month = _parts("months")[day.month - 1]
        return self._rng.choice(_FORMATS).format(
            d=day.day, m=day.month, y=day.year, M=month, N=month[:3], s=day.year % 100
        )

    def _md(self) -> str:
        return f"{self._rng.randint(1, 12)}{self._rng.choice('//-')}{self._rng.randint(1, 28)}"

    def _dm(self) -> str:
        return f"{self._rng.randint(1, 28)}{self._rng.choice('//.')}{self._rng.randint(1, 12)}"

    def _phone(self) -> str:
        a, b, c = self._rng.randint(201, 989), self._rng.randint(200, 999), self._rng.randint(0, 9999)
        return self._rng.choice(("({}) {}-{:04}", "{}-{}-{:04}", "{}.{}.{:04}", "{} {} {:04}")).format(a, b, c)

    def _zip(self) -> str:
        return f"{self._rng.randint(10000, 99999)}"

    def _time(self) -> str:
        return f"{self._rng.randint(0, 23)}:{self._rng.randint(0, 59):02}"

    def _age(self) -> int:
        return self._rng.randint(18, 89)

    def _n(self) -> int:
        return self._rng.randint(1, 9) if self._rng.random() < 0.6 else self._rng.randint(10, 89)

    def _num(self) -> str:
        return f"{self._rng.randint(1, 20)}.{self._rng.randint(0, 9)}"

    def _drug(self) -> str:
        name = self._rng.choice(_drugs())
        return name.capitalize() if self._rng.random() < 0.6 else name

    def _eponym(self) -> str:
        return self._rng.choice(_eponyms()).capitalize()


def _typo(name: str, rng: Random) -> str:
    """One name in twelve misspelt: two letters change places, or one is lost."""
    if rng.random() > 0.08 or len(name) < 5:
        return name
    at = rng.randint(1, len(name) - 2)
    return name[:at] + name[at + 1] + name[at] + name[at + 2 :] if rng.random() < 0.5 else name[:at] + name[at + 1 :]


@cache
def _by_rank(kind: str) -> list[str]:
    """Given or family names, or the names that are also frequent English words, the most frequent first."""
    english = english_words()
    if kind == "words":
        names = family_names().keys() | given_names().keys()
        ranks = {word: english[word] for word in names if 80 < english.get(word, 99_999) < 12_000 and len(word) > 2}
    else:
        ranks = given_names() if kind == "given" else family_names()
    return sorted(ranks, key=lambda word: (ranks[word], word))
