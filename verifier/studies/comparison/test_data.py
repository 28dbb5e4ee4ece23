"""Which samples a comparison is about; small enough to be handed to a worker process, which reads them itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from trainers.datasets import Place, source
from verifier.question.model import Model
from verifier.runs.samples import Samples, fitted_samples, load_samples


@dataclass(frozen=True)
class TestData:
    """The test split of a study's data set, or of a file by the rules of `plumbline distance`."""

    __test__ = False  # its name looks like a test's to pytest

    name: str
    train_samples: int | None = None
    place: Place = field(default_factory=Place)

    def samples(self, model: Model) -> Samples:
        """The samples in the shape of the model's input; read once for each shape."""
        return _read(self, model.input_shape, model.classes)


@lru_cache(maxsize=4)
def _read(data: TestData, input_shape: tuple[int, ...], classes: int) -> Samples:
    if data.train_samples is None and Path(data.name).suffix:
        return load_samples(data.name, input_shape, classes)
    dataset = source(data.name, data.train_samples).load("test", data.place)
    return fitted_samples(data.name, dataset.x, dataset.y, input_shape, classes)
