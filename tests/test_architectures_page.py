"""docs/architectures.md has the rows of the two tests that it describes, and the words of preflight."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from support import ROOT

TRIED = "yes"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests/components/train" / f"{name}.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def table(*rows: list[str]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def instruct() -> str:
    tests = module("test_causal_architectures")
    head = ["instruct", "loss and gradients of its own forward pass", "trained, reloaded, merged, served", "examples"]
    padded = {"Falcon-H1": "padded: its layers are recurrent", "LFM2": "padded: the loss of a tree is not that alone"}
    assert padded.keys() == tests.PADDED.keys()
    return table(head, *([name, TRIED, TRIED, padded.get(name, "packed")] for name in tests.MODELS))


def classify() -> str:
    tests = module("test_classify_architectures")
    rows = []
    for name in tests.MODELS:
        poolings = [
            f"refused: {tests.REFUSED[name, pooling]}" if (name, pooling) in tests.REFUSED else
            TRIED if (name, pooling) in tests.CASES else "not tried"
            for pooling in ("model", "mean")
        ]  # fmt: skip
        rows.append([name, *poolings, ", ".join(sorted(tests.DRAWN.get(name, ()))) or "–"])
    return table(["classify", "pooling `model`", "pooling `mean`", "drawn, trained and saved beside the output"], *rows)


def test_the_page_has_a_row_for_each_architecture() -> None:
    page = (ROOT / "docs/architectures.md").read_text(encoding="utf-8")
    for expected in (instruct(), classify()):
        assert expected in page, f"docs/architectures.md: write this table into it:\n{expected}"


def test_the_page_quotes_what_the_program_says() -> None:
    _, _, rows = (ROOT / "docs/architectures.md").read_text(encoding="utf-8").partition("## Refused in preflight")
    quoted = [line.split("|")[2].strip().strip("`") for line in rows.splitlines() if line.count("`") >= 2]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "clinadapt/models").glob("*.py"))
    assert len(quoted) >= 8
    assert [words for words in quoted if not all(part in sources for part in words.split(" … "))] == []
