"""Compare the completions of two models: by verifiable score, by a reward model, or by a judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from r2vpo.config.yaml_files import parse_yaml
from r2vpo.errors import UserError
from r2vpo.evaluation.completions import Answered
from r2vpo.evaluation.preference import Outcome, outcomes_by_score, preference
from r2vpo.intervals import difference_interval
from r2vpo.rewards.judge import Judge
from r2vpo.rewards.judge_options import JudgeOptions
from r2vpo.rewards.registry import reward_options
from r2vpo.rewards.reward_model import RewardModel

Decider = Callable[[Sequence[Answered], Sequence[Answered]], tuple[list[Outcome], dict[str, Any]]]
"""Function from two models' answers to the same problems to the first model's outcomes and further information."""

_OPTIONS = {
    "score": "it has no options",
    "reward_model": "write options as batch_size=16, see docs/rewards.md",
    "judge": "write options as url=http://localhost:8000/v1 model=NAME, see docs/rewards.md",
}
# Ranking scores needs no centre or scale, and a judge that compares has its own prompt.
_UNUSED = {"reward_model": ("centre", "scale"), "judge": ("template", "highest")}
# What a judge says of two completions, and then of the same two in the other order.
_AGREEING: dict[tuple[str, str], Outcome] = {
    ("first", "second"): "win",
    ("second", "first"): "loss",
    ("tie", "tie"): "tie",
}


def parse_win_by(words: Sequence[str]) -> dict[str, Any]:
    """Parse the value of `--win-by`.

    Args:
        words: `score`, `reward_model:NAME` or `judge`, followed by options of that reward as `key=value`.

    Returns:
        The name and the options.

    Raises:
        UserError: the name is unknown, or the options are wrong.
    """
    name, _, model = words[0].partition(":")
    if name not in _OPTIONS or (model and name != "reward_model"):
        raise UserError(f"--win-by {words[0]}: choose score, reward_model:NAME or judge url=URL model=NAME")
    options: dict[str, Any] = {"model": model} if model else {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or name == "score" or key in _UNUSED[name]:
            raise UserError(f"--win-by {name}: {key!r} is not an option of it: {_OPTIONS[name]}")
        try:
            options[key] = parse_yaml(value)
        except ValueError:
            raise UserError(f"--win-by {name}: the value of {key} is not valid YAML: put it into quotes") from None
    if name == "score":
        return {"name": name}
    try:
        return reward_options({"name": name, **options}).model_dump(exclude_unset=True)
    except UserError as error:
        raise UserError(f"--win-by {name}: {str(error).removeprefix('reward.')}") from None


def load_decider(win_by: dict[str, Any]) -> Decider:
    """Load the rule that decides which of two greedy completions is better.

    Args:
        win_by: the name and options from `parse_win_by`.

    Raises:
        UserError: the reward model or the judge cannot be used.
    """
    if win_by["name"] == "score":
        return _by_score
    options: Any = reward_options(win_by)
    if isinstance(options, JudgeOptions):
        return _by_judge(Judge(options))
    names = ("batch_size", "max_tokens", "dtype", "device")
    return _by_reward_model(RewardModel(options.model, **{name: getattr(options, name) for name in names}))


def compare(
    ours: Sequence[Answered], theirs: Sequence[Answered], decide: Decider, *, name: str, win_by: dict[str, Any]
) -> dict[str, Any]:
    """Compare the greedy completions of two models problem by problem.

    Args:
        ours: the answers of the model that is evaluated.
        theirs: the baseline's answers to the same problems.
        decide: decides which of two completions is better.
        name: name of the baseline.
        win_by: the settings that `decide` was made from.

    Returns:
        The value of `baseline` in `summary.json`.

    Raises:
        UserError: the two models have answered different problems.
    """
    if [one.question for one in ours] != [one.question for one in theirs]:
        raise UserError(
            f"--baseline {name}: its problems are not the same, since its tokenizer leaves other prompts out: raise "
            "data.max_prompt_tokens"
        )
    outcomes, more = decide(ours, theirs)
    before, after = ([one.greedy.correct for one in problems] for problems in (theirs, ours))
    return {
        "model": name,
        "win_by": ", ".join(str(win_by[key]) for key in ("name", "model") if key in win_by),
        **preference(outcomes).to_json(),
        **more,
        "accuracy": sum(before) / len(before),
        "accuracy_gain": difference_interval(before, after).to_json(),
        "outcomes": outcomes,
    }


def _by_score(ours: Sequence[Answered], theirs: Sequence[Answered]) -> tuple[list[Outcome], dict[str, Any]]:
    return outcomes_by_score([one.greedy.score for one in ours], [one.greedy.score for one in theirs]), {}


def _by_reward_model(model: RewardModel) -> Decider:
    def decide(ours: Sequence[Answered], theirs: Sequence[Answered]) -> tuple[list[Outcome], dict[str, Any]]:
        mine, other = (
            model.score([one.prompt for one in ours], [one.greedy.text for one in answers])
            for answers in (ours, theirs)
        )
        # Batches round differently; a smaller difference than that does not count.
        found = outcomes_by_score(mine, other, tolerance=1e-5)
        pairs = zip(found, ours, theirs, strict=True)
        means = {"mean_score": sum(mine) / len(mine), "mean_score_of_baseline": sum(other) / len(other)}
        return ["tie" if _same(one, their) else outcome for outcome, one, their in pairs], means

    return decide


def _by_judge(judge: Judge) -> Decider:
    def decide(ours: Sequence[Answered], theirs: Sequence[Answered]) -> tuple[list[Outcome], dict[str, Any]]:
        places = [place for place, pair in enumerate(zip(ours, theirs, strict=True)) if not _same(*pair)]
        prompts = [ours[place].prompt for place in places]
        mine, other = ([answers[place].greedy.text for place in places] for answers in (ours, theirs))
        outcomes: list[Outcome] = ["tie"] * len(ours)
        agree = 0
        if places:
            forth, back = judge.compare(prompts, mine, other), judge.compare(prompts, other, mine)
            for place, said in zip(places, zip(forth, back, strict=True), strict=True):
                outcomes[place] = _AGREEING.get(said, "tie")
                agree += said in _AGREEING
        more = {"judged": len(places), "orders_agree": agree, "judge_requests": judge.client.requests}
        silent = {"judge_unreadable": judge.unreadable, "judge_failed": judge.failed}
        return outcomes, more | {name: count for name, count in silent.items() if count}

    return decide


def _same(ours: Answered, theirs: Answered) -> bool:
    return ours.greedy.text == theirs.greedy.text
