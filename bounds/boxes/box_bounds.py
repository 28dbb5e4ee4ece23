"""Ranges and linear functions of all neurons on many boxes at once, each box handed down what its parent knew.

Cutting a region leaves boxes by the thousand, each a part of the one that it was cut from. What was known of a neuron
there holds here; so a box bounds only the neurons that are open still, layer by layer, by one backward pass for all
boxes together: products with the layers' own matrices, whatever the box. A pass leaves linear functions of the inputs
below and above each neuron. They hold on every part of the box, so that a cut's ranges are known before it is made.
All functions are of the step from the region's center, by the inputs that move, and pay for their rounding with the
magnitudes of the whole region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bounds.boxes.mixtures import mixture
from bounds.geometry.box import least_over, paid
from bounds.propagation.backward_pass import ReluRule, ReluStep, backward, chords
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import network_bounds
from bounds.rounding import UNIT_ROUNDOFF
from encoders.question import Norm, Region

ROWS_AT_ONCE = {"cpu": 1024, "cuda": 65536}  # of a pass: more leave a core's cache
Lines = dict[int, tuple[Tensor, Tensor, Tensor]]
"""By ReLU node: slope of the lower line, how much steeper the chord is, and the chord's offset; [B, size] each."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """B boxes, as steps from the region's center; what is known of the neurons there, and which goals are left."""

    lower: Tensor  # [B, n]
    upper: Tensor
    least: Tensor  # [B, neurons], of all ReLUs one after the other
    most: Tensor
    left: Tensor  # [B, goals] bool

    def __len__(self) -> int:
        return len(self.lower)

    def take(self, index: Tensor | slice) -> Boxes:
        """The boxes at `index`, a mask or positions."""
        return Boxes(*(part[index] for part in vars(self).values()))

    @property
    def middle(self) -> Tensor:
        """A point of each box: halves that meet there cover it."""
        return self.lower + 0.5 * (self.upper - self.lower)

    @staticmethod
    def joined(parts: Sequence[Boxes]) -> Boxes:
        """All boxes of the parts, in order."""
        return Boxes(*(torch.cat(each) for each in zip(*(vars(part).values() for part in parts), strict=True)))


@dataclass(frozen=True, eq=False)
class Below:
    """normal · step + value, less everything that rounding can lose. normal: [B, K, n]; value: [B, K]."""

    normal: Tensor
    value: Tensor

    def take(self, index: Tensor) -> Below:
        """Those of the boxes at `index`."""
        return Below(self.normal[index], self.value[index])

    @staticmethod
    def joined(parts: Sequence[Below]) -> Below:
        """More functions of the same boxes."""
        return Below(*(torch.cat(each, dim=1) for each in zip(*(vars(part).values() for part in parts), strict=True)))

    def least(self, boxes: Boxes) -> Tensor:
        """Proven least values on the boxes [B, K]."""
        return least_over(self.normal, self.value, boxes.lower.unsqueeze(1), boxes.upper.unsqueeze(1))


@dataclass(frozen=True, eq=False)
class OpenFunctions:
    """Functions below and above (that is, below the negative) of a layer's open neurons; a box has at most K."""

    entries: Tensor  # [B, K] among all neurons
    present: Tensor  # [B, K]
    under: Below
    over: Below

    def take(self, index: Tensor) -> OpenFunctions:
        """Those of the boxes at `index`."""
        return OpenFunctions(self.entries[index], self.present[index], self.under.take(index), self.over.take(index))

    def ranges(self, boxes: Boxes) -> tuple[Tensor, Tensor]:
        """What they say of the neurons on (parts of) the boxes, [B, K]; nothing where none is present."""
        least, most = self.under.least(boxes), -self.over.least(boxes)
        return torch.where(self.present, least, -torch.inf), torch.where(self.present, most, torch.inf)


@dataclass(frozen=True, eq=False)
class Bounded:
    """Boxes with their neurons bounded, and the functions that say so, of neurons and of goals' rows."""

    boxes: Boxes
    neurons: tuple[OpenFunctions, ...]
    rows: Below  # [B, R]
    behind: Tensor  # [B, R, neurons] a row's coefficients behind the neurons

    def take(self, index: Tensor) -> Bounded:
        """The boxes at `index`, a mask or positions."""
        neurons = tuple(layer.take(index) for layer in self.neurons)
        return Bounded(self.boxes.take(index), neurons, self.rows.take(index), self.behind[index])

    def on(self, lower: Tensor, upper: Tensor, left: Tensor) -> Boxes:
        """Parts of the boxes with the goals left there, and what the functions say of the neurons there."""
        part = Boxes(lower, upper, self.boxes.least.clone(), self.boxes.most.clone(), left)
        for layer in self.neurons:
            _narrow(part.least, part.most, layer.entries, *layer.ranges(part))
        return part


def _narrow(least: Tensor, most: Tensor, entries: Tensor, low: Tensor, high: Tensor) -> None:
    """Ranges of some entries, in place; an entry may be named several times."""
    least.scatter_reduce_(1, entries, low, "amax")
    most.scatter_reduce_(1, entries, high, "amin")


class BoxBounds:
    """Bounds boxes of one region, and the rows of cases: `of_goal` [cases, most rows of one] says which are whose.

    Rows are the outputs of the graph. A case is reached at an input where all of its rows are at most zero.
    """

    def __init__(self, device_graph: DeviceGraph, region: Region, cases: Sequence[Sequence[int]]) -> None:
        self.device_graph = device_graph
        self.bounds = network_bounds(device_graph, region, Norm.LINF, np.inf)
        count = device_graph.graph.classes
        self.mixed = any(len(case) > 1 for case in cases)
        # Behind the rows themselves stands a mixture of each case's own; who has few rows has the first several times.
        widest = max(map(len, cases))
        padded = [
            [*case, *[case[0]] * (widest - len(case)), *([count + k] if self.mixed else [])]
            for k, case in enumerate(cases)
        ]
        self.of_goal = torch.as_tensor(padded, dtype=torch.int64, device=device_graph.device)
        relus = device_graph.graph.relus
        ends = np.cumsum([0, *(device_graph.graph.nodes[i].size for i in relus)]).tolist()
        self.places = {i: slice(*ends[k : k + 2]) for k, i in enumerate(relus)}  # of its neurons among all
        self.neurons = int(ends[-1])
        lower, upper = self._steps()
        moving = torch.nonzero(lower < upper)[:, 0]
        self.moving = moving if len(moving) else moving.new_zeros(1)  # where none is, one that stays stands for all
        self.sides = lower[self.moving], upper[self.moving]
        self.rows = count + (len(cases) if self.mixed else 0)
        self.reach = torch.maximum(*(side.abs() for side in self.sides))
        self.sizes = {i: torch.maximum(v.abs(), self.bounds.upper[i].abs())[0] for i, v in self.bounds.lower.items()}

    def _steps(self) -> tuple[Tensor, Tensor]:
        """The region's sides as steps from its center, rounded outward; zero where an input cannot move."""
        ball, outward = self.bounds.ball, torch.full_like(self.bounds.ball.center, torch.inf)
        lower = torch.where(ball.lower < ball.center, torch.nextafter(ball.lower - ball.center, -outward), 0.0)
        upper = torch.where(ball.upper > ball.center, torch.nextafter(ball.upper - ball.center, outward), 0.0)
        return lower[0], upper[0]

    @property
    def whole(self) -> Boxes:
        """The region itself."""
        nothing = self.bounds.ball.center[:, :0]
        least, most = (
            torch.cat([nothing, *(side[i] for i in self.places)], dim=1)
            for side in (self.bounds.lower, self.bounds.upper)
        )
        left = torch.ones(1, len(self.of_goal), dtype=torch.bool, device=least.device)
        return Boxes(self.sides[0][None], self.sides[1][None], least, most, left)

    def inputs(self, steps: Tensor) -> Tensor:
        """The inputs [..., all] that steps [..., n] lead to."""
        center = self.bounds.ball.center[0]
        found = center.expand(*steps.shape[:-1], -1).clone()
        found[..., self.moving] = center[self.moving] + steps
        return found

    def nearest(self, steps: Tensor) -> Tensor:
        """The worst row of the nearest goal at some steps [M, n]: at most 0 where a goal is reached."""
        values = self.device_graph.forward(self.inputs(steps))
        return values[:, self.of_goal[:, : self.of_goal.shape[1] - self.mixed]].amax(2).amin(1)

    def hardest(self, least: Tensor, left: Tensor) -> Tensor:
        """The row [B] that is nearest to excluding the goal that is farthest from it, of least values [B, R]."""
        best = least[:, self.of_goal].max(2)
        goal = best.values.masked_fill(~left, torch.inf).argmin(1, keepdim=True)
        return self.of_goal[goal[:, 0], best.indices.gather(1, goal)[:, 0]]

    @torch.no_grad()
    def bounded(self, boxes: Boxes) -> Bounded:
        """All open neurons and all rows of the boxes, bounded anew."""
        boxes = replace(boxes, least=boxes.least.clone(), most=boxes.most.clone())
        lines: Lines = {}
        neurons = []
        for position, at in self.places.items():
            least, most = boxes.least[:, at], boxes.most[:, at]
            layer = self._open(position, boxes, least, most, lines)
            if layer is not None:
                neurons.append(layer)
            chord, offset, slope = chords(least, most)
            lines[position] = slope, chord - slope, offset
        count = self.device_graph.graph.classes
        units = torch.eye(count, dtype=boxes.least.dtype, device=boxes.least.device).expand(len(boxes), -1, -1)
        rows, behind = self._rows(units, lines)
        if self.mixed:
            own = self.of_goal[:, :-1]
            share = mixture(rows.normal[:, own], rows.value[:, own], boxes.lower, boxes.upper)
            weights = torch.zeros_like(units[:, :1]).repeat(1, len(own), 1).scatter_add_(2, own.expand_as(share), share)
            more, more_behind = self._rows(weights, lines)
            rows, behind = Below.joined([rows, more]), torch.cat([behind, more_behind], dim=1)
        return Bounded(boxes, tuple(neurons), rows, behind)

    def _rows(self, weights: Tensor, lines: Lines) -> tuple[Below, Tensor]:
        """Functions below weighted sums [B, K, rows] of the rows, and their coefficients behind the neurons."""
        behind = weights.new_zeros(*weights.shape[:2], self.neurons)
        last = len(self.device_graph.graph.nodes) - 1
        return self._below(last, weights.flatten(0, 1), len(weights), lines, behind), behind

    def _open(self, position: int, boxes: Boxes, least: Tensor, most: Tensor, lines: Lines) -> OpenFunctions | None:
        """Functions of a layer's open neurons; their ranges are narrowed in place."""
        source = self.device_graph.graph.nodes[position].sources[0]
        is_open = (least < 0) & (most > 0)
        widest = int(is_open.sum(1).max())
        if not widest:
            return None
        entries = is_open.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :widest]
        chunks = torch.split(entries, max(1, ROWS_AT_ONCE[least.device.type] // len(boxes)), dim=1)
        under, over = (
            Below.joined([self._below(source, part.flatten(), len(boxes), lines, sign=sign) for part in chunks])
            for sign in (1.0, -1.0)
        )
        layer = OpenFunctions(entries, is_open.gather(1, entries), under, over)
        _narrow(least, most, entries, *layer.ranges(boxes))
        return replace(layer, entries=entries + self.places[position].start)

    def _below(
        self, start: int, rows: Tensor, count: int, lines: Lines, behind: Tensor | None = None, sign: float = 1.0
    ) -> Below:
        """Functions below sign times rows of a node, as `backward` takes them, as many for each of `count` boxes."""
        center, rule = self.bounds.ball.center, self._rule(count, lines, behind)
        found = backward(self.device_graph, start, rows, center, self.bounds.magnitudes, rule, sign=sign)
        normal = found.input[:, self.moving]
        value = paid(normal, found.value - found.slack, self.reach)
        return Below(normal.view(count, len(rows) // count, len(self.moving)), value.view(count, -1))

    def _rule(self, count: int, lines: Lines, behind: Tensor | None) -> ReluRule:
        """The CROWN rule for lower bounds, each box with lines of its own; what lies behind ReLUs is kept."""

        def rule(position: int, a: Tensor) -> ReluStep:
            slope, more, offset = lines[position]
            wide = a.view(count, -1, a.shape[1])
            if behind is not None:
                behind[:, :, self.places[position]] = wide
            negative = wide.clamp_max(0.0)
            before = torch.addcmul(wide * slope.unsqueeze(1), negative, more.unsqueeze(1))
            constant = torch.bmm(negative, offset.unsqueeze(2)).flatten()
            # Slopes and offsets are off by a few units; a neuron's input and its offset are no larger than `sizes`.
            loss = 16.0 * (a.shape[1] + 8) * UNIT_ROUNDOFF * (a.abs() @ self.sizes[position])
            return ReluStep(before.view(a.shape), constant, loss)

        return rule
