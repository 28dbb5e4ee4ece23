"""A model as a question sees it: with constraints beside its scores, or with its inputs counted in units of their own.

Engines, bounds and attacks are asked about the view as about any network; its replay is that of the file.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from encoders.input_constraints import InputConstraints
from encoders.layer_graph.graph import Affine, Graph, Input, Relu
from encoders.layer_graph.linear_maps import Dense, Scale
from encoders.question import Region
from verifier.question.incumbent import round_into_box
from verifier.question.model import Model
from verifier.question.results import Adversary


ROUNDINGS = 2.0**-50  # relative: more than the two of a difference, divided


class View(Model):
    """Another way to ask about the same file: all that a view does not say itself is the model's."""

    def __init__(self, model: Model, *rest: Any) -> None:
        vars(self).update(vars(model))  # the same file, read and compared once, and its session
        vars(self).pop("_graph", None)  # another view's own
        self._model, self._rest = model, rest

    def __reduce__(self) -> tuple[type[View], tuple[Any, ...]]:  # type: ignore[override]
        """Another process makes the same view of the file that it reopens."""
        return type(self), (self._model, *self._rest)

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
        start = Affine((0,), (Scale(self.units),), self.around.center, "units")
        moved = [
            replace(node, source=node.source + 1)
            if isinstance(node, Relu)
            else replace(node, sources=tuple(source + 1 for source in node.sources))
            for node in graph.nodes
            if not isinstance(node, Input)
        ]
        return Graph((graph.nodes[0], start, *moved), graph.input_shape)

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

    def rounded(self, moves: FloatArray) -> FloatArray:
        """Moves to inputs of the file: the same but for their rounding."""
        return (self.inputs(moves).astype(np.float64) - self.around.center) / self.units

    def scores(self, inputs: NDArray[Any]) -> FloatArray:
        return self._model.scores(self.inputs(inputs))

    def outputs(self, inputs: NDArray[Any]) -> FloatArray:
        return self._model.outputs(self.inputs(inputs))

    def real(self, inputs: FloatArray) -> FloatArray:
        return self._model.real(self.inputs(inputs).astype(np.float64))

    def told(self, adversary: Adversary) -> Adversary:
        found = super().told(adversary)
        return replace(found, input=self.inputs(adversary.input[None])[0])
