"""The options of R²VPO on the command line and on their way to Ray's workers."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from r2vpo.core.method import MethodOptions
from r2vpo.errors import UserError

VARIABLE = "R2VPO_OPENRLHF"
"""The environment variable that carries them to the workers, as JSON."""

_NAMES = [field.name for field in fields(MethodOptions)]
_THEIRS = ("aggregation", "aggregation_constant")


def parse_options(overrides: Sequence[str]) -> MethodOptions:
    """Read `KEY=VALUE`; values are JSON, and what is no JSON is a string.

    Args:
        overrides: fields of `MethodOptions`.

    Raises:
        UserError: no `=`, an unknown key (with the nearest one), a value out of its bounds, or an option that
            OpenRLHF has itself.
    """
    given: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: has no =: write KEY=VALUE")
        if key in _THEIRS:
            raise UserError(f"--set {key}: OpenRLHF has it: set --actor.loss_agg_mode among its own arguments")
        if key not in _NAMES:
            close = difflib.get_close_matches(key, _NAMES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(_NAMES)}"
            raise UserError(f"--set {key}: there is no such option: {hint}")
        given[key] = _value(value)
    try:
        return MethodOptions(**given)
    except (ValueError, TypeError) as error:
        raise UserError(f"--set: {error}") from error


def to_environment(options: MethodOptions) -> dict[str, str]:
    """The environment variable for `runtime_env`."""
    return {VARIABLE: json.dumps(asdict(options))}


def from_environment(*, loss_agg_mode: str) -> MethodOptions:
    """The options in a worker, with the aggregation that OpenRLHF was given.

    Args:
        loss_agg_mode: `args.actor.loss_agg_mode`; "token-mean" or a mean of each response.
    """
    options = MethodOptions(**json.loads(os.environ.get(VARIABLE, "{}")))
    return replace(options, aggregation="token_mean" if loss_agg_mode == "token-mean" else "sequence_mean")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
