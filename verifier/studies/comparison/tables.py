"""The comparison as Markdown, CSV and JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from encoders.question import Norm
from verifier import __version__
from verifier.pages.csv_text import csv_text
from verifier.pages.wording import NAMES, as_given, bracket, number, share
from verifier.question.results import Basis
from verifier.studies.comparison.drawn_attacks import STRONGEST, short_name
from verifier.studies.comparison.findings import (
    DIFFERENCES,
    Findings,
    crossing_lines,
    difference_rows,
    notes,
    ranking_lines,
    summary,
)
from verifier.studies.comparison.options import CompareOptions
from verifier.studies.comparison.statistics import Group, mean_distance, median_distance
from verifier.studies.comparison.transfer import Transfer
from verifier.studies.wilson import wilson


def header(options: CompareOptions, norm: Norm) -> list[str]:
    """The columns of a norm's table."""
    return [
        "network", "seeds", "test accuracy", "right of these", "mean distance",
        f"{options.level:.0%} interval", "median", "proven by",
        *(f"{short_name(name)} mean" for name in options.attacks), "cross-Lipschitz mean",
        *(f"robust at {as_given(radius)}" for radius in options.radii[norm]),
        "open phases", "open samples", "seconds",
    ]  # fmt: skip


def row(group: Group, options: CompareOptions) -> list[str]:
    """One variant's figures; a bracket where its sides differ in what is shown."""
    mean = mean_distance(group, options.resampling)
    attacked = dict(zip((options.attack, STRONGEST), (group.typical, group.strongest), strict=True))
    bounds = [one.lipschitz for one in group.members if one.lipschitz is not None]
    samples, right = group.lower.shape[1], float(group.correct.mean())
    return [
        group.variant,
        str(len(group.members)),
        f"{group.accuracy.mean():.1%}",
        _interval_told(right, right, samples),
        bracket(mean.lower, mean.upper),
        f"{number(mean.interval[0])} to {number(mean.interval[1])}",
        bracket(*median_distance(group)),
        proven_by(group),
        *(number(float(attacked[name].mean())) for name in options.attacks),
        number(float(np.mean(bounds))) if bounds else "–",
        *(_interval_told(*group.robust(radius), samples) for radius in options.radii[group.norm]),
        f"{np.mean([one.open_phases[one.correct].mean() for one in group.members if one.correct.any()] or [0.0]):.1f}",
        str(sum(int(one.open.sum()) for one in group.members)),
        f"{np.mean([one.seconds.mean() for one in group.members]):.2f}",
    ]


def _interval_told(low: float, high: float, samples: int) -> str:
    """A share, and Wilson's interval for as many samples as there are, however many seeds they are shown to."""
    ends = float(wilson(low, samples)[0]), float(wilson(high, samples)[1])
    return f"{share(low, high)} ({share(*ends, decimals=0)})"


def proven_by(group: Group) -> str:
    """Whose bounds the lower sides are, over the samples classified right; what rests on a solver says so."""
    counts = Counter(
        name if basis in ("", Basis.RIGOROUS) else f"{name} ({basis})"
        for one in group.members
        for name, basis, right in zip(one.proven_by, one.basis, one.correct, strict=True)
        if right and name
    )
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "–"


def markdown(found: Findings) -> str:
    """All tables and findings as Markdown."""
    told = "\n\n".join(f"{NAMES[norm]}. {summary(found, norm)}" for norm in found.options.norms)
    parts = [
        f"# Comparison on {Path(found.data).name}",
        *([found.missing] if found.missing else []),
        told,
        *notes(found),
    ]
    for norm in found.options.norms:
        columns = header(found.options, norm)
        lines = [columns, ["---"] * len(columns), *(row(group, found.options) for group in found.of(norm))]
        parts += [f"## {NAMES[norm]}", _lined(lines)]
        rows = difference_rows(found, norm)
        if rows:
            parts += [
                f"### Against {rows[0][1]}, {NAMES[norm]}",
                _lined([DIFFERENCES, ["---"] * len(DIFFERENCES), *rows]),
            ]
    for title, lined in (
        ("Which beats which", ranking_lines(found) if len(found.tests) else []),
        ("Where curves cross", crossing_lines(found) or ["none"]),
    ):
        if lined:
            parts += [f"## {title}", "\n".join(f"- {line}" for line in lined)]
    return "\n\n".join(parts) + "\n"


def _lined(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def rows_by_network(groups: Sequence[Group], options: CompareOptions) -> list[dict[str, Any]]:
    """One row for each network and norm, plain numbers."""
    found = []
    for one in (member for group in groups for member in group.members):
        robust = {
            f"{side}_robust_at_{as_given(radius)}": float((values > radius).mean())
            for radius in options.radii[one.norm]
            for side, values in (
                ("proven", one.lower),
                ("possible", one.upper),
                ("typical", one.typical),
                ("strongest", one.strongest),
            )
        }
        robust |= {
            f"interval_{end}_robust_at_{as_given(radius)}": float(
                wilson(float((values > radius).mean()), len(values))[side]
            )
            for radius in options.radii[one.norm]
            for end, side, values in (("low", 0, one.lower), ("high", 1, one.upper))
        }
        found.append(
            {
                "family": one.subject.family, "variant": one.subject.variant, "seed": one.subject.seed,
                "matched": one.subject.matched,
                "norm": str(one.norm), "samples": len(one.indices), "test_accuracy": one.accuracy,
                "accuracy_on_samples": float(one.correct.mean()),
                "mean_lower": float(one.lower.mean()), "mean_upper": float(one.upper.mean()),
                "median_lower": float(np.median(one.lower)), "median_upper": float(np.median(one.upper)),
                "mean_lower_of_correct": float(one.lower[one.correct].mean()) if one.correct.any() else 0.0,
                "mean_typical": float(one.typical.mean()), "mean_strongest": float(one.strongest.mean()),
                "mean_cross_lipschitz": None if one.lipschitz is None else float(one.lipschitz.mean()),
                **robust, "mean_open_phases": float(one.open_phases.mean()), "open_samples": int(one.open.sum()),
                "mean_seconds": float(one.seconds.mean()),
            }
        )  # fmt: skip
    return found


def as_csv(found: Findings) -> str:
    """One line a network and norm."""
    return csv_text(rows_by_network(found.groups, found.options))


def curves_csv(found: Findings) -> str:
    """One line a variant, norm and radius: robust accuracy proven, not falsified, as attacks draw it, and its band."""
    return csv_text(
        {
            "norm": str(norm), "variant": variant, "radius": float(radius), "proven": float(curve.proven[k]),
            "possible": float(curve.possible[k]), "typical": float(curve.typical[k]),
            "strongest": float(curve.strongest[k]), "band_low": float(curve.band[0][k]),
            "band_high": float(curve.band[1][k]),
        }
        for (variant, norm), curve in found.curves.items()
        for k, radius in enumerate(curve.radii)
    )  # fmt: skip


def differences_csv(found: Findings) -> str:
    """One line a variant and norm: its mean distance less the baseline's, with the interval and the paired test."""
    columns = [name.replace(",", "").replace(" ", "_") for name in DIFFERENCES]
    return csv_text(
        {"norm": str(norm), **dict(zip(columns, row, strict=True))}
        for norm in found.options.norms
        for row in difference_rows(found, norm)
    )


def transfer_csv(transfers: Sequence[Transfer]) -> str:
    """One line a pair of networks, norm and radius: the share of the adversaries that fool, and of how many."""
    return csv_text(
        {
            "norm": str(one.norm), "radius": "as found" if one.radius is None else one.radius, "found_on": source,
            "shown_to": target, "samples": int(one.counts[a, b]),
            "share": "" if np.isnan(one.shares[a, b]) else float(one.shares[a, b]),
        }
        for one in transfers for a, source in enumerate(one.names) for b, target in enumerate(one.names)
    )  # fmt: skip


def as_json(found: Findings) -> dict[str, Any]:
    """Everything, sample by sample too; infinities are the string "inf"."""
    whole = {
        "version": __version__,
        "data": found.data,
        "missing": found.missing,
        "options": {**asdict(found.options), "radii": {str(norm): list(r) for norm, r in found.options.radii.items()}},
        "networks": rows_by_network(found.groups, found.options),
        "groups": [
            {"variant": group.variant, "norm": str(group.norm)}
            | asdict(mean_distance(group, found.options.resampling))
            for group in found.groups
        ],
        "tests": [asdict(test) for test in found.tests],
        "matched_tests": [asdict(test) for test in found.matched_tests],
        "crossings": [asdict(one) for one in found.crossings],
        "differences": [asdict(one) for one in found.differences],
        "overestimates": [asdict(one) for one in found.overestimates],
        "samples": {
            f"{one.subject.stem} {one.norm}": {
                "index": list(one.indices), "lower": one.lower.tolist(), "upper": one.upper.tolist(),
                "typical": one.typical.tolist(), "strongest": one.strongest.tolist(),
                "cross_lipschitz": None if one.lipschitz is None else one.lipschitz.tolist(),
                "proven_by": list(one.proven_by), "basis": list(one.basis), "open": one.open.tolist(),
            }
            for group in found.groups for one in group.members
        },
    }  # fmt: skip
    strict: dict[str, Any] = _strict(whole)
    return strict


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(held) for held in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
