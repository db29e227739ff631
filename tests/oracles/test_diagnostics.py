"""`summarize(diagnostic_sums(...))` against the formulas, whole and by staleness."""

import math

import pytest
import torch

from r2vpo.core.diagnostics import diagnostic_sums, summarize
from r2vpo.core.objectives import RatioVarianceConfig, r2vpo_loss
from tests.oracles.batches import batch
from tests.oracles.diagnostics import diagnostics

CAP, DUAL = 1.5, 2.0


def tokens_of(b, anchor, level, rows):
    """(r, w, A, entropy) of each response token, by scalar arithmetic."""
    found = []
    for i in rows:
        mask = b["response_mask"][i].tolist()
        reference = b["rollout_log_probs"] if anchor == "behavior" else b["old_log_probs"]
        logs = (b["log_probs"][i] - reference[i]).tolist()
        stale = (b["old_log_probs"][i] - b["rollout_log_probs"][i]).tolist()
        kept = [t for t, m in enumerate(mask) if m]
        for t in kept:
            x, s = logs[t], stale[t]
            if level == "response":
                x = math.fsum(logs[u] for u in kept) / len(kept)
                s = math.fsum(stale[u] for u in kept) / len(kept)
            w = 1.0 if anchor == "behavior" else min(math.exp(s), CAP)
            found.append((math.exp(x), w, float(b["advantages"][i]), float(b["entropy"][i, t])))
    return found


@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
@pytest.mark.parametrize("level", ["token", "response"])
def test_against_the_formulas(anchor, level):
    b = batch(seed=2, rows=9)
    b["log_probs"] = b["old_log_probs"] + 2.5 * (b["log_probs"] - b["old_log_probs"])
    entropy = b["log_probs"].abs()
    staleness = torch.tensor([0, 0, 1, 3, 9, 1, 0, 3, 2])
    config = RatioVarianceConfig(anchor=anchor, level=level, stale_weight_cap=CAP)
    output = r2vpo_loss(**b, dual=DUAL, config=config)
    b["entropy"] = entropy
    sums = diagnostic_sums(output, entropy=entropy, staleness=staleness, max_staleness=3)
    result = summarize(sums)
    expected = diagnostics(tokens_of(b, anchor, level, range(9)), DUAL, 0.2, 0.2)
    assert {key: result[key] for key in expected} == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert 0 < result["sign_flip_fraction"] < 1 and 0 < result["clip_fraction"] < 1  # the comparison can miss
    for age in range(4):
        rows = [i for i in range(9) if min(int(staleness[i]), 3) == age]
        tokens = tokens_of(b, anchor, level, rows)
        assert result["tokens_by_staleness"][age] == len(tokens)
        formulas = diagnostics(tokens, DUAL, 0.2, 0.2)
        for key in ("ratio_variance", "effective_sample_size", "mean_stale_weight"):
            wanted = formulas[key] if formulas else 0.0
            assert result[f"{key}_by_staleness"][age] == pytest.approx(wanted, rel=1e-10)


def test_a_wrong_multiplier_is_noticed():
    b = batch(seed=2, rows=9)
    result = summarize(diagnostic_sums(r2vpo_loss(**b, dual=DUAL, config=RatioVarianceConfig(stale_weight_cap=CAP))))
    b["entropy"] = b["log_probs"].abs()
    wrong = diagnostics(tokens_of(b, "proximal", "token", range(9)), DUAL / 2, 0.2, 0.2)
    assert result["sign_flip_fraction"] != pytest.approx(wrong["sign_flip_fraction"])
