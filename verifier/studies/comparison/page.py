"""The comparison's page, and all the files of one comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from encoders.files import write_whole
from encoders.question import CONVEX, Norm
from verifier.pages.page import Table, rendered
from verifier.pages.wording import NAMES, nearest
from verifier.runs.samples import Samples
from verifier.studies.comparison import figures, trade_off
from verifier.studies.comparison.drawn_attacks import STRONGEST, short_name
from verifier.studies.comparison.findings import (
    DIFFERENCES,
    Findings,
    crossing_lines,
    difference_rows,
    notes,
    ranking,
    summary,
)
from verifier.studies.comparison.gallery import gallery
from verifier.studies.comparison.tables import (
    as_csv,
    as_json,
    curves_csv,
    differences_csv,
    header,
    markdown,
    row,
    transfer_csv,
)
from verifier.studies.comparison.transfer import Transfer, transfer
from verifier.studies.data_scale import told
from verifier.studies.data_scale.distances import Scale, scale

RANKING = ("network", "beats", "is beaten by", "no difference shown")


def write(found: Findings, samples: Samples, folder: Path) -> tuple[Path, ...]:
    """The page, and every table on it that has a row as a file, in the folder."""
    transfers = transfers_of(found, samples)
    scales = [] if samples.y is None else [scale(samples.x, samples.y, norm) for norm in CONVEX]
    contents = {
        "comparison.md": markdown(found),
        "comparison.csv": as_csv(found),
        "curves.csv": curves_csv(found),
        "differences.csv": differences_csv(found),
        "transfer.csv": transfer_csv(transfers),
        "training-radius.csv": trade_off.as_csv(trade_off.sweeps(found.groups), found.options),
        "scale.csv": told.as_csv(scales),
        "comparison.json": json.dumps(as_json(found), allow_nan=False) + "\n",
        "index.html": page(found, samples, transfers, scales),
    }
    contents = {name: content for name, content in contents.items() if content.strip()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(folder / name, content)
    return tuple(folder / name for name in contents)


def transfers_of(found: Findings, samples: Samples) -> list[Transfer]:
    """Of each norm's first seeds: the adversaries as they were found, and at every radius that is told."""
    return [
        transfer([group.members[0] for group in found.of(norm)], samples, radius)
        for norm in found.options.norms
        for radius in (None, *found.options.radii[norm])
    ]


def page(found: Findings, samples: Samples, transfers: Sequence[Transfer], scales: Sequence[Scale]) -> str:
    """Everything on one page of HTML."""
    known = [one for one in scales if np.isfinite(one.other).any() and np.isfinite(one.same).any()]
    first = [[group.members[0] for group in found.of(norm)] for norm in found.options.norms]
    return rendered(
        "comparison.html",
        f"Regularisers compared on {Path(found.data).name}",
        notes=notes(found),
        missing=found.missing,
        crossings=crossing_lines(found),
        attack=short_name(found.options.attack),
        strongest=short_name(STRONGEST),
        level=f"{found.options.level:.0%}",
        norms=[_part(found, norm, [one for one in transfers if one.norm is norm]) for norm in found.options.norms],
        scales=told.scale_table(known),
        scale_charts=[told.scale_chart(one) for one in known],
        training_radii=[trade_off.chart(one, found.options) for one in trade_off.sweeps(found.groups)],
        gallery=gallery(first, samples, found.options.pictures, scales, found.options.baseline),
    )


def _part(found: Findings, norm: Norm, transfers: Sequence[Transfer]) -> dict[str, object]:
    """What the page shows of one norm."""
    groups, baseline = found.of(norm), found.baseline(norm)
    return {
        "name": NAMES[norm],
        "summary": summary(found, norm),
        "figures": Table(header(found.options, norm), [row(group, found.options) for group in groups]),
        "ranking": Table(RANKING, ranking(found, norm)),
        "differences": Table(DIFFERENCES, difference_rows(found, norm)),
        "forest": figures.differences_chart(found, norm),
        "curves": [figures.curve_of(found, group, baseline) for group in groups],
        "overestimates": figures.overestimates_chart(found, norm),
        "trade_off": figures.trade_off(found, norm),
        "sweeps": figures.over_strength(found, norm),
        "found": nearest(any(group.members[0].open.any() for group in groups)),
        "transfer_charts": [figures.transfer_chart(one) for one in transfers],
        "transfers": [_transfer_table(one) for one in transfers],
    }


def _transfer_table(found: Transfer) -> Table:
    rows = [
        (name, *("–" if np.isnan(value) else f"{value:.0%}" for value in values))
        for name, values in zip(found.names, found.shares, strict=True)
    ]
    where = "as they were found" if found.radius is None else f"moved to a radius of {found.radius:g}"
    return Table(("", *found.names), rows, f"{NAMES[found.norm]}, {where}")
