"""A proof as a tree: what is said of each node, in terms of a reduced net's open neurons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class UpperShares:
    """Upper lines of neurons, by which share of each input's coefficient they take."""

    bins: Tensor  # [n] of the inputs
    neurons: Tensor  # [M] positions among the open neurons
    share: Tensor  # [M, B] of few bits


@dataclass(frozen=True, eq=False)
class ParabolaTerms:
    """Parabolas above neurons, and what inputs pay for them; every number has few bits."""

    neurons: Tensor  # [M] positions among the open neurons
    weight: Tensor  # [M]
    spread: Tensor  # [M]
    price: Tensor  # [n] of the inputs
    point: Tensor  # [n] where the function is drawn: x - center


@dataclass(frozen=True, eq=False)
class ProductTerms:
    """Prices of products of inputs and neurons, and where the function is drawn; every number has few bits."""

    neurons: Tensor  # [M] positions among the open neurons, ascending
    units: Tensor  # [n + M] exponents, of inputs and neurons
    prices: Tensor  # [n + M] whole numbers
    point: Tensor  # [n] x - center
    values: Tensor  # [M]
    scales: Tensor  # [M]
    crossed: Tensor  # [M] whole numbers
    others: Tensor  # [M] bool


@dataclass(frozen=True, eq=False)
class Multipliers:
    """What a backward pass of a node's goal is made with; every number has few bits."""

    slope: Tensor  # [P] lower slopes, where phases are open
    is_open: Tensor  # [P]
    sign: Tensor  # [P] of phases that are known: positive on the lower end of the range, negative on the upper
    weight: Tensor  # [J] of the goal's rows
    upper: UpperShares | None = None
    parabolas: ParabolaTerms | None = None
    products: ProductTerms | None = None


@dataclass(frozen=True, eq=False)
class Bounded:
    """Better bounds of neurons of one layer, all on one side."""

    sign: float  # 1 for lower, -1 for upper
    neurons: Tensor  # [M] positions among the open neurons
    values: Tensor  # [M]
    weights: Tensor  # [M] of the cap's function


@dataclass(frozen=True, eq=False)
class Cap:
    """Neurons bounded where a linear function leaves an adversary to be."""

    function: Multipliers
    bounds: tuple[Bounded, ...]


@dataclass(frozen=True, eq=False)
class Close:
    """The node's goal is above zero everywhere."""

    function: Multipliers


@dataclass(frozen=True)
class Empty:
    """The range of a neuron is empty."""

    neuron: int


@dataclass(frozen=True)
class Claimed:
    """The node is closed by a solver's word alone."""

    solver: str


@dataclass(frozen=True)
class Split:
    """Two nodes follow: where the neuron is active, and where it is not."""

    neuron: int
    active: int  # numbers of nodes
    inactive: int


@dataclass(eq=False)
class ProofNode:
    """What is said of one node, in order."""

    caps: list[Cap] = field(default_factory=list)
    end: Close | Empty | Claimed | Split | None = None


@dataclass(eq=False)
class ProofTree:
    """Nodes by number; the first ones are the goals' roots."""

    goals: int
    nodes: list[ProofNode]

    def walk(self, goal: int) -> Iterator[ProofNode]:
        """A goal's nodes, each before those below it, the active side first."""
        left = [goal]
        while left:
            node = self.nodes[left.pop()]
            yield node
            if isinstance(node.end, Split):
                left += [node.end.inactive, node.end.active]
