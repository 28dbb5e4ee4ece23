"""The grid: its levels are what image readers make of integers, and rounding a bound up to a level is sound."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.errors import DataError, OptionError
from encoders.grid import Grid, checked_grid
from encoders.question import Norm, Region, changed
from tests.draws import examples

NORMS = list(Norm)


def region_at(levels: list[int], n: int, low: float = 0.0, high: float = 1.0) -> Region:
    center = (np.array(levels, dtype=np.float32) / np.float32(n)).astype(np.float64)
    return Region(center, np.full(len(levels), low), np.full(len(levels), high))


def real_distance(norm: Norm, moved: np.ndarray, center: np.ndarray) -> float:
    """Nearly exact: differences of float32 numbers, as fractions."""
    gaps = [abs(Fraction(float(a)) - Fraction(float(b))) for a, b in zip(moved, center, strict=True)]
    if norm is Norm.LINF:
        return float(max(gaps))
    if norm is Norm.L1:
        return float(sum(gaps))
    if norm is Norm.L0:
        return float(sum(gap > 0 for gap in gaps))
    return float(np.sqrt(float(sum(gap * gap for gap in gaps))))


@pytest.mark.parametrize("n", [1, 3, 16, 255, 1000])
def test_levels_are_what_readers_make(n: int) -> None:
    levels = list(range(0, n + 1, max(1, n // 7)))
    grid = Grid.of(region_at(levels, n), Norm.LINF, n)
    assert (grid.home == levels).all()
    assert (grid.home + grid.down == 0).all()
    assert (grid.home + grid.up == n).all()
    for k in range(n + 1):
        steps = k - grid.home
        expected = np.float32(k) / np.float32(n)
        assert (grid.values(steps) == expected).all()


@examples(300)
@given(st.sampled_from(NORMS), st.sampled_from([1, 2, 7, 16, 100, 255, 65536]), st.data())
def test_a_bound_rounded_up_never_passes_a_point(norm: Norm, n: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    levels = st.lists(st.integers(0, n), min_size=size, max_size=size)
    region = region_at(data.draw(levels), n)
    grid = Grid.of(region, norm, n)
    steps = np.array(data.draw(levels)) - grid.home
    measure = int(grid.measure(steps))
    real = real_distance(norm, grid.values(steps), region.center)
    assert grid.reached(real) <= measure
    assert grid.reached(real * (1 - 1e-15)) <= measure
    assert real < grid.beyond(measure + 1)
    assert grid.within(grid.length(measure)) == measure


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [1, 16, 255, 65536])
def test_beyond_is_enough_and_no_more(norm: Norm, n: int) -> None:
    grid = Grid.of(region_at([0, n // 2, n], n), norm, n)
    for measure in range(1, min(grid.reach, 400)):
        assert grid.reached(grid.beyond(measure)) == measure
        assert grid.reached(grid.length(measure) - 2 * grid.drift) <= measure
    assert grid.reached(float("inf")) == grid.reach + 1
    assert grid.proven(grid.reach + 1) == float("inf")


def test_the_box_cuts_levels_and_the_mask_keeps_inputs() -> None:
    center = np.array([0.5, 0.123])
    region = Region(center, np.array([0.3, 0.123]), np.array([0.6, 0.123]))
    grid = Grid.of(region, Norm.L1, 10)
    assert (grid.home[0] + grid.down[0], grid.home[0] + grid.up[0]) == (3, 5)  # float32(0.6) > 0.6
    assert (grid.down[1], grid.up[1]) == (0, 0)
    assert grid.values(np.array([1, 0]))[1] == np.float32(0.123)


@pytest.mark.parametrize("norm", NORMS)
def test_measures_that_no_point_has_are_passed_over(norm: Norm) -> None:
    """Steps of 1/4, 1/6 and 1/6: strides 3, 2, 2 in units of 1/12."""
    region = Region(np.array([0.25, 0.5, 0.0]), np.zeros(3), np.ones(3))
    grid = Grid.of(region, norm, np.array([4, 6, 6]))
    assert grid.n == 12
    assert grid.stride.tolist() == [3, 2, 2]
    sides = [range(int(a), int(b) + 1) for a, b in zip(grid.down, grid.up, strict=True)]
    steps = np.array(list(product(*sides)))
    measures = sorted(set(grid.measure(steps).tolist()))
    for measure in range(1, 40):
        after = [m for m in measures if m >= measure]
        assert not after or measure <= grid.taken(measure) <= after[0]
        assert max(m for m in measures if m < measure) <= grid.taken_before(measure) < measure
    if norm is Norm.LINF:
        assert [grid.taken(m) for m in (1, 2, 3, 4, 5, 7)] == [2, 2, 3, 4, 6, 8]
    for point in steps:
        real = real_distance(norm, grid.values(point), region.center)
        measure = int(grid.measure(point))
        assert grid.reached(real) <= measure
        assert real < grid.beyond(measure + 1)


def test_pixels_are_counted_once() -> None:
    pixels = np.array([0, 1, 0, 1, 2])
    moved = np.array([[1, 0, 1, 0, 0], [1, 1, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=np.bool_)
    assert changed(moved, pixels).tolist() == [1, 3, 0]
    region = Region(np.zeros(5), np.zeros(5), np.array([1.0, 1, 1, 0, 0]), pixels)
    assert region.reach(Norm.L0) == 2
    assert Grid.of(region, Norm.L0, 1).reach == 2


def test_levels_that_never_meet_are_refused() -> None:
    region = Region(np.zeros(3), np.zeros(3), np.array([1.0, 1.0, 0.0]))
    with pytest.raises(OptionError, match="257, 1021 first meet in 262397"):
        Grid.of(region, Norm.L1, np.array([257, 1021, 4]))
    with pytest.raises(OptionError, match="input 1 may move and has no levels"):
        Grid.of(region, Norm.L1, np.array([4, 0, 0]))
    assert Grid.of(region, Norm.L1, np.array([4, 6, 0])).n == 12  # what may not move needs none
    for bad in (np.array([1.5]), np.array([-1]), np.array([100_000]), np.array([])):
        with pytest.raises(OptionError, match="whole numbers of levels"):
            checked_grid(bad)


def test_what_is_no_grid_is_refused() -> None:
    region = Region(np.array([0.5, 0.3]), np.zeros(2), np.ones(2))
    with pytest.raises(DataError, match=r"entry 1 is 0\.3.*multiple of 1/16"):
        Grid.of(region, Norm.LINF, 16)
    for bad in (0, -3, 100_000, True, 2.5):
        with pytest.raises(OptionError, match="grid"):
            Grid.of(region, Norm.LINF, bad)  # type: ignore[arg-type]
    far = Region(np.array([2.0**20]), np.array([0.0]), np.array([2.0**21]))
    with pytest.raises(OptionError, match="finer than float32"):
        Grid.of(far, Norm.LINF, 255)
