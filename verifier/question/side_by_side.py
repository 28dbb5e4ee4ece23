"""Networks side by side: what an engine asks of a model, answered for several that read one input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, Inputs, InputType
from encoders.errors import DataError, OptionError
from encoders.layer_graph.beside import beside
from encoders.layer_graph.graph import Graph
from encoders.question import Region
from verifier.question.incumbent import round_into_box
from verifier.question.model import Model


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Networks that read one input: what an engine asks of a model.

    With `regions`, one for each, the input is a perturbation, and each network reads its own sample plus that.
    """

    models: tuple[Model, ...]
    regions: tuple[Region, ...] | None = None

    def __post_init__(self) -> None:
        for model in self.models:
            if model.quantised is not None:
                raise OptionError(f"{model.path}: quantised networks are asked about one by one")
        # (1, 8, 8) and (8, 8) are one order of the inputs, and flat ones are in whatever order they are given.
        shapes = {tuple(side for side in model.input_shape if side != 1) for model in self.models}
        if len({shape for shape in shapes if len(shape) > 1}) > 1:
            told = ", ".join(dict.fromkeys(str(model.input_shape) for model in self.models))
            raise DataError(f"networks side by side read inputs of one shape; these read {told}")
        kinds = {np.dtype(model.input_type).name for model in self.models}
        if len(kinds) > 1:
            raise DataError(f"networks side by side compute in the same numbers; these in {', '.join(sorted(kinds))}")

    @property
    def path(self) -> str:
        return ", ".join(dict.fromkeys(str(model.path) for model in self.models))

    @cached_property
    def graph(self) -> Graph:
        shifts = None if self.regions is None else [region.center for region in self.regions]
        return beside([model.graph for model in self.models], shifts)

    @property
    def guide(self) -> Graph:
        return self.graph

    @property
    def blocks(self) -> list[NDArray[np.int64]]:
        """Which of all scores are each network's."""
        starts = np.cumsum([0, *(model.classes for model in self.models)])
        return [np.arange(start, end) for start, end in pairwise(starts)]

    @property
    def classes(self) -> int:
        return sum(model.classes for model in self.models)

    @property
    def input_type(self) -> InputType:
        """A perturbation is a real number; the perturbed samples are rounded, not that."""
        return self.models[0].input_type if self.regions is None else np.float64

    def replayed(self, inputs: NDArray[Any]) -> list[Inputs]:
        """What each file reads [B, n], in its own numbers and inside the box."""
        kind = self.models[0].input_type
        if self.regions is None:
            return [np.asarray(inputs, dtype=kind)] * len(self.models)
        return [round_into_box(inputs + region.center, region, kind) for region in self.regions]

    def scores(self, inputs: NDArray[Any]) -> FloatArray:
        """All scores [B, classes] by onnxruntime on the files."""
        return _joined(m.scores(part) for m, part in zip(self.models, self.replayed(inputs), strict=True))

    def finite_scores(self, x: FloatArray) -> FloatArray:
        """All scores of one input, refused where one of them is not finite."""
        scores = self.scores(x[None])[0]
        if not np.isfinite(scores).all():
            raise DataError(f"the scores of {self.path} are not finite: {scores}")
        return np.asarray(scores)

    def outputs(self, inputs: NDArray[Any]) -> FloatArray:
        """The files' own outputs, with what is left out behind the scores."""
        return _joined(m.outputs(part) for m, part in zip(self.models, self.replayed(inputs), strict=True))

    def real(self, inputs: FloatArray) -> FloatArray:
        """The scores in float64, by the graphs that proofs are about."""
        if self.regions is None:
            return _joined(model.real(inputs) for model in self.models)
        moved = (inputs + region.center for region in self.regions)
        return _joined(model.real(part) for model, part in zip(self.models, moved, strict=True))


def _joined(scores: Iterator[FloatArray]) -> FloatArray:
    """Scores of several networks as one row each."""
    return np.concatenate(list(scores), axis=1)
