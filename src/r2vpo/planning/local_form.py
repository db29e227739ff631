"""The form in which a model on this machine is given prompts, found without its weights and without a download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r2vpo.data import PromptRow
from r2vpo.data.options import PromptFormat
from r2vpo.data.prompt_format import PromptForm, choose_form
from r2vpo.errors import UserError
from r2vpo.models import catalog, load_ends, load_tokenizer
from r2vpo.planning.architecture import positions_of


def local_tokenizer(model: str, *, seed: int = 0, trust_remote_code: bool = False) -> Any:
    """Return a model's tokenizer if it is on this machine, otherwise None: nothing is downloaded.

    Args:
        model: the model's name.
        seed: seed of a model that is made from a seed.
        trust_remote_code: run Python code that comes with it.

    Raises:
        UserError: no model can have this name.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    here = model in {entry.name for entry in catalog()} or Path(model).expanduser().is_dir()
    try:
        if not here and (model.count("/") > 1 or not isinstance(try_to_load_from_cache(model, "config.json"), str)):
            return None
    except HFValidationError:
        raise UserError(
            f"model {model!r}: there is no such folder, and no name on the hub is like that: name a folder that "
            "save_pretrained wrote, OWNER/MODEL, or a model that `r2vpo models` lists"
        ) from None
    return load_tokenizer(model, seed=seed, trust_remote_code=trust_remote_code)


def local_positions(model: str) -> int | None:
    """Return how many tokens a model on this machine takes; None if there is no limit, or it cannot be found out here.

    Args:
        model: a name for which `local_tokenizer` returned something.
    """
    try:
        return positions_of(model)
    except UserError:  # a run says what is wrong with this model
        return None


def local_form(
    rows: Sequence[PromptRow],
    model: str,
    tokenizer: Any,
    wanted: PromptFormat = "auto",
    *,
    seed: int = 0,
    trust_remote_code: bool = False,
) -> PromptForm:
    """Choose the form of the prompts as a run of this model does.

    Args:
        rows: the problems.
        model: the model's name.
        tokenizer: result of `local_tokenizer`.
        wanted: `data.format` of the recipe.
        seed: as for `local_tokenizer`.
        trust_remote_code: as for `local_tokenizer`.
    """
    ends = []
    if getattr(tokenizer, "chat_template", None):
        ends = load_ends(model, tokenizer, seed=seed, trust_remote_code=trust_remote_code)
    return choose_form(wanted, rows, tokenizer, ends)
