"""What a robustness curve is drawn of, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

from pydantic import AfterValidator

from encoders.errors import OptionError
from encoders.question import Norm
from encoders.validation import ConvexNorm, Level, Natural, NonNegative, Whole, validated
from verifier.studies.comparison.bands import Resampling
from verifier.studies.comparison.drawn_attacks import check_attack_name
from verifier.studies.comparison.options import distinct_norms


@validated
class CurveOptions:
    """`radii` are where robust accuracy is told, beside 0; in a norm that has none they are taken from the distances.

    `attack` is drawn beside each curve. `resamples` of the samples give the bands, `level` is their confidence.
    """

    norms: Annotated[tuple[ConvexNorm, ...], AfterValidator(distinct_norms)] = (Norm.LINF,)
    radii: Mapping[ConvexNorm, tuple[NonNegative, ...]] = field(default_factory=dict)
    attack: Annotated[str, AfterValidator(check_attack_name)] | None = None
    resamples: Natural = 2000
    level: Level = 0.95
    seed: Whole = 0

    def __post_init__(self) -> None:
        for norm in self.radii:
            if norm not in self.norms:
                raise OptionError(f"radius {norm}:{self.radii[norm][0]:g}: no curve is drawn in {norm}; add it to norm")

    @property
    def resampling(self) -> Resampling:
        """How bands are drawn."""
        return Resampling(self.resamples, self.level, self.seed)
