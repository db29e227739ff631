"""The options of the critic: what may be written for them."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.core.critic.options import CriticOptions


@pytest.mark.parametrize(
    ("written", "options"),
    [
        (True, CriticOptions(enabled=True)),
        (None, CriticOptions()),
        ({"enabled": True, "clip": None}, CriticOptions(enabled=True, clip=None)),
        ({"model": "runs/one", "gae_lambda": 0}, CriticOptions(model="runs/one", gae_lambda=0)),
    ],
)
def test_its_forms(written: Any, options: CriticOptions) -> None:
    assert CriticOptions.of(written, "critic") == options


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"enabled": 1}, "critic.enabled is 1; it must be true or false"),
        ({"model": " "}, "critic.model is empty; write shared, copy, or the folder or hub id of a model"),
        ({"learning_rate": 0}, "critic.learning_rate is 0; it must be above 0"),
        ({"gamma": 1.1}, "critic.gamma is 1.1; it must be at most 1"),
        ({"gae_lambda": -0.1}, "critic.gae_lambda is -0.1; it must be at least 0"),
        ({"loss_weight": 0}, "critic.loss_weight is 0; it must be above 0"),
        ({"clip": 0}, "critic.clip is 0; it must be above 0"),
        ({"warmup_rounds": 0.5}, "critic.warmup_rounds is 0.5; it must be a whole number"),
        ({"lambda": 1}, "unknown key critic.lambda"),
    ],
)
def test_what_is_refused(written: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace(".", r"\.")):
        CriticOptions.of(written, "critic")
