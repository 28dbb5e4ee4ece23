"""The table of lower bounds. Adding one means adding a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from bounds.lower.base import LowerBound, LowerBoundOptions, LowerBoundProblem, LowerBounds
from bounds.lower.cross_lipschitz import GlobalCrossLipschitz, LocalCrossLipschitz
from bounds.lower.exact_cross_lipschitz import ExactCrossLipschitz
from bounds.lower.moments import Moments
from bounds.lower.products import Products
from bounds.lower.relaxations import AlphaCrown, Cap, Crown, Interval
from bounds.lower.tangents import Tangents
from bounds.lower.triangle_program import TriangleProgram

TECHNIQUES: tuple[type[LowerBound], ...] = (
    GlobalCrossLipschitz,
    LocalCrossLipschitz,
    ExactCrossLipschitz,
    Interval,
    Crown,
    AlphaCrown,
    TriangleProgram,
    Tangents,
    Moments,
    Products,
    Cap,
)
LOWER_BOUNDS: Mapping[str, type[LowerBound]] = {technique.name: technique for technique in TECHNIQUES}

__all__ = ["LOWER_BOUNDS", "LowerBound", "LowerBoundOptions", "LowerBoundProblem", "LowerBounds"]
