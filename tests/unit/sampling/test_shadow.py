import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from r2vpo.core.log_probs import install
from r2vpo.sampling import ShadowModel, SharedPrefixSampler
from tests.unit.core.log_probs.small_models import small_model

IDS = torch.arange(1, 12)[None]


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits.float()


def adapted(seed=0, **changes):
    torch.manual_seed(seed)
    options = dict(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj", "up_proj"])
    return get_peft_model(small_model(), LoraConfig(**(options | {"init_lora_weights": False} | changes)))


def test_the_copy_has_the_rounded_weights_and_no_gradient():
    model = small_model()
    shadow = ShadowModel(model)
    weights = dict(model.named_parameters())
    for name, parameter in shadow.model.named_parameters():
        assert parameter.dtype == torch.bfloat16 and not parameter.requires_grad
        assert torch.equal(parameter, weights[name].bfloat16())
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in weights.values())
    assert not shadow.model.training


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_stay_tied_and_others_apart(tied):
    shadow = ShadowModel(small_model(tie_word_embeddings=tied)).model
    assert (shadow.lm_head.weight is shadow.model.embed_tokens.weight) == tied


def test_changes_show_after_sync_in_place_and_not_before():
    model = small_model()
    shadow = ShadowModel(model, torch.float32)
    first, place = logits(shadow.model), shadow.model.lm_head.weight.data_ptr()
    torch.testing.assert_close(first, logits(model), rtol=0, atol=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    torch.testing.assert_close(logits(shadow.model), first, rtol=0, atol=0)
    shadow.sync()
    torch.testing.assert_close(logits(shadow.model), logits(model), rtol=0, atol=0)
    assert not torch.allclose(logits(shadow.model), first)
    assert shadow.model.lm_head.weight.data_ptr() == place


def test_no_copy_at_all():
    model = small_model()
    shadow = ShadowModel(model, "model")
    shadow.sync()
    assert shadow.model is model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dora": True},
        {"lora_bias": True},  # on layers without a bias
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["mlp"]},  # a saved module with layers inside
    ],
    ids=str,
)
def test_adapters_are_merged_into_the_copy_and_the_original_is_untouched(options):
    model = adapted(**options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shadow = ShadowModel(model, torch.float32)
    assert not any("lora" in name or "base_layer" in name for name, _ in shadow.model.named_modules())
    torch.testing.assert_close(logits(shadow.model), logits(model), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.mul_(1.5)
                before[name] = parameter.clone()
    assert not torch.allclose(logits(shadow.model), logits(model), atol=1e-3)
    shadow.sync()
    torch.testing.assert_close(logits(shadow.model), logits(model), rtol=1e-4, atol=1e-4)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("bias", [False, True])
def test_a_disabled_adapter_is_left_out(bias):
    model = adapted(lora_bias=bias)
    with model.disable_adapter():
        shadow = ShadowModel(model, torch.float32)
        torch.testing.assert_close(logits(shadow.model), logits(model), rtol=1e-5, atol=1e-5)
    shadow.sync()
    torch.testing.assert_close(logits(shadow.model), logits(model), rtol=1e-4, atol=1e-4)


def test_an_adapter_on_a_tied_embedding_does_not_reach_the_head():
    model = adapted(target_modules=["embed_tokens"])
    shadow = ShadowModel(model, torch.float32)
    torch.testing.assert_close(logits(shadow.model), logits(model), rtol=1e-4, atol=1e-4)


def test_the_sampler_sees_a_sync_and_does_not_need_to_be_built_again():
    model = small_model()
    install(model)
    shadow = ShadowModel(model, torch.float32)
    sampler = SharedPrefixSampler(shadow.model, eos_token_ids=[], pad_token_id=0, max_new_tokens=6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    fresh = SharedPrefixSampler(model, eos_token_ids=[], pad_token_id=0, max_new_tokens=6)
    expected = fresh.sample([[1, 2, 3]], 4, seed=0)
    assert sampler.sample([[1, 2, 3]], 4, seed=0) != expected
    shadow.sync()
    assert sampler.sample([[1, 2, 3]], 4, seed=0) == expected


def test_training_goes_on_beside_the_copy():
    model = adapted()
    twin = copy.deepcopy(model)
    ShadowModel(model)
    for policy in (model, twin):
        policy(input_ids=IDS).logits.square().mean().backward()
    for got, want in zip(model.parameters(), twin.parameters(), strict=True):
        assert got.requires_grad == want.requires_grad
        if want.grad is not None:
            torch.testing.assert_close(got.grad, want.grad, rtol=0, atol=0)


def test_weights_that_do_not_fit_are_refused():
    model = small_model(tie_word_embeddings=False)
    shadow = ShadowModel(model)
    model.lm_head.weight = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match=r"sharded"):
        shadow.sync()


def test_quantised_weights_are_refused():
    model = small_model()
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = torch.nn.Parameter(torch.zeros(48, 32, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ValueError, match=r"up_proj.weight is quantised"):
        ShadowModel(model)


def test_quantised_weights_in_floating_storage_are_refused():
    model = small_model()
    model.model.layers[0].mlp.up_proj.weight.quant_state = object()
    with pytest.raises(ValueError, match=r"up_proj.weight is quantised"):
        ShadowModel(model)
