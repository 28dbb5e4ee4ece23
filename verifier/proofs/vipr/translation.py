"""A proof as a VIPR certificate, line by line: what the format's rules say becomes combinations and cases.

Each line is first checked by the exact checker. Bounds are then shown with coefficients of few bits, or with more
where those do not reach what the line claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from encoders.errors import ProofError
from verifier.checker import Checker, Exact, Multipliers, Statement
from verifier.checker.exact import Dyadics
from verifier.checker.lines import dyadic
from verifier.checker.network import Network
from verifier.checker.witness import check_witness
from verifier.proofs.vipr.ball import Ball
from verifier.proofs.vipr.certificate import ONE, ZERO, Certificate, Combination, Dyadic, exactly
from verifier.proofs.vipr.neurons import Bound, Neuron, Neurons
from verifier.proofs.vipr.passes import Function, Relaxation, rounded
from verifier.proofs.vipr.problem import LESS, Problem
from verifier.proofs.vipr.shares import Shares, of_input, unit_row

BITS = (32, None)  # of coefficients, one after the other until the claim is reached


@dataclass
class _Open:
    """A split whose subtrees are on the way: where to go back to, and how the first one was closed."""

    mark: int
    layer: int
    at: int
    first: int | None = None


@dataclass(frozen=True)
class _Cut:
    """φ ≤ 0: its coefficients of x, and the line, which says -φ ≥ 0."""

    coefficients: Dyadics
    line: int


class Translation:
    """Takes the lines of a proof one at a time, as the checker does."""

    def __init__(self, statement: Statement, network: Network) -> None:
        self.checker = Checker(statement, network, Exact())
        check_witness(statement, network)
        self.certificate = Certificate()
        self.problem = Problem(self.certificate, statement, network)
        self.neurons = Neurons(self.certificate, self.problem)
        self._open: list[_Open] = []
        self._goal = -1
        self._reached: int | None = None  # the assumption that the goal at hand is reached
        self._never: list[int] = []  # of each goal that is done, the line g ≤ 0
        if statement.radius is not None:
            self.ball = Ball(self.certificate, self.problem)
            self.shares = Shares(self.certificate, self.problem, self.neurons, self.ball)

    def take(self, line: dict[str, Any]) -> None:
        """Check one line, and say the same in the certificate."""
        kind = next((one for one in ("parabolas", "products", "claim") if one in line), None)
        if kind is not None:
            raise ProofError(_REFUSED[kind])
        self.checker.take(line)
        for name, rule in _RULES.items():
            if name in line:
                rule(self, line)

    def finish(self) -> None:
        """Nothing is missing; the last line is what was to be proven."""
        self.checker.finish()
        if self.problem.radius is None:
            return
        c = self.certificate
        found = Combination([(self.problem.one_goal, 1, 0), *((line, -1, 0) for line in self._never)])
        nowhere = c.absurd("nowhere", found)
        if self.problem.b is not None and self.ball.assumption is not None:
            side = exactly(self.ball.radius)
            c.cases("least", "G", {self.problem.r: ONE}, side, (nowhere, self.ball.assumption), self.ball.beyond())

    def _ranges(self, line: dict[str, Any]) -> None:
        layer, power = line["ranges"], line["exponent"]
        lower, upper = (
            [self._end(layer, at, side, dyadic(m, power)) for at, m in enumerate(line[side])]
            for side in ("lower", "upper")
        )
        self.neurons.layers.append([Neuron(layer, at, *ends) for at, ends in enumerate(zip(lower, upper, strict=True))])

    def _end(self, layer: int, at: int, side: str, value: Fraction) -> Bound:
        """One side of a range, by intervals or else by a backward pass."""
        found = Combination()
        function = self._neuron(layer, at, side, found)
        self.ball.least_by_intervals(function.back_by_intervals(self.neurons), found)
        bound = self._bound(layer, at, side, value, found)
        return self._by_pass(layer, at, side, value, {}) if bound is None else bound

    def _by_pass(
        self, layer: int, at: int, side: str, value: Fraction, cuts: Mapping[int | None, _Cut], weight: Dyadic = ZERO
    ) -> Bound:
        """One side of a range by a backward pass; where the weight is above 0, on the part of the ball where φ ≤ 0."""
        for bits in BITS:
            found = Combination()
            row = self._neuron(layer, at, side, found).back(self.neurons, Relaxation(bits))
            if weight[0]:
                phi = cuts[bits].coefficients
                found.add(cuts[bits].line, *weight)
                row = row + Dyadics(phi.ints * weight[0], phi.exponent + weight[1])
            self.ball.least(row, found)
            bound = self._bound(layer, at, side, value, found)
            if bound is not None:
                return bound
        raise ProofError(f"the {side} end of neuron {at} of layer {layer} does not follow from linear constraints")

    def _neuron(self, layer: int, at: int, side: str, found: Combination) -> Function:
        """h of a neuron (`lower`), or -h (`upper`)."""
        function = Function(self.problem, found)
        function.add(
            self.problem.network.before(layer), unit_row(self.problem, layer, at, 1 if side == "lower" else -1)
        )
        return function

    def _bound(self, layer: int, at: int, side: str, value: Fraction, found: Combination) -> Bound | None:
        """h ≥ value or h ≤ value, if a combination says so."""
        if self.certificate.least(found) < (value if side == "lower" else -value):
            return None
        h, (name, sense) = self.problem.h(layer)[at], ("low", "G") if side == "lower" else ("high", "L")
        line = self.certificate.follows(f"h_{layer}_{at}_{name}", sense, {h: ONE}, exactly(value), found)
        return Bound(value, line)

    def _goal_begins(self, line: dict[str, Any]) -> None:
        """From here on the goal is reached: its rows are ≤ 0."""
        self._goal += 1
        goal, c = self.problem.goals[self._goal], self.certificate
        self._reached = c.assume(f"g_{goal.target}_reached", "G", self.problem.g[self._goal], 1)
        self._rows = []
        for j, (row, (most, exponent)) in zip(goal.others, self.problem.rows[self._goal], strict=True):
            found = Combination([(row, -1, 0)])
            found.add(self._reached, most, exponent)
            leads = {self.problem.f[j]: ONE, self.problem.f[goal.target]: LESS}
            side = exactly(-self.problem.statement.margin)
            self._rows.append(c.follows(f"goal_{goal.target}_{j}", "L", leads, side, found))

    def _function(self, given: Multipliers, relaxation: Relaxation) -> tuple[Dyadics, Combination]:
        """What is left of x of the combination of rows and signs, and its other lines: -S, but for what it reads."""
        found, problem = Combination(), self.problem
        function, goal = Function(problem, found), problem.goals[self._goal]
        power, exact = given.rows_exponent, problem.exact
        scores = [0] * len(problem.f)
        for j, lead, theta in zip(goal.others, self._rows, given.rows, strict=False):
            found.add(lead, -theta, power)
            scores[j] += theta
            scores[goal.target] -= theta
        function.add(problem.network.scores, exact.scaled(scores, power))
        kept = zip(problem.kept, problem.statement.constraints, given.rows[len(goal.others) :], strict=True)
        for line, constraint, theta in kept:
            found.add(line, -theta, power)
            row = exact.spread(exact.exactly(constraint.factors), list(constraint.inputs), problem.network.inputs)
            function.add(0, Dyadics(row.ints * theta, row.exponent + power))
        for layer, (listed, signs) in given.signs.items():
            betas = exact.scaled([-m for m in signs], given.signs_exponent)
            function.add(problem.network.before(layer), exact.spread(betas, listed, problem.network.neurons(layer)))
            for at, m in zip(listed, signs, strict=True):
                neuron = self.neurons.layers[layer][at]
                found.add((neuron.lower if m > 0 else neuron.upper).line, m, given.signs_exponent)
        return function.back(self.neurons, relaxation), found

    def _relaxations(self, line: dict[str, Any]) -> tuple[Multipliers, list[Relaxation]]:
        """What a line says of a pass, for each number of bits."""
        given = self.checker.multipliers(line)
        slopes = {
            (layer, at): m
            for layer, (listed, numbers) in given.slopes.items()
            for at, m in zip(listed, numbers, strict=True)
        }
        shares = self.shares.of(given)
        return given, [Relaxation(bits, slopes, given.slope_bits, shares) for bits in BITS]

    def _close(self, line: dict[str, Any]) -> None:
        given, relaxations = self._relaxations(line)
        for relaxation in relaxations:
            row, found = self._function(given, relaxation)
            self.ball.least(row, found)
            if self.certificate.least(found) > 0:
                self._closed(self.certificate.absurd("closed", found))
                return
        raise ProofError("the node is not closed by linear constraints")

    def _cap(self, line: dict[str, Any]) -> None:
        given, relaxations = self._relaxations(line)
        cuts = {one.bits: self._cut(given, one) for one in relaxations}
        power, of_weights = line["exponent"], line.get("weights_exponent", 0)
        for layer, listed, side, values, weights in line["cap"]:
            bounds = [
                (at, self._by_pass(layer, at, side, dyadic(m, power), cuts, (weight, of_weights)))
                for at, m, weight in zip(listed, values, weights, strict=True)
            ]
            for at, bound in bounds:  # all of an entry follow from the ranges before it
                self.neurons.tighten(layer, at, side, bound)

    def _cut(self, given: Multipliers, relaxation: Relaxation) -> _Cut:
        """φ ≤ 0, with coefficients as short as is asked for: what that leaves of x, the ball bounds."""
        row, found = self._function(given, relaxation)
        if relaxation.bits is not None:
            short = rounded(row, relaxation.bits)
            self.ball.least(row - short, found)
            row = short
        side = exactly(self.certificate.least(found))
        return _Cut(row, self.certificate.follows("cut", "G", of_input(self.problem, -row), side, found))

    def _split(self, line: dict[str, Any]) -> None:
        layer, at = line["split"]
        self._open.append(_Open(self.neurons.mark, layer, at))
        self.neurons.tighten(layer, at, "lower", self.neurons.split(layer, at, on=True))

    def _empty(self, line: dict[str, Any]) -> None:
        layer, at = line["empty"]
        neuron = self.neurons.layers[layer][at]
        found = Combination([(neuron.lower.line, 1, 0), (neuron.upper.line, -1, 0)])
        self._closed(self.certificate.absurd("empty", found))

    def _closed(self, absurd: int) -> None:
        """On to the second subtree of the last split, or, if that was it, to what both subtrees say."""
        c = self.certificate
        while self._open:
            above = self._open[-1]
            self.neurons.back_to(above.mark)
            if above.first is None:
                above.first = absurd
                bound = self.neurons.split(above.layer, above.at, on=False)
                self.neurons.tighten(above.layer, above.at, "upper", bound)
                return
            (_, on), (_, off) = self.neurons.phases(above.layer, above.at)
            absurd = c.cases("split", "G", {}, ONE, (above.first, on), (absurd, off))
            self._open.pop()
        goal, g = self.problem.goals[self._goal], self.problem.g[self._goal]
        assert self._reached is not None
        none = c.assume(f"g_{goal.target}_none", "L", g, 0)
        never = c.cases(f"g_{goal.target}_never", "L", {g: ONE}, ZERO, (absurd, self._reached), (none, none))
        self._never.append(never)
        self.neurons.back_to(0)


_RULES = {
    "ranges": Translation._ranges,
    "goal": Translation._goal_begins,
    "cap": Translation._cap,
    "split": Translation._split,
    "close": Translation._close,
    "empty": Translation._empty,
}
_REFUSED = {
    "parabolas": "parabolas have no linear form: ask a smaller ball, or in l1, or with a scale of 1 for every input",
    "products": "products have no linear form: ask a smaller ball, or in l1, or with a scale of 1 for every input",
    "claim": "a solver's claim is no proof: ask again with more time, until the file has none",
}
