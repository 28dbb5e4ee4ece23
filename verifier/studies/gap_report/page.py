"""The page of a bound-gap report, for a reader who has never seen the tool: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoders.arrays import FloatArray
from encoders.question import Norm
from verifier.pages.drawn_chart import Chart
from verifier.pages.page import Table, rendered
from verifier.pages.pictures import difference_picture, picture
from verifier.pages.wording import MEASURED, NAMES, as_given, bracket, counted, number, ranges
from verifier.studies.gap_report import told
from verifier.studies.gap_report.checks import checks
from verifier.studies.gap_report.conditions import Conditions
from verifier.studies.gap_report.measure import adversary_of
from verifier.studies.gap_report.records import Collected, Kind
from verifier.studies.gap_report.words import words

Radii = Mapping[Norm, Sequence[float]]


def page(
    conditions: Conditions, norms: Sequence[Collected], charts: Mapping[Norm, Mapping[str, Chart]], radii: Radii
) -> str:
    """Everything on one page of HTML."""
    data = Path(conditions.samples.name).name
    return rendered(
        "gap_report.html",
        f"Robustness of {conditions.model.path.name} on {data}",
        answers=[
            (NAMES[found.norm], told.answer(found, data, radii[found.norm], conditions.question.tolerance))
            for found in norms
        ],
        missing=_missing(conditions, norms),
        conditions=Table(("what", "as it was run"), list(conditions.told(norms).items())),
        norms=[_part(conditions, found, charts.get(found.norm, {}), radii[found.norm]) for found in norms],
        measured=[(NAMES[found.norm], MEASURED[found.norm]) for found in norms],
        estimates=any(one.kind is Kind.ESTIMATE for found in norms for one in found.techniques),
        tolerance=as_given(conditions.question.tolerance),
        words=words(norms),
        proofs=_proofs(norms),
        checks=checks(conditions, norms),
    )


def _part(
    conditions: Conditions, found: Collected, charts: Mapping[str, Chart], radii: Sequence[float]
) -> dict[str, Any]:
    """What the page shows of one norm."""
    return {
        "name": NAMES[found.norm],
        "finished": counted(len(found.indices), "input"),
        "robustness": charts.get("robustness"),  # none where no input is finished
        "cost": charts.get("cost"),
        "nearness": [charts[name] for name in ("bounds", "attacks") if name in charts],
        "open": found.open,
        "at_radii": told.at_radii(found, radii),
        "techniques": told.techniques(found, conditions.options.effort.balls),
        "pictures": _pictures(found, conditions),
        "samples": told.samples(found),
        "undecided": told.undecided(found),
        "bounds": told.by_technique(found, Kind.BOUND),
        "attacks": told.by_technique(found, Kind.ATTACK),
    }


def _missing(conditions: Conditions, norms: Sequence[Collected]) -> str:
    """Which samples the report says nothing of; empty where it has all that were asked for."""
    lacking = [
        f"{NAMES[found.norm]}: {counted(len(missing), 'input is', 'inputs are')} not finished yet ({ranges(missing)})"
        for found in norms
        if (missing := conditions.missing(found))
    ]
    return f"{'; '.join(lacking)}. Run the same command to go on." if lacking else ""


def _proofs(norms: Sequence[Collected]) -> str:
    """Whether all, some or none of the inputs that are right have a proof file that rests on nobody's word."""
    held = [
        told.proof_file(record) is not None and not record["proof"].get("claims")
        for found in norms
        for record, right in zip(found.records, found.correct, strict=True)
        if right
    ]
    return "all" if held and all(held) else "some" if any(held) else "none"


def _pictures(found: Collected, conditions: Conditions) -> Table:
    """The inputs nearest to another class, with their adversaries; no rows where inputs do not read as images."""
    order = [k for k in np.argsort(found.upper, kind="stable") if found.correct[k] and np.isfinite(found.upper[k])]
    low, high = conditions.question.box
    samples, rows = conditions.samples, []
    for k in order[: conditions.options.pictures]:
        held = adversary_of(conditions.out, found.records[k])
        if held is None:
            continue
        moved, scores = held
        x = samples.x[found.indices[k]]
        before = conditions.model.scores(x.reshape(1, -1))[0][: conditions.model.classes].astype(np.float64)
        label = samples.label(found.indices[k])
        known = "" if label is None else f", label {label}"
        cells = [
            picture((x - low) / (high - low), x.shape, f"input {found.indices[k]}{known}: {_read(before)}"),
            picture((moved - low) / (high - low), x.shape, f"adversary: {_read(scores)}"),
            difference_picture(moved - x.reshape(-1), x.shape, f"adversary less input {found.indices[k]}"),
        ]
        if not all(cell == "–" for cell in cells):
            rows.append((*cells, bracket(float(found.lower[k]), float(found.upper[k]))))
    word = "nearest adversary found" if found.open else "nearest adversary"
    return Table(("input", word, "what was changed", f"{NAMES[found.norm]} distance, four digits"), rows)


def _read(scores: FloatArray) -> str:
    """Which class is read, by which score, before which other."""
    first, second = np.argsort(-scores, kind="stable")[:2]
    ahead = number(float(scores[first] - scores[second]))
    return f"read as {first} (score {number(float(scores[first]))}), ahead of {second} by {ahead}"
