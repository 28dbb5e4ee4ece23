"""Tangents of each ReLU's concave envelope over the ball, where α-CROWN has one chord.

An envelope knows the box of all inputs, a triangle only how far they push one neuron, so this can be far above the
linear program over triangles. The search does the same at its nodes, with the cap; see `bounds/envelope.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bounds.ascent import enveloped
from bounds.cube_envelope import CubeEnvelope
from bounds.lower.base import Sample
from bounds.lower.relaxations import AlphaCrown, engine_on, per_sample
from encoders.linear_maps import FloatArray
from encoders.question import Norm

FIRST_STEPS = 4  # with chords
RATE = 0.15


class Tangents(AlphaCrown):
    """A few steps with chords, then `steps` with tangents."""

    name = "tangents"
    norms = frozenset({Norm.LINF})

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine = engine_on(samples, radii)
        enough = engine.stack.upper.new_tensor(radii)
        nodes, seen = engine.optimise(engine.roots(), FIRST_STEPS, enough, RATE)
        if engine.stack.open_phases:
            envelope = CubeEnvelope.of(engine.stack, enough)
            _, seen = enveloped(engine, envelope, nodes, seen, samples[0].options.steps, enough, RATE)
        return per_sample(engine, seen.distance)
