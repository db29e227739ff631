"""Small models that learned to add from a demonstrator who drops carries: the start of the `habit` task."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from r2vpo.data.habit import habit_problems
from r2vpo.data.habit_formats import FORMATS, HabitFormat
from r2vpo.models.convert import quiet
from r2vpo.models.habit_models import HABIT_MODELS, HabitModel, WarmStart

CHARACTERS = "0123456789+=;"
PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
IGNORED = -100
CAREFUL_STEPS = 0.6
"""Share of the steps during which the demonstrator is still careful."""


def habit_tokenizer() -> Any:
    """Build a tokenizer with one token for each character of the task's prompts and answers.

    Returns:
        A `PreTrainedTokenizerFast`; decoding adds no spaces.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: place for place, token in enumerate([PAD, EOS, UNKNOWN, *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def make_habit(folder: Path, name: str, *, seed: int) -> None:
    """Write a model that answers like the demonstrator.

    Random weights are trained on demonstrations, drawn again at each step from the problems that are never held out,
    evenly over the difficulties: first those of a careful demonstrator, then those of one who has acquired the habit.
    Training uses a single CPU thread, so that a seed gives the same weights whatever the number of threads.

    Args:
        folder: an empty folder.
        name: a name of `HABIT_MODELS`.
        seed: seed of the initial weights and of the demonstrations.
    """
    tokenizer = habit_tokenizer()
    with quiet(), _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _random_model(HABIT_MODELS[name], tokenizer)
        _learn(model, _Demonstrations(HABIT_MODELS[name].format, tokenizer), HABIT_MODELS[name].warm_start)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _random_model(kind: HabitModel, tokenizer: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind.architecture,
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        **kind.shape,
    )
    return AutoModelForCausalLM.from_config(config)


class _Demonstrations:
    """Problems of the training part with both of the demonstrator's answers, as token ids of equal length."""

    def __init__(self, form: HabitFormat, tokenizer: Any) -> None:
        self.format = FORMATS[form]
        self.pools = habit_problems(form, "train")
        problems = [problem for pool in self.pools for problem in pool]
        self.prompt = len(problems[0].prompt)
        texts = [p.prompt + p.answer(form, carrying=carrying) + EOS for carrying in (True, False) for p in problems]
        ids = tokenizer(texts)["input_ids"]
        width = max(map(len, ids))
        rows = torch.tensor([tokens + [IGNORED] * (width - len(tokens)) for tokens in ids])
        self.right, self.habit = rows.chunk(2)

    def draw(self, count: int, right_answers: tuple[float, ...]) -> Tensor:
        """Draw (count, width) long demonstrations, padded with `IGNORED`; their carries decide how many are right."""
        sizes = torch.tensor([len(pool) for pool in self.pools])
        carries = torch.randint(len(sizes), (count,))
        place = (torch.rand(count) * sizes[carries]).long() + (sizes.cumsum(0) - sizes)[carries]
        is_right = torch.rand(count) < torch.tensor(right_answers)[carries]
        return torch.where(is_right[:, None], self.right[place], self.habit[place])


def _learn(model: Any, demonstrations: _Demonstrations, warm_start: WarmStart) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=warm_start.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, steps=warm_start.steps))
    model.train()
    for step in range(warm_start.steps):
        is_careful = step < CAREFUL_STEPS * warm_start.steps
        right_answers = demonstrations.format.careful if is_careful else demonstrations.format.right_answers
        rows = demonstrations.draw(warm_start.batch, right_answers)
        # The padding at the end is never attended to: it comes after everything that counts.
        logits = model(input_ids=rows[:, :-1].clamp(min=0), use_cache=False).logits[:, demonstrations.prompt - 1 :]
        targets = rows[:, demonstrations.prompt :]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def _rate(step: int, *, steps: int) -> float:
    return min(1.0, (step + 1) / (0.1 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
