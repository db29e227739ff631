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


def test_what_only_studies_need_comes_after_what_a_user_sets() -> None:
    first, studies = script().FILE.read_text(encoding="utf-8").split("\n## For studies\n")
    for key in ("rollout.lag", "rollout.dtype", "dual.kind", "step_control.kind", "model.seed"):
        assert f"| `{key}` |" in studies and f"| `{key}` |" not in first
    assert "| `rollout.max_new_tokens` |" in first and "| `dual.lower` |" in first
