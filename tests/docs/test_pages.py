"""What pages show holds: their commands parse, their configs are read, and links outside Sphinx lead to files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.docs.test_tutorials import blocks
from verifier.cli.parser import parse
from verifier.studies.comparison.options import read_comparison

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
COMMAND = re.compile(r"^(?: {4})?(?:eval \"\$\()?(plumbline [a-z]+ [^>)\n]+)", re.MULTILINE)
LINK = re.compile(r"\]\(((?!https?:|#)[^)\s#]+)(?:#[^)\s]*)?\)")


def test_commands_parse() -> None:
    count = 0
    for page in PAGES:
        for line in COMMAND.findall(page.read_text(encoding="utf-8").replace("\\\n", " ")):
            count += 1
            try:
                parse(shlex.split(line, comments=True)[1:])
            except SystemExit:
                pytest.fail(f"{page.relative_to(ROOT)}: {line}")
    assert count > 25


def test_configs_are_read(tmp_path: Path) -> None:
    names: dict[str, list[int]] = {}
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.language == "toml":
                path = tmp_path / f"{page.stem}.toml"
                path.write_text(block.content, encoding="utf-8")
                names.setdefault(page.stem, []).append(len(read_comparison(path)[0].runs))
    assert names == {"compare": [21], "training": [12, 3], "regulariser-study": [3]}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
