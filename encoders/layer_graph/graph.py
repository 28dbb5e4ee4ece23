"""The layer graph: the ground floor that bounds, encoders and checkers all stand on.

Every supported network is lowered to three kinds of node: the input, sums of linear maps plus a bias, and ReLUs.
The piecewise-linear relatives are exact compositions of these:

    LeakyReLU_a(x) = a·x + (1 - a)·relu(x)         |x| = 2·relu(x) - x
    clip(x, lo, hi) = lo + relu(x - lo) - relu(x - hi)    max(a, b) = a + relu(b - a)

so that a technique which knows two rules knows every layer. All values are flat float64 vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.layer_graph.linear_maps import LinearMap


@dataclass(frozen=True)
class Input:
    """The network's input, flattened."""

    size: int
    name: str = "input"

    @property
    def sources(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True, eq=False)
class Affine:
    """sum over k of maps[k] · value(sources[k]) + bias.

    A node may stand for several operations of the file, whose numbers were folded into its own in float64. What that
    cost is said here, and every bound pays for it: each weight is the file's times (1 + θ), and the bias is the file's
    up to θ · `bias_size`, where |θ| is at most Higham's γ of `roundings`. `bias_size` is the sum of the sizes of the
    terms that the bias was folded of: |bias| where nothing can have cancelled.
    The same operations, executed in the file's own float32, lose as much in that arithmetic's unit.
    """

    sources: tuple[int, ...]
    maps: tuple[LinearMap, ...]
    bias: FloatArray
    name: str = ""
    bias_size: FloatArray | None = None  # None: |bias|
    roundings: int = 0

    def __post_init__(self) -> None:
        if self.bias_size is None:
            object.__setattr__(self, "bias_size", np.abs(self.bias))
        elif (self.sizes < np.abs(self.bias)).any():
            raise ValueError(f"{self.name}: a bias larger than the terms it was folded of")

    @property
    def size(self) -> int:
        return int(self.bias.size)

    @property
    def sizes(self) -> FloatArray:
        """`bias_size` as an array."""
        return np.abs(self.bias) if self.bias_size is None else self.bias_size


@dataclass(frozen=True)
class Relu:
    """max(value(source), 0), entry by entry; `source` is always an Affine node or the input."""

    source: int
    size: int
    name: str = ""

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


Node = Input | Affine | Relu


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order: nodes[0] is the input, nodes[-1] the output (the class scores, an Affine node).

    `input_shape` is the shape of one sample as the model file declares it, without the batch dimension.
    """

    nodes: tuple[Node, ...]
    input_shape: tuple[int, ...]
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for position, node in enumerate(self.nodes):
            if isinstance(node, Input) != (position == 0):
                raise ValueError("node 0, and no other, is the input")
            if any(not 0 <= source < position for source in node.sources):
                raise ValueError(f"node {position} ({node.name}) reads a node that does not come before it")
            if isinstance(node, Affine):
                for source, linear in zip(node.sources, node.maps, strict=True):
                    if linear.input_size != self.nodes[source].size or linear.output_size != node.size:
                        raise ValueError(f"node {position} ({node.name}): map sizes do not fit")
            elif isinstance(node, Relu) and node.size != self.nodes[node.source].size:
                raise ValueError(f"node {position} ({node.name}): a ReLU keeps its size")
        if not isinstance(self.nodes[-1], Affine):
            raise ValueError("the output is an Affine node")

    @property
    def input_size(self) -> int:
        return self.nodes[0].size

    @property
    def classes(self) -> int:
        return self.nodes[-1].size

    @cached_property
    def relus(self) -> tuple[int, ...]:
        """Positions of the ReLU nodes, in order."""
        return tuple(i for i, node in enumerate(self.nodes) if isinstance(node, Relu))

    @property
    def relu_count(self) -> int:
        return sum(self.nodes[i].size for i in self.relus)

    def evaluate(self, x: FloatArray) -> FloatArray:
        """Class scores of a batch [B, input_size] in float64 (numpy; for checks, not for speed)."""
        return self.trace(x)[-1]

    def trace(self, x: FloatArray) -> list[FloatArray]:
        """Values of every node for a batch [B, input_size]."""
        values: list[FloatArray] = []
        for node in self.nodes:
            if isinstance(node, Input):
                values.append(np.asarray(x, dtype=np.float64).reshape(-1, node.size))
            elif isinstance(node, Relu):
                values.append(np.maximum(values[node.source], 0.0))
            else:
                total = np.broadcast_to(node.bias, (values[0].shape[0], node.size)).copy()
                for source, matrix in zip(node.sources, self.matrices(node), strict=True):
                    total += (matrix @ values[source].T).T
                values.append(total)
        return values

    def matrices(self, node: Affine) -> tuple[sparse.csr_array, ...]:
        """The sparse matrices of one Affine node, built once."""
        cache = self._matrix_cache
        if id(node) not in cache:
            cache[id(node)] = tuple(linear.matrix() for linear in node.maps)
        return cache[id(node)]

    @cached_property
    def _matrix_cache(self) -> dict[int, tuple[sparse.csr_array, ...]]:
        return {}


def affine_chain(weights: Sequence[FloatArray], biases: Sequence[FloatArray]) -> Graph:
    """The plain net  W_k · relu( … relu(W_1 x + b_1) … ) + b_k: what tests and examples write down by hand."""
    from encoders.layer_graph.linear_maps import Dense

    nodes: list[Node] = [Input(int(weights[0].shape[1]))]
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if layer:
            nodes.append(Relu(len(nodes) - 1, nodes[-1].size, f"relu{layer}"))
        dense = Dense(np.asarray(weight, dtype=np.float64))
        nodes.append(Affine((len(nodes) - 1,), (dense,), np.asarray(bias, dtype=np.float64), f"affine{layer + 1}"))
    return Graph(tuple(nodes), (nodes[0].size,))
