import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r2vpo.core.log_probs import chunked as chunked_module
from r2vpo.core.log_probs import default_chunk_size, token_log_probs
from tests.tolerances import BF16, FLOAT32, FLOAT64


def problem(rows=11, width=8, vocabulary=37, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=torch.float64).to(dtype)
    bias = torch.randn(vocabulary, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(0, vocabulary, (rows,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), targets


def reference(hidden, weight, bias, targets, temperature):
    logits = hidden @ weight.t()
    logits = (logits if bias is None else logits + bias) / temperature
    everything = logits.log_softmax(-1)
    log_probs = everything.gather(-1, targets[..., None]).squeeze(-1)
    return log_probs, -(everything.exp() * everything).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
@pytest.mark.parametrize("chunk_size", [1, 4, 11, 64, None])
@pytest.mark.parametrize("with_bias", [False, True])
def test_values_and_gradients_are_those_of_log_softmax(temperature, chunk_size, with_bias):
    hidden, weight, bias, targets = problem(dtype=torch.float64)
    inputs = [hidden, weight, bias] if with_bias else [hidden, weight]
    bias = bias if with_bias else None
    expected, expected_entropy = reference(hidden, weight, bias, targets, temperature)
    result = token_log_probs(hidden, weight, targets, bias=bias, temperature=temperature, chunk_size=chunk_size)
    torch.testing.assert_close(result.log_probs, expected, **FLOAT64)
    torch.testing.assert_close(result.entropy, expected_entropy.detach(), **FLOAT64)
    cotangent = torch.linspace(-1.0, 2.0, len(targets), dtype=torch.float64)
    for got, want in zip(
        torch.autograd.grad((result.log_probs * cotangent).sum(), inputs),
        torch.autograd.grad((expected * cotangent).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(got, want, **FLOAT64)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 20),
    vocabulary=st.integers(2, 50),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    chunk_size=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_no_log_prob_is_above_zero_and_no_entropy_out_of_range(rows, vocabulary, scale, chunk_size, seed):
    hidden, weight, _, targets = problem(rows, 5, vocabulary, seed=seed)
    result = token_log_probs(hidden.detach() * scale, weight, targets, chunk_size=chunk_size)
    assert bool((result.log_probs <= 0).all())
    assert bool((result.entropy >= -1e-6).all())
    limit = torch.log(torch.tensor(float(vocabulary)))
    assert bool((result.entropy <= limit * (1 + 1e-5)).all())


def test_shape_follows_the_targets_and_float32_comes_out_of_lower_precisions():
    hidden, weight, _, targets = problem(12)
    result = token_log_probs(hidden.view(3, 4, -1), weight, targets.view(3, 4))
    assert result.log_probs.shape == result.entropy.shape == (3, 4)
    expected, _ = reference(hidden, weight, None, targets, 1.0)
    torch.testing.assert_close(result.log_probs.flatten(), expected, **FLOAT32)
    low = token_log_probs(hidden.bfloat16(), weight.bfloat16(), targets)
    assert low.log_probs.dtype == low.entropy.dtype == torch.float32
    exact, _ = reference(hidden.bfloat16().float(), weight.bfloat16().float(), None, targets, 1.0)
    # The logits, of size up to 10, are rounded to bfloat16; the probabilities are not.
    torch.testing.assert_close(low.log_probs, exact, rtol=BF16["rtol"], atol=0.1)


def test_autocast_sets_the_dtype_of_the_matrix_product_in_both_passes():
    hidden, weight, _, targets = problem(9)
    with torch.autocast("cpu", torch.bfloat16):
        result = token_log_probs(hidden, weight, targets, chunk_size=4)
    cast = token_log_probs(hidden.detach().bfloat16(), weight.detach().bfloat16(), targets, chunk_size=4)
    torch.testing.assert_close(result.log_probs, cast.log_probs, rtol=0, atol=0)
    grad_hidden, grad_weight = torch.autograd.grad(result.log_probs.sum(), [hidden, weight])
    assert grad_hidden.dtype == grad_weight.dtype == torch.float32
    expected, _ = reference(hidden, weight, None, targets, 1.0)
    want = torch.autograd.grad(expected.sum(), [hidden, weight])
    torch.testing.assert_close(grad_hidden, want[0], rtol=BF16["rtol"], atol=0.1)
    torch.testing.assert_close(grad_weight, want[1], rtol=BF16["rtol"], atol=0.1)


def test_the_weight_gradient_of_bfloat16_is_summed_over_chunks_in_float32():
    vocabulary, rows = 3, 512
    weight = torch.zeros(vocabulary, 1, dtype=torch.bfloat16, requires_grad=True)
    hidden = torch.ones(rows, 1, dtype=torch.bfloat16)
    targets = torch.zeros(rows, dtype=torch.long)
    log_probs = token_log_probs(hidden, weight, targets, chunk_size=1).log_probs
    (gradient,) = torch.autograd.grad(log_probs.sum(), weight)
    # Each row adds 2/3 and -1/3; a sum in bfloat16 stands still long before 512 of them.
    expected = torch.tensor([[2 / 3], [-1 / 3], [-1 / 3]]) * rows
    torch.testing.assert_close(gradient.float(), expected, rtol=1e-2, atol=0)


def test_entropy_has_no_gradient_and_unneeded_gradients_are_not_computed():
    hidden, weight, bias, targets = problem()
    result = token_log_probs(hidden, weight.detach(), targets, bias=bias.detach())
    assert result.log_probs.requires_grad and not result.entropy.requires_grad
    result.log_probs.sum().backward()
    assert hidden.grad is not None and weight.grad is None and bias.grad is None


def test_largest_tensor_is_a_chunk_in_both_passes(monkeypatch):
    sizes = []
    logits = chunked_module._logits

    def recorded(*args):
        result = logits(*args)
        sizes.append(tuple(result.shape))
        return result

    monkeypatch.setattr(chunked_module, "_logits", recorded)
    hidden, weight, _, targets = problem(rows=10, vocabulary=37)
    token_log_probs(hidden, weight, targets, chunk_size=4).log_probs.sum().backward()
    assert sizes == [(4, 37), (4, 37), (2, 37)] * 2


def test_nothing_of_the_vocabulary_size_per_position_is_kept_for_the_backward_pass():
    hidden, weight, _, targets = problem(rows=10, vocabulary=37)
    log_probs = token_log_probs(hidden, weight, targets, chunk_size=4).log_probs
    saved = [tensor for tensor in log_probs.grad_fn.next_functions[0][0].saved_tensors if tensor is not None]
    assert max(tensor.numel() for tensor in saved) <= max(hidden.numel(), weight.numel())


def test_no_position_at_all():
    hidden, weight, _, _ = problem()
    result = token_log_probs(hidden[:0], weight, torch.zeros(0, dtype=torch.long))
    grads = torch.autograd.grad(result.log_probs.sum(), [hidden, weight])
    assert result.log_probs.shape == (0,)
    assert all(bool((gradient == 0).all()) for gradient in grads)


@pytest.mark.parametrize("target", [-100, -1, 37])
def test_a_target_outside_the_vocabulary_is_refused(target):
    hidden, weight, _, targets = problem(vocabulary=37)
    targets[3] = target
    with pytest.raises(ValueError, match=r"vocabulary has 37 tokens.*unmasked"):
        token_log_probs(hidden, weight, targets)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    hidden, weight, _, targets = problem()
    with pytest.raises(ValueError, match=message):
        token_log_probs(hidden, weight, targets, **options)


def test_shapes_that_do_not_fit_are_refused():
    hidden, weight, _, targets = problem()
    with pytest.raises(ValueError, match="do not fit"):
        token_log_probs(hidden, weight, targets[:-1])
    with pytest.raises(ValueError, match="do not fit"):
        token_log_probs(hidden, weight[:, :-1], targets)


def test_default_chunk_on_an_accelerator_is_bounded_in_bytes():
    chunk = default_chunk_size(torch.device("cuda"), 152_000)
    assert chunk * 152_000 * 4 <= 512 * 2**20 < (chunk + 1) * 152_000 * 4
    assert default_chunk_size(torch.device("cuda"), 10**9) == 16
