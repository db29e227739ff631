"""A reward model gives a conversation its number, whatever is scored with it."""

import logging

import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM

from r2vpo.errors import UserError
from r2vpo.rewards import load_reward
from r2vpo.rewards.reward_model import RewardModel
from tests.unit.rewards.classifiers import TEMPLATE, character_tokenizer, save_classifier

PROMPTS = ["Say hello.", "Count to three, please.", [{"role": "user", "content": "Why?"}], "x", "Say hello."]
COMPLETIONS = ["Hello!", "1 2 3", [{"role": "assistant", "content": "Because it is so. " * 4}], "", "Hello? Hello!"]
CLOSE = dict(rtol=1e-4, abs=1e-5)


def by_hand(folder, text, *, special):
    """The classifier's number for one text, alone and without padding."""
    ids = character_tokenizer()(text, add_special_tokens=special, return_tensors="pt")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**{name: ids[name] for name in ("input_ids", "attention_mask")}).logits.item()


@pytest.mark.parametrize("kind", ["llama", "bert"])
@pytest.mark.parametrize("template", [TEMPLATE, None])
def test_scores_are_the_classifiers_own_and_do_not_depend_on_the_batch(tmp_path, kind, template):
    folder = save_classifier(tmp_path, kind=kind, template=template)
    if template is None:
        texts = ["Say hello.Hello!", "Count to three, please.1 2 3", "Why?\n" + "Because it is so. " * 4, "x"]
        texts.append("Say hello.Hello? Hello!")
    else:
        said = ["Hello!", "1 2 3", "Because it is so. " * 4, "", "Hello? Hello!"]
        asked = ["Say hello.", "Count to three, please.", "Why?", "x", "Say hello."]
        texts = [f"[user] {a}<eos>[assistant] {s}<eos>" for a, s in zip(asked, said, strict=True)]
    expected = [by_hand(folder, text, special=template is None) for text in texts]
    assert max(expected) - min(expected) > 0.1, "the numbers tell these texts apart"
    for batch_size in (1, 2, 5):
        scores = RewardModel(folder, batch_size=batch_size, device="cpu").score(PROMPTS, COMPLETIONS)
        assert scores == pytest.approx(expected, rel=CLOSE["rtol"], abs=CLOSE["abs"])
    alone = RewardModel(folder, device="cpu")
    assert alone.score(PROMPTS[3:4], COMPLETIONS[3:4]) == pytest.approx(expected[3:4], rel=1e-4, abs=1e-5)


def test_without_a_padding_token_a_text_is_read_at_the_token_before_its_end(tmp_path):
    folder = save_classifier(tmp_path, tokenizer=character_tokenizer(pad_token=None))
    scores = RewardModel(folder, batch_size=5, device="cpu").score(PROMPTS, COMPLETIONS)
    one_by_one = RewardModel(folder, batch_size=1, device="cpu").score(PROMPTS, COMPLETIONS)
    assert scores == pytest.approx(one_by_one, rel=1e-4, abs=1e-5)
    # Causal: the number at the token before <eos> is that of the text without it.
    expected = by_hand(folder, "[user] Say hello.<eos>[assistant] Hello!", special=False)
    assert scores[0] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_long_conversations_lose_their_beginning(tmp_path, caplog):
    folder = save_classifier(tmp_path)
    model = RewardModel(folder, max_tokens=9, device="cpu")
    with caplog.at_level(logging.WARNING):
        scores = model.score(["Say hello."], ["Well, hello!"])
    assert scores == pytest.approx([by_hand(folder, ", hello!<eos>", special=False)], rel=1e-4, abs=1e-5)
    assert "without its beginning, max_tokens is 9" in caplog.text
    assert RewardModel(folder, device="cpu").max_tokens == 256, "the model's own limit"
    with pytest.raises(UserError, match=r"max_tokens = 257: .* takes 256 at most"):
        RewardModel(folder, max_tokens=257, device="cpu")
    bert = save_classifier(tmp_path / "bert", kind="bert", template=None)
    cut = RewardModel(bert, max_tokens=4, device="cpu").score(["abc"], ["def"])
    assert cut == pytest.approx([by_hand(bert, "def", special=True)], rel=1e-4, abs=1e-5), "the first token stays"


def test_the_reward_is_centred_and_scaled(tmp_path):
    folder = save_classifier(tmp_path)
    (plain,) = RewardModel(folder, device="cpu").score(["Why?"], ["So."])
    options = {"name": "reward_model", "model": folder, "device": "cpu", "batch_size": 2}
    reward = load_reward({**options, "centre": 0.5, "scale": 4.0})
    assert reward(prompts=["Why?"], completions=["So."], answer=[""]) == pytest.approx([(plain - 0.5) / 4.0])
    half = load_reward({**options, "dtype": "bfloat16"})(prompts=["Why?"], completions=["So."], answer=[""])
    assert half != [plain] and half == pytest.approx([plain], rel=0.1, abs=0.1)


def test_models_that_are_no_reward_models(tmp_path):
    causal = tmp_path / "causal"
    LlamaForCausalLM(
        LlamaConfig(vocab_size=99, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4)
    ).save_pretrained(causal)
    with pytest.raises(UserError, match=r"has no weights for score\.weight, 1 of"):
        RewardModel(str(causal))
    two = save_classifier(tmp_path / "two", num_labels=2)
    with pytest.raises(UserError, match="has 2 outputs, a reward model has one"):
        RewardModel(two)
    bare = save_classifier(tmp_path / "bare", tokenizer=character_tokenizer(pad_token=None, eos_token=None))
    with pytest.raises(UserError, match="neither a padding token nor one that ends a text"):
        RewardModel(bare)
    with pytest.raises(UserError, match=r"reward_model\.model '.*nothing': transformers cannot load it"):
        RewardModel(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"reward\.model is missing: add it"):
        load_reward("reward_model")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="torch sees no CUDA device"):
            RewardModel(two, device="cuda")


def test_templates_and_numbers_that_do_not_fit(tmp_path):
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
    folder = save_classifier(tmp_path / "a", template=refuses)
    with pytest.raises(UserError, match=r"refuses a conversation of system, user, assistant \(no system\)"):
        RewardModel(folder, device="cpu").score(
            [[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]], ["c"]
        )
    broken = save_classifier(tmp_path / "b")
    model = AutoModelForSequenceClassification.from_pretrained(broken)
    model.score.weight.data.fill_(float("nan"))
    model.save_pretrained(broken)
    with pytest.raises(UserError, match="gives nan for a completion that begins with 'Hello!'"):
        RewardModel(broken, device="cpu").score(PROMPTS[:1], COMPLETIONS[:1])
