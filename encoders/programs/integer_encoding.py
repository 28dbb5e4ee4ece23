"""What a ball leaves open of a network, as an integer program that every true adversary on the grid satisfies.

The network comes as rows  (h, g) = x·d + z·relu(h) + constant, each off by at most `error`, and d = t·stride/n off by
at most `drift`. A row is multiplied by a power of two R and its coefficients are rounded to integers:

    H = Σ A·t + Σ B·Z + C        |H - R·h| ≤ slack

The slack adds up, with the signs that hurt most: what each coefficient lost times the most its column can be, what the
columns Z are off themselves, the drift of the inputs, and the row's own error. Z stands for relu(h) in units of K/R,

    Z = round(max(H, 0) / K)     |Z - R/K · relu(h)| ≤ 1/2 + slack/K     (no half where K = 1)

so that steps t alone determine every column: nothing in between is free. An adversary has g ≤ 0, hence G ≤ slack. The
program is a relaxation whatever the scales are; a finer one only loses less.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, frexp

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, IntArray
from encoders.deadline import look
from encoders.programs.grid_distance_rows import limit_measure
from encoders.programs.integer_program import IntegerBuilder, IntegerProgram
from encoders.question import Norm

ROUNDING = 1e-12  # relative; more than float64 loses in any sum here
FARTHEST_EXPONENT = 900


@dataclass(frozen=True)
class Precision:
    """Bits of a row's largest sum, and of the values that rows are made of."""

    row: int
    value: int


COARSE, FINE = Precision(22, 11), Precision(27, 14)


@dataclass(frozen=True, eq=False)
class OpenNet:
    """The rows: P open neurons layer by layer, then the goal's. Bounds and phases hold at adversaries (0: open)."""

    x: FloatArray  # [P + J, inputs]
    z: FloatArray  # [P + J, P]
    constant: FloatArray
    error: FloatArray
    lower: FloatArray  # [P]
    upper: FloatArray
    phase: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Steps:
    """What the inputs may do: down ≤ t ≤ up whole steps of stride/n, together of at most `measure` in the norm."""

    norm: Norm
    n: int
    stride: IntArray
    down: IntArray
    up: IntArray
    drift: FloatArray
    measure: int
    pixels: IntArray | None = None  # where L0 counts pixels: which one each input belongs to

    @property
    def size(self) -> FloatArray:
        """How far one step of each input goes."""
        return self.stride / self.n

    @property
    def farthest(self) -> FloatArray:
        return np.maximum(np.abs(self.down), np.abs(self.up)).astype(np.float64)


def encode(net: OpenNet, steps: Steps, precision: Precision, big_m: bool = True) -> IntegerProgram | None:
    """The program; None where some bounds leave no adversary at all."""
    empty = (steps.down > steps.up).any() or (net.lower > net.upper).any()
    return None if empty else _Encoding(net, steps, precision, big_m).program()


@dataclass(frozen=True)
class _Scaled:
    """H of one row: its terms, its constant, and by how much H may miss R·h."""

    terms: list[tuple[int, int]]
    constant: int
    slack: float
    factor: float


@dataclass(frozen=True)
class _Neuron:
    """The column that stands for a neuron's relu(h) times `factor`, off by at most `off`."""

    column: int
    factor: float
    most: int
    off: float


class _Encoding:
    """One program being written."""

    def __init__(self, net: OpenNet, steps: Steps, precision: Precision, big_m: bool) -> None:
        self.net, self.steps, self.precision, self.big_m = net, steps, precision, big_m
        self.add = IntegerBuilder()
        self.inputs = [self.add.column(int(a), int(b)) for a, b in zip(steps.down, steps.up, strict=True)]
        self.neurons: dict[int, _Neuron] = {}

    def program(self) -> IntegerProgram | None:
        steps = self.steps
        limit_measure(
            self.add, steps.norm, self.inputs, steps.down, steps.up, steps.measure, steps.stride, steps.pixels
        )
        count = len(self.net.lower)
        for j in range(count):
            look()
            if self.net.upper[j] > 0 and not self._add_neuron(j):
                return None
            if self.net.phase[j] < 0:  # its relu is 0 and has no column, but its sign says something of the inputs
                row = self._scaled(j)
                most = floor(row.factor * float(self.net.upper[j]) + row.slack) + 1
                if most - row.constant < self._reach(row):
                    self.add.row(row.terms, None, most - row.constant)
        for j in range(count, len(self.net.constant)):
            goal = self._scaled(j)
            self.add.row(goal.terms, None, floor(goal.slack) - goal.constant)
        return self.add.finish(len(self.inputs))

    def _scaled(self, j: int) -> _Scaled:
        """Row j in integers, with its slack."""
        net, steps = self.net, self.steps
        far, x, drift = steps.farthest, net.x[j], steps.drift
        behind = [(i, self.neurons[i]) for i in np.flatnonzero(net.z[j]).tolist() if i in self.neurons]
        size = float(np.abs(x) @ (far * steps.size)) + abs(float(net.constant[j]))
        size += sum(abs(float(net.z[j, i])) * neuron.most / neuron.factor for i, neuron in behind)
        factor = 2.0 ** max(-FARTHEST_EXPONENT, min(FARTHEST_EXPONENT, self.precision.row - frexp(size)[1]))
        wanted = factor * x * steps.stride / steps.n
        whole = np.rint(wanted)
        lost = np.abs(wanted - whole)
        slack = self._most(lost) + factor * float(np.abs(x) @ drift)
        total = float(np.abs(wanted) @ far)
        terms = [(column, int(a)) for column, a in zip(self.inputs, whole, strict=True)]
        for i, neuron in behind:
            exact = factor / neuron.factor * float(net.z[j, i])
            rounded = round(exact)
            slack += abs(exact - rounded) * neuron.most + abs(exact) * neuron.off
            total += abs(exact) * (neuron.most + neuron.off)
            terms.append((neuron.column, rounded))
        right = factor * float(net.constant[j])
        constant = round(right)
        slack += abs(right - constant) + factor * float(net.error[j])
        slack = slack * (1.0 + ROUNDING) + ROUNDING * (total + abs(right))
        return _Scaled(terms, constant, slack, factor)

    def _most(self, lost: FloatArray) -> float:
        """The most that lost · |t| can be."""
        each = float(lost @ self.steps.farthest)
        if self.steps.norm is Norm.L1:
            return min(each, float((lost / self.steps.stride).max(initial=0.0)) * self.steps.measure)
        return each

    def _add_neuron(self, j: int) -> bool:
        """H, Z and the phase of one neuron that can be active; False if its bounds leave nothing."""
        add, net = self.add, self.net
        row = self._scaled(j)
        low = floor(row.factor * float(net.lower[j]) - row.slack)
        high = ceil(row.factor * float(net.upper[j]) + row.slack)
        reach = self._reach(row)
        low, high = max(low, row.constant - reach), min(high, row.constant + reach)
        if low > high:
            return False
        value = add.column(low, high)
        add.row([(value, 1), *((column, -a) for column, a in row.terms)], row.constant, row.constant)
        unit = max(1, 2 ** (max(high, 1).bit_length() - self.precision.value))
        off = row.slack / unit + (0.5 if unit > 1 else 0.0)
        if net.phase[j] > 0 or low >= 0:
            least, most = (low, high) if unit == 1 else (floor(low / unit - 0.5), ceil(high / unit + 0.5))
            column = value if unit == 1 else add.column(least, most)
            if unit > 1:
                add.row([(column, unit), (value, -1)], -(unit // 2), unit // 2)
            self.neurons[j] = _Neuron(column, row.factor / unit, max(abs(least), abs(most)), off)
            return True
        if high <= 0:  # never active as far as H can see: what of relu(h) there is hides in the slack
            self.neurons[j] = _Neuron(add.column(0, 0), row.factor / unit, 0, off)
            return True
        most = high if unit == 1 else floor(high / unit + 0.5)
        column, phase = add.column(0, most), add.column(0, 1)
        half = unit // 2
        add.row([(column, unit), (value, -1)], -half, None)
        if self.big_m:
            # unit·Z - H ≤ half where active; where not, Z = 0 and -H ≤ -low.
            add.row([(column, unit), (value, -1), (phase, max(0, -low - half))], None, max(half, -low))
            add.row([(column, 1), (phase, -most)], None, 0)
            add.row([(value, 1), (phase, low)], low, None)
            add.row([(value, 1), (phase, -high)], None, 0)
        else:
            add.row([(column, unit), (value, -1)], None, half, (phase, True))
            add.row([(column, 1)], None, 0, (phase, False))
            add.row([(value, 1)], 0, None, (phase, True))
            add.row([(value, 1)], None, 0, (phase, False))
        self.neurons[j] = _Neuron(column, row.factor / unit, most, off)
        return True

    def _reach(self, row: _Scaled) -> int:
        """The most that the terms of a row can sum to."""
        size = {neuron.column: neuron.most for neuron in self.neurons.values()}
        far = self.steps.farthest
        return sum(abs(a) * (size[c] if c in size else int(far[c])) for c, a in row.terms)
