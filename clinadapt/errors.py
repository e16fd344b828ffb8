"""Errors that a user can fix, and the exit statuses that scripts and schedulers read."""

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_BAD_INPUT = 2
EXIT_REFUSED = 3
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again to resume


class UserError(Exception):
    """Something the user can fix. Its message is one line: what is wrong and what to do."""
