"""The oracle in fractions: by hand, and where polytopes have no volume."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.encoders.nets import two_two_two
from tests.exact_pieces import box, difference, fractions, nearest, pieces, unit
from tests.onnx_builder import to_onnx

ONE, ZERO = Fraction(1), Fraction(0)
CENTER = (Fraction(3, 4), Fraction(1, 4))


@pytest.mark.parametrize(
    ("norm", "units", "least"),
    [
        ("linf", (1, 1), Fraction(1, 8)),
        ("l1", (1, 1), Fraction(1, 6)),
        ("l2", (1, 1), Fraction(1, 40)),  # (-1/20, 3/20)
        ("linf", (4, 1), Fraction(1, 20)),  # (-1/5, 1/20)
        ("l1", (4, 1), Fraction(1, 16)),  # (-1/4, 0)
        ("l2", (4, 1), Fraction(1, 272)),  # (-4/17, 1/68)
    ],
)
def test_distances_that_are_known_by_hand(tmp_path: Path, norm: str, units: tuple[int, int], least: Fraction) -> None:
    path = to_onnx(two_two_two()[0], tmp_path / "net.onnx")
    parts = list(pieces(path, box((ZERO, ZERO), (ONE, ONE))))
    assert len(parts) == 4
    found = [nearest(part.cut(difference(f, g)), CENTER, fractions(units), norm) for part, (f, g) in parts]
    assert min(one for one in found if one is not None) == least


def test_a_polytope_is_cut_to_a_side_a_corner_and_nothing() -> None:
    cube = box((ZERO,) * 3, (ONE,) * 3)
    total = ((ONE, ONE, ONE), ZERO)
    assert len(cube.cut(difference(total, unit(0, 3, ZERO), Fraction(-3, 2))).corners) == 4 + 6  # a hexagon cuts it
    for side, corners in ((unit(0, 3), 4), (total, 1)):
        assert len(cube.cut(side).corners) == corners
        assert not cube.cut((side[0], Fraction(1, 10**30))).corners
    flat = box((ZERO, ONE, ZERO), (ONE, ONE, ONE)).cut(difference(unit(0, 3), unit(2, 3)))
    assert set(flat.corners) == {(ZERO, ONE, ZERO), (ZERO, ONE, ONE), (ONE, ONE, ONE)}
    assert not box((ONE,), (ZERO,)).corners


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_no_point_of_a_polytope_is_nearer(norm: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        left = box((-ONE,) * 3, (ONE,) * 3)
        for row in rng.integers(-4, 5, (3, 4)):
            left = left.cut((fractions(row[:3]), Fraction(int(row[3]) - 4, 4)))
        sample, units = fractions(rng.integers(-8, 9, 3) / 4), fractions(rng.integers(1, 5, 3))
        least = nearest(left, sample, units, norm)
        if not left.corners:
            assert least is None
            continue
        corners = np.array([[float(a) for a in corner] for corner in left.corners])
        points = rng.dirichlet(np.full(len(corners), 0.3), 2000) @ corners
        moves = np.abs(points - [float(c) for c in sample]) / [float(s) for s in units]
        lengths = {"linf": moves.max(axis=1), "l1": moves.sum(axis=1), "l2": np.square(moves).sum(axis=1)}[norm]
        assert least is not None
        assert float(least) <= lengths.min() + 1e-12
        assert float(least) >= lengths.min() * 0.7 - 0.1  # and some come near it
