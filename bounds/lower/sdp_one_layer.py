"""The semidefinite relaxation of the first layer, by moments: what all inputs together can do to all neurons.

Tangents and triangles know of each neuron how far the inputs push it; moments know that they cannot push all at once
[Raghunathan et al. 2018]. See `bounds/semidefinite/one_layer_bound.py`; the search does the same at its nodes where one
layer has all open neurons. Later layers keep the slopes of a few steps with chords.
"""

from __future__ import annotations

from collections.abc import Sequence

from bounds.lower.base import Sample
from bounds.lower.crown_envelopes import FIRST_STEPS, RATE
from bounds.lower.relaxations import AlphaCrown, engine_on, per_sample
from bounds.tightening.base import Aim, Effort
from bounds.tightening.by_one_layer import ByOneLayer
from encoders.arrays import FloatArray
from encoders.question import Norm


class OneLayerSdp(AlphaCrown):
    """A few steps with chords, then a descent of `steps` steps."""

    name = "sdp-one-layer"
    norms = frozenset({Norm.LINF})

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine = engine_on(samples, radii)
        enough = engine.stack.upper.new_tensor(radii)
        nodes, seen = engine.optimise(engine.roots(), FIRST_STEPS, enough, RATE)
        if ByOneLayer.possible(engine):
            aim = Aim(engine, enough, Effort(moments=samples[0].options.steps))
            _, seen = ByOneLayer(aim).raised(nodes, seen)
        return per_sample(engine, seen.distance)
