import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from r2vpo.errors import UserError
from r2vpo.sampling import draws
from r2vpo.sampling.draws import check_finite, choose_tokens, uniform_numbers


@pytest.mark.parametrize("first_row", [0, 1, 5, 36])
@pytest.mark.parametrize("at_once", [1, 7, 35, 2**16])
def test_a_process_draws_its_own_rows_of_one_stream(first_row, at_once, monkeypatch):
    monkeypatch.setattr(draws, "SKIPPED_AT_ONCE", at_once)
    whole = torch.rand((40, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    assert torch.equal(uniform_numbers(9, 4, 5, first_row=first_row), whole[first_row : first_row + 4])


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.untyped_storage().nbytes() // result.element_size())
        return result


def test_the_numbers_of_other_processes_take_no_memory():
    with Largest() as seen:
        numbers = uniform_numbers(1, 8, 512, first_row=5000)
    assert numbers.shape == (8, 512)
    assert seen.elements == draws.SKIPPED_AT_ONCE < 5000 * 512


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("greedy", [True, False])
def test_a_row_that_is_not_finite_gets_a_token_and_is_named(bad, greedy):
    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    logits[1] = bad
    uniform = None if greedy else torch.tensor([0.1, 0.999, 0.5], dtype=torch.float64)
    token, log_prob, _ = choose_tokens(logits, uniform, temperature=1.0)
    assert all(0 <= one < 7 for one in token.tolist())
    assert log_prob.isfinite().tolist() == [True, False, True]
    steps = torch.stack([torch.zeros(3), log_prob], dim=1)
    with pytest.raises(UserError, match="logits of 1 of 5 rows are not finite at response token 9"):
        check_finite(steps, rows=5, first_step=8)
    check_finite(steps[:, :1], rows=5, first_step=8)
