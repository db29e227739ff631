"""Around a call of a user's function: what it sets for the whole process does not reach training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put torch's gradient mode and default type back to what they were before.

    Rewards with a model of their own often begin with `torch.set_grad_enabled(False)`.
    """
    import torch  # not at the top: `r2vpo rewards check` reads its input first

    dtype = torch.get_default_dtype()
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        torch.set_default_dtype(dtype)
