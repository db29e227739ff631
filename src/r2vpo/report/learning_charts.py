"""Charts of what a run learns: held-out accuracy, and the rollouts that it samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r2vpo.report.chart import Chart, lines, members

_ACCURACY: Mapping[str, Any] = {"section": "Result", "unit": "share", "low": 0.0, "high": 1.0}

LEARNING = (
    Chart(
        key="accuracy",
        title="Held-out accuracy",
        about="Share of held-out problems that greedy decoding solves; the band is its 95 % interval.",
        healthy="Rises together with the reward; runs whose bands overlap by much cannot be told apart.",
        lines=lines(accuracy="all problems"),
        **_ACCURACY,
    ),
    Chart(
        key="difficulty",
        title="Held-out accuracy by difficulty",
        about="The same for the problems of each difficulty, which are fewer, so the intervals are wider.",
        healthy="Easy problems rise first, and hard ones follow.",
        lines=members("by_difficulty"),
        at_least=2,
        **_ACCURACY,
    ),
    Chart(
        key="reward",
        section="Learning",
        title="Reward",
        about="Mean reward of the round's fresh rollouts; they are sampled, so it is below the greedy accuracy.",
        healthy="Rises, then levels off.",
        lines=lines(reward="reward"),
    ),
    Chart(
        key="reward-parts",
        section="Learning",
        title="Reward by part",
        about="Mean score of each part of the reward, without its weight.",
        healthy="Each part rises or stays where it was; if one rises while the first falls, its weight is too large.",
        lines=members("reward_parts"),
        at_least=2,
    ),
    Chart(
        key="reward-spread",
        section="Learning",
        title="Reward spread",
        about="Standard deviation of the rewards: within groups it is what advantages are made of, between groups it "
        "is how much problems differ in difficulty.",
        healthy="Within groups well above 0; near 0, all answers to a problem score alike and nothing can be learned.",
        lines=lines(reward_std_within="within groups", reward_std_between="between groups", reward_std="all rollouts"),
        low=0.0,
    ),
    Chart(
        key="reward-parts-spread",
        section="Learning",
        title="Reward spread by part",
        about="Standard deviation of each part of the reward over the fresh rollouts that it scored.",
        healthy="Well above 0 for the parts that should teach something.",
        lines=members("reward_parts_std"),
        low=0.0,
        at_least=2,
    ),
    Chart(
        key="signal",
        section="Learning",
        title="Rollouts with a signal",
        about="Share of the fresh rollouts whose advantage is not 0: only these move the policy.",
        healthy="Well above 0; it falls as problems are solved in every attempt.",
        lines=lines(signal="share"),
        unit="share",
        low=0.0,
    ),
    Chart(
        key="length",
        section="Learning",
        title="Completion length",
        about="Length of the round's fresh completions.",
        healthy="The mean stays well below rollout.max_new_tokens, the longest possible completion.",
        lines=lines(completion_length="mean", completion_length_max="longest"),
        unit="tokens",
        low=0.0,
    ),
    Chart(
        key="truncated",
        section="Learning",
        title="Truncated completions",
        about="Share of the fresh completions that were cut off at rollout.max_new_tokens.",
        healthy="Near 0: a truncated completion usually has no answer and earns nothing.",
        lines=lines(completion_truncated="share"),
        unit="share",
        low=0.0,
    ),
    Chart(
        key="entropy",
        section="Learning",
        title="Entropy",
        about="Mean entropy of the next token: how undecided the policy is.",
        healthy="Falls slowly and stays above 0; at 0 the policy no longer explores.",
        lines=lines(entropy="entropy"),
        unit="nats",
        low=0.0,
    ),
    Chart(
        key="pair-log-probs",
        section="Learning",
        title="Log-probability of chosen and rejected answers",
        about="Mean log-probability that the policy gives the whole chosen and the whole rejected answer of a pair.",
        healthy="The chosen answers do not become less likely; the rejected ones do, by not more than it takes.",
        lines=lines(chosen_log_prob="chosen", rejected_log_prob="rejected"),
        unit="nats",
    ),
    Chart(
        key="pair-accuracy",
        section="Learning",
        title="Pairs in the right order",
        about="Share of the step's pairs whose chosen answer has gained more than the rejected one over the reference.",
        healthy="Rises from a half, or from 0 at the first step, where nothing has moved.",
        lines=lines(preference_accuracy="share"),
        unit="share",
        low=0.0,
        high=1.0,
    ),
    Chart(
        key="curriculum",
        section="Learning",
        title="Curriculum: share of prompts",
        about="Share of each difficulty with which the round's prompts were drawn.",
        healthy="Moves from easy to hard.",
        lines=members("share_by_difficulty"),
        unit="share",
        low=0.0,
    ),
)
