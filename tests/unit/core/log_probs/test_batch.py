import pytest
import torch

from r2vpo.core.log_probs import PrefixBatch, group_prompts
from tests.unit.core.log_probs.small_models import left_padded, random_batch


def test_group_prompts_finds_each_prompt_once_in_order():
    ids, mask = left_padded([[5, 6], [1, 2, 3], [5, 6], [3, 2, 3], [1, 2, 3]])
    ids[2, 0] = 50  # what stands in the padding does not make a prompt another one
    unique_ids, unique_mask, group_index = group_prompts(ids, mask.long())
    assert group_index.tolist() == [0, 1, 0, 2, 1]
    assert [row[keep].tolist() for row, keep in zip(unique_ids, unique_mask, strict=True)] == [
        [5, 6],
        [1, 2, 3],
        [3, 2, 3],
    ]


def test_a_token_equal_to_the_padding_still_counts():
    ids = torch.tensor([[7, 7, 5], [7, 7, 5]])
    mask = torch.tensor([[True, True, True], [False, True, True]])
    assert group_prompts(ids, mask)[2].tolist() == [0, 1]


def test_from_rows_groups():
    ids, mask = left_padded([[5, 6], [1, 2, 3], [5, 6]])
    batch = PrefixBatch.from_rows(ids, mask, torch.ones(3, 2).long(), torch.ones(3, 2).long())
    assert batch.group_index.tolist() == [0, 1, 0] and batch.response_mask.dtype == torch.bool


def test_bad_batches_are_refused():
    batch = random_batch(common=0, tails=[4, 2], rows=[0, 1], tokens=3)
    with pytest.raises(ValueError, match="do not fit"):
        PrefixBatch(
            batch.prompt_ids,
            batch.prompt_mask,
            torch.zeros(3).long(),
            batch.response_ids,
            batch.response_mask,
        )
    with pytest.raises(ValueError, match="at least one token"):
        PrefixBatch(
            batch.prompt_ids,
            batch.prompt_mask,
            batch.group_index,
            batch.response_ids[:, :0],
            batch.response_mask[:, :0],
        )
