"""The environment variables that r2vpo reads; docs/reference/environment.md is generated from these declarations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """An environment variable.

    Attributes:
        name: its name.
        meaning: what it does, in a few words.
        default: what holds while it is not set.
    """

    name: str
    meaning: str
    default: str


CACHE = Variable("R2VPO_CACHE", "folder of the models that are converted or made once", "`XDG_CACHE_HOME`/r2vpo")
OPENRLHF = Variable(
    "R2VPO_OPENRLHF",
    "options of the method as JSON, which `r2vpo openrlhf` passes to Ray's workers; set by the program",
    "the defaults of the options",
)
PROGRAM = Variable(
    "R2VPO_PROGRAM",
    "how the command was called, for what the processes of `--accelerate` print; set by the program",
    "r2vpo",
)
OWN = (CACHE, OPENRLHF, PROGRAM)

USER_CACHE = Variable("XDG_CACHE_HOME", "folder of the caches of all programs", "~/.cache")
HUB_CACHE = Variable("HF_HUB_CACHE", "folder of the models and data sets downloaded from the hub", "`HF_HOME`/hub")
HUB_HOME = Variable("HF_HOME", "folder of Hugging Face's files", "~/.cache/huggingface")
HUB_OFFLINE = Variable("HF_HUB_OFFLINE", "1: never ask the hub, use what is in its cache", "0")
DEVICES = Variable("CUDA_VISIBLE_DEVICES", "numbers of the GPUs that may be used, such as 0,1", "all GPUs")
WORLD_SIZE = Variable("WORLD_SIZE", "number of processes of the run; set by launchers", "1")
LOCAL_WORLD_SIZE = Variable("LOCAL_WORLD_SIZE", "number of them on this machine; set by launchers", "1")
RANK = Variable("RANK", "number of this process among them, from 0; set by launchers", "0")
SHARED = (USER_CACHE, HUB_HOME, HUB_CACHE, HUB_OFFLINE, DEVICES, WORLD_SIZE, LOCAL_WORLD_SIZE, RANK)
"""Variables of other programs that r2vpo reads itself."""

OF_LIBRARIES = (
    Variable("HF_TOKEN", "token for gated or private models and data sets", "the token that `hf auth login` saved"),
    Variable("HF_ENDPOINT", "address of the hub, or of a mirror", "that of Hugging Face"),
    Variable("HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "proxies, also of the rewards that ask a server", "no proxy"),
    Variable(
        "OMP_NUM_THREADS", "threads of torch on the CPU, where the recipe leaves `trainer.threads` open", "torch's"
    ),
    Variable("ONEDNN_MAX_CPU_ISA", "newest instructions that the CPU may use, such as AVX2", "all it has"),
)
"""Variables that the libraries read and that a user of r2vpo may need."""
