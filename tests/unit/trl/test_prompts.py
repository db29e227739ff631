from __future__ import annotations

from pathlib import Path

from r2vpo.trl.prompts import RepeatedRows
from tests.tiny import tiny_dataset, tiny_trainer


class Counting:
    """A dataset that counts how often a row is read."""

    def __init__(self, size: int) -> None:
        self.size, self.reads = size, 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, int]:
        self.reads += 1
        return {"place": index}


def test_a_batch_is_read_once_and_a_prompt_once_a_group() -> None:
    rows = Counting(8)
    repeated = RepeatedRows(rows)
    for _ in range(3):
        assert repeated.__getitems__([2, 2, 5, 5]) == [{"place": i} for i in (2, 2, 5, 5)]
    assert rows.reads == 2
    assert repeated.__getitems__([1, 1]) == [{"place": 1}, {"place": 1}]
    assert (rows.reads, len(repeated), repeated[7]) == (3, 8, {"place": 7})


def test_rows_of_a_group_are_mappings_of_their_own() -> None:
    first, second = RepeatedRows(Counting(3)).__getitems__([1, 1])
    assert first is not second


def test_every_round_gets_its_own_prompts(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=6)
    seen: list[list[str]] = []
    generate = trainer._generate_and_score_completions

    def spy(rows: list[dict[str, str]]) -> object:
        seen.append([row["prompt"] for row in rows])
        return generate(rows)

    trainer._generate_and_score_completions = spy
    trainer.train()
    assert len(seen) == 3
    assert all(len(prompts) == 16 and len(set(prompts)) == 4 for prompts in seen)
    assert len({prompt for prompts in seen for prompt in prompts}) == 12
    assert {prompt for prompts in seen for prompt in prompts} <= set(tiny_dataset()["prompt"])


class CountingPrompts(Counting):
    """Prompts that count how often they are read."""

    def __init__(self, prompts: list[str]) -> None:
        super().__init__(len(prompts))
        self.prompts = prompts

    def __getitem__(self, index: int) -> dict[str, str]:
        self.reads += 1
        return {"prompt": self.prompts[index]}


def test_the_training_loop_reads_a_rounds_prompts_once(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=6, num_iterations=3)
    trainer.train_dataset = CountingPrompts(list(tiny_dataset()["prompt"]))
    trainer.train()
    # One round of four prompts, asked for at each of six steps; the loader looks one batch ahead.
    assert 4 <= trainer.train_dataset.reads <= 8
