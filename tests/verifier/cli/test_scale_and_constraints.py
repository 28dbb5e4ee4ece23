"""--scale and --constraints from files: what is asked, what a journal keeps, and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from encoders.layer_graph.graph import affine_chain
from tests.docs.test_record_schema import SCHEMA
from tests.onnx_builder import to_onnx
from verifier.cli.main import main

# From (3/4, 1/4), where x2 must reach x1, x2 by moves of four a unit: a gap of 1/2 closes by 1/10 of both units.
UNITS = np.array([1.0, 4.0])
ROWS = {"A": np.array([[0.0, 1.0]]), "b": np.array([0.3125])}


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    net = to_onnx(affine_chain([np.eye(2)], [np.zeros(2)]), tmp_path / "swap.onnx")
    np.savez(tmp_path / "data.npz", x=np.array([[0.75, 0.25]], dtype=np.float32))
    np.save(tmp_path / "scale.npy", UNITS)
    np.savez(tmp_path / "rows.npz", A=ROWS["A"], b=ROWS["b"])
    return ["distance", str(net), "--data", str(tmp_path / "data.npz")]


def answers(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_both_from_files_and_told_apart_in_a_journal(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = ["--json", str(tmp_path / "answers.jsonl")]
    scale, rows = ["--scale", str(tmp_path / "scale.npy")], ["--constraints", str(tmp_path / "rows.npz")]
    assert main([*asked, *journal, *scale, *rows, "--out", str(tmp_path / "out")]) == 0
    (answer,) = answers(tmp_path / "answers.jsonl")
    # x2 may rise by 1/16, so that x1 falls by 7/16, a unit each.
    assert answer["upper"] == pytest.approx(0.4375, abs=1e-5)
    assert answer["run"]["scale"]
    assert answer["run"]["constraints"]
    with np.load(tmp_path / "out" / "adversary-0.npz") as saved:
        moved = (saved["adversary"].astype(np.float64) - saved["original"]) / UNITS
        assert np.abs(moved).max() == pytest.approx(answer["upper"])
        assert saved["adversary"].dtype == np.float32
        assert saved["adversary"].reshape(-1)[1] <= 0.3125
    capsys.readouterr()
    for other in (scale, rows, []):
        assert main([*asked, *journal, *other]) == 2
        assert "holds results of another run" in capsys.readouterr().err
    assert main([*asked, *journal, *scale, *rows]) == 0
    assert len(answers(tmp_path / "answers.jsonl")) == 1
    plain = ["--json", str(tmp_path / "plain.jsonl")]
    assert main([*asked, *plain]) == 0
    assert main([*asked, *plain, *scale]) == 2
    assert main(["verify", *asked[1:], "--radius", "0.09", *scale, "--json", str(tmp_path / "near.jsonl")]) == 0
    assert answers(tmp_path / "near.jsonl")[0]["verdict"] == "certified"


@pytest.mark.parametrize(
    ("flag", "name", "content", "words"),
    [
        ("--scale", "missing.npy", None, "no such file"),
        ("--scale", "scale.txt", "1 2", "a scale is an .npy or .npz file"),
        ("--scale", "three.npy", [1.0, 2.0, 3.0], "a scale of 3 entries does not fit"),
        ("--scale", "zero.npy", [1.0, 0.0], "give a positive number"),
        ("--scale", "two.npz", {"one": [1.0, 2.0], "other": [1.0, 2.0]}, "none is called scale"),
        ("--constraints", "missing.npz", None, "no such file"),
        ("--constraints", "rows.npy", [[1.0, 2.0]], "an .npz with A and b"),
        ("--constraints", "only.npz", {"A": [[1.0, 2.0]]}, "an .npz with A and b"),
        ("--constraints", "nan.npz", {"A": [[1.0, np.nan]], "b": [1.0]}, "NaN or infinite"),
        ("--constraints", "short.npz", {"A": [[1.0, 2.0]], "b": [1.0, 2.0]}, "give a matrix A"),
        ("--constraints", "wide.npz", {"A": [[1.0, 2.0, 3.0]], "b": [1.0]}, "constraints on 3 inputs do not fit"),
    ],
)
def test_bad_files_are_named_before_any_work(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, name: str, content: Any, words: str
) -> None:
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        np.save(path, np.array(content))
    assert main([*asked, flag, str(path), "--json", str(tmp_path / "none.jsonl")]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "none.jsonl").exists()


def test_a_scale_in_an_archive_beside_others(asked: list[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "several.npz", other=np.ones(5), scale=UNITS.reshape(2, 1))
    results = tmp_path / "results.jsonl"
    assert main([*asked, "--scale", str(tmp_path / "several.npz"), "--json", str(results)]) == 0
    assert answers(results)[0]["upper"] == pytest.approx(0.1, abs=1e-6)


def test_margins_and_ranges_take_both(asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--scale", str(tmp_path / "scale.npy"), "--constraints", str(tmp_path / "rows.npz")]
    journal = tmp_path / "values.jsonl"
    assert main(["margin", *asked[1:], "--radius", "0.25", *files, "--json", str(journal)]) == 0
    # x1 falls by 1/4, x2 may rise by 1/16 only: x2 - x1 of -3/16.
    assert answers(journal)[0]["lower"] == pytest.approx(-0.1875, abs=1e-4)
    assert answers(journal)[0]["run"]["constraints"]
    np.savez(tmp_path / "far.npz", A=[[1.0, 0.0]], b=[0.25])
    far = ["--radius", "0.1", "--constraints", str(tmp_path / "far.npz")]
    capsys.readouterr()
    assert main(["margin", *asked[1:], *far, "--json", str(tmp_path / "far.jsonl")]) == 0
    assert "1 empty" in capsys.readouterr().out
    empty = answers(tmp_path / "far.jsonl")[0]
    assert (empty["verdict"], empty["lower"], empty["upper"], empty["target"]) == ("empty", "-inf", "-inf", None)
    assert main(["range", *asked[1:], *far, "--json", str(tmp_path / "range.jsonl")]) == 0
    ranges = answers(tmp_path / "range.jsonl")[0]
    assert ranges["verdict"] == "empty"
    assert ranges["ranges"][0]["least"] == ["inf", "inf"]
    for record in (empty, ranges):
        Draft202012Validator(SCHEMA).validate(record)
