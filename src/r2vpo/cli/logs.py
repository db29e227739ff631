"""What libraries and r2vpo's own modules log: errors and r2vpo's warnings, unless ``--log-level`` says otherwise."""

from __future__ import annotations

import logging
import os
import warnings

LEVELS = ("debug", "info", "warning", "error")

_HUGGING_FACE = ("TRANSFORMERS_VERBOSITY", "DATASETS_VERBOSITY", "HF_HUB_VERBOSITY")
_QUIET = {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
_LIBRARIES = "transformers|trl|torch|accelerate|peft|datasets|huggingface_hub|tensorboard|multiprocessing"


def log_from(level: str | None, *, debug: bool) -> None:
    """Set what is logged, before the libraries are imported; some read it from a variable, which wins if it is set.

    Args:
        level: the least level of every library and of r2vpo; None for r2vpo's warnings and the libraries' errors.
        debug: leave the libraries as they are, unless there is a level.
    """
    least = (level or "warning").upper()
    logging.getLogger().setLevel(least)
    # It writes what no handler of a library takes.
    fallback = logging.lastResort
    assert fallback is not None
    fallback.setLevel(least)
    fallback.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s") if level else None)
    if debug and level is None:
        return
    chosen = level or "error"
    if level is not None:
        os.environ.update(_levels(level) | {"VLLM_LOGGING_LEVEL": level.upper()})
    for name, value in (_levels(chosen) if debug else set_by_default()).items():
        os.environ.setdefault(name, value)
    logging.getLogger("trl").setLevel(chosen.upper())  # it has no variable
    if chosen == "error":
        warnings.filterwarnings("ignore", module=rf"({_LIBRARIES})(\..*)?$")


def set_by_default() -> dict[str, str]:
    """Return the variables that are set for the libraries, unless they are set or the command has ``--debug``."""
    return _QUIET | _levels("error")


def _levels(level: str) -> dict[str, str]:
    # torch has no level below info.
    return dict.fromkeys(_HUGGING_FACE, level) | {"TORCH_CPP_LOG_LEVEL": "INFO" if level == "debug" else level.upper()}
