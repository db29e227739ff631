"""Which parameters are the critic's: those that no log-prob depends on."""

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn
from torch.optim import SGD

from r2vpo.integrations.sb3 import R2VPO
from r2vpo.integrations.sb3.parameters import actor_and_critic
from tests.unit.integrations.sb3.environments import model, steps

CASES = [
    ("box", {}),
    ("pendulum", {"use_sde": True}),
    ("dict", {}),
    ("image", {}),
    ("image", {"policy_kwargs": {"share_features_extractor": False}}),
]


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_the_critics_are_those_without_a_gradient_of_the_log_probs(name, arguments):
    made = model(PPO, name, **arguments).learn(steps(1))
    actor, critic = actor_and_critic(made.policy)
    assert len(actor) + len(critic) == len(list(made.policy.parameters()))
    data = next(made.rollout_buffer.get(8))
    actions = data.actions
    values, log_probs, entropy = made.policy.evaluate_actions(
        data.observations, actions.long().flatten() if made.action_space.shape == () else actions
    )
    total = log_probs.square().sum() + (0 if entropy is None else entropy.sum())
    found = torch.autograd.grad(total, actor + critic, allow_unused=True, retain_graph=True)
    assert all(gradient is not None for gradient in found[: len(actor)])
    assert all(gradient is None for gradient in found[len(actor) :])
    assert all(one is not None for one in torch.autograd.grad(values.sum(), critic, allow_unused=True))


def test_under_step_control_they_are_clipped_apart():
    made = model(R2VPO, "box", max_grad_norm=1e-3).learn(steps(1))
    actor, critic = (torch.cat([one.grad.flatten() for one in part]).norm() for part in actor_and_critic(made.policy))
    assert float(actor) == pytest.approx(1e-3, rel=0.01) and float(critic) == pytest.approx(1e-3, rel=0.01)
    plain = model(R2VPO, "box", max_grad_norm=1e-3, step_control=False).learn(steps(1))
    whole = torch.cat([one.grad.flatten() for one in plain.policy.parameters()]).norm()
    assert float(whole) == pytest.approx(1e-3, rel=0.01)


def test_step_control_finds_the_actors_rate_and_leaves_the_critics():
    """Descent without momentum: how far a step goes is the rate times the gradient."""
    made = model(R2VPO, "box", learning_rate=1e-4, n_epochs=1, batch_size=64, policy_kwargs={"optimizer_class": SGD})
    made.rounds.controls.step_size.scale = 7.0
    before = [one.detach().clone() for one in made.policy.parameters()]
    made.learn(steps(1))
    actor, _ = actor_and_critic(made.policy)
    for old, new in zip(before, made.policy.parameters(), strict=True):
        rate = 1e-4 * (7.0 if any(new is one for one in actor) else 1.0)
        torch.testing.assert_close(new.detach(), old - rate * new.grad)


def test_adam_makes_its_step_in_one_call_unless_it_was_told_otherwise():
    def of(**arguments):
        actor, critic = model(R2VPO, "box", policy_kwargs=arguments).policy.optimizer.param_groups
        assert actor.get("foreach") == critic.get("foreach") and actor.get("fused") == critic.get("fused")
        return actor.get("foreach"), actor.get("fused")

    assert of() == (None, True)
    assert of(optimizer_kwargs={"foreach": True}) == (True, None)
    assert of(optimizer_class=torch.optim.SGD) == (None, None)


class Common(nn.Module):
    """An extractor whose networks of actor and critic are one, or which has no separate ones at all."""

    def __init__(self, features: int, named: bool) -> None:
        super().__init__()
        trunk = nn.Sequential(nn.Linear(features, 8), nn.Tanh())
        self.latent_dim_pi = self.latent_dim_vf = 8
        if named:
            self.policy_net = self.value_net = trunk
        self.trunk = trunk

    def forward(self, features):
        return self.trunk(features), self.trunk(features)

    def forward_actor(self, features):
        return self.trunk(features)

    def forward_critic(self, features):
        return self.trunk(features)


class Policy(ActorCriticPolicy):
    """With that extractor, and perhaps an optimizer of two groups, or of only a part of the parameters."""

    def __init__(self, *given, named=True, groups=1, left_out=False, **others):
        self.named, self.groups, self.left_out = named, groups, left_out
        super().__init__(*given, **others)

    def _build_mlp_extractor(self):
        self.mlp_extractor = Common(self.features_dim, self.named)

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        if self.left_out:
            parameters = [*self.action_net.parameters(), *self.value_net.parameters(), self.log_std]
            self.optimizer = torch.optim.Adam(parameters, lr=lr_schedule(1))
        if self.groups == 2:
            weights = [one for one in self.parameters() if one.dim() == 2]
            others = [one for one in self.parameters() if one.dim() != 2]
            self.optimizer = torch.optim.AdamW(
                [{"params": weights, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=lr_schedule(1)
            )


@pytest.mark.parametrize("named", [True, False])
def test_a_common_trunk_is_the_actors(named):
    made = model(R2VPO, "box", policy=Policy, policy_kwargs={"named": named}).learn(steps(2))
    actor, critic = made.policy.optimizer.param_groups
    assert {id(one) for one in made.policy.mlp_extractor.parameters()} <= {id(one) for one in actor["params"]}
    assert {id(one) for one in critic["params"]} == {id(one) for one in made.policy.value_net.parameters()}
    assert actor["step_control"] and not critic["step_control"]


def test_parameters_that_the_optimizer_leaves_out_stay_as_they_are():
    made = model(R2VPO, "box", policy=Policy, policy_kwargs={"left_out": True})
    before = [one.detach().clone() for one in made.policy.mlp_extractor.parameters()]
    made.learn(steps(2))
    for old, new in zip(before, made.policy.mlp_extractor.parameters(), strict=True):
        assert torch.equal(old, new)


def test_each_group_of_an_optimizer_is_split():
    made = model(R2VPO, "box", policy=Policy, policy_kwargs={"groups": 2}).learn(steps(2))
    groups = made.policy.optimizer.param_groups
    assert [(group["weight_decay"], group["step_control"]) for group in groups] == [
        (0.1, True),
        (0.0, True),
        (0.1, False),
        (0.0, False),
    ]
    assert sum(len(group["params"]) for group in groups) == len(list(made.policy.parameters()))


def test_the_groups_of_a_part_are_clipped_together():
    made = model(R2VPO, "box", policy=Policy, policy_kwargs={"groups": 2}, max_grad_norm=1e-3).learn(steps(1))
    for part in actor_and_critic(made.policy):
        assert float(torch.cat([one.grad.flatten() for one in part]).norm()) == pytest.approx(1e-3, rel=0.01)
