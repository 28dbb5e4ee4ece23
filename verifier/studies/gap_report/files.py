"""The files of one report: a page, its tables, and its charts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verifier.question.model import Model
from verifier.runs.samples import Samples
from verifier.studies.gap_report.figures import charts
from verifier.studies.gap_report.options import ReportOptions
from verifier.studies.gap_report.page import page
from verifier.studies.gap_report.records import Collected, tightness


def write(
    folder: Path,
    model: Model,
    samples: Samples,
    norms: Sequence[Collected],
    options: ReportOptions,
    conditions: Mapping[str, Any],
    asked: int,
) -> tuple[Path, ...]:
    """report.html, report.json, report.csv, and CHART-NORM.png for each chart."""
    drawn = {found.norm: charts(found) for found in norms if len(found.indices)}
    contents = {
        "report.html": page(model, samples, norms, drawn, options, conditions, asked),
        "report.json": json.dumps(as_json(norms, conditions), indent=1, allow_nan=False) + "\n",
        "report.csv": as_csv(norms),
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
        written.append(folder / name)
    for norm, named in drawn.items():
        for name, chart in named.items():
            written.append(folder / f"{name}-{norm}.png")
            chart.save(written[-1])
    return tuple(written)


def as_json(norms: Sequence[Collected], conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions, a summary per technique, and every sample's line; infinities are the string "inf"."""
    return {
        "conditions": dict(conditions),
        "techniques": [
            {"norm": str(found.norm), "name": one.name, "kind": str(one.kind)}
            | {name: _strict(value) for name, value in vars(tightness(found, one)).items()}
            for found in norms
            for one in found.techniques
        ],
        "samples": [
            {name: value for name, value in record.items() if name not in ("run", "adversary")}
            for found in norms
            for record in found.records
        ],
    }


def as_csv(norms: Sequence[Collected]) -> str:
    """A line per sample and norm: the bracket, then every technique's distance and seconds."""
    names = list(dict.fromkeys(one.name for found in norms for one in found.techniques))
    base = [
        "index",
        "label",
        "predicted",
        "norm",
        "verdict",
        "lower",
        "upper",
        "target",
        "proven_by",
        "basis",
        "seconds",
    ]
    out = io.StringIO()
    columns = [*base, *names, *(f"{name} seconds" for name in names)]
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for found in norms:
        for record in found.records:
            held = record["bounds"] | record["attacks"] | record["estimates"]
            line = {name: record[name] for name in base}
            line |= {name: one["distance"] for name, one in held.items()}
            line |= {f"{name} seconds": one["seconds"] for name, one in held.items()}
            writer.writerow(line)
    return out.getvalue()


def _strict(value: float) -> float | str | None:
    if value != value:
        return None
    return value if abs(value) < float("inf") else str(value)
