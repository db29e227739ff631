"""Log-probabilities of responses: chunked over positions, with each prompt computed once per group."""

from r2vpo.core.log_probs.batch import PrefixBatch
from r2vpo.core.log_probs.chunked import default_chunk_size, token_log_probs
from r2vpo.core.log_probs.float32_head import compute_head_in_float32
from r2vpo.core.log_probs.model_forward import chunked_log_probs, forward_log_probs, install
from r2vpo.core.log_probs.noise import disable_noise
from r2vpo.core.log_probs.ordinary import OrdinaryLogProbs, ordinary_log_probs
from r2vpo.core.log_probs.shared_prefix import (
    PromptStates,
    extend,
    prompt_states,
    shared_prefix_hidden_states,
)
from r2vpo.core.log_probs.support import LengthLimit, length_limits, reads_output_layer, supports_shared_prefix
from r2vpo.core.log_probs.values import TokenLogProbs

__all__ = [
    "LengthLimit",
    "OrdinaryLogProbs",
    "PrefixBatch",
    "PromptStates",
    "TokenLogProbs",
    "chunked_log_probs",
    "compute_head_in_float32",
    "default_chunk_size",
    "disable_noise",
    "extend",
    "forward_log_probs",
    "install",
    "length_limits",
    "ordinary_log_probs",
    "prompt_states",
    "reads_output_layer",
    "shared_prefix_hidden_states",
    "supports_shared_prefix",
    "token_log_probs",
]
