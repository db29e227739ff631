"""The section of a recipe about its reward: one of `r2vpo.rewards`, or a weighted sum of several."""

import re
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from r2vpo.core.nearest import did_you_mean
from r2vpo.rewards.registry import REWARDS, first_problem, options_class
from r2vpo.section import Section


def _is_reward(name: str) -> bool:
    return name in REWARDS or re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name) is not None


class RewardChoice(Section):
    """A reward with the options of its class in `r2vpo.rewards`; an option that is null has its default."""

    model_config = ConfigDict(extra="allow")

    name: str = Field("reasoning_gym", description=f"{', '.join(REWARDS)}, or module:function")

    def options(self) -> dict[str, Any]:
        """Return name and options in the form that `load_reward` takes."""
        return {"name": self.name, **(self.model_extra or {})}

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if _is_reward(name):
            return name
        raise ValueError(f"is {name!r}; use one of {', '.join(REWARDS)}, or your own as module:function")

    @model_validator(mode="before")
    @classmethod
    def _with_all_options(cls, settings: Any) -> Any:
        name = settings.get("name", cls.model_fields["name"].default) if isinstance(settings, dict) else None
        if not isinstance(name, str) or not _is_reward(name) or settings.get("parts") is not None:
            return settings
        own = {key: value for key, value in settings.items() if key in cls.model_fields}
        options = {key: value for key, value in settings.items() if key not in own and value is not None}
        for key in options:
            _refuse_unknown(key, name, cls)
        try:
            return options_class(name)(name=name, **options).model_dump() | own
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None


def _refuse_unknown(key: str, name: str, section: type[RewardChoice]) -> None:
    known = options_class(name).model_fields
    if key in known:
        return
    remedy = did_you_mean(key, [*known, *section.model_fields], ": remove it")
    raise ValueError(f"{key} is not an option of {name}{remedy}")


class RewardPart(RewardChoice):
    """A part of a weighted sum."""

    weight: float = Field(1.0, description="what the part's reward is multiplied by in the sum")


class RewardRecipe(RewardChoice):
    """How a completion is scored: by one reward, or by a weighted sum of parts."""

    parts: list[RewardPart] | None = Field(
        None, min_length=1, description="rewards with their weights; the first decides what counts as solved"
    )

    def all_parts(self) -> list[RewardPart]:
        """Return the parts; a single reward is one part of weight 1."""
        return self.parts or [RewardPart(**self.options())]

    @model_validator(mode="before")
    @classmethod
    def _named_after_the_first_part(cls, settings: Any) -> Any:
        parts = settings.get("parts") if isinstance(settings, dict) else None
        if not isinstance(parts, list) or not parts or "name" in settings:
            return settings
        name = parts[0].get("name") if isinstance(parts[0], dict) else getattr(parts[0], "name", None)
        return {**settings, "name": name} if isinstance(name, str) and _is_reward(name) else settings

    @model_validator(mode="after")
    def _options_fit(self) -> "RewardRecipe":
        if self.parts is not None:
            beside = [key for key, value in self.options().items() if key != "name" and value is not None]
            if beside:
                raise ValueError(f"{beside[0]} is given next to parts: move it into a part")
            if self.name != self.parts[0].name:
                raise ValueError(
                    f"name = {self.name} is given next to parts, the first of which is {self.parts[0].name}: leave it "
                    "out, or set reward.parts=null"
                )
        if self.name == "length":
            raise ValueError(
                "name = length is a penalty and cannot decide what counts as solved: begin reward.parts with the "
                "reward that does"
            )
        return self
