"""A result of the self-check that is kept is given once, to the same model and question."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from r2vpo.sampling import check_model
from tests.unit.core.log_probs.small_models import small_model


def counted(model):
    """A list that grows by one with every call of the model alone."""
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_a_kept_result_is_given_once_to_the_same_question():
    model = small_model()
    calls = counted(model)
    first = check_model(model, longest=60, keep=True)
    ran = len(calls)
    assert check_model(model, longest=60) is first and len(calls) == ran
    assert check_model(model, longest=60) == first and len(calls) == 2 * ran, "it is kept for one check"


@pytest.mark.parametrize("changed", ["weights", "question", "precision", "adapters"])
def test_a_kept_result_is_not_that_of_another_model_or_question(changed):
    model = small_model()
    check_model(model, longest=60, keep=True)
    question = {"longest": 60}
    if changed == "weights":
        with torch.no_grad():
            model.lm_head.weight.fill_(torch.nan)
    elif changed == "question":
        question["longest"] = 61
    elif changed == "precision":
        model = model.to(torch.bfloat16)
    else:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]))
    calls = counted(model.get_base_model() if changed == "adapters" else model)
    check = check_model(model, **question)
    assert calls and ("not numbers" in (check.refusal or "")) is (changed == "weights")
