"""Conversion of rows of known data sets to problems: one function per layout."""

from typing import Any

from r2vpo.data.options import PairSchemaName, SchemaName
from r2vpo.data.schemas import code, countdown, ifeval, math_sets, pairs, plain
from r2vpo.data.schemas.base import BadRow, Columns, Schema, Skip

__all__ = ["PAIR_SCHEMAS", "SCHEMAS", "BadRow", "Columns", "Schema", "Skip", "schema_of"]

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

PAIR_SCHEMAS: dict[PairSchemaName, Schema] = {
    "pairs": Schema(pairs.pairs, has_examples=False),
    "ultrafeedback": Schema(pairs.ultrafeedback, has_examples=False),
    "hh": Schema(pairs.hh, has_examples=False),
}
"""Layouts of preferences by their name in `data.schema`."""


def schema_of(layout: SchemaName | PairSchemaName) -> Schema:
    """Return the layout of this name."""
    known: dict[Any, Schema] = dict(SCHEMAS) | dict(PAIR_SCHEMAS)
    return known[layout]
