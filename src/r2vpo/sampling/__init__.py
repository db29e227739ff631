"""Generation of responses: by the policy itself, with each prompt computed once, on a copy of its weights."""

from r2vpo.sampling.generate import GenerateSampler, without_own_rules
from r2vpo.sampling.grouping import tokenized_groups
from r2vpo.sampling.past_weights import PastWeights
from r2vpo.sampling.sampler import Sample, SharedPrefixSampler
from r2vpo.sampling.self_check import PathCheck, SelfCheck, check_model, make_sampler
from r2vpo.sampling.shadow import ShadowModel, quantised_weight

__all__ = [
    "GenerateSampler",
    "PastWeights",
    "PathCheck",
    "Sample",
    "SelfCheck",
    "ShadowModel",
    "SharedPrefixSampler",
    "check_model",
    "make_sampler",
    "quantised_weight",
    "tokenized_groups",
    "without_own_rules",
]
