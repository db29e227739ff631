"""Checks that a model, its tokenizer and the prompts fit together, before any training or sampling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from r2vpo.data.prompt_format import answer_end
from r2vpo.errors import UserError

_SHOWN = 40


def stop_ids(
    tokenizer: Any, stop: Sequence[str], model: Any, *, key: str = "rollout.stop", chats: bool = False
) -> list[int]:
    """Return the ids that end a completion: the model's own and those of the stop texts given under `key`.

    With `chats`, the token with which the chat template ends an answer also does, even in a base model.

    Raises:
        UserError: a stop text is more than one token.
    """
    declared = model.generation_config.eos_token_id
    ids = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    end = answer_end(tokenizer) if chats else None
    if end is not None:
        ids.append(end)
    for text in stop:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        if len(tokens) != 1:
            raise UserError(
                f"{key}: {text!r} is {len(tokens)} tokens of this model, but a stop text must be one: shorten it"
            )
        ids.append(tokens[0])
    return list(dict.fromkeys(ids))


def check_tokenizer(model: Any, tokenizer: Any, ends: Iterable[int], *, what: str, stop: str) -> None:
    """Reject a tokenizer whose tokens the model does not have, and answers that no token could end.

    Args:
        model: the model; its parameters may be on the meta device.
        tokenizer: the tokenizer of the prompts.
        ends: ids that end a completion.
        what: the start of an error message: the setting that names the model.
        stop: what to set so that completions end, in words.

    Raises:
        UserError: an id is beyond the embeddings or the output layer, no token ends a completion, or there is no
            padding token.
    """
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"{what}: its tokenizer has no padding token, and no end-of-sequence token to use instead: set "
            "pad_token in its tokenizer_config.json, or tokenizer.pad_token, to a token that no text contains"
        )
    vocabulary = _vocabulary(tokenizer)
    embeddings, outputs = _rows(model, "get_input_embeddings"), _rows(model, "get_output_embeddings")
    special = set(tokenizer.all_special_ids)
    for rows, known, layer in (
        (embeddings, vocabulary, "embeddings"),
        # An image placeholder is read but never generated; the token that ends a text is checked below.
        (outputs, {i: text for i, text in vocabulary.items() if i not in special}, "outputs"),
    ):
        beyond = [number for number in known if rows is not None and number >= rows]
        if beyond:
            last = max(beyond)
            raise UserError(
                f"{what}: its tokenizer has {len(beyond)} tokens beyond the model's {rows} {layer}, up to id {last} "
                f"({vocabulary[last]!r}): use the tokenizer that the model was trained with, or enlarge the model with "
                f"resize_token_embeddings({max(vocabulary) + 1}) and save it again"
            )
    ends = [number for number in ends if number is not None]
    if not any(outputs is None or 0 <= number < outputs for number in ends):
        why = (
            f"the ids that would, {', '.join(map(str, ends))}, are beyond its {outputs} outputs"
            if ends
            else ("its tokenizer has no end-of-sequence token and its generation_config.json no eos_token_id")
        )
        raise UserError(
            f"{what}: no token ends an answer, because {why}: set eos_token in its tokenizer_config.json, or {stop}"
        )


@dataclass(frozen=True)
class Room:
    """Room for prompt and answer in a model's positions.

    Attributes:
        limit: number of tokens that the model accepts; None means any number.
        new_tokens: length of the longest answer.
        setting: name of the setting for it, such as `rollout.max_new_tokens`.
        remedy: what to do instead of lowering it; `{most}` is replaced by the length of the longest prompt that fits.
    """

    limit: int | None
    new_tokens: int
    setting: str
    remedy: str

    def check(
        self, lengths: Sequence[int], texts: Sequence[Any], where: str, *, rows: Sequence[int] | None = None
    ) -> None:
        """Reject prompts that leave no room for an answer.

        Args:
            lengths: number of tokens of each prompt.
            texts: the prompts.
            where: what the prompts are, in words, such as `training prompt`.
            rows: the row number of each; None counts from 0.

        Raises:
            UserError: prompt and answer have more tokens than the model accepts.
        """
        if self.limit is None or not lengths or max(lengths) + self.new_tokens <= self.limit:
            return
        row = max(range(len(lengths)), key=lambda row: lengths[row])
        long = sum(length + self.new_tokens > self.limit for length in lengths)
        many = f" ({long} of {len(lengths)} are too long)" if len(lengths) > 1 else ""
        most = self.limit - self.new_tokens
        left = self.limit - lengths[row]
        lower = f"lower it to at most {left}, or " if left > 0 else ""
        leave_out = self.remedy.format(most=most) if most > 0 else "use a model that reads longer texts"
        number = row if rows is None else rows[row]
        raise UserError(
            f"{self.setting} = {self.new_tokens} after {where} {number} of {lengths[row]} tokens, "
            f"{_start(texts[row])!r}, is more than the {self.limit} positions of this model{many}: {lower}{leave_out}"
        )

    def check_rows(self, lengths: Sequence[int]) -> None:
        """Reject rows that are longer than the model accepts, whatever produced them.

        Args:
            lengths: number of tokens of each prompt and its answer together.

        Raises:
            UserError: a row is too long.
        """
        if self.limit is not None and lengths and max(lengths) > self.limit:
            raise UserError(
                f"row {max(range(len(lengths)), key=lambda row: lengths[row])} of a round has {max(lengths)} tokens, "
                f"prompt and answer together, more than the {self.limit} positions of this model: let the sampler "
                "return shorter rows"
            )


def _start(text: Any) -> str:
    if isinstance(text, list):
        text = next((message.get("content", "") for message in text if isinstance(message, dict)), "")
    return str(text)[:_SHOWN]


def _vocabulary(tokenizer: Any) -> dict[int, str]:
    known = {number: text for text, number in tokenizer.get_vocab().items()}
    return known | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def _module(model: Any, name: str) -> Any:
    try:
        return getattr(model, name)()
    except (AttributeError, NotImplementedError):
        # transformers raises these for a model that has no such layer.
        return None


def _rows(model: Any, name: str) -> int | None:
    """Return the number of tokens for which a layer has a row, even if its weights are packed or sharded."""
    module = _module(model, name)
    # Adapters wrap a layer, and the wrapped layer has the rows.
    module = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    for attribute in ("num_embeddings", "out_features"):
        if isinstance(rows := getattr(module, attribute, None), int):
            return rows
    weight = getattr(module, "weight", None)
    return None if weight is None or weight.ndim < 2 else int(getattr(weight, "ds_shape", weight.shape)[0])
