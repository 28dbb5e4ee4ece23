"""What is said of a command line that nobody can read."""

from __future__ import annotations

import pytest

from verifier.cli.parser import parse


def complaint(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parse(argv)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_nothing_at_all_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint([], capsys)
    assert "distance" in said
    assert "examples:" in said


def test_an_unknown_flag_is_refused_by_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(["distance", "net.onnx", "--data", "digits", "--sample", "0"], capsys)
    assert said == (
        "plumbline distance: unrecognized arguments: --sample 0; did you mean --samples? "
        "(see plumbline distance --help)\n"
    )


def test_a_flag_like_no_other_is_refused_without_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(["inspect", "net.onnx", "--qqq"], capsys)
    assert said == "plumbline inspect: unrecognized arguments: --qqq (see plumbline inspect --help)\n"
