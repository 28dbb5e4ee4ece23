"""--change, --direction and --output-index: rows, records, labels that are none, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from encoders.layer_graph.graph import affine_chain
from tests.onnx_builder import to_onnx
from verifier.cli.main import main

# y = 2 x0 - 1/2, and beside it -x1
PRICE = affine_chain([np.array([[2.0, 0.0]])], [np.array([-0.5])])
TWO = affine_chain([np.array([[2.0, 0.0], [0.0, -1.0]])], [np.array([-0.5, 0.0])])


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Two samples with what was measured of them, which is no class."""
    np.savez(tmp_path / "d.npz", x=np.array([[0.5, 0.5], [0.25, 0.5]], dtype=np.float32), y=np.array([0.61, -0.02]))
    return str(tmp_path / "d.npz")


def test_rows_and_records(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, journal = str(to_onnx(PRICE, tmp_path / "price.onnx")), str(tmp_path / "a.jsonl")
    asked = ["distance", net, "--data", data, "--change", "0.75", "--json", journal]
    assert main([*asked, "--direction", "down", "--out", str(tmp_path)]) == 0
    header, first, second, _ = capsys.readouterr().out.splitlines()
    assert header.split()[5:7] == ["before", "after"]
    assert (first.split()[:2], second.split()[:2]) == (["0", "exact"], ["1", "exact"])
    assert second.split()[2:5] == ["inf", "inf", "inf"]
    near, none = (json.loads(line) for line in Path(journal).read_text().splitlines())
    assert (near["before"], near["label"]) == (0.5, None)
    assert near["after"] < -0.25
    assert near["upper"] == pytest.approx(0.375, abs=1e-6)
    assert (none["before"], none["after"], none["upper"]) == (0.0, None, "inf")
    assert near["run"]["direction"] == "down"
    with np.load(tmp_path / "adversary-0.npz") as saved:
        assert saved["scores"] == near["after"]
    assert main([*asked, "--direction", "up"]) == 2
    assert 'direction was "down", now "up"' in capsys.readouterr().err


def test_one_of_several_outputs(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["verify", str(to_onnx(TWO, tmp_path / "two.onnx")), "--data", data, "--radius", "0.2", "--samples", "0"]
    assert main([*asked, "--change", "0.25"]) == 2
    assert "output_index, 0 to 1" in capsys.readouterr().err
    assert main([*asked, "--change", "0.25", "--output-index", "0"]) == 0
    assert "falsified" in capsys.readouterr().out
    assert main([*asked, "--change", "0.25", "--output-index", "1"]) == 0
    assert "certified" in capsys.readouterr().out


def test_one_output_is_inspected_and_has_a_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = str(to_onnx(PRICE, tmp_path / "price.onnx"))
    assert main(["inspect", net]) == 0
    assert "1 number" in capsys.readouterr().out
    assert main(["range", net]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[4:6] == ["-0.5000000", "1.5000000"]  # attained


@pytest.mark.parametrize("command", ["margin", "attack", "report", "curve"])
def test_commands_about_classes_refuse_one_output(
    command: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--radius", "0.1"] if command == "margin" else ["--out", str(tmp_path)] if command == "report" else []
    assert main([command, str(to_onnx(PRICE, tmp_path / "price.onnx")), "--data", data, *more]) == 2
    error = capsys.readouterr().err
    assert "threshold T" in error
    assert error.count("\n") == 1
