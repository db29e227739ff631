"""The base class of sections that are read from YAML: recipes, suites, experiments and data sources."""

import dataclasses
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.config import JsonDict

from r2vpo.core.declaration import LARGEST, LARGEST_WHOLE, Options

LAST_SEED = 2**32 - 1
"""The largest seed that numpy's generators accept."""

STUDY: JsonDict = {"study": True}
"""`json_schema_extra` of an option that only studies need; the reference lists such options separately."""


Item = TypeVar("Item")

OneOrMore = Annotated[list[Item], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""A list of texts, of which a single one may be given without the brackets."""

_BOUNDS = {"above": "gt", "at_least": "ge", "below": "lt", "at_most": "le"}


def declared(options: type[Options], name: str) -> Any:
    """Return the field of an option that a class of `r2vpo.core` declares, with its default, bounds and help text.

    Args:
        options: the class.
        name: name of the option.
    """
    (field,) = (field for field in dataclasses.fields(options) if field.name == name)
    bounds = {theirs: field.metadata[ours] for ours, theirs in _BOUNDS.items() if ours in field.metadata}
    extra = STUDY if field.metadata["study"] else None
    return Field(field.default, description=field.metadata["help"], json_schema_extra=extra, **bounds)


class Section(BaseModel):
    """A section: unknown keys are refused, values are not converted, and it is frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True)

    @field_validator("*", mode="after")
    @classmethod
    def _sensible(cls, value: Any) -> Any:
        """Refuse numbers larger than any field can use, even if the field has no bound."""
        largest = LARGEST if isinstance(value, float) else LARGEST_WHOLE
        if isinstance(value, int | float) and abs(value) > largest:
            shown = f"{value:g}" if abs(value) < 1e300 else f"a number of {len(str(value))} digits"
            raise ValueError(f"is {shown}; it must be at most {largest:g}")
        return value
