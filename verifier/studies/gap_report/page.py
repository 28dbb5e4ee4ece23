"""The page of a bound-gap report, for a reader who has never seen the tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from verifier.pages.page import Page, picture, signed_picture
from verifier.pages.wording import NAMES, bracket, number
from verifier.question.model import Model
from verifier.runs.samples import Samples
from verifier.studies.gap_report.figures import charts
from verifier.studies.gap_report.measure import adversary_of
from verifier.studies.gap_report.options import RADII, ReportOptions
from verifier.studies.gap_report.records import Collected, Kind, Technique, tightness, within

HOW_TO_READ = (
    "An adversary of an input is another input that the network puts into a different class. Its distance is how far "
    "it lies from the input: in L∞ the largest change of any one value, in L1 the sum of all changes, in L2 the "
    "Euclidean length.",
    "The exact distance is that of the nearest adversary there is. It is known where two things meet: a proof that "
    "nothing nearer exists (the proven lower), and a real adversary that was replayed through the model file (the "
    "upper).",
    "A lower bound is a cheaper proof: never above the exact distance. An attack is a search without proof: never "
    "below it. An estimate is neither, and may lie on either side. This report shows how far each of them stays away.",
    "An input that the network already gets wrong counts with distance 0. Where an input stayed open (the time ran "
    "out), both ends of its bracket are shown, and curves have a band.",
)


def page(
    model: Model,
    samples: Samples,
    norms: Sequence[Collected],
    options: ReportOptions,
    conditions: Mapping[str, Any],
    asked: int,
) -> Page:
    """Everything on one page."""
    made = Page(f"Bound-gap report: {model.path.name}", _summary(norms, samples, asked))
    made.listing(HOW_TO_READ)
    for found in norms:
        _add_norm(made, found)
    for found in norms:
        _add_pictures(made, found, samples, options.pictures)
    for found in norms:
        _add_samples(made, found)
    made.heading("How this was measured")
    made.table(("", ""), [(name, str(value)) for name, value in conditions.items()])
    made.paragraph(
        "Proofs are about the network in real arithmetic with the file's weights; adversaries are replayed both in "
        "onnxruntime and in float64. Seconds are wall time on a machine that may have been busy."
    )
    return made


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


def _add_norm(made: Page, found: Collected) -> None:
    name = NAMES[found.norm]
    made.heading(f"Distances in {name}")
    if not len(found.indices):
        made.paragraph("no input is finished yet")
        return
    drawn = charts(found)
    made.figures(
        [drawn["robustness"]],
        "For each radius: the share of inputs that have an adversary at most that far away. Grey: exact, with a band "
        "for inputs that stayed open. Dashed: what a lower bound cannot exclude (above the exact curve). Solid and "
        "coloured: what an attack finds (below it).",
    )
    made.table(TECHNIQUES, technique_rows(found), "Ratios are taken over the inputs whose distance is known exactly.")
    made.figures([drawn["bounds"], drawn["attacks"]], "1 is exact: bounds stay left of it, attacks right of it.")
    made.figures(
        [drawn["cost"], drawn["accuracy"]],
        "Left: how near the median bound or attack comes to the exact distance (1), and its time. Right: accuracy "
        "without any attack, with the best adversaries found, and proven.",
    )
    made.table(
        ("radius", "clean accuracy", "attacked accuracy", "certified accuracy"),
        accuracy_rows(found),
        "Attacked: right, and no adversary found within the radius. Certified: right, and proven to have none there.",
    )


TECHNIQUES = ("technique", "kind", "median ratio to exact", "tenth to ninetieth percentile", "exact on", "median s")


def technique_rows(found: Collected) -> list[tuple[str, ...]]:
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
    return rows


def accuracy_rows(found: Collected) -> list[tuple[str, ...]]:
    """A row per radius: clean, attacked and certified accuracy."""
    radii = np.array(RADII[found.norm])
    clean = float(found.correct.mean())
    attacked, certified = 1.0 - within(found.upper, radii), 1.0 - within(found.lower, radii)
    return [
        (f"{radius:g}", f"{clean:.1%}", f"{high:.1%}", f"{low:.1%}")
        for radius, high, low in zip(radii, attacked, certified, strict=True)
    ]


def _add_pictures(made: Page, found: Collected, samples: Samples, most: int) -> None:
    """The inputs nearest to another class, with their adversaries."""
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
        if all(cell == "–" for cell in cells):
            return
        rows.append((*cells, bracket(float(found.lower[k]), float(found.upper[k]))))
    if rows:
        made.heading(f"The closest adversaries, {NAMES[found.norm]}")
        made.table(("input", "nearest adversary", "change, magnified", f"{NAMES[found.norm]} distance"), rows)


def _add_samples(made: Page, found: Collected) -> None:
    """The whole sandwich, sample by sample."""
    if not len(found.indices):
        return
    made.heading(f"Sample by sample, {NAMES[found.norm]}")
    bounds = [one for one in found.techniques if one.kind is Kind.BOUND]
    attacks = [one for one in found.techniques if one.kind is Kind.ATTACK]
    header = (
        "sample", "class", "verdict", *(one.name for one in bounds), "proven lower", "replayed upper",
        *(one.name for one in attacks), "basis", "seconds",
    )  # fmt: skip
    made.table(header, [_sample_row(found, k, bounds, attacks) for k in range(len(found.indices))])


def _sample_row(found: Collected, k: int, bounds: Sequence[Technique], attacks: Sequence[Technique]) -> tuple[str, ...]:
    record = found.records[k]
    wrong = not found.correct[k]

    def shown(values: Sequence[Technique]) -> list[str]:
        return ["–" if wrong else f"{one.distance[k]:.5f}" for one in values]

    return (
        str(found.indices[k]), str(record["predicted"]), str(record["verdict"]), *shown(bounds),
        f"{found.lower[k]:.6f}", f"{found.upper[k]:.6f}", *shown(attacks), str(record["basis"]),
        f"{found.seconds[k]:.2f}",
    )  # fmt: skip


def _ratio(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.4f}" if np.isfinite(value) else "∞"
