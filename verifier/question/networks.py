"""The networks that a property speaks of, each with inputs of its own: replayed, and asked about, as one network is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, InputType, IntArray
from encoders.errors import DataError
from encoders.layer_graph.beside import on_parts
from encoders.layer_graph.graph import Graph
from encoders.properties.property import Property
from verifier.question.model import Model

Array = NDArray[Any]
REAL = "real"  # what a query declares that is about files of any type


@dataclass(frozen=True, eq=False)
class Networks:
    """Models in the order in which a property declares them; their inputs and outputs stand one after the other."""

    models: tuple[Model, ...]

    @property
    def classes(self) -> int:
        """How many outputs all have together."""
        return sum(model.classes for model in self.models)

    @property
    def input_type(self) -> InputType:
        return self.models[0].input_type

    def graph(self, places: IntArray) -> Graph:
        """All outputs, of the inputs that `places` says stand for each network's own."""
        if len(self.models) == 1 and np.array_equal(places, np.arange(len(places))):
            return self.models[0].graph
        size = int(places.max()) + 1
        return on_parts([model.graph for model in self.models], list(self._own(places)), size)

    def scores(self, inputs: Array) -> FloatArray:
        """The outputs [B, classes] of all inputs [B, n], by onnxruntime on the files."""
        return np.concatenate([m.scores(own) for m, own in zip(self.models, self._own(inputs), strict=True)], axis=1)

    def real(self, inputs: FloatArray) -> FloatArray:
        """The same in float64, by the graphs that proofs are about."""
        return np.concatenate([m.real(own) for m, own in zip(self.models, self._own(inputs), strict=True)], axis=1)

    def check_reach(self, lower: FloatArray, upper: FloatArray) -> None:
        """Refuse a box of all inputs in which a file may compute something else than was read."""
        for model, own in zip(self.models, self._own(np.maximum(np.abs(lower), np.abs(upper))), strict=True):
            largest = float(own.max(initial=0.0))
            if largest > model.reach:
                raise DataError(
                    f"inputs of size {largest:.3g} could meet the limits of a Clip in {model.path} that are read as "
                    f"none: up to {model.reach:.3g} they cannot; give a smaller box"
                )

    def _own(self, inputs: Array) -> Iterator[Array]:
        """Each network's part of what is said of all inputs, along the last axis."""
        starts = np.cumsum([0, *(int(np.prod(model.input_shape)) for model in self.models)])
        for start, end in pairwise(starts.tolist()):
            yield inputs[..., start:end]


def networks_of(asked: Property, given: Model | Mapping[str, Model]) -> Networks:
    """The model of each network that the property declares: by its name, or one alone for the first.

    A network that is equal to another one has that one's model, and none of its own. Tensors are declared in the files'
    own types, as the format is strict about them, or as real.
    """
    declared = {network.name: network for network in asked.networks}
    models = {asked.networks[0].name: given} if isinstance(given, Model) else dict(given)
    for name in models:
        if name not in declared:
            raise DataError(f"{name}: the property declares no such network, but {_listed(list(declared))}")
        if declared[name].equal_to is not None:
            raise DataError(f"{name}: the property says that it is {declared[name].equal_to}; leave its file out")
    missing = [name for name, one in declared.items() if (one.equal_to or name) not in models]
    if missing:
        raise DataError(f"the property speaks of {len(declared)} networks: give the file of {_listed(missing)} too")
    found = Networks(tuple(models[one.equal_to or name] for name, one in declared.items()))
    for one, model in zip(declared.values(), found.models, strict=True):
        size = int(np.prod(model.input_shape))
        for what, mine, theirs in (("inputs", size, one.input.size), ("outputs", model.classes, one.output.size)):
            if mine != theirs:
                raise DataError(f"{model.path}: the number of its {what} is {mine}, the property speaks of {theirs}")
    kinds = {np.dtype(model.input_type).name for model in found.models}
    if len(kinds) > 1:
        raise DataError(f"networks of one property compute in the same numbers; these in {', '.join(sorted(kinds))}")
    (kind,) = kinds
    for one in declared.values():
        for tensor in (one.input, one.output):
            if tensor.kind not in (REAL, kind):
                raise DataError(
                    f"{tensor.name} is declared as {tensor.kind}, the file of {one.name} computes in {kind}; declare "
                    f"that, or {REAL}, which is any type"
                )
    return found


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
