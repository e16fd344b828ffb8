"""Accounts of reviewers: who may sign in, and what a file of them must be."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clinadapt.errors import UserError
from clinadapt.review import server
from clinadapt.review.accounts import ACCOUNTS, Accounts, add_account
from pipelines.cli.main import app


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.txt"


def test_each_signs_in_with_their_own_password(file: Path) -> None:
    typed = "correct horse\ncorrect horse\n"
    done = CliRunner().invoke(app, ["review-account", "rita", "--file", str(file)], input=typed)
    assert done.exit_code == 0 and "added rita to" in done.stderr
    file.write_text(file.read_text().rstrip("\n"))  # as an editor may leave it
    add_account(file, "omar", "battery staple")
    accounts = Accounts(file)
    assert accounts("rita", "correct horse") and accounts("omar", "battery staple")
    for name, password in [("rita", "battery staple"), ("ann", "correct horse"), ("Rita", "correct horse"), ("", "")]:
        assert not accounts(name, password)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and "horse" not in file.read_text()


@pytest.mark.parametrize(
    "name, password, problem",
    [
        ("RITA ", "long enough", "no blank at its ends"),
        ("RITA", "long enough", "has an account of that name already"),
        ("ann", "short", "at least 8 characters"),
        ("", "long enough", "1 to 200 printable"),
        ("a\nb", "long enough", "printable"),
    ],
)
def test_an_account_that_cannot_be_is_refused(file: Path, name: str, password: str, problem: str) -> None:
    add_account(file, "rita", "long enough")
    before = file.read_text()
    with pytest.raises(UserError, match=problem):
        add_account(file, name, password)
    assert file.read_text() == before


@pytest.mark.parametrize(
    "line", ["rita", "rita:secret", "rita:scrypt$?$YQ==", ":scrypt$YQ==$YQ==", "rita:md5$YQ==$YQ=="]
)
def test_a_line_that_is_no_account_is_named(file: Path, line: str) -> None:
    file.write_text(f"\n{line}\n")
    with pytest.raises(UserError, match=r"^line 2 of .* is no account: write it with clinadapt review-account"):
        Accounts(file)


def test_a_file_without_accounts_opens_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (None, b"", b"\xff\xfe"):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(UserError):
            Accounts(file)
    monkeypatch.setenv(ACCOUNTS, str(file))
    with pytest.raises(UserError, match="is not UTF-8"):
        server.credentials("127.0.0.1")
    file.unlink()
    add_account(file, "rita", "long enough")
    found = server.credentials("0.0.0.0")
    assert isinstance(found, Accounts) and found("rita", "long enough")
    monkeypatch.setenv(server.USER, "omar")
    with pytest.raises(UserError, match="stands alone"):
        server.credentials("0.0.0.0")


def test_two_accounts_of_one_person_are_refused(file: Path) -> None:
    add_account(file, "rita", "long enough")
    file.write_text(file.read_text() + file.read_text().replace("rita", "Rita"))
    with pytest.raises(UserError, match="lines 1 and 2 .* of one person"):
        Accounts(file)
