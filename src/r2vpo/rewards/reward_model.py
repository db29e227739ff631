"""A reward model: a transformers sequence classifier that gives a conversation one number."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from r2vpo.errors import UserError
from r2vpo.hub import why_offline
from r2vpo.positions import position_limit
from r2vpo.rewards.options import RewardOptions
from r2vpo.rewards.text import text_of
from r2vpo.weights import UNREADABLE, first_line, read_weights

logger = logging.getLogger(__name__)


class RewardModelOptions(RewardOptions):
    """Options of `reward_model`.

    Attributes:
        model: a folder written by save_pretrained, or a name on the hub.
        batch_size: conversations scored at a time.
        max_tokens: longer conversations lose their beginning; None uses the model's limit.
        dtype: type of the weights.
        device: device of the model; auto is the current GPU, and the CPU where there is none.
        centre: number that is subtracted from the model's number.
        scale: number by which the difference is then divided.
    """

    model: str = Field(min_length=1)
    batch_size: int = Field(default=8, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    centre: float = 0.0
    scale: float = Field(default=1.0, gt=0)


class RewardModel:
    """A classifier with one output in evaluation mode, with its own tokenizer.

    Its number is read where the classifier reads it: in causal models at the last token that is not padding, so that
    the end of the text counts; in encoders such as BERT at the first token.

    Attributes:
        max_tokens: longer conversations lose their beginning; None if the model specifies no limit.
    """

    def __init__(
        self,
        name: str,
        *,
        batch_size: int = 8,
        max_tokens: int | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> None:
        """Load classifier and tokenizer; `RewardModelOptions` describes the options.

        Raises:
            UserError: there is no such model, it is not a classifier with one output, or the device is missing.
        """
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("reward_model: device = cuda, but torch sees no CUDA device: set device to auto or cpu")
        self._name, self._batch_size = name, batch_size
        self._device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self._model = _classifier(name, getattr(torch, dtype)).to(self._device).eval().requires_grad_(False)
        self._tokenizer = _tokenizer(name)
        # A causal classifier without a padding token reads the last position of a row, whether it is padding or not.
        self._model.config.get_text_config().pad_token_id = self._tokenizer.pad_token_id
        self._model.config.pad_token_id = self._tokenizer.pad_token_id
        self.max_tokens = _limit(name, self._model, self._tokenizer, max_tokens)

    def score(self, prompts: Sequence[Any], completions: Sequence[Any]) -> list[float]:
        """Return the model's number for each conversation.

        A conversation is the prompt and the completion as the assistant's message, in the tokenizer's chat template;
        without a template it is their texts, one after the other. A score does not depend on the other conversations,
        except for rounding.

        Raises:
            UserError: the template rejects a conversation, or a number is not finite.
        """
        import torch

        rows = [self._encode(*pair) for pair in zip(prompts, completions, strict=True)]
        # Conversations of similar length share a batch, to keep padding small.
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        scores = [0.0] * len(rows)
        for start in range(0, len(rows), self._batch_size):
            batch = order[start : start + self._batch_size]
            padded = self._tokenizer.pad({"input_ids": [rows[row] for row in batch]}, return_tensors="pt")
            inputs = {name: padded[name].to(self._device) for name in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                logits = self._model(**inputs).logits[:, 0].float().tolist()
            for row, value in zip(batch, logits, strict=True):
                scores[row] = value
        for row, value in enumerate(scores):
            if not math.isfinite(value):
                raise UserError(
                    f"reward_model: {self._name} gives {value} for a completion that begins with "
                    f"{text_of(completions[row])[:40]!r}: set dtype to float32, or use another model"
                )
        return scores

    def _encode(self, prompt: Any, completion: Any) -> list[int]:
        templated = self._tokenizer.chat_template is not None
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        messages.append({"role": "assistant", "content": text_of(completion)})
        if templated:
            text = self._render(messages)
        else:
            text = ("" if isinstance(prompt, str) else "\n").join(message["content"] for message in messages)
        # The template writes its own special tokens.
        options = {"add_special_tokens": not templated, "verbose": False}
        ids: list[int] = self._tokenizer(text, **options)["input_ids"]
        if self.max_tokens is not None and len(ids) > self.max_tokens:
            logger.warning(
                "reward_model: a conversation of %d tokens is scored without its beginning, max_tokens is %d",
                len(ids),
                self.max_tokens,
            )
            ids = self._tokenizer(text, truncation=True, max_length=self.max_tokens, **options)["input_ids"]
        return ids or [self._tokenizer.pad_token_id]

    def _render(self, messages: list[dict[str, str]]) -> str:
        import jinja2

        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False))
        except jinja2.TemplateError as error:
            raise UserError(
                f"reward_model: the chat template of {self._name} refuses a conversation of "
                f"{', '.join(message['role'] for message in messages)} ({error}): change the prompts "
                "(data.system_prompt), or use another model"
            ) from error


def reward_model_reward(options: RewardModelOptions) -> Any:
    """Score (n - centre) / scale, where n is the number that a reward model gives the conversation.

    Raises:
        UserError: the model cannot be used.
    """
    names = ("batch_size", "max_tokens", "dtype", "device")
    model = RewardModel(options.model, **{name: getattr(options, name) for name in names})

    def reward_model(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        return [(value - options.centre) / options.scale for value in model.score(prompts, completions)]

    return reward_model


def _classifier(name: str, dtype: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    def read(source: str) -> Any:
        what = f"reward_model.model {name!r}"
        return read_weights(AutoModelForSequenceClassification.from_pretrained, source, what=what, dtype=dtype)

    model = _load(read, name)
    if model.config.num_labels != 1:
        raise UserError(
            f"reward_model.model {name!r} has {model.config.num_labels} outputs, a reward model has one: name a model "
            "with num_labels = 1"
        )
    return model


def _tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    def read(source: str) -> Any:
        return AutoTokenizer.from_pretrained(source, padding_side="right", truncation_side="left")

    tokenizer = _load(read, name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"reward_model.model {name!r}: its tokenizer has neither a padding token nor one that ends a text: set "
            "pad_token in its tokenizer_config.json"
        )
    return tokenizer


def _limit(name: str, model: Any, tokenizer: Any, max_tokens: int | None) -> int | None:
    # A tokenizer without a limit reports 10**30.
    limits = [position_limit(model), int(tokenizer.model_max_length)]
    most = min((limit for limit in limits if limit is not None and 0 < limit < 10**9), default=None)
    if max_tokens is None or most is None:
        return max_tokens or most
    if max_tokens > most:
        raise UserError(
            f"reward_model.max_tokens = {max_tokens}: {name} takes {most} at most: lower it, or leave it out"
        )
    return max_tokens


def _load(read: Callable[[str], Any], name: str) -> Any:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        why_offline()
    try:
        return read(str(folder) if folder.is_dir() else name)
    except UserError:
        raise
    except (OSError, *UNREADABLE) as error:
        raise UserError(
            f"reward_model.model {name!r}: transformers cannot load it as a classifier with its tokenizer "
            f"({first_line(error)}): name a folder that save_pretrained wrote, or a model on the hub"
        ) from error
