"""A model as a question sees it: with constraints, with inputs counted in units of their own, or behind a perturbation.

Engines, bounds and attacks are asked about the view as about any network; its replay is that of the file.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.input_constraints import InputConstraints
from encoders.layer_graph.graph import Affine, Graph, Input, Node, Relu
from encoders.layer_graph.linear_maps import Dense, Gather, Scale, Sparse
from encoders.question import Region
from verifier.question.incumbent import round_into_box
from verifier.question.model import Model
from verifier.question.results import Adversary

Limits = tuple[FloatArray, FloatArray]
OUTSIDE = 1e-12  # what leaves the box by no more than rounding is not clipped
ROUNDINGS = 2.0**-50  # relative: more than the two of a difference, divided


class View(Model):
    """Another way to ask about the same file: all that a view does not say itself is the model's."""

    def __init__(self, model: Model, *rest: Any) -> None:
        vars(self).update(vars(model))  # the same file, read and compared once, and its session
        vars(self).pop("_graph", None)  # another view's own
        self._model, self._rest = model, rest

    def __reduce__(self) -> tuple[type[View], tuple[Any, ...]]:
        """Another process makes the same view of the file that it reopens."""
        return type(self), (self._model, *self._rest)

    def own(self, inputs: NDArray[Any]) -> FloatArray:
        """Inputs of the file [B, n] as the view's: what `told` has made of them."""
        return np.asarray(inputs, dtype=np.float64)

    def told(self, adversary: Adversary) -> Adversary:
        """An adversary of the view as one of the file."""
        scores = adversary.scores[: self.classes]
        return replace(adversary, scores=scores, label=int(np.argmax(scores)))


class ConstrainedModel(View):
    """Scores, and behind them A x - b for each constraint: at most zero where an input is allowed."""

    def __init__(self, model: Model, constraints: InputConstraints) -> None:
        super().__init__(model, constraints)
        self.constraints = constraints

    @cached_property
    def _graph(self) -> Graph:
        graph, constraints = self._model.guide, self.constraints
        classes, count = graph.classes, constraints.count
        first = np.concatenate([np.eye(classes), np.zeros((count, classes))])
        rows = np.concatenate([np.zeros((classes, graph.input_size)), constraints.matrix])
        bias = np.concatenate([np.zeros(classes), -constraints.bound])
        head = Affine((len(graph.nodes) - 1, 0), (Dense(first), Dense(rows)), bias, "constraints")
        return Graph((*graph.nodes, head), graph.input_shape)

    @property
    def guide(self) -> Graph:
        return self._graph

    def scores(self, inputs: NDArray[Any]) -> FloatArray:
        return self._beside(self._model.scores(inputs), inputs)

    def outputs(self, inputs: NDArray[Any]) -> FloatArray:
        return self._beside(self._model.outputs(inputs), inputs)

    def real(self, inputs: FloatArray) -> FloatArray:
        return self._beside(self._model.real(inputs), inputs)

    def _beside(self, scores: FloatArray, inputs: NDArray[Any]) -> FloatArray:
        """Whether a constraint holds is decided without rounding, for the input in the file's own numbers."""
        own = np.asarray(inputs).astype(self._model.input_type)
        return np.concatenate([scores, self.constraints.values(own)], axis=1)


class ScaledModel(View):
    """Inputs are moves from a sample, each counted in its own unit: u stands for  center + units · u."""

    def __init__(self, model: Model, region: Region, units: FloatArray) -> None:
        super().__init__(model, region, units)
        self.around, self.units = region, units

    @property
    def region(self) -> Region:
        """The box in units, rounded outward: what is proven there holds in the box."""
        below = (self.around.center - self.around.lower) / self.units
        above = (self.around.upper - self.around.center) / self.units
        outward = [np.where(size > 0, np.nextafter(size * (1.0 + ROUNDINGS), np.inf), 0.0) for size in (below, above)]
        return Region(np.zeros_like(below), -outward[0], outward[1])

    @cached_property
    def _graph(self) -> Graph:
        graph = self._model.guide
        return _behind((graph.nodes[0], Affine((0,), (Scale(self.units),), self.around.center, "units")), graph)

    @property
    def guide(self) -> Graph:
        return self._graph

    @property
    def input_type(self) -> type[np.float64]:
        """Moves are real numbers; `rounded` keeps them where the file's numbers are."""
        return np.float64

    def inputs(self, moves: NDArray[Any]) -> NDArray[Any]:
        """The file's inputs that moves stand for, inside the box."""
        points = self.around.center + self.units * np.asarray(moves, dtype=np.float64)
        return round_into_box(points, self.around, self._model.input_type)

    def own(self, inputs: NDArray[Any]) -> FloatArray:
        return (np.asarray(inputs, dtype=np.float64) - self.around.center) / self.units

    def rounded(self, moves: FloatArray) -> FloatArray:
        """Moves to inputs of the file: the same but for their rounding."""
        return self.own(self.inputs(moves))

    def scores(self, inputs: NDArray[Any]) -> FloatArray:
        return self._model.scores(self.inputs(inputs))

    def outputs(self, inputs: NDArray[Any]) -> FloatArray:
        return self._model.outputs(self.inputs(inputs))

    def real(self, inputs: FloatArray) -> FloatArray:
        return self._model.real(self.inputs(inputs).astype(np.float64))

    def told(self, adversary: Adversary) -> Adversary:
        found = super().told(adversary)
        return replace(found, input=self.inputs(adversary.input.reshape(1, -1)).reshape(adversary.input.shape))


class PerturbedModel(View):
    """Inputs are the few variables of a perturbation: v stands for  clip(base + directions · v)  in the box.

    Proofs are about that image, where what leaves the box by at most `OUTSIDE` is not clipped. The file can only be run
    at its rounding to the file's numbers, so a witness is a v whose exact image wins in the real network and whose
    rounded image wins in the replay.
    """

    def __init__(
        self, model: Model, base: FloatArray, directions: FloatArray, limits: Limits, box: tuple[float, float]
    ) -> None:
        super().__init__(model, base, directions, limits, box)
        self.base, self.directions, self.limits, self.box = base, directions, limits, box
        self.image_shape, self.input_shape = model.input_shape, (directions.shape[1],)

    @property
    def reach(self) -> float:
        """Images stay in the box, which was held against the model's own reach."""
        return float("inf")

    @cached_property
    def _graph(self) -> Graph:
        graph, (low, high) = self._model.guide, self.box
        first = Affine((0,), (Dense(self.directions),), self.base, "perturbation")
        ends = [self.directions * limit for limit in self.limits]
        lowest = self.base + np.minimum(*ends).sum(axis=1)
        highest = self.base + np.maximum(*ends).sum(axis=1)
        below, above = (np.flatnonzero(side > OUTSIDE) for side in (low - lowest, highest - high))
        front: tuple[Node, ...] = (Input(self.directions.shape[1]), first)
        if len(below) or len(above):
            # clip(z) = z + relu(low - z) - relu(z - high), each where z can come so far
            size, out = len(self.base), np.concatenate([below, above])
            signs = np.concatenate([np.full(len(below), -1.0), np.ones(len(above))])
            limit = np.concatenate([np.full(len(below), low), np.full(len(above), -high)])
            beyond = sparse.csr_array((signs, (np.arange(len(out)), out)), shape=(len(out), size))
            back = sparse.csr_array((-signs, (out, np.arange(len(out)))), shape=(size, len(out)))
            same = Gather(np.arange(size, dtype=np.int64), size)
            front += (
                Affine((1,), (Sparse(beyond),), limit, "outside"),
                Relu(2, len(out), "clipped"),
                Affine((1, 3), (same, Sparse(back)), np.zeros(size), "image"),
            )
        return replace(_behind(front, graph), input_shape=self.input_shape)

    @property
    def guide(self) -> Graph:
        return self._graph

    @property
    def input_type(self) -> type[np.float64]:
        """Variables are real numbers."""
        return np.float64

    def images(self, variables: NDArray[Any]) -> NDArray[Any]:
        """What the file is run at: the images [B, n] of variables [B, k], rounded to its numbers inside the box."""
        moved = self.base + np.asarray(variables, dtype=np.float64) @ self.directions.T
        region = Region(self.base, np.full(len(self.base), self.box[0]), np.full(len(self.base), self.box[1]))
        return round_into_box(moved, region, self._model.input_type)

    def scores(self, inputs: NDArray[Any]) -> FloatArray:
        return self._model.scores(self.images(inputs))

    def outputs(self, inputs: NDArray[Any]) -> FloatArray:
        return self._model.outputs(self.images(inputs))


def _behind(front: tuple[Node, ...], graph: Graph) -> Graph:
    """The graph with the last node of `front` for its input."""
    onward = len(front) - 1
    moved = [
        replace(node, source=node.source + onward)
        if isinstance(node, Relu)
        else replace(node, sources=tuple(source + onward for source in node.sources))
        for node in graph.nodes
        if not isinstance(node, Input)
    ]
    return Graph((*front, *moved), graph.input_shape)
