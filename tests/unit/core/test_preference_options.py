"""Options of preferences that are refused."""

import pytest

from r2vpo.core.preference_options import PreferenceOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"link": "jsd"}, "link is 'jsd'; choose one of kl, chi_square, chi_po"),
        ({"delta": 0.0}, "delta is 0; it must be at least 1e-09"),
        ({"reward_bound": 0.0}, "reward_bound is 0; it must be above 0"),
        ({"steps_per_round": 0}, "steps_per_round is 0; it must be at least 1"),
        ({"brake": "inward"}, "brake is 'inward'; choose one of outward, two_sided"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PreferenceOptions(**options)
