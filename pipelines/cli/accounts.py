"""`clinadapt review-account`: add an account of a reviewer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def review_account(
    name: Annotated[str, typer.Argument(help="Name of the reviewer, as their marks will show it.")],
    file: Annotated[
        Path, typer.Option(help="File of the accounts, which is created.", envvar="CLINADAPT_REVIEW_ACCOUNTS")
    ],
) -> None:
    """Add an account of a reviewer to a file, with a hash of the password.

    `clinadapt review` asks for these accounts where CLINADAPT_REVIEW_ACCOUNTS names the file.

        clinadapt review-account rita --file accounts.txt
    """
    from clinadapt.review.accounts import add_account

    add_account(file, name, typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    print(f"added {name} to {file}: set CLINADAPT_REVIEW_ACCOUNTS={file} for clinadapt review", file=sys.stderr)
