"""The linear program of a node whose phases are all fixed: its optimum, and multipliers that prove it.

With every phase fixed the reduced net is linear in d = x - center, and the node is
    minimise ‖d‖  subject to  sign_j · h_j(d) ≥ 0,  goal rows g(d) ≤ -push,  d in the box.
HiGHS solves it; nothing it says is believed. Its row duals become the multipliers of the node, whose distance bound is
then recomputed by the same rounding-sound pass as everywhere else; its point is only a candidate.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from bounds.leaf_program import lowest_in_piece, nearest_in_piece
from bounds.phases import Nodes, PhaseBounds
from encoders.linear_maps import FloatArray
from encoders.question import Norm
from encoders.solvers.base import Status
from encoders.solvers.linear import LinearAnswer

FARKAS_SCALES = (1.0, 1e2, 1e4, 1e6)


class Leaf:
    """One fully fixed node of a reduced net, as a linear program over d."""

    def __init__(self, engine: PhaseBounds, node: Nodes) -> None:
        net = engine.net
        self.engine, self.node = engine, node
        phase = node.phase[0].to(net.x.dtype)
        count = net.open_phases
        rows, values = net.x.clone(), net.constant.clone()
        for layer in net.layers:  # z = h where active, 0 where not: substitute layer by layer
            behind = net.z[:, layer] * (phase[layer] > 0)
            rows += behind @ rows[layer]
            values += behind @ values[layer]
        goal = torch.unique(engine.rows[int(node.goal[0])])
        self.sign = phase.cpu().numpy()
        self.count = count
        self.goal = goal.cpu().numpy()
        self.signed_rows = torch.cat([phase[:, None] * rows[:count], -rows[goal]]).cpu().numpy()
        self.signed_values = torch.cat([phase * values[:count], -values[goal]]).cpu().numpy()
        self.below, self.above = net.below.cpu().numpy(), net.above.cpu().numpy()

    def solve(self, radius: float, push: float, time_limit: float | None) -> LinearAnswer:
        """Rows of the program: the signs, then the goal; d (and what the norm needs) within the ball's radius."""
        least = -self.signed_values
        least[self.count :] += push
        norm = self.engine.net.norm
        return nearest_in_piece(self.signed_rows, least, self.below, self.above, norm, radius, time_limit)[0]

    def closing(self, radius: float, time_limit: float | None) -> tuple[float, FloatArray | None]:
        """A proven bound from the lowest goal in the piece's part of the L∞ ball, and the point where that is.

        Enough to close a piece that holds no adversary within `radius`; the point is one otherwise, if not the nearest.
        """
        count = self.count
        found = lowest_in_piece(
            self.signed_rows[:count], -self.signed_values[:count], -self.signed_rows[count:],
            -self.signed_values[count:], self.below, self.above, radius, time_limit,
        )  # fmt: skip
        if found is None:
            return 0.0, None
        point, multipliers, share = found
        share = share / max(float(share.sum()), 1e-300)
        return float(self.engine.evaluate(self._with(multipliers, share)).distance[0]), point

    def shift(self, answer: LinearAnswer) -> FloatArray | None:
        """d of the program's point."""
        if answer.point is None:
            return None
        size = len(self.below)
        if self.engine.net.norm is not Norm.L1:
            return answer.point[:size]
        return answer.point[:size] - answer.point[size : 2 * size]

    def proven(self, answer: LinearAnswer) -> float:
        """The distance bound that the program's multipliers prove, recomputed soundly; the node's own if better."""
        own = float(self.engine.evaluate(self.node).distance[0])
        weights = answer.row_duals if answer.status is Status.OPTIMAL else answer.ray
        if weights is None:
            return own
        weights = np.maximum(weights[: self.count + len(self.goal)], 0.0)
        signs, goals = weights[: self.count], weights[self.count :]
        tries = []
        if goals.sum() > 0:
            tries.append((signs / goals.sum(), goals / goals.sum()))
        # Where the signs alone prove it (no point, or none so near, whatever the goal says), the goal's weight is 0;
        # a pass gives it the weight 1, so the signs are scaled up until it no longer matters.
        even = np.full(len(goals), 1.0 / len(goals))
        largest = max(float(signs.max(initial=0.0)), 1e-300)
        tries += [(signs / largest * scale, even) for scale in FARKAS_SCALES]
        best = own
        for multipliers, share in tries:
            best = max(best, float(self.engine.evaluate(self._with(multipliers, share)).distance[0]))
        return best

    def _with(self, multipliers: FloatArray, share: FloatArray) -> Nodes:
        like = self.node.slope
        weight = torch.zeros_like(self.node.row_weight)
        rows = self.engine.rows[int(self.node.goal[0])].tolist()
        for row, value in zip(self.goal, share, strict=True):
            weight[0, rows.index(int(row))] = float(value)
        multiplier = torch.as_tensor(multipliers, dtype=like.dtype, device=like.device)[None]
        return replace(self.node, multiplier=multiplier, row_weight=weight)
