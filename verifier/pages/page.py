"""Self-contained HTML pages from the templates beside this file: nothing on them is loaded from anywhere.

They are whole without a script; the one that they carry (`templates/charts.js`) shows values, zooms and enlarges.

Text is escaped; only a chart, which writes its own SVG, is taken as it is. A value that a template asks for and is not
given is an error, not a gap in the page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from verifier.pages.drawn_chart import Chart

HYPHENATED = re.compile(r"\S*-\S*")


@dataclass(frozen=True)
class Link:
    """Words that lead to a file beside the page, or to a place on it."""

    words: str
    href: str


@dataclass(frozen=True)
class Table:
    """Rows under a header; cells are texts, numbers, pictures or links."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    anchors: Sequence[str] = ()  # what each row is called, for links to it


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, a table, and charts below it."""

    heading: str
    text: str
    table: Table
    charts: Sequence[Chart] = ()


def rendered(template: str, title: str, **values: object) -> str:
    """The page that a template makes of these values."""
    return _templates().get_template(template).render(title=title, **values)


def unbroken(text: object) -> Markup:
    """The text, with each word that holds a hyphen, such as an option or a small number, kept in one piece."""
    return Markup(HYPHENATED.sub(r'<span class="word">\g<0></span>', str(escape(text))))


@cache
def _templates() -> Environment:
    found = PackageLoader("verifier.pages")
    made = Environment(loader=found, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["unbroken"] = unbroken
    return made
