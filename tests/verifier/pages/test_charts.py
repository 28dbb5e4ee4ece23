"""Charts and pages: well-formed, complete, and nothing loaded from anywhere."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from verifier.pages.charts import Frame, Line, Point, Series, histogram, line_chart, scatter, ticks
from verifier.pages.page import Page, Picture, picture, signed_picture

FRAME = Frame("<title> & co", "x", "y", 200, 140, legend=True)
NAMESPACE = "{http://www.w3.org/2000/svg}"


def places(svg: str, tag: str) -> list[list[tuple[float, float]]]:
    found = []
    for element in ET.fromstring(svg).iter(NAMESPACE + tag):
        pairs = (pair.split(",") for pair in element.get("points", "").split())
        found.append([(float(x), float(y)) for x, y in pairs])
    return found


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.13, [0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12]),
        (-3, 4, [-3, -2, -1, 0, 1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_line_goes_where_the_axes_say() -> None:
    # The plotted area is 136 wide and 74 high, from (52, 26): (0, 0) lies at its lower left, (1, 1) at its upper right.
    frame = Frame("t", "x", "y", 200, 140, (0, 1), (0, 1))
    (line,) = places(line_chart(frame, [Line("a", [0, 1], [0, 1], "#000000")]), "polyline")
    assert line == [(52, 100), (188, 26)]


def test_steps_hold_their_value_until_the_next_and_level_stretches_keep_their_ends() -> None:
    frame = Frame("t", "x", "y", 200, 140, (0, 4), (0, 1))
    (line,) = places(
        line_chart(frame, [Line("a", [0, 1, 2, 3, 4], [1, 1, 1, 0, 0], "#000000")], steps=True), "polyline"
    )
    assert line == [(52, 26), (120, 26), (154, 26), (154, 100), (188, 100)]


def test_a_band_is_a_closed_area() -> None:
    frame = Frame("t", "x", "y", 200, 140, (0, 1), (0, 1))
    (area,) = places(line_chart(frame, [Line("a", [0, 1], [0, 1], "#000000", band=([0, 0.5], [0.5, 1]))]), "polygon")
    assert area == [(52, 100), (188, 63), (188, 26), (52, 63)]


def test_what_is_not_finite_is_not_drawn() -> None:
    inf, nan = float("inf"), float("nan")
    charts = [
        line_chart(FRAME, [Line("a", [0, 1, 2], [1, inf, nan], "#000000", band=([0, 0, 0], [1, inf, 1]))]),
        scatter(FRAME, [Point("a", inf, 1, "#000000"), Point("b", 1, 1, "#111111", (0, inf), (0, 2))], [[0, 1]]),
        histogram(FRAME, [Series("a", [1, 2, inf], "#000000")]),
        line_chart(FRAME, []),
        scatter(FRAME, []),
        histogram(FRAME, [Series("a", [], "#000000")]),
    ]
    for chart in charts:
        ET.fromstring(chart)
        assert "inf" not in chart
        assert "nan" not in chart


def test_a_histogram_shows_shares() -> None:
    frame = Frame("t", "x", "y", 200, 140, (0, 2), (0, 1))
    (area,) = places(histogram(frame, [Series("a", [0, 0, 0, 2], "#000000")], bins=2), "polygon")
    assert {round(y, 1) for _, y in area} == {round(100 - 74 * share, 1) for share in (0.75, 0.25, 0)}


def test_points_have_error_bars_and_names() -> None:
    svg = scatter(FRAME, [Point("one", 1, 2, "#000000", (0.5, 1.5), (1, 3)), Point("two", 2, 3, "#111111")], [[0, 1]])
    tree = ET.fromstring(svg)
    assert [e.text for e in tree.iter(NAMESPACE + "title")] == ["<title> & co", "one: 1, 2", "two: 2, 3"]
    assert len([e for e in tree.iter(NAMESPACE + "line") if e.get("stroke") == "#000000"]) == 3  # two bars, one legend


def test_a_page_is_whole_and_escapes_what_it_is_told() -> None:
    page = Page("a <b> & c", "sum < mary")
    page.heading("<script>")
    page.paragraph("1 < 2")
    page.listing(["<li>"])
    page.folded("more", ["x"])
    page.table(("a", "<b>"), [("<i>", picture(np.linspace(0, 1, 16), (16,), '"quoted"'))], "cap & tion")
    page.figures([line_chart(FRAME, [Line("a", [0, 1], [0, 1], "#000000")])])
    html = page.html()
    for raw in ("<script>", "<li><li>", "<i>", "sum < mary", "1 < 2"):
        assert raw not in html
    assert "&lt;script&gt;" in html
    links = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert links
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert html.count("http") == html.count("http://www.w3.org/2000/svg")


def test_pictures_hold_their_pixels() -> None:
    found = picture(np.array([0, 0.5, 1, 2]), (1, 2, 2), "four")
    assert isinstance(found, Picture)
    image = Image.open(io.BytesIO(base64.b64decode(found.uri.split(",")[1])))
    assert np.asarray(image).tolist() == [[0, 128], [255, 255]]
    signed = signed_picture(np.array([-2.0, 0, 1, 2]), (2, 2))
    assert isinstance(signed, Picture)
    image = Image.open(io.BytesIO(base64.b64decode(signed.uri.split(",")[1])))
    assert np.asarray(image).tolist() == [[0, 128], [191, 255]]
    assert picture(np.zeros(7), (7,)) == "–"
