"""What is asked of many samples, how one of them ends, and what an executor is, wherever it works on them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import Inputs
from verifier.batching.request import Work
from verifier.options import Options, check_radius
from verifier.question.model import Model
from verifier.question.results import Result

SampleProgress = Callable[[int, float, float], None]
"""Called with (index, running proven lower, running replayed upper)."""
Beside = Callable[[Model, "Job", Inputs, Result], Work[dict[str, Any]]]
"""What else is measured of a sample, in turns, once its result is there and where it was computed; must pickle."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is asked of every sample: its distance (radius None), or whether the radius is free of adversaries."""

    options: Options
    radius: float | None = None
    mask: NDArray[np.bool_] | None = None
    beside: Beside | None = None
    workers: int = 1  # cores for each sample, where a solver can use several

    def __post_init__(self) -> None:
        check_radius(self.radius)


@dataclass(frozen=True, eq=False)
class Given:
    """One sample as it is handed to an executor."""

    index: int
    x: Inputs
    label: int | None


@dataclass(frozen=True, eq=False)
class Outcome:
    """How one sample ended: with its result, or with the error that kept it from having one."""

    index: int
    result: Result | None = None
    error: Exception | None = None
    beside: dict[str, Any] | None = None


class Executor(Protocol):
    """Where samples are worked on, and how many at once: in this process (`in_process.py`), or in `processes.py`."""

    def outcomes(
        self, model: Model, job: Job, samples: Sequence[Given], progress: SampleProgress
    ) -> Generator[Outcome, None, None]:
        """One outcome for each sample, as it finishes, an error being one too. Closing early stops what still runs."""
