"""Charts: what is plotted is found again, in an SVG that stands beside others and in a PNG."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from verifier.pages.chart_style import COLOURS, INK, MARKERS, NEUTRAL, Frame, mark
from verifier.pages.charts import Interval, Line, Point, Series, forest, heat_map, histogram, line_chart, scatter
from verifier.pages.drawn_chart import Chart

FRAME = Frame("<title> & co, $x$", "L∞ radius", "y", 400, 300)
INF, NAN = float("inf"), float("nan")


def a_line_chart() -> Chart:
    line = Line("_a <b>", [0, 1, 2], [0, 1, 0], mark(0), band=([0, 0.5, 0], [1, 2, 1]))
    return line_chart(FRAME, [line, Line("$b$", [0, 2], [1, 0], mark(1), stroke="--")], steps=True)


def a_scatter() -> Chart:
    points = [Point("one", 1, 2, mark(0), (0.5, 1.5), (1, 3)), Point("two", 2, 3, NEUTRAL)]
    return scatter(FRAME, points, [[0, 1]])


def a_histogram() -> Chart:
    return histogram(FRAME, [Series("s", [0, 0, 0, 2], mark(2))], bins=2)


def a_forest() -> Chart:
    return forest(FRAME, [Interval("one", 1, 2, (0, 3), mark(0)), Interval("two", -1, -1, (-2, INF), NEUTRAL)])


def a_heat_map() -> Chart:
    return heat_map(FRAME, ["a", "b"], ["c", "d"], np.array([[1.0, 0.25], [NAN, 0.0]]))


KINDS = pytest.mark.parametrize("draw", [a_line_chart, a_scatter, a_histogram, a_forest, a_heat_map])


def texts(svg: str, tag: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}")]


def told(chart: Chart, text: str) -> ET.Element:
    """The drawn element with this tooltip."""
    titled = (one for one in ET.fromstring(chart.svg()).iter() if len(one) and one[0].tag.endswith("title"))
    (found,) = (one for one in titled if one[0].text == text and one.tag.endswith("}g"))
    return found


def corners(element: ET.Element) -> list[tuple[float, float]]:
    """The corners of an element's first path."""
    path = next(one for one in element.iter() if one.tag.endswith("path"))
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", path.attrib["d"])]


def test_a_line_goes_where_its_values_say() -> None:
    frame = Frame("t", "x", "y", x_range=(0, 4), y_range=(0, 1))
    diagonal, level = Line("d", [0, 4], [0, 1], NEUTRAL), Line("l", [0, 2, 4], [1, 0.25, 0.25], NEUTRAL)
    chart = line_chart(frame, [diagonal, level])
    (left, bottom), (right, top) = corners(told(chart, "d"))
    assert left < right
    assert top < bottom
    places = [(left, top), ((left + right) / 2, bottom - (bottom - top) / 4), (right, bottom - (bottom - top) / 4)]
    for found, place in zip(corners(told(chart, "l")), places, strict=True):
        assert found == pytest.approx(place, abs=0.11)


def test_steps_hold_their_value_until_the_next() -> None:
    chart = line_chart(Frame("t", "x", "y"), [Line("a", [0, 1, 2], [1, 0, 0.5], NEUTRAL)], steps=True)
    heights = [y for _, y in corners(told(chart, "a"))]
    assert heights[0] == heights[1] < heights[2] == heights[3]


def test_a_band_is_drawn_where_it_is_wider_than_its_line() -> None:
    frame = Frame("t", "x", "y", y_range=(0, 1))
    wide = line_chart(frame, [Line("a", [0, 1], [0, 1], mark(0), band=([0, 0.5], [0.5, 1]))])
    assert len({y for _, y in corners(told(wide, "a: band"))}) == 3
    flat = line_chart(frame, [Line("a", [0, 1], [0, 1], mark(0), band=([0, 1], [0, 1]))])
    assert "a: band" not in texts(flat.svg(), "title")


def test_a_histogram_shows_shares() -> None:
    frame = Frame("t", "x", "y", y_range=(0, 1))
    heights = sorted({y for _, y in corners(told(histogram(frame, [Series("s", [0, 0, 0, 2], mark(0))], 2), "s"))})
    assert (heights[2] - heights[1]) * 3 == pytest.approx(heights[2] - heights[0], abs=0.4)


def test_points_tell_their_values_and_their_spread() -> None:
    assert texts(a_scatter().svg(), "title") == [FRAME.title, "one: 1, 2", "two: 2, 3"]
    bare = scatter(FRAME, [Point("one", 1, 2, mark(0)), Point("two", 2, 3, NEUTRAL)])
    bars = a_scatter().svg().count(f"stroke: {COLOURS[0]}") - bare.svg().count(f"stroke: {COLOURS[0]}")
    assert bars == 3  # an error bar each way, and the line that joins the two


def test_a_height_that_is_only_bracketed_is_drawn_at_both_ends() -> None:
    chart = scatter(FRAME, [Point("one", 1, 2, mark(0), y_high=3), Point("two", 1, 2, mark(1), y_high=INF)])
    assert texts(chart.svg(), "title")[1:] == ["one: 1, 2", "one: 1, 3", "two: 1, 2", "two: 1, ∞"]


def test_a_forest_plot_tells_brackets_and_intervals_from_the_top() -> None:
    chart = a_forest()
    assert texts(chart.svg(), "title")[1:] == ["one: 1 to 2, interval 0 to 3", "two: -1, interval -2 to ∞"]
    first, second = (corners(told(chart, text)) for text in texts(chart.svg(), "title")[1:])
    assert first[0][1] == first[1][1] < second[0][1]
    assert first[1][0] - first[0][0] > 0


def test_a_heat_map_has_a_share_in_every_cell_that_has_one() -> None:
    found = texts(a_heat_map().svg(), "text")
    assert [text for text in found if text.endswith("%")] == ["100%", "25%", "0%"]
    assert {"a, c: 100.0%", "a, d: 25.0%", "b, d: 0.0%"} <= set(texts(a_heat_map().svg(), "title"))
    assert {"a", "b", "c", "d"} <= set(found)


def test_a_logarithmic_axis_has_plain_numbers() -> None:
    points = [Point("a", x, 1, mark(0)) for x in (0.001, 0.01, 10)]
    assert {"0.001", "0.01", "0.1", "1", "10"} <= set(
        texts(scatter(Frame("t", "x", "y", x_log=True), points).svg(), "text")
    )


@pytest.mark.slow
@KINDS
def test_an_svg_keeps_its_words_as_they_are(draw: Callable[[], Chart]) -> None:
    chart = draw()
    found = texts(chart.svg(), "text")
    assert {"L∞ radius", "y", FRAME.title} <= set(found)
    assert set(found) >= ({"_a <b>", "$b$"} if draw is a_line_chart else set())
    assert texts(chart.svg(), "title")[0] == FRAME.title
    assert INK not in chart.svg()  # the page's own colour, in light and in dark


@pytest.mark.slow
@KINDS
def test_charts_are_the_same_each_time_whatever_the_user_has_set(draw: Callable[[], Chart]) -> None:
    with mpl.rc_context({"svg.fonttype": "path", "font.size": 30}):
        other = draw().svg()
    assert draw().svg() == other


def test_a_chart_is_svg_whatever_else_has_called_its_namespace() -> None:
    ET.register_namespace("", "http://www.w3.org/1999/xhtml")
    assert a_line_chart().svg().startswith("<svg")


def test_no_two_charts_share_an_id_and_every_reference_is_known() -> None:
    charts = [a_line_chart().svg(), a_scatter().svg(), a_histogram().svg()]
    ids = [re.findall(r'\bid="([^"]+)"', chart) for chart in charts]
    assert len({name for names in ids for name in names}) == sum(map(len, ids)) > 3
    for chart, names in zip(charts, ids, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', chart)) == set(names)
        assert chart.count("http") == 1  # the name of SVG itself


@pytest.mark.slow
@pytest.mark.parametrize("draw", [a_line_chart, a_scatter, a_histogram])
def test_a_png_is_twice_as_large_with_its_legend_below(draw: Callable[[], Chart]) -> None:
    image = Image.open(io.BytesIO(draw().png()))
    width, height = image.size
    assert width == 2 * FRAME.width
    assert height > 2 * FRAME.height
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)
    assert np.asarray(image.convert("L")).min() < 100


@pytest.mark.slow
def test_what_is_not_finite_is_not_drawn() -> None:
    charts = [
        line_chart(FRAME, [Line("a", [0, 1, 2], [1, INF, NAN], mark(0), band=([0, 0, 0], [1, INF, 1]))]),
        line_chart(FRAME, [Line("a", [0, 1], [INF, INF], mark(0), band=([INF, INF], [INF, INF]))]),
        scatter(FRAME, [Point("a", INF, 1, mark(0)), Point("b", 1, 1, mark(1), (0, INF), (0, 2))], [[0, 1]]),
        histogram(FRAME, [Series("a", [1, 2, INF], mark(0))]),
        line_chart(FRAME, []),
        scatter(FRAME, []),
        histogram(FRAME, [Series("a", [], mark(0))]),
        forest(FRAME, [Interval("a", -INF, INF, (-INF, INF), mark(0))]),
        forest(FRAME, []),
        heat_map(FRAME, [], [], np.zeros((0, 0))),
    ]
    for chart in charts:
        assert not re.search(r"\b(inf|nan)\b", chart.svg())


def test_marks_differ_in_colour_and_in_marker() -> None:
    count = len(COLOURS) * len(MARKERS)
    assert len({mark(k) for k in range(count)}) == count
    assert all(mark(k).colour != mark(k + 1).colour and mark(k).marker != mark(k + 1).marker for k in range(count))
