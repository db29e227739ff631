"""A critic that starts from a model on disk."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from r2vpo.critic.loading import load_critic
from r2vpo.errors import UserError
from tests.tiny import VOCABULARY, tiny_model, tiny_tokenizer
from tests.unit.core.log_probs.small_models import random_batch
from tests.unit.rewards.classifiers import character_tokenizer


def saved(model, folder, tokenizer=None):
    model.save_pretrained(folder)
    (tokenizer or tiny_tokenizer()).save_pretrained(folder)
    return str(folder)


def classifier(folder, labels=1):
    tiny_model().save_pretrained(folder)
    torch.manual_seed(2)
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels, pad_token_id=0)


def small_batch():
    batch = random_batch(common=4, tails=[2, 3], rows=[0, 1, 1], tokens=3)
    batch.prompt_ids.remainder_(len(VOCABULARY))
    batch.response_ids.remainder_(len(VOCABULARY))
    return batch


def test_it_starts_from_a_language_model_and_predicts_zero(tmp_path):
    model = tiny_model(seed=5)
    critic = load_critic(saved(model, tmp_path / "model"), tiny_tokenizer())
    assert torch.equal(critic.trunk.layers[1].mlp.up_proj.weight, model.model.layers[1].mlp.up_proj.weight)
    assert critic(small_batch(), None).abs().max() == 0


def test_it_starts_from_a_reward_model_and_predicts_its_number(tmp_path):
    reward_model = classifier(tmp_path / "base").eval()
    critic = load_critic(saved(reward_model, tmp_path / "reward"), tiny_tokenizer()).eval()
    batch = small_batch()
    row, column = batch.layout.rows[-1], batch.layout.columns[-1]
    group = batch.group_index[row]
    ids = torch.cat([batch.prompt_ids[group][batch.prompt_mask[group]], batch.response_ids[row, :column]])
    with torch.no_grad():
        expected = reward_model(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None]).logits.item()
        assert critic(batch, None)[-1].item() == pytest.approx(expected, abs=1e-5)
    assert abs(expected) > 1e-3


def test_what_cannot_predict_a_value_is_refused_in_a_line(tmp_path):
    with pytest.raises(UserError, match=r"critic.model '.*nothing': no folder.*may also be shared or copy") as refused:
        load_critic(str(tmp_path / "nothing"), tiny_tokenizer())
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="has 3 outputs, a value has one"):
        load_critic(saved(classifier(tmp_path / "base", labels=3), tmp_path / "labels"), tiny_tokenizer())
    with pytest.raises(UserError, match=r"another tokenizer than the policy.*critic.model=copy"):
        load_critic(saved(tiny_model(), tmp_path / "model"), character_tokenizer())
    sizes = dict(vocab_size=20, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    encoder = BertForSequenceClassification(BertConfig(**sizes, num_labels=1))
    with pytest.raises(UserError, match=r"reads the tokens that follow|has 1 outputs"):
        load_critic(saved(encoder, tmp_path / "encoder"), tiny_tokenizer())
