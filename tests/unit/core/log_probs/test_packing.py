import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r2vpo.core.log_probs.packing import Packing, responses_per_row


@settings(deadline=None, max_examples=60)
@given(groups=st.lists(st.integers(0, 4), min_size=1, max_size=20), limit=st.integers(1, 6))
def test_every_response_has_a_place_of_its_own_in_a_row_of_its_prompt(groups, limit):
    packing = Packing.of(torch.tensor(groups), 5, limit)
    assert packing.slots <= limit
    assert len(set(packing.place.tolist())) == len(groups)
    assert packing.group[packing.place // packing.slots].tolist() == groups
    values = torch.arange(len(groups) * 3).view(-1, 3)
    packed = packing.pack(values)
    assert packed.shape == (len(packing.group), packing.slots * 3)
    hidden = packed[..., None].expand(-1, -1, 2).contiguous()
    assert torch.equal(packing.unpack(hidden), values[..., None].expand(-1, -1, 2))


def test_mask_shows_the_prompt_and_the_own_past_only():
    packing = Packing.of(torch.tensor([0, 0]), 1, 2)
    mask = packing.attention_mask(torch.tensor([[False, True]]), 2)
    assert mask.shape == (1, 1, 4, 6)
    assert mask[0, 0].long().tolist() == [
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize(
    ("tokens", "prompt", "expected"), [(4, 60, 16), (4, 10, 16), (512, 100, 1), (50, 500, 10), (1, 1, 64)]
)
def test_responses_of_a_row_are_together_no_longer_than_the_prompt_or_64(tokens, prompt, expected):
    assert responses_per_row(tokens, prompt) == expected
