"""Is the claim of a proof file true? Decided without its proof, and by nothing that the checker computes with.

The statement is read again, witnesses are evaluated in fractions, and where the network is tiny, so are distances,
over all of its linear pieces. Where it is not, the search brackets them: what it calls an adversary is one in
fractions, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

import verifier
from encoders.errors import PlumblineError
from tests.exact_pieces import Form, Polytope, box, difference, nearest, pieces
from verifier.question.model import Model
from verifier.question.results import Verdict

Numbers = tuple[Fraction, ...]
Constraint = tuple[frozenset[tuple[int, Fraction]], Fraction]  # Σ a · x_i ≤ b; an input once


class Truth(Enum):
    """What is known of a claim."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Claim:
    """What a statement says, but for the file that it is about."""

    norm: str
    sample: Numbers
    lower: Numbers
    upper: Numbers
    against: int
    targets: tuple[int, ...] | None
    margin: Fraction
    radius: Fraction | None
    witness: Numbers | None
    distance: Fraction | None
    units: Numbers
    constraints: frozenset[Constraint]
    rivals: tuple[int, ...] | None = None

    def follows_from(self, other: Claim) -> bool:
        """No adversary within the radius, by what the other claim says of as large a ball with as many adversaries."""
        if self.radius is None:
            return True
        same = (self.norm, self.sample) == (other.norm, other.sample) and (self.targets is None) == (
            other.targets is None
        )
        fewer = (
            self.against == other.against and _among(self.rivals, other.rivals)
            if self.targets is None or other.targets is None
            else set(self.targets) <= set(other.targets)
        )
        inside = all(a >= b for a, b in zip(self.lower, other.lower, strict=True)) and all(
            a <= b for a, b in zip(self.upper, other.upper, strict=True)
        )
        near = other.radius is not None and self.radius <= other.radius
        near = near and all(a <= b for a, b in zip(self.units, other.units, strict=True))
        inside = inside and self.constraints >= other.constraints
        return same and fewer and inside and near and self.margin >= other.margin

    def far(self, point: Numbers) -> Fraction:
        """How far a point is from the sample, in units; squared in L2."""
        moves = [abs(x - c) / s for x, c, s in zip(point, self.sample, self.units, strict=True)]
        if self.norm == "linf":
            return max(moves)
        return sum((move if self.norm == "l1" else move * move for move in moves), Fraction(0))

    def within(self, point: Numbers, distance: Fraction) -> bool:
        """In the box, kept by all constraints, and no farther from the sample."""
        inside = all(a <= x <= b for a, x, b in zip(self.lower, point, self.upper, strict=True))
        inside = inside and all(sum(a * point[i] for i, a in row) <= limit for row, limit in self.constraints)
        return inside and self.far(point) <= (distance**2 if self.norm == "l2" else distance)

    def won(self, scores: Numbers) -> list[Fraction]:
        """For each class that an adversary may be of, its least lead."""
        if self.rivals is not None:
            return [scores[t] - scores[self.against] for t in self.rivals]
        if self.targets is None:
            return [scores[t] - scores[self.against] for t in range(len(scores)) if t != self.against]
        return [min(scores[t] - scores[j] for j in range(len(scores)) if j != t) for t in self.targets]


def _among(some: tuple[int, ...] | None, others: tuple[int, ...] | None) -> bool:
    """Whether rivals are among others; None are all classes."""
    return others is None or (some is not None and set(some) <= set(others))


def claim_of(first: dict[str, Any]) -> Claim:
    """The claim of a proof's first line."""
    sample = tuple(map(number, first["sample"]))
    lower, upper = (side_of_box(one, len(sample)) for one in first["box"])
    radius, witness, targets = first["radius"], first["witness"], first["targets"]
    return Claim(
        first["norm"],
        sample,
        lower,
        upper,
        first["against"],
        None if targets is None else tuple(targets),
        number(first["margin"]),
        None if radius is None else number(radius),
        None if witness is None else tuple(map(number, witness["input"])),
        None if witness is None else number(witness["distance"]),
        tuple(map(number, first["scale"])) if "scale" in first else (Fraction(1),) * len(sample),
        frozenset(
            (frozenset(zip(inputs, map(number, row), strict=True)), number(limit))
            for inputs, row, limit in first.get("constraints", [])
        ),
        tuple(first["rivals"]) if "rivals" in first else None,
    )


def number(found: Any) -> Fraction:
    """A hexadecimal float or a pair, exactly."""
    if not isinstance(found, str):
        return _times(int(found[0]), int(found[1]))
    mantissa, _, power = found.lower().replace("0x", "").partition("p")
    whole, _, part = mantissa.partition(".")
    return _times(int(whole + part, 16), int(power) - 4 * len(part))


def _times(mantissa: int, power: int) -> Fraction:
    return Fraction(mantissa << max(power, 0), 1 << max(-power, 0))


def side_of_box(found: Any, length: int) -> Numbers:
    """A side of the box, an entry for each input."""
    if isinstance(found, list) and found and not isinstance(found[0], int):
        return tuple(map(number, found))
    return (number(found),) * length


@dataclass(frozen=True, eq=False)
class Network:
    """A fully connected network, in fractions from its file, and as the search reads it."""

    path: Path
    tiny: bool
    _pieces: dict[tuple[Numbers, Numbers], list[tuple[Polytope, list[Form]]]] = field(default_factory=dict)

    @cached_property
    def model(self) -> Model:
        """As the search reads it."""
        return verifier.load(self.path)

    @cached_property
    def _graph(self) -> onnx.GraphProto:
        return onnx.load(str(self.path)).graph

    @cached_property
    def _constants(self) -> dict[str, Any]:
        exactly = np.vectorize(lambda one: Fraction(float(one)), otypes=[object])
        return {one.name: exactly(numpy_helper.to_array(one)) for one in self._graph.initializer}

    def scores(self, point: Numbers) -> Numbers:
        """The class scores."""
        known = {**self._constants, self._graph.input[0].name: np.array([point], dtype=object)}
        for node in self._graph.node:
            given = [known[name] for name in node.input]
            match node.op_type:
                case "MatMul":
                    found = given[0] @ given[1]
                case "Gemm":
                    turned = any(one.name == "transB" and one.i for one in node.attribute)
                    found = given[0] @ (given[1].T if turned else given[1]) + given[2]
                case "Add":
                    found = given[0] + given[1]
                case "Relu":
                    found = given[0] * (given[0] > 0)
                case "Flatten" | "Reshape":
                    found = given[0].reshape(1, -1)
                case other:
                    raise NotImplementedError(other)
            known[node.output[0]] = found
        return tuple(known[self._graph.output[0].name].reshape(-1))

    def pieces(self, lower: Numbers, upper: Numbers) -> list[tuple[Polytope, list[Form]]]:
        """Its linear pieces in a box, and the scores there."""
        if (lower, upper) not in self._pieces:
            self._pieces[lower, upper] = list(pieces(self.path, box(lower, upper)))
        return self._pieces[lower, upper]


def truth(claim: Claim, network: Network) -> Truth:
    """Whether both sides of a claim are true."""
    if claim.witness is not None:
        assert claim.distance is not None
        leads = claim.won(network.scores(claim.witness))
        good = claim.within(claim.witness, claim.distance) and any(a >= claim.margin and a > 0 for a in leads)
        if not good:
            return Truth.FALSE
    return Truth.TRUE if claim.radius is None else _radius_is_free(replace(claim, witness=None, distance=None), network)


def _radius_is_free(claim: Claim, network: Network) -> Truth:
    """Whether there is no adversary within the radius."""
    if not network.tiny:
        return _by_search(claim, network)
    assert claim.radius is not None
    found = distance(claim, network)
    free = found is None or found > (claim.radius**2 if claim.norm == "l2" else claim.radius)
    return Truth.TRUE if free else Truth.FALSE


def distance(claim: Claim, network: Network) -> Fraction | None:
    """The least distance of an adversary, squared in L2; None where there is none."""
    found = (
        nearest(left, claim.sample, claim.units, claim.norm)
        for part, scores in network.pieces(claim.lower, claim.upper)
        for left in _adversaries(claim, part, scores)
    )
    return min((one for one in found if one is not None), default=None)


def _adversaries(claim: Claim, part: Polytope, scores: list[Form]) -> list[Polytope]:
    """What is left of a linear piece, for each goal."""
    classes, size = range(len(scores)), len(claim.sample)
    for row, limit in claim.constraints:
        weights = dict(row)
        part = part.cut((tuple(weights.get(i, Fraction(0)) for i in range(size)), -limit))
    if claim.targets is None:
        rivals = claim.rivals or [t for t in classes if t != claim.against]
        goals = [(t, [claim.against]) for t in rivals]
    else:
        goals = [(t, [j for j in classes if j != t]) for t in claim.targets]
    return [part.cut_by(difference(scores[j], scores[t], claim.margin) for j in others) for t, others in goals]


def _by_search(claim: Claim, network: Network) -> Truth:
    """By the verdict on the nearest float32 sample, in the least box that is one for all inputs."""
    assert claim.radius is not None
    sample = np.array([float(c) for c in claim.sample], dtype=np.float32)
    moved = zip(sample, claim.sample, claim.units, strict=True)
    strayed = sum((abs(Fraction(float(x)) - c) / s for x, c, s in moved), Fraction(0))
    x = sample.reshape(network.model.input_shape)
    radius = float(np.nextafter(float(claim.radius + strayed), np.inf))
    asked: dict[str, Any] = {"norm": claim.norm, "targets": claim.rivals or claim.targets}
    asked["box"] = float(min(claim.lower)), float(max(claim.upper))
    asked["scale"] = [float(np.nextafter(float(s), np.inf)) for s in claim.units]
    if claim.constraints:
        matrix = np.zeros((len(claim.constraints), len(sample)))
        for at, (row, _) in enumerate(claim.constraints):
            for i, a in row:
                matrix[at, i] = float(a)
        asked["constraints"] = matrix, [float(limit) for _, limit in claim.constraints]
    try:
        if claim.rivals or claim.margin < 0:  # verdicts know no such; who leads all classes by it leads this one by it
            loss = verifier.margin(network.model, x, radius, tolerance=1e-9, **asked)
            free, adversary, predicted = loss.upper < claim.margin, loss.worst, loss.against
        else:
            found = verifier.verify(network.model, x, radius, margin=float(claim.margin), **asked)
            free, adversary, predicted = found.verdict is Verdict.CERTIFIED, found.adversary, found.predicted
    except PlumblineError:
        return Truth.UNKNOWN
    if free and (claim.targets is not None or predicted == claim.against):
        return Truth.TRUE
    if adversary is not None:
        point = tuple(Fraction(float(one)) for one in adversary.input.reshape(-1))
        if claim.within(point, claim.radius) and max(claim.won(network.scores(point))) >= claim.margin:
            return Truth.FALSE
    return Truth.UNKNOWN


def judged(first: dict[str, Any], honest: Claim, network: Network) -> tuple[Truth, bool]:
    """Whether a proof's statement is true, by an honest one that is, and whether it says the same as that."""
    claim = claim_of(first)
    if claim == honest:
        return Truth.TRUE, True
    if claim.follows_from(honest):
        claim = replace(claim, radius=None)
    return truth(claim, network), False
