"""Bounds on the grid's own measure, for nodes that fix phases and ranges of steps: integrality counts from the start.

A node's evaluation leaves one linear function φ(d) = a·d + k that is at most zero at every adversary. With prices λ ≥ 0
the measure of any of them is at least

    λ·k + Σ_i min over whole t_i in [low_i, high_i] of  w_i·|t_i|^p + λ·a_i·s_i·t_i,

s_i being how far a step goes and w_i·|t|^p what t steps cost (p = 1 in L1, 2 in L2). Each minimum is a rounding, so the
bound is one closed form per price, higher than any that knows of real numbers only. The same sum says which steps an
adversary of at most `measure` can take: t_i is ruled out where putting it in makes the bound too high.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import best_price
from bounds.nodes.records import Nodes
from bounds.reduced_net.reduced_net import Reduced
from bounds.rounding import gamma
from encoders.question import Norm


@dataclass(frozen=True, eq=False)
class Ranged(Nodes):
    """Nodes whose inputs take between `low` and `high` [N, n] whole steps."""

    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class Priced:
    """The dual bound of N functions at their prices, and all that it is made of."""

    measure: Tensor  # [N] proven
    price: Tensor  # [N]
    pull: Tensor  # [N, n] λ·a·s
    least: Tensor  # [N, n] the minimum of each input's own term
    steps: Tensor  # [N, n] and where it is taken
    smooth: Tensor  # [N, n] the same without rounding


class StepBounds(NodeBounds):
    """Evaluates nodes of one reduced net in the grid's measure: a pass's `distance` is a bound on that."""

    def __init__(self, reduced: Reduced, norm: Norm, size: Tensor, worth: Tensor, drift: Tensor) -> None:
        super().__init__(reduced)
        self.norm, self.size, self.worth, self.drift = norm, size, worth, drift
        self.safety = 16.0 * gamma(2 * len(size))

    def ranged(self, low: Tensor, high: Tensor) -> Ranged:
        """One node per goal, with the same ranges [n] each."""
        nodes = self.roots()
        return Ranged(**vars(nodes), low=low.expand(len(nodes), -1), high=high.expand(len(nodes), -1))

    def nearest(self, nodes: Nodes, a: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        assert isinstance(nodes, Ranged)
        priced = self.priced(nodes, a, value)
        return priced.measure, priced.smooth * self.size, priced.price

    def priced(self, nodes: Ranged, a: Tensor, value: Tensor) -> Priced:
        """The best dual bound of functions a·d + value [N] over the ranges of their nodes."""
        each = a * self.size
        value = value - a.abs() @ self.drift
        low, high = nodes.low, nodes.high

        def at(price: Tensor) -> tuple[Tensor, Tensor]:
            pull = price.unsqueeze(-1) * each
            steps = self._steps(pull, low, high)
            rise = value + (each * steps).sum(-1)
            return (self._cost(steps) + pull * steps).sum(-1) + price * value, rise

        guess = 2.0 * value.clamp_min(1e-12) / (each * each / self.worth).sum(-1).clamp_min(1e-300)
        price = best_price(at, guess.clamp_max(1e12))
        pull = price.unsqueeze(-1) * each
        steps = self._steps(pull, low, high)
        least = self._cost(steps) + pull * steps
        far = torch.maximum(low.abs(), high.abs()).clamp_min(1.0)
        loss = self.safety * ((self._cost(steps) + pull.abs() * far).sum(-1) + price * value.abs())
        measure = least.sum(-1) + price * value - loss
        # Where even the far ends of all ranges leave φ above zero, there is no adversary at all.
        drop = torch.maximum(-each * low, -each * high).sum(-1)
        size = (each.abs() * far).sum(-1) + value.abs()
        measure = torch.where(drop + self.safety * size < value, torch.inf, measure)
        measure = measure.nan_to_num(nan=0.0, posinf=torch.inf, neginf=0.0).clamp_min(0.0)
        broken = ~(torch.isfinite(value) & torch.isfinite(size))
        return Priced(torch.where(broken, 0.0, measure), price, pull, least, steps, self._smooth(pull, low, high))

    def narrowed(self, nodes: Ranged, a: Tensor, value: Tensor, most: float) -> Ranged:
        """The nodes with the steps alone that adversaries of a measure of at most `most` can take."""
        priced = self.priced(nodes, a, value)
        said = torch.isfinite(a).all(-1) & torch.isfinite(value)  # an overflow rules nothing out
        room = (most - priced.measure).clamp_min(0.0).unsqueeze(-1) + priced.least
        room = room + 1e-9 * (1.0 + most + priced.least.abs() + priced.pull.abs())
        worth = self.worth
        if self.norm is Norm.L1:  # w·|t| + pull·t ≤ room, one side at a time
            up = torch.where(worth + priced.pull > 0, room / (worth + priced.pull).clamp_min(1e-300), torch.inf)
            down = torch.where(worth - priced.pull > 0, room / (worth - priced.pull).clamp_min(1e-300), torch.inf)
            low, high = -down, up
        else:  # w·t² + pull·t ≤ room
            middle = -priced.pull / (2.0 * worth)
            reach = (middle * middle + room / worth).clamp_min(0.0).sqrt()
            low, high = middle - reach, middle + reach
        safe = 1e-9 * (1.0 + low.abs().clamp_max(1e15) + high.abs().clamp_max(1e15))
        low, high = (low - safe).ceil().nan_to_num(nan=-torch.inf), (high + safe).floor().nan_to_num(nan=torch.inf)
        low, high = torch.maximum(nodes.low, low), torch.minimum(nodes.high, high)
        told = said.unsqueeze(-1)
        return replace(nodes, low=torch.where(told, low, nodes.low), high=torch.where(told, high, nodes.high))

    def _cost(self, steps: Tensor) -> Tensor:
        return self.worth * (steps.abs() if self.norm is Norm.L1 else steps * steps)

    def _steps(self, pull: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The whole steps in the ranges where cost + pull · steps is least."""
        if self.norm is Norm.L1:
            return self._smooth(pull, low, high)
        return torch.minimum(torch.maximum((-pull / (2.0 * self.worth)).round(), low), high)

    def _smooth(self, pull: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The same without rounding."""
        if self.norm is Norm.L1:
            wanted = torch.where(pull > self.worth, low, torch.where(pull < -self.worth, high, 0.0))
        else:
            wanted = -pull / (2.0 * self.worth)
        return torch.minimum(torch.maximum(wanted, low), high)
