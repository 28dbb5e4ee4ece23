"""Is the claim of a proof about an int8 net true? Decided without its proof, by executing points of the grid.

The statement is read again. Every point nearer than the measure is executed by onnxruntime, and won or not in
fractions; of a net with more points than that can be done for, the search is asked anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import verifier
from encoders.errors import PlumblineError
from tests.claims import Numbers, Truth, number, side_of_box
from tests.int8_oracle import float32, nearest
from verifier.question.model import Model
from verifier.question.results import Verdict

MOST = 300_000  # points of a tiny net that are executed; where there are more, nothing is known
FEW = 5_000  # of another net: where there are more, the search is asked
AT_ONCE = 20_000
SECONDS = 10.0  # of a search


@dataclass(frozen=True)
class GridClaim:
    """What a statement about a grid says, but for the file that it is about."""

    norm: str
    sample: Numbers
    lower: Numbers
    upper: Numbers
    against: int
    targets: tuple[int, ...] | None
    margin: Fraction
    grid: int
    below: int | None
    steps: tuple[int, ...] | None
    measure: int | None
    rivals: tuple[int, ...] | None = None

    @property
    def on_grid(self) -> bool:
        """Whether the sample is one that the format's page allows."""
        moves = zip(self.sample, self.lower, self.upper, strict=True)
        return (
            1 <= self.grid <= 1 << 16
            and all(float32(c) == c and low <= c <= high for c, low, high in moves)
            and all(
                abs(self.grid * c - nearest(self.grid * c)) <= Fraction(1, 4)
                for c, low, high in zip(self.sample, self.lower, self.upper, strict=True)
                if low < high
            )
        )

    def cost(self, t: int) -> int:
        """What a step of one input costs."""
        return {"linf": abs(t), "l1": abs(t), "l2": t * t, "l0": int(t != 0)}[self.norm]

    def measured(self, steps: tuple[int, ...]) -> int:
        """How far a point is."""
        costs = [self.cost(t) for t in steps]
        return max(costs) if self.norm == "linf" else sum(costs)

    def value(self, i: int, t: int) -> Fraction | None:
        """What an input is after so many steps; None where it cannot be."""
        if t == 0:
            return self.sample[i]
        if self.lower[i] == self.upper[i]:
            return None
        found = float32(Fraction(nearest(self.grid * self.sample[i]) + t, self.grid))
        return found if self.lower[i] <= found <= self.upper[i] else None

    def ways(self, i: int, most: int) -> list[int]:
        """The steps of an input that cost no more."""
        low, high = (math.floor(self.grid * (end - self.sample[i])) for end in (self.lower[i], self.upper[i]))
        far = (
            most if self.norm in ("linf", "l1") else math.isqrt(most) if self.norm == "l2" else (high - low + 4) * most
        )
        near = range(max(low - 2, -far), min(high + 3, far) + 1)
        return [t for t in near if self.cost(t) <= most and self.value(i, t) is not None]

    def points(self, most: int) -> Iterator[tuple[int, ...]]:
        """The steps of all points of at most a measure."""
        ways = [[t for t in self.ways(i, most) if t] for i in range(len(self.sample))]

        def further(steps: list[int], left: int, start: int) -> Iterator[tuple[int, ...]]:
            yield tuple(steps)
            for i in range(start, len(steps)):
                for t in ways[i]:
                    after = left if self.norm == "linf" else left - self.cost(t)
                    if after >= 0:
                        yield from further([*steps[:i], t, *steps[i + 1 :]], after, i + 1)

        return further([0] * len(self.sample), most, 0)

    def few_points(self, most: int, few: int) -> list[tuple[int, ...]] | None:
        """Those, where there are not more than a few."""
        found = list(islice(self.points(most), few + 1))
        return found if len(found) <= few else None

    def won(self, scores: Numbers) -> bool:
        """Whether some goal is reached: equal scores are no win, and a rival need not have one."""
        classes = range(len(scores))
        if self.rivals is not None:
            return any(scores[t] - scores[self.against] >= self.margin for t in self.rivals)
        if self.targets is None:
            pairs = [(t, [self.against]) for t in classes if t != self.against]
        else:
            pairs = [(t, [j for j in classes if j != t]) for t in self.targets]
        leads = [min(scores[t] - scores[j] for j in others) for t, others in pairs]
        return any(lead > 0 and lead >= self.margin for lead in leads)

    def follows_from(self, other: GridClaim) -> bool:
        """Whether what is denied is denied by the other claim, too."""
        if self.below is None:
            return True
        same = ("norm", "sample", "grid")
        if other.below is None or any(getattr(self, key) != getattr(other, key) for key in same):
            return False
        if self.rivals is not None or other.rivals is not None:
            known = self.rivals is not None and other.rivals is not None and self.against == other.against
            fewer = known and set(self.rivals or ()) <= set(other.rivals or ())
        elif self.targets is None or other.targets is None:
            fewer = self.targets == other.targets and self.against == other.against
        else:
            fewer = set(self.targets) <= set(other.targets)
        inside = all(a >= b for a, b in zip(self.lower, other.lower, strict=True)) and all(
            a <= b for a, b in zip(self.upper, other.upper, strict=True)
        )
        leads = self.margin, other.margin
        if self.rivals is None:
            leads = max(self.margin, Fraction(0)), max(other.margin, Fraction(0))  # a win is strict, whatever it is by
        return fewer and inside and self.below <= other.below and leads[0] >= leads[1]


def grid_claim_of(first: dict[str, Any]) -> GridClaim:
    """The claim of a proof's first line."""
    sample, witness, targets = tuple(map(number, first["sample"])), first["witness"], first["targets"]
    lower, upper = (side_of_box(one, len(sample)) for one in first["box"])
    return GridClaim(
        first["norm"],
        sample,
        lower,
        upper,
        first["against"],
        None if targets is None else tuple(targets),
        number(first["margin"]),
        first["grid"],
        first["below"],
        None if witness is None else tuple(witness["steps"]),
        None if witness is None else witness["measure"],
        tuple(first["rivals"]) if "rivals" in first else None,
    )


@dataclass(frozen=True, eq=False)
class Int8Network:
    """An int8 net as onnxruntime executes it, and as the search reads it."""

    path: Path
    tiny: bool

    @cached_property
    def model(self) -> Model:
        """As the search reads it."""
        return verifier.load(self.path)

    @cached_property
    def _session(self) -> Any:
        return onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])

    def scores(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of each input."""
        source = self._session.get_inputs()[0]
        shaped = inputs.reshape(len(inputs), *self.model.input_shape)
        return np.asarray(self._session.run(None, {source.name: shaped})[0])

    def winners(self, claim: GridClaim, points: Iterator[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
        """The points that reach a goal."""
        while some := list(islice(points, AT_ONCE)):
            values = [[float(claim.value(i, t) or 0) for i, t in enumerate(steps)] for steps in some]
            scores = self.scores(np.array(values, dtype=np.float32))
            found, which = np.unique(scores, axis=0, return_inverse=True)
            won = [claim.won(tuple(Fraction(float(one)) for one in of_point)) for of_point in found]
            yield from (steps for steps, k in zip(some, which.reshape(-1), strict=True) if won[k])


def grid_truth(claim: GridClaim, network: Int8Network) -> Truth:
    """Whether both sides of a claim are true."""
    if not claim.on_grid:
        return Truth.FALSE
    if claim.steps is not None:
        assert claim.measure is not None
        there = len(claim.steps) == len(claim.sample) and all(
            claim.value(i, t) is not None for i, t in enumerate(claim.steps)
        )
        if not there or claim.measured(claim.steps) > claim.measure:
            return Truth.FALSE
        if next(network.winners(claim, iter([claim.steps])), None) is None:
            return Truth.FALSE
    if claim.below is None:
        return Truth.TRUE
    points = claim.few_points(claim.below - 1, MOST if network.tiny else FEW)
    if points is None:
        return Truth.UNKNOWN if network.tiny else _by_search(claim, claim.below, network)
    winner = next(network.winners(claim, iter(points)), None)
    return Truth.TRUE if winner is None else Truth.FALSE


def least_measure(claim: GridClaim, network: Int8Network) -> int | None:
    """Of an adversary; None where there is none, or too many points."""
    most = claim.measured(tuple(max(map(abs, claim.ways(i, 1 << 50))) for i in range(len(claim.sample))))
    points = claim.few_points(most, MOST)
    return None if points is None else min(map(claim.measured, network.winners(claim, iter(points))), default=None)


def _by_search(claim: GridClaim, below: int, network: Int8Network) -> Truth:
    """By the verdict on the least box that is one for all inputs that move, those that do not being masked."""
    x = np.array([float(c) for c in claim.sample], dtype=np.float32)
    moves = np.array([low < high for low, high in zip(claim.lower, claim.upper, strict=True)])
    if not moves.any():
        return Truth.UNKNOWN
    between = below - 0.5  # no point has such a measure
    radius = {"l0": between, "l2": math.sqrt(between) / claim.grid}.get(claim.norm, between / claim.grid)
    ends = [(low, high) for low, high, free in zip(claim.lower, claim.upper, moves, strict=True) if free]
    asked: dict[str, Any] = {"norm": claim.norm, "targets": claim.targets or claim.rivals, "grid": claim.grid}
    asked |= {"box": (float(min(low for low, _ in ends)), float(max(high for _, high in ends)))}
    asked |= {} if moves.all() else {"mask": moves.reshape(network.model.input_shape)}
    x, asked = x.reshape(network.model.input_shape), asked | {"time_limit": SECONDS}
    try:
        if claim.rivals is not None:
            loss = verifier.margin(network.model, x, radius, label=claim.against, **asked)
            true, worst = loss.upper < claim.margin, loss.worst
        else:
            found = verifier.verify(network.model, x, radius, margin=max(float(claim.margin), 0.0), **asked)
            same = claim.targets is not None or found.predicted == claim.against
            true, worst = found.verdict is Verdict.CERTIFIED and same, found.adversary
    except PlumblineError:
        return Truth.UNKNOWN
    if true:
        return Truth.TRUE
    if worst is not None:
        point = worst.input.astype(np.float64).reshape(-1)
        homes = [nearest(claim.grid * c) for c in claim.sample]
        steps = tuple(round(claim.grid * float(v)) - home for v, home in zip(point, homes, strict=True))
        if grid_truth(replace(claim, below=None, steps=steps, measure=below - 1), network) is Truth.TRUE:
            return Truth.FALSE
    return Truth.UNKNOWN


def grid_judged(first: dict[str, Any], honest: GridClaim, network: Int8Network) -> tuple[Truth, bool]:
    """Whether a proof's statement is true, by an honest one that is, and whether it says the same as that."""
    claim = grid_claim_of(first)
    if claim == honest:
        return Truth.TRUE, True
    if claim.on_grid and not network.tiny and claim.follows_from(honest):
        claim = replace(claim, below=None)
    return grid_truth(claim, network), False
