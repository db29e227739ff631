"""What a worker writes into its log."""

from __future__ import annotations

import warnings

import pytest

from r2vpo.compare.worker import plain_warning

logger = pytest.importorskip("gymnasium.logger")


def test_a_warning_of_gymnasium_has_no_colours_of_a_terminal() -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        logger.warn("the environment is out of date")
    (one,) = found
    assert "\x1b[" in str(one.message), "gymnasium colours its warnings"
    text = plain_warning(one.message, one.category, one.filename, one.lineno)
    assert "UserWarning: WARN: the environment is out of date\n" in text and "\x1b" not in text
