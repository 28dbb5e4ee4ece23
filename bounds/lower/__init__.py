"""The table of lower bounds. Adding one means adding a module and a line here, or a plugin (`plumbline.bounds`)."""

from __future__ import annotations

from bounds.lower.base import LowerBound, LowerBoundOptions, LowerBoundProblem, LowerBounds
from bounds.lower.cross_lipschitz import GlobalCrossLipschitz, LocalCrossLipschitz
from bounds.lower.exact_cross_lipschitz import ExactCrossLipschitz
from bounds.lower.relaxations import AlphaCrown, Crown, Interval, OutputConstrained
from bounds.lower.tightened import AllLayersSdp, CrownEnvelopes, OneLayerSdp
from bounds.lower.triangle_program import TriangleProgram
from encoders.plugins import Table

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
RENAMED = {
    "tangents": "crown-envelopes", "moments": "sdp-one-layer", "products": "sdp-all-layers",
    "cap": "output-constrained",
}  # fmt: skip
LOWER_BOUNDS: Table[type[LowerBound]] = Table(
    "plumbline.bounds", "bound", LowerBound, {technique.name: technique for technique in TECHNIQUES}, renamed=RENAMED
)

__all__ = ["LOWER_BOUNDS", "LowerBound", "LowerBoundOptions", "LowerBoundProblem", "LowerBounds"]
