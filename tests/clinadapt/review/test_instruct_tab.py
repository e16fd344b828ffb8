"""The texts that the page of an instruct adapter offers."""

import re

import pytest

from clinadapt.data.schemas.instruct import TASKS


def test_there_is_an_example_instruction_of_each_task_for_the_first_note() -> None:
    pytest.importorskip("gradio")
    from clinadapt.review.instruct_tab import INSTRUCTIONS
    from clinadapt.review.widgets import EXAMPLES

    assert tuple(INSTRUCTIONS) == TASKS
    note = next(iter(EXAMPLES.values()))
    quoted = [text for instruction in INSTRUCTIONS.values() for text in re.findall('"(.+?)"', instruction)]
    assert len(quoted) == 3 and all(text in note for text in quoted)
    assert all(short in note for short in ("BP", "ECG"))
