"""A quantised network as an integer program: not a relaxation, its points are the adversaries and nothing else.

Steps t determine input levels by a table, accumulators are sums of whole numbers, and each next level is a staircase of
its accumulator (`encoders.quantised.staircase`), with a binary for each end of the scale that is within reach. An
adversary of class t has a level k that t reaches and no rival does: one more column, and one row per class. Where it
is asked by how much one class leads another, both have a level, and the row is about the difference.

Ranges of accumulators and steps hold at every adversary of interest; they only make columns smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from encoders.arrays import IntArray
from encoders.deadline import look
from encoders.programs.grid_distance_rows import limit_measure, measure_column
from encoders.programs.integer_program import LARGEST_SUM, IntegerBuilder, IntegerProgram
from encoders.quantised.semantics import TOP, QuantisedLayer, QuantisedNet
from encoders.quantised.staircase import Line, digital_line
from encoders.question import Norm


@dataclass(frozen=True, eq=False)
class InputLevels:
    """levels[i, t - first]: the level of input i after t steps."""

    levels: IntArray
    first: int

    def of(self, steps: IntArray) -> IntArray:
        """Levels [..., inputs] of steps [..., inputs]."""
        return np.asarray(self.levels[np.arange(len(self.levels)), steps - self.first])

    def over(self, i: int, down: int, up: int) -> IntArray:
        """The levels of input i from `down` to `up` steps."""
        return np.asarray(self.levels[i, down - self.first : up - self.first + 1])


@dataclass(frozen=True, eq=False)
class Ranges:
    """Steps of every input, and accumulators of every layer: [low, high] at every adversary."""

    down: IntArray
    up: IntArray
    low: tuple[IntArray, ...]
    high: tuple[IntArray, ...]


@dataclass(frozen=True)
class Wanted:
    """Adversaries: `target` reaches winning[k] where every rival has a level of at most k."""

    target: int
    rivals: tuple[int, ...]
    winning: tuple[int, ...]

    @property
    def lead(self) -> int:
        """By how many levels the target leads every rival at least; more than there are where it cannot win."""
        return min((won - k for k, won in enumerate(self.winning) if won <= TOP), default=TOP + 1)


@dataclass(frozen=True)
class Ahead:
    """Points at which `target` leads `rival` by `lead` levels or more, a number of either sign."""

    target: int
    rival: int
    lead: int

    @property
    def rivals(self) -> tuple[int, ...]:
        """The one."""
        return (self.rival,)


@dataclass(frozen=True)
class Form:
    """Σ coefficient · column + constant."""

    terms: tuple[tuple[int, int], ...]
    constant: int


@dataclass(frozen=True, eq=False)
class Written:
    """A program, which inputs its first columns are the steps of, and the column to minimise (None: decide)."""

    program: IntegerProgram
    inputs: IntArray
    objective: int | None = None


def encode(
    net: QuantisedNet, table: InputLevels, ranges: Ranges, norm: Norm, measure: int, wanted: Wanted | Ahead,
    minimise: bool = False,
) -> Written | None:  # fmt: skip
    """The program of the adversaries of at most `measure`; None where the ranges leave none."""
    if (ranges.down > ranges.up).any() or any((a > b).any() for a, b in zip(ranges.low, ranges.high, strict=True)):
        return None
    return _Encoding(net, table, ranges).program(norm, measure, wanted, minimise)


class _Encoding:
    """One program being written."""

    def __init__(self, net: QuantisedNet, table: InputLevels, ranges: Ranges) -> None:
        self.net, self.table, self.ranges = net, table, ranges
        self.add = IntegerBuilder()
        self.moving = np.flatnonzero(ranges.down < ranges.up)
        steps = zip(ranges.down[self.moving].tolist(), ranges.up[self.moving].tolist(), strict=True)
        self.columns = [self.add.column(a, b) for a, b in steps]

    def program(self, norm: Norm, measure: int, wanted: Wanted | Ahead, minimise: bool) -> Written | None:
        down, up = self.ranges.down, self.ranges.up
        stuck = np.flatnonzero((down == up) & (down != 0))  # inputs that every adversary moves by the same
        columns, inputs = [*self.columns], np.concatenate([self.moving, stuck])
        columns += [self.add.column(int(down[i]), int(down[i])) for i in stuck]
        objective = None
        if minimise:
            objective = measure_column(self.add, norm, columns, down[inputs], up[inputs], measure)
        else:
            limit_measure(self.add, norm, columns, down[inputs], up[inputs], measure)
        forms = self._inputs()
        for k, layer in enumerate(self.net.layers[:-1]):
            look()
            sums = [self._sum(forms, layer, j) for j in range(layer.outputs)]
            ends = zip(self.ranges.low[k].tolist(), self.ranges.high[k].tolist(), strict=True)
            look()
            forms = [self._level(s, a, b, t) for s, (a, b), t in zip(sums, ends, layer.thresholds, strict=True)]
        if not (self._lead(forms, wanted) if isinstance(wanted, Ahead) else self._win(forms, wanted)):
            return None
        return Written(self.add.finish(len(inputs)), inputs, objective)

    # -- inputs ---------------------------------------------------------------------------------------------------

    def _inputs(self) -> list[Form]:
        column_of = dict(zip(self.moving.tolist(), self.columns, strict=True))
        down, up = self.ranges.down.tolist(), self.ranges.up.tolist()
        forms = []
        for i in range(self.net.inputs):
            levels = self.table.over(i, down[i], up[i])
            forms.append(self._input(column_of[i], down[i], levels) if i in column_of else Form((), int(levels[0])))
        return forms

    def _input(self, column: int, down: int, levels: IntArray) -> Form:
        """A monotone table of a column: one slope, or a staircase of its own, or a slope and a binary for each jump."""
        rises = np.diff(levels)
        if not rises.size:
            return Form((), int(levels[0]))
        values, counts = np.unique(rises, return_counts=True)
        slope = int(values[counts.argmax()])
        jumps = np.flatnonzero(rises != slope)
        if len(jumps) and (line := digital_line(levels, down)) is not None:
            level = self.add.column(int(levels[0]), int(levels[-1]))
            self.add.row([(level, line.q), (column, -line.p)], line.r, line.r + line.q - 1)
            return Form(((level, 1),), 0)
        terms, last = [(column, slope)], down + len(rises)
        for jump in jumps.tolist():
            passed, step = self.add.column(0, 1), down + jump + 1  # whether t ≥ step
            self.add.row([(column, 1), (passed, down - step)], down, None)
            self.add.row([(column, 1), (passed, step - 1 - last)], None, step - 1)
            terms.append((passed, int(rises[jump]) - slope))
        return Form(tuple((c, a) for c, a in terms if a), int(levels[0]) - slope * down)

    # -- layers ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _sum(forms: list[Form], layer: QuantisedLayer, j: int) -> Form:
        """The accumulator of output j."""
        terms: dict[int, int] = {}
        total = int(layer.bias[j])
        for i in np.flatnonzero(layer.weight[j]).tolist():
            w, form = int(layer.weight[j, i]), forms[i]
            total += w * (form.constant - layer.source.zero)
            for column, a in form.terms:
                terms[column] = terms.get(column, 0) + w * a
        return Form(tuple((c, a) for c, a in terms.items() if a), total)

    def _column(self, value: Form, low: int, high: int) -> int:
        """A column of its own for a sum: rows that multiply it stay small."""
        column = self.add.column(low, high)
        self.add.row([*value.terms, (column, -1)], -value.constant, -value.constant)
        return column

    def _level(self, value: Form, low: int, high: int, thresholds: IntArray) -> Form:
        """The level of an accumulator between low and high."""
        add = self.add
        first, last = (int(np.searchsorted(thresholds, end, side="right")) for end in (low, high))
        if first == last:
            add.row(list(value.terms), low - value.constant, high - value.constant)
            return Form((), first)
        sum_ = self._column(value, low, high)
        level = add.column(first, last)
        line = digital_line(thresholds[first:last], first + 1)
        if line is None or line.q * max(abs(low), abs(high)) + line.p * (last + 1) + abs(line.r) > LARGEST_SUM // 2:
            self._one_by_one(sum_, low, high, level, first, thresholds[first:last])
        else:
            self._on_line(sum_, low, high, level, first, last, line)
        return Form(((level, 1),), 0)

    def _on_line(self, sum_: int, low: int, high: int, level: int, first: int, last: int, line: Line) -> None:
        """0 ≤ q·sum - r - p·level < p, but for what lies beyond the first and the last level."""
        add, p, q, r = self.add, line.p, line.q, line.r
        below, above = p * first + r - q * low, q * high - (p * (last + 1) + r - 1)
        terms = [(sum_, q), (level, -p)]
        if below > 0:
            risen = add.column(0, 1)
            add.row([*terms, (risen, -below)], r - below, None)
            add.row([(level, 1), (risen, first - last)], None, first)
            add.row([(level, 1), (risen, -1)], first, None)
        if above > 0:
            full = add.column(0, 1)
            add.row([*terms, (full, -above)], None, r + p - 1)
            add.row([(level, 1), (full, first - last)], first, None)
        if below <= 0 or above <= 0:
            add.row(terms, r if below <= 0 else None, r + p - 1 if above <= 0 else None)

    def _one_by_one(self, sum_: int, low: int, high: int, level: int, first: int, thresholds: IntArray) -> None:
        """A binary for each threshold."""
        add, passed = self.add, list[int]()
        for threshold in thresholds.tolist():
            passed.append(add.column(0, 1))
            add.row([(sum_, 1), (passed[-1], low - threshold)], low, None)
            add.row([(sum_, 1), (passed[-1], threshold - 1 - high)], None, threshold - 1)
        for before, after in pairwise(passed):
            add.row([(before, 1), (after, -1)], 0, None)
        add.row([(level, 1), *((column, -1) for column in passed)], first, first)

    # -- the goal -------------------------------------------------------------------------------------------------

    def _win(self, forms: list[Form], wanted: Wanted) -> bool:
        """A level `most` that no rival passes, and winning[most] reached by the target; False where none can be."""
        layer, low, high = self.net.layers[-1], self.ranges.low[-1], self.ranges.high[-1]
        reached = int(np.searchsorted(layer.thresholds[wanted.target], high[wanted.target], side="right"))
        least = max(int(np.searchsorted(layer.thresholds[j], low[j], side="right")) for j in wanted.rivals)
        possible = [k for k in range(least, TOP) if wanted.winning[k] <= reached]
        if not possible:
            return False
        most = self.add.column(possible[0], possible[-1])
        needed = self._input(most, possible[0], np.array([wanted.winning[k] for k in possible]))
        self._compare(forms, wanted.target, needed, (wanted.winning[possible[0]], reached), True)
        for j in wanted.rivals:
            self._compare(forms, j, Form(((most, 1),), 1), (possible[0] + 1, possible[-1] + 1), False)
        return True

    def _lead(self, forms: list[Form], wanted: Ahead) -> bool:
        """The target's level is at least the rival's and the lead; False where it cannot be."""
        layer, low, high = self.net.layers[-1], self.ranges.low[-1], self.ranges.high[-1]
        ends = [(int(low[j]), int(high[j]), layer.thresholds[j]) for j in (wanted.target, wanted.rival)]
        most, least = (int(np.searchsorted(end[2], end[k], side="right")) for k, end in zip((1, 0), ends, strict=True))
        if most - least < wanted.lead:
            return False
        sums = [self._sum(forms, layer, j) for j in (wanted.target, wanted.rival)]
        target, rival = (self._level(value, *end) for value, end in zip(sums, ends, strict=True))
        terms = [*target.terms, *((column, -a) for column, a in rival.terms)]
        self.add.row(terms, wanted.lead - target.constant + rival.constant, None)
        return True

    def _compare(self, forms: list[Form], j: int, level: Form, span: tuple[int, int], passes: bool) -> None:
        """Output j reaches the level, or stays below it; the level is within the span, and 1 to 255."""
        layer = self.net.layers[-1]
        value, thresholds = self._sum(forms, layer, j), layer.thresholds[j]
        ends = int(self.ranges.low[-1][j]), int(self.ranges.high[-1][j])
        line = digital_line(thresholds[span[0] - 1 : span[1]], span[0])
        if line is None or line.q * max(abs(e) for e in ends) + line.p * (TOP + 1) + abs(line.r) > LARGEST_SUM // 2:
            value, line = self._level(value, *ends, thresholds), Line(1, 1, 0)  # the level itself, then
        else:
            value = Form(((self._column(value, *ends), 1),), 0)
        terms = [(c, line.q * a) for c, a in value.terms] + [(c, -line.p * a) for c, a in level.terms]
        rest = line.p * level.constant + line.r - line.q * value.constant
        self.add.row(terms, rest if passes else None, None if passes else rest - 1)
