"""What a comparison found, in words: how its figures are to be read, who beats whom, where curves cross."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

from encoders.question import Norm
from verifier import __version__
from verifier.pages.wording import NAMES
from verifier.studies.comparison.attack_distance import attack_in_words
from verifier.studies.comparison.options import CompareOptions
from verifier.studies.comparison.paired import Comparison, paired_tests
from verifier.studies.comparison.statistics import Crossing, Group, crossings, curve, radii_for

PACKAGES = ("torch", "highspy", "onnxruntime", "numpy")


@dataclass(frozen=True, eq=False)
class Findings:
    """All that is said in words and figures."""

    options: CompareOptions
    data: str
    groups: tuple[Group, ...]
    tests: list[Comparison]
    crossings: list[Crossing]

    def of(self, norm: Norm) -> list[Group]:
        return [group for group in self.groups if group.norm is norm]


def findings(options: CompareOptions, data: str, groups: tuple[Group, ...]) -> Findings:
    """Tests and crossings of the groups."""
    crossed: list[Crossing] = []
    for norm in options.norms:
        chosen = [group for group in groups if group.norm is norm]
        radii = radii_for(chosen)
        crossed += crossings(norm, [(group.variant, curve(group, radii)) for group in chosen], chosen[0].lower.shape[1])
    return Findings(options, data, groups, paired_tests(groups), crossed)


def notes(found: Findings) -> list[str]:
    """How the tables are to be read."""
    count = len(found.groups[0].members[0].indices)
    return [
        f"Each network on the same {count} test samples of {found.data}. Distances are exact minimal perturbations "
        "inside [0, 1]; where samples stayed open, both ends of the bracket are shown and none is dropped.",
        "A misclassified sample counts with distance 0 (so the mean and the curves hold accuracy too), and robust "
        "accuracy is the share of all samples that are classified right with no adversary up to the radius. "
        "Test accuracy is over the whole test data, `right of these` over the samples compared.",
        f"Intervals: bootstrap over seeds and samples, {found.options.resamples} resamples. One network beats another "
        f"where Wilcoxon's signed-rank test, paired by sample (distances averaged over seeds), says so at the "
        f"{found.options.level:.0%} level after Holm's correction over all {len(found.tests)} pairs; it speaks of "
        "these networks, and how many seeds agree tells how far it may hold for others.",
        f"Attack: {attack_in_words(found.options.attack)}. Seconds are wall time per sample on "
        "a machine that may have been busy. Open phases: mean ReLUs not fixed by bounds before the search.",
        conditions(found.options),
    ]


def conditions(options: CompareOptions) -> str:
    """With what, and how long at the most, each sample was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    limit = "no time limit" if options.time_limit is None else f"at most {options.time_limit:g} s a sample"
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}"
    return (
        f"Conditions: plumbline {__version__}, engine {options.engine}, {limit}, tolerance {options.tolerance:g}, "
        f"device {options.device}, seed {options.seed}; {machine}."
    )


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


def against_baseline(found: Findings) -> list[str]:
    """The verdicts that have the baseline on one side."""
    plain = {group.variant for group in found.groups if group.family == found.options.baseline}
    lines = []
    for norm in found.options.norms:
        for test in (t for t in found.tests if t.norm is norm and {t.better, t.worse} & plain):
            other = test.worse if test.better in plain else test.better
            if not test.beats(found.options.level):
                told = f"no difference from {', '.join(sorted(plain))} shown (p = {test.corrected:.2g})"
            else:
                word = "larger" if test.better == other else "smaller"
                told = (
                    f"{word} distances by {test.difference:.4g} in the mean (p = {test.corrected:.2g}, "
                    f"{test.seeds_agreeing} of {test.seeds} seeds agree)"
                )
            lines.append(f"{NAMES[norm]}: {other}: {told}")
    return lines


def crossing_lines(found: Findings) -> list[str]:
    """The crossings in words."""
    return [
        f"{NAMES[one.norm]}: {one.first} is ahead up to {one.below:.4g}, {one.second} from {one.above:.4g} on"
        for one in found.crossings
    ]
