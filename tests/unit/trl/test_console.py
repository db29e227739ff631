"""What a script shows: one short line a log, in one order, and no warnings about other libraries' names."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from r2vpo.trl.console import SHOWN
from tests.tiny import tiny_dataset, tiny_trainer


@pytest.mark.parametrize("bar", [False, True])
def test_a_line_for_each_log(tmp_path: Path, capfd: pytest.CaptureFixture[str], bar: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = tiny_trainer(tmp_path, max_steps=2, disable_tqdm=not bar)
        trainer.train()
    assert not [one for one in caught if issubclass(one.category, FutureWarning)]
    said = capfd.readouterr()
    lines = [line for line in re.split(r"[\r\n]+", said.out) if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2", "2/2"]
    assert "{" not in said.out + said.err
    names = [name for name in re.findall(r"([a-z_]\S*) [-\d]", lines[0]) if name != "step"]
    parts, absent = [name for name in names if name.startswith("rewards/")], ("runtime", "explained_variance")
    assert len(parts) == 1 and [name for name in names if name not in parts] == [n for n in SHOWN if n not in absent]
    assert "train_runtime" in lines[-1]
    assert "ratio_variance" in trainer.state.log_history[0], "everything is in the history"


def test_an_evaluation_has_its_own_numbers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=1, eval_dataset=tiny_dataset(4), per_device_eval_batch_size=4)
    trainer.evaluate()
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("step ")]
    assert " eval_loss " in line and " eval_reward " in line and " reward " not in line
