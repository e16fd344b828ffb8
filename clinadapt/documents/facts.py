"""The records of a version that its governance documents are filled from, and the values at pointers into them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from clinadapt.documents.definition import Pointer

# Records of a version, as they lie beside its weights; data.json, verdict.json and conformance.json since this release
RECORDS = ("evaluation.json", "training.json", "clinadapt.json", "data.json", "verdict.json", "conformance.json")
REGISTRY = "registry.json"  # what the registry knows of the version after its publication


class Unresolved(Exception):
    """There is no value at a pointer."""


class Facts:
    """Records by file name, such as manifest.json.

    Attributes:
        records: file name -> content.
    """

    def __init__(self, records: Mapping[str, Any]) -> None:
        self.records = dict(records)

    @property
    def recipe(self) -> str:
        """classify or instruct, as manifest or adapter card tell; empty where neither does."""
        for file in ("manifest.json", "clinadapt.json"):
            if isinstance(record := self.records.get(file), dict) and isinstance(record.get("recipe"), str):
                return str(record["recipe"])
        return ""

    def value(self, pointer: Pointer) -> Any:
        """The value at a pointer. Raises Unresolved where there is none, or it is null or no finite number."""
        value = self.records.get(pointer.file)
        for token in pointer.path.split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            else:
                raise Unresolved(str(pointer))
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise Unresolved(str(pointer))
        return value

    def has(self, pointer: Pointer) -> bool:
        """Whether there is a value at a pointer that is not empty, zero or false."""
        try:
            return bool(self.value(pointer))
        except Unresolved:
            return False
