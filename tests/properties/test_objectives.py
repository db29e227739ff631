"""What may not change a loss: padding, garbage in it, the order of rows, a split into micro-batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r2vpo.core.diagnostics import diagnostic_sums, summarize
from r2vpo.core.objectives import OBJECTIVES, RatioVarianceConfig, r2vpo_loss
from r2vpo.core.types import DecisionVarianceSums
from tests.oracles.batches import batch
from tests.oracles.cases import LEVELS, config_of, options
from tests.tolerances import FLOAT64

GARBAGE = [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 0.0]
PER_TOKEN = ("log_probs", "old_log_probs", "rollout_log_probs", "advantages")


@st.composite
def cases(draw, names=tuple(OBJECTIVES)):
    b = batch(
        seed=draw(st.integers(0, 10**6)), rows=draw(st.integers(2, 6)), width=draw(st.integers(1, 6)),
        per_token=draw(st.booleans()),
    )  # fmt: skip
    aggregation = draw(st.sampled_from(["token_mean", "sequence_mean", "constant"]))
    name = draw(st.sampled_from(names))
    o = options(
        name, draw(st.sampled_from(["proximal", "behavior"])), draw(st.sampled_from(LEVELS[name])), aggregation,
        constant=5.0 if aggregation == "constant" else None,
        ratio_variance_delta=draw(st.sampled_from([None, 0.03])),
    )  # fmt: skip
    loss, config = OBJECTIVES[name].loss, config_of(OBJECTIVES[name].config_class, o)
    if o["anchor"] == "proximal" and draw(st.booleans()):
        b["rollout_log_probs"] = None
    return b, loss, config


def evaluate(b, loss, config, normalizer=None):
    log_probs = b["log_probs"].clone().requires_grad_()
    out = loss(**{**b, "log_probs": log_probs}, dual=1.3, config=config, normalizer=normalizer)
    out.loss.backward()
    return out.loss.detach(), log_probs.grad, out.constraint.to_tensor()


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, **FLOAT64)


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(0, 3), st.integers(0, 2), st.data())
def test_padding_and_what_it_holds_change_nothing(case, columns, rows, data):
    b, loss, config = case
    base = evaluate(b, loss, config)
    height, width = b["response_mask"].shape
    mask = torch.zeros(height + rows, width + columns, dtype=torch.bool)
    mask[:height, :width] = b["response_mask"]
    padded = {"response_mask": mask}
    for name in PER_TOKEN:
        source = b[name]
        if source is None:
            padded[name] = None
        elif source.dim() == 1:
            padded[name] = torch.cat([source, source.new_full((rows,), data.draw(st.sampled_from(GARBAGE)))])
        else:
            wide = source.new_full(mask.shape, data.draw(st.sampled_from(GARBAGE)))
            wide[:height, :width] = source
            kept = torch.where(mask, wide, data.draw(st.sampled_from(GARBAGE)))
            padded[name] = kept
    loss_value, gradient, sums = evaluate(padded, loss, config)
    assert (gradient[~mask] == 0).all()
    assert_same((loss_value, gradient[:height, :width], sums), base)


@settings(max_examples=150, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(case, random):
    b, loss, config = case
    order = list(range(len(b["log_probs"])))
    random.shuffle(order)
    permuted = {name: None if tensor is None else tensor[order] for name, tensor in b.items()}
    value, gradient, sums = evaluate(b, loss, config)
    assert_same(evaluate(permuted, loss, config), (value, gradient[order], sums))


# M2PO's mask and P3O's effective sample size look at all the rows of a call.
@settings(max_examples=200, deadline=None)
@given(cases(tuple(name for name in OBJECTIVES if name not in ("m2po", "p3o"))), st.integers(1, 5))
def test_micro_batches_add_up(case, cut):
    b, loss, config = case
    cut = min(cut, len(b["log_probs"]) - 1)
    mask = b["response_mask"]
    normalizer = float(mask.sum() if config.aggregation == "token_mean" else mask.any(1).sum())
    whole = evaluate(b, loss, config)
    parts = []
    for piece in (slice(None, cut), slice(cut, None)):
        part = {name: None if tensor is None else tensor[piece] for name, tensor in b.items()}
        parts.append(evaluate(part, loss, config, normalizer))
    assert_same((parts[0][0] + parts[1][0], torch.cat([p[1] for p in parts]), parts[0][2] + parts[1][2]), whole)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.booleans())
def test_diagnostic_sums_add_up(seed, cut, response):
    b, entropy = batch(seed=seed, rows=6), torch.rand(6, 7, dtype=torch.float64)
    staleness = torch.arange(6) % 4
    config = RatioVarianceConfig(level="response" if response else "token")
    everything = slice(None)

    def sums(piece, **by_age):
        output = r2vpo_loss(**{name: tensor[piece] for name, tensor in b.items()}, dual=1.0, config=config)
        return diagnostic_sums(output, entropy=entropy[piece], **by_age)

    whole, *parts = (
        sums(piece, staleness=staleness[piece], max_staleness=3)
        for piece in (everything, slice(None, cut), slice(cut, None))
    )
    torch.testing.assert_close(parts[0] + parts[1], whole, **FLOAT64)
    merged = sums(everything)
    torch.testing.assert_close(whole.sum(1, keepdim=True), merged, **FLOAT64)
    assert 0 < summarize(whole)["effective_sample_size"] <= 1 + 1e-12


def test_variance_is_a_ratio_of_sums_and_not_a_mean_of_means():
    b = batch(seed=3, rows=6)
    config = RatioVarianceConfig()
    whole = r2vpo_loss(**b, dual=1.0, config=config).constraint
    parts = [
        r2vpo_loss(**{name: tensor[piece] for name, tensor in b.items()}, dual=1.0, config=config).constraint
        for piece in (slice(None, 2), slice(2, None))
    ]
    together = parts[0] + parts[1]
    assert isinstance(together, DecisionVarianceSums)
    assert float(together.value()) == pytest.approx(float(whole.value()), rel=1e-12)
    mean_of_means = float(parts[0].value() + parts[1].value()) / 2
    assert mean_of_means != pytest.approx(float(whole.value()), rel=1e-3)


@pytest.mark.parametrize("name", ["m2po", "p3o"])
def test_what_m2po_and_p3o_read_off_is_of_the_whole_call(name):
    b = batch(seed=3, rows=6)
    loss, config = OBJECTIVES[name].loss, config_of(OBJECTIVES[name].config_class, options(name))
    whole = evaluate(b, loss, config, normalizer=30.0)[0]
    halves = [
        evaluate({key: tensor[piece] for key, tensor in b.items()}, loss, config, normalizer=30.0)[0]
        for piece in (slice(None, 2), slice(2, None))
    ]
    assert not torch.allclose(halves[0] + halves[1], whole, rtol=1e-6)


def test_a_mean_over_each_micro_batch_would_be_noticed():
    b = batch(seed=3, rows=6)
    whole = evaluate(b, r2vpo_loss, RatioVarianceConfig())[0]
    halves = [
        evaluate({name: tensor[piece] for name, tensor in b.items()}, r2vpo_loss, RatioVarianceConfig())[0]
        for piece in (slice(None, 2), slice(2, None))
    ]
    assert not torch.allclose((halves[0] + halves[1]) / 2, whole, rtol=1e-6)
