"""docs/reference is what the declarations say."""

import importlib.util
from pathlib import Path
from typing import Any

from r2vpo.config.known_keys import known_keys
from r2vpo.config.recipe import Recipe
from r2vpo.core.objectives import OBJECTIVES, own_options

ROOT = Path(__file__).parents[3]


def script() -> Any:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date() -> None:
    module = script()
    assert module.FILE.read_text(encoding="utf-8") == module.reference(), "run: python scripts/reference.py"


def test_the_reference_has_every_setting() -> None:
    text = script().FILE.read_text(encoding="utf-8")
    for key in known_keys(Recipe):
        assert f"`{key}`" in text, key
    for name in OBJECTIVES:
        for option in own_options(name):
            assert f"| `{name}` | `{option}` |" in text
