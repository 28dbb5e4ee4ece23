"""Each tutorial, run as it is written: its Python in one namespace, its commands, and what the page says they print."""

from __future__ import annotations

import doctest
import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from verifier.cli.main import main

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted(path for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.stem != "index")
LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
CAPTION = re.compile(r"\s*:caption: (\S+)\n+")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: `python`, `sh` or `text`, or a file that the page shows, by its name."""

    language: str
    content: str
    line: int
    file: str | None = None


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "fence" and token.map is not None:
            caption = CAPTION.match(token.content)
            content = token.content if caption is None else token.content[caption.end() :]
            language = token.info.split()[-1] if token.info else "text"
            yield Block(language, content, token.map[0] + 1, None if caption is None else caption[1])


def run(page: str, text: str) -> None:
    """Run every block; a `text` block behind one that was run is what it prints, with … for what may differ."""
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    printed: str | None = None
    for block in blocks(text):
        place = f"{page}, line {block.line}"
        if block.file is not None:
            Path(block.file).write_text(block.content, encoding="utf-8")
        elif block.language == "text":
            expected = block.content.replace("…", "...")
            assert printed is not None, f"{place}: output of nothing"
            assert doctest.OutputChecker().check_output(expected, printed, LIKE), f"{place}: it printed\n{printed}"
            printed = None
        elif block.language in ("python", "sh"):
            with redirect_stdout(io.StringIO()) as output:
                if block.language == "python":
                    exec(compile("\n" * block.line + block.content, page, "exec"), namespace)
                else:
                    commands(block.content, place)
            printed = output.getvalue()


def commands(content: str, place: str) -> None:
    """The lines that call `plumbline`; other commands are not ours to run."""
    for line in content.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["plumbline"]:
            assert main(words[1:]) == 0, f"{place}: {line}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the networks that a checkout has."""
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "nets").symlink_to(ROOT / "trainers" / "nets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
@pytest.mark.fewer(2)
def test_a_tutorial_runs_as_it_is_written(path: Path, folder: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert {"python", "sh"} & {block.language for block in blocks(text)}
    run(path.name, text)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(2)\n```\n\n```text\n3\n```\n",
        "```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n",
        "```sh\nplumbline distance none.onnx --data digits\n```\n",
        "```text\n3\n```\n",
    ],
)
def test_a_page_that_says_otherwise_fails(text: str, folder: Path) -> None:
    with pytest.raises(AssertionError):
        run("page", text)


def test_files_and_outputs_of_a_page(folder: Path) -> None:
    run("page", "```{code-block} toml\n:caption: a.toml\n\nx = 1\n```\n\n```python\nprint(open('a.toml').read())\n```\n"
        "\n```text\nx = …\n```\n")  # fmt: skip
    assert (folder / "a.toml").read_text() == "x = 1\n"
