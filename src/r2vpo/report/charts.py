"""The charts of a run's report: which numbers each one shows, and what a healthy curve looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r2vpo.report.chart import Chart, Line


def _lines(**labels: str) -> tuple[Line, ...]:
    return tuple(Line(metric, label) for metric, label in labels.items())


def _all(metric: str, label: str = "") -> tuple[Line, ...]:
    return (Line(f"{metric}.*", label),)


_ACCURACY: Mapping[str, Any] = {"section": "Result", "unit": "share", "low": 0.0, "high": 1.0}

CHARTS = (
    Chart(
        key="accuracy",
        title="Held-out accuracy",
        about="Share of held-out problems that greedy decoding solves; the band is its 95 % interval.",
        healthy="Rises together with the reward; runs whose bands overlap by much cannot be told apart.",
        lines=_lines(accuracy="all problems"),
        **_ACCURACY,
    ),
    Chart(
        key="difficulty",
        title="Held-out accuracy by difficulty",
        about="The same for the problems of each difficulty, which are fewer, so the intervals are wider.",
        healthy="Easy problems rise first, and hard ones follow.",
        lines=_all("by_difficulty"),
        at_least=2,
        **_ACCURACY,
    ),
    Chart(
        key="reward",
        section="Learning",
        title="Reward",
        about="Mean reward of the round's fresh rollouts; they are sampled, so it is below the greedy accuracy.",
        healthy="Rises, then levels off.",
        lines=_lines(reward="reward"),
    ),
    Chart(
        key="reward-parts",
        section="Learning",
        title="Reward by part",
        about="Mean score of each part of the reward, without its weight.",
        healthy="Each part rises or stays where it was; if one rises while the first falls, its weight is too large.",
        lines=_all("reward_parts"),
        at_least=2,
    ),
    Chart(
        key="reward-spread",
        section="Learning",
        title="Reward spread",
        about="Standard deviation of the rewards: within groups it is what advantages are made of, between groups it "
        "is how much problems differ in difficulty.",
        healthy="Within groups well above 0; near 0, all answers to a problem score alike and nothing can be learned.",
        lines=_lines(reward_std_within="within groups", reward_std_between="between groups", reward_std="all rollouts"),
        low=0.0,
    ),
    Chart(
        key="reward-parts-spread",
        section="Learning",
        title="Reward spread by part",
        about="Standard deviation of each part of the reward over the fresh rollouts that it scored.",
        healthy="Well above 0 for the parts that should teach something.",
        lines=_all("reward_parts_std"),
        low=0.0,
        at_least=2,
    ),
    Chart(
        key="signal",
        section="Learning",
        title="Rollouts with a signal",
        about="Share of the fresh rollouts whose advantage is not 0: only these move the policy.",
        healthy="Well above 0; it falls as problems are solved in every attempt.",
        lines=_lines(signal="share"),
        unit="share",
        low=0.0,
    ),
    Chart(
        key="length",
        section="Learning",
        title="Completion length",
        about="Length of the round's fresh completions.",
        healthy="The mean stays well below rollout.max_new_tokens, the longest possible completion.",
        lines=_lines(completion_length="mean", completion_length_max="longest"),
        unit="tokens",
        low=0.0,
    ),
    Chart(
        key="truncated",
        section="Learning",
        title="Truncated completions",
        about="Share of the fresh completions that were cut off at rollout.max_new_tokens.",
        healthy="Near 0: a truncated completion usually has no answer and earns nothing.",
        lines=_lines(completion_truncated="share"),
        unit="share",
        low=0.0,
    ),
    Chart(
        key="entropy",
        section="Learning",
        title="Entropy",
        about="Mean entropy of the next token: how undecided the policy is.",
        healthy="Falls slowly and stays above 0; at 0 the policy no longer explores.",
        lines=_lines(entropy="entropy"),
        unit="nats",
        low=0.0,
    ),
    Chart(
        key="curriculum",
        section="Learning",
        title="Curriculum: share of prompts",
        about="Share of each difficulty with which the round's prompts were drawn.",
        healthy="Moves from easy to hard.",
        lines=_all("share_by_difficulty"),
        unit="share",
        low=0.0,
    ),
    Chart(
        key="variance",
        section="Trust region",
        title="V_d against its target",
        about="How far the round has moved the policy so far (ratio variance per decision), against the trust radius. "
        "The radius is δ for each rollout with an advantage, all of them together, so it is far above δ itself.",
        healthy="0 at a round's first step, then rises to about the target by its last one. Compare V_d with this "
        "target only: neither with δ nor with V, which are on other scales.",
        lines=(Line("decision_variance", "V_d"), Line("decision_variance_target", "target", "target")),
        scale="log on",
    ),
    Chart(
        key="token-variance",
        section="Trust region",
        title="V, the ratio variance per token",
        about="A diagnostic that nothing controls: the mean of (r − 1)² over tokens, and tokens that the policy is "
        "certain of add almost nothing to it.",
        healthy="It has no target and is usually far below δ. Read V_d instead.",
        lines=_lines(ratio_variance="V"),
        scale="log",
        low=0.0,
    ),
    Chart(
        key="dual",
        section="Trust region",
        title="Multiplier λ",
        about="The price of variance: how strongly a token is braked in proportion to how far it has moved.",
        healthy="Changes slowly; it rises when V_d would exceed its target.",
        lines=_lines(dual="λ"),
        scale="log",
        low=0.0,
    ),
    Chart(
        key="kl",
        section="Trust region",
        title="KL divergence",
        about="KL of the anchor from the current policy, per token.",
        healthy="About half of V; far above that, sampled text is being unlearned.",
        lines=_lines(kl="KL"),
        unit="nats",
        scale="log",
        low=0.0,
    ),
    Chart(
        key="braked",
        section="Trust region",
        title="Braked and clipped tokens",
        about="Share of tokens that the penalty has stopped or turned around, beside the share that PPO's clip at 0.2 "
        "would have cut.",
        healthy="Braked below 10 %; the clip is for comparison only.",
        lines=_lines(sign_flip_fraction="braked", clip_fraction="PPO would clip"),
        unit="share",
        low=0.0,
    ),
    Chart(
        key="alignment",
        section="Trust region",
        title="Held-out alignment γ",
        about="How well the change of a token's log-probability agrees with its advantage, on rollouts that no step "
        "has trained on yet. Within the first round it can be any number, and is drawn as at most 1 and at least −1.",
        healthy="0.5 to 0.9 at the end of the first rounds, then 0 to 0.5; at 0 or below for long, what is learned "
        "does not carry over to other rollouts.",
        lines=_lines(held_out_alignment_bounded="γ"),
    ),
    Chart(
        key="rate",
        section="Optimizer",
        title="Learning rate",
        about="The schedule's rate, and the rate that was applied: the schedule's times the step scale.",
        healthy="The applied rate settles after a few rounds.",
        lines=(Line("learning_rate_applied", "applied"), Line("learning_rate", "schedule", "target")),
        scale="log on",
    ),
    Chart(
        key="scale",
        section="Optimizer",
        title="Step scale",
        about="The factor on the learning rate with which a round's V_d should reach its target.",
        healthy="Settles after a few rounds, and then follows the square root of the target.",
        lines=_lines(step_scale="scale"),
        scale="log on",
    ),
    Chart(
        key="gradient",
        section="Optimizer",
        title="Gradient norm",
        about="Norm of the gradient before it is clipped at trainer.max_grad_norm.",
        healthy="The same order of magnitude throughout; spikes that are followed by a fall of the reward are not.",
        lines=_lines(grad_norm="norm"),
        scale="log",
        low=0.0,
    ),
    Chart(
        key="loss",
        section="Optimizer",
        title="Loss",
        about="The quantity that is minimised; advantages are centred, so its size says little.",
        healthy="Near 0, of either sign; read the reward instead.",
        lines=_lines(loss="loss"),
    ),
    Chart(
        key="rollouts",
        section="Replay",
        title="Rollouts and their uses",
        about="Rollouts generated so far, those of them that a later round has used again at least once, and uses: "
        "a rollout counts once in each round that trains on it.",
        healthy="Uses are 1 + replay.ratio times the rollouts generated, if enough of them carry an advantage.",
        lines=_lines(rollouts_generated="generated", rollouts_used_again="used again", rollout_uses="uses"),
        low=0.0,
        smooth=False,
    ),
    Chart(
        key="staleness",
        section="Replay",
        title="Uses by staleness",
        about="The uses of rollouts so far by the rollout's age, in policy versions; age 0 is the first use of each "
        "generated rollout.",
        healthy="All ages up to replay.versions have rows.",
        lines=_all("staleness_rows", "age"),
        low=0.0,
        stacked=True,
        smooth=False,
    ),
    Chart(
        key="sample-size",
        section="Replay",
        title="Effective sample size",
        about="Share of the tokens that effectively count after importance weighting.",
        healthy="Above 70 %; below 50 %, lower replay.versions or replay.ratio.",
        lines=_lines(effective_sample_size="all rows"),
        unit="share",
        low=0.0,
        high=1.0,
    ),
    Chart(
        key="sample-size-by-age",
        section="Replay",
        title="Effective sample size by age",
        about="The same for the rows of each age, in policy versions.",
        healthy="Falls slowly with age; the age at which it approaches 50 % is the largest sensible replay.versions.",
        lines=_all("effective_sample_size_by_staleness", "age"),
        unit="share",
        low=0.0,
        high=1.0,
        at_least=2,
    ),
    Chart(
        key="speed",
        section="Time",
        title="Generation speed",
        about="Completion tokens sampled per second of sampling and scoring.",
        healthy="Steady; a fall without longer completions means that something else uses the machine.",
        lines=_lines(tokens_per_second="tokens/s"),
        unit="tokens/s",
        low=0.0,
    ),
    Chart(
        key="time",
        section="Time",
        title="Time by phase",
        about="Where the time went so far; other is evaluation, saving and loading.",
        healthy="Generation usually takes most of it; a higher replay.ratio trains more on what was generated.",
        lines=_lines(seconds_generating="generating", seconds_training="training", seconds_other="other"),
        unit="seconds",
        low=0.0,
        stacked=True,
        smooth=False,
    ),
)
