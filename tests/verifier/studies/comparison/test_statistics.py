"""Means, medians, curves, crossings and tests, worked out by hand on a few distances."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon

from encoders.errors import SoundnessError
from encoders.question import Norm
from verifier.question.results import Basis, Result, Verdict, check_order
from verifier.studies.comparison.bands import Resampling
from verifier.studies.comparison.differences import differences, overestimates
from verifier.studies.comparison.findings import conditions, findings, summary
from verifier.studies.comparison.measure import Measured, collected, unknown
from verifier.studies.comparison.options import CompareOptions, Subject
from verifier.studies.comparison.paired import holm, paired_tests, signed_rank
from verifier.studies.comparison.robust_accuracy import beyond, radii_for
from verifier.studies.comparison.statistics import (
    Group,
    crossings,
    curves,
    grouped,
    leads,
    mean_distance,
    median_distance,
)

HOW = Resampling(400, 0.95, 0)
INFINITE = float("inf")


def measured(
    name: str, lower: list[float], upper: list[float] | None = None, seed: int = 0, norm: Norm = Norm.LINF,
    matched: bool = False,
) -> Measured:  # fmt: skip
    low, high = np.array(lower, float), np.array(lower if upper is None else upper, float)
    empty = np.zeros(len(low))
    return Measured(
        Subject(name, name, seed, Path(f"{name}-seed{seed}.onnx"), matched=matched), norm, tuple(range(len(low))), 0.9,
        low > 0, low, high, high * 1.1, high, None, ("search",) * len(low), ("rigorous",) * len(low), empty, empty,
        low < high, {},
    )  # fmt: skip


def group(name: str, *rows: list[float], upper: list[list[float]] | None = None, matched: bool = False) -> Group:
    tops = upper or [None] * len(rows)  # type: ignore[list-item]
    (found,) = grouped(
        [
            measured(name, row, top, seed, matched=matched)
            for seed, (row, top) in enumerate(zip(rows, tops, strict=True))
        ]
    )
    return found


def test_means_and_medians_hold_misclassified_samples_as_zero_and_open_ones_from_both_sides() -> None:
    # Distances 0 (misclassified), 0.2 and somewhere in [0.1, 0.4].
    found = group("net", [0.0, 0.2, 0.1], upper=[[0.0, 0.2, 0.4]])
    mean = mean_distance(found, Resampling(200, 0.95, 0))
    assert (mean.lower, mean.upper) == pytest.approx((0.1, 0.2))
    assert 0.0 <= mean.interval[0] <= mean.lower
    assert mean.upper <= mean.interval[1] <= 0.4 + 1e-12
    assert median_distance(found) == pytest.approx((0.1, 0.2))
    assert found.robust(0.15) == pytest.approx((1 / 3, 2 / 3))
    assert found.robust(0.0) == pytest.approx((2 / 3, 2 / 3))


def test_an_infinite_upper_end_stays_infinite_and_spoils_nothing_else() -> None:
    found = group("net", [0.1, 0.1, 0.3], upper=[[0.1, 0.1, INFINITE]])
    mean = mean_distance(found, Resampling(500, 0.95, 0))
    assert mean.lower == pytest.approx(0.5 / 3)
    assert mean.upper == mean.interval[1] == INFINITE
    assert np.isfinite(mean.interval[0])


def test_the_interval_is_seeded_and_narrows_with_samples() -> None:
    rng = np.random.default_rng(0)
    few, many = (group("net", rng.uniform(0, 1, size).tolist()) for size in (10, 1000))
    assert mean_distance(few, Resampling(300, 0.95, 7)) == mean_distance(few, Resampling(300, 0.95, 7))
    widths = [np.diff(mean_distance(one, Resampling(300, 0.95, 7)).interval)[0] for one in (few, many)]
    # The standard error of the mean of a thousand uniform draws is 0.0091: four of them wide, near enough.
    assert widths[0] > 3 * widths[1]
    assert widths[1] == pytest.approx(4 * 0.0091, rel=0.25)


def test_seeds_that_differ_widen_the_interval() -> None:
    samples = np.linspace(0.4, 0.6, 200)
    alike = group("net", samples.tolist(), samples.tolist())
    apart = group("net", (samples - 0.2).tolist(), (samples + 0.2).tolist())
    narrow, wide = (np.diff(mean_distance(one, Resampling(300, 0.95, 1)).interval)[0] for one in (alike, apart))
    assert wide > 5 * narrow


def test_curves_by_hand() -> None:
    # Shares beyond the radius of the distances 0 (misclassified), 0.1, 0.2 and somewhere in [0.2, 0.4].
    one = group("net", [0.0, 0.1, 0.2, 0.2], upper=[[0.0, 0.1, 0.2, 0.4]])
    radii = np.array([0.0, 0.1, 0.15, 0.2, 0.3])
    assert beyond(one.lower, radii).mean(0).tolist() == [0.75, 0.5, 0.5, 0.0, 0.0]
    assert beyond(one.upper, radii).mean(0).tolist() == [0.75, 0.5, 0.5, 0.25, 0.25]
    ((found,), _) = curves([one], HOW)
    assert found.radii[-1] == pytest.approx(0.4, rel=0.02)  # to the upper ends
    assert (found.strongest == found.possible).all()
    assert (found.typical >= found.possible).all()
    assert (found.band[0] <= found.proven).all()
    assert (found.band[1] >= found.possible).all()


def test_radii_reach_to_where_the_curves_have_come_down() -> None:
    radii = radii_for([group("a", [0.1] * 300).ends, group("b", [0.2] * 300).ends])
    assert (radii[0], radii[-1]) == (0.0, pytest.approx(0.2))
    assert radii_for([group("none right", [0.0]).ends])[-1] == 1.0


def pair(rng: np.random.Generator, planted: bool, samples: int = 60) -> list[Group]:
    """Two variants of the same distances but for noise; where planted, one varies a quarter as much about 0.25."""
    base = rng.uniform(0.05, 0.45, samples)
    one, two = (base * np.exp(0.3 * rng.normal(size=samples)) for _ in range(2))
    return [group("wide", one.tolist()), group("narrow", (0.25 + (base - 0.25) / 4 if planted else two).tolist())]


def test_a_planted_crossing_is_found() -> None:
    _, (found,) = curves(pair(np.random.default_rng(0), True), HOW)
    assert (found.first, found.second) == ("narrow", "wide")
    assert 0.1 < found.below < 0.25 < found.above < 0.4


def test_open_brackets_can_hide_a_crossing_but_not_make_one() -> None:
    wide, narrow = pair(np.random.default_rng(0), True)
    opened = group("narrow", (narrow.lower[0] - 0.05).tolist(), upper=[(narrow.lower[0] + 0.2).tolist()])
    assert curves([wide, opened], HOW)[1] == []
    alike = group("open", (wide.lower[0] - 0.02).clip(0.0).tolist(), upper=[(wide.lower[0] + 0.02).tolist()])
    assert curves([wide, alike], HOW)[1] == []


def test_identical_variants_show_no_crossing_and_no_difference_but_at_the_stated_rate() -> None:
    # Two variants of one law: a lead anywhere is wrong, and a crossing needs two. At 5 %, 10 of 200 are expected, and
    # more than 20 would come once in a thousand times.
    rng, wrong, crossed, different, tested = np.random.default_rng(5), 0, 0, 0, 0
    how = Resampling(200, 0.95, 0)
    for _ in range(200):
        groups = pair(rng, False)
        radii = radii_for([one.ends for one in groups])[::3]
        shares = how.drawn(beyond(one.lower, radii) for one in groups)
        ahead = leads(shares, shares, how, 6.0 / 60)
        wrong += any(lead.any() for lead in ahead.values())
        crossed += bool(crossings(Norm.LINF, ["a", "b"], radii, ahead))
        (one,) = differences(groups, groups[0], how)
        different += not one.interval[0] <= 0.0 <= one.interval[1]
        tested += paired_tests(groups)[0].beats(0.95)
    assert crossed <= 2
    assert wrong <= 20
    assert different <= 20
    assert tested <= 20


@pytest.mark.slow
def test_bands_hold_at_all_radii_no_less_often_than_stated() -> None:
    # Uniform distances, whose curves are known. Of 200 cases at 5 % more than 20 would come once in a thousand times;
    # tails where no sample lies are missed four times as often if each is allowed for as if it were the only one.
    rng, how, missed, samples = np.random.default_rng(7), Resampling(200, 0.95, 0), 0, 20
    for _ in range(200):
        found, _ = curves([group(name, rng.uniform(0.05, 0.45, samples).tolist()) for name in "ab"], how)
        true = [np.clip((0.45 - one.radii) / 0.4, 0.0, 1.0) for one in found]
        missed += any(
            (one.band[0] > share + 1e-9).any() or (one.band[1] < share - 1e-9).any()
            for one, share in zip(found, true, strict=True)
        )
    assert missed <= 20


@pytest.mark.slow
@pytest.mark.parametrize("samples", [2, 5])
def test_few_samples_claim_a_difference_no_oftener_than_stated(samples: int) -> None:
    # Of 200 at 5 % more than 20 would come once in a thousand times; the bare bootstrap claims 26 and more.
    rng, how, claimed = np.random.default_rng(6), Resampling(200, 0.95, 0), 0
    for _ in range(200):
        one, other = (group(name, rng.exponential(0.1, samples).tolist()) for name in "ab")
        (found,) = differences([one, other], one, how)
        claimed += not found.interval[0] <= 0.0 <= found.interval[1]
    assert claimed <= 20


def test_one_sample_claims_no_difference() -> None:
    (found,) = differences([group("one", [0.1]), group("other", [0.3])], group("one", [0.1]), HOW)[1:]
    assert (found.lower, found.upper) == pytest.approx((0.2, 0.2))
    assert found.interval == (-INFINITE, INFINITE)


@pytest.mark.parametrize(("samples", "seen"), [(5, False), (6, False), (7, True)])
def test_where_no_sample_differs_few_samples_show_nothing(samples: int, seen: bool) -> None:
    # All samples agree that one is ahead: the bootstrap sees no error, yet six samples could all agree by chance.
    shares = HOW.drawn([np.ones((samples, 1)), np.zeros((samples, 1))])
    ahead = leads(shares, shares, HOW, 6.0 / samples)
    assert ahead[0, 1].any() == seen
    assert not ahead[1, 0].any()


def test_crossings_by_hand() -> None:
    ahead = {(0, 1): np.array([0, 1, 0, 0, 0], bool), (1, 0): np.array([0, 0, 0, 1, 0], bool)}
    (found,) = crossings(Norm.L1, ["first", "second"], np.arange(5.0), ahead)
    assert (found.first, found.second, found.below, found.above) == ("first", "second", 1.0, 3.0)
    assert crossings(Norm.L1, ["first", "second"], np.arange(5.0), {**ahead, (1, 0): np.zeros(5, bool)}) == []


def test_differences_have_both_ends_of_what_is_open() -> None:
    base = np.linspace(0.1, 0.3, 40)
    plain = group("none", base.tolist())
    better = group("better", (base + 0.1).tolist(), upper=[(base + 0.15).tolist()])
    endless = group("endless", base.tolist(), upper=[[INFINITE, *base[1:]]])
    one, two = differences([plain, better, endless], plain, HOW)
    assert one.variant == "better"
    assert (one.lower, one.upper) == pytest.approx((0.1, 0.15))
    assert 0.0 < one.interval[0] <= one.lower <= one.upper <= one.interval[1]
    assert two.lower == pytest.approx(0.0)
    assert two.upper == two.interval[1] == INFINITE
    assert np.isfinite(two.interval[0])


def test_an_attack_that_overestimates_is_seen_and_open_samples_count_from_their_upper_end() -> None:
    # The typical attack of `group` is 1.1 times the upper end, the strongest at it.
    base = np.linspace(0.1, 0.3, 40)
    plain, opened = group("none", base.tolist()), group("open", (base / 2).tolist(), upper=[base.tolist()])
    found = {(one.variant, one.attack): one for one in overestimates([plain, opened], plain, ("pgd", "best"), HOW)}
    assert (found["none", "pgd"].lower, found["none", "best"].upper) == (1.0, 0.0)
    assert found["none", "pgd"].interval[0] > 0.85
    assert (found["open", "best"].lower, found["open", "best"].upper) == (0.0, 1.0)
    assert not any(one.oftener or one.rarer for one in found.values())
    exact = group("exact", base.tolist())
    exact.typical[:] = exact.upper
    told = overestimates([plain, exact], plain, ("pgd", "best"), HOW)
    assert [one.rarer for one in told] == [False, True, False, False]


def test_findings_say_in_a_paragraph_what_the_tests_show() -> None:
    wide, narrow = (one.lower[0] for one in pair(np.random.default_rng(0), True))
    groups = (
        group("none", wide.tolist()), group("narrow", narrow.tolist()),
        group("better", (wide + 0.1).tolist(), upper=[[INFINITE, *(wide[1:] + 0.1)]]),
    )  # fmt: skip
    found = findings(CompareOptions(norms=(Norm.LINF,), resamples=400), "data", groups)
    assert summary(found, Norm.LINF) == (
        "1 of 180 distances stayed open; what follows holds wherever in their brackets they lie. "
        "Against none, distances are larger on 1 of 2 variants (better); no difference is shown on 1 of 2 variants "
        "(narrow). Curves cross, the first of a pair ahead at small radii: narrow / none. "
        "The typical attack (PGD) overestimates distances by more than 5% on 3 of 3 variants, most often on none "
        "(100% of samples). "
        "The strongest attack (portfolio) is not seen to overestimate distances by more than 5% on any variant."
    )
    exact = findings(CompareOptions(norms=(Norm.LINF,), baseline="nobody"), "data", (group("one", [0.1, 0.2]),))
    assert summary(exact, Norm.LINF).startswith("All 2 distances are exact. No two curves are seen to cross.")


def test_networks_as_accurate_as_the_baseline_are_compared_apart_too() -> None:
    plain = np.random.default_rng(0).uniform(0.1, 0.2, 12)
    groups = [group("none", plain.tolist(), matched=True), group("far", (plain + 1.0).tolist())]
    options = CompareOptions(norms=(Norm.LINF,), resamples=50)
    told = summary(findings(options, "data", tuple(groups)), Norm.LINF)
    assert "None of the others is as accurate on the validation split as none." in told
    groups += [group("a", (plain + 0.01).tolist(), matched=True), group("b", plain.tolist(), matched=True)]
    found = findings(options, "data", tuple(groups))
    assert len(found.tests) == 6
    assert {one.worse if one.better == "none" else one.better for one in found.matched_tests} >= {"a", "b"}
    # Three tests in place of six: p = 2/2^12 for a, times 3.
    assert next(one.corrected for one in found.matched_tests if {one.better, one.worse} == {"a", "none"}) == (
        pytest.approx(3 * 2 / 2**12)
    )
    assert (
        "Among networks as accurate on the validation split as none, distances are larger on 1 of 2 variants (a); "
        "no difference is shown on 1 of 2 variants (b); no strength of far is among them."
    ) in summary(found, Norm.LINF)


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
        assert found.p_value == pytest.approx(2 * 0.5**20)  # twenty signs that agree, either way
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


def test_few_samples_that_differ_are_coin_flips_however_many_do_not() -> None:
    # Wrong under both networks but for four: the signs of four differences agree by chance once in eight times.
    ahead = np.array([0.1, 0.2, 0.3, 0.4, *[0.0] * 96])
    assert signed_rank(ahead) == pytest.approx(1 / 16)
    assert signed_rank(-ahead) == 1.0
    (found,) = paired_tests([group("ahead", ahead.tolist()), group("none", [0.0] * 100)])
    assert found.p_value == pytest.approx(1 / 8)
    assert not found.beats(0.95)


def test_the_signed_rank_test_counts_all_signs() -> None:
    rng = np.random.default_rng(4)
    tied = np.array([1.0, -1.0, 2.0, 2.0, 0.0, 3.0, 0.0])
    ranks = np.array([3.5, 3.5, 5.5, 5.5, 7.0])  # behind two zeros
    sums = [float(np.dot(signs, ranks)) for signs in itertools.product((0, 1), repeat=5)]
    assert signed_rank(tied) == pytest.approx(np.mean([one >= 3.5 + 5.5 + 5.5 + 7.0 for one in sums]))
    for size in (20, 50, 80):
        drawn = rng.normal(0.1, 1.0, size)
        assert signed_rank(drawn) == pytest.approx(wilcoxon(drawn, alternative="greater").pvalue)


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


def test_conditions_are_those_of_all_attempts() -> None:
    """Not of the last run alone: that may have had less time, or another engine."""

    def attempt(engine: str, limit: float | None) -> dict[str, Any]:
        return {"engine": engine, "device": "auto", "time_limit": limit}

    options, one = CompareOptions(time_limit=5.0), measured("net", [0.1, 0.2])
    assert "engine auto, at most 5 s a sample" in conditions(options, [one])
    tried = replace(one, attempts=([attempt("highs", 60.0), attempt("auto", 5.0)], [attempt("auto", 5.0)]))
    assert "engine highs and auto, at most 65 s a sample" in conditions(options, [tried])
    assert "engine auto, at most 5 s a sample" in conditions(options, [tried.of((1,))])
    endless = replace(one, attempts=([], [attempt("auto", None), attempt("auto", 5.0)]))
    assert "no time limit" in conditions(options, [endless])


def test_an_attack_that_was_not_asked_about_a_sample_is_not_told_to_have_overestimated_it() -> None:
    failed = {**unknown(0), "lower": 0.1, "upper": 0.4}
    found = collected(Subject("net", "net", 0, Path("net.onnx")), Norm.LINF, 0.9, [failed], CompareOptions())
    assert (found.typical.tolist(), found.strongest.tolist()) == ([0.4], [0.4])
    for one in overestimates(grouped([found]), None, ("pgd-by-radius", "portfolio"), HOW):
        assert (one.lower, one.upper) == (0.0, 1.0)
