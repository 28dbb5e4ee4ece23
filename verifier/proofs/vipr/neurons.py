"""The neurons' ranges at a node of a tree, each side a line of the certificate, and the lines above their ReLUs."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from verifier.proofs.vipr.certificate import ONE, ZERO, Certificate, Combination, Dyadic, exactly
from verifier.proofs.vipr.problem import LESS, Problem, nonzero


@dataclass(frozen=True)
class Bound:
    """One side of a range, and the line that says so."""

    value: Fraction
    line: int


@dataclass
class Neuron:
    """A neuron with its range, and the lines above its ReLU as far as they were asked for."""

    layer: int
    at: int
    lower: Bound
    upper: Bound
    above: dict[Dyadic, int] = field(default_factory=dict)  # by slope
    by_bits: dict[int, tuple[int, Dyadic]] = field(default_factory=dict)  # the line and its slope

    def __post_init__(self) -> None:
        self.on = self.lower.value >= 0
        self.off = not self.on and self.upper.value <= 0
        self.open = not self.on and not self.off
        self.rule = self.upper.value + self.lower.value >= 0  # whether the lower slope is 1 where none is given


class Neurons:
    """All neurons, as they are at the node at hand; what was tightened since a mark can be undone."""

    def __init__(self, certificate: Certificate, problem: Problem) -> None:
        self.certificate, self.problem = certificate, problem
        self.layers: list[list[Neuron]] = []
        self._trail: list[Neuron] = []
        self._phases: dict[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]] = {}

    @property
    def mark(self) -> int:
        """Where this node stands, for `back_to`."""
        return len(self._trail)

    def back_to(self, mark: int) -> None:
        """Undo what was tightened since."""
        while len(self._trail) > mark:
            before = self._trail.pop()
            self.layers[before.layer][before.at] = before

    def tighten(self, layer: int, at: int, side: str, bound: Bound) -> None:
        """Replace one side of a range, where the value is better."""
        before = self.layers[layer][at]
        better = bound.value > before.lower.value if side == "lower" else bound.value < before.upper.value
        if better:
            self._trail.append(before)
            ends = (bound, before.upper) if side == "lower" else (before.lower, bound)
            self.layers[layer][at] = Neuron(layer, at, *ends)

    def phases(self, layer: int, at: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """y ≤ h and its assumption z ≥ 1, y ≤ 0 and its assumption z ≤ 0."""
        if (layer, at) not in self._phases:
            problem, c, name = self.problem, self.certificate, f"{layer}_{at}"
            h, y, z = problem.h(layer)[at], problem.y(layer)[at], problem.z[layer][at]
            (low, e), (high, d) = problem.limits[layer][at]
            above = c.assume(f"z_{name}_on", "G", z, 1)
            found = Combination([(problem.on[layer][at], -1, 0)])
            found.add(above, -low, e)
            on = c.follows(f"y_{name}_on", "L", {y: ONE, h: LESS}, ZERO, found)
            below = c.assume(f"z_{name}_off", "L", z, 0)
            found = Combination([(problem.off[layer][at], -1, 0)])
            found.add(below, -high, d)
            off = c.follows(f"y_{name}_off", "L", {y: ONE}, ZERO, found)
            self._phases[layer, at] = (on, above), (off, below)
        return self._phases[layer, at]

    def split(self, layer: int, at: int, on: bool) -> Bound:
        """h ≥ 0 where z is 1, or h ≤ 0 where it is 0."""
        (active, _), (inactive, _) = self.phases(layer, at)
        problem, c = self.problem, self.certificate
        if on:
            found = Combination([(active, -1, 0), (problem.y_low[layer][at], 1, 0)])
        else:
            found = Combination([(inactive, -1, 0), (problem.rises[layer][at], 1, 0)])
        name, sense = f"h_{layer}_{at}_{'on' if on else 'off'}", "G" if on else "L"
        return Bound(Fraction(0), c.follows(name, sense, {problem.h(layer)[at]: ONE}, ZERO, found))

    def upper_line(self, neuron: Neuron, bits: int) -> tuple[int, Dyadic]:
        """y ≤ λ h + μ on the range, and λ of so many bits: the chord's where the neuron is open, else 1 or 0."""
        if bits not in neuron.by_bits:
            slope = ONE if neuron.on else ZERO
            if neuron.open:
                low, high = neuron.lower.value, neuron.upper.value
                slope = int(high * (1 << bits) / (high - low)), -bits
            neuron.by_bits[bits] = self._above(neuron, slope), slope
        return neuron.by_bits[bits]

    def greatest(self, neuron: Neuron) -> int:
        """y ≤ max(u, 0)."""
        return self._above(neuron, ZERO)

    def _above(self, neuron: Neuron, slope: Dyadic) -> int:
        """y ≤ λ h + μ: where z is 0 by y ≤ 0 and h ≥ l, where it is 1 by y ≤ h and h ≤ u."""
        if slope not in neuron.above:
            (mantissa, exponent), problem, c = slope, self.problem, self.certificate
            layer, at = neuron.layer, neuron.at
            rest = (1 << -exponent) - mantissa  # 1 - λ
            part = Fraction(mantissa, 1 << -exponent)
            most = exactly(max(-part * neuron.lower.value, (1 - part) * neuron.upper.value, Fraction(0)))
            coefficients = nonzero({problem.y(layer)[at]: ONE, problem.h(layer)[at]: (-mantissa, exponent)})
            cases = []
            for (line, assumed), bound, by in zip(
                self.phases(layer, at), (neuron.upper.line, neuron.lower.line), (-rest, mantissa), strict=True
            ):
                found = Combination([(line, -1, 0)])
                found.add(bound, by, exponent)
                name = f"y_{layer}_{at}_case"
                cases.append((c.follows(name, "L", coefficients, most, found), assumed))
            neuron.above[slope] = c.cases(f"y_{layer}_{at}_most", "L", coefficients, most, *cases)
        return neuron.above[slope]
