"""Lines with parabolas against a second checker, in fractions, that was written from the format's page alone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.verifier.checker import small_proofs
from tests.verifier.checker.small_proofs import Line, hexadecimal
from verifier.checker import check

KEYS = ("weights", "spreads", "prices", "point")
ARITHMETICS: tuple[Literal["exact", "float"], ...] = ("exact", "float")
HAIR = Fraction(1, 2**18)  # for the rounding of the matrix, which the page leaves open
Row: TypeAlias = NDArray[Any]  # of fractions
fractions = np.frompyfunc(lambda number: Fraction(float(number)), 1, 1)


@dataclass(frozen=True)
class Page:
    """A region and the ranges at a tree's root; weights are inputs × outputs."""

    layers: list[tuple[Row, Row]]
    norm: str
    radius: Fraction
    sample: Row
    box: tuple[Row, Row]
    unit: Row
    ranges: list[tuple[Row, Row]]

    @property
    def span(self) -> tuple[Row, Row]:
        """What each input lies in."""
        far = self.radius * self.unit
        return np.maximum(self.box[0], self.sample - far), np.minimum(self.box[1], self.sample + far)

    def least(self, row: Row, value: Any) -> Any:
        """What a linear function is at least on the region: in L1 the ball's moves go where they count most."""
        value, left = value + row @ self.sample, self.radius
        rooms = np.where(row > 0, self.sample - self.box[0], self.box[1] - self.sample) / self.unit
        for size, room in sorted(zip(abs(row) * self.unit, rooms, strict=True), reverse=True):
            value -= size * min(left, room)
            left -= min(left, room) if self.norm == "l1" else 0
        return value

    def nothing(self) -> list[Row]:
        """No coefficient before any neuron."""
        return [0 * low for low, _ in self.ranges]

    def back(self, h: list[Row], z: list[Row], row: Row, value: Any) -> tuple[Row, Any]:
        """The backward pass by the table alone."""
        for k in reversed(range(len(self.ranges))):
            through = h[k].copy()
            for j, (q, low, high) in enumerate(zip(z[k], *self.ranges[k], strict=True)):
                if low >= 0:
                    through[j] += q
                elif high > 0 and q >= 0:
                    through[j] += q * (high >= -low)
                elif high > 0:
                    slope = Fraction(int(high / (high - low) * 2**40), 2**40)
                    through[j] += q * slope
                    value += q * max(-slope * low, (1 - slope) * high)
            weights, bias = self.layers[k]
            value += through @ bias
            if k:
                z[k - 1] = z[k - 1] + weights @ through
            else:
                row = row + weights @ through
        return row, value

    def least_of_lead(self, given: Line) -> Fraction | None:
        """What S is at least without its margin, for class 1 against 0; None where prices do not pay."""
        r, s, c, p = (fractions(given[key][0]) * Fraction(2) ** given[key][1] for key in KEYS)
        low, high = self.span
        point = np.minimum(np.maximum(self.sample + p, low), high)
        row, value = c * c * (2 * point - low - high), (c * c * (point - low)) @ (point - high)
        (weights, bias), z, matrix = self.layers[-1], self.nothing(), []
        z[-1] = weights[:, 0] - weights[:, 1]
        for j, weight, spread in zip(given["neurons"], r, s, strict=True):
            h = self.nothing()
            h[given["layer"]][j] = -weight
            below, start = self.back(h, self.nothing(), 0 * c, Fraction(0))
            whole = [round(-slope / price * 2**26) if price else 0 for slope, price in zip(below, c, strict=True)]
            matrix.append(np.ldexp(whole, -26))
            b = c * fractions(matrix[-1])
            tau = spread - self.least(below + b, start - b @ point)
            row, value = row - 2 * tau * b, value - tau * tau
            z[given["layer"]][j] += 4 * weight * spread
        if np.linalg.norm(np.array(matrix), 2) > 1:
            return None
        return Fraction(self.least(*self.back(self.nothing(), z, row, value - row @ point + bias[0] - bias[1])))


def drawn(rng: np.random.Generator, model: Path, norm: str) -> tuple[Page, Line, list[Line]]:
    """A network of random size, a region with units, and its ranges by intervals."""
    sizes = [int(one) for one in rng.integers(2, 5, int(rng.integers(2, 4)))]
    layers = small_proofs.random_layers(rng, [*sizes, 2])
    small_proofs.fully_connected(model, layers)
    sample, room, unit = rng.random(sizes[0]), rng.random((2, sizes[0])), rng.uniform(0.5, 2, sizes[0])
    box, radius = [list(sample - room[0]), list(sample + room[1])], float(rng.uniform(0.2, 1))
    claimed = {"norm": norm, "box": hexadecimal(box), "scale": hexadecimal(list(unit))}
    exact = [(fractions(weights), fractions(bias)) for weights, bias in layers]
    sides = fractions(box[0]), fractions(box[1])
    page, lines = Page(exact, norm, Fraction(radius), fractions(sample), sides, fractions(unit), []), []
    low, high = page.span
    for k, (weights, bias) in enumerate(exact[:-1]):
        up, down = np.maximum(weights, 0), np.minimum(weights, 0)
        line = small_proofs.ranges(k, list(low @ up + high @ down + bias), list(high @ up + low @ down + bias))
        low, high = (fractions(line[side]) / 2**30 for side in ("lower", "upper"))
        page.ranges.append((low, high))
        lines.append(line)
        low, high = np.maximum(low, 0), np.maximum(high, 0)
    return page, small_proofs.statement(model, list(sample), radius, **claimed), lines


def parabolas(rng: np.random.Generator, page: Page) -> Line:
    """Random ones of some neurons of some layer, in any order; their points may lie outside the box."""
    layer, inputs = int(rng.integers(len(page.ranges))), len(page.sample)
    some = rng.permutation(len(page.ranges[layer][0]))[: int(rng.integers(1, 4))].tolist()
    limits = (
        (0, 1 << 16, len(some)),
        (0, 1 << 15, len(some)),
        (1 << 14, 1 << 16, inputs),
        (-(1 << 16), 1 << 16, inputs),
    )
    given = ([rng.integers(*each).tolist(), -16] for each in limits)
    return {"layer": layer, "neurons": some} | dict(zip(KEYS, given, strict=True))


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_page_in_fractions_says_the_same(tmp_path: Path, norm: str) -> None:
    """A margin a hair above what the page has for a line closes it, and one a hair below does not."""
    rng, model, paid = np.random.default_rng(8), tmp_path / "net.onnx", []
    for _ in range(10):
        page, first, lines = drawn(rng, model, norm)
        given = parabolas(rng, page)
        least = page.least_of_lead(given)
        paid.append(least is not None)
        for hair in (HAIR, -HAIR):
            told = first | {"margin": [round((hair - (least or -(1 << 20))) * 2**30), -30]}
            proof = small_proofs.packed(told, *lines, {"goal": 1}, {"close": True, "parabolas": given})
            for arithmetic in ARITHMETICS:
                assert check(proof, model, arithmetic).whole == (least is not None and hair > 0)
    assert 2 < sum(paid) < 9
