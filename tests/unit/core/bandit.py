"""A softmax bandit, solved to convergence: the smallest policy on which the closed form can be seen."""

import torch

from r2vpo.core.objectives import RatioVarianceConfig, r2vpo_loss


class Bandit:
    """Every action is sampled a fixed number of times, so that the batch is the expectation itself.

    The sampler's frequencies are `counts`. The proximal policy is the sampler, or, with `stale`, another one:
    then each sample has a stale weight. Advantages have mean 0 under the proximal policy, so the free optimum
    1 + A / (2 lambda) is a ratio that a policy can have.
    """

    def __init__(self, actions=24, stale=False, seed=0):
        g = torch.Generator().manual_seed(seed)
        counts = torch.randint(1, 4, (actions,), generator=g)
        self.rows = torch.arange(actions).repeat_interleave(counts)
        mu = counts.double() / counts.sum()
        shift = 0.5 * torch.randn(actions, generator=g, dtype=torch.float64) if stale else torch.zeros(actions)
        self.old = torch.log_softmax(mu.log() + shift, dim=0)
        self.mu = mu.log()
        gain = torch.randn(actions, generator=g, dtype=torch.float64)
        gain = gain - (self.old.exp() * gain).sum()
        self.advantages = gain / (self.old.exp() * gain.square()).sum().sqrt()
        self.theta = self.old.clone().requires_grad_()

    def arguments(self):
        def column(x):
            return x[self.rows].unsqueeze(1)

        mask = torch.ones(len(self.rows), 1, dtype=torch.bool)
        return {
            "old_log_probs": column(self.old), "rollout_log_probs": column(self.mu),
            "advantages": self.advantages[self.rows], "response_mask": mask,
        }  # fmt: skip

    def solve(self, dual, iterations=300, brake="two_sided"):
        """Maximise over theta; gives the sums of V_d at the optimum."""
        config = RatioVarianceConfig(brake=brake, stale_weight_cap=1e30)
        optimizer = torch.optim.LBFGS(
            [self.theta], max_iter=iterations, tolerance_grad=1e-12, tolerance_change=1e-15,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def evaluate():
            log_probs = torch.log_softmax(self.theta, dim=0)[self.rows].unsqueeze(1)
            return r2vpo_loss(log_probs=log_probs, dual=dual, config=config, **self.arguments())

        def closure():
            optimizer.zero_grad()
            loss = evaluate().loss
            loss.backward()
            return loss

        optimizer.step(closure)
        return evaluate().constraint
