"""The reference of the command line names every command and every flag that the help names."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from verifier.cli.main import main
from verifier.cli.parser import build_parser

FLAG = re.compile(r"--[a-z][a-z-]+")


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> str:
    """The page, as the extension of Sphinx makes it."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed (extra `docs`)")
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "docs" / "_ext")
    return "\n".join(import_module("command_line").described(build_parser()))


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def test_every_command_and_every_flag(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    pages = dict(re.findall(r"\.\. program:: plumbline (\S+)\n(.*?)(?=\.\. program::|\Z)", text, re.DOTALL))
    commands = re.findall(r"^    ([a-z-]+)(?= |$)", said(capsys).split("\noptions:")[0], re.MULTILINE)
    assert list(pages) == commands
    assert len(commands) >= 9
    for command in commands:
        flags = set(FLAG.findall(said(capsys, command).split("\n\n", 1)[0])) - {"--help"}
        options = " ".join(re.findall(r"^\.\. option:: (.*)$", pages[command], re.MULTILINE))
        assert flags <= set(FLAG.findall(options)), command
