"""The options of R²VPO on the command line and on their way to Ray's workers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from r2vpo.core.method import MethodOptions
from r2vpo.errors import UserError
from r2vpo.nearest import did_you_mean
from r2vpo.replay import ReplayConfig

VARIABLE = "R2VPO_OPENRLHF"
"""The environment variable that carries them to the workers, as JSON."""


@dataclass(frozen=True, kw_only=True)
class OpenRLHFOptions(MethodOptions):
    """The method's options and those of the replay.

    Attributes:
        replay_versions: Rounds that a row is kept for; 0 is on-policy.
        replay_ratio: Stale rows for each fresh one, at most.
        replay_seed: Seed of the draws.

    Raises:
        ValueError: A value out of its bounds.
    """

    replay_versions: int = 5
    replay_ratio: float = 1.0
    replay_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.replay_config()

    def replay_config(self) -> ReplayConfig:
        """The replay's options."""
        return ReplayConfig(versions=self.replay_versions, ratio=self.replay_ratio, seed=self.replay_seed)


_NAMES = [field.name for field in fields(OpenRLHFOptions)]
_THEIRS = ("aggregation", "aggregation_constant")


def parse_options(overrides: Sequence[str]) -> OpenRLHFOptions:
    """Read `KEY=VALUE`; values are JSON, and what is no JSON is a string.

    Args:
        overrides: fields of `OpenRLHFOptions`.

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
            hint = did_you_mean(key, _NAMES, f": choose one of {', '.join(_NAMES)}")
            raise UserError(f"--set {key}: there is no such option{hint}")
        given[key] = _value(value)
    try:
        return OpenRLHFOptions(**given)
    except (ValueError, TypeError) as error:
        raise UserError(f"--set: {error}") from error


def to_environment(options: OpenRLHFOptions) -> dict[str, str]:
    """The environment variable for `runtime_env`."""
    return {VARIABLE: json.dumps(asdict(options))}


def from_environment(*, loss_agg_mode: str) -> OpenRLHFOptions:
    """The options in a worker, with the aggregation that OpenRLHF was given.

    Args:
        loss_agg_mode: `args.actor.loss_agg_mode`; "token-mean" or a mean of each response.
    """
    options = OpenRLHFOptions(**json.loads(os.environ.get(VARIABLE, "{}")))
    return replace(options, aggregation="token_mean" if loss_agg_mode == "token-mean" else "sequence_mean")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
