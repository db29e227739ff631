"""The model cards that the trainer writes, in place of TRL's and PEFT's, which describe another method."""

from __future__ import annotations

import json
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2vpo.core.log_probs.support import base_model
from r2vpo.models.base import Base, describe_base
from r2vpo.models.card import NAME, Card, method_name, method_settings, render_card
from r2vpo.models.catalog import documented_name

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer

ADAPTERS = "adapter_config.json"
PACKAGES = ("r2vpo", "torch", "transformers", "trl", "peft")


def describe_folder(trainer: R2VPOTrainer, folder: Path) -> None:
    """Write the card of a folder into which the trainer saved, and name the base of adapters as a user would.

    Args:
        trainer: the trainer.
        folder: where it saved.
    """
    if (folder / ADAPTERS).is_file():
        name_base(folder)
    (folder / NAME).write_text(trainer_card(trainer, adapters=(folder / ADAPTERS).is_file()), encoding="utf-8")


def name_base(folder: Path) -> None:
    """Name the base in the settings of adapters as a user would: a listed name, not its folder in the cache.

    Args:
        folder: of adapters.
    """
    path = folder / ADAPTERS
    settings = json.loads(path.read_text(encoding="utf-8"))
    name = documented_name(settings.get("base_model_name_or_path") or "")
    # Adapters may be loaded from another working folder.
    settings["base_model_name_or_path"] = str(Path(name).absolute()) if name and Path(name).exists() else name
    path.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")


def trainer_card(trainer: R2VPOTrainer, *, adapters: bool, name: str | None = None) -> str:
    """Return the card of a model that a trainer saves.

    Args:
        trainer: the trainer.
        adapters: whether it saves adapters.
        name: the model's name; None takes that of the output folder.
    """
    args, model = trainer.args, base_model(trainer.model)
    place = getattr(model.config, "_name_or_path", "")
    base = describe_base(documented_name(place)) if place else Base(type(model).__name__, None, None, "")
    settings: dict[str, Any] = {
        **method_settings(args.objective, args.dual, args.step_control, args.replay, args.critic),
        "optimizer steps": f"{trainer.state.global_step:,} so far",
        "learning rate": f"{args.learning_rate:g}, {getattr(args.lr_scheduler_type, 'value', args.lr_scheduler_type)}",
        "a round": f"{args.generation_batch_size} completions, {args.num_generations} for each prompt",
        "longest completion": f"{args.max_completion_length} tokens",
        "temperature": f"{args.temperature:g}",
        "rewards": ", ".join(trainer.reward_func_names),
        "seed": str(args.seed),
        "versions": ", ".join(f"{package} {version(package)}" for package in PACKAGES),
        "date": date.today().isoformat(),
    }
    card = Card(
        name=name or Path(args.output_dir).absolute().name,
        base=base,
        adapters=adapters,
        chat=getattr(trainer.processing_class, "chat_template", None) is not None,
        settings=settings,
        measured="This is a state during training. Its accuracy is not recorded here.",
        limits=("The end tokens in `generation_config.json` are those that ended completions in training.",),
        method=method_name(args.objective),
    )
    return render_card(card)
