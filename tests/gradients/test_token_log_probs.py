import pytest
import torch

from r2vpo.core.log_probs import token_log_probs


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("chunk_size", [2, 16])
def test_gradcheck(temperature, chunk_size):
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(7, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(7, dtype=torch.float64, generator=generator, requires_grad=True)
    targets = torch.randint(0, 7, (2, 3), generator=generator)

    def function(hidden, weight, bias):
        return token_log_probs(
            hidden, weight, targets, bias=bias, temperature=temperature, chunk_size=chunk_size
        ).log_probs

    assert torch.autograd.gradcheck(function, (hidden, weight, bias))
