"""The comparison as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from encoders.question import Norm
from verifier import __version__
from verifier.pages.wording import NAMES, bracket, number, share
from verifier.studies.comparison.findings import Findings, against_baseline, crossing_lines, notes, ranking_lines
from verifier.studies.comparison.options import CompareOptions
from verifier.studies.comparison.statistics import Group, mean_distance, median_distance


def header(options: CompareOptions, norm: Norm) -> list[str]:
    """The columns of a norm's table."""
    return [
        "network", "seeds", "test accuracy", "right of these", "mean distance",
        f"{options.level:.0%} interval", "median", "attack mean",
        "cross-Lipschitz mean", *(f"robust at {radius:g}" for radius in options.radii[norm]),
        "open phases", "open samples", "seconds",
    ]  # fmt: skip


def row(group: Group, options: CompareOptions) -> list[str]:
    """One variant's figures; a bracket where its sides differ in what is shown."""
    mean = mean_distance(group, options.resamples, options.level, options.seed)
    bounds = [one.lipschitz for one in group.members if one.lipschitz is not None]
    return [
        group.variant,
        str(len(group.members)),
        f"{group.accuracy.mean():.1%}",
        f"{group.correct.mean():.1%}",
        bracket(mean.lower, mean.upper),
        f"{number(mean.interval[0])} to {number(mean.interval[1])}",
        bracket(*median_distance(group)),
        number(float(group.attack.mean())),
        number(float(np.mean(bounds))) if bounds else "–",
        *(share(*group.robust(radius)) for radius in options.radii[group.norm]),
        f"{np.mean([one.open_phases[one.correct].mean() for one in group.members if one.correct.any()] or [0.0]):.1f}",
        str(sum(int(one.open.sum()) for one in group.members)),
        f"{np.mean([one.seconds.mean() for one in group.members]):.2f}",
    ]


def markdown(found: Findings) -> str:
    """All tables and findings as Markdown."""
    parts = [f"# Comparison on {found.data}", *notes(found)]
    for norm in found.options.norms:
        columns = header(found.options, norm)
        lines = [columns, ["---"] * len(columns), *(row(group, found.options) for group in found.of(norm))]
        parts += [f"## {NAMES[norm]}", "\n".join("| " + " | ".join(cells) + " |" for cells in lines)]
    for title, told in (
        ("Against the plain network", against_baseline(found)),
        ("Which beats which", ranking_lines(found) if len(found.tests) else []),
        ("Where curves cross", crossing_lines(found) or ["none"]),
    ):
        if told:
            parts += [f"## {title}", "\n".join(f"- {line}" for line in told)]
    return "\n\n".join(parts) + "\n"


def rows_by_network(groups: Sequence[Group], options: CompareOptions) -> list[dict[str, Any]]:
    """One row for each network and norm, plain numbers."""
    found = []
    for one in (member for group in groups for member in group.members):
        robust = {
            f"{side}_robust_at_{radius:g}": float((values > radius).mean())
            for radius in options.radii[one.norm]
            for side, values in (("proven", one.lower), ("possible", one.upper), ("attacked", one.attack))
        }
        found.append(
            {
                "family": one.subject.family, "variant": one.subject.variant, "seed": one.subject.seed,
                "norm": str(one.norm), "samples": len(one.indices), "test_accuracy": one.accuracy,
                "accuracy_on_samples": float(one.correct.mean()),
                "mean_lower": float(one.lower.mean()), "mean_upper": float(one.upper.mean()),
                "median_lower": float(np.median(one.lower)), "median_upper": float(np.median(one.upper)),
                "mean_lower_of_correct": float(one.lower[one.correct].mean()) if one.correct.any() else 0.0,
                "mean_attack": float(one.attack.mean()),
                "mean_cross_lipschitz": None if one.lipschitz is None else float(one.lipschitz.mean()),
                **robust, "mean_open_phases": float(one.open_phases.mean()), "open_samples": int(one.open.sum()),
                "mean_seconds": float(one.seconds.mean()),
            }
        )  # fmt: skip
    return found


def as_csv(found: Findings) -> str:
    """One line a network and norm."""
    rows = rows_by_network(found.groups, found.options)
    columns = list(dict.fromkeys(name for one in rows for name in one))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_json(found: Findings) -> dict[str, Any]:
    """Everything, sample by sample too; infinities are the string "inf"."""
    whole = {
        "version": __version__,
        "data": found.data,
        "options": {**asdict(found.options), "radii": {str(norm): list(r) for norm, r in found.options.radii.items()}},
        "networks": rows_by_network(found.groups, found.options),
        "groups": [
            {"variant": group.variant, "norm": str(group.norm)}
            | asdict(mean_distance(group, found.options.resamples, found.options.level, found.options.seed))
            for group in found.groups
        ],
        "tests": [asdict(test) for test in found.tests],
        "crossings": [asdict(one) for one in found.crossings],
        "samples": {
            f"{one.subject.stem} {one.norm}": {
                "index": list(one.indices), "lower": one.lower.tolist(), "upper": one.upper.tolist(),
                "attack": one.attack.tolist(),
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
