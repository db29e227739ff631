import pytest
import torch

from r2vpo.core.log_probs import PrefixBatch, forward_log_probs
from r2vpo.sampling import GenerateSampler, SharedPrefixSampler
from r2vpo.sampling.draws import inverse_cdf
from tests.unit.core.log_probs.small_models import VOCABULARY, left_padded, small_model

PROMPTS = [[*range(20, 33), 5, 6], [*range(20, 33), 9], [*range(20, 33), 4, 8, 15, 16]]


def sampler(model=None, **changes):
    options = dict(eos_token_ids=[3, 11], pad_token_id=0, temperature=0.9, max_new_tokens=12)
    return SharedPrefixSampler(model if model is not None else small_model(), **(options | changes))


def batch_of(prompts, samples, per_prompt):
    ids, mask = left_padded(prompts)
    width = max(len(sample.response_ids) for sample in samples)
    rows = [sample.response_ids + [0] * (width - len(sample.response_ids)) for sample in samples]
    response_mask = [[i < len(sample.response_ids) for i in range(width)] for sample in samples]
    group = torch.arange(len(samples)) // per_prompt
    return PrefixBatch(ids, mask, group, torch.tensor(rows), torch.tensor(response_mask))


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_log_probs_are_those_of_the_training_forward(kind, temperature):
    model = small_model(kind)
    ends = list(range(0, VOCABULARY, 8))
    samples = sampler(model, temperature=temperature, eos_token_ids=ends).sample(PROMPTS, 6, seed=1)
    assert len(samples) == 18
    assert len({len(sample.response_ids) for sample in samples}) > 3  # some rows end early, some late
    batch = batch_of(PROMPTS, samples, 6)
    expected = forward_log_probs(model, batch, temperature=temperature).log_probs
    for row, sample in enumerate(samples):
        got = torch.tensor(sample.log_probs)
        torch.testing.assert_close(got, expected[row, : len(got)].detach(), rtol=1e-4, atol=1e-4)


def test_responses_end_at_the_end_of_sequence_or_the_limit():
    for sample in sampler().sample(PROMPTS, 40, seed=2):
        assert len(sample.log_probs) == len(sample.response_ids) <= 12
        assert all(token not in (3, 11) for token in sample.response_ids[:-1])
        assert sample.finished == (sample.response_ids[-1] in (3, 11))
        assert sample.finished or len(sample.response_ids) == 12


@pytest.mark.parametrize("eos", [[], [3, 11], list(range(0, VOCABULARY, 3))])
def test_greedy_is_what_generate_gives(eos):
    model = small_model()
    ids, mask = left_padded(PROMPTS)
    width = ids.shape[1]
    expected = model.generate(
        ids,
        attention_mask=mask.long(),
        do_sample=False,
        max_new_tokens=12,
        eos_token_id=eos or None,
        pad_token_id=0,
    )[:, width:]
    for row, sample in zip(expected.tolist(), sampler(model, eos_token_ids=eos).greedy(PROMPTS), strict=True):
        assert sample.response_ids == row[: len(sample.response_ids)]
        assert all(token == 0 for token in row[len(sample.response_ids) :])
        assert sample.finished == (sample.response_ids[-1] in eos)


@pytest.mark.parametrize("rows_per_batch", [1, 2, 5, 100])
def test_the_split_into_batches_changes_nothing(rows_per_batch):
    model = small_model()
    whole, split = sampler(model), sampler(model, rows_per_batch=rows_per_batch)
    assert [s.response_ids for s in split.greedy(PROMPTS)] == [s.response_ids for s in whole.greedy(PROMPTS)]
    tokens = [s.response_ids for s in whole.sample(PROMPTS, 4, seed=3)]
    assert [s.response_ids for s in split.sample(PROMPTS, 4, seed=3)] == tokens


def test_rows_of_another_process_are_the_same_rows():
    model = small_model()
    whole = sampler(model).sample(PROMPTS, 4, seed=3)
    parts = [
        *sampler(model).sample(PROMPTS[:1], 4, seed=3),
        *sampler(model).sample(PROMPTS[1:], 4, seed=3, first_row=4),
    ]
    assert [s.response_ids for s in parts] == [s.response_ids for s in whole]


def test_the_seed_decides_and_the_global_state_is_left_alone():
    model = small_model()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = sampler(model).sample(PROMPTS, 4, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert sampler(model).sample(PROMPTS, 4, seed=7) == first
    other = sampler(model).sample(PROMPTS, 4, seed=8)
    assert [s.response_ids for s in other] != [s.response_ids for s in first]


def test_frequencies_are_those_of_the_softmax():
    model, draws = small_model(vocab_size=12), 6000
    prompt = [1, 2, 3]
    samples = sampler(model, eos_token_ids=[], max_new_tokens=1, temperature=1.3).sample([prompt], draws, seed=0)
    counts = torch.bincount(torch.tensor([s.response_ids[0] for s in samples]), minlength=12).double()
    with torch.no_grad():
        expected = (model(input_ids=torch.tensor([prompt])).logits[0, -1] / 1.3).softmax(-1).double() * draws
    assert float(expected.min()) > 5
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 31.3  # 99.9 % of the chi-square distribution with 11 degrees of freedom
    # Negative control: the same counts do not fit the distribution without the temperature.
    with torch.no_grad():
        wrong = model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1).double() * draws
    assert float(((counts - wrong) ** 2 / wrong).sum()) > 31.3


def test_repeated_prompts_are_computed_once(monkeypatch):
    model, shapes = small_model(), []
    forward = model.model.forward
    monkeypatch.setattr(
        model.model,
        "forward",
        lambda **kwargs: shapes.append(tuple(kwargs["input_ids"].shape)) or forward(**kwargs),
    )
    doubled = [prompt for prompt in PROMPTS for _ in range(2)]
    together = sampler(model, eos_token_ids=[], max_new_tokens=2).sample(doubled, 1, seed=0)
    assert shapes == [(1, 13), (3, 4), (6, 1)]
    assert together == sampler(model, eos_token_ids=[], max_new_tokens=2).sample(PROMPTS, 2, seed=0)


def test_rows_that_ended_are_dropped_from_the_batch(monkeypatch):
    model, rows = small_model(), []
    forward = model.model.forward
    monkeypatch.setattr(
        model.model, "forward", lambda **kwargs: rows.append(len(kwargs["input_ids"])) or forward(**kwargs)
    )
    samples = sampler(model, eos_token_ids=list(range(0, VOCABULARY, 4))).sample(PROMPTS, 10, seed=0)
    steps = rows[2:]
    assert steps[0] <= 30 and steps[-1] < 8 and sorted(steps, reverse=True) == steps
    assert len(steps) + 1 == max(len(sample.response_ids) for sample in samples)


def test_long_responses_outgrow_the_first_block():
    model = small_model()
    long = sampler(model, eos_token_ids=[], max_new_tokens=150)
    samples = long.sample(PROMPTS, 2, seed=0)
    expected = forward_log_probs(model, batch_of(PROMPTS, samples, 2), temperature=0.9).log_probs
    got = torch.tensor([sample.log_probs for sample in samples])
    torch.testing.assert_close(got, expected.detach(), rtol=1e-4, atol=1e-4)


def test_the_model_keeps_its_modes_and_gets_no_gradient():
    model = small_model()
    model.train()
    model.model.layers[1].eval()
    sampler(model).sample(PROMPTS, 1, seed=0)
    assert model.training and model.model.layers[0].mlp.training and not model.model.layers[1].training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_logits_that_are_not_finite_are_named_with_their_step():
    model = small_model(eos_token_id=None)
    steps = []

    def poison(module, args, output):
        steps.append(1)
        return output * float("nan") if len(steps) == 3 else output

    model.lm_head.register_forward_hook(poison)
    with pytest.raises(ValueError, match=r"logits of 6 of 6 rows are not finite at response token 2"):
        sampler(model, eos_token_ids=[]).sample(PROMPTS, 2, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"rows_per_batch": 0}, "rows_per_batch is 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sampler(**options)


def test_bad_prompts_are_refused():
    with pytest.raises(ValueError, match="no prompt"):
        sampler().sample([], 2, seed=0)
    with pytest.raises(ValueError, match="no prompt"):
        sampler().greedy([])
    with pytest.raises(ValueError, match="prompt 1 has no token"):
        sampler().sample([[1], [], [2]], 2, seed=0)
    with pytest.raises(ValueError, match="samples_per_prompt is 0"):
        sampler().sample([[1]], 0, seed=0)


def test_a_model_that_cannot_share_is_refused_with_the_reason():
    model = small_model()
    model.config.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(ValueError, match="sliding_attention"):
        sampler(model)


def test_a_token_of_probability_zero_is_never_drawn():
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]).expand(5, -1)
    almost_one = 1 - 2**-53
    uniform = torch.tensor([0.0, 0.2499, 0.25, 0.9, almost_one], dtype=torch.float64)
    assert inverse_cdf(probabilities, uniform).tolist() == [1, 1, 3, 3, 3]


def test_a_prompt_with_its_own_seed_does_not_depend_on_the_others():
    together = sampler().sample(PROMPTS, 3, seed=[7, 8, 9])
    for number, prompt in enumerate(PROMPTS):
        alone = sampler().sample([prompt], 3, seed=[7 + number])
        assert [s.response_ids for s in alone] == [s.response_ids for s in together[3 * number : 3 * number + 3]]
    assert len({tuple(s.response_ids) for s in together}) > 3
    # the first of six samples are the three
    assert [s.response_ids for s in sampler().sample(PROMPTS[:1], 6, seed=[7])][:3] == [
        s.response_ids for s in together[:3]
    ]
    with pytest.raises(ValueError, match="pass a seed for each prompt"):
        sampler().sample(PROMPTS, 3, seed=[7, 8])


@pytest.mark.parametrize("kind", [SharedPrefixSampler, GenerateSampler])
def test_the_entropy_is_that_of_the_distribution_the_token_was_drawn_from(kind):
    model, options = small_model(), dict(eos_token_ids=[], pad_token_id=0, temperature=0.7, max_new_tokens=4)
    samples = kind(model, entropy=True, **options).sample(PROMPTS, 2, seed=[1, 2, 3])
    for prompt, sample in zip([p for p in PROMPTS for _ in range(2)], samples, strict=True):
        with torch.no_grad():
            logits = model.eval()(torch.tensor([prompt + sample.response_ids])).logits[0, len(prompt) - 1 : -1]
        expected = torch.distributions.Categorical(logits=logits / 0.7)
        torch.testing.assert_close(torch.tensor(sample.entropies), expected.entropy(), rtol=1e-4, atol=1e-4)
        drawn = expected.log_prob(torch.tensor(sample.response_ids))
        torch.testing.assert_close(torch.tensor(sample.log_probs), drawn, rtol=1e-4, atol=1e-4)
    assert all(not sample.entropies for sample in kind(model, **options).greedy(PROMPTS))
