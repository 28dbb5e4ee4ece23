"""Lower bounds from one tightening of a search's nodes each: a few steps with chords, then that tightening alone.

`crown-envelopes`: an envelope knows the ball of all inputs, a triangle only how far they push one neuron, so this can
be far above the linear program over triangles. `sdp-one-layer`: what all inputs together can do to the neurons of the
first layer [Raghunathan et al. 2018]; later layers keep their chords. `sdp-all-layers`: what any layer can make of the
one before it, all neurons together, by a factorisation of a matrix of all open neurons for each goal; a net with more
than a few thousand has the chords' bound only. The search does the same at its nodes, by turns.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from bounds.lower.base import LowerBound, Sample
from bounds.lower.relaxations import engine_on, per_sample
from bounds.nodes.node_bounds import NodeBounds
from bounds.reduced_net.one_sided_inputs import ONE_SIDED, one_sided_stack
from bounds.tightening.base import Aim, Effort, Tightening
from bounds.tightening.by_all_layers import ByAllLayers
from bounds.tightening.by_envelopes import ByEnvelopes
from bounds.tightening.by_one_layer import ByOneLayer
from encoders.arrays import FloatArray
from encoders.question import Norm

FIRST_STEPS = 4  # with chords
RATE = 0.15


class Tightened(LowerBound):
    """A few steps with chords, then `kind` where it is possible."""

    kind: ClassVar[type[Tightening]]

    @staticmethod
    @abstractmethod
    def _effort(steps: int) -> Effort:
        """So many steps of it."""

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine = engine_on(samples, radii)
        if samples[0].norm in ONE_SIDED:
            engine = NodeBounds(stack=one_sided_stack(engine.stack))
        enough = engine.stack.upper.new_tensor(radii)
        nodes, seen = engine.optimise(engine.roots(), FIRST_STEPS, enough, RATE)
        if self.kind.possible(engine):
            _, seen = self.kind(Aim(engine, enough, self._effort(samples[0].options.steps))).raised(nodes, seen)
        return per_sample(engine, seen.distance)


class CrownEnvelopes(Tightened):
    """Each ReLU's concave envelope over the ball, where α-CROWN has one chord: its tangents in L∞, itself in L1."""

    name = "crown-envelopes"
    norms = frozenset({Norm.LINF, Norm.L1})
    kind = ByEnvelopes

    @staticmethod
    def _effort(steps: int) -> Effort:
        return Effort(envelope_steps=steps, envelope_rate=RATE)


class OneLayerSdp(Tightened):
    """The semidefinite relaxation of the first layer."""

    name = "sdp-one-layer"
    norms = frozenset({Norm.LINF})
    kind = ByOneLayer

    @staticmethod
    def _effort(steps: int) -> Effort:
        return Effort(one_layer_steps=steps)


class AllLayersSdp(Tightened):
    """The semidefinite relaxation of all layers: a descent of twice as many steps."""

    name = "sdp-all-layers"
    norms = frozenset({Norm.LINF})
    kind = ByAllLayers

    @staticmethod
    def _effort(steps: int) -> Effort:
        return Effort(all_layers_steps=2 * steps)
