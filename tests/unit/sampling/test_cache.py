import pytest
import torch
from transformers import DynamicCache

from r2vpo.sampling.cache import BLOCK, grow_from


def states(rows, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, 3, tokens, 4, generator=generator)


def both_caches(index, tokens=10 * BLOCK):
    """The usual cache and ours, from the same prompts."""
    caches = []
    for _ in range(2):
        cache = DynamicCache()
        for layer in range(2):
            cache.update(*states(2, 5, layer), layer)
        caches.append(cache)
    usual, ours = caches
    usual.batch_select_indices(index)
    grow_from(ours, index, tokens)
    return usual, ours


@pytest.mark.parametrize("tokens", [10 * BLOCK, 4])
def test_it_holds_what_the_usual_cache_holds_over_several_blocks_and_selections(tokens):
    usual, ours = both_caches(torch.tensor([1, 0, 1]), tokens)
    rows = 3
    for step in range(2 * BLOCK + 3):
        for layer in range(2):
            new = states(rows, 1 + step % 2, 10 + step)
            for got, want in zip(ours.update(*new, layer), usual.update(*new, layer), strict=True):
                assert torch.equal(got, want)
        assert ours.get_seq_length() == usual.get_seq_length()
        assert ours.get_mask_sizes(1, 0) == usual.get_mask_sizes(1, 0)
        if step == BLOCK:
            keep, rows = torch.tensor([0, 2]), 2
            usual.batch_select_indices(keep)
            for layer in ours.layers:
                layer.select(keep)


def test_a_token_within_a_block_moves_nothing():
    _, ours = both_caches(torch.tensor([0, 1]))
    place = ours.layers[0].keys.data_ptr()
    keys, _ = ours.update(*states(2, 1, 1), 0)
    again, _ = ours.update(*states(2, 1, 2), 0)
    assert keys.data_ptr() == again.data_ptr() == place


def test_short_answers_get_no_more_room_than_they_need():
    _, ours = both_caches(torch.tensor([0, 1]), 4)
    assert ours.layers[0].keys.untyped_storage().nbytes() == 2 * 3 * (5 + 4) * 4 * 4
