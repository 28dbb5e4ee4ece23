"""The mixed-integer program that says what a proof's statement asks: its variables, and all its constraints.

An adversary is a point of it, and a point of it is an adversary: a ReLU is y ≥ 0, y ≥ h, y ≤ U z and y ≤ h - L (1 - z)
with a binary z and L ≤ h ≤ U by intervals on the largest ball that is spoken of. r is the distance, or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from verifier.checker import Exact, Statement
from verifier.checker.arithmetic import Span
from verifier.checker.exact import Dyadics
from verifier.checker.network import Network, Relu
from verifier.checker.region import Region
from verifier.checker.statement import Goal
from verifier.proofs.vipr.certificate import ONE, ZERO, Certificate, Dyadic, exactly
from verifier.proofs.vipr.layers import Layer, written_out

LESS: Dyadic = (-1, 0)


class Problem:
    """Where each variable and each constraint of the program stands."""

    def __init__(self, certificate: Certificate, statement: Statement, network: Network) -> None:
        self.certificate, self.statement, self.network = certificate, statement, network
        self.exact = Exact()
        self.layers = written_out(self.exact, network)
        self.goals = statement.goals(network.classes)
        self.radius, self.distance = statement.radius, statement.distance
        reach = self.radius if self.distance is None else self.distance
        assert reach is not None
        self.reach = reach
        self.units = statement.scale or (Fraction(1),) * network.inputs
        self.spans = self._spans()
        self._name_variables()
        self._bound_variables()
        self._say_distance()
        self._say_network()
        self._say_goals()
        self._say_radius()

    def _spans(self) -> dict[int, Span]:
        """Where inputs, neurons and scores lie on the ball of the reach, by intervals from layer to layer."""
        region, none = Region(self.exact, self.statement, self.reach), self.exact.zeros(1)
        found: dict[int, Span] = {0: (region.lower, region.upper)}
        for index, value in enumerate(self.network.values):
            if isinstance(value, Relu):
                low, high = found[value.source]
                ends = [self.exact.where(self.exact.positive(end), end, none) for end in (low, high)]
                found[index] = ends[0], ends[1]
            elif index in self.layers:
                found[index] = self.layers[index].span(self.exact, found)
        return found

    def _name_variables(self) -> None:
        c, network = self.certificate, self.network
        self.x = [c.variable(f"x_{i}") for i in range(network.inputs)]
        self.r = c.objective = c.variable("r")
        self.t = [c.variable(f"t_{i}") for i in range(network.inputs)] if self.statement.norm == "l1" else []
        self.of_value: dict[int, list[int]] = {0: self.x}
        self.z: list[list[int]] = []
        layer_of = {network.before(layer): layer for layer in reversed(range(len(network.relus)))}
        for index, value in enumerate(network.values):
            if isinstance(value, Relu):
                name = f"y_{value.layer}"
                self.z.append([c.variable(f"z_{value.layer}_{j}", integer=True) for j in range(value.size)])
            elif index in self.layers:
                name = "f" if index == network.scores else f"h_{layer_of[index]}"
            else:
                continue
            self.of_value[index] = [c.variable(f"{name}_{j}") for j in range(value.size)]
        self.f = self.of_value[network.scores]
        self.g = [c.variable(f"g_{goal.target}", integer=True) for goal in self.goals]
        self.b = c.variable("b", integer=True) if self.radius is not None and self.distance is not None else None

    def h(self, layer: int) -> list[int]:
        """The variables of a layer's neurons before their ReLU."""
        return self.of_value[self.network.before(layer)]

    def y(self, layer: int) -> list[int]:
        """The variables of a layer's neurons after their ReLU."""
        return self.of_value[self.network.relus[layer]]

    def _bound(self, variable: int, side: str, value: Dyadic) -> int:
        name = f"{self.certificate.variables[variable]}_{'low' if side == 'G' else 'high'}"
        return self.certificate.constraint(name, side, {variable: ONE}, value)

    def _bound_variables(self) -> None:
        """The box, and what every variable is bounded by at all."""
        lower, upper = self.statement.lower, self.statement.upper
        self.x_low = [self._bound(x, "G", exactly(low)) for x, low in zip(self.x, lower, strict=True)]
        self.x_high = [self._bound(x, "L", exactly(high)) for x, high in zip(self.x, upper, strict=True)]
        self.t_low = [self._bound(t, "G", ZERO) for t in self.t]
        self.r_high = self._bound(self.r, "L", exactly(self.reach)) if self.b is None else -1
        self.limits: list[list[tuple[Dyadic, Dyadic]]] = []  # of each neuron, L ≤ 0 and U ≥ 0
        self.y_low: list[list[int]] = []
        self.y_high: list[list[int]] = []
        for layer in range(len(self.network.relus)):
            low, high = map(each, self.spans[self.network.before(layer)])
            self.limits.append([((min(a, 0), e), (max(b, 0), d)) for (a, e), (b, d) in zip(low, high, strict=True)])
            self.y_low.append([self._bound(y, "G", ZERO) for y in self.y(layer)])
            self.y_high.append(
                [self._bound(y, "L", up) for y, (_, up) in zip(self.y(layer), self.limits[layer], strict=True)]
            )
        for binary in self.certificate.integers:
            self._bound(binary, "G", ZERO)
            self._bound(binary, "L", ONE)

    def _say_distance(self) -> None:
        """r is at least the distance: -r ≤ (x - c) / s ≤ r, or with t in place of r, and the sum of t at most r."""
        c, far = self.certificate, self.t or [self.r] * len(self.x)
        self.near_low, self.near_high = [], []
        for i, (x, at, unit) in enumerate(zip(self.x, self.statement.sample, self.units, strict=True)):
            (m, e), at_c = exactly(unit), exactly(at)
            self.near_low.append(c.constraint(f"x_{i}_falls", "G", {x: ONE, far[i]: (m, e)}, at_c))
            self.near_high.append(c.constraint(f"x_{i}_rises", "L", {x: ONE, far[i]: (-m, e)}, at_c))
        if self.t:
            self.moves = c.constraint("moves", "L", {**dict.fromkeys(self.t, ONE), self.r: LESS}, ZERO)

    def _say_network(self) -> None:
        """Each affine value, and each ReLU."""
        self.equals: dict[int, list[int]] = {}
        self.rises: list[list[int]] = []
        self.off: list[list[int]] = []
        self.on: list[list[int]] = []
        for index, value in enumerate(self.network.values):
            if isinstance(value, Relu):
                self._relu(value)
            elif index in self.layers:
                self.equals[index] = self._affine(self.of_value[index], self.layers[index])

    def _affine(self, variables: list[int], layer: Layer) -> list[int]:
        """v_j - W_j · (what it reads) = its constant."""
        c = self.certificate
        rows: list[dict[int, Dyadic]] = [{v: ONE} for v in variables]
        for part, source in layer.parts:
            for row, numbers in zip(rows, part.weights.weights.T, strict=True):
                places = zip(self.of_value[source], numbers, strict=True)
                row.update({v: (-int(m), part.exponent) for v, m in places if m})
        sides = zip(variables, rows, each(layer.constant), strict=True)
        return [c.constraint(f"{c.variables[v]}_is", "E", row, side) for v, row, side in sides]

    def _relu(self, value: Relu) -> None:
        c, rises, off, on = self.certificate, [], [], []
        neurons = zip(
            self.of_value[value.source], self.y(value.layer), self.z[value.layer], self.limits[value.layer], strict=True
        )
        for j, (h, y, z, ((low, e), (high, d))) in enumerate(neurons):
            name = f"y_{value.layer}_{j}"
            rises.append(c.constraint(f"{name}_above", "G", {y: ONE, h: LESS}, ZERO))
            off.append(c.constraint(f"{name}_off", "L", nonzero({y: ONE, z: (-high, d)}), ZERO))
            on.append(c.constraint(f"{name}_on", "L", nonzero({y: ONE, h: LESS, z: (-low, e)}), (-low, e)))
        self.rises.append(rises)
        self.off.append(off)
        self.on.append(on)

    def _say_goals(self) -> None:
        """One goal is reached: where g_t = 1, f_j - f_t + margin ≤ 0 for each of its j; and all constraints hold."""
        c, (low, high) = self.certificate, map(each, self.spans[self.network.scores])
        self.rows: list[list[tuple[int, Dyadic]]] = []  # of each goal, each row and what switches it off
        for goal, g in zip(self.goals, self.g, strict=True):
            rows = []
            for j in goal.others:
                most = exactly(
                    max(Fraction(0), _fraction(high[j]) - _fraction(low[goal.target]) + self.statement.margin)
                )
                side = exactly(_fraction(most) - self.statement.margin)
                row = nonzero({self.f[j]: ONE, self.f[goal.target]: LESS, g: most})
                rows.append((c.constraint(f"goal_{goal.target}_{j}", "L", row, side), most))
            self.rows.append(rows)
        self.one_goal = c.constraint("one_goal", "E", dict.fromkeys(self.g, ONE), ONE)
        self.kept = []
        for k, one in enumerate(self.statement.constraints):
            numbers = {self.x[i]: exactly(a) for i, a in zip(one.inputs, one.factors, strict=True)}
            self.kept.append(c.constraint(f"constraint_{k}", "L", nonzero(numbers), exactly(one.bound)))

    def _say_radius(self) -> None:
        """b says whether r exceeds the radius; what is to be proven, and the point that shows the other side."""
        c = self.certificate
        if self.b is not None and self.radius is not None:
            inside, beyond = self.radius, self.reach - self.radius
            self.within = c.constraint("within", "L", {self.r: ONE, self.b: exactly(-beyond)}, exactly(inside))
            self.beyond = c.constraint("beyond", "G", nonzero({self.r: ONE, self.b: exactly(-inside)}), ZERO)
        if self.distance is not None:
            c.goal = f"range {'-inf' if self.radius is None else self.radius} {self.distance}"
            c.solution = self._solution()

    def _solution(self) -> dict[int, Fraction]:
        """The witness, with r the distance that it is said to lie at."""
        statement, exact = self.statement, self.exact
        assert statement.witness is not None
        assert self.distance is not None
        found = {self.r: self.distance}
        moves = zip(statement.witness, statement.sample, self.units, strict=True)
        found |= dict(zip(self.t, [abs(at - c) / unit for at, c, unit in moves], strict=False))
        values = {0: exact.exactly(statement.witness)}
        for index, value in enumerate(self.network.values):
            if isinstance(value, Relu):
                before, on = values[value.source], exact.positive(values[value.source])
                values[index] = exact.where(on, before, exact.zeros(1))
                found |= dict(zip(self.z[value.layer], (Fraction(int(one)) for one in on), strict=True))
            elif index in self.layers:
                values[index] = self.layers[index].at(exact, values)
        for index, numbers in values.items():
            found |= dict(zip(self.of_value[index], map(_fraction, each(numbers)), strict=True))
        found[self.g[self._reached([found[f] for f in self.f])]] = Fraction(1)
        return found if self.b is None else found | {self.b: Fraction(1)}

    def _reached(self, scores: Sequence[Fraction]) -> int:
        """The first goal that the witness reaches."""
        return next(at for at, goal in enumerate(self.goals) if _reaches(scores, goal, self.statement.margin))


def _reaches(scores: Sequence[Fraction], goal: Goal, margin: Fraction) -> bool:
    return all(scores[goal.target] - scores[j] >= margin for j in goal.others)


def each(numbers: Dyadics) -> list[Dyadic]:
    """The entries of an array."""
    return [(int(m), numbers.exponent) for m in numbers.ints]


def _fraction(number: Dyadic) -> Fraction:
    mantissa, exponent = number
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)


def nonzero(coefficients: dict[int, Dyadic]) -> dict[int, Dyadic]:
    """The same without those that are 0."""
    return {at: number for at, number in coefficients.items() if number[0]}
