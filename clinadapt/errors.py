"""Errors that a user can mend, and the exit statuses that scripts and schedulers read."""

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_BAD_INPUT = 2
EXIT_GATE_SAID_NO = 3
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again to go on


class UserError(Exception):
    """Something the user can mend. Its message is one line: what is wrong and what to do."""
