"""Where the small drawings of a page put things: bracket bars, progress, and the picture of a network's layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from verifier.question.input_shape import image_shape
from verifier.service.pages.wording import number

WIDE = 100.0  # what a drawing's width counts as
ROOM = 1.08  # beyond the largest number, so that its mark is drawn whole
NARROWEST = 8.0  # a layer of one number
PARTS = ("exact", "certified", "falsified", "misclassified", "empty", "unresolved", "failed", "running")


@dataclass(frozen=True)
class Bar:
    """Where a bracket's parts begin and how wide they are."""

    start: float
    proven: float
    low: float
    open: float
    high: float


@dataclass(frozen=True)
class Scale:
    """Which numbers a bar's two ends stand for; the same for all bars of a table."""

    low: float
    high: float

    def place(self, held: float | str | None) -> float:
        """Where a number lies, from 0 to 100; beyond the ends, at the end."""
        known = number(held)
        if math.isnan(known):
            return 0.0
        share = (known - self.low) / (self.high - self.low)
        return round(WIDE * min(1.0, max(0.0, share)), 2)

    def bar(self, sample: Mapping[str, Any]) -> Bar:
        """A sample's bracket, drawn from zero."""
        zero, low, high = (self.place(end) for end in (0.0, sample["lower"], sample["upper"]))
        return Bar(min(zero, low), round(abs(low - zero), 2), low, round(max(0.0, high - low), 2), high)


def scale(samples: Iterable[Mapping[str, Any]], radius: float | None, signed: bool = False) -> Scale:
    """Ends that hold every finite number of these brackets, and zero; `signed` where numbers may be below it."""
    ends = [number(sample[side]) for sample in samples for side in ("lower", "upper")]
    known = [end for end in ends if math.isfinite(end)]
    if radius is not None and not signed:
        known.append(radius)
    high, low = max(known, default=0.0), min(known, default=0.0)
    high, low = max(high * ROOM, 0.0), min(low * ROOM, 0.0) if signed else 0.0
    return Scale(low, high if high > low else low + 1.0)


@dataclass(frozen=True)
class Segment:
    """A part of a progress bar."""

    name: str
    start: float
    width: float


def segments(counts: Mapping[str, int]) -> list[Segment]:
    """How a run's samples divide, from left to right; what is not named is still to come."""
    total, found, start = max(1, counts["total"]), [], 0.0
    for part in PARTS:
        width = WIDE * counts.get(part, 0) / total
        found.append(Segment(part, round(start, 2), round(width, 2)))
        start += width
    return found


@dataclass(frozen=True)
class Layer:
    """One layer of the picture: what it is, how many numbers come out, and the corners of its shape."""

    name: str
    kind: str
    size: int | None
    rectifies: bool
    corners: str
    start: float
    width: float


def layers(facts: Mapping[str, Any]) -> list[Layer]:
    """A network from input to output, each layer as wide as the logarithm of its size."""
    sides = facts.get("input_shape") or ()
    shape = " × ".join(str(side) for side in sides) if len(sides) > 1 else ""
    rows: list[Mapping[str, Any]] = [{"name": shape, "kind": "input", "size": facts.get("inputs")}]
    rows += [row for row in facts.get("layers") or () if row["kind"] != "input"]
    sizes = [int(row["size"]) for row in rows if row.get("size")]
    largest = max([*sizes, 2])
    found: list[Layer] = []
    before = WIDE
    for row in rows:
        size = int(row["size"]) if row.get("size") else None
        width = before if size is None else NARROWEST + (WIDE - NARROWEST) * math.log(max(size, 1)) / math.log(largest)
        first = before if found else width
        top, bottom = (WIDE - first) / 2, (WIDE - width) / 2
        corners = f"{top:.1f},0 {WIDE - top:.1f},0 {WIDE - bottom:.1f},20 {bottom:.1f},20"
        kind = str(row["kind"])
        found.append(
            Layer(
                str(row["name"] or ""), kind, size, "relu" in kind.lower(), corners, round(bottom, 1), round(width, 1)
            )
        )
        before = width
    return found


def is_picture(shape: Iterable[int]) -> bool:
    """Whether samples of this shape can be shown as pictures."""
    return image_shape(tuple(shape)) is not None
