"""Commands below the result of a run are ones that work with its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2vpo.cli.next_steps import next_steps
from r2vpo.config.run_directory import RunDirectory
from r2vpo.models import load_model, load_tokenizer


@pytest.mark.parametrize(
    ("name", "evaluates", "export"),
    [("tiny/random-llama", True, "--gguf q8_0"), ("habit/llama", False, "--dtype bfloat16")],
)
def test_only_what_fits_the_model_is_named(name: str, evaluates: bool, export: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    load_model(name).save_pretrained(run.model)
    load_tokenizer(name).save_pretrained(run.model)
    lines = dict(next_steps(run, "r2vpo"))
    assert ("evaluate it" in lines) is evaluates
    assert lines["export it"] == f"r2vpo export {run.path} {export}"


def test_a_run_without_a_model_has_none(tmp_path: Path) -> None:
    assert next_steps(RunDirectory(tmp_path), "r2vpo") == []
