"""Values are a linear function of the states that predict the tokens, by whichever path these are computed."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Gemma2Config
from transformers.modeling_outputs import CausalLMOutput

from r2vpo.core.log_probs import install
from r2vpo.core.log_probs.support import decoder_of
from r2vpo.critic.copying import copy_critic
from r2vpo.critic.networks import SharedCritic, ValueHead, width_of
from tests.unit.core.log_probs.small_models import random_batch, small_model

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
PATHS = {"shared": {}, "in chunks": {"shared": False, "chunked": True}, "ordinary": {"shared": False}}


def batch_of_two():
    return random_batch(common=9, tails=[3, 5], rows=[0, 0, 1], tokens=4)


def by_hand(decoder, head, batch):
    """Values of one row at a time: prompt and response without padding, the state before each token."""
    values = []
    for row, column in zip(batch.layout.rows.tolist(), batch.layout.columns.tolist(), strict=True):
        group = int(batch.group_index[row])
        prompt = batch.prompt_ids[group][batch.prompt_mask[group]]
        ids = torch.cat([prompt, batch.response_ids[row, :column]])
        values.append(
            decoder(input_ids=ids[None]).last_hidden_state[0, -1] @ head.linear.weight[0] + head.linear.bias[0]
        )
    return torch.stack(values)


def with_weights(head):
    torch.manual_seed(1)
    torch.nn.init.normal_(head.linear.weight)
    torch.nn.init.normal_(head.linear.bias)


def test_a_new_head_predicts_zero_and_draws_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert ValueHead(8)(torch.randn(3, 8, generator=torch.Generator())).tolist() == [0.0] * 3
    assert torch.equal(torch.get_rng_state(), before)


def test_a_head_computes_in_float32_under_autocast():
    head, hidden = ValueHead(8), torch.randn(3, 8)
    with_weights(head)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(hidden), head.linear(hidden).squeeze(-1)) is False
        found = head(hidden)
    assert found.dtype == torch.float32 and torch.equal(found, head(hidden))


@pytest.mark.parametrize("path", PATHS)
def test_each_path_gives_the_states_that_predict_the_tokens(path):
    model, batch = small_model().eval(), batch_of_two()
    install(model)
    critic = SharedCritic(width_of(model))
    with_weights(critic.head)
    plain = model(prefix_batch=batch, **PATHS[path])
    found = model(prefix_batch=batch, states=True, **PATHS[path])
    assert torch.equal(found.log_probs, plain.log_probs) and torch.equal(found.entropy, plain.entropy)
    torch.testing.assert_close(critic(batch, found.hidden), by_hand(decoder_of(model), critic.head, batch), **CLOSE)
    critic(batch, found.hidden).sum().backward()
    assert model.model.layers[0].mlp.up_proj.weight.grad.abs().max() > 0


def test_a_model_that_changes_its_logits_gives_its_states():
    """Its states are those of its decoder, whatever happens to the logits after it."""
    torch.manual_seed(0)
    sizes = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    model = AutoModelForCausalLM.from_config(Gemma2Config(**sizes, num_key_value_heads=2, head_dim=8)).eval()
    install(model)
    batch = batch_of_two()
    found = model(prefix_batch=batch, states=True, shared=False)
    head = ValueHead(width_of(model))
    with_weights(head)
    torch.testing.assert_close(head(found.hidden), by_hand(model.model, head, batch), **CLOSE)


def test_a_model_that_does_not_call_its_decoder_is_refused():
    model = small_model().eval()
    model.forward = lambda input_ids: CausalLMOutput(logits=model.lm_head(model.model.embed_tokens(input_ids)))
    install(model)
    with pytest.raises(ValueError, match="does not call its decoder once"):
        model(prefix_batch=batch_of_two(), states=True, shared=False)


@pytest.mark.parametrize("shares_prompts", [True, False])
def test_a_copy_reads_the_same_and_is_trained_apart(shares_prompts):
    model, batch = small_model().eval(), batch_of_two()
    critic = copy_critic(model, shares_prompts=shares_prompts).eval()
    assert not critic.reads_policy
    with_weights(critic.head)
    values = critic(batch, None)
    torch.testing.assert_close(values, by_hand(model.model, critic.head, batch), **CLOSE)
    values.sum().backward()
    assert critic.trunk.layers[0].mlp.up_proj.weight.grad.abs().max() > 0
    assert all(weight.grad is None for weight in model.parameters())
    assert {id(weight) for weight in critic.parameters()}.isdisjoint(map(id, model.parameters()))


def test_a_copy_of_a_model_with_adapters_has_separate_adapters_on_the_same_weights():
    model = get_peft_model(small_model(), LoraConfig(r=2, target_modules=["up_proj"], init_lora_weights=False)).eval()
    before = copy.deepcopy(model)
    critic = copy_critic(model, shares_prompts=True).eval()
    of_policy = {id(weight): weight.requires_grad for weight in model.parameters()}
    trained = [name for name, weight in critic.named_parameters() if weight.requires_grad]
    assert sorted(name.split(".")[-1] for name in trained if "lora" not in name) == ["bias", "weight"]
    assert len(trained) == 2 + 2 * 2
    for name, weight in critic.trunk.named_parameters():
        assert of_policy.get(id(weight), True) == weight.requires_grad, name
        assert (id(weight) in of_policy) == ("lora" not in name), name
    with torch.no_grad():
        for weight in critic.parameters():
            if weight.requires_grad:
                weight.add_(1.0)
    batch = batch_of_two()
    install(model)
    install(before)
    assert torch.equal(model(prefix_batch=batch).log_probs, before(prefix_batch=batch).log_probs)
