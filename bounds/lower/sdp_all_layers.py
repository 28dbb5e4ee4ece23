"""The semidefinite relaxation of all layers, by products of neurons and inputs.

Where moments know the first layer, products know what any layer can make of the one before it, all neurons together.
See `bounds/semidefinite/all_layers_bound.py`; the search does the same on large balls of nets with several layers. One
factorisation of a matrix of all open neurons for each goal: a net with more than a few thousand has the chords' bound
only.
"""

from __future__ import annotations

from collections.abc import Sequence

from bounds.lower.base import Sample
from bounds.lower.crown_envelopes import FIRST_STEPS, RATE
from bounds.lower.relaxations import AlphaCrown, engine_on, per_sample
from bounds.tightening.base import Aim, Effort
from bounds.tightening.by_all_layers import ByAllLayers
from encoders.arrays import FloatArray
from encoders.question import Norm


class AllLayersSdp(AlphaCrown):
    """A few steps with chords, then a descent of twice `steps` steps."""

    name = "sdp-all-layers"
    norms = frozenset({Norm.LINF})

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine = engine_on(samples, radii)
        enough = engine.stack.upper.new_tensor(radii)
        nodes, seen = engine.optimise(engine.roots(), FIRST_STEPS, enough, RATE)
        if ByAllLayers.possible(engine):
            aim = Aim(engine, enough, Effort(products=2 * samples[0].options.steps))
            _, seen = ByAllLayers(aim).raised(nodes, seen)
        return per_sample(engine, seen.distance)
