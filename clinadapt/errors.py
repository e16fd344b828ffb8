"""Errors that a user can fix, and the exit statuses that scripts and schedulers read."""

import re

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_BAD_INPUT = 2
EXIT_REFUSED = 3
EXIT_MOVED = 4  # what an adapter is asked or answers has moved away from its evaluation
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again to resume


class UserError(Exception):
    """Something the user can fix. Its message is one line: what is wrong and what to do."""


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNPRINTABLE_IN_LINES = re.compile(_UNPRINTABLE.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def printable(text: str) -> str:
    """Text of several lines for a terminal, without what `one_line` removes but its line breaks and tabs."""
    return _UNPRINTABLE_IN_LINES.sub(" ", text)


def one_line(text: str) -> str:
    """Text for a terminal or a file: line breaks, escape sequences, characters that turn the direction of writing and
    halves of characters become spaces."""
    return _UNPRINTABLE.sub(" ", text)
