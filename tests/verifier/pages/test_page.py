"""Pages: complete, escaped, and nothing loaded from anywhere."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from verifier.pages.chart_style import Frame, mark
from verifier.pages.charts import Chart, Line, line_chart
from verifier.pages.page import Table, rendered
from verifier.pages.pictures import Picture, picture, signed_picture
from verifier.pages.wording import bracket

HOSTILE = '<script>"&{{ 1 }}'


def a_chart() -> Chart:
    return line_chart(Frame(HOSTILE, "x", "y"), [Line(HOSTILE, [0, 1], [0, 1], mark(0))])


def a_report() -> str:
    """The report's page where every text that comes from outside is hostile."""
    shown = picture(np.linspace(0, 1, 16), (16,), HOSTILE)
    held = Table((HOSTILE, HOSTILE), [(HOSTILE, shown)], HOSTILE)
    charts = dict.fromkeys(("robustness", "accuracy", "bounds", "attacks", "cost"), a_chart())
    tables = dict.fromkeys(("techniques", "accuracy", "pictures", "samples"), held)
    part = {"name": HOSTILE, "charts": charts, **tables}
    return rendered("gap_report.html", HOSTILE, summary=HOSTILE, norms=[part], conditions=held)


def test_names_from_outside_are_words_and_nothing_else() -> None:
    html = a_report()
    assert "<script" not in html
    assert len(re.findall(r"&lt;script&gt;(&#34;|\")&amp;{{ 1 }}", html)) >= 3 + 5 * 6 + 5 * 3  # page, tables, charts
    assert {"<table", "<svg", "<img", "<style"} <= set(re.findall(r"<\w+", html))


def test_a_page_loads_nothing() -> None:
    html = a_report()
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert html.count("http") == html.count("http://www.w3.org/2000/svg")
    assert not re.search(r"@import|url\((?!#)", html)


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'summary' is undefined"):
        rendered("gap_report.html", "t", norms=[], conditions=Table((), []))


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


@pytest.mark.parametrize("start", ["import verifier", "from verifier.cli.main import main; main(['--help'])"])
def test_what_only_pages_and_downloads_need_waits_for_them(start: str) -> None:
    check = "import sys, atexit; atexit.register(lambda: print('loaded:', *sorted(sys.modules)))\n"
    done = subprocess.run([sys.executable, "-c", check + start], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("loaded:")[2].split())
    assert "verifier" in loaded
    assert not loaded & {"matplotlib", "jinja2", "pooch", "pydantic", "torch"}


def test_a_bracket_shows_both_sides_where_one_has_no_end() -> None:
    assert bracket(0.3, 0.3 + 1e-6) == "0.3"
    assert bracket(0.3, 0.4) == "0.3 to 0.4"
    assert bracket(0.3, float("inf")) == "0.3 to ∞"
    assert bracket(-float("inf"), float("inf")) == "-∞ to ∞"
    assert bracket(float("inf"), float("inf")) == "∞"
