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
from bounds.tightening.raising import envelope_of, enveloped
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
        envelope = envelope_of(engine, enough)
        if envelope is not None:
            _, seen = enveloped(engine, envelope, nodes, seen, samples[0].options.steps, enough, RATE)
        return per_sample(engine, seen.distance)
