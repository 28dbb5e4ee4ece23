"""The files of one report: a page, its tables, and its charts, in the formats that are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from encoders.errors import OptionError
from encoders.files import write_whole
from encoders.question import Norm
from verifier.pages.csv_text import csv_text
from verifier.pages.drawn_chart import Chart
from verifier.pages.pdf import pdf
from verifier.question.results import Verdict
from verifier.studies.gap_report.conditions import Conditions
from verifier.studies.gap_report.figures import charts, curve_rows, marks_of
from verifier.studies.gap_report.page import Radii, page
from verifier.studies.gap_report.records import HELD_UNDER, Collected, tightness
from verifier.studies.gap_report.told import proof_file

Charts = Mapping[Norm, Mapping[str, Chart]]
BASE = (
    "index", "label", "predicted", "norm", "verdict", "lower", "upper", "target", "proven_by", "basis", "found_by",
    "seconds", "adversary",
)  # fmt: skip


def write(conditions: Conditions, norms: Sequence[Collected], given: Radii, formats: Sequence[str]) -> tuple[Path, ...]:
    """The files of the formats; in a norm without given radii they are chosen from the distances."""
    marks = marks_of(norms)
    drawn = {found.norm: charts(found, marks, conditions.question.box) for found in norms if found.indices}
    radii = {found.norm: given.get(found.norm) or found.round_radii() for found in norms}
    html = page(conditions, norms, drawn, radii) if {"html", "pdf"} & set(formats) else ""
    makers: Mapping[str, Callable[[], dict[str, bytes]]] = {
        "html": lambda: {"report.html": html.encode()},
        "pdf": lambda: {"report.pdf": pdf(html)},
        "csv": lambda: {"report.csv": as_csv(norms).encode(), "curves.csv": curves_csv(norms).encode()},
        "json": lambda: {
            "report.json": (json.dumps(as_json(norms, conditions, radii), indent=1, allow_nan=False) + "\n").encode()
        },
        "png": lambda: {
            f"{name}-{norm}.png": chart.png() for norm, named in drawn.items() for name, chart in named.items()
        },
    }
    conditions.out.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in formats:
        for name, content in makers[kind]().items():
            written.append(conditions.out / name)
            write_whole(written[-1], content)
    return tuple(written)


FORMATS = ("html", "pdf", "csv", "json", "png")
USUAL = ("html", "csv", "json", "png")


def formats_named(text: str | None) -> tuple[str, ...]:
    """`html,pdf` as names, each once; those that are not written are refused, with those that are."""
    if text is None:
        return USUAL
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise OptionError(f"format {name!r}: choose from {', '.join(FORMATS)}")
    return names


def as_json(norms: Sequence[Collected], conditions: Conditions, radii: Radii) -> dict[str, Any]:
    """Conditions, shares, a summary per technique, and every sample's line; infinities are the string "inf"."""
    return {
        "conditions": conditions.told(norms),
        "missing": {str(found.norm): conditions.missing(found) for found in norms},
        "robust": [
            {
                "norm": str(found.norm), "radius": radius, "samples": share.samples, "proven": share.low,
                "not_refuted": share.high, "interval": list(share.interval),
            }
            for found in norms
            for radius in (0.0, *radii[found.norm])
            for share in [found.robust(radius)]
        ],
        "techniques": [
            {"norm": str(found.norm), "name": one.name, "kind": str(one.kind), "ran": int(one.ran.sum())}
            | {name: _strict(value) for name, value in vars(told).items() if name != "found"}
            | {"exact": told.found.low, "possibly_exact": told.found.high, "of": told.found.samples}
            for found in norms
            for one in found.techniques
            for told in [tightness(found, one)]
        ]
        + [
            {"norm": str(found.norm), "name": "exact", "kind": "search", "ran": found.right}
            | dict.fromkeys(("median_low", "median_high", "low", "high"), 1.0)
            | {"seconds": found.exact_seconds, "exact": found.exact.low, "possibly_exact": found.exact.high}
            | {"of": found.right}
            for found in norms
            if found.right
        ],
        "samples": [
            {name: value for name, value in record.items() if name != "run"}
            for found in norms
            for record in found.records
        ],
    }  # fmt: skip


def as_csv(norms: Sequence[Collected]) -> str:
    """A line per sample and norm: the bracket, its files, then every technique's distance and seconds.

    What is misclassified has nobody who proved it, and rests on nothing.
    """
    names = list(dict.fromkeys(one.name for found in norms for one in found.techniques))
    columns = [*names, *(f"{name} seconds" for name in names)]
    rows = []
    for record in (record for found in norms for record in found.records):
        held = {name: one for key in HELD_UNDER.values() for name, one in record[key].items()}
        rows.append(
            {name: record[name] for name in BASE}
            | ({"proven_by": "", "basis": ""} if record["verdict"] == Verdict.MISCLASSIFIED else {})
            | {"proof": proof_file(record)}
            | dict.fromkeys(columns, "")
            | {name: one["distance"] for name, one in held.items()}
            | {f"{name} seconds": one["seconds"] for name, one in held.items()}
        )
    return csv_text(rows)


def curves_csv(norms: Sequence[Collected]) -> str:
    """The robustness curves in numbers, a line for each norm and radius."""
    return csv_text(row for found in norms if found.indices for row in curve_rows(found))


def _strict(value: float) -> float | str | None:
    if value != value:
        return None
    return value if abs(value) < float("inf") else str(value)
