"""The table of lower bounds. Adding one means adding a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from bounds.lower.base import LowerBound, LowerBoundOptions, LowerBoundProblem, LowerBounds
from bounds.lower.cross_lipschitz import GlobalCrossLipschitz, LocalCrossLipschitz
from bounds.lower.crown_envelopes import CrownEnvelopes
from bounds.lower.exact_cross_lipschitz import ExactCrossLipschitz
from bounds.lower.relaxations import AlphaCrown, Crown, Interval, OutputConstrained
from bounds.lower.sdp_all_layers import AllLayersSdp
from bounds.lower.sdp_one_layer import OneLayerSdp
from bounds.lower.triangle_program import TriangleProgram
from encoders.errors import OptionError

TECHNIQUES: tuple[type[LowerBound], ...] = (
    GlobalCrossLipschitz,
    LocalCrossLipschitz,
    ExactCrossLipschitz,
    Interval,
    Crown,
    AlphaCrown,
    TriangleProgram,
    CrownEnvelopes,
    OneLayerSdp,
    AllLayersSdp,
    OutputConstrained,
)
LOWER_BOUNDS: Mapping[str, type[LowerBound]] = {technique.name: technique for technique in TECHNIQUES}
RENAMED = {
    "tangents": "crown-envelopes", "moments": "sdp-one-layer", "products": "sdp-all-layers",
    "cap": "output-constrained",
}  # fmt: skip


def check_bound_name(name: str) -> None:
    """Refuse a name that the table does not hold; one that it once held with the one that took its place."""
    if name in RENAMED:
        raise OptionError(f"bound {name!r} is called {RENAMED[name]} now")
    if name not in LOWER_BOUNDS:
        raise OptionError(f"bound {name!r}: choose from {', '.join(LOWER_BOUNDS)}")


__all__ = [
    "LOWER_BOUNDS", "LowerBound", "LowerBoundOptions", "LowerBoundProblem", "LowerBounds", "check_bound_name",
]  # fmt: skip
