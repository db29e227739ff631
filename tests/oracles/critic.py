"""A critic's advantages, targets and loss token by token, in Python floats; imports nothing of the package.

`bug` breaks one line on purpose: the negative controls show that the comparison notices each of them.
"""

import math


def gae(rewards, values, mask, gamma, gae_lambda, weights=None, bug=None):
    """Advantages and targets of each row as lists over all tokens, 0 where the mask is False.

    `A_t = sum_(s >= t) (gamma lambda)^(s - t) c_(t+1) ... c_s delta_s`, s and t counting trained tokens.
    """
    all_advantages, all_targets = [], []
    for row, kept in enumerate(mask):
        trained = [t for t, one in enumerate(kept) if one or bug == "tools_trained"]
        V = [values[row][t] for t in trained] + [0.0]
        c = [1.0 if weights is None or bug == "no_weights" else weights[row][t] for t in trained]
        n = len(trained)
        delta = [(rewards[row] if t == n - 1 else 0.0) + gamma * V[t + 1] - V[t] for t in range(n)]
        advantages, targets = [0.0] * len(kept), [0.0] * len(kept)
        for t in range(n):
            terms = []
            for s in range(t, n):
                product = math.prod(c[t:s] if bug == "own_weight" else c[t + 1 : s + 1])
                terms.append((gamma * gae_lambda) ** (s - t) * product * delta[s])
            A = math.fsum(terms)
            advantages[trained[t]] = A
            targets[trained[t]] = V[t] + (A if bug == "untraced_target" else c[t] * A)
        all_advantages.append(advantages)
        all_targets.append(targets)
    return all_advantages, all_targets


def normalized(advantages, mask):
    """Mean 0 and standard deviation 1 over all tokens under the mask."""
    seen = [A for row, kept in zip(advantages, mask, strict=True) for A, one in zip(row, kept, strict=True) if one]
    mean = math.fsum(seen) / len(seen)
    variance = math.fsum((A - mean) ** 2 for A in seen) / len(seen)
    return [
        [(A - mean) / math.sqrt(max(variance, 1e-8)) if one else 0.0 for A, one in zip(row, kept, strict=True)]
        for row, kept in zip(advantages, mask, strict=True)
    ]


def value_loss(values, old, targets, mask, clip, aggregation, constant, normalizer=None, bug=None):
    """Loss, its gradient by each value, and the number of clipped tokens."""
    rows = sum(any(kept) for kept in mask)
    tokens = sum(sum(kept) for kept in mask)
    loss, clipped, gradient = 0.0, 0, [[0.0] * len(kept) for kept in mask]
    for row, kept in enumerate(mask):
        for t, one in enumerate(kept):
            if not one:
                continue
            share = {"token_mean": 1 / (normalizer or tokens), "constant": 1 / ((normalizer or rows) * (constant or 1))}
            share["sequence_mean"] = 1 / ((normalizer or rows) * sum(kept))
            V, V_k, v = values[row][t], old[row][t], targets[row][t]
            squared, slope = (V - v) ** 2, 2 * (V - v)
            if clip is not None:
                V_c = min(max(V, V_k - clip), V_k + clip)
                pessimistic = (V_c - v) ** 2 < squared if bug == "smaller_loss" else (V_c - v) ** 2 > squared
                if pessimistic:
                    clipped, squared, slope = clipped + 1, (V_c - v) ** 2, 0.0
            half = 1.0 if bug == "not_half" else 0.5
            loss += half * share[aggregation] * squared
            gradient[row][t] = half * share[aggregation] * slope
    return loss, gradient, clipped
