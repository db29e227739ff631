"""What a server of vLLM has to be started with; the rest needs vLLM (tests/frameworks/vllm)."""

from __future__ import annotations

import pytest

from r2vpo.errors import UserError
from r2vpo.trl.vllm import SERVE, check_server


def test_log_probs_before_the_temperature_are_refused() -> None:
    raw = {"model_config": {"logprobs_mode": "raw_logprobs"}}
    processed = {"model_config": {"logprobs_mode": "processed_logprobs"}}
    check_server(raw, temperature=1.0)
    check_server(processed, temperature=0.7)
    with pytest.raises(
        UserError, match=r"returns raw_logprobs, those of temperature 1, but samples at 0\.7"
    ) as refused:
        check_server(raw, temperature=0.7)
    assert SERVE in str(refused.value)
