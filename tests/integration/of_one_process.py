"""A reward that waits in all of two processes, or raises in the second, when the environment says so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tests.integration.cli import BEHAVIOUR, ROWS, even_digits

_rounds = 0


def scripted(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """As `even_digits`; "hold:N:FILE" makes the file in training round N and waits, "raise:N" raises in rank 1."""
    global _rounds
    what, _, rest = os.environ.get(BEHAVIOUR, "").partition(":")
    if what and len(completions) == ROWS // 2:
        _rounds += 1
        turn, _, file = rest.partition(":")
        if _rounds >= int(turn):
            if what == "raise" and os.environ["RANK"] == "1":
                raise RuntimeError("the scorer of one process is gone")
            if what == "hold":
                Path(file).touch()
                time.sleep(120)
    return even_digits(prompts, completions)
