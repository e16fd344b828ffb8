"""Definitions of the governance documents, definitions/*.yaml: the fields of a scheme, and where each comes from.

A text holds pointers to the records of a version: `{evaluation.json#/rows|count}` is the value at a JSON pointer
(RFC 6901) of a file, in a form of `clinadapt.documents.forms`. No number is typed beside them.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple, Self

import pydantic
import yaml

# Name of a definition, in the order of the documents
NAMES = ("chai", "hti1", "annex_iv", "tripod_llm", "change_plan")
PLACEHOLDER = re.compile(r"\{([a-z]+\.json)#([^{}|]*)(?:\|([a-z]+))?\}")


class Pointer(NamedTuple):
    """A place in a record: file name and JSON pointer."""

    file: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split `evaluation.json#/rows`."""
        file, _, path = text.partition("#")
        return cls(file, path)

    def __str__(self) -> str:
        return f"{self.file}#{self.path}"


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Line(_Strict):
    """A sentence of a field.

    Attributes:
        text: with pointers; one in a form of several items stands at the end.
        only: recipe that it is for; both when None.
        when, unless: pointer to a value that must, or must not, be there (and not be empty) for the line to be shown.
    """

    text: str
    only: Literal["classify", "instruct"] | None = None
    when: str = ""
    unless: str = ""


class Field(_Strict):
    """What a scheme asks for.

    Attributes:
        id: its number in the scheme; in the CHAI card the path of its XML element.
        title: short name.
        lines: what the run knows.
        role, ask: who fills in what the run cannot know, and what that is.
        unrecorded: what a run could know and this release does not record.
    """

    id: str
    title: str
    lines: list[Line] = []
    role: str = ""
    ask: str = ""
    unrecorded: str = ""

    @pydantic.field_validator("lines", mode="before")
    @classmethod
    def _texts_are_lines(cls, lines: list[Any]) -> list[Any]:
        return [{"text": line} if isinstance(line, str) else line for line in lines]

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.lines or self.role or self.unrecorded) or bool(self.role) != bool(self.ask):
            raise ValueError(f"field {self.id} needs lines, a role with what it is asked, or what is not recorded")
        return self


class Group(_Strict):
    """A section of a document."""

    title: str
    fields: list[Field]


class Document(_Strict):
    """A document.

    Attributes:
        file: name of its files, without ending.
        title, scheme, url: what it is, and which publication asks for it.
        note: one or two sentences for its reader.
        xml: namespace of the scheme's XML; empty where it has none.
    """

    file: str
    title: str
    scheme: str
    url: str
    note: str
    xml: str = ""
    groups: list[Group]

    @property
    def fields(self) -> list[Field]:
        """All fields, in order."""
        return [field for group in self.groups for field in group.fields]


@cache
def document(name: str) -> Document:
    """The definition of one of NAMES."""
    path = files("clinadapt.documents") / "definitions" / f"{name}.yaml"
    return Document.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
