"""What a comparison found, in words: how its figures are to be read, who beats whom, where curves cross."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

from encoders.question import Norm
from verifier import __version__
from verifier.pages.wording import NAMES, bracket, listed, number
from verifier.studies.comparison.differences import (
    FARTHER,
    Difference,
    Overestimate,
    differences,
    overestimates,
)
from verifier.studies.comparison.drawn_attacks import STRONGEST, attack_in_words, short_name
from verifier.studies.comparison.measure import Measured
from verifier.studies.comparison.options import CompareOptions
from verifier.studies.comparison.paired import Comparison, paired_tests
from verifier.studies.comparison.statistics import Crossing, Curve, Group, curves

PACKAGES = ("torch", "highspy", "onnxruntime", "numpy")


@dataclass(frozen=True, eq=False)
class Findings:
    """All that is said in words and figures."""

    options: CompareOptions
    data: str
    groups: tuple[Group, ...]
    tests: list[Comparison]
    matched_tests: list[Comparison]  # of networks of the baseline's accuracy, corrected for these alone
    crossings: list[Crossing]
    curves: Mapping[tuple[str, Norm], Curve]
    differences: list[Difference]
    overestimates: list[Overestimate]
    missing: str = ""  # what an early end left out

    def of(self, norm: Norm) -> list[Group]:
        return [group for group in self.groups if group.norm is norm]

    def baseline(self, norm: Norm) -> Group | None:
        """The network that the others are held against, if it is among them."""
        return next((group for group in self.of(norm) if group.family == self.options.baseline), None)


def findings(options: CompareOptions, data: str, groups: tuple[Group, ...], missing: str = "") -> Findings:
    """Tests, curves with their bands and crossings, and differences of the groups."""
    matched = [group for group in groups if group.matched]
    found = Findings(options, data, groups, paired_tests(groups), paired_tests(matched), [], {}, [], [], missing)
    drawn = dict[tuple[str, Norm], Curve]()
    for norm in options.norms:
        chosen, baseline = found.of(norm), found.baseline(norm)
        lines, crossed = curves(chosen, options.resampling)
        drawn |= {(group.variant, norm): line for group, line in zip(chosen, lines, strict=True)}
        found.crossings.extend(crossed)
        if baseline is not None and len(chosen) > 1:
            found.differences.extend(differences(chosen, baseline, options.resampling))
        found.overestimates.extend(overestimates(chosen, baseline, (options.attack, STRONGEST), options.resampling))
    return replace(found, curves=drawn)


def notes(found: Findings) -> list[str]:
    """How the tables are to be read."""
    count, level = len(found.groups[0].members[0].indices), f"{found.options.level:.0%}"
    attacks = f"The typical attack ({short_name(found.options.attack)}): {attack_in_words(found.options.attack)}."
    if found.options.attack != STRONGEST:
        attacks += f" The strongest ({short_name(STRONGEST)}): {attack_in_words(STRONGEST)}."
    return [
        f"Each network on the same {count} test samples of {found.data}. Distances are minimal perturbations inside "
        "[0, 1]: exact where the two sides of their bracket meet; where samples stayed open, both ends are shown, "
        "the adversary is the nearest found, and none is dropped.",
        "The lower side is the best bound that anything here proves of a sample, search or cross-Lipschitz, as `proven "
        "by` counts over the samples classified right; the upper side is the nearest adversary that anything here "
        "found and onnxruntime replayed.",
        "A misclassified sample counts with distance 0 (so the mean and the curves hold accuracy too), and robust "
        "accuracy is the share of all samples that are classified right with no adversary up to the radius. "
        "Test accuracy is over the whole test data, `right of these` over the samples compared.",
        "Intervals of shares in brackets: Wilson's at 95 %, for the number of samples.",
        f"Intervals of means: bootstrap over seeds and samples, {found.options.resamples} resamples. One network beats "
        f"another where Wilcoxon's signed-rank test, paired by sample (distances averaged over seeds), says so at the "
        f"{level} level after Holm's correction over all {len(found.tests)} pairs; it speaks of "
        "these networks, and how many seeds agree tells how far it may hold for others.",
        f"Bands, leads and crossings of curves, and intervals of differences: bootstrap over samples, the same for all "
        f"networks; they hold at the {level} level for all radii and all pairs of a norm together.",
        f"{attacks} Neither is told the distance. Seconds are wall time per sample on "
        "a machine that may have been busy. Open phases: mean ReLUs not fixed by bounds before the search.",
        conditions(found.options, [one for group in found.groups for one in group.members]),
    ]


def conditions(options: CompareOptions, measured: Sequence[Measured]) -> str:
    """With what, and how long at the most, each sample was measured, by all attempts at it together."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    spent = [tried for one in measured for tried in one.attempts if tried]
    usual = math.inf if options.time_limit is None else options.time_limit
    limits = [sum(math.inf if one["time_limit"] is None else one["time_limit"] for one in tried) for tried in spent]
    most = max(limits, default=usual)
    limit = f"at most {most:g} s a sample" if math.isfinite(most) else "no time limit"
    engines, devices = (
        listed(list(dict.fromkeys(one[name] for tried in spent for one in tried)) or [getattr(options, name)])
        for name in ("engine", "device")
    )
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}"
    return (
        f"Conditions: plumbline {__version__}, engine {engines}, {limit}, tolerance {options.tolerance:g}, "
        f"device {devices}, seed {options.seed}; {machine}."
    )


def summary(found: Findings, norm: Norm) -> str:
    """What was found in one norm, in a paragraph; every sentence is a test's at the comparison's level."""
    sentences = [
        _openness(found, norm),
        *_against(found, norm),
        *_against_matched(found, norm),
        _crossed(found, norm),
        *(_overestimated(found, norm, name) for name in found.options.attacks),
    ]
    return " ".join(sentences)


def _openness(found: Findings, norm: Norm) -> str:
    groups = found.of(norm)
    total, opened = sum(group.lower.size for group in groups), sum(group.open for group in groups)
    if not opened:
        return f"All {total} distances are exact."
    return f"{opened} of {total} distances stayed open; what follows holds wherever in their brackets they lie."


def _against(found: Findings, norm: Norm) -> list[str]:
    baseline = found.baseline(norm)
    if baseline is None or len(found.of(norm)) < 2:
        return []
    return [f"Against {baseline.variant}, {_won_and_lost(found, found.tests, baseline)}."]


def _against_matched(found: Findings, norm: Norm) -> list[str]:
    """The same among networks of one accuracy, so that it is not a loss of accuracy that makes the difference."""
    baseline = found.baseline(norm)
    alike = [group for group in found.of(norm) if group.matched and group is not baseline]
    if baseline is None or not baseline.matched or len(found.of(norm)) < 2:
        return []
    families = {group.family for group in found.of(norm)} - {group.family for group in alike} - {baseline.family}
    without = f"; no strength of {listed(sorted(families))} is among them" if families else ""
    if not alike:
        return [f"None of the others is as accurate on the validation split as {baseline.variant}."]
    told = _won_and_lost(found, found.matched_tests, baseline)
    return [f"Among networks as accurate on the validation split as {baseline.variant}, {told}{without}."]


def _won_and_lost(found: Findings, tests: Sequence[Comparison], baseline: Group) -> str:
    """On which variants distances are larger and smaller than on the baseline, and on which neither is shown."""
    larger, smaller, undecided = list[str](), list[str](), list[str]()
    for test in tests:
        if test.norm is not baseline.norm or baseline.variant not in (test.better, test.worse):
            continue
        other = test.worse if test.better == baseline.variant else test.better
        place = undecided if not test.beats(found.options.level) else larger if test.better == other else smaller
        place.append(other)
    count = len(larger) + len(smaller) + len(undecided)
    parts = [
        (larger, "distances are larger on"),
        (smaller, "smaller on" if larger else "distances are smaller on"),
        (undecided, "no difference is shown on"),
    ]
    return "; ".join(f"{what} {len(names)} of {count} variants ({listed(names)})" for names, what in parts if names)


def _crossed(found: Findings, norm: Norm) -> str:
    crossed = [one for one in found.crossings if one.norm is norm]
    if not crossed:
        return "No two curves are seen to cross."
    pairs = list(dict.fromkeys(f"{one.first} / {one.second}" for one in crossed))
    return f"Curves cross, the first of a pair ahead at small radii: {listed(pairs)}."


def _overestimated(found: Findings, norm: Norm, attack: str) -> str:
    chosen = [one for one in found.overestimates if one.norm is norm and one.attack == attack]
    shown = [one for one in chosen if one.interval[0] > 0]
    name = f"The {'typical' if attack == found.options.attack else 'strongest'} attack ({short_name(attack)})"
    if not shown:
        return f"{name} is not seen to overestimate distances by more than {FARTHER:.0%} on any variant."
    most = max(shown, key=lambda one: one.lower)
    told = (
        f"{name} overestimates distances by more than {FARTHER:.0%} on {len(shown)} of {len(chosen)} variants, most "
        f"often on {most.variant} ({most.lower:.0%} of samples"
        f"{'' if most.upper == most.lower else f', {most.upper:.0%} at most'})"
    )
    baseline = found.baseline(norm)
    oftener, rarer = ([one.variant for one in chosen if getattr(one, side)] for side in ("oftener", "rarer"))
    parts = [f"{word} than on {baseline.variant} on {listed(names)}" for word, names in (("oftener", oftener),
             ("more rarely", rarer)) if names and baseline is not None]  # fmt: skip
    return f"{told}{': ' if parts else ''}{', '.join(parts)}."


def ranking(found: Findings, norm: Norm) -> list[tuple[str, int, int, int]]:
    """Per variant: how many others it beats, how many beat it, and how many show no difference; best first."""
    tests = [test for test in found.tests if test.norm is norm]
    rows = []
    for group in found.of(norm):
        own = [test for test in tests if group.variant in (test.better, test.worse)]
        clear = [test for test in own if test.beats(found.options.level)]
        won = sum(test.better == group.variant for test in clear)
        rows.append((group.variant, won, len(clear) - won, len(own) - len(clear)))
    return sorted(rows, key=lambda row: (row[2] - row[1], row[0]))


def ranking_lines(found: Findings) -> list[str]:
    """The rankings in words."""
    return [
        f"{NAMES[norm]}: {name} beats {won}, is beaten by {lost}, no difference shown to {undecided}"
        for norm in found.options.norms
        for name, won, lost, undecided in ranking(found, norm)
    ]


DIFFERENCES = ("network", "less", "difference of means", "interval", "p, corrected", "verdict", "seeds agreeing")


def difference_rows(found: Findings, norm: Norm) -> list[tuple[str, ...]]:
    """Per variant against the baseline: the difference with its interval, and what the paired test says."""
    rows = list[tuple[str, ...]]()
    for one in (one for one in found.differences if one.norm is norm):
        test = next(t for t in found.tests if t.norm is norm and {t.better, t.worse} == {one.variant, one.baseline})
        verdict = "no difference shown"
        if test.beats(found.options.level):
            verdict = "larger" if test.better == one.variant else "smaller"
        rows.append(
            (
                one.variant, one.baseline, bracket(one.lower, one.upper), " to ".join(map(number, one.interval)),
                f"{test.corrected:.2g}", verdict, f"{test.seeds_agreeing} of {test.seeds}",
            )
        )  # fmt: skip
    return rows


def crossing_lines(found: Findings) -> list[str]:
    """The crossings in words."""
    return [
        f"{NAMES[one.norm]}: {one.first} is ahead up to {one.below:.4g}, {one.second} from {one.above:.4g} on"
        for one in found.crossings
    ]
