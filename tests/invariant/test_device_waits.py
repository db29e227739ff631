"""How often the host waits for its device: once a micro-batch at most, and never for a token between two polls."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from r2vpo.core.log_probs import PrefixBatch, forward_log_probs, ordinary_log_probs
from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.objectives import OBJECTIVES
from r2vpo.core.objectives.registry import own_options
from r2vpo.learner.micro_batch import collate
from r2vpo.sampling import SharedPrefixSampler
from r2vpo.sampling import sampler as sampling
from tests.oracles.cases import OWN
from tests.tiny import tiny_trainer
from tests.unit.core.log_probs.small_models import VOCABULARY, random_batch, small_model
from tests.unit.learner.groups import one_row
from tests.waiting import AWAY, Away, Counted, device, sent_away

SHAPES = {
    "side by side": dict(common=0, tails=[9, 9], rows=[0, 0, 1, 1], tokens=4),
    "left padding": dict(common=0, tails=[3, 11, 6], rows=[0, 0, 1, 1, 2, 2], tokens=5),
    "common start": dict(common=13, tails=[1, 7, 4], rows=[2, 0, 2, 1, 2], tokens=5),
    "several rows a group": dict(common=0, tails=[6, 4], rows=[0] * 7 + [1] * 2, tokens=26),
    "a row each": dict(common=9, tails=[6, 4], rows=[0, 1, 0], tokens=70),
    "one response token": dict(common=10, tails=[2, 3], rows=[0, 1, 1], tokens=1),
}
PROMPTS = [[*range(20, 33), 5, 6], [*range(20, 33), 9], [*range(20, 33), 4, 8, 15, 16]]
ENDS = [3, 11, 50, 60, 70]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("forward", "waits"),
    # Of the model's own logits transformers asks one thing: whether the row is several texts behind each other.
    [(forward_log_probs, []), (ordinary_log_probs, ["aten::_local_scalar_dense"])],
)
def test_forward_and_backward_pass_wait_for_nothing_of_ours(forward: Any, waits: list[str], shape: str) -> None:
    batch, model = random_batch(**SHAPES[shape]), small_model()
    expected = forward(model, batch, temperature=0.8)
    expected.log_probs.sum().backward()
    there = sent_away(small_model())
    with device() as mode:
        result = forward(there, batch.to(AWAY), temperature=0.8)
        result.log_probs.sum().backward()
    assert mode.seen == waits
    torch.testing.assert_close(result.log_probs.detach().inner, expected.log_probs.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.entropy.inner, expected.entropy, rtol=1e-4, atol=1e-4)
    for (name, found), wanted in zip(there.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(
            found.grad.inner, wanted.grad, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_batch_that_was_built_on_the_device_is_waited_for_once() -> None:
    batch, model = random_batch(**SHAPES["common start"]), sent_away(small_model())
    tensors = (batch.prompt_ids, batch.prompt_mask, batch.group_index, batch.response_ids, batch.response_mask)
    with device() as mode:
        there = PrefixBatch(*(Away(tensor) for tensor in tensors))
        forward_log_probs(model, there, temperature=1.0)
        forward_log_probs(model, there, temperature=1.0)
    assert mode.seen == ["aten::_to_copy"]


def test_a_response_outside_the_vocabulary_is_refused_before_the_device_sees_it() -> None:
    batch, model = random_batch(**SHAPES["common start"]), sent_away(small_model())
    batch.response_ids[2, 0] = VOCABULARY
    with device() as mode, pytest.raises(ValueError, match=f"vocabulary has {VOCABULARY} tokens"):
        forward_log_probs(model, batch.to(AWAY), temperature=1.0)
    assert mode.seen == []


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
def test_a_micro_batch_is_measured_without_a_wait_and_a_step_with_one(name: str, anchor: str) -> None:
    own = {option: value for option, value in OWN[name].items() if option in own_options(name)}
    chosen = {"name": name, "anchor": anchor, "options": own}
    method = Method(MethodOptions(objective=chosen, dual={"kind": "fixed", "value": 1.0}))
    config, total = method.config, torch.ones(())
    rows = [one_row(group, 2 + group, advantage=1.0 - group, version=group) for group in range(3)]
    controls = method.controls(steps_per_round=2, reduce=lambda tensor: tensor)
    with device() as mode:
        micro = collate(rows, version=3, pad_token_id=0, device=AWAY)
        log_probs = (micro.rollout_log_probs - 0.1).requires_grad_()
        shared = dict(
            old_log_probs=micro.rollout_log_probs - 0.2,
            rollout_log_probs=micro.rollout_log_probs,
            response_mask=micro.response_mask,
            advantages=micro.advantages,
        )
        output = method.loss(
            log_probs=log_probs, dual=1.0, config=config, normalizer=Away(total * 9), **shared
        )  # fmt: skip
        output.loss.backward()
        controls.measure(output, entropy=-log_probs.detach(), staleness=micro.staleness, max_staleness=3)
        assert mode.seen == []
        metrics = controls.finish_step()
    assert mode.seen == ["aten::_to_copy"]
    assert metrics["tokens_by_staleness"] == [0.0, 4.0, 3.0, 2.0]


def make_sampler(model: Any, **changes: Any) -> SharedPrefixSampler:
    options = dict(eos_token_ids=ENDS, pad_token_id=0, temperature=0.9, max_new_tokens=40)
    return SharedPrefixSampler(model, **(options | changes))


@pytest.mark.parametrize("prompts", [PROMPTS, [prompt[:14] for prompt in PROMPTS]])
def test_no_token_is_waited_for_between_two_polls(prompts: list[list[int]]) -> None:
    """Without an end, so that the number of tokens is known: a poll every 16, one at the end, and five columns read."""
    with device() as mode:
        there = make_sampler(sent_away(small_model()), eos_token_ids=[], entropy=True)
        for tokens in (1, 15, 16, 17, 40):
            there._max_new_tokens = tokens
            mode.seen.clear()
            samples = there.sample(prompts, 2, seed=0)
            assert {len(sample.response_ids) for sample in samples} == {tokens}
            assert len(mode.seen) == (tokens - 1) // 16 + 1 + 5
            assert set(mode.seen) == {"aten::_to_copy"}


def test_rows_that_end_between_two_polls_give_what_they_give_on_a_cpu() -> None:
    with device():
        there = make_sampler(sent_away(small_model()), entropy=True)
        found = there.sample(PROMPTS, 6, seed=1), there.greedy(PROMPTS)
    here = make_sampler(small_model(), entropy=True)
    expected = here.sample(PROMPTS, 6, seed=1), here.greedy(PROMPTS)
    lengths = {len(sample.response_ids) for sample in expected[0]}
    assert len(lengths) > 5 and min(lengths) < 16 < max(lengths)
    for sample, wanted in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        assert (sample.response_ids, sample.finished) == (wanted.response_ids, wanted.finished)
        assert sample.log_probs == pytest.approx(wanted.log_probs, abs=1e-5)
        assert sample.entropies == pytest.approx(wanted.entropies, abs=1e-5)


@pytest.mark.parametrize("poll", [1, 3, 16, 100])
def test_samples_are_those_of_a_loop_over_single_rows(poll: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sampling.TOKENS_BETWEEN_POLLS, "cpu", poll)
    model = small_model()
    for rows_per_batch in (None, 5):
        samples = make_sampler(model, rows_per_batch=rows_per_batch).sample(PROMPTS, 4, seed=7)
        uniform = torch.rand((12, 40), dtype=torch.float64, generator=torch.Generator().manual_seed(7)).tolist()
        for row, sample in enumerate(samples):
            ids, log_probs = list(PROMPTS[row // 4]), []
            start = len(ids)
            while len(log_probs) < 40 and (not log_probs or ids[-1] not in ENDS):
                with torch.no_grad():
                    chances = (model(input_ids=torch.tensor([ids])).logits[0, -1] / 0.9).softmax(-1).double()
                place = uniform[row][len(log_probs)] * chances.sum()
                ids.append(int((chances.cumsum(0) <= place).sum()))
                log_probs.append(math.log(chances[ids[-1]]))
            assert sample.response_ids == ids[start:]
            assert sample.finished == (ids[-1] in ENDS)
            assert sample.log_probs == pytest.approx(log_probs, abs=1e-4)


@pytest.mark.parametrize("poll", [1, 16])
def test_logits_that_are_not_finite_are_named_with_their_own_step(poll: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sampling.TOKENS_BETWEEN_POLLS, "cpu", poll)
    model, steps = small_model(), []

    def poison(module: Any, args: Any, output: Any) -> Any:
        steps.append(1)
        output[2:] = output[2:] * (float("nan") if len(steps) == 20 else 1.0)
        return output

    model.lm_head.register_forward_hook(poison)
    with pytest.raises(ValueError, match="logits of 4 of 6 rows are not finite at response token 19"):
        make_sampler(model, eos_token_ids=[]).sample(PROMPTS, 2, seed=0)
    assert len(steps) == (20 if poll == 1 else 32)


def test_a_row_that_has_ended_may_become_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sampling.TOKENS_BETWEEN_POLLS, "cpu", 16)
    model, steps = small_model(), []
    expected = make_sampler(model, max_new_tokens=16).sample(PROMPTS[:1], 1, seed=1)
    length = len(expected[0].response_ids)
    assert expected[0].finished and length < 16

    def poison(module: Any, args: Any, output: Any) -> Any:
        steps.append(1)
        return output * float("nan") if len(steps) > length else output

    model.lm_head.register_forward_hook(poison)
    assert make_sampler(model, max_new_tokens=16).sample(PROMPTS[:1], 1, seed=1) == expected
    assert len(steps) == 16


class Stretches(TrainerCallback):
    """Counts from the start of a training step to where transformers goes on to the next, or to its optimizer step."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, list[str]]] = []
        self.open: Counted | None = None

    def begin(self) -> None:
        self.open = Counted()
        self.open.__enter__()

    def close(self, kind: str) -> None:
        self.open.__exit__(None, None, None)
        self.counts.append((kind, self.open.seen))

    def on_substep_end(self, *args: Any, **kwargs: Any) -> None:
        self.close("micro-batch")

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.close("step")


@pytest.mark.parametrize(("shared", "waits"), [(True, 0), (False, 1)])
def test_a_run_waits_for_no_micro_batch_and_once_for_the_gradient(tmp_path: Any, shared: bool, waits: int) -> None:
    """Everything between two micro-batches, transformers' own look at the loss included, without a round's start."""
    stretches = Stretches()
    trainer = tiny_trainer(
        tmp_path, max_steps=4, per_device_train_batch_size=4, gradient_accumulation_steps=2, steps_per_generation=4,
        generation_batch_size=None, callbacks=[stretches], shared_prefix=shared,
    )  # fmt: skip
    step = trainer.training_step

    def counted(*args: Any, **kwargs: Any) -> Any:
        stretches.begin()
        return step(*args, **kwargs)

    trainer.training_step = counted
    trainer.train()
    assert [kind for kind, _ in stretches.counts] == ["micro-batch", "step"] * 4
    # The first of four begins a round: it samples, and its rewards are lists of numbers.
    within = [entry for place, entry in enumerate(stretches.counts) if place % 4]
    assert [len(seen) for kind, seen in within if kind == "micro-batch"] == [waits] * 2
    assert [len(seen) for kind, seen in within if kind == "step"] == [waits + 1] * 4


def test_a_loss_that_is_not_finite_stays_out_of_the_log_as_transformers_keeps_it_out(tmp_path: Any) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=4, logging_steps=4, step_control=False)
    losses: list[float] = []
    loss = trainer.learner.objective

    def spoiled(**inputs: Any) -> Any:
        output = loss(**inputs)
        if len(losses) == 2:
            output = dataclasses.replace(output, loss=output.loss * float("inf"))
        losses.append(float(output.loss.detach()))
        return output

    trainer.learner.objective = spoiled
    trainer.train()
    assert math.isinf(losses[2]) and len(losses) == 4
    # After two steps the mean so far is a third of their sum: transformers divides by the steps including this one.
    whole = losses[0] + losses[1]
    whole = whole + whole / 3 + losses[3]
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == [pytest.approx(whole / 4, abs=1e-4)]
    assert trainer.counters["non_finite_steps"] == 1
