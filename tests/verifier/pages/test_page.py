"""Pages: complete, escaped, and nothing loaded from anywhere."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from verifier.pages.chart_style import Frame, mark
from verifier.pages.charts import Line, line_chart
from verifier.pages.drawn_chart import Chart
from verifier.pages.page import Link, Table, rendered, unbroken
from verifier.pages.pictures import DIVERGING, Picture, difference_picture, picture, signed_picture
from verifier.pages.wording import as_given, bracket, counted, in_decimals, ranges, share

HOSTILE = '<script>"&{{ 1 }}'


def a_chart() -> Chart:
    return line_chart(Frame(HOSTILE, "x", "y"), [Line(HOSTILE, [0, 1], [0, 1], mark(0))])


def an_explorable_chart() -> Chart:
    return line_chart(
        Frame(HOSTILE, HOSTILE, "y"), [Line(HOSTILE, [0, 1], [0, 1], mark(0))], steps=True, explorable=True
    )


def a_report() -> str:
    """The report's page where every text that comes from outside is hostile."""
    shown = picture(np.linspace(0, 1, 16), (16,), HOSTILE)
    held = Table((HOSTILE, HOSTILE, HOSTILE), [(HOSTILE, shown, Link(HOSTILE, HOSTILE))], HOSTILE, [HOSTILE])
    tables = dict.fromkeys(("at_radii", "techniques", "pictures", "samples", "undecided", "bounds", "attacks"), held)
    charts = {"robustness": an_explorable_chart(), "cost": a_chart(), "nearness": [a_chart(), a_chart()]}
    part = {"name": HOSTILE, "finished": HOSTILE, "open": 1, **charts, **tables}
    checks = [{"what": HOSTILE, "how": HOSTILE}]
    return rendered(
        "gap_report.html", HOSTILE, answers=[(HOSTILE, HOSTILE)], missing=HOSTILE, norms=[part], conditions=held,
        checks=checks, words=held, measured=[(HOSTILE, HOSTILE)], estimates=True, tolerance=HOSTILE, proofs="some",
    )  # fmt: skip


def test_names_from_outside_are_words_and_nothing_else() -> None:
    html = a_report()
    assert html.count("<script") == 1  # the page's own
    assert html.count(HOSTILE) == 0
    assert len(re.findall(r"&lt;script&gt;(&#34;|&quot;|\")&amp;{{ 1 }}", html)) >= 6 + 9 * 6 + 4 * 3
    assert {"<table", "<svg", "<img", "<style"} <= set(re.findall(r"<\w+", html))


def test_a_page_loads_nothing() -> None:
    html = a_report()
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', html))
    assert all(link.startswith("#") for link in re.findall(r'<(?!a )[^>]*href="([^"]*)"', html))
    assert html.count("http") == html.count("http://www.w3.org/2000/svg")
    assert not re.search(r"@import|url\((?!#)", html)


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'answers' is undefined"):
        rendered("gap_report.html", "t", norms=[], conditions=Table((), []))


def test_options_and_small_numbers_are_kept_in_one_piece() -> None:
    found = unbroken("by 2.9e-06 with --proofs <b>")
    assert found == 'by <span class="word">2.9e-06</span> with <span class="word">--proofs</span> &lt;b&gt;'


def test_what_is_proven_is_shown_as_no_more_and_an_adversary_as_no_nearer() -> None:
    assert in_decimals(0.12345678, 6, ROUND_FLOOR) == "0.123456"
    assert in_decimals(0.12345612, 6, ROUND_CEILING) == "0.123457"
    assert (share(0.3125, 0.3125), share(0.3125, 0.4375)) == ("31.2%", "31.2% to 43.8%")
    assert (share(0.9999, 0.9999), share(0.0001, 0.0001), share(1.0, 1.0)) == ("99.9%", "0.1%", "100.0%")


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


def test_a_difference_diverges_from_white_and_says_how_far_its_colours_go() -> None:
    found = difference_picture(np.array([-0.2, 0, 0.1, 0.2]), (2, 2))
    assert isinstance(found, Picture)
    assert found.scale == ("−0.2", "+0.2")
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.uri.split(",")[1]))))
    low, middle, high = (tuple(int(one[k : k + 2], 16) for k in (1, 3, 5)) for one in DIVERGING)
    assert [tuple(pixel) for pixel in (image[0, 0], image[0, 1], image[1, 1])] == [low, middle, high]
    assert all(min(m, h) <= value <= max(m, h) for value, m, h in zip(image[1, 0], middle, high, strict=True))
    channels = np.array([[[0.1]], [[-0.4]], [[0.2]]])  # one pixel: its channel that moved most
    strongest = difference_picture(channels, (3, 1, 1))
    assert isinstance(strongest, Picture)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(strongest.uri.split(",")[1]))).convert("RGB"))
    assert tuple(image[0, 0]) == low


@pytest.mark.parametrize("start", ["import verifier", "from verifier.cli.main import main; main(['--help'])"])
def test_what_only_pages_and_downloads_need_waits_for_them(start: str) -> None:
    check = "import sys, atexit; atexit.register(lambda: print('loaded:', *sorted(sys.modules)))\n"
    done = subprocess.run([sys.executable, "-c", check + start], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("loaded:")[2].split())
    assert "verifier" in loaded
    assert not loaded & {"matplotlib", "jinja2", "pooch", "pydantic", "torch"}


def test_a_radius_is_told_to_its_last_digit() -> None:
    assert [as_given(radius) for radius in (0.1, 0.12345678, 2.0)] == ["0.1", "0.12345678", "2"]


def test_a_bracket_shows_both_sides_where_one_has_no_end() -> None:
    assert bracket(0.3, 0.3 + 1e-6) == "0.3"
    assert bracket(0.3, 0.4) == "0.3 to 0.4"
    assert bracket(0.123456, 0.123944) == "0.1234 to 0.124"
    assert bracket(-2.00007, -1.00007) == "-2.001 to -1"
    assert bracket(0.3, float("inf")) == "0.3 to ∞"
    assert bracket(-float("inf"), float("inf")) == "-∞ to ∞"
    assert bracket(float("inf"), float("inf")) == "∞"


def test_numbers_in_a_sentence() -> None:
    assert [counted(1, "input"), counted(2, "input"), counted(0, "is", "are")] == ["1 input", "2 inputs", "0 are"]
    assert ranges([7, 0, 1, 2, 4, 5]) == "0 to 2, 4, 5, 7"
    assert ranges([]) == "–"
