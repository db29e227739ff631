"""R²VPO for Stable-Baselines3: `from r2vpo.integrations.sb3 import R2VPO`, in place of its PPO."""

from r2vpo.optional import remedy

try:
    from stable_baselines3.common.policies import ActorCriticCnnPolicy as CnnPolicy
    from stable_baselines3.common.policies import ActorCriticPolicy as MlpPolicy
    from stable_baselines3.common.policies import MultiInputActorCriticPolicy as MultiInputPolicy
except ModuleNotFoundError as error:
    needed = f"r2vpo.integrations.sb3 needs stable-baselines3, which is not installed: {remedy('stable_baselines3')}"
    raise ModuleNotFoundError(needed, name=error.name) from None

from r2vpo.integrations.sb3.algorithm import R2VPO

__all__ = ["R2VPO", "CnnPolicy", "MlpPolicy", "MultiInputPolicy"]
