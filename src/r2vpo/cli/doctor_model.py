"""``r2vpo doctor MODEL``: what a model may use in training and in sampling, as the trainer finds it out."""

from __future__ import annotations

import json
import time
from typing import Any

import torch

from r2vpo.errors import UserError
from r2vpo.models import load_model, load_tokenizer
from r2vpo.rollout import SelfCheck, check_model


def examine_model(name: str, *, longest: int | None, as_json: bool) -> None:
    """Load a model, compare all its paths, and print the table.

    Args:
        name: any name that `model.name` takes.
        longest: most tokens of a prompt and its response together; None if it is not known.
        as_json: print JSON.

    Raises:
        UserError: it cannot be loaded, or, after the table, it cannot be trained.
    """
    tokenizer = load_tokenizer(name)
    model = load_model(name).to("cuda" if torch.cuda.is_available() else "cpu")
    started = time.perf_counter()
    check = check_model(model, pad_token_id=tokenizer.pad_token_id, longest=longest, everything=True)
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
    print(json.dumps(about | check.to_json(), indent=2) if as_json else _text(about, check))
    if check.refusal is not None:
        raise UserError(f"model.name {name!r}: {check.refusal}")


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
