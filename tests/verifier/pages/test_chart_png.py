"""Charts as PNG: what is drawn where, in the right colour, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from encoders.errors import DataError
from verifier.pages.chart_png import png
from verifier.pages.charts import Frame, Line, Point, Series, histogram, line_chart, scatter


def pixels(svg: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(svg))).convert("RGB"))


def svg(inside: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><title>t</title>{inside}</svg>'


def test_a_line_lies_where_it_should() -> None:
    drawn = pixels(svg('<line x1="2" y1="5" x2="18" y2="5" stroke="#ff0000" stroke-width="1"/>'))
    assert drawn.shape == (20, 40, 3)
    assert (drawn[9:11, 20] == [255, 0, 0]).all(axis=1).any()
    assert (drawn[2] == 255).all()
    assert (drawn[10, :3] == 255).all()


def test_dashes_have_gaps() -> None:
    whole = svg('<polyline points="0,5 20,5" fill="none" stroke="#000000"/>')
    dashed = whole.replace("/>", ' stroke-dasharray="5 3"/>')
    full, broken = ((pixels(one) == 0).all(axis=2).any(axis=0).sum() for one in (whole, dashed))
    assert 0 < broken < full


def test_a_polygon_is_filled_lightly() -> None:
    drawn = pixels(svg('<polygon points="0,0 20,0 20,10 0,10" fill="#000000" fill-opacity="0.5"/>'))
    assert abs(int(drawn[10, 20, 0]) - 127) <= 2


def test_every_chart_can_be_drawn() -> None:
    frame = Frame("Title, L∞", "x", "y")
    line = Line("a", [0, 1, 2], [0, 1, 0], "#0072b2", band=([0, 0.5, 0], [1, 2, 1]))
    for chart in (
        line_chart(frame, [line, Line("b", [0, 2], [1, 0], "#d55e00", dashed=True)], steps=True),
        scatter(frame, [Point("p", 1.0, 2.0, "#009e73", (0.5, 1.5), (1.0, 3.0))]),
        histogram(frame, [Series("s", [1.0, 2.0, 2.0], "#cc79a7")]),
    ):
        drawn = pixels(chart)
        assert drawn.min() < 100
        assert drawn.shape[1] == 2 * frame.width


def test_an_unknown_element_is_refused() -> None:
    with pytest.raises(DataError, match="'ellipse' cannot be drawn"):
        png(svg("<ellipse/>"))
