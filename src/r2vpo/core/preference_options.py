"""The options of training on preferences under the constraint; this is their only declaration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r2vpo.core.declaration import Options, option, same_as
from r2vpo.core.method_options import ObjectiveOptions
from r2vpo.core.radius import DELTA

Link = Literal["kl", "chi_square", "chi_po"]
PairBrake = Literal["outward", "two_sided"]


@dataclass(frozen=True)
class PreferenceOptions(Options):
    """Training on pairs of a chosen and a rejected response."""

    link: Link = option(
        "kl",
        "score of a response by z, its probability over that of the reference: kl is log z (DPO), chi_square is z, "
        "chi_po is z + log z",
    )
    reward_bound: float = option(
        5.0,
        "chi_po: R, the largest reward; the margin of a pair counts as at most 2 R and at least -2 R, beyond which it "
        "has no gradient",
        above=0,
    )
    delta: float = same_as(ObjectiveOptions, "delta", DELTA)
    brake: PairBrake = option(
        "outward",
        "outward: a token's gradient shrinks linearly as its ratio goes from 1 to r* = 1 + A / (2 lambda), and "
        "movement caused by other tokens is not penalised; two_sided: the plain Lagrangian, which also draws a token "
        "back",
    )
    steps_per_round: int = option(
        8, "optimizer steps of a round, at whose start the policy that the ratio refers to is renewed", at_least=1
    )
