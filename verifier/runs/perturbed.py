"""One perturbation of every sample of a run, by its name and its numbers: `patch:0:0:2:2`, `bias-field:1`.

The rest is as for inputs: an answer's two sides are lengths of the variables, and its adversary is the image that they
make of the sample, with the variables beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encoders.deadline import Clock
from encoders.errors import OptionError
from verifier.answer import asked
from verifier.options import REAL, Options
from verifier.perturbations import Box, Perturbation, bias_field, brightness, contrast, haze, patch
from verifier.question.model import Model
from verifier.question.problem import NOTHING, Known, Progress, Running
from verifier.question.results import Adversary, PerturbedAdversary, Result
from verifier.runs.job import Asking, Given, Outcome, is_nearest, known_of
from verifier.runs.journal import Record, record_of
from verifier.runs.samples import Samples

SEPARATOR = ":"
OF_INPUTS: Mapping[str, str | None] = {
    "mask": None, "scale": None, "constraints": None, "grid": None, "proof": None, "count": "inputs",
    "execution": REAL,
}  # fmt: skip
"""What says something of inputs, and nothing of variables, with what it is where it says nothing."""


@dataclass(frozen=True)
class Kind:
    """A perturbation that can be named: who makes it, and what its numbers are, of which the first ones are needed."""

    make: Callable[..., Perturbation]
    numbers: tuple[str, ...] = ()
    needed: int = 0
    whole: tuple[str, ...] = ()

    def form(self, name: str) -> str:
        """How it is written, what may be left out in brackets."""
        told = [f"{SEPARATOR}{number.upper()}" for number in self.numbers]
        return name + "".join(told[: self.needed]) + "".join(f"[{one}]" for one in told[self.needed :])


RECTANGLE = ("top", "left", "height", "width")
KINDS: Mapping[str, Kind] = {
    "brightness": Kind(brightness),
    "contrast": Kind(contrast, ("most",)),
    "haze": Kind(haze, ("colour",)),
    "patch": Kind(patch, RECTANGLE, needed=4, whole=RECTANGLE),
    "bias-field": Kind(bias_field, ("degree", "most"), whole=("degree",)),
}


def check_beside(given: Mapping[str, object], flag: str = "") -> None:
    """Refuse, by its name behind `flag`, what is about inputs: beside a perturbation it would mean nothing."""
    for name, usual in OF_INPUTS.items():
        value = given.get(name, usual)
        if value is not usual and (usual is None or value != usual):
            raise OptionError(f"{flag}{name} is about inputs, a perturbation moves variables; leave out one of the two")


@dataclass(frozen=True)
class Chosen:
    """A kind of perturbation with its numbers, of no sample yet; `text` says it in resume keys."""

    name: str
    numbers: tuple[int | float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Chosen:
        """NAME, or NAME and its numbers behind colons."""
        name, *given = text.split(SEPARATOR)
        kind = KINDS.get(name)
        if kind is None:
            raise OptionError(f"perturbation {name!r}: choose from {', '.join(k.form(n) for n, k in KINDS.items())}")
        try:
            if not kind.needed <= len(given) <= len(kind.numbers):
                raise ValueError
            numbers = tuple(
                int(one) if number in kind.whole else float(one)
                for number, one in zip(kind.numbers, given, strict=False)
            )
        except ValueError:
            raise OptionError(f"perturbation {text!r}: write it as {kind.form(name)}") from None
        return cls(name, numbers)

    @property
    def text(self) -> str:
        return SEPARATOR.join([self.name, *map(str, self.numbers)])

    def of(self, model: Model, x: ArrayLike, box: Box) -> Perturbation:
        """The perturbation of one sample."""
        kind = KINDS[self.name]
        return kind.make(model, x, box=box, **dict(zip(kind.numbers, self.numbers, strict=False)))


@dataclass(frozen=True, eq=False)
class PerturbedJob(Asking[Result]):
    """How far the variables must move for every sample (radius None), or whether any within the radius do it."""

    perturbation: Chosen = field(kw_only=True)

    @classmethod
    def of(
        cls,
        chosen: Chosen,
        model: Model,
        samples: Samples,
        indices: Sequence[int],
        options: Options,
        radius: float | None,
    ) -> PerturbedJob:
        """One perturbation of these samples; what fits no sample is refused before the first is asked about."""
        for index in indices[:1]:
            chosen.of(model, samples.x[index], options.box)
        return cls(options, radius, perturbation=chosen)

    @property
    def identity(self) -> Record:
        return {**super().identity, "perturbation": self.perturbation.text}

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Result]:
        one = self.perturbation.of(model, given.x, self.options.box)
        about = (one.start, self.radius, self.options, given.label, given.index, self.mask)

        def pictured(result: Result) -> Result:
            found = result.adversary
            if found is None:
                return result
            values = np.asarray(found.input, dtype=np.float64)
            parts: dict[str, Any] = {**vars(found), "input": one.image(values)}
            return replace(result, adversary=PerturbedAdversary(**parts, variables=values))

        def told(running: Running) -> None:
            progress(replace(running, answer=pictured(running.answer)))

        known = given.known or NOTHING
        result = await asked(one.model, *about, told, clock, self.workers, share, known)
        return Outcome(given.index, pictured(result))

    def record(self, answer: Result, run: Mapping[str, Any]) -> Record:
        found = answer.adversary
        variables = found.variables.tolist() if isinstance(found, PerturbedAdversary) else None
        return {**record_of(answer, run), "variables": variables}

    def witnesses(self, answer: Result) -> dict[str, Adversary]:
        return {} if answer.adversary is None else {"adversary": answer.adversary}

    def known(self, record: Record, witnesses: Mapping[str, Adversary]) -> Known:
        return known_of(record, witnesses)

    def tells_of(self, record: Record, witness: Adversary) -> bool:
        return is_nearest(record, witness)
