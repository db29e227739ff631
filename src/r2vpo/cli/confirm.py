"""Ask before something is removed."""

import sys

from r2vpo.errors import UserError


def confirmed(question: str, *, yes: bool) -> bool:
    """Return whether the user agrees.

    Args:
        question: what is asked, with a question mark.
        yes: whether the user has agreed on the command line.

    Raises:
        UserError: there is no terminal to ask on.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question} There is no terminal to ask on: add --yes")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
