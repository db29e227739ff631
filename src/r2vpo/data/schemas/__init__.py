"""Conversion of rows of known data sets to problems: one function per layout."""

from r2vpo.data.options import SchemaName
from r2vpo.data.schemas import code, countdown, ifeval, math_sets, plain
from r2vpo.data.schemas.base import BadRow, Columns, Schema, Skip

__all__ = ["SCHEMAS", "BadRow", "Columns", "Schema", "Skip"]

SCHEMAS: dict[SchemaName, Schema] = {
    "plain": Schema(plain.plain),
    "numina_math": Schema(math_sets.numina_math),
    "gsm8k": Schema(math_sets.gsm8k),
    "math": Schema(math_sets.math),
    "dapo_math": Schema(math_sets.dapo_math),
    "aime": Schema(math_sets.aime),
    "countdown": Schema(countdown.countdown, prompt_is_made=True, has_examples=False),
    "mbpp": Schema(code.mbpp),
    "humaneval": Schema(code.humaneval),
    "ifeval": Schema(ifeval.ifeval, has_examples=False),
}
"""Layouts by their name in `data.schema`."""
