"""Registry of layouts: from the name to the function that reads it."""

from r2vpo.data.options import SchemaName
from r2vpo.data.schemas import code, math_sets
from r2vpo.data.schemas.base import Schema
from r2vpo.data.schemas.countdown import countdown
from r2vpo.data.schemas.ifeval import ifeval
from r2vpo.data.schemas.plain import plain

SCHEMAS: dict[SchemaName, Schema] = {
    "plain": Schema(plain),
    "numina_math": Schema(math_sets.numina_math),
    "gsm8k": Schema(math_sets.gsm8k),
    "math": Schema(math_sets.math),
    "dapo_math": Schema(math_sets.dapo_math),
    "aime": Schema(math_sets.aime),
    "countdown": Schema(countdown, prompt_is_made=True, has_examples=False),
    "mbpp": Schema(code.mbpp),
    "humaneval": Schema(code.humaneval),
    "ifeval": Schema(ifeval, has_examples=False),
}
"""Layouts by their name in `data.schema`."""
