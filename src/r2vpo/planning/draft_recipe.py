"""The recipe that `r2vpo new` writes for a user's data, with the reason of each choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from r2vpo.config.yaml_files import comment, quoted, scalar
from r2vpo.errors import UserError
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
class Room:
    """The room for prompts and completions in a model's positions.

    Attributes:
        lengths: tokens of the prompt of each row, as the model is given it.
        limit: tokens that the model takes, prompt and completion together.
    """

    lengths: list[int]
    limit: int

    def long(self, most: int) -> list[int]:
        """Return the lengths of the prompts that are longer than a number of tokens."""
        return [length for length in self.lengths if length > most]

    def fitting(self, data: OwnData, most: int) -> int:
        """Return the number of different prompts that are not."""
        return len({row.key() for row, length in zip(data.rows, self.lengths, strict=True) if length <= most})


@dataclass(frozen=True)
class Choices:
    """What a recipe for the data says, with reasons.

    Attributes:
        kind: what the answers are.
        reward: the reward's name in the recipe.
        reward_reason: why.
        compares: whether the reward compares completions with the rows' answers.
        wrapped: the built-in reward that the editable function calls; None if it compares the answers itself.
        held_out: problems to evaluate on.
        prompts: prompts of a round.
        steps: optimizer steps of a round.
        new_tokens: longest completion.
        new_tokens_reason: why.
        prompt_tokens: longest prompt that leaves room for such a completion; None if all prompts do.
    """

    kind: str
    reward: str
    reward_reason: str
    compares: bool
    wrapped: str | None
    held_out: int
    prompts: int
    steps: int
    new_tokens: int
    new_tokens_reason: str
    prompt_tokens: int | None


def choose(data: OwnData, *, own_reward: str, chat: bool, answers: Lengths | None, room: Room | None) -> Choices:
    """Choose the settings of a recipe.

    Args:
        data: what was found in the data, with at least two different prompts.
        own_reward: name of the function in the reward file, as `module:function`.
        chat: whether the model is given chats, in which it explains before it answers.
        answers: lengths of the answers or worked solutions in tokens, if they are known.
        room: the lengths of the prompts and the model's limit; None if it has no limit, or these are not known.

    Raises:
        UserError: so many prompts are too long for the model that fewer than two different ones are left.
    """
    given = [row.answer for row in data.rows if row.answer]
    kind = kind_of_answers(given) if given else "none"
    reward, reason = _reward(data, kind, chat, own_reward)
    tokens, why = _new_tokens(kind, reward, chat, answers)
    longest, distinct = None, data.distinct
    if room is not None:
        if tokens > room.limit // 2:
            tokens, why = room.limit // 2, f"half of the {room.limit} tokens that the model takes"
        if room.long(room.limit - tokens):
            longest = room.limit - tokens
            distinct = room.fitting(data, longest)
            _refuse_long(data, room, longest, distinct)
    # They are drawn before long prompts are left out.
    held_out = max(1, min(MOST_HELD_OUT, round(HELD_OUT_SHARE * data.distinct), distinct // 2))
    prompts = min(MOST_PROMPTS, distinct - held_out)
    prompts -= prompts % 4 if prompts > 4 else 0
    steps = next(steps for steps in (4, 2, 1) if prompts % steps == 0)
    compares = kind != "none" and reward not in ("code", "countdown", "constraints")
    built_in = reward if reward != own_reward and (kind in ("formula", "text") or not compares) else None
    return Choices(kind, reward, reason, compares, built_in, held_out, prompts, steps, tokens, why, longest)


def _new_tokens(kind: str, reward: str, chat: bool, answers: Lengths | None) -> tuple[int, str]:
    """Return the length of the longest completion, a multiple of 64, and why."""
    explains = chat and kind in ("number", "choice", "formula")
    least = 256 if explains or kind == "none" or reward == "code" else 64
    known = 2 * answers.p95 if answers is not None else 0
    tokens = -(-max(least, known) // 64) * 64
    if answers is not None and known > least:
        return tokens, f"twice the answers' 95 % ({answers.p95} tokens)"
    if reward == "code":
        return tokens, "room for a program"
    return tokens, "room to explain, then answer" if explains or kind == "none" else "answers are short"


def _refuse_long(data: OwnData, room: Room, longest: int, distinct: int) -> None:
    if distinct < 2:
        raise UserError(
            f"{data.path}: the model takes {room.limit} tokens, of which completions of {room.limit - longest} leave "
            f"{longest} for a prompt, and {len(room.long(longest))} of {len(room.lengths)} prompts are longer, the "
            f"shortest has {min(room.lengths)}: write shorter prompts, or name a model that takes more with --model"
        )


def _reward(data: OwnData, kind: str, chat: bool, own: str) -> tuple[str, str]:
    if data.schema in _OF_SCHEMA:
        return _OF_SCHEMA[data.schema], f"the reward for the schema {data.schema}"
    if data.tests:
        return "code", f"every row has tests, in {', '.join(map(repr, data.tests))}"
    if kind == "none":
        return own, "the rows have no answer to compare with: an example, which you have to replace"
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
    limit = f"max_prompt_tokens: {chosen.prompt_tokens} # longer prompts leave the model no room for a completion"
    if chosen.prompt_tokens is None:
        limit = "# max_prompt_tokens: 512 # longer prompts are left out"
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
  {limit}

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
