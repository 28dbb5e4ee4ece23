"""The page of a bound-gap report, for a reader who has never seen the tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from encoders.question import Norm
from verifier.pages.charts import Chart
from verifier.pages.page import Table, rendered
from verifier.pages.pictures import picture, signed_picture
from verifier.pages.wording import NAMES, bracket, number
from verifier.question.model import Model
from verifier.runs.samples import Samples
from verifier.studies.gap_report.measure import adversary_of
from verifier.studies.gap_report.options import RADII, ReportOptions
from verifier.studies.gap_report.records import Collected, Kind, Technique, tightness, within


def page(
    model: Model,
    samples: Samples,
    norms: Sequence[Collected],
    charts: Mapping[Norm, Mapping[str, Chart]],
    options: ReportOptions,
    conditions: Mapping[str, Any],
    asked: int,
) -> str:
    """Everything on one page of HTML."""
    return rendered(
        "gap_report.html",
        f"Bound-gap report: {model.path.name}",
        summary=_summary(norms, samples, asked),
        norms=[
            {
                "name": NAMES[found.norm],
                "charts": charts.get(found.norm),  # none where no input is finished yet
                "techniques": technique_table(found),
                "accuracy": accuracy_table(found),
                "pictures": _pictures(found, samples, options.pictures),
                "samples": _samples(found),
            }
            for found in norms
        ],
        conditions=Table(("", ""), list(conditions.items())),
    )


def _summary(norms: Sequence[Collected], samples: Samples, asked: int) -> str:
    parts = []
    for found in norms:
        if not len(found.indices):
            continue
        right, closed = int(found.correct.sum()), int((found.closed & found.correct).sum())
        known = found.upper[found.correct & found.closed]
        middle = f"; the median distance is {number(float(np.median(known)))}" if known.size else ""
        parts.append(
            f"{NAMES[found.norm]}: {right} of {len(found.indices)} inputs of {samples.name} are classified right, and "
            f"for {closed} of those the distance to the nearest adversary is known exactly{middle}."
        )
        if len(found.indices) < asked:
            parts.append(f"{asked - len(found.indices)} inputs are not finished yet; run the same command to go on.")
    return " ".join(parts) or "Nothing is finished yet; run the same command to go on."


def technique_table(found: Collected) -> Table:
    """A row per technique: how near it comes, and at what cost."""
    rows: list[tuple[str, ...]] = []
    for technique in found.techniques:
        told = tightness(found, technique)
        rows.append((
            technique.name, str(technique.kind), _ratio(told.median), f"{_ratio(told.low)} to {_ratio(told.high)}",
            "–" if np.isnan(told.found) else f"{told.found:.0%}", f"{told.seconds:.3f}",
        ))  # fmt: skip
    exact = found.seconds[found.correct]
    if exact.size:
        share = f"{found.closed[found.correct].mean():.0%}"
        rows.append(("exact", "search", "1", "1 to 1", share, f"{float(np.median(exact)):.3f}"))
    header = ("technique", "kind", "median ratio to exact", "tenth to ninetieth percentile", "exact on", "median s")
    return Table(header, rows, "Ratios are taken over the inputs whose distance is known exactly.")


def accuracy_table(found: Collected) -> Table:
    """A row per radius: clean, attacked and certified accuracy."""
    radii = np.array(RADII[found.norm])
    clean = float(found.correct.mean()) if found.correct.size else 0.0
    attacked, certified = 1.0 - within(found.upper, radii), 1.0 - within(found.lower, radii)
    rows = [
        (f"{radius:g}", f"{clean:.1%}", f"{high:.1%}", f"{low:.1%}")
        for radius, high, low in zip(radii, attacked, certified, strict=True)
    ]
    return Table(
        ("radius", "clean accuracy", "attacked accuracy", "certified accuracy"),
        rows,
        "Attacked: right, and no adversary found within the radius. Certified: right, and proven to have none there.",
    )


def _pictures(found: Collected, samples: Samples, most: int) -> Table:
    """The inputs nearest to another class, with their adversaries; no rows where inputs do not read as images."""
    order = [k for k in np.argsort(found.upper, kind="stable") if found.correct[k] and np.isfinite(found.upper[k])]
    rows = []
    for k in order[:most]:
        record, moved = found.records[k], adversary_of(found.records[k])
        if moved is None:
            continue
        x = samples.x[found.indices[k]]
        shape = x.shape
        cells = [
            picture(x, shape, f"sample {found.indices[k]}: read as {record['predicted']}"),
            picture(moved, shape, f"read as {record['target']}"),
            signed_picture(moved - x.reshape(-1), shape, "the change"),
        ]
        if not all(cell == "–" for cell in cells):
            rows.append((*cells, bracket(float(found.lower[k]), float(found.upper[k]))))
    word = "nearest adversary found" if found.open else "nearest adversary"
    return Table(("input", word, "change, magnified", f"{NAMES[found.norm]} distance"), rows)


def _samples(found: Collected) -> Table:
    """The whole sandwich, sample by sample."""
    bounds = [one for one in found.techniques if one.kind is Kind.BOUND]
    attacks = [one for one in found.techniques if one.kind is Kind.ATTACK]
    header = (
        "sample", "class", "verdict", *(one.name for one in bounds), "proven lower", "replayed upper",
        *(one.name for one in attacks), "proven by", "basis", "seconds",
    )  # fmt: skip
    return Table(header, [_sample_row(found, k, bounds, attacks) for k in range(len(found.indices))])


def _sample_row(found: Collected, k: int, bounds: Sequence[Technique], attacks: Sequence[Technique]) -> tuple[str, ...]:
    record = found.records[k]
    wrong = not found.correct[k]

    def shown(values: Sequence[Technique]) -> list[str]:
        return ["–" if wrong else f"{one.distance[k]:.5f}" for one in values]

    return (
        str(found.indices[k]), str(record["predicted"]), str(record["verdict"]), *shown(bounds),
        f"{found.lower[k]:.6f}", f"{found.upper[k]:.6f}", *shown(attacks),
        str(record["proven_by"]), str(record["basis"]), f"{found.seconds[k]:.2f}",
    )  # fmt: skip


def _ratio(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.4f}" if np.isfinite(value) else "∞"
