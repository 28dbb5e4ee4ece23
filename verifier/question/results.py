"""The answers: frozen records that refuse to be built out of order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, Inputs
from encoders.errors import SoundnessError
from encoders.question import Norm


class Verdict(StrEnum):
    """What is known of one sample."""

    EXACT = "exact"
    CERTIFIED = "certified"
    FALSIFIED = "falsified"
    UNRESOLVED = "unresolved"
    MISCLASSIFIED = "misclassified"


class Basis(StrEnum):
    """What a proven lower bound rests on, strongest first."""

    RIGOROUS = "rigorous"
    INTEGER = "integer"
    SOLVER = "solver"


def weakest(bases: Iterable[Basis]) -> Basis:
    """What a bound rests on that needs bounds of all these; `rigorous` where it needs none."""
    return max(bases, key=list(Basis).index, default=Basis.RIGOROUS)


@dataclass(frozen=True, eq=False)
class Adversary:
    """A real input, replayed through onnxruntime, that is classified otherwise; `found_by` names who offered it.

    `input` is in the type that the file takes: float32, or float64 where the file computes in it.
    """

    input: Inputs
    distance: float
    label: int
    scores: NDArray[np.float64]
    found_by: str

    def shaped(self, shape: tuple[int, ...]) -> Adversary:
        """The same with its input in the shape that the model takes."""
        return replace(self, input=self.input.reshape(shape))


@dataclass(frozen=True, eq=False)
class PerturbedAdversary(Adversary):
    """An adversary's image, and the `variables` that make it of the sample; `distance` is their length."""

    variables: FloatArray


@dataclass(frozen=True, eq=False)
class Result:
    """One sample's answer:  every adversary is at distance ≥ lower; one was replayed at distance upper (or inf).

    `execution_error` is how far a goal's scores can be, as executed, from the real ones on the ball that `lower` is
    about; None where the question is about real arithmetic, or was answered without a proof.
    `proven_by` is who proved `lower` where that was an earlier attempt, by another engine or bound than this one's.
    `why_open` says in a sentence what stands in the way of an unresolved question.
    Of a change of an output, `before` is what the file gives for the sample, `after` what it gives for the adversary.
    """

    index: int
    label: int | None
    predicted: int
    norm: Norm
    radius: float | None
    verdict: Verdict
    lower: float
    upper: float
    basis: Basis
    engine: str
    seconds: float
    adversary: Adversary | None = None
    nodes: int = 0
    open_phases: int = 0
    execution_error: float | None = None
    before: float | None = None
    after: float | None = None
    why_open: str | None = None
    proven_by: str | None = None

    def __post_init__(self) -> None:
        check_sandwich(self.lower, self.upper, self.norm)
        if self.verdict is Verdict.CERTIFIED and not (self.radius is not None and self.lower > self.radius):
            raise SoundnessError(f"certified at radius {self.radius} with a proven lower of only {self.lower}")
        if self.verdict is Verdict.FALSIFIED and not (
            self.adversary is not None and self.radius is not None and self.upper <= self.radius
        ):
            raise SoundnessError(f"falsified at radius {self.radius} without a witness inside it (upper {self.upper})")

    @property
    def already_there(self) -> bool:
        """Whether the sample is classified as the target itself, at distance 0: nothing had to be found or proven."""
        return self.adversary is not None and self.upper == 0.0 and self.adversary.label == self.predicted

    @property
    def target(self) -> int | None:
        """The class of the nearest adversary found."""
        return None if self.adversary is None else self.adversary.label

    @property
    def found_by(self) -> str | None:
        """Which attack or engine found that adversary."""
        return None if self.adversary is None else self.adversary.found_by


def meet(lower: float, upper: float, tolerance: float) -> bool:
    """Whether the two sides of a distance are near enough to call it exact; no adversary anywhere is exact, too."""
    near = np.isfinite(upper) and upper - lower <= tolerance * max(1.0, upper)
    return lower == float("inf") or bool(near)


ORDER_TOLERANCE = 1e-7  # relative: attacks are measured in float64, lower bounds are rounded down


def check_sandwich(lower: float, upper: float, norm: Norm) -> None:
    """Raise unless lower ≤ upper: a replayed adversary nearer than the proven bound refutes the proof.

    Where the proofs are about real arithmetic and the replay runs in float32, an adversary that exists only by float32
    rounding may undercut the bound by a hair: the slack allows for that and nothing more.
    """
    slack = 1e-6 * max(1.0, abs(upper)) if np.isfinite(upper) else 0.0
    if np.isnan(lower) or np.isnan(upper) or lower > upper + slack:
        raise SoundnessError(
            f"soundness alarm: proven lower {lower!r} above a replayed adversary at {upper!r} ({norm})"
        )


def check_order(result: Result, bounds: Mapping[str, float], attacks: Mapping[str, float]) -> None:
    """Each lower bound ≤ the replayed adversary, and what is proven ≤ each attack, by name; or the alarm."""
    for name, distance in bounds.items():
        if np.isnan(distance) or distance > result.upper * (1.0 + ORDER_TOLERANCE) + 1e-12:
            raise SoundnessError(
                f"soundness alarm: sample {result.index}: the lower bound {name} gives {distance!r}, "
                f"above the adversary at {result.upper!r}"
            )
    for name, distance in attacks.items():
        if np.isnan(distance) or distance < result.lower * (1.0 - ORDER_TOLERANCE) - 1e-12:
            raise SoundnessError(
                f"soundness alarm: sample {result.index}: the attack {name} has an adversary at {distance!r}, "
                f"below the proven {result.lower!r}"
            )
