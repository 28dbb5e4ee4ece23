"""`plumbline verify-property` and `vnncomp`, on a net of one neuron: y = |x|."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from encoders.layer_graph.graph import affine_chain
from tests.onnx_builder import to_onnx
from verifier.cli.main import main

ABSOLUTE = affine_chain([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])
BOX = "(declare-const X_0 Real) (declare-const Y_0 Real) (assert (>= X_0 -2)) (assert (<= X_0 1))"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return to_onnx(ABSOLUTE, tmp_path / "absolute.onnx")


def written(folder: Path, condition: str) -> Path:
    path = folder / "property.vnnlib"
    path.write_text(f"{BOX} (assert {condition})")
    return path


@pytest.mark.parametrize(
    ("condition", "word", "status"),
    [("(>= Y_0 2)", "sat", 0), ("(>= Y_0 2.001)", "unsat", 0), ("(<= Y_0 -0.001)", "unsat", 0), ("(> Y_0 2)", "", 1)],
)
def test_the_first_word_is_the_answer(
    condition: str, word: str, status: int, net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = "60" if word else "0.5"
    given = ["verify-property", str(net), str(written(tmp_path, condition)), "--time-limit", limit]
    assert main(given) == status
    said = capsys.readouterr().out.split()
    assert said[0] == word or (not word and said[0] in ("timeout", "unknown"))


def test_a_witness_is_written_to_the_last_digit(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked, found = written(tmp_path, "(and (>= Y_0 0.5) (>= X_0 0.5) (<= X_0 0.5))"), tmp_path / "found.txt"
    assert main(["verify-property", str(net), str(asked), "--witness", str(found)]) == 0
    assert found.read_text() == "((X_0 0.5)\n (Y_0 0.5))\n"
    assert "X_0" not in capsys.readouterr().out


TWO = (
    "(vnnlib-version <2.0>)(declare-network f (declare-input A float32 [1]) (declare-output B float32 [1]))"
    "(declare-network g {} (declare-input C float32 [1]) (declare-output D float32 [1]))"
    "(assert (and (>= A[0] -2.0) (<= A[0] -2.0) (== A[0] C[0]) (>= (+ B[0] D[0]) 4.0)))"
)


def test_networks_are_named_and_their_witness_is_in_the_form_of_the_property(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, found = tmp_path / "two.vnnlib", tmp_path / "found.txt"
    query.write_text(TWO.format("(isomorphic-to f)"))
    given = ["verify-property", str(net), str(query), "--witness", str(found)]
    assert main([*given, "--network", f"g={net}"]) == 0
    tensors = {"A": -2.0, "B": 2.0, "C": -2.0, "D": 2.0}
    assert found.read_text() == "".join(f"{name} float32 [1]\n{value}\n" for name, value in tensors.items())
    assert capsys.readouterr().out.startswith("sat ")
    for more in ([], ["--network", f"f={net}"], ["--network", f"h={net}"], ["--witness-version", "1.0"]):
        assert main([*given, *more]) == 2
    query.write_text(TWO.format("(equal-to f)"))
    assert main(given) == 0
    assert main([*given, "--network", f"g={net}"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.startswith("plumbline: ") for line in told] == [True] * 5
    with pytest.raises(SystemExit):
        main([*given, "--network", "g"])


def test_a_witness_in_the_form_of_the_other_version(net: Path, tmp_path: Path) -> None:
    query, found = written(tmp_path, "(and (>= Y_0 0.5) (>= X_0 0.5) (<= X_0 0.5))"), tmp_path / "found.txt"
    assert main(["verify-property", str(net), str(query), "--witness", str(found), "--witness-version", "2.0"]) == 0
    assert found.read_text() == "X real [1]\n0.5\nY real [1]\n0.5\n"


def test_the_calls_of_the_competition(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked, results = written(tmp_path, "(>= Y_0 3)"), tmp_path / "results.txt"
    packed = tmp_path / "absolute.onnx.gz"
    packed.write_bytes(gzip.compress(net.read_bytes()))
    assert main(["vnncomp", "install", "v1"]) == 0
    assert main(["vnncomp", "prepare", "v1", "test", str(packed), str(asked)]) == 0
    assert main(["vnncomp", "run", "v1", "test", str(packed), str(asked), str(results), "10"]) == 0
    assert results.read_text() == "unsat\n"
    assert main(["vnncomp", "run", "v2", "test", str(net), str(asked), str(results), "10"]) == 2
    assert main(["vnncomp", "run", "v1", "test", str(net)]) == 2
    assert main(["vnncomp", "run", "v1", "test", str(net), str(asked), str(results), "soon"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.startswith("plumbline: ") for line in told] == [True] * 3
