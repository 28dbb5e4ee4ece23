"""The comparison's page, and all the files of one comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from encoders.question import Norm
from verifier.pages.page import Page
from verifier.pages.wording import NAMES, number
from verifier.runs.samples import Samples
from verifier.studies.comparison import figures, gallery
from verifier.studies.comparison.findings import Findings, against_baseline, crossing_lines, notes, ranking
from verifier.studies.comparison.measure import Measured
from verifier.studies.comparison.nearest import Scale, Transfer, scale, transfer
from verifier.studies.comparison.statistics import Group
from verifier.studies.comparison.tables import as_csv, as_json, header, markdown, row

STRETCHES = (1.0, 2.0)


def write(found: Findings, samples: Samples, folder: Path) -> tuple[Path, ...]:
    """comparison.md, .csv, .json and index.html in the folder."""
    contents = {
        "comparison.md": markdown(found),
        "comparison.csv": as_csv(found),
        "comparison.json": json.dumps(as_json(found), allow_nan=False) + "\n",
        "index.html": page(found, samples).html(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return tuple(folder / name for name in contents)


def page(found: Findings, samples: Samples) -> Page:
    """Everything on one page."""
    made = Page(
        f"Regularisers compared on {found.data}", "Every distance is exact, or a bracket with both sides shown."
    )
    made.listing(notes(found))
    for norm in found.options.norms:
        made.heading(f"Figures, {NAMES[norm]}")
        made.table(header(found.options, norm), [row(group, found.options) for group in found.of(norm)])
    made.heading("Against the baseline")
    made.listing(against_baseline(found) or ["there is no baseline among these networks"])
    for norm in found.options.norms:
        columns = ("network", "beats", "is beaten by", "no difference shown")
        made.table(columns, ranking(found, norm), f"Which beats which, {NAMES[norm]}")
    for norm in found.options.norms:
        _add_curves(made, found, norm)
    made.heading("Where curves cross")
    made.paragraph(
        "A mean or a single radius hides these: within the range named, one proven curve gives way to another. Leads "
        "of less than a standard error of a share (0.5/√samples) are not counted."
    )
    made.folded("the crossings", crossing_lines(found) or ["no two curves cross by more than that"])
    _add_trade_off(made, found)
    indices = found.groups[0].members[0].indices
    scales = [scale(samples, indices, norm) for norm in dict.fromkeys((*found.options.norms, Norm.L2))]
    _add_scale(made, scales)
    for norm in found.options.norms:
        first = [group.members[0] for group in found.of(norm)]
        _add_transfer(made, [transfer(first, samples, stretch) for stretch in STRETCHES])
    _add_pictures(made, found, samples, scales)
    return made


def _add_curves(made: Page, found: Findings, norm: Norm) -> None:
    groups = found.of(norm)
    made.heading(f"Robustness curves, {NAMES[norm]}")
    made.figures([figures.overview(groups)])
    made.figures(
        [figures.curve_of(group, _baseline(found, groups), groups) for group in groups],
        "Share of samples classified right with no adversary up to the radius. Solid: proven; the band is what stayed "
        f"open; dashed: as {found.options.attack} draws it, which can only be above; grey: the baseline.",
    )


def _baseline(found: Findings, groups: Sequence[Group]) -> Group | None:
    return next((group for group in groups if group.family == found.options.baseline), None)


def _add_trade_off(made: Page, found: Findings) -> None:
    made.heading("Accuracy against exact robustness")
    made.figures(
        [figures.trade_off(found, norm) for norm in found.options.norms],
        "One point a network and setting; bars: range of accuracy over the seeds, interval of the mean distance. "
        "Lines lead along the strengths (or adversarial radii) of one family.",
    )
    charts = [chart for norm in found.options.norms for chart in figures.over_strength(found, norm)]
    if charts:
        made.figures(charts, "Along each sweep, in the order of the config.")


def _add_scale(made: Page, scales: Sequence[Scale]) -> None:
    known = [one for one in scales if np.isfinite(one.other).any() and np.isfinite(one.same).any()]
    if not known:
        return
    made.heading("The scale of the data")
    made.paragraph(
        "Distances from each compared sample to its nearest neighbours in the test data. A radius beyond half the "
        "distance to another class asks of the classifier what the data contradicts."
    )
    made.figures([figures.scale_chart(one) for one in known])
    made.table(
        ("norm", "same class, median", "another class, least", "another class, median", "half of the least"),
        [
            (NAMES[one.norm], *map(number, figures.quantiles(one)))
            for one in known
        ],
    )  # fmt: skip


def _add_transfer(made: Page, matrices: Sequence[Transfer]) -> None:
    made.heading(f"Transfer of exact adversaries, {NAMES[matrices[0].norm]}")
    made.paragraph(
        "Rows: whose adversaries; columns: who is shown them (first seeds; samples that both classify right). "
        "A minimal adversary lies a hair beyond its own boundary, so that others rarely follow; stretched, more do."
    )
    for one in matrices:
        rows = [
            (name, *("–" if np.isnan(value) else f"{value:.0%}" for value in values))
            for name, values in zip(one.names, one.shares, strict=True)
        ]
        made.table(("", *one.names), rows, f"{one.stretch:g} times as far from the sample as the exact adversary")


def _add_pictures(made: Page, found: Findings, samples: Samples, scales: Sequence[Scale]) -> None:
    for number_, norm in enumerate(found.options.norms):
        first: list[Measured] = [group.members[0] for group in found.of(norm)]
        chosen = gallery.chosen_samples(first, found.options.pictures)
        if not chosen:
            continue
        if number_ == 0:
            gallery.add_gradients(made, first, samples, chosen)
            gallery.add_large(made, first, samples, chosen, scales)
        gallery.add_adversaries(made, first, samples, chosen)
        gallery.add_paths(made, first, samples, chosen[0])
