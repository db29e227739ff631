"""The options of the critic; this is their only declaration."""

from __future__ import annotations

from dataclasses import dataclass

from r2vpo.core.declaration import Options, option


@dataclass(frozen=True)
class CriticOptions(Options):
    """A critic: advantages per token from a learned value function, as in PPO, in place of those from groups.

    Source of the defaults: `gamma` 1 is that of verl and OpenRLHF, lambda 0.95 that of PPO (1707.06347); `clip` 0.5
    is that of verl 0.9.1 and OpenRLHF 0.11.2; `loss_weight` 0.5 is the `vf_coef` of CleanRL's PPO, whose value loss is
    also half the squared error; docs/objective.md says what 0.1 and 1 gave.
    """

    enabled: bool = option(False, "train a critic, and compute the advantages of tokens from its values by GAE")
    model: str = option(
        "shared",
        "what predicts values: shared (a linear head on the policy's trunk), copy (a separate model that starts from "
        "the policy's weights), or the folder or hub id of a model that a separate one starts from",
    )
    learning_rate: float | None = option(
        None, "learning rate of the critic's own weights; null means that of the policy", above=0
    )
    gamma: float = option(1.0, "discount per trained token", above=0, at_most=1)
    gae_lambda: float = option(
        0.95,
        "lambda of GAE: 1 uses the whole reward, lower values rely more on the predicted values",
        at_least=0,
        at_most=1,
    )
    loss_weight: float = option(
        0.5, "weight of the value loss, half the squared error; matters where the trunk is shared", above=0
    )
    clip: float | None = option(
        0.5,
        "how far a value may move in a round before its loss stops pulling it further, in units of the reward; null "
        "means no limit",
        above=0,
    )
    warmup_rounds: int = option(0, "first rounds, in which only the critic is trained", at_least=0)

    def check(self) -> None:
        """See `Options.check`."""
        if not self.model.strip():
            raise ValueError("model is empty; write shared, copy, or the folder or hub id of a model")
