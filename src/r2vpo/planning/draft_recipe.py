"""The recipe that `r2vpo new` writes for a user's data, with the reason of each choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from r2vpo.config.yaml_files import comment, quoted, scalar
from r2vpo.planning.own_data import OwnData, kind_of_answers

HELD_OUT_SHARE, MOST_HELD_OUT = 0.2, 200
MOST_PROMPTS = 16
FEW = 50
"""With fewer problems, a line says what that means."""
_OF_SCHEMA = {
    "gsm8k": "math",
    "math": "math",
    "numina_math": "math",
    "dapo_math": "math",
    "countdown": "countdown",
    "mbpp": "code",
    "humaneval": "code",
    "ifeval": "constraints",
}


@dataclass(frozen=True)
class Lengths:
    """Tokens of prompts or answers: median, 95th percentile, most."""

    median: int
    p95: int
    most: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Lengths:
        """Summarise lengths, at least one."""
        ordered = sorted(lengths)
        return cls(ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))], ordered[-1])

    def __str__(self) -> str:
        tokens = "token" if self.median == 1 else "tokens"
        return f"{self.median} {tokens} in the median, {self.p95} at 95 %, {self.most} at most"


@dataclass(frozen=True)
class Choices:
    """What a recipe for the data says, with reasons.

    Attributes:
        kind: what the answers are.
        reward: the reward's name in the recipe.
        reward_reason: why.
        wrapped: the built-in reward that the editable function calls; None if it compares the answers itself.
        held_out: problems to evaluate on.
        prompts: prompts of a round.
        steps: optimizer steps of a round.
        new_tokens: longest completion.
        new_tokens_reason: why.
    """

    kind: str
    reward: str
    reward_reason: str
    wrapped: str | None
    held_out: int
    prompts: int
    steps: int
    new_tokens: int
    new_tokens_reason: str


def choose(data: OwnData, *, own_reward: str, chat: bool, answers: Lengths | None) -> Choices:
    """Choose the settings of a recipe.

    Args:
        data: what was found in the data, with at least two different prompts.
        own_reward: name of the function in the reward file, as `module:function`.
        chat: whether the model is given chats, in which it explains before it answers.
        answers: lengths of the answers or worked solutions in tokens, if they are known.
    """
    given = [row.answer for row in data.rows if row.answer]
    kind = kind_of_answers(given) if given else "text"
    held_out = max(1, min(MOST_HELD_OUT, round(HELD_OUT_SHARE * data.distinct)))
    prompts = min(MOST_PROMPTS, data.distinct - held_out)
    prompts -= prompts % 4 if prompts > 4 else 0
    steps = next(steps for steps in (4, 2, 1) if prompts % steps == 0)
    reward, reason = _reward(data, kind, chat, own_reward)
    least = 256 if chat and kind in ("number", "choice", "formula") else 64
    known = 2 * answers.p95 if answers is not None else 0
    tokens = -(-max(least, known) // 64) * 64
    why = (
        f"twice the answers' 95 % ({answers.p95} tokens)"
        if answers and known > least
        else "room to explain, then answer"
    )
    built_in = reward if reward != own_reward and kind in ("formula", "text") else None
    why = why if tokens > 64 else "answers are short"
    return Choices(kind, reward, reason, built_in, held_out, prompts, steps, tokens, why)


def _reward(data: OwnData, kind: str, chat: bool, own: str) -> tuple[str, str]:
    if data.schema in _OF_SCHEMA:
        return _OF_SCHEMA[data.schema], f"the reward for the schema {data.schema}"
    if kind == "choice":
        return "choice", "every answer is a letter"
    if kind == "number" and not chat:
        return "numeric", "every answer is a number; it is compared with the first one of a completion"
    if kind in ("number", "formula"):
        what = "a number" if kind == "number" else "a number or a formula"
        return "math", f"every answer is {what}; a completion's is its last box or its last number"
    if kind == "short" and not chat:
        return "exact", "answers are a few words; the first line of a completion is compared with them"
    if kind == "short":
        return own, "answers are a few words, and a chat model says more: right if its text ends with them"
    return own, "answers are texts, which no built-in reward compares: the share of common words; better write your own"


def recipe_text(
    data: OwnData, chosen: Choices, *, name: str, model: str, path: str, own: str, facts: Sequence[str]
) -> str:
    """Return the recipe as YAML with comments.

    Args:
        data: what was found.
        chosen: the settings.
        name: the recipe's name.
        model: the model's name.
        path: the data, as the recipe names it.
        own: the function in the reward file.
        facts: lines about the data, for the comment at the top.
    """
    keys = [f"  path: {quoted(path)}"]
    for key, value in (("subset", data.subset), ("split", data.split)):
        if value is not None:
            keys.append(f"  {key}: {quoted(value)}")
    if data.schema != "plain":
        keys.append(f"  schema: {data.schema}")
    for key, column in (("prompt", data.prompt_column), ("answer", data.answer_column)):
        if data.schema == "plain" and column is not None and column != key:
            keys.append(f"  {key}_column: {quoted(column)}")
    about = "\n".join(f"# {comment(fact)}" for fact in facts)
    other = "" if chosen.reward == own else f"  # name: {own} # your own function, which you can edit\n"
    return f"""\
# Train {comment(model)} on {comment(path)}
#
#   r2vpo train {name}.yaml
#
{about}
name: {scalar(name)}
model:
  name: {quoted(model)}

data:
  source: dataset
{chr(10).join(keys)}
  held_out_size: {chosen.held_out} # problems that training never sees, to measure accuracy on
  format: auto # chat for a chat model, plain text otherwise; the first lines of a run say which
  # system_prompt: Reason step by step. # makes every prompt a chat
  # instruction: "{{question}}\\nEnd with the answer." # what is put around every question
  # max_prompt_tokens: 512 # longer prompts are left out

reward:
  name: {chosen.reward} # {chosen.reward_reason}
{other}
rollout:
  prompts_per_round: {chosen.prompts} # more prompts and samples: steadier steps, longer rounds
  samples_per_prompt: 8
  max_new_tokens: {chosen.new_tokens} # {chosen.new_tokens_reason}

trainer:
  max_steps: 100 # optimizer steps; {chosen.steps} in each round
  optimizer_steps_per_round: {chosen.steps}
  learning_rate: 2.0e-5 # a start: step control finds the scale by itself

evaluation:
  every_rounds: 8
"""
