"""A page as PDF, through WeasyPrint where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

from encoders.errors import OptionError


def check_pdf() -> None:
    """Refuse what cannot be written, before anything is measured for it."""
    if find_spec("weasyprint") is None:
        raise OptionError(
            "format pdf needs WeasyPrint: pip install 'plumbline[pdf]', or print the HTML page from a browser"
        )


def pdf(html: str) -> bytes:
    """The page as it is printed: numbered pages, tables whole."""
    check_pdf()
    from weasyprint import HTML

    made: bytes = HTML(string=html).write_pdf()
    return made
