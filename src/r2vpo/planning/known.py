"""Configurations of the paper's models, so that a run can be planned without the hub.

Only what determines the number of weights and the memory is kept; a model's own files take precedence if they are
available.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "configurations"
_LLAMA_LAYOUT = (
    "planned as a Llama with attention biases, of which its own class is a subclass; "
    "its code is not needed for planning"
)


@dataclass(frozen=True)
class KnownModel:
    """A model whose configuration comes with the package.

    Attributes:
        file: its configuration, in `configurations`.
        published: number of weights of the published checkpoint, which the configuration must reproduce.
        checked: what this number was compared with.
        note: what differs from the model's own files, or None.
    """

    file: str
    published: int
    checked: str
    note: str | None = None

    def configuration(self) -> dict[str, Any]:
        """Read the configuration."""
        found: dict[str, Any] = json.loads((_FOLDER / f"{self.file}.json").read_text(encoding="utf-8"))
        return found


_DEEPSEEK_1_5B = KnownModel(
    file="deepseek_r1_distill_qwen_1_5b",
    published=1_777_088_000,
    checked="the 1.78 B of its model card; the shape is that of Qwen2.5-Math-1.5B, with a separate output layer",
)
_DEEPSEEK_7B = KnownModel(
    file="deepseek_r1_distill_qwen_7b",
    published=7_615_616_512,
    checked="the 7.62 B of its model card; the shape is that of Qwen2.5-Math-7B",
)
_PANGU_1B = KnownModel(
    file="openpangu_embedded_1b",
    published=1_155_912_192,
    checked="its card (26 layers of 1,536, 12 and 6 heads, 1 B without the embedding), published training scripts "
    "(feed-forward 6,144, 153,376 tokens) and the 340 tensors of its GGUF conversions, which have no output layer of "
    "their own; 1.39 B where that layer is stored a second time",
    note=_LLAMA_LAYOUT,
)
_PANGU_7B = KnownModel(
    file="openpangu_embedded_7b",
    published=8_030_887_936,
    checked="its config.json, and the total_size of model.safetensors.index.json to the byte",
    note=_LLAMA_LAYOUT,
)
_QWEN_72B = KnownModel(
    file="qwen2_5_math_72b",
    published=72_706_203_648,
    checked="the 72.7 B of its model card; the shape is that of Qwen2.5-72B, the 4,096 positions are the math models'",
)

KNOWN = {
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": _DEEPSEEK_1_5B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": _DEEPSEEK_7B,
    "FreedomIntelligence/openPangu-Embedded-1B": _PANGU_1B,
    "FreedomIntelligence/openPangu-Embedded-1B-V1.1": _PANGU_1B,
    "FreedomIntelligence/openPangu-Embedded-7B": _PANGU_7B,
    "FreedomIntelligence/openPangu-Embedded-7B-V1.1": _PANGU_7B,
    "Qwen/Qwen2.5-Math-72B-Instruct": _QWEN_72B,
}
"""Known models by their names on the hub. The cards and scripts named in `checked` were read in public copies, not on
the hub."""
