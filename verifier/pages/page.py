"""One self-contained HTML page: headings, paragraphs, tables, charts and small pictures, nothing loaded from anywhere.

    page = Page("Title", "what it is about, in a sentence")
    page.heading("Part"); page.paragraph("text"); page.table(("a", "b"), [(1, 2)]); page.figures([svg], "caption")
    path.write_text(page.html(), encoding="utf-8")

Text is escaped; only `markup` (and the SVG of verifier/pages/charts.py) is taken as it is.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.runs.saved_adversary import as_image, image_shape

STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:13px;margin:.5rem 0}
.wide{overflow-x:auto}
th,td{padding:.2rem .55rem;text-align:right;border-bottom:1px solid #8884;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{vertical-align:bottom}
figure{margin:1rem 0}
figure svg{max-width:100%;height:auto}
.row{display:flex;flex-wrap:wrap;gap:.6rem}
figcaption{font-size:13px;opacity:.8}
td img{image-rendering:pixelated;width:64px;height:64px;display:block;margin:auto}
td.picture{text-align:center;font-size:12px}
code{font-size:.9em}
"""


@dataclass(frozen=True)
class Picture:
    """A small image inside a table, with a line below it."""

    uri: str
    caption: str = ""


class Page:
    """Collects the parts of one page in order."""

    def __init__(self, title: str, summary: str = "") -> None:
        self.title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]
        if summary:
            self.paragraph(summary)

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        self._parts.append(f"<p>{escape(text)}</p>")

    def listing(self, lines: Sequence[str]) -> None:
        """A bulleted list."""
        self._parts.append("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")

    def folded(self, title: str, lines: Sequence[str]) -> None:
        """A bulleted list that opens on a click."""
        self._parts.append(f"<details><summary>{len(lines)}: {escape(title)}</summary>")
        self.listing(lines)
        self._parts.append("</details>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        """Cells are text, or a Picture."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
        told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self.markup(f'<figure class="wide"><table><tr>{head}</tr>{body}</table>{told}</figure>')

    def figures(self, charts: Sequence[str], caption: str = "") -> None:
        """Charts side by side, with one caption below them."""
        told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self.markup(f'<figure><div class="row">{"".join(charts)}</div>{told}</figure>')

    def markup(self, html: str) -> None:
        """HTML taken as it is."""
        self._parts.append(html)

    def html(self) -> str:
        """The whole page."""
        name, body = escape(self.title), "\n".join(self._parts)
        meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        head = f"<head>{meta}<title>{name}</title><style>{STYLE}</style></head>"
        return f'<!doctype html>\n<html lang="en">{head}\n<body>\n{body}\n</body></html>\n'


def _cell(cell: Any) -> str:
    if isinstance(cell, Picture):
        told = escape(cell.caption)
        return f'<td class="picture"><img src="{cell.uri}" alt="{told}">{told}</td>'
    return f"<td>{escape(str(cell))}</td>"


def picture(values: NDArray[Any], shape: tuple[int, ...], caption: str = "") -> Picture | str:
    """Values in [0, 1] of an input of this shape as a picture; a dash where it does not read as an image."""
    form = image_shape(shape)
    if form is None:
        return "–"
    return _encoded(as_image(values, form), caption)


def signed_picture(values: NDArray[Any], shape: tuple[int, ...], caption: str = "") -> Picture | str:
    """Values around zero as a picture: mid-grey is zero, the largest magnitude black or white."""
    largest = float(np.abs(values).max())
    return picture(0.5 + 0.5 * np.asarray(values, np.float64) / (largest or 1.0), shape, caption)


def _encoded(image: NDArray[np.float64], caption: str) -> Picture:
    from PIL import Image

    out = io.BytesIO()
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    grey = bool((pixels == pixels[:, :, :1]).all())
    Image.fromarray(pixels[:, :, 0] if grey else pixels).save(out, "PNG", optimize=True)
    return Picture(f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}", caption)
