"""What float64 can lose: the ground on which bounds are called rigorous.

Every bound that a proof rests on is lowered by what its own sums can have lost (`gamma`, times the sum of the terms'
sizes) and by what underflow can have cost (`UNDERFLOW`). Who computes such a bound accounts for it there.
"""

from __future__ import annotations

UNIT_ROUNDOFF = 2.0**-53
# What underflow can have cost a bound, absolutely: products that leave the normal numbers lose less than 2^-1022 each,
# and a network is refused whose layers could multiply that beyond 1e200 (`LARGEST_GAIN`), on inputs of at most 1e30.
UNDERFLOW = 1e-70
LARGEST_GAIN = 1e200


def gamma(terms: int) -> float:
    """Higham's γ_n with room to spare: no float64 sum of `terms` products is off by more than γ · Σ|aᵢ||bᵢ|.

    The extra terms pay for the few roundings that surround a sum (folded weights, accumulations over layers).
    """
    count = terms + 64
    return count * UNIT_ROUNDOFF / (1.0 - count * UNIT_ROUNDOFF)
