"""The diagnostics straight from their formulas, token by token; imports nothing of the package."""

import math


def diagnostics(tokens, dual, low, high):
    """`tokens`: a list of (r, w, advantage, entropy) of the response tokens."""
    n = len(tokens)
    if n == 0:
        return None
    weight = math.fsum(w for _, w, _, _ in tokens)
    importance = [w * r for r, w, _, _ in tokens]

    def mean(f):
        return math.fsum(w * f(r) for r, w, _, _ in tokens) / weight

    return {
        "ratio_variance": mean(lambda r: (r - 1) ** 2),
        "mean_ratio": mean(lambda r: r),
        "chi_square": mean(lambda r: r * r) - 1,
        "kl": mean(lambda r: r - 1 - math.log(r)),
        "effective_sample_size": math.fsum(importance) ** 2 / (n * math.fsum(u * u for u in importance)),
        "sign_flip_fraction": sum(1 for r, _, a, _ in tokens if a * (a - 2 * dual * (r - 1)) < 0) / n,
        "clip_fraction": sum(1 for r, _, a, _ in tokens if (a > 0 and r > 1 + high) or (a < 0 and r < 1 - low)) / n,
        "entropy": math.fsum(h for _, _, _, h in tokens) / n,
        "mean_stale_weight": weight / n,
    }
