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


def local_tokenizer(model: str) -> Any:
    """Return a model's tokenizer if it is on this machine, otherwise None: nothing is downloaded.

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
    return load_tokenizer(model)


def local_form(rows: Sequence[PromptRow], model: str, tokenizer: Any, wanted: PromptFormat = "auto") -> PromptForm:
    """Choose the form of the prompts as a run of this model does.

    Args:
        rows: the problems.
        model: the model's name.
        tokenizer: result of `local_tokenizer`.
        wanted: `data.format` of the recipe.
    """
    ends = load_ends(model, tokenizer) if getattr(tokenizer, "chat_template", None) else []
    return choose_form(wanted, rows, tokenizer, ends)
