"""The review page without a model: who may connect, what a flag stores, how files of notes are read."""

import gzip
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from clinadapt.data.schemas.instruct import TASKS
from clinadapt.errors import UserError
from clinadapt.review import batch_file as files
from clinadapt.review import flags
from clinadapt.review import server as page

NOTE = "62-year-old woman with chest pain."


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(page.USER, raising=False)
    monkeypatch.delenv(page.PASSWORD, raising=False)


@pytest.fixture
def answer(tmp_path: Path) -> dict[str, Any]:
    return {
        "predicted_class": 1,
        "label": "Urology",
        "probabilities": {"Cardiology": 0.3, "Urology": 0.7},
        "unseen_token_share": 0.0,
        "adapter": f"{tmp_path.as_uri()}/adapters/specialty/0123456789abcdef",
    }


class Parrot:
    """Stands in for the model in the tests of how a file is read and its answers are written."""

    def stream(self, rows: Any, column: str) -> Any:
        for number, row in enumerate(rows, start=1):
            if isinstance(row, str) or not row[column]:
                yield {"row": number, "error": "no text"}
            else:
                yield {"row": number, "label": "Urology", "probabilities": {"Cardiology": 0.25, "Urology": 0.75}}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_no_password(host: str) -> None:
    assert page.credentials(host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "review.hospital.example"])
@pytest.mark.parametrize("given", [{}, {"CLINADAPT_REVIEW_USER": "rita"}, {"CLINADAPT_REVIEW_PASSWORD": "secret"}])
def test_another_address_demands_user_and_password(
    host: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"^others can reach .* CLINADAPT_REVIEW_USER and CLINADAPT_REVIEW_PASSWORD"):
        page.credentials(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_user_and_password_are_used_wherever_they_are_set(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_REVIEW_USER", "rita")
    monkeypatch.setenv("CLINADAPT_REVIEW_PASSWORD", "secret")
    assert page.credentials(host) == ("rita", "secret")


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"^cannot listen on 127.0.0.1, port {port} .*in use.*--port"):
            page.check_address("127.0.0.1", port)
    page.check_address("127.0.0.1", port)


@pytest.mark.parametrize("host, port", [("127.0.0.1", 70000), ("192.0.2.1", 7860), ("no such host", 7860)])
def test_an_address_that_is_none_is_told_in_one_line(host: str, port: int) -> None:
    with pytest.raises(UserError, match=r"^cannot listen on ") as caught:
        page.check_address(host, port)
    assert "\n" not in str(caught.value)


def test_a_flag_is_stored_beside_the_adapter(tmp_path: Path, answer: dict[str, Any]) -> None:
    uri = flags.flag((NOTE, answer), "Cardiology", " typical angina ", "rita")
    (path,) = (tmp_path / "flagged/specialty/0123456789abcdef").iterdir()
    assert uri == path.as_uri() and path.suffix == ".json"
    record = json.loads(path.read_text())
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "reviewer": "rita",
        "note": NOTE,
        "answer": answer,
        "correction": "Cardiology",
        "comment": "typical angina",
    }


def test_none_of_the_labels_and_no_comment_are_stored_as_null(tmp_path: Path, answer: dict[str, Any]) -> None:
    flags.flag((NOTE, answer), flags.NONE_OF_THESE, "  ", None)
    flags.flag((NOTE, answer), flags.NONE_OF_THESE, "", None)
    paths = list((tmp_path / "flagged/specialty/0123456789abcdef").iterdir())
    assert len(paths) == 2, "two flags within a second are two objects"
    for path in paths:
        record = json.loads(path.read_text())
        assert [record[key] for key in ("correction", "comment", "reviewer")] == [None, None, None]


def test_a_flag_needs_an_answer_and_a_correction(tmp_path: Path, answer: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="submit a note first"):
        flags.flag(None, "Cardiology", "", None)
    with pytest.raises(UserError, match="choose what it should be"):
        flags.flag((NOTE, answer), None, "", None)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def instructed(answer: dict[str, Any]) -> dict[str, Any]:
    told = {"ended": True, "lost_tokens": 0, "unsupported": ["40 mg"]}
    return {"instruction": "Which dose?", "answer": "40 mg.", **told, "adapter": answer["adapter"]}


def test_a_flag_of_an_instruction_says_what_is_wrong(tmp_path: Path, instructed: dict[str, Any]) -> None:
    uri = flags.flag_instructed((NOTE, instructed), "invented", " The note gives no dose. ", " ", "rita")
    (path,) = (tmp_path / "flagged/specialty/0123456789abcdef").iterdir()
    record = json.loads(path.read_text())
    assert uri == path.as_uri() and record.pop("time").endswith("+00:00")
    assert record == {
        "reviewer": "rita",
        "note": NOTE,
        "answer": instructed,
        "fault": "invented",
        "correction": "The note gives no dose.",
        "comment": None,
    }


def test_a_flag_of_an_instruction_needs_an_answer_and_a_fault(tmp_path: Path, instructed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="submit a note first"):
        flags.flag_instructed(None, "invented", "", "", None)
    with pytest.raises(UserError, match="choose what is wrong"):
        flags.flag_instructed((NOTE, instructed), None, "It says nothing.", "", None)
    assert not list(tmp_path.iterdir())


def test_there_is_an_example_instruction_of_each_task_for_the_first_note() -> None:
    pytest.importorskip("gradio")
    from clinadapt.review.instruct_tab import INSTRUCTIONS
    from clinadapt.review.widgets import EXAMPLES

    assert tuple(INSTRUCTIONS) == TASKS
    note = next(iter(EXAMPLES.values()))
    quoted = [text for instruction in INSTRUCTIONS.values() for text in re.findall('"(.+?)"', instruction)]
    assert len(quoted) == 3 and all(text in note for text in quoted)
    assert all(short in note for short in ("BP", "ECG"))


def test_a_file_is_answered_row_by_row(tmp_path: Path) -> None:
    source, out = tmp_path / "notes.csv.gz", tmp_path / "answers.csv"
    with gzip.open(source, "wt") as file:
        file.write(",text\n" + "".join(f'{n},"{"" if n in (2, 21) else NOTE}"\n' for n in range(1, 151)))
    assert files.columns(source) == ["text"]
    steps = [(work.done, work.rows) for work in files.answer_file(Parrot(), source, "text", out)]
    assert steps[0] == (16, 150) and steps[-1] == (150, 150)
    (*_, work) = files.answer_file(Parrot(), source, "text", out)
    assert len(work.shown) == files.SHOWN and work.failed == [2, 21]
    lines = out.read_text().splitlines()
    assert lines[:3] == ["row,label,probability,error", "1,Urology,0.75,", "2,,,no text"]
    assert len(lines) == 151 and NOTE not in out.read_text()


@pytest.mark.parametrize(
    "content, reason", [("text\n", "has no rows"), ('text\na\n"never closed\n', "never closed"), ("", "is empty")]
)
def test_a_broken_file_is_told_before_the_first_answer(tmp_path: Path, content: str, reason: str) -> None:
    source = tmp_path / "notes.csv"
    source.write_text(content)
    with pytest.raises(UserError, match=reason):
        next(files.answer_file(Parrot(), source, "text", tmp_path / "answers.csv"))
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize(
    "failed, summary",
    [
        ([], "1,200 rows answered."),
        ([4], "1,199 of 1,200 rows answered; 1 could not be used (row 4): the file says why."),
        ([4, 17], "1,198 of 1,200 rows answered; 2 could not be used (rows 4, 17): the file says why."),
    ],
)
def test_the_summary_names_the_rows_without_an_answer(failed: list[int], summary: str) -> None:
    assert files.Work(1200, failed=failed).summary() == summary


def test_a_long_list_of_rows_is_cut() -> None:
    summary = files.Work(100, failed=list(range(1, 51))).summary()
    assert "20 and 30 more)" in summary and "21" not in summary
