"""What a bound-gap report holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bounds.lower import LOWER_BOUNDS, LowerBoundOptions, check_bound_name
from encoders.errors import OptionError
from encoders.question import Norm
from verifier.studies.attacks.replayed import ALL, attacks_named

RADII: Mapping[Norm, tuple[float, ...]] = {
    Norm.LINF: (0.01, 0.03, 0.05, 0.1), Norm.L1: (0.25, 0.5, 1.0, 2.0), Norm.L2: (0.1, 0.25, 0.5, 1.0),
}  # fmt: skip


def default_bounds() -> tuple[str, ...]:
    """The lower bounds of a report that names none."""
    return tuple(name for name, bound in LOWER_BOUNDS.items() if not bound.rests_on_solver)


@dataclass(frozen=True)
class ReportOptions:
    """Which techniques are set against the exact distance; None means all that know the norm and the net.

    A bound that calls a solver for every ball takes minutes a sample, so it has to be named.
    """

    bounds: tuple[str, ...] | None = None
    attacks: tuple[str, ...] | None = None
    effort: LowerBoundOptions = field(default_factory=LowerBoundOptions)
    pictures: int = 6

    def __post_init__(self) -> None:
        for name in self.bounds or ():
            check_bound_name(name)
        attacks_named(list(self.attacks or ()), Norm.LINF)  # refuses a name that does not exist
        if self.pictures < 0:
            raise OptionError(f"pictures {self.pictures}: give zero or more")

    def attacks_for(self, norm: Norm) -> tuple[str, ...]:
        """The chosen attacks; where none is named, all that are made for the norm, and the portfolio."""
        return attacks_named(list(self.attacks or (ALL,)), norm)
