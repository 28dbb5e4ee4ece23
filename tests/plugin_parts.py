"""Parts as somebody else would write them: honest ones, liars, and some that are no parts at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from bounds.attacks import Attack, AttackBatch, Candidates
from bounds.lower import LowerBound
from bounds.lower.base import Sample
from encoders.arrays import FloatArray
from encoders.question import Norm
from trainers.architectures import Architecture, dense
from trainers.datasets import Dataset, Place, Source
from trainers.regularisers import Batch, Regulariser
from verifier.engines.base import Capabilities, Engine, Proof
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress
from verifier.question.results import Basis


class Corner(Attack):
    """Proposes inputs far outside the box, every second one up and the others down; and the sample itself."""

    name: ClassVar[str] = "corner"

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        del known
        goal = np.arange(len(batch.goals)).repeat(2)
        center = batch.center.cpu().numpy()[batch.sample_of(goal)]
        far = np.resize([-50.0, 50.0], center.shape[1])
        inputs = center + far * np.tile([[1.0], [0.0]], (len(batch.goals), 1))
        return Candidates(inputs, np.full(len(goal), 100.0), goal)


class Boaster(Corner):
    """Claims that its inputs are nearer than they are."""

    name: ClassVar[str] = "boaster"

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        found = super().search(batch, known)
        return Candidates(found.inputs, np.full(len(found.goal), 1e-9), found.goal)


class Overrider(Corner):
    """Takes the outer method, which checks, for its own."""

    name: ClassVar[str] = "overrider"

    def on(self, batch: AttackBatch, known: Candidates) -> Candidates:  # type: ignore[misc]
        return self.search(batch, known)


class Impostor(Corner):
    """Calls itself by a name of Plumbline's own."""

    name: ClassVar[str] = "fgsm"


class Nothing(LowerBound):
    """Proves nothing, which is always true."""

    name: ClassVar[str] = "nothing-proven"

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        del radii
        return [np.zeros(len(sample.goals)) for sample in samples]


class Everything(LowerBound):
    """Claims that there is no adversary anywhere."""

    name: ClassVar[str] = "everything-proven"

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        del radii
        return [np.full(len(sample.goals), np.inf) for sample in samples]


class Idle(Engine):
    """Proves nothing."""

    name = "idle"
    capabilities = Capabilities(frozenset(Norm), Basis.RIGOROUS)

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        del problem, incumbent, progress
        return Proof(0.0, Basis.RIGOROUS)


class Certain(Idle):
    """Claims to have proven the whole ball, whatever witness there is."""

    name = "certain"

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        del incumbent, progress
        return Proof(problem.ceiling, Basis.RIGOROUS)


@dataclass(frozen=True)
class Bias(Regulariser):
    """The mean square of all outputs, `power` times."""

    name: ClassVar[str] = "bias"
    power: int = 1

    def penalty(self, batch: Batch) -> Tensor:
        return self.power * batch.outputs.square().mean()


@dataclass(frozen=True)
class Spoiler(Regulariser):
    """A penalty that is no number."""

    name: ClassVar[str] = "spoiler"

    def penalty(self, batch: Batch) -> Tensor:
        return batch.outputs.sum() * float("nan")


class Points(Source):
    """Four points of two classes, read as 1x2 images."""

    name: ClassVar[str] = "points"
    input_shape = (1, 1, 2)
    classes = 2

    def read(self, split: str, place: Place) -> Dataset:
        del split, place
        x = np.array([[0.75, 0.25], [0.25, 0.75], [0.875, 0.125], [0.125, 0.875]], np.float32)
        return Dataset(x, np.array([0, 1, 0, 1]))


class Mislabelled(Points):
    """Labels that there is no class for."""

    name: ClassVar[str] = "mislabelled"

    def read(self, split: str, place: Place) -> Dataset:
        return Dataset(super().read(split, place).x, np.array([0, 1, 2, 3]))


def _unbuilt(shape: tuple[int, ...], classes: int, widths: tuple[int, ...]) -> nn.Module:
    del shape, classes, widths
    return None  # type: ignore[return-value]


NARROW = Architecture(dense, (3,))
UNBUILT = Architecture(_unbuilt, (3,))


class Stranger:
    """No part of any kind."""
