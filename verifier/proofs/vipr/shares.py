"""Upper lines by shares ("Upper lines by shares" of docs/reference/proof-format.md), derived case by case."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from verifier.checker import Multipliers
from verifier.checker.exact import Dyadics, objects
from verifier.checker.lines import dyadic
from verifier.proofs.vipr.ball import Ball
from verifier.proofs.vipr.certificate import Certificate, Combination, Dyadic, exactly
from verifier.proofs.vipr.neurons import Neurons
from verifier.proofs.vipr.passes import Function, Relaxation, UpperShare
from verifier.proofs.vipr.problem import Problem, each, nonzero


class Shares:
    """The lines of the neurons that a `close` or a `cap` lists, each derived when it is first needed."""

    def __init__(self, certificate: Certificate, problem: Problem, neurons: Neurons, ball: Ball) -> None:
        self.certificate, self.problem, self.neurons, self.ball = certificate, problem, neurons, ball

    def of(self, given: Multipliers) -> dict[tuple[int, int], Callable[[], UpperShare]]:
        """What makes the line of each neuron that is listed; the same line when asked again."""
        return {
            (layer, at): cache(partial(self._line, layer, at, shares, given))
            for layer, (listed, of_each) in given.shares.items()
            for at, shares in zip(listed, of_each, strict=True)
        }

    def _line(self, layer: int, at: int, shares: list[int], given: Multipliers) -> UpperShare:
        """y ≤ s·η·x + c: where z is 0 as the right side is ≥ 0, where it is 1 as it is ≥ η·x + η_0 ≥ h."""
        c, name, y = self.certificate, f"{layer}_{at}", self.problem.y(layer)[at]
        rises, line = self._rises(layer, at)
        last = len(shares) - 1
        parts = [shares[b if m > 0 else last - b] for m, b in zip(rises.ints, given.bins, strict=True)]
        row = Dyadics(objects([p * int(m) for p, m in zip(parts, rises.ints, strict=True)]),
                      rises.exponent - given.share_bits)  # fmt: skip
        (on, one), (off, zero) = self.neurons.phases(layer, at)
        inactive, active = Combination([(off, -1, 0)]), Combination([(on, -1, 0), (line, -1, 0)])
        self.ball.least(row, inactive)
        self.ball.least(row - rises, active)
        side = -min(c.least(inactive), c.least(active))
        coefficients = {y: (1, 0)} | of_input(self.problem, -row)
        cases = [
            (c.follows(f"y_{name}_case", "L", coefficients, exactly(side), found), assumed)
            for found, assumed in ((active, one), (inactive, zero))
        ]
        return UpperShare(c.cases(f"y_{name}_share", "L", coefficients, exactly(side), *cases), row)

    def _rises(self, layer: int, at: int) -> tuple[Dyadics, int]:
        """η, and the line that says h - η·x ≤ η_0."""
        problem, found = self.problem, Combination()
        function = Function(problem, found)
        function.add(problem.network.before(layer), unit_row(problem, layer, at, -1))
        rises = -function.back(self.neurons, Relaxation())
        side = -self.certificate.least(found)
        h = problem.h(layer)[at]
        coefficients: dict[int, Dyadic] = of_input(problem, -rises)
        before = coefficients.get(h)  # where the neuron reads the input itself
        coefficients[h] = (1, 0) if before is None else exactly(1 + dyadic(*before))
        name = f"h_{layer}_{at}_rises"
        return rises, self.certificate.follows(name, "L", nonzero(coefficients), exactly(side), found)


def unit_row(problem: Problem, layer: int, at: int, sign: int) -> Dyadics:
    """h of one neuron, or its negative."""
    return problem.exact.spread(problem.exact.scaled([sign], 0), [at], problem.network.neurons(layer))


def of_input(problem: Problem, row: Dyadics) -> dict[int, Dyadic]:
    """Coefficients of x, without those that are 0."""
    return nonzero(dict(zip(problem.x, each(row), strict=True)))
