"""What the rows of a source contain and no layout reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from clinadapt.data.readers import is_usual

OTHER_NAMES = "columns with other names"  # which may be data: without a header, the first line is a patient's


class TrackedRow(dict[str, Any]):
    """A row that knows which of its values were read, also of the objects in its lists, such as the messages of a
    chat."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__({name: _tracked(value) for name, value in row.items()})
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._read.add(name)
        return super().get(name, default)

    def unused(self) -> Iterator[str]:
        """Names of the values that were not read and are not empty; `messages.name` of an object in a list."""
        for name, value in self.items():
            if name not in self._read:
                if not _is_empty(value):
                    yield name if is_usual(name) else OTHER_NAMES
            elif isinstance(value, list):
                inner = (part for each in value if isinstance(each, TrackedRow) for part in each.unused())
                yield from (part if part == OTHER_NAMES else f"{name}.{part}" for part in inner)


def _tracked(value: Any) -> Any:
    if isinstance(value, list):
        return [TrackedRow(each) if isinstance(each, dict) else each for each in value]
    return value


def _is_empty(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else value is None or value in ([], {})


def by_frequency(counts: Counter[str]) -> dict[str, int]:
    """Counts as a manifest records them, the most frequent first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
