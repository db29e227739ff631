"""Advantages in plain Python floats; imports nothing of the package."""

import math


def groups(values, ids):
    found = {}
    for position, name in enumerate(ids):
        found.setdefault(name, []).append(values[position])
    return found


def grpo(rewards, ids, divide=True):
    by = groups(rewards, ids)
    out = []
    for reward, name in zip(rewards, ids, strict=True):
        group = by[name]
        mean = math.fsum(group) / len(group)
        std = math.sqrt(math.fsum((x - mean) ** 2 for x in group) / (len(group) - 1)) if len(group) > 1 else 0.0
        out.append((reward - mean) / (std + 1e-4) if divide else reward - mean)
    return out


def rloo(rewards, ids):
    by = groups(rewards, ids)
    out = []
    for reward, name in zip(rewards, ids, strict=True):
        others = len(by[name]) - 1
        out.append(reward - (math.fsum(by[name]) - reward) / others if others else 0.0)
    return out
