"""Fill a document: every field with its text and the pointers it comes from, and how many of them a run has filled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clinadapt.documents.definition import PLACEHOLDER, Document, Field, Line, Pointer
from clinadapt.documents.facts import Facts, Unresolved
from clinadapt.documents.forms import FORMS

# filled: the run knows it. missing: a part that it could know is not recorded. person: it is for people.
# inapplicable: there is nothing to tell of a version of this recipe.
State = Literal["filled", "missing", "person", "inapplicable"]


@dataclass(frozen=True)
class FilledLine:
    """A sentence, with one item a line below it."""

    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilledField:
    """A field as a document shows it.

    Attributes:
        field: its definition.
        state: see State; `person` where nothing in it is for the run.
        lines: what the run knows.
        sources: pointers to where they come from, and the values there.
        unresolved: pointers without a value.
    """

    field: Field
    state: State
    lines: tuple[FilledLine, ...]
    sources: dict[str, Any]
    unresolved: tuple[str, ...]


@dataclass(frozen=True)
class FilledDocument:
    """A document about one version."""

    document: Document
    name: str
    version: str
    fields: tuple[FilledField, ...]

    def share(self) -> dict[str, Any]:
        """filled and knowable (numbers of fields), and people: role -> number of fields it is asked to fill in."""
        states = Counter(field.state for field in self.fields)
        people = Counter(each.field.role for each in self.fields if each.field.role)
        return {
            "filled": states["filled"],
            "knowable": states["filled"] + states["missing"],
            "people": dict(sorted(people.items())),
        }


def fill(document: Document, facts: Facts, name: str, version: str) -> FilledDocument:
    """Fill all fields of a document about `name`/`version`."""
    return FilledDocument(document, name, version, tuple(_field(field, facts) for field in document.fields))


def _field(field: Field, facts: Facts) -> FilledField:
    lines, sources, unresolved = [], dict[str, Any](), list[str]()
    for line in _shown(field.lines, facts):
        values, missing = _values(line, facts)
        if missing:
            unresolved += missing
        else:
            sources |= {pointer: value for pointer, value, _ in values}
            lines.append(_line(line, [shown for _, _, shown in values]))
    if unresolved or field.unrecorded:
        state: State = "missing"
    elif lines:
        state = "filled"
    else:
        state = "person" if field.role else "inapplicable"
    return FilledField(field, state, tuple(lines), sources, tuple(dict.fromkeys(unresolved)))


def _shown(lines: Sequence[Line], facts: Facts) -> list[Line]:
    """The lines for this recipe whose conditions hold."""
    return [
        line
        for line in lines
        if line.only in (None, facts.recipe)
        and (not line.when or facts.has(Pointer.parse(line.when)))
        and (not line.unless or not facts.has(Pointer.parse(line.unless)))
    ]


def _values(line: Line, facts: Facts) -> tuple[list[tuple[str, Any, Any]], list[str]]:
    """[(pointer, value, text)] of a line, and the pointers without a value or with one in an unknown layout."""
    values, missing = [], []
    for file, path, form in PLACEHOLDER.findall(line.text):
        pointer = Pointer(file, path)
        try:
            value = facts.value(pointer)
            values.append((str(pointer), value, FORMS[form or "text"](value)))
        except (Unresolved, TypeError, ValueError, KeyError, AttributeError, StopIteration, OverflowError):
            missing.append(str(pointer))
    return values, missing


def _line(line: Line, texts: list[Any]) -> FilledLine:
    """The sentence with its values; a list becomes items below it."""
    items = tuple(item for shown in texts if isinstance(shown, list) for item in shown)
    remaining = iter("" if isinstance(shown, list) else shown for shown in texts)
    return FilledLine(PLACEHOLDER.sub(lambda _: next(remaining), line.text).strip(), items)
