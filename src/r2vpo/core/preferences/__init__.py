"""Preference losses under the ratio-variance constraint: the brake on their gradient, links, decisions, counts."""

from r2vpo.core.preference_options import PreferenceOptions
from r2vpo.core.preferences.advantages import loss_advantages
from r2vpo.core.preferences.brake import braked, held_back
from r2vpo.core.preferences.links import chi_po_scores
from r2vpo.core.preferences.tokens import given_decisions, given_ratios

__all__ = [
    "PreferenceOptions",
    "braked",
    "chi_po_scores",
    "given_decisions",
    "given_ratios",
    "held_back",
    "loss_advantages",
]
