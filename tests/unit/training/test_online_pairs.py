"""Pairs of the policy's own answers: the best against the worst of a group, and nothing where all are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.data import PromptRow
from r2vpo.errors import UserError
from r2vpo.sampling import Sample
from r2vpo.training.nothing_left import NothingLeft
from r2vpo.training.online_pairs import OnlinePairsTrainer, Sampling, clock
from r2vpo.trl import R2VPODPOConfig
from r2vpo.trl.dpo.batches import Start, response_mask
from tests.pairs import options, series
from tests.tiny import parameters, tiny_model, tiny_tokenizer

ROWS = [PromptRow(f"{n}+1=", str(n + 1)) for n in range(6)]


def ones(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    return [float(text.count("1")) for text in completions]


def trainer(folder: Path, *, reward: Any = ones, prompts: int = 8, **changes: Any) -> OnlinePairsTrainer:
    model = tiny_model()
    model.generation_config.eos_token_id = 1
    config = R2VPODPOConfig(**options(folder, **{"per_device_train_batch_size": 2, "steps_per_round": 4} | changes))
    sampling = Sampling(ROWS, [reward], [1.0], prompts, 4, temperature=1.0, longest=5, rows_per_batch=None)
    return OnlinePairsTrainer(
        model=model,
        ref_model=tiny_model(),
        args=config,
        train_dataset=clock(config, sampling),
        processing_class=tiny_tokenizer(),
        sampling=sampling,
    )


class Watched:
    """A sampler whose answers are kept."""

    def __init__(self, sampler: Any) -> None:
        self.sampler, self.rounds = sampler, list[tuple[list[list[int]], list[Sample]]]()

    def sample(self, prompts: list[list[int]], count: int, *, seed: int) -> list[Sample]:
        self.rounds.append((prompts, self.sampler.sample(prompts, count, seed=seed)))
        return self.rounds[-1][1]


def test_the_best_against_the_worst_with_the_log_probs_of_the_sampling(tmp_path: Path) -> None:
    trained = trainer(tmp_path, prompts=16, max_steps=4)
    watched = trained._sampler = Watched(trained._sampler)  # type: ignore[assignment]
    begun: list[Any] = []
    begin = trained._begin

    def spy(batches: Any, *, steps: int) -> None:
        begin(batches, steps=steps)
        begun.extend(batches)

    trained._begin = spy  # type: ignore[method-assign]
    trained.train()
    ((prompts, samples),) = watched.rounds
    decode = trained._tokenizer.decode
    expected = []
    for place, prompt in enumerate(prompts):
        group = samples[4 * place : 4 * place + 4]
        scores = ones([], [decode(one.response_ids, skip_special_tokens=True) for one in group])
        if max(scores) > min(scores):
            expected.append((prompt, group[scores.index(max(scores))], group[scores.index(min(scores))]))
    assert 4 <= len(expected) < 16, "some groups have no pair"
    found = 0
    for batch in begun:
        start, mask = Start.of(batch), response_mask(batch)
        assert start is not None
        half = len(mask) // 2
        for row in range(half):
            prompt, *answers = expected[found]
            for side, answer in zip((row, row + half), answers, strict=True):
                ids = batch["input_ids"][side][batch["attention_mask"][side].bool()].tolist()
                assert ids == prompt + answer.response_ids
                torch.testing.assert_close(
                    start.old_log_probs[side][mask[side]], torch.tensor(answer.log_probs), rtol=0, atol=1e-5
                )
            found += 1
    assert found == len(expected)
    assert series(trained, "signal")[0] == len(expected) / 16
    assert trained.counters["rollouts_generated"] == 64


def test_rewards_rise_over_rounds_and_epochs(tmp_path: Path) -> None:
    trained = trainer(tmp_path, max_steps=40, learning_rate=1e-2)
    trained.train()
    rewards = series(trained, "reward")
    assert sum(rewards[-8:]) > 2 * sum(rewards[:8]) and trained.state.global_step == 40
    assert series(trained, "round") == [float(step // 4) for step in range(40)]
    drawn = [trained._row(number).prompt for number in range(12)]
    assert set(drawn[:6]) == set(drawn[6:]) == {row.prompt for row in ROWS}
    # The reference is the initial model, also after rounds of another policy.
    reference = parameters(trained.ref_model)
    assert all(torch.equal(value, reference[name]) for name, value in parameters(tiny_model()).items())


def test_a_round_with_few_pairs_uses_them_in_turn(tmp_path: Path) -> None:
    trained = trainer(tmp_path, prompts=1, max_steps=4, gradient_accumulation_steps=2)
    trained.train()
    assert trained.state.global_step == 4 and series(trained, "round") == [0.0] * 4


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """From a checkpoint within a round, and from one between two."""
    saving = {"max_steps": 10, "save_strategy": "steps", "save_steps": 2, "learning_rate": 3e-3}
    whole = trainer(tmp_path / "whole", **saving)
    whole.train()
    for step in (2, 4):
        resumed = trainer(tmp_path / str(step), **saving)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        expected = parameters(whole.model)
        assert all(torch.equal(value, expected[name]) for name, value in parameters(resumed.model).items()), step
        assert resumed.counters == whole.counters
        assert series(resumed, "reward") == series(whole, "reward")


def test_rewards_that_never_differ_end_the_run_with_a_line(tmp_path: Path) -> None:
    same = trainer(tmp_path, reward=lambda completions, **_: [1.0] * len(completions))
    with pytest.raises(UserError, match="20 times in a row, no prompt of a round gave a pair") as caught:
        same.train()
    assert "\n" not in str(caught.value) and same.state.global_step == 0


def test_rewards_that_differ_no_longer_end_training(tmp_path: Path) -> None:
    asked = 0

    def flat_after_a_round(completions: list[str], **_: Any) -> list[float]:
        nonlocal asked
        asked += 1
        return ones([], completions) if asked == 1 else [1.0] * len(completions)

    ending = trainer(tmp_path, reward=flat_after_a_round, max_steps=12, prompts=16)
    with pytest.raises(NothingLeft, match=r"20 times in a row, .* ends after 4 of 12 steps") as caught:
        ending.train()
    assert "\n" not in str(caught.value) and ending.state.global_step == 4 and asked == 21


def test_a_reward_that_is_no_number_is_named(tmp_path: Path) -> None:
    broken = trainer(tmp_path, reward=lambda completions, **_: [float("nan")] * len(completions))
    with pytest.raises(UserError, match="return a finite number"):
        broken.train()
