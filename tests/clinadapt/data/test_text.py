"""Text that comes from data, where it is shown."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from clinadapt.data.sources import _check_redirect
from clinadapt.data.text import spreadsheet_cell
from clinadapt.errors import UserError, one_line, printable


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('=HYPERLINK("https://evil.example")', '\'=HYPERLINK("https://evil.example")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("- aspirin", "'- aspirin"),
        ("＝HYPERLINK(1)", "'＝HYPERLINK(1)"),
        ("\n=1", "'\n=1"),
        ("\t=1", "'\t=1"),
        ("-5", "-5"),
        ("+37.5", "+37.5"),
        ("aspirin = 81 mg", "aspirin = 81 mg"),
        ("", ""),
        (0.5, 0.5),
    ],
)
def test_a_formula_is_text_in_a_csv_file(value: Any, cell: Any) -> None:
    assert spreadsheet_cell(value) == cell


def test_a_line_of_a_terminal_stays_one_line() -> None:
    assert one_line("a\nerror: b\x1b[31m\x9b2J\u202ec") == "a error: b [31m 2J c"
    assert one_line("Général 37 °C, β-blocker") == "Général 37 °C, β-blocker"


def test_an_answer_on_a_terminal_keeps_its_lines_alone() -> None:
    assert printable("Aspirin\n\t81 mg\x1b]0;title\x07\r\x9b2J\ud800") == "Aspirin\n\t81 mg ]0;title   2J "


@pytest.mark.parametrize(
    ("uri", "location", "refused"),
    [
        ("http://127.0.0.1:8000/a", "http://127.0.0.1:9000/a", True),
        ("https://data.example/a", "http://data.example/a", True),
        ("https://data.example/a", "https://169.254.169.254/latest", True),
        ("https://data.example/a", "https://localhost/a", True),
        *(
            ("https://data.example/a", f"https://{host}/a", True)
            for host in (
                "127.1",
                "0",
                "2130706433",
                "0x7f.0.0.1",
                "127.0.0.1.",
                "localhost.",
                "[::ffff:10.0.0.1]",
                "[64:ff9b::a00:1]",
                "[2002:a00:1::1]",
                "224.0.0.1",
                "minio",
                "minio.kubeflow.svc",
            )
        ),
        ("https://data.example/a", "https://93.184.215.14/a", False),
        ("http://127.0.0.1:8000/a", "/b", False),
        ("https://data.example/a", "https://cdn.example/a", False),
    ],
)
def test_a_redirect_stays_outside_of_the_network(uri: str, location: str, refused: bool) -> None:
    response = httpx.Response(302, headers={"location": location}, request=httpx.Request("GET", uri))
    if refused:
        with pytest.raises(UserError, match="redirects"):
            _check_redirect(response)
    else:
        _check_redirect(response)
