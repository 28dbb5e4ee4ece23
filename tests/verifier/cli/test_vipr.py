"""`plumbline vipr`: a certificate for each proof, or one line that says why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.verifier.checker.small_proofs import Line, fully_connected, packed, ranges, statement
from tests.vipr_checker import Vipr
from verifier.cli.main import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Class 1 has the score relu(x0 + x1), class 0 has 1; with three proofs beside it, the last one in l2."""
    path = fully_connected(tmp_path / "sum.onnx", [([[1], [1]], [0]), ([[0, 1]], [1, 0])])
    (tmp_path / "proofs").mkdir()
    for number, norm in ((9, "linf"), (10, "l1"), (11, "l2")):
        lines: list[Line] = [ranges(0, [-1], [1]), {"goal": 1}, {"close": True}]
        proof = packed(statement(path, [0, 0], 0.25, norm=norm), *lines)
        (tmp_path / "proofs" / f"{number}.proof").write_bytes(proof)
    return path


def test_a_folder(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = model.parent / "proofs", model.parent / "out"
    assert main(["vipr", str(folder), "--model", str(model), "--out", str(out)]) == 1
    told = capsys.readouterr()
    first, second = told.out.splitlines()
    assert first == f"{out}/9.vipr: no adversary within linf 0.25 (0.0 MB)"
    assert second.startswith(f"{out}/10.vipr: no adversary within l1 0.25")
    assert told.err == (
        f"no certificate: {folder}/11.proof: line 1: "
        "the ball of l2 has no linear form, and so no certificate: ask in linf or l1\n"
    )
    for name in ("9", "10"):
        assert Vipr((out / f"{name}.vipr").read_text()).check() == "infeasible"


def test_one_file_beside_its_proof_or_named(model: Path) -> None:
    proof = model.parent / "proofs" / "9.proof"
    assert main(["vipr", str(proof), "--model", str(model)]) == 0
    named = model.parent / "new" / "named.vipr"
    assert main(["vipr", str(proof), "--model", str(model), "--out", str(named)]) == 0
    assert named.read_text() == proof.with_suffix(".vipr").read_text()


@pytest.mark.parametrize(
    ("proofs", "out", "why"),
    [
        (["proofs/9.proof", "proofs/10.proof"], "both.vipr", "one file for 2 proofs; name a folder"),
        (["proofs/9.proof", "proofs/9.proof"], "out", "two proofs would be written to"),
        (["none.proof"], "out", "none.proof: no such file"),
    ],
)
def test_bad_usage(model: Path, capsys: pytest.CaptureFixture[str], proofs: list[str], out: str, why: str) -> None:
    paths = [str(model.parent / one) for one in proofs]
    assert main(["vipr", *paths, "--model", str(model.parent / "none.onnx")]) == 2
    assert "none.onnx: no such file" in capsys.readouterr().err
    assert main(["vipr", *paths, "--model", str(model), "--out", str(model.parent / out)]) == 2
    assert why in capsys.readouterr().err
