"""R²VPO: reinforcement-learning fine-tuning with a soft constraint on the variance of the policy ratio.

The names below are imported on first use, so that `import r2vpo` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2vpo.core.critic.options import CriticOptions
    from r2vpo.core.method import Method
    from r2vpo.core.method_options import MethodOptions, ObjectiveOptions
    from r2vpo.core.options import AdvantageOptions, CurriculumOptions, DualOptions, StepControlOptions
    from r2vpo.core.replay_options import ReplayOptions
    from r2vpo.data import load_data, to_dataset
    from r2vpo.errors import UserError
    from r2vpo.learner import Learner, RoundShape
    from r2vpo.models import load_model, load_tokenizer
    from r2vpo.replay import Group, ReplayBuffer, Rollout
    from r2vpo.rewards import load_reward
    from r2vpo.rewards.text import text_of
    from r2vpo.sampling import SharedPrefixSampler
    from r2vpo.sampling.lightllm import LightLLMRollout
    from r2vpo.trl import R2VPOConfig, R2VPODPOConfig, R2VPODPOTrainer, R2VPOTrainer

__version__ = "0.1.0"

_MODULES = {
    "r2vpo.core.critic.options": ("CriticOptions",),
    "r2vpo.core.method": ("Method",),
    "r2vpo.core.method_options": ("MethodOptions", "ObjectiveOptions"),
    "r2vpo.core.options": ("AdvantageOptions", "CurriculumOptions", "DualOptions", "StepControlOptions"),
    "r2vpo.core.replay_options": ("ReplayOptions",),
    "r2vpo.data": ("load_data", "to_dataset"),
    "r2vpo.errors": ("UserError",),
    "r2vpo.learner": ("Learner", "RoundShape"),
    "r2vpo.models": ("load_model", "load_tokenizer"),
    "r2vpo.replay": ("Group", "ReplayBuffer", "Rollout"),
    "r2vpo.rewards": ("load_reward",),
    "r2vpo.rewards.text": ("text_of",),
    "r2vpo.sampling": ("SharedPrefixSampler",),
    "r2vpo.sampling.lightllm": ("LightLLMRollout",),
    "r2vpo.trl": ("R2VPOConfig", "R2VPODPOConfig", "R2VPODPOTrainer", "R2VPOTrainer"),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AdvantageOptions",
    "CriticOptions",
    "CurriculumOptions",
    "DualOptions",
    "Group",
    "Learner",
    "LightLLMRollout",
    "Method",
    "MethodOptions",
    "ObjectiveOptions",
    "R2VPOConfig",
    "R2VPODPOConfig",
    "R2VPODPOTrainer",
    "R2VPOTrainer",
    "ReplayBuffer",
    "ReplayOptions",
    "Rollout",
    "RoundShape",
    "SharedPrefixSampler",
    "StepControlOptions",
    "UserError",
    "load_data",
    "load_model",
    "load_reward",
    "load_tokenizer",
    "text_of",
    "to_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'r2vpo' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
