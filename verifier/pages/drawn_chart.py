"""A chart as it was drawn: an <svg> element in a page, with tooltips and its numbers, and a PNG beside it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from encoders.files import write_whole
from verifier.pages.chart_style import DOTS_PER_INCH, INK, STYLE

POINTS_PER_INCH = 72  # what matplotlib's SVG counts in
SVG = "http://www.w3.org/2000/svg"
HREF = "{http://www.w3.org/1999/xlink}href"
PLACES = ("d", "x", "y", "transform")
NUMBER = re.compile(r"-?\d+\.\d+")
REFERENCE = re.compile(r"(?:href=\"#|url\(#)([^\")]+)")
BEHIND = "_behind"  # what matplotlib calls a line that no legend names
LOOK = ("default", dict(STYLE))  # whatever the user's matplotlibrc says


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart, drawn. `told` holds what a reader of the SVG is told of each artist, by its gid.

    `series` are the numbers of each line, and `parts` which of them an artist belongs to, of a chart to be explored.
    """

    title: str
    figure: Figure
    told: dict[str, str] = field(default_factory=dict)
    series: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)

    def tell(self, artist: Artist, text: str) -> None:
        """Give the artist a tooltip."""
        gid = f"artist-{len(self.told)}"
        artist.set_gid(gid)
        self.told[gid] = text

    def svg(self) -> str:
        """One <svg> element that stands beside others in a page, or in a file of its own."""
        return _element(self._saved("svg", facecolor="none", metadata={"Date": None}), self)

    def explored(self, width: float, height: float) -> dict[str, Any]:
        """What the page's script is told: where the axes lie in an SVG of this size, their ranges, and the numbers."""
        axes = self.figure.axes[0]
        left, bottom, right, top = axes.get_position().extents
        return {
            "box": [left * width, (1 - top) * height, right * width, (1 - bottom) * height],
            "x": list(axes.get_xlim()), "y": list(axes.get_ylim()), "label": axes.get_xlabel(), "series": self.series,
        }  # fmt: skip

    def png(self) -> bytes:
        """On white, at twice its size in pixels."""
        return self._saved("png", dpi=2 * DOTS_PER_INCH)

    def save(self, path: Path) -> None:
        """Write an SVG or a PNG, as the path ends."""
        write_whole(path, self.png() if path.suffix == ".png" else self.svg())

    def __html__(self) -> str:
        """What a template takes as it is."""
        return self.svg()

    def _saved(self, kind: str, **options: Any) -> bytes:
        out = io.BytesIO()
        with style.context(LOOK):
            for artist in self.figure.findobj(lambda one: one.get_label() == BEHIND):
                artist.set_visible(kind == "svg")
            self.figure.savefig(out, format=kind, **options)
        return out.getvalue()


def _element(drawn: bytes, chart: Chart) -> str:
    """matplotlib's SVG with a title, tooltips and the page's text colour, and only ids that no other chart has."""
    root = ET.fromstring(drawn)
    for parent in (root, *root.findall("{*}defs")):
        for child in (*parent.findall("{*}metadata"), *parent.findall("{*}style")):
            parent.remove(child)  # who made it; rules that in a page would be everyone's
    prefix = f"c{hashlib.sha256(drawn).hexdigest()[:8]}-"
    used = set(REFERENCE.findall(drawn.decode()))
    for element in root.iter():
        element.text, element.tail = (text and text.strip() for text in (element.text, element.tail))
        gid = element.attrib.pop("id", "")
        if gid in used:
            element.set("id", prefix + gid)
        if gid in chart.told:
            element.insert(0, _titled(chart.told[gid]))
        if gid in chart.parts:
            element.set("data-series", str(chart.parts[gid]))
            if chart.series[chart.parts[gid]]["behind"]:
                element.set("display", "none")
        elif chart.series and gid.startswith("xtick_"):
            element.set("class", "tick")
        for name, value in element.items():
            if name in PLACES:
                element.set(name, NUMBER.sub(lambda found: f"{float(found[0]):.1f}", " ".join(value.split())))
            elif name == HREF:
                element.set("href", f"#{prefix}{element.attrib.pop(name)[1:]}")
            else:
                element.set(name, value.replace("url(#", f"url(#{prefix}").replace(INK, "currentColor"))
    size = [float(points) for points in root.get("viewBox", "").split()[2:]]
    for side, points in zip(("width", "height"), size, strict=True):
        root.set(side, f"{points * DOTS_PER_INCH / POINTS_PER_INCH:.0f}")
    if chart.series:
        root.set("data-chart", json.dumps(chart.explored(*size)))
    root.set("role", "img")
    root.set("stroke-linejoin", "round")
    root.insert(0, _titled(chart.title))
    ET.register_namespace("", SVG)  # here: others, WeasyPrint among them, register their own in the same place
    return ET.tostring(root, encoding="unicode")


def _titled(text: str) -> ET.Element:
    element = ET.Element(f"{{{SVG}}}title")
    element.text = text
    return element
