"""SHA-256 of files and JSON values, and JSON files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256_file(path: Path) -> str:
    """`sha256:<hex>` of a file, read in blocks."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """`sha256:<hex>` of a JSON value in canonical form (sorted keys, no whitespace)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with a trailing newline."""
    path.write_text(to_json(value), encoding="utf-8")


def to_json(value: Any) -> str:
    """JSON text as it is written to files."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises ValueError as `parse_json`, OSError where it cannot be read."""
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(data: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError where it is none, also for one that is nested too deeply to read."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
