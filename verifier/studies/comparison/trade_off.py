"""Accuracy and exact robust accuracy against the radius that networks were trained adversarially at.

Does robustness cost accuracy? Networks that differ in nothing but their training radius tell: standard accuracy, and
the exact share that is robust at fixed radii, both along it (the figure of Tsipras et al., Robustness may be at odds
with accuracy, 2019, which draws the second by an attack). A network that was trained alike on clean samples is at 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from encoders.arrays import FloatArray
from encoders.question import Norm
from trainers.adversarial import Adversarial
from verifier.pages.chart_style import Frame, mark
from verifier.pages.charts import Line, line_chart
from verifier.pages.csv_text import csv_text
from verifier.pages.drawn_chart import Chart
from verifier.pages.wording import NAMES
from verifier.studies.comparison.options import CompareOptions, Subject
from verifier.studies.comparison.statistics import Group


@dataclass(frozen=True, eq=False)
class Sweep:
    """Variants that differ in their training radius alone, in the norm of their training: by radius, 0 being clean."""

    family: str
    norm: Norm
    groups: dict[float, Group]


@dataclass(frozen=True)
class Spread:
    """A share from both ends of the brackets, means over the seeds, and its least and largest of any seed."""

    low: float
    high: float
    least: float
    most: float

    @classmethod
    def over_seeds(cls, low: FloatArray, high: FloatArray) -> Spread:
        """Of one share for each seed."""
        return cls(float(low.mean()), float(high.mean()), float(low.min()), float(high.max()))


def sweeps(groups: Sequence[Group]) -> list[Sweep]:
    """Every sweep over two or more training radii, in the norm that its distances are measured in."""
    found: dict[tuple[str, str, Norm], dict[float, Group]] = {}
    clean = {(_rest(group.members[0].subject), group.norm): group for group in groups if _clean(group)}
    for group in groups:
        subject = group.members[0].subject
        trained = _trained(subject)
        if trained is None or trained.norm is not group.norm:
            continue
        alike = f"{_rest(subject)} {replace(trained, radius=1.0).text}"
        members = found.setdefault((group.family, alike, group.norm), {})
        members[trained.radius] = group
        if (_rest(subject), group.norm) in clean:
            members[0.0] = clean[_rest(subject), group.norm]
    return [
        Sweep(family, norm, dict(sorted(members.items())))
        for (family, _, norm), members in found.items()
        if sum(radius > 0 for radius in members) > 1
    ]


def _trained(subject: Subject) -> Adversarial | None:
    text = (subject.options or {}).get("adversarial")
    return None if text is None else Adversarial.parsed(text)


def _clean(group: Group) -> bool:
    options = group.members[0].subject.options
    return options is not None and options.get("adversarial") is None


def _rest(subject: Subject) -> str:
    """All that its training depended on, but for adversaries and the seed."""
    options = {name: value for name, value in (subject.options or {}).items() if name not in ("adversarial", "seed")}
    return json.dumps(options, sort_keys=True)


def robust(group: Group, radius: float) -> Spread:
    """Robust accuracy at a radius: the low end of what is proven, the high end of what is not falsified."""
    return Spread.over_seeds((group.lower > radius).mean(1), (group.upper > radius).mean(1))


def accuracy(group: Group) -> Spread:
    """Accuracy over the whole test data."""
    return Spread.over_seeds(group.accuracy, group.accuracy)


def chart(sweep: Sweep, options: CompareOptions) -> Chart:
    """Accuracy and robust accuracy at every evaluation radius, along the training radius."""
    lines = [_line("accuracy", sweep, [accuracy(group) for group in sweep.groups.values()], 0)]
    for place, radius in enumerate(options.radii[sweep.norm], start=1):
        told = [robust(group, radius) for group in sweep.groups.values()]
        lines.append(_line(f"robust at {radius:g}", sweep, told, place))
    x_label = f"{NAMES[sweep.norm]} radius of training"
    return line_chart(Frame(sweep.family, x_label, "share of samples", 360, 240, y_range=(0.0, 1.0)), lines)


def _line(label: str, sweep: Sweep, told: Sequence[Spread], place: int) -> Line:
    low, high = [one.low for one in told], [one.high for one in told]
    outer = [one.least for one in told], [one.most for one in told]
    return Line(label, list(sweep.groups), low, mark(place), band=(low, high), outer=outer)


def as_csv(found: Sequence[Sweep], options: CompareOptions) -> str:
    """A line for each sweep, training radius and evaluation radius."""
    rows = []
    for sweep in found:
        for trained, group in sweep.groups.items():
            plain = accuracy(group)
            for radius in options.radii[sweep.norm]:
                told = robust(group, radius)
                rows.append(
                    {
                        "family": sweep.family, "norm": str(sweep.norm), "training_radius": trained,
                        "variant": group.variant, "seeds": len(group.members), "accuracy": plain.low,
                        "accuracy_least": plain.least, "accuracy_most": plain.most,
                        "accuracy_on_samples": float(group.correct.mean()), "radius": radius, "low": told.low,
                        "high": told.high, "low_least": told.least, "high_most": told.most,
                    }
                )  # fmt: skip
    return csv_text(rows)
