"""A network, a region and a goal as a mixed-integer program: one dense row per open ReLU, asymmetric big-M, one binary.

For an open neuron with value w·v + b between l < 0 and u > 0:

    z - s = w·v + b      0 ≤ z ≤ u·β      0 ≤ s ≤ -l·(1 - β)      β binary

so that z = max(w·v + b, 0) and s = max(-(w·v + b), 0), and the network's weights stand in the program once, not twice.
A neuron with u ≤ 0 is gone. One with l ≥ 0 is linear and may be written either way: put its expression wherever it is
read (no row, but the readers grow), or give it a column of its own (one more row, readers stay short). Neither is
always better: a wide first layer read by few open neurons wants the first, a convolution read by many the second. The
rule, layer by layer, is to take what leaves fewer entries in the program.

Columns are displacements from the sample in units of a power of two near the ball's radius; activations are in units
of a power of two near their own bounds. Solvers hold rows to an absolute tolerance: in these units it is relative to
each neuron's own range, however huge or tiny the weights are, and powers of two make the change exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray, IntArray
from encoders.deadline import look
from encoders.errors import DataError, SoundnessError
from encoders.grid import Grid
from encoders.layer_graph.graph import Affine, Graph
from encoders.programs.mixed_integer_program import Program
from encoders.programs.sparse_blocks import Builder, pattern, placed, powers_of_two, times, unit_rows, wide
from encoders.question import Goal, NeuronBounds, Norm, Region

BALL_IS_BOX = 1e-12  # a ball that leaves out no more of the box's square than this leaves out nothing
FINEST = 1e-6  # of the terms that a neuron adds up: in a finer unit they are numbers that no solver's tolerances fit


def encode(graph: Graph, region: Region, norm: Norm, goal: Goal, bounds: NeuronBounds, radius: float) -> Program:
    """The program whose minimum is the distance to the goal within `radius`; infeasible if there is no such point.

    `bounds` must hold over ball(center, radius) ∩ box. To ask several goals or samples, keep an `Encoder`.
    """
    return Encoder(graph).body(region, norm, bounds, radius).program(goal)


@dataclass(frozen=True, eq=False)
class Affinity:
    """A node's value: matrices over what is not affine (the input, node 0, and ReLU nodes), plus a constant."""

    parts: dict[int, sparse.csr_array]
    constant: FloatArray


@dataclass(frozen=True, eq=False)
class Value:
    """table · columns + constant: some neurons' values within one program."""

    table: sparse.csr_array
    constant: FloatArray


@dataclass(frozen=True, eq=False)
class Opened:
    """What a node's open neurons read: z - s of each."""

    neurons: IntArray
    table: sparse.csr_array  # over the columns up to the node's own


class Encoder:
    """What depends on the graph alone, worked out once: every ReLU's input, and the scores, over earlier ReLUs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        composed: dict[int, Affinity] = {}
        for position, node in enumerate(graph.nodes):
            look()
            if not isinstance(node, Affine):
                composed[position] = Affinity(
                    {position: sparse.csr_array(sparse.eye_array(node.size))}, np.zeros(node.size)
                )
                continue
            parts: dict[int, sparse.csr_array] = {}
            constant = node.bias.copy()
            for source, matrix in zip(node.sources, graph.matrices(node), strict=True):
                constant += matrix @ composed[source].constant
                for root, inner in composed[source].parts.items():
                    term = matrix if root == source else sparse.csr_array(matrix @ inner)
                    parts[root] = sparse.csr_array(parts[root] + term) if root in parts else term
            composed[position] = Affinity(parts, constant)
        self.heads = {i: composed[graph.nodes[i].sources[0]] for i in graph.relus}
        self.scores = composed[len(graph.nodes) - 1]

    def body(
        self, region: Region, norm: Norm | None, bounds: NeuronBounds, radius: float, grid: Grid | None = None
    ) -> Body:
        """All of the program but the goal: shared by every goal of this sample. No norm: nothing to minimise.

        With a `grid`, inputs move by whole steps of it.
        """
        if np.isnan(radius) or radius < 0:
            raise DataError(f"radius {radius}: give a number, zero or more")
        if region.center.size != self.graph.input_size:
            raise DataError(f"the sample has {region.center.size} entries, the network reads {self.graph.input_size}")
        for position in self.graph.relus:
            _check_bounds(self.graph, position, bounds)
        # On a grid distances count whole steps: the farthest level may be a hair beyond the farthest float32 number.
        reach = region.reach(norm or Norm.LINF) if grid is None else grid.length(grid.reach) + grid.drift
        return Body(self, region, norm, bounds, min(radius, reach), grid)


class Body:
    """A program but for its goal. `program(goal)` adds that, and nothing else is built anew."""

    def __init__(
        self,
        encoder: Encoder,
        region: Region,
        norm: Norm | None,
        bounds: NeuronBounds,
        radius: float,
        grid: Grid | None,
    ) -> None:
        self._encoder = encoder
        self._bounds = bounds
        self._builder = Builder()
        self._values: dict[int, Value] = {}
        self._relu_columns: dict[int, IntArray] = {}
        self.opened: dict[int, Opened] = {}
        self._center = region.center.astype(np.float64)
        self._add_inputs(region, norm, radius, grid)
        for position in encoder.graph.relus:
            look()
            self._add_relu(position)
        self.scores = self._value(encoder.scores, np.arange(encoder.scores.constant.size))
        self._matrix, self._row_lower, self._row_upper = self._builder.row_arrays()
        self._columns = self._builder.column_arrays()

    def program(self, goal: Goal) -> Program:
        """The whole program: this body and the rows of one goal,  goal.rows · scores + goal.offset ≤ 0."""
        width = self._builder.width
        table = sparse.csr_array(sparse.csr_array(goal.rows) @ wide(self.scores.table, width))
        size = powers_of_two(
            np.asarray(abs(table).max(axis=1).todense()).ravel() if table.nnz else np.zeros(len(goal.rows))
        )
        right = -(goal.rows @ self.scores.constant + goal.offset)
        size = np.where(np.abs(right) / size < 1e100, size, 1.0)  # a row of zeros but for rounding stays one
        lower, upper, scale, integral = self._columns
        return Program(
            costs=np.concatenate([self._costs, np.zeros(width - self._costs.size)]),
            unit=self._unit,
            matrix=sparse.csr_array(sparse.vstack([self._matrix, times(1.0 / size, table)], format="csr")),
            row_lower=np.concatenate([self._row_lower, np.full(right.size, -np.inf)]),
            row_upper=np.concatenate([self._row_upper, right / size]),
            column_lower=lower,
            column_upper=upper,
            integral=integral,
            inputs_base=self._center,
            inputs_map=wide(self._values[0].table, width),
            relu_columns=self._relu_columns,
            scale=scale,
            euclidean=self._euclidean,
            longest=self._longest,
        )

    def _add_inputs(self, region: Region, norm: Norm | None, radius: float, grid: Grid | None) -> None:
        """x = center + displacement, the norm's own columns and rows, and the costs. What cannot move has no column."""
        farthest = np.inf if norm is Norm.L0 else radius
        above = np.minimum(region.upper - region.center, farthest)
        below = np.minimum(region.center - region.lower, farthest)
        unit = float(powers_of_two(np.maximum(above, below).max(initial=0.0, keepdims=True))[0])
        above, below, whole, stride = above / unit, below / unit, grid is not None, np.ones(region.center.size)
        if grid is not None:
            unit, stride = 1.0 / grid.n, grid.stride.astype(np.float64)
            radius += 0.5 * unit  # whatever was lost on the way here, no whole unit of the radius may be
            steps = np.inf if norm is Norm.L0 else np.floor(radius * grid.n / stride)
            above, below = np.minimum(grid.up, steps), np.minimum(-grid.down, steps)
        self._unit, most = unit, radius / unit
        worth = unit * stride  # of one step of each input
        add, size = self._builder, region.center.size
        up, down = np.flatnonzero(above > 0), np.flatnonzero(below > 0)
        if norm is Norm.L1:
            rises = add.columns(0.0, above[up], worth[up], integral=whole)
            falls = add.columns(0.0, below[down], worth[down], integral=whole)
            self._costs = np.concatenate([stride[up], stride[down]])
            if stride @ above + stride @ below > most:
                add.rows(sparse.csr_array(self._costs[None]), -np.inf, most)
            table = placed(up, unit_rows(rises, worth[up], add.width), size)
            table = table - placed(down, unit_rows(falls, worth[down], add.width), size)
        else:
            movable = np.union1d(up, down)
            moves = add.columns(-below[movable], above[movable], worth[movable], integral=whole)
            table = placed(movable, unit_rows(moves, worth[movable], add.width), size)
            self._costs = np.zeros(add.width)
        self._euclidean, self._longest = norm is Norm.L2, np.inf
        if norm is Norm.L2:
            self._costs = stride[movable] ** 2
            if self._costs @ np.maximum(above, below)[movable] ** 2 > most**2 * (1.0 + BALL_IS_BOX):
                self._longest = most
        if norm is Norm.L0:
            names = movable if region.pixels is None else region.pixels[movable]
            counted, which = np.unique(names, return_inverse=True)
            moved = add.columns(np.zeros(counted.size), 1.0, 1.0, integral=True)[which]
            table, self._unit = wide(table, add.width), 1.0
            self._costs = np.append(self._costs, np.ones(counted.size))
            for limit, low, high in ((above, -np.inf, 0.0), (-below, 0.0, np.inf)):
                spent = unit_rows(moves, 1.0, add.width) - unit_rows(moved, limit[movable], add.width)
                add.rows(spent, low, high)
        if norm is Norm.LINF:
            distance = add.columns(0.0, most, unit)
            self._costs = np.append(self._costs, 1.0)
            for room, sign in ((above, 1.0), (below, -1.0)):  # sign·d ≤ distance, where d has any room on that side
                chosen = room[movable] > 0
                spent = unit_rows(np.repeat(distance, int(chosen.sum())), 1.0, add.width)
                own = unit_rows(moves[chosen], sign * stride[movable][chosen], add.width)
                add.rows(own - spent, -np.inf, 0.0)
            table = wide(table, add.width)
        self._values[0] = Value(sparse.csr_array(table), self._center)

    def _add_relu(self, position: int) -> None:
        """The columns and rows of one ReLU node, and its values in terms of columns."""
        low, high, node = (
            self._bounds.lower[position],
            self._bounds.upper[position],
            self._encoder.graph.nodes[position],
        )
        head = self._encoder.heads[position]
        opened, active = np.flatnonzero((low < 0) & (high > 0)), np.flatnonzero((low >= 0) & (high > 0))
        names = np.full(node.size, -1, dtype=np.int64)
        linear = self._value(head, active)
        names[opened], table, read = self._add_open(self._value(head, opened), low[opened], high[opened])
        self.opened[position] = Opened(opened, read)
        table, constant = placed(opened, table, node.size), np.zeros(node.size)
        if self._deserves_columns(position, active, linear):
            names[active], own = self._add_active(linear, low[active], high[active])
        else:
            own, constant[active] = linear.table, linear.constant
        width = self._builder.width
        self._relu_columns[position] = names
        self._values[position] = Value(
            sparse.csr_array(wide(table, width) + placed(active, wide(own, width), node.size)), constant
        )

    def _add_open(
        self, value: Value, low: FloatArray, high: FloatArray
    ) -> tuple[IntArray, sparse.csr_array, sparse.csr_array]:
        """z, s and β for each neuron; z's columns, z itself and z - s."""
        finest = _finest(value)
        low, high = np.minimum(low, -finest), np.maximum(high, finest)
        add, unit = self._builder, powers_of_two(np.maximum(high, -low))
        low, high = low / unit, high / unit
        z, s = add.columns(0.0, high, unit), add.columns(0.0, -low, unit)
        phase = add.columns(np.zeros(low.size), 1.0, 1.0, integral=True)
        split = unit_rows(z, 1.0, add.width) - unit_rows(s, 1.0, add.width)
        add.rows(split - wide(times(1.0 / unit, value.table), add.width), value.constant / unit, value.constant / unit)
        add.rows(unit_rows(z, 1.0, add.width) - unit_rows(phase, high, add.width), -np.inf, 0.0)
        add.rows(unit_rows(s, 1.0, add.width) - unit_rows(phase, low, add.width), -np.inf, -low)
        return z, unit_rows(z, unit, add.width), times(unit, split)

    def _add_active(self, value: Value, low: FloatArray, high: FloatArray) -> tuple[IntArray, sparse.csr_array]:
        """A column equal to the expression of each neuron; the columns and the values."""
        high = np.maximum(high, _finest(value))
        add, unit = self._builder, powers_of_two(high)
        z = add.columns(low / unit, high / unit, unit)
        row = unit_rows(z, 1.0, add.width) - wide(times(1.0 / unit, value.table), add.width)
        add.rows(row, value.constant / unit, value.constant / unit)
        return z, unit_rows(z, unit, add.width)

    def _value(self, head: Affinity, neurons: IntArray) -> Value:
        """The chosen neurons of an affine value, over the columns so far."""
        table = sparse.csr_array((neurons.size, self._builder.width))
        constant = head.constant[neurons]
        for root, matrix in head.parts.items():
            chosen, value = matrix[neurons], self._values[root]
            table = table + chosen @ wide(value.table, self._builder.width)
            constant = constant + chosen @ value.constant
        return Value(sparse.csr_array(table), constant)

    def _deserves_columns(self, position: int, active: IntArray, linear: Value) -> bool:
        """Whether columns for the active neurons leave fewer entries than their expressions in all that read them."""
        own = pattern(linear.table)
        kept, substituted = own.nnz + active.size, 0
        readers = [(self._live(reader), head) for reader, head in self._encoder.heads.items()]
        for rows, head in (*readers, (None, self._encoder.scores)):
            if position not in head.parts:
                continue
            reads = pattern(sparse.csr_array(head.parts[position][:, active]))
            # A program holds one goal, most often a single row over all the scores.
            reads = sparse.csr_array(np.asarray(reads.sum(axis=0))[None]) if rows is None else reads[rows]
            kept += reads.nnz
            substituted += (reads @ own).nnz
        return bool(kept < substituted)

    def _live(self, position: int) -> IntArray:
        return np.flatnonzero(self._bounds.upper[position] > 0)


def _finest(value: Value) -> FloatArray:
    """The least range that each neuron is written with: a narrower one is widened, which loses no point."""
    terms = abs(value.table).sum(axis=1).ravel() + np.abs(value.constant)
    return np.asarray(FINEST * np.where(terms > 0, terms, 1.0))


def _check_bounds(graph: Graph, position: int, bounds: NeuronBounds) -> None:
    """A big-M from a wrong bound makes wrong proofs in silence: refuse what can be seen to be wrong."""
    node = graph.nodes[position]
    where = f"the bounds of ReLU node {position} ({node.name})"
    low, high = bounds.lower.get(position), bounds.upper.get(position)
    if low is None or high is None or low.shape != (node.size,) or high.shape != (node.size,):
        raise DataError(f"{where} are missing or not two arrays of {node.size}; make them for this graph")
    if not (low <= high).all():
        raise SoundnessError(f"{where} are NaN or crossed: nothing built on them would be a proof")
    live = high > 0
    if not (np.isfinite(low[live]).all() and np.isfinite(high[live]).all()):
        raise DataError(f"{where} are infinite where a big-M needs a number; give a finite box or radius")
