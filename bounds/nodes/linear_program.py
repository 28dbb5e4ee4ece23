"""The linear program of a node, and the multipliers in its answer that prove a bound.

Over d = x - center, and z for every open neuron (a fixed one is h or 0), the relaxation of a node is
    minimise ‖d‖  subject to  sign_j · h_j ≥ 0 where fixed,  z ≥ h,  z ≤ chord·h + offset,  0 ≤ z ≤ upper,
    goal rows g ≤ -push,  d in the box.
With every phase fixed it is no relaxation: the net is linear there. HiGHS solves it; nothing it says is believed. Its
duals become multipliers and slopes (a neuron behind which the coefficient is a > 0 gets the slope dual / a), whose
distance bound is recomputed by the same rounding-sound pass as everywhere else; its point is only a candidate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from bounds.geometry.linear_piece import lowest_in_piece, nearest_in_piece
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from encoders.arrays import FloatArray
from encoders.question import Norm
from encoders.solvers.base import Status
from encoders.solvers.highs_linear import LinearAnswer

LEAST_SHARE = 1e-9  # of the goal among the multipliers, below which it plays no part
FARKAS_SCALES = (1.0, 1e2, 1e4, 1e6)


@dataclass(frozen=True, eq=False)
class Proven:
    """A node with the slopes and multipliers of its program, and what they prove of it."""

    node: Nodes
    seen: Pass
    shift: FloatArray | None = None  # d of the program's point
    cost: FloatArray | None = None  # [P] how far each open neuron is from its ReLU there, times what lies behind it

    @property
    def distance(self) -> float:
        return float(self.seen.distance[0])


class NodeProgram:
    """One node of a reduced net as a linear program."""

    def __init__(self, engine: NodeBounds, node: Nodes) -> None:
        net = engine.net
        self.engine, self.node = engine, node
        phase = node.phase[0]
        count, size = net.open_phases, net.x.shape[1]
        self.open = torch.nonzero(phase == 0).flatten()
        self.fixed = torch.nonzero(phase != 0).flatten()
        rows = torch.cat([net.x, net.x.new_zeros(len(net.x), len(self.open))], dim=1)
        values = net.constant.clone()
        column = torch.full((count,), -1, dtype=torch.int64, device=phase.device)
        column[self.open] = size + torch.arange(len(self.open), device=phase.device)
        for layer in net.layers:  # z = h where active, 0 where not, a column of its own where open
            active = net.z[:, layer] * (phase[layer] > 0)
            own = layer.start + torch.nonzero(phase[layer] == 0).flatten()
            rows += active @ rows[layer]
            values += active @ values[layer]
            rows[:, column[own]] += net.z[:, own]
        goal = torch.unique(engine.rows[int(node.goal[0])])
        sign = phase[self.fixed].to(rows.dtype)
        chord, offset = (line[0, self.open] for line in node.lines)
        relu = rows.new_zeros(len(self.open), rows.shape[1])
        relu[torch.arange(len(self.open), device=rows.device), column[self.open]] = 1.0
        h, h_value = rows[self.open], values[self.open]
        # Rows ≥ least, the goal last: signs of what is fixed, the two sides of what is open.
        self.rows = _array(torch.cat([sign[:, None] * rows[self.fixed], relu - h, chord[:, None] * h - relu]))
        self.least = _array(torch.cat([-sign * values[self.fixed], h_value, -offset - chord * h_value]))
        self.goal = _array(goal)
        self.goal_rows, self.goal_values = _array(rows[goal]), _array(values[goal])
        self.before, self.before_value = _array(h), _array(h_value)
        self.below, self.above = _array(net.below), _array(net.above)
        self.most = _array(node.upper[0, self.open].clamp_min(0.0))

    @staticmethod
    def entries(engine: NodeBounds, node: Nodes) -> int:
        """How large the program would be: rows times columns."""
        count = int((node.phase == 0).sum())
        return (engine.net.open_phases + count) * (engine.net.x.shape[1] + count)

    def solve(self, radius: float, push: float | FloatArray, time_limit: float | None) -> LinearAnswer:
        """The nearest point within the radius, its goal beyond a tie by `push` (of all rows, or of each).

        The goal's rows come last.
        """
        rows = np.concatenate([self.rows, -self.goal_rows])
        least = np.concatenate([self.least, self.goal_values + push])
        norm = self.engine.net.norm
        return nearest_in_piece(rows, least, self.below, self.above, norm, radius, time_limit, extra=self.most)[0]

    def raised(self, radius: float, time_limit: float | None) -> Proven:
        """What the program proves of the node, as far as it matters whether an adversary within `radius` is in it.

        In L∞ by the lowest goal in the node's part of the ball, a far smaller program than the nearest point's: its
        point may be an adversary, if not the nearest.
        """
        if self.engine.net.norm is not Norm.LINF:
            return self.proven(self.solve(radius, 0.0, time_limit))
        answer = lowest_in_piece(
            self.rows, self.least, self.goal_rows, self.goal_values, self.below, self.above, radius, time_limit,
            self.most,
        )  # fmt: skip
        return self.proven(answer)

    def shift(self, answer: LinearAnswer) -> FloatArray | None:
        """d of the program's point."""
        if answer.point is None:
            return None
        return answer.point[: len(self.below)]

    def proven(self, answer: LinearAnswer) -> Proven:
        """The best that the program's multipliers prove, recomputed soundly; the node as it was if that is better."""
        best = Proven(self.node, self.engine.evaluate(self.node))
        weights = answer.row_duals if answer.status is Status.OPTIMAL else answer.ray
        if weights is None:
            return best
        weights = np.maximum(weights[: len(self.least) + len(self.goal)], 0.0)
        rest, goals = weights[: len(self.least)], weights[len(self.least) :]
        largest, total = max(float(rest.max(initial=0.0)), 1e-300), float(goals.sum())
        if total > LEAST_SHARE * largest:
            tries = [(rest / total, goals / total)]
        else:
            # The rest alone proves it (no point, or none so near, whatever the goal says). A pass gives the goal the
            # weight 1, so the rest is scaled up until that no longer matters.
            tries = [(rest / largest * scale, np.full(len(goals), 1.0 / len(goals))) for scale in FARKAS_SCALES]
        for multipliers, share in tries:
            node, seen = self._with(multipliers, share)
            if float(seen.distance[0]) > best.distance:
                best = Proven(node, seen)
        shift = self.shift(answer)
        if answer.point is None or shift is None:
            return best
        z = answer.point[len(answer.point) - len(self.open) :]
        return replace(best, shift=shift, cost=self._cost(np.concatenate([shift, z]), best.seen))

    def _cost(self, point: FloatArray, seen: Pass) -> FloatArray:
        """How far each neuron's z is from its ReLU at (d, z), weighed by what lies behind it."""
        z = point[len(self.below) :]
        h = self.before @ point + self.before_value
        cost = np.zeros(len(self.open) + len(self.fixed))
        opened = _array(self.open)
        cost[opened] = np.abs(z - np.maximum(h, 0.0)) * np.abs(_array(seen.behind[0])[opened])
        return cost

    def _with(self, multipliers: FloatArray, share: FloatArray) -> tuple[Nodes, Pass]:
        """The node with these multipliers of its rows and shares of its goal rows, and its evaluation."""
        node, net = self.node, self.engine.net
        weight = torch.zeros_like(node.row_weight)
        rows = self.engine.rows[int(node.goal[0])].tolist()
        for row, value in zip(self.goal, share, strict=True):
            weight[0, rows.index(int(row))] = float(value)
        given = torch.as_tensor(multipliers, dtype=node.slope.dtype, device=node.slope.device)
        signed, price = node.slope.new_zeros(net.open_phases), node.slope.new_zeros(net.open_phases)
        signed[self.fixed] = given[: len(self.fixed)]
        price[self.open] = given[len(self.fixed) :][: len(self.open)]
        slope, chord = node.slope[0].clone(), node.lines[0][0]
        is_open, sign = node.phase[0] == 0, node.phase[0].to(slope.dtype)
        behind = weight[0] @ net.z[self.engine.rows[int(node.goal[0])]]
        for layer in reversed(net.layers):
            a = behind[layer]
            dual = (price[layer] / a.clamp_min(1e-300)).clamp(0.0, 1.0)
            slope[layer] = torch.where(is_open[layer] & (a > 0), dual, slope[layer])
            lower = torch.where(is_open[layer], slope[layer], chord[layer])
            before = a.clamp_min(0.0) * lower + a.clamp_max(0.0) * chord[layer] - sign[layer] * signed[layer]
            if layer.start:
                behind[: layer.start] += before @ net.z[layer, : layer.start]
        found = replace(node, slope=slope[None], multiplier=signed[None], row_weight=weight)
        seen = self.engine.evaluate(found)
        handed_on = torch.where(is_open, seen.behind[0].clamp_min(0.0), signed)
        return replace(found, multiplier=handed_on[None]), seen


def _array(tensor: torch.Tensor) -> FloatArray:
    return np.asarray(tensor.cpu().numpy())
