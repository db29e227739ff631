"""A model whose weights are really quantised (int8, by quanto), trained through LoRA with default options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from optimum.quanto import QTensor
from peft import LoraConfig
from transformers import AutoModelForCausalLM, QuantoConfig

from r2vpo.errors import UserError
from tests.tiny import tiny_model, tiny_trainer


def quantised(folder: Path) -> Any:
    tiny_model().save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=QuantoConfig(weights="int8"))
    assert isinstance(model.model.layers[0].mlp.up_proj.weight, QTensor)
    return model


def trainer_of(folder: Path, **changes: Any) -> Any:
    lora = LoraConfig(task_type="CAUSAL_LM", r=4)
    return tiny_trainer(folder / "run", model=quantised(folder / "model"), peft_config=lora, **changes)


def test_it_is_sampled_from_itself_with_a_note(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"the model \(quanto\) is quantised .* with rollout.dtype = model"):
        trainer = trainer_of(tmp_path, rollout={"dtype": "bfloat16"})
    before = [value.detach().clone() for value in trainer.model.parameters() if value.requires_grad]
    trainer.train()
    assert trainer.args.rollout.dtype == "model"
    after = [value for value in trainer.model.parameters() if value.requires_grad]
    assert not all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    log = [entry for entry in trainer.state.log_history if "ratio_variance" in entry]
    assert [log[step]["ratio_variance"] for step in (0, 2)] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert log[0]["mean_stale_weight"] == pytest.approx(1.0, abs=1e-4), "sampler and trainer agree"


def test_older_weights_of_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rollout.lag = 1 keeps copies of the weights, and the model \(quanto\)"):
        trainer_of(tmp_path, rollout={"lag": 1}, replay=0)
