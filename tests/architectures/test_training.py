"""A round of training of a representative dozen, through the trainer itself."""

import math

import pytest

from r2vpo.errors import UserError
from tests.architectures.variants import VARIANTS
from tests.architectures.zoo import Entry, build
from tests.tiny import VOCABULARY, tiny_trainer

pytestmark = pytest.mark.slow

NAMES = [
    "gpt2",  # dropout of 0.1
    "opt",  # dropout of 0.1, positions from the mask
    "bloom",  # alibi
    "falcon",  # takes no attention of ours
    "falcon:alibi",
    "gpt_neo",  # local layers that rows pass
    "mistral",  # a window that rows pass
    "gemma2",  # windows, and a softcap behind the output layer
    "gpt_oss",  # windows, sinks, a router loss that TRL has on by default
    "mixtral",
    "phimoe:noise",  # noise in its router
    "deepseek_v3",
    "mamba",
    "qwen3_next",
    "whisper",  # wrong under left padding
]
REFUSED = {
    "bert:encoder": "not causal",
    "rwkv": "cannot be sampled from",
    "llama:longrope": "longrope",
}


def model_of(name):
    kind, _, variant = name.partition(":")
    changes = VARIANTS[kind][variant] if variant else {}
    return build(Entry(kind, variant, changes | {"vocab_size": len(VOCABULARY)}))


def varied(completions, **_):
    """Differs from nearly every completion to the next."""
    return [float(sum((place + 1) * ord(letter) for place, letter in enumerate(text)) % 11) for text in completions]


def trainer_of(name, folder, **changes):
    # A round of sixteen completions in two steps; prompt and completion pass the windows of twelve.
    return tiny_trainer(folder, model=model_of(name), reward=varied, **({"max_completion_length": 14} | changes))


@pytest.mark.parametrize("name", NAMES)
def test_a_round_starts_at_the_policy_that_sampled_it(name, tmp_path):
    trainer = trainer_of(name, tmp_path)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 4
    for entry in logged:
        assert all(math.isfinite(entry[key]) for key in ("loss", "grad_norm", "ratio_variance", "entropy"))
    # Rounds have two steps: the first sees the weights that sampled, the second does not.
    first, second = logged[0], logged[1]
    assert first["ratio_variance"] < 1e-9
    assert second["ratio_variance"] > 1e-9
    assert logged[2]["ratio_variance"] < logged[3]["ratio_variance"] or logged[2]["ratio_variance"] < 1e-9


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused_before_work_starts(name, tmp_path):
    with pytest.raises(UserError, match=REFUSED[name]) as refused:
        trainer_of(name, tmp_path, max_completion_length=40).train()
    assert "\n" not in str(refused.value)
