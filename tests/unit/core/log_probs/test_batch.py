import pytest
import torch

from r2vpo.core.log_probs import PrefixBatch
from tests.unit.core.log_probs.small_models import random_batch


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
