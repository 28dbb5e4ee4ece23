"""Each ReLU's concave envelope over the ball, where α-CROWN has one chord: its tangents in L∞, itself in L1.

An envelope knows the ball of all inputs, a triangle only how far they push one neuron, so this can be far above the
linear program over triangles. The search does the same at its nodes, with the cap; see `bounds/envelopes/base.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bounds.lower.base import Sample
from bounds.lower.relaxations import AlphaCrown, engine_on, per_sample
from bounds.nodes.node_bounds import NodeBounds
from bounds.reduced_net.one_sided_inputs import ONE_SIDED, one_sided_stack
from bounds.tightening.base import Aim, Effort
from bounds.tightening.by_envelopes import ByEnvelopes
from encoders.arrays import FloatArray
from encoders.question import Norm

FIRST_STEPS = 4  # with chords
RATE = 0.15


class CrownEnvelopes(AlphaCrown):
    """A few steps with chords, then `steps` with envelopes."""

    name = "crown-envelopes"
    norms = frozenset({Norm.LINF, Norm.L1})

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine = engine_on(samples, radii)
        if samples[0].norm in ONE_SIDED:
            engine = NodeBounds(stack=one_sided_stack(engine.stack))
        enough = engine.stack.upper.new_tensor(radii)
        nodes, seen = engine.optimise(engine.roots(), FIRST_STEPS, enough, RATE)
        if ByEnvelopes.possible(engine):
            aim = Aim(engine, enough, Effort(tangents=samples[0].options.steps, tangent_rate=RATE))
            _, seen = ByEnvelopes(aim).raised(nodes, seen)
        return per_sample(engine, seen.distance)
