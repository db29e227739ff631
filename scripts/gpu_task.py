"""The task of `gpu_check.sh` for frameworks that read files: continue a line with digits, which any model can learn.

    python scripts/gpu_task.py FOLDER

writes train.parquet and test.parquet for verl, and prompts.jsonl for OpenRLHF. The reward is the share of digits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROWS = 256


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any) -> float:
    """Verl's signature."""
    return sum(letter.isdigit() for letter in solution_str) / max(len(solution_str), 1)


def reward_func(queries: list[str], prompts: list[str], labels: list[str], **_: Any) -> dict[str, Any]:
    """OpenRLHF's signature; a query is the prompt with its answer."""
    import torch

    answers = [query[len(prompt) :] for query, prompt in zip(queries, prompts, strict=True)]
    rewards = torch.tensor([compute_score("", answer, "") for answer in answers])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}


def write(folder: Path) -> None:
    """Both frameworks' files."""
    import pandas

    folder.mkdir(parents=True, exist_ok=True)
    prompts = [f"Some numbers: {i}, {i + 1}, {i + 2}," for i in range(ROWS)]
    rows = [
        {
            "data_source": "digits",
            "prompt": [{"role": "user", "content": prompt}],
            "ability": "digits",
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {"index": i},
        }
        for i, prompt in enumerate(prompts)
    ]
    pandas.DataFrame(rows).to_parquet(folder / "train.parquet")
    pandas.DataFrame(rows[:8]).to_parquet(folder / "test.parquet")
    lines = [json.dumps({"input": prompt, "label": ""}) + "\n" for prompt in prompts]
    (folder / "prompts.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
