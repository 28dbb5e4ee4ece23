"""Our own charts as PNG: the few SVG elements that verifier/pages/charts.py writes, drawn by Pillow.

A general SVG renderer would be a large dependency for five elements; this one refuses what it does not know.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

from encoders.errors import DataError

SCALE = 2
INK = "#222222"
TEXT_SIZE = 11.0
DASH, GAP = 5.0, 3.0
Attributes = Mapping[str, str]
Place = tuple[float, float]


def save_png(svg: str, path: Path) -> None:
    """Write one chart, on white, at twice its size in pixels."""
    path.write_bytes(png(svg))


def png(svg: str) -> bytes:
    """One chart as the bytes of a PNG."""
    root = ET.fromstring(svg)
    width, height = (round(float(side) * SCALE) for side in root.attrib["viewBox"].split()[2:])
    canvas = Image.new("RGB", (width, height), "white")
    for element in root:
        kind = element.tag.rpartition("}")[2]
        if kind == "title":
            continue
        if kind not in DRAWERS:
            raise DataError(f"a chart with an element {kind!r} cannot be drawn as PNG")
        layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
        DRAWERS[kind](layer, element.attrib, element.text or "")
        canvas.paste(layer, mask=layer)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()


def _polyline(layer: Image.Image, given: Attributes, text: str) -> None:
    del text
    _stroke(layer, _points(given), given)


def _line(layer: Image.Image, given: Attributes, text: str) -> None:
    del text
    ends = [(float(given[f"x{k}"]) * SCALE, float(given[f"y{k}"]) * SCALE) for k in (1, 2)]
    _stroke(layer, ends, given)


def _polygon(layer: Image.Image, given: Attributes, text: str) -> None:
    del text
    points = _points(given)
    if len(points) > 2:
        ImageDraw.Draw(layer).polygon(points, fill=_ink(given, "fill"))
    if "stroke" in given and points:
        _stroke(layer, [*points, points[0]], given)


def _circle(layer: Image.Image, given: Attributes, text: str) -> None:
    del text
    x, y, r = (float(given[name]) * SCALE for name in ("cx", "cy", "r"))
    ImageDraw.Draw(layer).ellipse((x - r, y - r, x + r, y + r), fill=_ink(given, "fill"))


def _text(layer: Image.Image, given: Attributes, text: str) -> None:
    """Text at its place; turned upwards where it has a transform, as only the y axis's label has."""
    text = text.replace("∞", "-inf")  # Pillow's own font has no such sign
    font = ImageFont.load_default(float(given.get("font-size", TEXT_SIZE)) * SCALE)
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[given["text-anchor"]]
    heavy = 1 if given.get("font-weight") == "bold" else 0
    if "transform" not in given:
        x, y = float(given["x"]) * SCALE, float(given["y"]) * SCALE
        ImageDraw.Draw(layer).text((x, y), text, fill=INK, font=font, anchor=anchor, stroke_width=heavy * 0.4)
        return
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", given["transform"])]
    left, _, right, bottom = font.getbbox(text)
    label = Image.new("RGBA", (math.ceil(right - left) + 4, math.ceil(bottom) + 4), (0, 0, 0, 0))
    ImageDraw.Draw(label).text((2, 0), text, fill=INK, font=font)
    label = label.rotate(90, expand=True)
    layer.paste(label, (round(numbers[0] * SCALE - label.width / 2), round(numbers[1] * SCALE - label.height / 2)))


DRAWERS = {"polyline": _polyline, "line": _line, "polygon": _polygon, "circle": _circle, "text": _text}


def _points(given: Attributes) -> list[Place]:
    pairs = (pair.split(",") for pair in given["points"].split())
    return [(float(x) * SCALE, float(y) * SCALE) for x, y in pairs]


def _ink(given: Attributes, name: str) -> tuple[int, ...]:
    named = given.get(name, INK)
    share = float(given.get(f"{name}-opacity", given.get("opacity", "1")))
    return (*ImageColor.getrgb(INK if named == "currentColor" else named)[:3], round(255 * share))


def _stroke(layer: Image.Image, points: list[Place], given: Attributes) -> None:
    draw, ink = ImageDraw.Draw(layer), _ink(given, "stroke")
    width = max(1, round(float(given.get("stroke-width", "1")) * SCALE))
    parts = _dashes(points) if "stroke-dasharray" in given else [points]
    for part in parts:
        if len(part) > 1:
            draw.line(part, fill=ink, width=width, joint="curve")


def _dashes(points: list[Place]) -> list[list[Place]]:
    """A path cut into strokes, the pattern going on around corners."""
    found: list[list[Place]] = []
    drawing, left = True, DASH * SCALE
    for start, end in itertools.pairwise(points):
        length, done = math.dist(start, end), 0.0
        if drawing:
            found.append([start])
        while length - done > left:
            done += left
            place = (
                start[0] + (end[0] - start[0]) * done / length,
                start[1] + (end[1] - start[1]) * done / length,
            )
            if drawing:
                found[-1].append(place)
            else:
                found.append([place])
            drawing = not drawing
            left = (DASH if drawing else GAP) * SCALE
        left -= length - done
        if drawing:
            found[-1].append(end)
    return found
