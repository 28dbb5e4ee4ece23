"""The frame that every chart is drawn in: from values to places, ticks, grid and legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 40  # margins around the plotted area
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """What a chart is called, what its axes say, and how large it is; a range not given fits the data."""

    title: str
    x_label: str
    y_label: str
    width: int = 460
    height: int = 300
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    legend: bool = True


Place = tuple[float, float]


@dataclass(eq=False)
class Axes:
    """The plotted area: from values to places on the page, and the elements drawn so far."""

    frame: Frame
    x_data: Floats
    y_data: Floats
    drawn: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.x = self.frame.x_range or _range(self.x_data)
        self.y = self.frame.y_range or _range(self.y_data)

    def place(self, x: float, y: float) -> Place:
        wide = self.frame.width - LEFT - RIGHT
        high = self.frame.height - TOP - BOTTOM
        right = LEFT + wide * (x - self.x[0]) / (self.x[1] - self.x[0])
        return right, TOP + high * (self.y[1] - y) / (self.y[1] - self.y[0])

    def corners(self, x: ArrayLike, y: ArrayLike, steps: bool) -> list[Place]:
        found: list[Place] = []
        for across, up in zip(np.asarray(x, float), np.asarray(y, float), strict=True):
            if not (math.isfinite(across) and math.isfinite(up)):
                continue
            place = self.place(float(across), float(up))
            if steps and found and found[-1][1] != place[1]:
                found.append((place[0], found[-1][1]))
            elif len(found) > 1 and found[-1][1] == found[-2][1] == place[1]:
                found.pop()  # a level stretch needs its two ends only
            found.append(place)
        return found

    def add(self, element: str) -> None:
        self.drawn.append(element)

    def svg(self, legend: list[tuple[str, str, bool]]) -> str:
        frame = self.frame
        rows = legend if frame.legend else []
        below = 16 * ((len(rows) + 1) // 2)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {frame.width} {frame.height + below}" '
            f'width="{frame.width}" role="img" font-family="sans-serif" font-size="11" fill="currentColor">',
            f"<title>{escape(frame.title)}</title>",
            text(frame.width / 2, 15, frame.title, "middle", ' font-weight="bold" font-size="12"'),
            *self._grid(self.x, True),
            *self._grid(self.y, False),
            *self.drawn,
            text((LEFT + frame.width - RIGHT) / 2, frame.height - 6, frame.x_label, "middle"),
            text(
                0,
                0,
                frame.y_label,
                "middle",
                f' transform="translate(12 {(TOP + frame.height - BOTTOM) / 2}) rotate(-90)"',
            ),
        ]
        for number, (label, shade, dashed) in enumerate(rows):
            x, y = LEFT + (number % 2) * (frame.width - LEFT) / 2, frame.height + 10 + 16 * (number // 2)
            dash = ' stroke-dasharray="5 3"' if dashed else ""
            parts.append(
                f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{shade}" stroke-width="3"{dash}/>'
            )
            parts.append(text(x + 24, y, label, "start"))
        return "".join([*parts, "</svg>"])

    def _grid(self, span: tuple[float, float], across: bool) -> list[str]:
        parts = []
        for value in ticks(*span):
            start = self.place(value, self.y[0]) if across else self.place(self.x[0], value)
            end = self.place(value, self.y[1]) if across else self.place(self.x[1], value)
            parts.append(f'<line {ends(start, end)} stroke="currentColor" stroke-opacity="0.15"/>')
            down, anchor = (start[1] + 14, "middle") if across else (start[1] + 4, "end")
            parts.append(text(start[0] - (0 if across else 5), down, f"{value:.4g}", anchor))
        return parts


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers from low to high: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: Floats) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low - 0.5, low + 0.5
    room = 0.03 * (high - low)
    return low - room * (low != 0), high + room


def finite(parts: Sequence[ArrayLike]) -> Floats:
    values = (
        np.concatenate([np.asarray(part, dtype=np.float64).reshape(-1) for part in parts]) if parts else np.zeros(0)
    )
    return np.asarray(values[np.isfinite(values)])


def path(places: Sequence[Place]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def ends(start: Place, end: Place) -> str:
    return f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'


def text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
