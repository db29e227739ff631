"""``r2vpo doctor MODEL``: what a model may use in training and sampling, checked as the trainer does."""

from __future__ import annotations

import json
import time
from typing import Any

import torch

from r2vpo.errors import UserError
from r2vpo.models import load_model, load_tokenizer
from r2vpo.models.fit import check_tokenizer, stop_ids
from r2vpo.positions import position_limit
from r2vpo.sampling import SelfCheck, check_model


def examine_model(name: str, *, longest: int | None, trust_remote_code: bool, as_json: bool) -> None:
    """Load a model, compare all its paths, print the table, and check its tokenizer and positions.

    Args:
        name: any name that `model.name` accepts.
        longest: largest number of tokens of a prompt and its response together; None if it is not known.
        trust_remote_code: run Python code that comes with it.
        as_json: print JSON.

    Raises:
        UserError: it cannot be loaded or, after the table is printed, it cannot be trained as it is.
    """
    tokenizer = load_tokenizer(name, trust_remote_code=trust_remote_code)
    model = load_model(name, trust_remote_code=trust_remote_code)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    started = time.perf_counter()
    # If there is no padding token, any token will do, since the check's own rows specify where they end.
    pad = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    check = check_model(model, pad_token_id=pad, longest=longest, everything=True)
    seconds = time.perf_counter() - started
    about = {
        "model": name,
        "class": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "longest": longest,
        "seconds": seconds,
    }
    unfit = _unfit(name, model, tokenizer, longest)
    about["unfit"] = None if unfit is None else str(unfit)
    print(json.dumps(about | check.to_json(), indent=2) if as_json else _text(about, check))
    if check.refusal is not None:
        raise UserError(f"model.name {name!r}: {check.refusal}")
    if unfit is not None:
        raise unfit


def _unfit(name: str, model: Any, tokenizer: Any, longest: int | None) -> UserError | None:
    """Return why a recipe would reject the model regardless of its forward pass: its tokenizer, or its positions."""
    what = f"model.name {name!r}"
    try:
        ends = stop_ids(tokenizer, (), model)
        check_tokenizer(model, tokenizer, ends, what=what, stop="name a text that ends an answer in rollout.stop")
    except UserError as error:
        return error
    limit = position_limit(model)
    if longest is not None and limit is not None and longest > limit:
        return UserError(
            f"{what}: --longest {longest} is more than the {limit} positions of this model: use shorter prompts or "
            "answers, or a model that reads longer texts"
        )
    return None


def _text(about: dict[str, Any], check: SelfCheck) -> str:
    size = f"{about['parameters'] / 1e6:.1f} million parameters"
    lines = [f"{about['model']}: {about['class']}, {size}, {about['dtype']} on {about['device']}"]
    if check.paths:
        lines.append(f"largest difference from the model alone, nats ({about['seconds']:.2f} s)")
    width = max((len(path.name) for path in check.paths), default=0)
    for path in check.paths:
        number = "-" if path.difference is None else f"{path.difference:.1e}"
        lines.append(f"  {path.name:<{width}}  {number:>8}  {'right' if path.right else 'not used: it ' + path.reason}")
    if check.skipped is not None:
        lines.append(f"nothing was computed: {check.skipped}; the configuration decides")
    if check.refusal is None:
        lines.append(f"training  the {'shared-prefix' if check.shares_prompts else 'ordinary'} forward")
        lines.append(f"sampling  the {check.sampler}")
    return "\n".join(lines)
