"""Options of R²VPO: read from the command line and passed to Ray's workers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from r2vpo.config.known_keys import unknown_key
from r2vpo.config.overrides import MISSING, get_key, override
from r2vpo.core.declaration import UnknownOption, option
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.objective_config import Aggregation
from r2vpo.core.options import BufferOptions
from r2vpo.environment import OPENRLHF
from r2vpo.errors import UserError


@dataclass(frozen=True)
class OpenRLHFOptions(MethodOptions):
    """Options of the method and of the replay.

    Raises:
        ValueError: A value is out of bounds.
    """

    replay: BufferOptions = option(BufferOptions(), "training again on rollouts of earlier policy versions")
    seed: int = option(0, "seed of the replay's draws", at_least=0)


_THEIRS = ("objective.aggregation", "objective.constant")


def parse_options(overrides: Sequence[str]) -> OpenRLHFOptions:
    """Read `KEY=VALUE` as `r2vpo train` does.

    Args:
        overrides: options, such as `dual.kind=ascent`.

    Raises:
        UserError: a text is not an override, a key is unknown (the nearest one is named), a value is out of bounds, or
            OpenRLHF itself has the option.
    """
    given: dict[str, Any] = {}
    for text in overrides:
        override(given, text)
    for key in _THEIRS:
        if get_key(given, key) is not MISSING:
            raise UserError(f"--set: {key}: OpenRLHF has it: set --actor.loss_agg_mode among its own arguments")
    try:
        return OpenRLHFOptions.of(given, "")
    except UnknownOption as error:
        problem = unknown_key(error.key, OpenRLHFOptions)
    except ValueError as error:
        problem = str(error)
    raise UserError(f"--set: {problem}")


def to_environment(options: OpenRLHFOptions) -> dict[str, str]:
    """Return the environment variable for `runtime_env`."""
    return {OPENRLHF.name: json.dumps(asdict(options))}


def from_environment(*, loss_agg_mode: str) -> OpenRLHFOptions:
    """Return the options in a worker, with the aggregation that OpenRLHF was given.

    Args:
        loss_agg_mode: `args.actor.loss_agg_mode`; "token-mean" or a mean of each response.
    """
    options = OpenRLHFOptions.of(json.loads(os.environ.get(OPENRLHF.name, "{}")), "")
    aggregation: Aggregation = "token_mean" if loss_agg_mode == "token-mean" else "sequence_mean"
    return replace(options, objective=replace(options.objective, aggregation=aggregation))
