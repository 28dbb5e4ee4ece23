"""The judge of claims about grids, on a net whose points are worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests import grid_claims
from tests.claims import Truth
from tests.grid_claims import GridClaim, Int8Network, grid_claim_of, grid_judged, grid_truth, least_measure
from tests.int8_builder import Int8Layer, write_int8
from tests.verifier.checker.small_proofs import hexadecimal, statement


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Int8Network:
    """Level of class 0: 10; of class 1: half of the input's level, halves to even; all scales are 1/64."""
    weight, unit = np.array([[0], [32]]), np.array([1 / 64], np.float32)
    path = tmp_path_factory.mktemp("nets") / "tie.onnx"
    return Int8Network(write_int8([Int8Layer(weight, np.array([640, 0]), unit, 1 / 64)], path, 1 / 64), tiny=True)


def claimed(network: Int8Network, **changed: object) -> GridClaim:
    """About the level 18 of the grid of 64 in [0, 1], where class 0 leads by 1; 4 steps up class 1 has 11."""
    first = statement(network.path, [18 / 64], None, box=hexadecimal([0, 1]), grid=64, below=None)
    return replace(grid_claim_of(first), **changed)  # type: ignore[arg-type]


def test_the_nearest_point_is_four_steps_away(network: Int8Network) -> None:
    for norm, least in (("linf", 4), ("l1", 4), ("l2", 16), ("l0", 1)):
        claim = claimed(network, norm=norm, below=least)
        assert least_measure(claim, network) == least
        assert grid_truth(claim, network) is Truth.TRUE
        assert grid_truth(replace(claim, below=least + 1), network) is Truth.FALSE


def test_a_margin_and_a_box_deny_more_or_less(network: Int8Network) -> None:
    lead = Fraction(2, 64)  # at the levels 23, whose half is 12, to 25
    assert least_measure(claimed(network, margin=lead), network) == 5
    assert least_measure(claimed(network, margin=-lead), network) == 4  # a win is strict all the same
    assert least_measure(claimed(network, upper=(Fraction(21, 64),)), network) is None
    assert least_measure(claimed(network, against=1), network) == 0  # class 0 leads at the sample
    still = claimed(network, lower=(Fraction(18, 64),), upper=(Fraction(18, 64),), below=64)
    assert grid_truth(still, network) is Truth.TRUE


def test_a_rival_need_not_win(network: Int8Network) -> None:
    """Class 1 leads by -1 at 18, and by 0 at 19 (9.5, even) to 21; class 0 leads it by 1."""
    claim = claimed(network, rivals=(1,), margin=Fraction(0))
    assert least_measure(claim, network) == 1
    assert least_measure(replace(claim, margin=Fraction(1, 1 << 80)), network) == 4
    assert least_measure(replace(claim, margin=Fraction(-1, 64)), network) == 0
    assert least_measure(claimed(network, rivals=(0,), against=1, margin=Fraction(1, 64)), network) == 0
    assert grid_truth(replace(claim, steps=(3,), measure=3), network) is Truth.TRUE  # a tie
    honest = replace(claim, below=1)
    assert replace(honest, margin=Fraction(1)).follows_from(honest)
    for more in ({"margin": Fraction(-1, 64)}, {"rivals": None}, {"rivals": (0, 1)}, {"against": 1}):
        assert not replace(honest, **more).follows_from(honest)
    assert not honest.follows_from(claimed(network, below=1))
    first = statement(network.path, [18 / 64], None, box=hexadecimal([0, 1]), grid=64, below=1, rivals=[1])
    assert grid_claim_of(first).rivals == (1,)
    assert grid_judged(first | {"margin": "-0x1p-6"}, honest, network) == (Truth.FALSE, False)


def test_witnesses(network: Int8Network) -> None:
    for steps, measure, truth in (
        ((4,), 4, Truth.TRUE),
        ((4,), 3, Truth.FALSE),
        ((3,), 4, Truth.FALSE),  # 21: half of it is 10, a tie
        ((4,), 9, Truth.TRUE),
        ((-4,), 4, Truth.FALSE),
        ((99,), 99, Truth.FALSE),
        ((4, 0), 4, Truth.FALSE),
    ):
        assert grid_truth(claimed(network, steps=steps, measure=measure), network) is truth


def test_samples_off_the_grid_are_no_claims(network: Int8Network) -> None:
    for value in (Fraction(1, 3), Fraction(18, 64) + Fraction(1, 128), Fraction(2)):
        assert grid_truth(claimed(network, sample=(value,), below=1), network) is Truth.FALSE
    near = claimed(network, sample=(Fraction(18, 64) + Fraction(1, 256),), below=4)
    assert grid_truth(near, network) is Truth.TRUE


def test_what_follows(network: Int8Network) -> None:
    honest = claimed(network, below=4)
    assert replace(honest, below=3, margin=Fraction(1)).follows_from(honest)
    assert replace(honest, margin=Fraction(-1)).follows_from(honest)
    for more in ({"below": 5}, {"norm": "l1"}, {"targets": (1,)}, {"upper": (Fraction(2),)}, {"grid": 32}):
        assert not replace(honest, **more).follows_from(honest)
    first = statement(network.path, [18 / 64], None, box=hexadecimal([0, 1]), grid=64, below=4)
    assert grid_judged(first, honest, network) == (Truth.TRUE, True)
    assert grid_judged(first | {"below": 5}, honest, network) == (Truth.FALSE, False)


def test_points_of_a_measure(network: Int8Network) -> None:
    """Two inputs on the grid of 2 in [0, 1], about (0, 1/2): the first moves up alone, the second both ways."""
    half = Fraction(1, 2)
    ends = {"sample": (half * 0, half), "lower": (half * 0,) * 2, "upper": (half * 2,) * 2, "grid": 2}
    near = {(0, 0), (1, 0), (0, 1), (0, -1)}
    around = near | {(1, 1), (1, -1)}
    far = around | {(2, 0), (2, 1), (2, -1)}
    for norm, most, points in (
        ("linf", 1, around), ("linf", 2, far), ("l1", 1, near), ("l1", 2, far - {(2, 1), (2, -1)}), ("l2", 1, near),
        ("l2", 2, around), ("l2", 5, far), ("l0", 1, near | {(2, 0)}), ("l0", 0, {(0, 0)}),
    ):  # fmt: skip
        claim = claimed(network, norm=norm, **ends)
        assert sorted(claim.points(most)) == sorted(points), (norm, most)
        assert claim.few_points(most, len(points) - 1) is None


@pytest.mark.slow
def test_larger_nets_are_asked_anew(network: Int8Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_claims, "FEW", 0)
    searched = Int8Network(network.path, tiny=False)
    for norm, least in (("linf", 4), ("l2", 16)):
        assert grid_truth(claimed(network, norm=norm, below=least), searched) is Truth.TRUE
        assert grid_truth(claimed(network, norm=norm, below=least + 1), searched) is Truth.FALSE
    tie = claimed(network, rivals=(1,), below=3)  # class 1 leads by 0 at a step, and by no more at two
    assert grid_truth(replace(tie, margin=Fraction(1, 128)), searched) is Truth.TRUE
    assert grid_truth(replace(tie, margin=Fraction(0)), searched) is Truth.FALSE
