"""What `R2VPODPOTrainer` uses of TRL's `DPOTrainer`, or that an older TRL is refused in one line."""

import inspect

import pytest
import trl
from trl import DPOTrainer

import r2vpo
from r2vpo import UserError

OLD = tuple(map(int, trl.__version__.split(".")[:2])) < (1, 15)


@pytest.mark.skipif(not OLD, reason="about TRL before 1.15, with which `make test-floor` runs this file")
@pytest.mark.parametrize("name", ["R2VPODPOConfig", "R2VPODPOTrainer"])
def test_an_older_trl_is_refused_in_one_line(name):
    with pytest.raises(UserError, match=r"^R2VPODPOTrainer needs TRL 1.15 or newer, and 1\.\d+\.\d+ is installed: pip"):
        getattr(r2vpo, name)


@pytest.mark.skipif(OLD, reason="about TRL from 1.15 on, with which `make test` runs this file")
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_compute_loss", ["self", "model", "inputs", "return_outputs"]),
        ("compute_ref_log_probs", ["self", "model", "inputs"]),
        ("get_batch_samples", ["self", "epoch_iterator", "num_batches", "device"]),
        ("_save_checkpoint", ["self", "model", "trial"]),
        ("_load_optimizer_and_scheduler", ["self", "checkpoint"]),
        ("_get_grad_norm", ["self", "model", "grad_norm"]),
        ("_get_output_dir", ["self", "trial"]),
    ],
)
def test_methods_have_the_parameters_that_are_passed(name, parameters):
    assert list(inspect.signature(getattr(DPOTrainer, name)).parameters) == parameters


@pytest.mark.skipif(OLD, reason="about TRL from 1.15 on, with which `make test` runs this file")
def test_the_loss_calls_the_model_for_log_probs_as_ours_does():
    source = inspect.getsource(DPOTrainer._compute_loss)
    assert "model(**model_kwargs, labels=labels, fused_lm_head=True)" in source
    assert "self.precompute_ref_logps" in source and 'inputs["ref_chosen_logps"]' in source
