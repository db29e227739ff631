"""R²VPO as an algorithm of Stable-Baselines3, in the form of its PPO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule, TensorDict
from stable_baselines3.common.utils import FloatSchedule, explained_variance
from stable_baselines3.common.vec_env import VecEnv

from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.integrations.sb3.checks import check_arguments, check_finite, check_parameters, without_numpy
from r2vpo.integrations.sb3.logs import RoundLog, stale_summary
from r2vpo.integrations.sb3.losses import minibatch_losses, normalized_advantages
from r2vpo.integrations.sb3.options import DELTA, SB3Options
from r2vpo.integrations.sb3.parameters import actor_and_critic, fuse, separate, set_rates
from r2vpo.integrations.sb3.replay import minibatches
from r2vpo.integrations.sb3.rounds import Rounds
from r2vpo.integrations.sb3.rows import Rows, fresh_rows
from r2vpo.integrations.sb3.segments import Recorder

OPTIONS = ("objective", "delta", "dual", "step_control", "replay_versions", "replay_ratio")
"""The arguments that are options of the method."""


class R2VPO(OnPolicyAlgorithm):
    """PPO's actor and critic, trained with R²VPO's objective and step control.

    A round is one rollout buffer, `n_steps` of each environment, and `n_epochs` passes over it in minibatches. It takes
    PPO's arguments in PPO's order, with `delta` in place of `clip_range`; the arguments that are not listed here are
    those of `stable_baselines3.PPO`.

    Args:
        policy: "MlpPolicy", "CnnPolicy", "MultiInputPolicy", or a class.
        env: The environment, its name, or a `VecEnv`. Action spaces: `Box`, `Discrete`, `MultiDiscrete`, `MultiBinary`.
        learning_rate: The critic's rate. The actor's is multiplied by the factor that step control finds, so that any
            rate gives it the same steps. A schedule shapes both over the training, in proportion to its highest rate.
        n_steps: As in PPO.
        batch_size: Fresh rows of a minibatch; stale rows come on top.
        n_epochs: As in PPO.
        gamma: As in PPO.
        gae_lambda: As in PPO.
        delta: V_d that a round may reach, the ratio variance per decision: per dimension of a continuous action, the
            mean squared movement of the mean in standard deviations. For language models delta is per informative
            rollout; here it is of the round, whose size does not change.
        clip_range_vf: As in PPO.
        normalize_advantage: As in PPO, in each minibatch.
        ent_coef: As in PPO.
        vf_coef: As in PPO.
        max_grad_norm: As in PPO.
        use_sde: As in PPO.
        sde_sample_freq: As in PPO.
        rollout_buffer_class: A `RolloutBuffer` whose `get` is the original one, because minibatches are drawn here;
            with replay, its `compute_returns_and_advantage` too.
        rollout_buffer_kwargs: As in PPO.
        target_kl: As in PPO, a bound for single minibatches.
        stats_window_size: As in PPO.
        tensorboard_log: As in PPO.
        policy_kwargs: As in PPO.
        verbose: As in PPO.
        seed: As in PPO; also of the draws of stale rows.
        device: As in PPO.
        _init_setup_model: As in PPO.
        objective: The objective, in any form that `MethodOptions` takes: a name such as "clip" (PPO's clipping), or a
            mapping such as `{"name": "r2vpo", "options": {"brake": "two_sided"}}`.
        dual: The multiplier: a kind, or a mapping of `DualOptions`.
        step_control: A mapping of `StepControlOptions`; False turns it off, and the learning rate is then PPO's.
        replay_versions: Rounds for which a round's transitions are kept, to be trained on again with stale weights; 0
            turns replay off. Each takes the memory of a rollout buffer.
        replay_ratio: Stale rows per fresh row.

    Attributes:
        rounds: What is known from round to round, saved with the policy.

    Raises:
        ValueError: An argument is rejected; one line says why.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ActorCriticPolicy,
        "CnnPolicy": ActorCriticCnnPolicy,
        "MultiInputPolicy": MultiInputActorCriticPolicy,
    }
    rollout_buffer: RolloutBuffer
    policy: ActorCriticPolicy

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 2048,
        batch_size: int = 64,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        delta: float = DELTA,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        objective: str | Mapping[str, Any] = "r2vpo",
        dual: str | Mapping[str, Any] | DualOptions | None = None,
        step_control: bool | Mapping[str, Any] | StepControlOptions | None = None,
        replay_versions: int = 0,
        replay_ratio: float = 1.0,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=use_sde,
            sde_sample_freq=sde_sample_freq,
            rollout_buffer_class=rollout_buffer_class,
            rollout_buffer_kwargs=rollout_buffer_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
            supported_action_spaces=(spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary),
        )
        self.batch_size, self.n_epochs, self.target_kl = batch_size, n_epochs, target_kl
        self.clip_range_vf, self.normalize_advantage = clip_range_vf, normalize_advantage
        # As PPO keeps clip_range: `load` sets those that it is given, and then calls `_setup_model`.
        self.delta, self.objective, self.dual, self.step_control = delta, objective, dual, step_control
        self.replay_versions, self.replay_ratio = replay_versions, replay_ratio
        self._recorder: Recorder | None = None
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        without_numpy(self)
        self.options = self._read_options()
        check_arguments(self)
        super()._setup_model()
        if self.clip_range_vf is not None:
            self.clip_range_vf = FloatSchedule(self.clip_range_vf)
        self.rounds = Rounds(self.options, seed=self.seed or 0)
        separate(self.policy)
        fuse(self.policy.optimizer)
        self._prepare_optimizer()

    def _read_options(self) -> SB3Options:
        return SB3Options.read(**{name: getattr(self, name) for name in OPTIONS})

    def _check_unchanged(self) -> None:
        """Refuse options that were assigned to the built model, which would have no effect."""
        if self._read_options() != self.options:
            raise ValueError(
                f"an option of R2VPO ({', '.join(OPTIONS)}) was changed in a model that is already built, where it has "
                "no effect: save the model and load it with the option, as in R2VPO.load(path, env=env, delta=0.01)"
            )

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """See `BaseAlgorithm`, which counts below 0 in a last round that ends after `total_timesteps`.

        A linear schedule of the user's own is negative there, and step control would make large steps backwards.
        """
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self._current_progress_remaining = max(self._current_progress_remaining, 0.0)

    def _prepare_optimizer(self) -> None:
        """Let step control scale the optimizer's steps; copies of a model and loaded groups have to be prepared too."""
        step_size, optimizer = self.rounds.controls.step_size, self.policy.optimizer
        set_rates(optimizer, self.lr_schedule, own_rate=self._critic_has_own_rate)
        if step_size is not None and not step_size.scales(optimizer):
            step_size.attach(optimizer)

    @property
    def _critic_has_own_rate(self) -> bool:
        control = self.options.step_control
        return control.enabled and control.kind != "kl"  # that rule is of one rate for both

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """See `OnPolicyAlgorithm.collect_rollouts`; with replay, also what its buffer does not keep."""
        self._recorder = Recorder(env) if self.rounds.replay is not None else None
        return bool(super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps))

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        super()._update_info_buffer(infos, dones)
        if self._recorder is not None and dones is not None:
            self._recorder.step(infos, dones)

    def _stale_rows(self, fresh: int) -> Rows | None:
        """Draw stale rows for this round, and keep its transitions for later ones."""
        replay = self.rounds.replay
        if replay is None:
            return None
        assert self._recorder is not None and self.env is not None and self._last_episode_starts is not None
        stale = replay.draw(fresh, self.policy, self.env, gamma=self.gamma, gae_lambda=self.gae_lambda)
        replay.add(self._recorder.segment(self.rollout_buffer, self.policy, self._last_obs, self._last_episode_starts))
        return stale

    def train(self) -> None:
        """Train on the rollout buffer, and on stale rows.

        Raises:
            ValueError: An option was changed since the model was built, or an advantage is NaN or infinite; the policy
                is as it was before the round.
        """
        self._check_unchanged()
        self._prepare_optimizer()
        self._update_learning_rate(self.policy.optimizer)
        fresh = fresh_rows(self.rollout_buffer, self.policy)
        check_finite(fresh)
        stale = self._stale_rows(len(fresh))
        rows = fresh if stale is None else Rows.joined([fresh, stale])
        advantages = normalized_advantages(rows.advantages) if self.normalize_advantage else rows.advantages
        minibatches = -(-len(fresh) // self.batch_size)
        self.rounds.begin(rows, advantages=advantages, steps=self.n_epochs * minibatches)
        self.policy.set_training_mode(True)
        log = RoundLog()
        for epoch in range(self.n_epochs):
            finished = self._epoch(rows, len(fresh), log)
            self._n_updates += 1
            if not finished:
                if self.verbose >= 1:
                    print(f"Early stopping in epoch {epoch}: the KL divergence is above 1.5 target_kl")
                break
        self._record(
            log.summary()
            | self.rounds.end(self.policy, fresh)
            | stale_summary(stale, self.rounds.method.config.stale_weight_cap)
            | {"explained_variance": explained_variance(fresh.values.numpy(), fresh.returns.numpy())}
        )

    def _epoch(self, rows: Rows, fresh: int, log: RoundLog) -> bool:
        """Train once on all rows; False if the divergence stopped it."""
        log.begin_epoch()
        clip_range_vf, clipped, trained = self._clip_range_vf(), self._clipped_together(), self._trained()
        order = list(minibatches(fresh, len(rows) - fresh, self.batch_size, self.rounds.replay))
        for part in rows.parts(order, self.device):
            losses = minibatch_losses(
                self.policy,
                self.rounds,
                part,
                normalize_advantage=self.normalize_advantage,
                clip_range_vf=clip_range_vf,
            )
            loss = losses.policy.loss + self.ent_coef * losses.entropy + self.vf_coef * losses.value
            log.add(losses, loss)
            if self.target_kl is not None and losses.kl() > 1.5 * self.target_kl:
                return False
            log.last = self.rounds.finish_step(losses.policy)
            for parameter in trained:  # what zero_grad does, without its record for the profiler
                parameter.grad = None
            loss.backward()
            for parameters in clipped:
                torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
            self.policy.optimizer.step()
        return True

    def _clipped_together(self) -> Sequence[Sequence[torch.nn.Parameter]]:
        """Return the parts of the policy whose gradients are clipped as one: all, or actor and critic apart."""
        return actor_and_critic(self.policy) if self._critic_has_own_rate else [list(self.policy.parameters())]

    def _trained(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self.policy.optimizer.param_groups for parameter in group["params"]]

    def _record(self, numbers: Mapping[str, Any]) -> None:
        for name, value in numbers.items():
            self.logger.record(f"train/{name}", value)
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())
        if self.clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", self._clip_range_vf())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _clip_range_vf(self) -> float | None:
        if self.clip_range_vf is None:
            return None
        assert isinstance(self.clip_range_vf, FloatSchedule), "set up"
        return self.clip_range_vf(self._current_progress_remaining)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "R2VPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """See `stable_baselines3.PPO.learn`."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def set_parameters(
        self, load_path_or_dict: str | TensorDict, exact_match: bool = True, device: torch.device | str = "auto"
    ) -> None:
        """See `BaseAlgorithm.set_parameters`.

        Raises:
            ValueError: The optimizer's or the rounds' part does not fit; nothing has been changed then.
        """
        given = load_path_or_dict
        parameters = given if isinstance(given, dict) else load_from_zip_file(given, device=device, load_data=False)[1]
        check_parameters(self, parameters)
        super().set_parameters(parameters, exact_match, device)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_recorder", "options"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, "rounds"], variables
