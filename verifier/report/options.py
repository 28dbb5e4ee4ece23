"""What a bound-gap report holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bounds.attacks.portfolio import ATTACKS
from bounds.lower import LOWER_BOUNDS, LowerBoundOptions
from encoders.errors import OptionError
from encoders.question import Norm

PORTFOLIO = "portfolio"  # every attack of the product's own first phase, with its polishing

RADII: Mapping[Norm, tuple[float, ...]] = {
    Norm.LINF: (0.01, 0.03, 0.05, 0.1), Norm.L1: (0.25, 0.5, 1.0, 2.0), Norm.L2: (0.1, 0.25, 0.5, 1.0),
}  # fmt: skip


def default_bounds() -> tuple[str, ...]:
    """The lower bounds of a report that names none."""
    return tuple(name for name, bound in LOWER_BOUNDS.items() if not bound.rests_on_solver)


def attack_names() -> tuple[str, ...]:
    """All attacks that a report can show."""
    return (*ATTACKS, PORTFOLIO)


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
        for kind, chosen, known in (
            ("bound", self.bounds, tuple(LOWER_BOUNDS)),
            ("attack", self.attacks, attack_names()),
        ):
            for name in chosen or ():
                if name not in known:
                    raise OptionError(f"{kind} {name!r}: choose from {', '.join(known)}")
        if self.pictures < 0:
            raise OptionError(f"pictures {self.pictures}: give zero or more")
