"""Generation of responses: by the policy itself, with each prompt computed once, on a copy of its weights."""

from r2vpo.rollout.generate import GenerateSampler, without_own_rules
from r2vpo.rollout.grouping import tokenized_groups
from r2vpo.rollout.past_weights import PastWeights
from r2vpo.rollout.sampler import Sample, SharedPrefixSampler
from r2vpo.rollout.self_check import PathCheck, SelfCheck, check_model, make_sampler
from r2vpo.rollout.shadow import ShadowModel, quantised_weight

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
