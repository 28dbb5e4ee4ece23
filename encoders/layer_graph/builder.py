"""Builds a layer graph out of tensors with shapes: what the operators of a model file are lowered with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray, IntArray
from encoders.errors import ModelError
from encoders.layer_graph.graph import Affine, Graph, Input, Node, Relu
from encoders.layer_graph.linear_maps import Convolution, Dense, Gather, LinearMap, Scale, Sparse

LARGEST_FOLDED = 2.0**30  # of factors: what underflows before a larger one would not be known of after it
LEAST_FOLDED = 2.0**-30  # and of what overflows before a smaller one, or before a zero
LEAST_PRODUCT = 1e-280  # of folded numbers: smaller ones would be rounded by more than their share
MAX_ELEMENTS = 2**27  # a tensor larger than this (1 GiB of float64) is refused before it is allocated


@dataclass(frozen=True, eq=False)
class View:
    """A tensor that depends on the input: entries `index` of a node's value, in a shape. -1 stands for zero."""

    node: int
    index: IntArray
    shape: tuple[int, ...]

    def arranged(self, index: IntArray) -> View:
        """Entries of this view, picked by positions in it (an array in the new shape); -1 gives zero."""
        flat = np.asarray(index, dtype=np.int64).reshape(-1)
        picked = np.where(flat >= 0, self.index[np.maximum(flat, 0)], -1) if self.index.size else flat
        return View(self.node, picked, tuple(int(n) for n in np.shape(index)))

    def positions(self) -> IntArray:
        """0 … size-1 in the view's shape: rearrange these with numpy, then `arranged` does the same to the view."""
        return np.arange(self.index.size, dtype=np.int64).reshape(self.shape)


class GraphBuilder:
    """Appends nodes; every method returns a view of what it made."""

    def __init__(self, input_shape: tuple[int, ...], name: str) -> None:
        size = checked_size(input_shape, f"input {name}")
        self.nodes: list[Node] = [Input(size, name)]
        self.unlimited: dict[int, float] = {}  # nodes whose limits were read as none, and how large those are
        self.input = View(0, np.arange(size, dtype=np.int64), input_shape)

    def affine(
        self,
        terms: list[tuple[View, LinearMap]],
        bias: FloatArray,
        shape: tuple[int, ...],
        name: str,
        roundings: int = 1,
        bias_size: FloatArray | None = None,
    ) -> View:
        """Σ map · view + bias. Views that are not whole nodes are gathered first (or inside the map, where it can).

        `roundings` and `bias_size` say what the numbers given have behind them: see
        `encoders.layer_graph.graph.Affine`.
        """
        size = checked_size(shape, name)
        sources, maps = [], []
        for view, linear in terms:
            if not self._whole(view):
                gathered = Gather(view.index, self.nodes[view.node].size)
                if isinstance(linear, Gather) and linear.is_identity:
                    linear = gathered
                elif isinstance(linear, Sparse) and (_distinct(view.index) or _single(linear)):  # nothing adds up
                    linear = Sparse(sparse.csr_array(linear.table @ gathered.matrix()))
                else:
                    view = self._append(Affine((view.node,), (gathered,), np.zeros(view.index.size), name))
            sources.append(view.node)
            maps.append(linear)
        for linear in maps:
            if not finite(linear):
                raise ModelError(f"{name}: its weights hold NaN or infinite values, or overflow; repair the model file")
        offset, sizes = (
            np.broadcast_to(np.asarray(part, dtype=np.float64), shape).reshape(size).copy()
            for part in (bias, np.abs(bias) if bias_size is None else bias_size)
        )
        if not (np.isfinite(offset).all() and np.isfinite(sizes).all()):
            raise ModelError(f"{name}: its bias holds NaN or infinite values; repair the model file")
        return replace(self._append(Affine(tuple(sources), tuple(maps), offset, name, sizes, roundings)), shape=shape)

    def identity(self, view: View) -> LinearMap:
        """The map that changes nothing."""
        return Gather(np.arange(view.index.size, dtype=np.int64), view.index.size)

    def shifted(self, view: View, bias: FloatArray, name: str) -> View:
        """view + bias."""
        return self.affine([(view, self.identity(view))], bias, view.shape, name)

    def scaled(
        self,
        view: View,
        factor: FloatArray,
        bias: FloatArray,
        name: str,
        roundings: int = 2,
        bias_size: FloatArray | None = None,
    ) -> View:
        """factor * view + bias, entry by entry."""
        spread = np.broadcast_to(np.asarray(factor, dtype=np.float64), view.shape).reshape(-1).copy()
        return self.affine([(view, Scale(spread))], bias, view.shape, name, roundings, bias_size)

    def combined(self, first: View, a: FloatArray, second: View, b: FloatArray, bias: FloatArray, name: str) -> View:
        """a * first + b * second + bias, entry by entry; a and b spread over the shape, and are exact numbers.

        Coefficients of the same entry are added only where their sum is exact: what cancels in a rounded sum would
        lose more than any bound on the sum knows.
        """
        parts = []
        for view, factor in ((first, a), (second, b)):
            spread = np.broadcast_to(np.asarray(factor, dtype=np.float64), view.shape).reshape(-1)
            picked = Gather(view.index, self.nodes[view.node].size).matrix()
            parts.append((view.node, sparse.csr_array(sparse.diags_array(spread) @ picked)))
        if parts[0][0] == parts[1][0] and exact_sum(parts[0][1], parts[1][1]):
            parts = [(parts[0][0], sparse.csr_array(parts[0][1] + parts[1][1]))]
        terms = [(self._view(node, self.nodes[node].size), _lean(table)) for node, table in parts]
        return self.affine(terms, bias, first.shape, name, roundings=2)

    def relu(self, view: View, name: str) -> View:
        if not self._whole(view):
            view = replace(self.shifted(view, np.zeros(view.shape), name))
        node = self.nodes[view.node]
        if isinstance(node, Relu):
            return view  # relu(relu(x)) = relu(x)
        return replace(self._append(Relu(view.node, node.size, name)), shape=view.shape)

    def zeros(self, shape: tuple[int, ...]) -> View:
        """A tensor of zeros, as a view: what an operator's shapes can be tried on."""
        return View(0, np.full(checked_size(shape, "zeros"), -1, dtype=np.int64), shape)

    def never_negative(self, view: View) -> bool:
        """Whether a view is known to have no entry below zero: it shows what a ReLU gives."""
        return isinstance(self.nodes[view.node], Relu)

    def maximum(self, first: View, second: View, name: str) -> View:
        """max(a, b) = a + relu(b - a)."""
        gap = self.relu(self.combined(second, np.array(1.0), first, np.array(-1.0), np.array(0.0), name), name)
        return self.combined(first, np.array(1.0), gap, np.array(1.0), np.array(0.0), name)

    def finish(self, output: View, input_shape: tuple[int, ...], notes: tuple[str, ...]) -> Graph:
        """The graph that ends in `output`, with what nobody reads left out and neighbours merged."""
        if not self._whole(output) or not isinstance(self.nodes[output.node], Affine):
            output = self.shifted(output, np.zeros(output.shape), "output")
        nodes = merged(self.nodes[: output.node + 1])
        return Graph(tuple(nodes), input_shape, notes)

    def _append(self, node: Node) -> View:
        self.nodes.append(node)
        return self._view(len(self.nodes) - 1, node.size)

    def _view(self, position: int, size: int) -> View:
        return View(position, np.arange(size, dtype=np.int64), (size,))

    def _whole(self, view: View) -> bool:
        size = self.nodes[view.node].size
        return view.index.size == size and bool(np.array_equal(view.index, np.arange(size)))


def checked_size(shape: tuple[int, ...], what: str) -> int:
    """Number of entries of a shape, refused when it is absurd."""
    size = 1
    for extent in shape:
        size *= int(extent)
    if size > MAX_ELEMENTS or any(extent < 0 for extent in shape):
        raise ModelError(f"{what}: a tensor of shape {tuple(shape)} is more than the {MAX_ELEMENTS} entries allowed")
    if size == 0:
        raise ModelError(f"{what}: a tensor of shape {tuple(shape)} has no entries")
    return size


def exact_sum(first: sparse.csr_array, second: sparse.csr_array) -> bool:
    """Whether the two tables add up without a rounding, by Knuth's two-sum where both have an entry."""
    both = sparse.csr_array(abs(first).sign().multiply(abs(second).sign()))
    a, b = sparse.csr_array(first.multiply(both)), sparse.csr_array(second.multiply(both))
    for table in (a, b):
        table.sort_indices()
    x, y = np.asarray(a.data), np.asarray(b.data)
    total = x + y
    back = total - x
    return bool(((x - (total - back)) + (y - back) == 0).all())


def _distinct(index: IntArray) -> bool:
    present = index[index >= 0]
    return len(np.unique(present)) == len(present)


def _single(linear: Sparse) -> bool:
    return bool((np.diff(linear.table.indptr) <= 1).all())


def finite(linear: LinearMap) -> bool:
    """Whether a map's numbers are all finite."""
    if isinstance(linear, (Dense, Convolution)):
        return bool(np.isfinite(linear.weight).all())
    if isinstance(linear, Scale):
        return bool(np.isfinite(linear.factor).all())
    return not isinstance(linear, Sparse) or bool(np.isfinite(linear.table.data).all())


def _lean(table: sparse.csr_array) -> LinearMap:
    """A sparse table as a Gather or Scale where it is no more than that."""
    rows, columns = table.shape
    counts = np.diff(table.indptr)
    if (counts <= 1).all() and (table.data == 1.0).all():
        index = np.full(rows, -1, dtype=np.int64)
        index[counts == 1] = table.indices
        return Gather(index, columns)
    if rows == columns and (counts == 1).all() and np.array_equal(table.indices, np.arange(rows)):
        return Scale(np.asarray(table.data))
    return Sparse(table)


def merged(nodes: list[Node]) -> list[Node]:
    """Drop nodes that the last one does not depend on; fold shifts and scalings into the Affine node before them.

    Folding is done in float64, and paid for: the folded bias remembers the sizes of all it was added up of, the node
    how many roundings its numbers have behind them. A product that would leave the range of normal numbers is not
    formed: the nodes stay apart. So they do where factors are so far from one that the folded numbers would no longer
    tell how large or small the values in between can be.
    """
    nodes = list(nodes)
    gains = np.ones(len(nodes))  # how much larger than where they arose the folded numbers' own roundings can have got
    losses = np.ones(len(nodes))  # how much smaller than the values in between those of the folded node can have got
    uses = Counter(source for node in nodes for source in node.sources)
    for position, node in enumerate(nodes):
        if not isinstance(node, Affine) or len(node.sources) != 1:
            continue
        before = nodes[node.sources[0]]
        if not isinstance(before, Affine) or uses[node.sources[0]] > 1:
            continue
        factor = _as_factor(node.maps[0])
        if factor is None or not _stays_normal(factor, before.bias):
            continue
        gain = max(1.0, gains[node.sources[0]] * float(np.abs(factor).max(initial=0.0)))
        loss = min(1.0, losses[node.sources[0]] * float(np.abs(factor).min(initial=1.0)))
        if gain > LARGEST_FOLDED or loss < LEAST_FOLDED:
            continue
        maps = [_scaled_map(linear, factor) for linear in before.maps]
        if all(linear is not None for linear in maps):
            gains[position], losses[position] = gain, loss
            uses[node.sources[0]] -= 1
            uses.update(before.sources)
            nodes[position] = Affine(
                before.sources,
                tuple(linear for linear in maps if linear is not None),
                factor * before.bias + node.bias,
                before.name or node.name,
                (np.abs(factor) * before.sizes + node.sizes) * (1.0 + 1e-12),  # never below the folded bias itself
                before.roundings + node.roundings + 2,
            )
    needed = {len(nodes) - 1, 0}
    for position in range(len(nodes) - 1, -1, -1):
        if position in needed:
            needed.update(nodes[position].sources)
    place = {old: new for new, old in enumerate(sorted(needed))}
    out: list[Node] = []
    for old in sorted(needed):
        node = nodes[old]
        if isinstance(node, Affine):
            node = replace(node, sources=tuple(place[s] for s in node.sources))
        elif isinstance(node, Relu):
            node = replace(node, source=place[node.source])
        out.append(node)
    return out


def _as_factor(linear: LinearMap) -> FloatArray | None:
    if isinstance(linear, Scale):
        return linear.factor
    if isinstance(linear, Gather) and linear.is_identity:
        return np.ones(linear.output_size)
    return None


def _stays_normal(factor: FloatArray, numbers: FloatArray) -> bool:
    """Whether every product of the two is zero because a factor is, or far from float64's ends."""
    with np.errstate(over="ignore", under="ignore"):
        product = np.abs(factor * numbers)
    return bool(np.isfinite(product).all() and ((product > LEAST_PRODUCT) | (factor == 0) | (numbers == 0)).all())


def _scaled_map(linear: LinearMap, factor: FloatArray) -> LinearMap | None:
    """factor times a map, where that is a map of the same kind and no product leaves the range of normal numbers."""
    if (factor == 1.0).all():
        return linear
    if isinstance(linear, Dense):
        return Dense(factor[:, None] * linear.weight) if _stays_normal(factor[:, None], linear.weight) else None
    if isinstance(linear, Scale):
        return Scale(factor * linear.factor) if _stays_normal(factor, linear.factor) else None
    if isinstance(linear, Convolution):
        per_channel = factor.reshape(linear.output_image[0], -1)
        gain = per_channel[:, :1, None, None]
        if (per_channel == per_channel[:, :1]).all() and _stays_normal(gain, linear.weight):
            return replace(linear, weight=gain * linear.weight)
    return None
