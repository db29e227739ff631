"""The figures of docs/learn/method.md show what the page says about them."""

from __future__ import annotations

import math
import re

import pytest
from scripts import figures

from tests.docs.pages import PAGES


def test_a_token_is_pushed_less_until_r_star_and_not_drawn_back() -> None:
    ratio, found = figures.gradients(1.0)
    beyond = ratio > 1 + 1 / (2 * figures.LAMBDA) + 0.01
    before, behind = (ratio > 1.01) & ~beyond, ratio < 0.99
    assert (found["r2vpo"][beyond].abs() < 1e-12).all() and (found["two_sided"][beyond] < 0).all()
    assert (found["r2vpo"][before] < found["policy_gradient"][before]).all()
    assert (found["r2vpo"][behind] - found["policy_gradient"][behind]).abs().max() < 1e-12
    assert (found["clip"][ratio > 1.21] == 0).all() and (found["clip"][before & (ratio < 1.19)] > 1).all()


@pytest.mark.parametrize("moved", [0.1, 0.3])
def test_v_d_is_the_squared_movement_whatever_is_certain(moved: float) -> None:
    plain, certain = figures.variances(moved, 0.0), figures.variances(moved, 0.95)
    assert plain[0] / certain[0] > 15  # V falls
    for _, per_decision in (plain, certain):
        assert per_decision == pytest.approx(moved**2, rel=0.1)


def test_every_start_finds_the_same_rate() -> None:
    found = [figures.found_rates(rate) for rate in (1e-4, 1e-2, 1.0)]
    last = [rates[-1] for rates, _ in found]
    assert max(last) / min(last) < 1.3
    fifth = [rates[4] for rates, _ in found]
    assert max(fifth) / min(fifth) < 1.5
    for _, movement in found:
        assert movement[-1] == pytest.approx(math.log1p(0.5), rel=0.2)


def test_the_page_shows_what_the_script_draws() -> None:
    shown = re.findall(r"\(\.\./images/learn/(\w+\.svg)\)", PAGES["docs/learn/method.md"])
    assert set(shown) == {path.name for path in figures.FOLDER.iterdir()}
    assert sum(path.stat().st_size for path in figures.FOLDER.iterdir()) < 300_000
