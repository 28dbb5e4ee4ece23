"""What a bound-gap report holds."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Annotated, Any

from pydantic import AfterValidator

from bounds.attacks import ALL, ATTACKS
from bounds.lower import LOWER_BOUNDS, LowerBoundOptions
from encoders.question import Norm
from encoders.validation import NaturalWithZero, validated
from verifier.studies.attacks.replayed import attacks_named, check_attack_name


def default_bounds() -> tuple[str, ...]:
    """The lower bounds of a report that names none."""
    return tuple(name for name, bound in LOWER_BOUNDS.items() if not bound.rests_on_solver)


@validated
class ReportOptions:
    """Which techniques are set against the exact distance; None means all that know the norm and the net.

    A bound that calls a solver for every ball takes minutes a sample, so it has to be named.
    """

    bounds: tuple[Annotated[str, AfterValidator(LOWER_BOUNDS.check)], ...] | None = None
    attacks: tuple[Annotated[str, AfterValidator(check_attack_name)], ...] | None = None
    effort: LowerBoundOptions = field(default_factory=LowerBoundOptions)
    pictures: NaturalWithZero = 6

    def record(self) -> dict[str, Any]:
        """What resume keys hold of these options: what is measured, not what is shown."""
        return {"bounds": self.bounds, "attacks": self.attacks, "effort": asdict(self.effort)}

    @property
    def plugins(self) -> dict[str, dict[str, str]]:
        """Which of the techniques are not Plumbline's own, and where they come from."""
        return {"bounds": LOWER_BOUNDS.origins(self.bounds or ()), "attacks": ATTACKS.origins(self.attacks or ())}

    def attacks_for(self, norm: Norm) -> tuple[str, ...]:
        """The chosen attacks; where none is named, all that are made for the norm, and the portfolio."""
        return attacks_named(list(self.attacks or (ALL,)), norm)
