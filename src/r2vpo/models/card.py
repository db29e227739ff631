"""Model cards (`README.md` with YAML front matter): what a model is, how it was trained, and whom to cite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.method_options import ObjectiveOptions
from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.models.base import Base

PENALTY = " with the ratio-variance penalty"
TEMPLATE = Path(__file__).with_name("card.md.j2")
NAME = "README.md"


@dataclass(frozen=True)
class Paper:
    """A paper to cite.

    Attributes:
        key: its key in BibTeX.
        title: its title.
        authors: in full, in order.
        number: its number on arXiv.
        year: when it appeared.
    """

    key: str
    title: str
    authors: tuple[str, ...]
    number: str
    year: int

    def bibtex(self) -> str:
        """Return its entry in BibTeX."""
        fields = {
            "title": self.title,
            "author": " and ".join(self.authors),
            "year": self.year,
            "eprint": self.number,
            "archivePrefix": "arXiv",
        }
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@misc{{{self.key},\n{lines}\n}}"


PAPERS = (
    Paper(
        "luo2026efficient",
        "Ratio-Variance Regularized Policy Optimization for Efficient LLM Fine-tuning",
        ("Yu Luo", "Shuo Han", "Yihan Hu", "Dong Li", "Jianye Hao"),
        "2601.03320",
        2026,
    ),
    Paper(
        "luo2026ratio",
        "Ratio-Variance Regularized Policy Optimization",
        ("Yu Luo", "Shuo Han", "Yihan Hu", "Lei Lv", "Huaping Liu", "Fuchun Sun", "Jianye Hao", "Dong Li"),
        "2605.26784",
        2026,
    ),
)


@dataclass(frozen=True)
class Card:
    """The content of a model card.

    Attributes:
        name: title of the model.
        base: the model that it was trained from.
        adapters: whether the folder holds adapters, not whole weights.
        chat: whether the tokenizer has a chat template.
        settings: rows of the table of how it was trained: what, value.
        results: rows of the table of results: what, before, after, gain.
        accuracy: the accuracy after training, 0 to 1, for the front matter; None if it was not measured.
        data: name of the problems on which it was measured.
        measured: how, in words.
        limits: sentences about what is not known of the model.
        changed: whether training has changed the weights.
        method: the objective that was trained with, `r2vpo` for R²VPO.
        preferences: whether it was trained on preferences, and not on rewards.
    """

    name: str
    base: Base
    adapters: bool
    chat: bool
    settings: Mapping[str, str]
    results: Sequence[tuple[str, str, str, str]] = ()
    accuracy: float | None = None
    data: str = ""
    measured: str = ""
    limits: Sequence[str] = field(default_factory=tuple)
    changed: bool = True
    method: str = "r2vpo"
    preferences: bool = False

    @property
    def is_r2vpo(self) -> bool:
        """Return whether the method is R²VPO: its own objective, or another one with the ratio-variance penalty."""
        return self.method == "r2vpo" or self.method.endswith(PENALTY)


def method_name(objective: ObjectiveOptions) -> str:
    """Return what the card calls an objective.

    Args:
        objective: its options.
    """
    return objective.name if objective.ratio_variance is None else f"{objective.name}{PENALTY}"


def method_settings(
    objective: ObjectiveOptions,
    dual: DualOptions,
    step_control: StepControlOptions,
    replay: ReplayOptions,
    critic: CriticOptions,
) -> dict[str, str]:
    """Return the rows about the method in the table of settings.

    Args:
        objective: the loss.
        dual: the multiplier.
        step_control: whether the learning rate follows V_d.
        replay: training again on stale rollouts.
        critic: the learned value function.
    """
    own = ", ".join(f"{name} = {value}" for name, value in objective.options.items())
    followed = objective.name == "r2vpo" or objective.ratio_variance is not None
    return {
        "objective": f"{method_name(objective)}{f' ({own})' if own else ''}",
        "trust radius delta": f"{objective.delta:g} ratio variance per decision and informative rollout",
        **({"multiplier": dual.kind} if followed else {}),
        "step control": "on: the learning rate follows V_d" if step_control.enabled else "off",
        **({"critic": f"{critic.model}, lambda of GAE {critic.gae_lambda:g}"} if critic.enabled else {}),
        "replay": f"rollouts of {replay.versions} earlier policy versions" if replay.versions else "none",
    }


def render_card(card: Card) -> str:
    """Return the text of a model card.

    Args:
        card: its content.
    """
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
    )
    front = _front_matter(card).to_yaml(line_break="\n")
    return environment.get_template(TEMPLATE.name).render(card=card, front=front.strip(), papers=PAPERS)


def _front_matter(card: Card) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    results = None
    if card.accuracy is not None:
        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type=card.data.replace(" ", "-"),
                dataset_name=card.data,
                metric_type="accuracy",
                metric_value=round(card.accuracy, 4),
            )
        ]
    return ModelCardData(
        base_model=card.base.hub,
        license=card.base.licence,
        library_name="peft" if card.adapters else "transformers",
        pipeline_tag="text-generation",
        tags=[
            *(["r2vpo"] if card.is_r2vpo else []),
            "trl",
            "dpo" if card.preferences else "reinforcement-learning",
            *(["lora"] if card.adapters else []),
        ],
        model_name=card.name,
        eval_results=results,
    )
