"""Where the accumulators of a quantised network can be, and what a win asks of its inputs: linear relaxations.

Between two accumulators the staircase of levels lies below any line whose constant is the largest of level - slope·sum
at its corners, and above the like: exact for every slope, whatever rounding, clipping and saturation did. A backward
pass replaces levels by such lines, layer after layer, until it meets the input levels
(`bounds.discrete.int8_input_gains`). In float64, with what rounding can have done added on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bounds.discrete.int8_input_gains import LevelBall
from bounds.rounding import gamma
from encoders.arrays import FloatArray, IntArray
from encoders.deadline import look
from encoders.quantised.integer_encoding import Ahead, InputLevels, Ranges, Wanted
from encoders.quantised.semantics import TOP, QuantisedLayer, QuantisedNet
from encoders.question import Norm

ROUNDS = 6  # of narrowing the steps
SHRINKS = 0.95  # a round must leave at most this part of all steps for another one


@dataclass(frozen=True, eq=False)
class _Lines:
    """below: slope·sum + constant ≤ level ≤ above: slope·sum + constant, for each neuron of a layer."""

    below: tuple[FloatArray, FloatArray]
    above: tuple[FloatArray, FloatArray]


class Relaxation:
    """One ball of one network: ranges and lines layer by layer."""

    def __init__(self, net: QuantisedNet, table: InputLevels, ball: LevelBall) -> None:
        self.net, self.table, self.ball = net, table, ball
        self.home = table.of(np.zeros(net.inputs, dtype=np.int64)) - net.layers[0].source.zero
        self.lines: list[_Lines] = []
        self.low: list[IntArray] = []
        self.high: list[IntArray] = []
        for k, layer in enumerate(net.layers):
            low, high = self._range(k, layer)
            self.low.append(low)
            self.high.append(high)
            if (low > high).any():
                return
            self.lines.append(_lines(layer, low, high))

    @property
    def empty(self) -> bool:
        return len(self.lines) < len(self.net.layers)

    def win(self, wanted: Wanted | Ahead, rival: int) -> tuple[FloatArray, float]:
        """w and a need: wherever the target wins against the rival, w·(u - u(0)) rises by at least that much."""
        lines, reach, lead = self.lines[-1], self.net.layers[-1].reach, wanted.lead
        a = np.zeros((1, self.net.classes))
        up, down = lines.above[0][wanted.target], lines.below[0][rival]
        a[0, wanted.target], a[0, rival] = up, -down
        constant = float(lines.above[1][wanted.target] - lines.below[1][rival]) - lead
        slack = gamma(8) * (up * reach[wanted.target] + down * reach[rival] + 4.0 * TOP)
        w, most = self._backward(len(self.net.layers) - 1, a, np.array([constant + slack]))
        return w[0], -float(most[0])

    def _range(self, k: int, layer: QuantisedLayer) -> tuple[IntArray, IntArray]:
        """The accumulators of layer k: whole numbers between two bounds."""
        identity = np.eye(layer.outputs)
        w, most = self._backward(k, np.concatenate([identity, -identity]), np.zeros(2 * layer.outputs))
        ends = most + self.ball.most(w)
        ends += gamma(4) * np.abs(ends)
        reach = np.concatenate([layer.reach, layer.reach]).astype(np.float64)
        ends = np.floor(np.minimum(ends, reach))
        return -ends[layer.outputs :].astype(np.int64), ends[: layer.outputs].astype(np.int64)

    def _backward(self, k: int, a: FloatArray, constant: FloatArray) -> tuple[FloatArray, FloatArray]:
        """From a·(sums of layer k) + constant to w and c:  it is at most w·(u - u(0)) + c."""
        for position in range(k, 0, -1):
            look()
            layer, before, lines = self.net.layers[position], self.net.layers[position - 1], self.lines[position - 1]
            a, constant = _through(layer, a, constant)
            rising, falling, zero = np.maximum(a, 0.0), np.minimum(a, 0.0), layer.source.zero
            (low_slope, low_constant), (high_slope, high_constant) = lines.below, lines.above
            sizes = np.maximum(np.abs(high_constant), np.abs(low_constant)) + TOP
            slack = gamma(layer.weight.shape[1]) * (np.abs(a) @ sizes)
            slack += gamma(4) * (np.abs(a) @ (np.maximum(high_slope, low_slope) * before.reach))
            constant = constant + rising @ (high_constant - zero) + falling @ (low_constant - zero) + slack
            a = rising * high_slope + falling * low_slope
        a, constant = _through(self.net.layers[0], a, constant)
        return a, constant + a @ self.home + gamma(self.net.inputs) * (np.abs(a) @ np.abs(self.home))


def _through(layer: QuantisedLayer, a: FloatArray, constant: FloatArray) -> tuple[FloatArray, FloatArray]:
    """From a·sums to a linear function of the levels before, less their zero: what rounding loses is added."""
    slack = gamma(sum(layer.weight.shape)) * (np.abs(a) @ layer.reach)
    return a @ layer.weight, constant + a @ layer.bias + 2.0 * slack


def ranges_of(
    net: QuantisedNet,
    table: InputLevels,
    norm: Norm,
    measure: int,
    down: IntArray,
    up: IntArray,
    wanted: Wanted | Ahead,
    goal_too: bool = True,
) -> Ranges | None:
    """Steps and accumulators of all adversaries of at most `measure`; None where there are none."""
    every = np.arange(net.inputs)
    rises = table.levels - table.levels[every, -table.first][:, None]
    ball = LevelBall(norm, measure, rises, table.first, down, up)
    for _ in range(ROUNDS):
        relaxation = Relaxation(net, table, ball)
        if ball.empty or relaxation.empty:
            return None
        down, up = ball.down, ball.up
        before = int((up - down).sum())
        if not goal_too:
            break
        for rival in wanted.rivals:
            w, need = relaxation.win(wanted, rival)
            least, most = ball.narrowed(w, need)
            down, up = np.maximum(down, least), np.minimum(up, most)
            if (down > up).any():
                return None
        ball = replace(ball, down=down, up=up)
        if int((up - down).sum()) > SHRINKS * before:
            break
    return Ranges(ball.down, ball.up, tuple(relaxation.low), tuple(relaxation.high))


def _lines(layer: QuantisedLayer, low: IntArray, high: IntArray) -> _Lines:
    """The lines with the least area under or above them, of three slopes: flat, the scale's, and end to end."""
    thresholds = layer.thresholds
    first = (thresholds <= low[:, None]).sum(axis=1)
    last = (thresholds <= high[:, None]).sum(axis=1)
    levels = np.arange(1, TOP + 1)
    inside = (levels > first[:, None]) & (levels <= last[:, None])
    chord = (last - first) / np.maximum(1, high - low)
    middle = (low + high) / 2.0
    factor = np.where(last > first, layer.factor.astype(np.float64), 0.0)
    ends: list[tuple[FloatArray, FloatArray]] = []
    for above in (False, True):
        found = []
        for slope in (np.zeros(len(low)), factor, chord):
            size = slope * np.maximum(np.abs(low), np.abs(high)) + TOP
            slack = gamma(4) * size
            if above:  # corners: each level at its threshold
                corners = np.where(inside, levels - slope[:, None] * thresholds, -np.inf).max(axis=1)
                constant = np.maximum(corners, first - slope * low) + slack
                found.append((slope, constant, slope * middle + constant))
            else:  # corners: each level just before the next one's threshold
                corners = np.where(inside, levels - 1 - slope[:, None] * (thresholds - 1), np.inf).min(axis=1)
                constant = np.minimum(corners, last - slope * high) - slack
                found.append((slope, constant, -slope * middle - constant))
        pick = np.argmin([cost for _, _, cost in found], axis=0)
        every = np.arange(len(low))
        ends.append((np.array([s for s, _, _ in found])[pick, every], np.array([c for _, c, _ in found])[pick, every]))
    return _Lines(ends[0], ends[1])
