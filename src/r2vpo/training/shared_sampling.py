"""Sample greedy answers with all processes of a run, each answering a share of the problems."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object


class SharedSampling:
    """Sampler that divides prompts over the processes and returns all answers to each; all processes must call it.

    All shares have the same length: with sharded weights, a process takes part in each step of all others.

    Args:
        sampler: has `greedy(prompts)`.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def greedy(self, prompts: list[list[int]]) -> list[Any]:
        """Return one answer per prompt, in order."""
        state = PartialState()
        if state.num_processes == 1:
            alone: list[Any] = self._sampler.greedy(prompts)
            return alone
        share = -(-len(prompts) // state.num_processes)
        mine = prompts[state.process_index :: state.num_processes]
        answers = self._sampler.greedy(mine + prompts[:1] * (share - len(mine)))
        by_process = gather_object([answers])
        return [by_process[place % state.num_processes][place // state.num_processes] for place in range(len(prompts))]
