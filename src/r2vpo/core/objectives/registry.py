"""The objectives by name: a plain dict, to be read and added to."""

from typing import Any, NamedTuple, Protocol

from torch import Tensor

from r2vpo.core.objectives.clip import ClipConfig, clip_loss
from r2vpo.core.objectives.ratio_variance import RatioVarianceConfig, r2vpo_loss
from r2vpo.core.types import LossOutput
from r2vpo.core.validation import check_choice


class Loss(Protocol):
    """The one signature of every objective; `config` is an instance of its own config class."""

    def __call__(
        self,
        *,
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        dual: float | Tensor,
        rollout_log_probs: Tensor | None = None,
        config: Any = ...,
        normalizer: float | Tensor | None = None,
    ) -> LossOutput:
        """Compute the loss."""


class Objective(NamedTuple):
    """An objective: its options and its function.

    Attributes:
        config_class: A frozen dataclass, checked when it is built.
        loss: The function.
    """

    config_class: type[Any]
    loss: Loss


OBJECTIVES: dict[str, Objective] = {
    "r2vpo": Objective(RatioVarianceConfig, r2vpo_loss),
    "clip": Objective(ClipConfig, clip_loss),
}


def find_objective(name: str) -> Objective:
    """Look an objective up.

    Args:
        name: A key of `OBJECTIVES`.

    Returns:
        Its config class and its function.

    Raises:
        ValueError: There is none of that name; the message lists those there are.
    """
    check_choice("objective", name, OBJECTIVES)
    return OBJECTIVES[name]
