"""How Sphinx builds the pages: `make docs`. Nothing is fetched, by the build or by a page."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parents[1])]
os.environ["COLUMNS"], os.environ["NO_COLOR"] = "100", "1"  # how argparse breaks the lines of a usage

from verifier import __version__  # noqa: E402 (found on the path above)

project = "Plumbline"
version = release = __version__
copyright = "the authors of Plumbline, MIT licence"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "command_line", "mathml"]
exclude_patterns = ["_ext", "figures"]
default_role = "code"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("ArrayLike", "FloatArray", "IntArray", "Inputs", "Array", "Progress")}
nitpicky = True
# Types of other packages and of modules that have no page: a name in a signature need not be a link.
nitpick_ignore_regex = [("py:.*", r".*")]

html_theme = "pydata_sphinx_theme"
html_title = "Plumbline"
html_static_path = ["_static"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}

copybutton_prompt_text = "$ "
linkcheck_timeout = 20
