"""A model folder with Python code of its own, as models of the hub bring it: a Llama with attention biases."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_model


def separate_modules(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let transformers keep models' own code in this folder, and forget what it has imported from another one."""
    patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder))
    patch.setattr(sys, "path", list(sys.path))  # to which transformers adds the folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        patch.delitem(sys.modules, name)


CONFIGURATION = """\
from transformers import LlamaConfig


class BiasedConfig(LlamaConfig):
    model_type = "biased_llama"

    def __init__(self, bias=True, **kwargs):
        super().__init__(**{**kwargs, "attention_bias": bias})
        self.bias = bias
"""
MODELLING = """\
from transformers import LlamaForCausalLM

from .configuration_biased import BiasedConfig


class BiasedForCausalLM(LlamaForCausalLM):
    config_class = BiasedConfig
"""
TOKENIZATION = """\
from transformers import PreTrainedTokenizerFast


class BiasedTokenizer(PreTrainedTokenizerFast):
    pass
"""


def custom_model_folder(folder: Path, tokenizer: Any, **shape: Any) -> Path:
    """Write weights, configuration, code and tokenizer; transformers knows no `biased_llama` of its own."""
    tiny_model(attention_bias=True, **shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text()) | {
        "model_type": "biased_llama",
        "architectures": ["BiasedForCausalLM"],
        "bias": True,
        "auto_map": {
            "AutoConfig": "configuration_biased.BiasedConfig",
            "AutoModelForCausalLM": "modeling_biased.BiasedForCausalLM",
        },
    }
    del config["attention_bias"]
    file.write_text(json.dumps(config))
    file = folder / "tokenizer_config.json"
    names = {
        "tokenizer_class": "BiasedTokenizer",
        "auto_map": {"AutoTokenizer": [None, "tokenization_biased.BiasedTokenizer"]},
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | names))
    (folder / "tokenization_biased.py").write_text(TOKENIZATION)
    (folder / "configuration_biased.py").write_text(CONFIGURATION)
    (folder / "modeling_biased.py").write_text(MODELLING)
    return folder
