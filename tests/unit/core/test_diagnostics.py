"""Diagnostics by hand, by staleness, and at the extremes."""

import pytest
import torch

from r2vpo.core.diagnostics import QUANTITIES, diagnostic_sums, summarize
from r2vpo.core.objectives import ClipConfig, clip_loss, r2vpo_loss


def sums_of(entropy=None, staleness=None, max_staleness=0, dual=0.0, **batch):
    return diagnostic_sums(
        r2vpo_loss(**batch, dual=dual), entropy=entropy, staleness=staleness, max_staleness=max_staleness
    )


def inputs(ratios, advantages, **change):
    ratios = torch.tensor(ratios, dtype=torch.float64)
    return {
        "log_probs": ratios.log(), "old_log_probs": torch.zeros_like(ratios),
        "advantages": torch.tensor(advantages, dtype=torch.float64),
        "response_mask": torch.ones(ratios.shape, dtype=torch.bool), **change,
    }  # fmt: skip


def test_by_hand():
    # Ratios 1.5, 0.5 with A = 1 and 1.3, 0.7 with A = -1.
    # With lambda 2, A - 2 lambda (r - 1) is -1, 3 and -2.2, 0.2.
    result = summarize(sums_of(**inputs([[1.5, 0.5], [1.3, 0.7]], [1.0, -1.0]), dual=2.0))
    assert result["ratio_variance"] == pytest.approx((0.25 + 0.25 + 0.09 + 0.09) / 4)
    assert result["mean_ratio"] == pytest.approx(1.0)
    assert result["chi_square"] == pytest.approx(result["ratio_variance"])  # since the mean ratio is 1
    assert result["effective_sample_size"] == pytest.approx(16 / (4 * (2.25 + 0.25 + 1.69 + 0.49)))
    assert result["sign_flip_fraction"] == 0.5
    assert result["clip_fraction"] == 0.5  # 1.5 with A > 0, 0.7 with A < 0
    assert result["mean_stale_weight"] == 1.0


def test_chi_square_is_not_the_variance_when_the_mean_ratio_is_not_one():
    result = summarize(sums_of(**inputs([[1.2, 1.4]], [1.0])))
    assert result["chi_square"] == pytest.approx((1.44 + 1.96) / 2 - 1)
    assert result["ratio_variance"] == pytest.approx((0.04 + 0.16) / 2)


def test_without_multiplier_or_movement():
    result = summarize(sums_of(**inputs([[1.0, 1.0]], [1.0])))
    assert result["effective_sample_size"] == 1.0
    for name in ("ratio_variance", "kl", "chi_square", "sign_flip_fraction", "clip_fraction", "entropy"):
        assert result[name] == 0.0


def test_by_staleness():
    b = inputs([[1.1, 1.1], [1.2, 1.2], [1.3, 1.3]], [1.0, 1.0, 1.0])
    b["response_mask"][2, 1] = False
    b["rollout_log_probs"] = b["old_log_probs"] - torch.tensor([[0.0], [0.5], [9.0]]).log1p()
    result = summarize(sums_of(**b, staleness=torch.tensor([0, 2, 7]), max_staleness=3))
    assert result["tokens_by_staleness"] == [2, 0, 2, 1]
    assert result["ratio_variance_by_staleness"] == pytest.approx([0.01, 0.0, 0.04, 0.09])
    assert result["mean_stale_weight_by_staleness"] == pytest.approx([1.0, 0.0, 1.5, 2.0])  # the cap is 2
    assert result["effective_sample_size_by_staleness"] == pytest.approx([1.0, 0.0, 1.0, 1.0])


def test_no_rows_at_all():
    b = inputs([[2.0]], [1.0])
    b["response_mask"][:] = False
    result = summarize(sums_of(**b, staleness=torch.tensor([1]), max_staleness=2))
    for name, value in result.items():
        assert value == ([0.0] * 3 if name.endswith("_by_staleness") else 0.0)


@pytest.mark.parametrize("size", [1e3, -1e3])
@pytest.mark.parametrize("level", ["token", "response"])
def test_extremes_and_garbage_stay_finite(size, level):
    nan = float("nan")
    old = torch.tensor([[-2.0, -2.0, nan], [-2.0, -2.0, -2.0]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    output = clip_loss(
        log_probs=old + size, old_log_probs=old, advantages=torch.tensor([1.0, -1.0]), response_mask=mask,
        rollout_log_probs=torch.tensor([[nan, -2.0, nan], [-2.0, float("inf"), -900.0]]), dual=2.0,
        config=ClipConfig(level=level),
    )  # fmt: skip
    sums = diagnostic_sums(output, entropy=torch.where(mask, 1.5, nan), staleness=torch.tensor([0, 1]), max_staleness=1)
    assert sums.shape == (len(QUANTITIES), 2)
    assert sums.isfinite().all()
    result = summarize(sums)
    assert result["entropy"] == 1.5
    assert result["non_finite_log_probs"] == 2
    assert 0 < result["effective_sample_size"] <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"staleness": torch.zeros(3, dtype=torch.long)}, "staleness has shape"),
        ({"max_staleness": -1}, "max_staleness is -1"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        sums_of(**inputs([[1.0, 1.0]], [1.0]), **change)


def test_sums_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="pass what diagnostic_sums gave"):
        summarize(torch.zeros(3, 2))
