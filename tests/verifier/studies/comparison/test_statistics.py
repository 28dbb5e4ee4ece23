"""Means, medians, curves, crossings and tests, worked out by hand on a few distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon

from encoders.errors import SoundnessError
from encoders.question import Norm
from verifier.question.results import Basis, Result, Verdict, check_order
from verifier.studies.comparison.measure import Measured
from verifier.studies.comparison.options import Subject
from verifier.studies.comparison.paired import holm, paired_tests
from verifier.studies.comparison.statistics import (
    Curve,
    Group,
    crossings,
    curve,
    grouped,
    mean_distance,
    median_distance,
    radii_for,
)

INFINITE = float("inf")


def measured(
    name: str, lower: list[float], upper: list[float] | None = None, seed: int = 0, norm: Norm = Norm.LINF
) -> Measured:
    low, high = np.array(lower, float), np.array(lower if upper is None else upper, float)
    empty = np.zeros(len(low))
    return Measured(
        Subject(name, name, seed, Path(f"{name}-seed{seed}.onnx")), norm, tuple(range(len(low))), 0.9,
        low > 0, low, high, high * 1.1, None, empty, empty, low < high, {},
    )  # fmt: skip


def group(name: str, *rows: list[float], upper: list[list[float]] | None = None) -> Group:
    tops = upper or [None] * len(rows)  # type: ignore[list-item]
    (found,) = grouped([measured(name, row, top, seed) for seed, (row, top) in enumerate(zip(rows, tops, strict=True))])
    return found


def test_means_and_medians_hold_misclassified_samples_as_zero_and_open_ones_from_both_sides() -> None:
    # Distances 0 (misclassified), 0.2 and somewhere in [0.1, 0.4].
    found = group("net", [0.0, 0.2, 0.1], upper=[[0.0, 0.2, 0.4]])
    mean = mean_distance(found, 200, 0.95, 0)
    assert (mean.lower, mean.upper) == pytest.approx((0.1, 0.2))
    assert 0.0 <= mean.interval[0] <= mean.lower
    assert mean.upper <= mean.interval[1] <= 0.4 + 1e-12
    assert median_distance(found) == pytest.approx((0.1, 0.2))
    assert found.robust(0.15) == pytest.approx((1 / 3, 2 / 3))
    assert found.robust(0.0) == pytest.approx((2 / 3, 2 / 3))


def test_an_infinite_upper_end_stays_infinite_and_spoils_nothing_else() -> None:
    found = group("net", [0.1, 0.1, 0.3], upper=[[0.1, 0.1, INFINITE]])
    mean = mean_distance(found, 500, 0.95, 0)
    assert mean.lower == pytest.approx(0.5 / 3)
    assert mean.upper == mean.interval[1] == INFINITE
    assert np.isfinite(mean.interval[0])


def test_the_interval_is_seeded_and_narrows_with_samples() -> None:
    rng = np.random.default_rng(0)
    few, many = (group("net", rng.uniform(0, 1, size).tolist()) for size in (10, 1000))
    assert mean_distance(few, 300, 0.95, 7) == mean_distance(few, 300, 0.95, 7)
    widths = [np.diff(mean_distance(one, 300, 0.95, 7).interval)[0] for one in (few, many)]
    # The standard error of the mean of a thousand uniform draws is 0.0091: four of them wide, near enough.
    assert widths[0] > 3 * widths[1]
    assert widths[1] == pytest.approx(4 * 0.0091, rel=0.25)


def test_seeds_that_differ_widen_the_interval() -> None:
    samples = np.linspace(0.4, 0.6, 200)
    alike = group("net", samples.tolist(), samples.tolist())
    apart = group("net", (samples - 0.2).tolist(), (samples + 0.2).tolist())
    narrow, wide = (np.diff(mean_distance(one, 300, 0.95, 1).interval)[0] for one in (alike, apart))
    assert wide > 5 * narrow


def test_curves_by_hand() -> None:
    found = curve(
        group("net", [0.0, 0.1, 0.2, 0.2], upper=[[0.0, 0.1, 0.2, 0.4]]), np.array([0.0, 0.1, 0.15, 0.2, 0.3])
    )
    assert found.proven.tolist() == [0.75, 0.5, 0.5, 0.0, 0.0]
    assert found.possible.tolist() == [0.75, 0.5, 0.5, 0.25, 0.25]
    assert (found.attacked >= found.proven).all()


def test_radii_reach_to_where_the_curves_have_come_down() -> None:
    radii = radii_for([group("a", [0.1] * 300), group("b", [0.2] * 300)])
    assert (radii[0], radii[-1]) == (0.0, pytest.approx(0.2))
    assert radii_for([group("none right", [0.0])])[-1] == 1.0


def step_curve(*values: float) -> Curve:
    shares = np.array(values)
    return Curve(np.arange(len(values), dtype=float), shares, shares, shares)


def test_crossings_by_hand() -> None:
    # With 100 samples leads count from 0.05 on: ahead at 1, behind at 3; the tiny lead at 4 is none.
    first, second = step_curve(1.0, 0.9, 0.6, 0.3, 0.1), step_curve(1.0, 0.8, 0.6, 0.5, 0.08)
    (found,) = crossings(Norm.L1, [("first", first), ("second", second)], 100)
    assert (found.first, found.second, found.below, found.above) == ("first", "second", 1.0, 3.0)
    assert crossings(Norm.L1, [("first", first), ("second", second)], 4) == []
    # An open band that covers the lead hides it.
    band = Curve(first.radii, first.proven - 0.2, first.possible + 0.2, first.attacked)
    assert crossings(Norm.L1, [("first", band), ("second", second)], 100) == []


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_larger_distance_on_every_sample_is_a_difference() -> None:
    base = np.linspace(0.1, 0.3, 20)
    better, worse = (
        group("better", (base + 0.05).tolist(), (base + 0.01).tolist()),
        group("worse", base.tolist(), base.tolist()),
    )
    for order in ((better, worse), (worse, better)):
        (found,) = paired_tests(order)
        assert (found.better, found.worse) == ("better", "worse")
        assert found.difference == pytest.approx(0.03)
        assert found.p_value == pytest.approx(wilcoxon((base + 0.03) - base).pvalue)
        assert found.beats(0.95)
        assert (found.seeds_agreeing, found.seeds) == (2, 2)


def test_noise_and_equality_are_no_difference() -> None:
    rng = np.random.default_rng(3)
    base = rng.uniform(0.1, 0.3, 30)
    noise = rng.normal(0, 0.02, 30)
    same = paired_tests([group("one", base.tolist()), group("two", base.tolist())])
    noisy = paired_tests([group("one", base.tolist()), group("two", (base + noise - noise.mean()).tolist())])
    assert not same[0].beats(0.95)
    assert same[0].p_value == 1.0
    assert not noisy[0].beats(0.95)


def test_open_brackets_can_hide_a_difference_but_not_make_one() -> None:
    base = np.linspace(0.1, 0.3, 20)
    worse_open = group("worse", base.tolist(), upper=[(base + 0.2).tolist()])
    better = group("better", (base + 0.05).tolist())
    (found,) = paired_tests([better, worse_open])
    assert not found.beats(0.95)
    wide = group("wide", base.tolist(), upper=[(base + 9).tolist()])
    (found,) = paired_tests([wide, group("worse", base.tolist())])
    assert not found.beats(0.95)


def test_every_pair_of_a_norm_is_tested_and_corrected_for() -> None:
    base = np.linspace(0.1, 0.3, 20)
    groups = [group(name, (base + shift).tolist()) for name, shift in (("a", 0), ("b", 0.1), ("c", 0.2))]
    single = paired_tests(groups[:2])[0]
    found = paired_tests(groups)
    assert len(found) == 3
    assert found[0].p_value == single.p_value == single.corrected
    assert [one.corrected for one in found] == holm([one.p_value for one in found])


def result(lower: float, upper: float) -> Result:
    return Result(0, 1, 1, Norm.LINF, None, Verdict.EXACT, lower, upper, Basis.RIGOROUS, "search", 0.0)


def test_an_attack_below_what_is_proven_is_an_alarm_and_so_is_a_lower_bound_above_an_adversary() -> None:
    check_order(result(0.1, 0.1), {"b": 0.1}, {"a": 0.1})
    check_order(result(0.1, 0.2), {}, {"a": INFINITE})
    with pytest.raises(SoundnessError, match="below the proven"):
        check_order(result(0.1, 0.2), {}, {"a": 0.099})
    with pytest.raises(SoundnessError, match="above the adversary"):
        check_order(result(0.1, 0.2), {"b": 0.201}, {"a": 0.2})
