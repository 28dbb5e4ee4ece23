"""Parabolas of the one-layer semidefinite relaxation in the few bits of a proof, and what a node's goal is with them.

The descent of the search (`bounds/semidefinite/`) says where parabolas touch and what inputs pay. Here its numbers are
rounded to the side on which prices pay still, and the function that a checker makes of them is evaluated as it is on
the page of the format, with what the checker's own rounding may cost taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bounds.envelopes.base import Tangents, UpperLines
from bounds.nodes.node_bounds import NodeBounds, Touching
from bounds.nodes.records import Nodes
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.stacked_nets import Stack
from bounds.rounding import gamma
from bounds.semidefinite.one_layer_bound import parabolas_on_ball
from bounds.semidefinite.parabolas import Parabolas, Touch
from bounds.tightening.by_one_layer import ByOneLayer
from verifier.proofs.proof_tree import ParabolaTerms

BITS = 16  # of the numbers written
ROOM = 1.0 + 2.0**-14  # of prices, for a checker's rounding of the matrix and of its factor
CHECKER_BITS = 26  # of the checker's matrix
FEW, MOST = 40, 2048  # open neurons: below, splits cost less; a list holds no more
STEPS = 24  # of the descent


class OneLayerParabolas:
    """Parabolas for nodes of a net whose open neurons lie in one layer."""

    def __init__(self, engine: NodeBounds, radius: float) -> None:
        self.engine, self.radius = engine, radius
        self.parabolas = Parabolas.of(engine.stack, torch.full_like(engine.stack.below[:, 0], radius))

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        """Where one layer has all open neurons, more than splits would see to, and the format's list holds them."""
        stack = engine.stack
        return ByOneLayer.possible(engine) and len(stack.layers) == 1 and FEW <= stack.open_phases <= MOST

    def drawn(self, nodes: Nodes) -> tuple[Nodes, list[ParabolaTerms | None]]:
        """The nodes with slopes and multipliers that go with each one's parabolas; None where there are none."""
        nodes, touch = parabolas_on_ball(self.engine, self.parabolas, nodes, self.radius, STEPS)
        return nodes, [_terms(touch.take(torch.tensor([k]))) for k in range(len(nodes))]

    def touching(self, node: Nodes, terms: ParabolaTerms) -> Touching:
        """The terms as an evaluation of the one node takes them."""
        stack = self.engine.stack
        listed = torch.zeros_like(node.phase, dtype=torch.bool)
        listed[0, terms.neurons] = True
        nothing = torch.zeros_like(node.slope)
        lines = ParabolaLines(torch.arange(listed.shape[1]), stack, self.radius, node, terms)
        return Touching(lines, Tangents(nothing), listed, nothing, nothing)


def _terms(touch: Touch) -> ParabolaTerms | None:
    """The parabolas and prices of one node, rounded to few bits so that prices pay still."""
    curvature = torch.where(touch.most > 0, touch.most * touch.share / (4.0 * touch.spread), 0.0)[0]
    neurons = torch.nonzero(curvature > 0).flatten()
    price = torch.where(touch.down + touch.up > 0, touch.price, 0.0)[0]
    if not len(neurons) or not bool(torch.isfinite(price).all()):
        return None
    exact = curvature[neurons].sqrt()
    weight, spread = _down(exact), _down(exact * touch.spread[0, neurons])
    kept = (weight > 0) & (spread > 0)
    if not bool(kept.any()):
        return None
    point = _down(torch.minimum(torch.maximum(touch.point, -touch.down), touch.up)[0])
    return ParabolaTerms(neurons[kept], weight[kept], spread[kept], -_down(-(price * ROOM).sqrt()), point)


def _down(numbers: Tensor) -> Tensor:
    """Numbers rounded down to whole multiples of 2^-16 of the largest."""
    unit = torch.exp2(numbers.abs().amax().clamp(1e-60, 1e60).log2().ceil()) * 2.0**-BITS
    return torch.floor(numbers / unit) * unit


@dataclass(frozen=True, eq=False)
class ParabolaLines(UpperLines):
    """What a checker makes of one node's terms, for `NodeBounds.evaluate`: F, and lines for what it leaves before z."""

    stack: Stack
    radius: float
    node: Nodes
    terms: ParabolaTerms

    def lines(self, group: Grouping, tangents: Any, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        del group, tangents
        stack, node, terms = self.stack, self.node, self.terms
        rows, constant = stack.x[0], stack.constant[0]
        down, up = stack.below[0].clamp_max(self.radius), stack.above[0].clamp_max(self.radius)
        point, (chord, offset) = torch.clamp(terms.point, -down, up), (line[0] for line in node.lines)
        own, of_own = rows[terms.neurons], constant[terms.neurons]
        # What is left before z once F is added, which is replaced as ever.
        left = weight[0].index_add(0, terms.neurons, 4.0 * terms.weight * terms.spread)
        before = torch.where(left > 0, left * node.slope[0], left * chord)
        # F drawn at the point; τ with what a checker's matrix of whole numbers may be off by.
        astray = (terms.price * torch.maximum(down, up)).sum() * 2.0**-CHECKER_BITS
        tau = terms.weight * (own @ point + of_own) + terms.spread + astray
        paid = terms.price.square()
        steep = paid * (2.0 * point + down - up) - 2.0 * ((tau * terms.weight) @ own)
        parts = (paid * (point + down) * (point - up)).sum() - tau.square().sum() - steep @ point
        value = before @ constant + (left.clamp_max(0.0) * offset).sum() + parts
        size = before.abs() @ (rows.abs() @ torch.maximum(down, up) + constant.abs()) + tau.square().sum()
        size = size + (paid * torch.maximum(down, up).square()).sum() + steep.abs() @ torch.maximum(down, up)
        error = left.abs() @ stack.error[0] + 16.0 * gamma(sum(rows.shape)) * size
        return (before @ rows + steep)[None], value[None], error[None]
