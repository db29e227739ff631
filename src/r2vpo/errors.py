"""Errors that a user can fix: one line that says what is wrong, where, and what to do."""


class UserError(ValueError):
    """Bad input, found before or during work; the command line prints it as one line and exits with code 2."""
