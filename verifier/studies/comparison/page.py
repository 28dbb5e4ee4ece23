"""The comparison's page, and all the files of one comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from encoders.question import Norm
from verifier.pages.page import Table, rendered
from verifier.pages.wording import NAMES, number
from verifier.runs.samples import Samples
from verifier.studies.comparison import figures
from verifier.studies.comparison.findings import Findings, against_baseline, crossing_lines, notes, ranking
from verifier.studies.comparison.gallery import gallery
from verifier.studies.comparison.measure import Measured
from verifier.studies.comparison.nearest import Scale, Transfer, scale, transfer
from verifier.studies.comparison.tables import as_csv, as_json, header, markdown, row

RANKING = ("network", "beats", "is beaten by", "no difference shown")
STRETCHES = (1.0, 2.0)


def write(found: Findings, samples: Samples, folder: Path) -> tuple[Path, ...]:
    """comparison.md, .csv, .json and index.html in the folder."""
    contents = {
        "comparison.md": markdown(found),
        "comparison.csv": as_csv(found),
        "comparison.json": json.dumps(as_json(found), allow_nan=False) + "\n",
        "index.html": page(found, samples),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return tuple(folder / name for name in contents)


def page(found: Findings, samples: Samples) -> str:
    """Everything on one page of HTML."""
    indices = found.groups[0].members[0].indices
    scales = [scale(samples, indices, norm) for norm in dict.fromkeys((*found.options.norms, Norm.L2))]
    known = [one for one in scales if np.isfinite(one.other).any() and np.isfinite(one.same).any()]
    first = [[group.members[0] for group in found.of(norm)] for norm in found.options.norms]
    return rendered(
        "comparison.html",
        f"Regularisers compared on {found.data}",
        notes=notes(found),
        against_baseline=against_baseline(found),
        crossings=crossing_lines(found),
        attack=found.options.attack,
        norms=[_part(found, samples, *of) for of in zip(found.options.norms, first, strict=True)],
        scales=_scale_table(known),
        scale_charts=[figures.scale_chart(one) for one in known],
        gallery=gallery(first, samples, found.options.pictures, scales),
    )


def _part(found: Findings, samples: Samples, norm: Norm, first: Sequence[Measured]) -> dict[str, object]:
    """What the page shows of one norm."""
    groups = found.of(norm)
    baseline = next((group for group in groups if group.family == found.options.baseline), None)
    return {
        "name": NAMES[norm],
        "figures": Table(header(found.options, norm), [row(group, found.options) for group in groups]),
        "ranking": Table(RANKING, ranking(found, norm), f"Which beats which, {NAMES[norm]}"),
        "overview": figures.overview(groups),
        "curves": [figures.curve_of(group, baseline, groups) for group in groups],
        "trade_off": figures.trade_off(found, norm),
        "sweeps": figures.over_strength(found, norm),
        "transfers": [_transfer_table(transfer(first, samples, stretch)) for stretch in STRETCHES],
    }


def _scale_table(scales: Sequence[Scale]) -> Table:
    return Table(
        ("norm", "same class, median", "another class, least", "another class, median", "half of the least"),
        [(NAMES[one.norm], *map(number, figures.quantiles(one))) for one in scales],
    )


def _transfer_table(found: Transfer) -> Table:
    rows = [
        (name, *("–" if np.isnan(value) else f"{value:.0%}" for value in values))
        for name, values in zip(found.names, found.shares, strict=True)
    ]
    caption = f"{found.stretch:g} times as far from the sample as the exact adversary"
    return Table(("", *found.names), rows, caption)
