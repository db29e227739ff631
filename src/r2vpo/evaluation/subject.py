"""The model to evaluate: a model by any name, a run's last checkpoint, or a folder of adapters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2vpo.config.recipe import format_of
from r2vpo.config.resumption import require_checkpoint
from r2vpo.config.run_directory import open_run
from r2vpo.errors import UserError
from r2vpo.models.folders import folder_of, refuse_damaged

RECORDS = "completions.jsonl"
"""The file that tells the folder of an evaluation from that of a run."""


@dataclass(frozen=True)
class Subject:
    """Location of a model's weights.

    Attributes:
        name: what the user wrote.
        weights: folder or name that they are read from; for a run, its last checkpoint, or `model/` without one.
        base: the model that adapters in `weights` belong to; None for whole weights.
        seed: seed of a base that is made from a seed.
        trust_remote_code: run Python code that comes with the model.
        trained_from: the model that a run has trained; None for a subject that is not a run.
        stop: texts that ended the completions in training; a checkpoint declares them as its end tokens.
        chats: whether a run trained on chats, whose answers end with a token of the chat template.
    """

    name: str
    weights: str
    base: str | None = None
    seed: int = 0
    trust_remote_code: bool = False
    trained_from: str | None = None
    stop: tuple[str, ...] = ()
    chats: bool = False

    @property
    def label(self) -> str:
        """Return a short name for use in a folder's name."""
        last = Path(self.name).name or self.name
        return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in last)[:60].strip(".-")


def find_subject(name: str) -> Subject:
    """Resolve the name of a model without loading anything.

    Args:
        name: a run's folder, a folder of a whole model or of adapters that `save_pretrained` wrote, a listed name, or a
            name on the hub.

    Raises:
        UserError: a run without a checkpoint or with a damaged one, an evaluation instead of a model, or a damaged
            folder of adapters.
    """
    folder = folder_of(name, what="the model")
    if (folder / RECORDS).is_file():
        raise UserError(f"{name}: this is an evaluation: name the model or the run that it evaluated")
    if (folder / "config.yaml").is_file():
        return _run(name, folder)
    if (folder / "adapter_config.json").is_file():
        refuse_damaged(folder)
        return Subject(name, str(folder), base=_adapter_base(folder))
    return Subject(name, name)


def _run(name: str, folder: Path) -> Subject:
    run = open_run(folder)
    recipe = run.recipe()
    finished = run.latest_checkpoint() is None and run.model.is_dir()
    if run.latest_checkpoint() is None and not finished:
        raise UserError(
            f"{name}: this run has no checkpoint yet: continue training it, or name the model {recipe.model.name}"
        )
    # The checkpoints of a finished run may be deleted to free space.
    checkpoint = run.model if finished else require_checkpoint(folder)
    adapters = (checkpoint / "adapter_config.json").is_file()
    return Subject(
        name,
        str(checkpoint),
        base=recipe.model.name if adapters else None,
        seed=recipe.model_seed,
        trust_remote_code=recipe.model.trust_remote_code,
        trained_from=recipe.model.name,
        stop=tuple(recipe.rollout.stop),
        chats=format_of(recipe) == "chat",
    )


def _adapter_base(folder: Path) -> str:
    path = folder / "adapter_config.json"
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: not the settings of adapters ({error}): save them again with save_pretrained"
        ) from None
    if not isinstance(base, str) or not base:
        raise UserError(f"{path}: base_model_name_or_path is missing: write the name of the adapters' model there")
    return base


def load_subject(subject: Subject, *, device: str, dtype: str, stop: Sequence[str]) -> tuple[Any, Any, list[int]]:
    """Load a model for sampling.

    Args:
        subject: where the weights are.
        device: `cpu` or `cuda`.
        dtype: type of the weights, `float32` or `bfloat16`.
        stop: the suite's texts that end a completion.

    Returns:
        The model with merged adapters, its tokenizer, and the ids that end a completion: the model's own and the
        suite's. A text that ended completions only in a run's training is not among them.

    Raises:
        UserError: there is no such model, it cannot be read, its tokenizer belongs to another model, a stop text is
            more than one token, or nothing ends an answer.
    """
    import torch

    from r2vpo.models import load_model, load_tokenizer
    from r2vpo.models.ends import own_ends
    from r2vpo.models.fit import check_tokenizer, stop_ids

    options = {"seed": subject.seed, "dtype": getattr(torch, dtype), "trust_remote_code": subject.trust_remote_code}
    model = load_model(subject.base or subject.weights, **options)
    if subject.base is not None:
        model = _merged(model, subject)
    # Training adapters does not change the tokenizer, and their folder has no model settings to load it with.
    tokenizer = load_tokenizer(subject.base or subject.weights, seed=subject.seed)
    if subject.trained_from is not None:
        # A run's checkpoint declares what ended completions in training, which may be a line break.
        model.generation_config.eos_token_id = own_ends(
            subject.trained_from,
            tokenizer,
            seed=subject.seed,
            trust_remote_code=subject.trust_remote_code,
            chats=subject.chats,
            declared=stop_ids(tokenizer, (), model),
            stop=subject.stop,
        )
    ends = stop_ids(tokenizer, stop, model, key="sampling.stop")
    check_tokenizer(model, tokenizer, ends, what=subject.name, stop="name a text that ends an answer in sampling.stop")
    return model.to(device).eval(), tokenizer, ends


def stops_of_training(subject: Subject, tokenizer: Any, ends: Sequence[int]) -> list[str]:
    """Return the texts that ended completions in a run's training and do not end them in its evaluation.

    Args:
        subject: the model.
        tokenizer: its tokenizer.
        ends: ids that end a completion in the evaluation.
    """
    return [text for text in subject.stop if not set(tokenizer.encode(text, add_special_tokens=False)) <= set(ends)]


def _merged(model: Any, subject: Subject) -> Any:
    from r2vpo.weights import UNREADABLE, first_line, read_adapters

    try:
        return read_adapters(model, subject.weights).merge_and_unload()
    except UserError:
        raise
    except (OSError, *UNREADABLE) as error:
        raise UserError(
            f"{subject.weights}: these adapters do not fit {subject.base} ({first_line(error)}): name a folder whose "
            "adapters do"
        ) from error
