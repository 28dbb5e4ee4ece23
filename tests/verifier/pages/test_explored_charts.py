"""Charts that can be explored: their numbers are in the page, and a browser shows, hides, zooms and enlarges."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest

from verifier.pages.chart_style import Frame, mark
from verifier.pages.charts import Line, line_chart
from verifier.pages.drawn_chart import Chart
from verifier.pages.page import Table, rendered
from verifier.pages.pictures import difference_picture

pytestmark = pytest.mark.slow


def a_chart() -> Chart:
    x = [0.0, 1.0, 2.0, 4.0]
    exact = Line("exact", x, [1, 1, 0.5, 0], mark(0), outer=([0.5, 0.5, 0.2, 0], [1, 1, 0.8, 0.3]), width=2.4)
    lines = [exact, Line("other", x, [1, 0, 0, 0], mark(1), behind=True)]
    frame = Frame("t", "radius", "share", x_range=(0, 4), y_range=(0, 1), percent=True)
    return line_chart(frame, lines, steps=True, explorable=True)


def told(svg: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(ET.fromstring(svg).attrib["data-chart"])
    return held


def test_a_chart_carries_the_points_at_which_its_lines_move() -> None:
    held = told(a_chart().svg())
    assert [(one["label"], one["behind"]) for one in held["series"]] == [("exact", False), ("other", True)]
    assert (held["series"][0]["x"], held["series"][0]["told"]) == ([0, 2, 4], ["100.0%", "50.0%", "0.0%"])
    left, top, right, bottom = held["box"]
    assert 0 < left < right
    assert 0 < top < bottom


def test_where_a_line_moves_is_told_as_it_is_and_its_heights_in_their_own_words() -> None:
    x, words = [0.0, 0.123456789012, 0.2, 0.3], ["all", "some", "some", "none"]
    line = Line("l", x, [1, 0.3125, 0.3125, 0], mark(0), told=words)
    (held,) = told(line_chart(Frame("t", "x", "y"), [line], steps=True, explorable=True).svg())["series"]
    assert (held["x"], held["told"]) == ([0.0, 0.123456789012, 0.3], ["all", "some", "none"])


def test_the_box_is_where_the_axes_are_drawn() -> None:
    svg = a_chart().svg()
    left, _, right, _ = told(svg)["box"]
    ticks = [one for one in ET.fromstring(svg).iter() if one.get("class") == "tick"]
    places = {text.text: float(text.attrib["x"]) for tick in ticks for text in tick.iter() if text.tag.endswith("text")}
    assert [places["0.0"], places["4.0"]] == pytest.approx([left, right], abs=0.2)


def test_what_is_behind_is_in_no_legend_and_no_print() -> None:
    svg = a_chart().svg()
    hidden = [one for one in ET.fromstring(svg).iter() if one.get("display") == "none"]
    assert [one.get("data-series") for one in hidden] == ["1"]
    assert "other" not in re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    whole = a_chart()
    for line in whole.figure.axes[0].lines:
        line.set_label("")  # as one that is not behind
    assert len(a_chart().png()) < len(whole.png())
    assert told(a_chart().svg()) == told(svg)


# In a browser. ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, where the machine has one."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `develop`)")
    path = which("chromium") or which("chromium-browser") or which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on the PATH")
    with api.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A page with one chart and one picture, opened; an error in its script fails the test."""
    shown = difference_picture(np.linspace(-1, 1, 16), (16,), "the change")
    table = Table(("input",), [(shown,)])
    (tmp_path / "page.html").write_text(
        rendered(
            "gap_report.html", "t", answers=[], missing="", checks=[], conditions=Table((), []), words=Table((), []),
            measured=[], estimates=False, tolerance="1e-06", proofs="none",
            norms=[{
                "name": "n", "finished": "1 input", "open": 0, "robustness": a_chart(), "cost": None, "nearness": [],
                **dict.fromkeys(("at_radii", "techniques", "samples", "undecided", "bounds", "attacks"), Table((), [])),
                "pictures": table,
            }],
        )
    )  # fmt: skip
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.goto((tmp_path / "page.html").as_uri())
    yield opened
    opened.close()
    assert errors == []


def point_at(page: Any, share: float) -> tuple[float, float]:
    """Move the pointer to this share of the axis; where that is on the page."""
    chart = page.locator("svg[data-chart]")
    chart.scroll_into_view_if_needed()
    place = page.evaluate(
        """(share) => {
          const svg = document.querySelector("svg[data-chart]");
          const [left, top, right, bottom] = JSON.parse(svg.dataset.chart).box;
          const inside = new DOMPoint(left + share * (right - left), (top + bottom) / 2);
          const at = inside.matrixTransform(svg.getScreenCTM());
          return [at.x, at.y];
        }""",
        share,
    )
    page.mouse.move(*place)
    return place[0], place[1]


@pytest.mark.release
def test_values_are_told_under_the_pointer_and_by_the_keys(page: Any) -> None:
    point_at(page, 0.65)  # 2.6
    assert page.locator("output").inner_text() == "at 2.6: exact 50.0%"
    page.get_by_label("other").check()
    point_at(page, 0.1)
    assert page.locator("output").inner_text() == "at 0.4: exact 100.0%, other 100.0%"
    page.locator("svg[data-chart]").press("ArrowRight")
    assert page.locator("output").inner_text().startswith("at 0.44:")


def test_the_radius_that_is_told_is_the_one_whose_values_are_told(page: Any) -> None:
    point_at(page, 0.4999)  # a hair before 2, where the line falls: rounded to 2 with the value at 2
    assert page.locator("output").inner_text() == "at 2: exact 50.0%"


@pytest.mark.release
def test_lines_are_shown_and_hidden(page: Any) -> None:
    behind = page.locator('[data-series="1"]').first
    assert behind.get_attribute("display") == "none"
    page.get_by_label("other").check()
    assert behind.get_attribute("display") == "inline"
    page.get_by_label("other").uncheck()
    assert behind.get_attribute("display") == "none"


@pytest.mark.release
def test_dragging_zooms_lines_and_bands_and_whole_is_whole(page: Any) -> None:
    places = "[...document.querySelectorAll('[data-series] path')].map((path) => path.getAttribute('d'))"
    before = page.evaluate(places)
    x, y = point_at(page, 0.25)
    page.mouse.down()
    point_at(page, 0.75)
    page.mouse.up()
    zoomed = page.evaluate(places)
    assert all(one != other for one, other in zip(before, zoomed, strict=True) if "L" in one and len(one) > 60)
    page.mouse.move(x, y)
    assert page.locator("output").inner_text() == "at 1.5: exact 100.0%"  # 1 to 3 fill the axis now
    page.get_by_role("button", name="whole").click()
    numbers = [
        [float(one) for text in texts for one in re.findall(r"-?[\d.]+", text)]
        for texts in (before, page.evaluate(places))
    ]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-6)


def test_a_picture_is_enlarged_with_its_scale(page: Any) -> None:
    page.locator("td.picture img").click()
    assert "the change" in page.locator("dialog").inner_text()
    assert "+1" in page.locator("dialog").inner_text()
    page.get_by_role("button", name="close").click()
    assert not page.locator("dialog").is_visible()


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.fewer(1)
def test_nothing_is_wider_than_the_screen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(page: Any, scheme: str) -> None:
    from tests.accessibility import barriers

    page.emulate_media(color_scheme=scheme)
    assert barriers(page) == []


@pytest.mark.release
def test_print_shows_everything_and_no_controls(page: Any) -> None:
    page.emulate_media(media="print")
    assert not page.locator(".controls").first.is_visible()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
