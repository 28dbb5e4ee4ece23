"""`plumbline check` and `python -m verifier.checker`: one line for each proof, and the exit status."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verifier.checker.small_proofs import fully_connected, packed, ranges, statement
from verifier.cli.main import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Scores 1 and relu(x)."""
    return fully_connected(tmp_path / "small.onnx", [([[1]], [0]), ([[0, 1]], [1, 0])])


def proofs(model: Path, *radii: float) -> Path:
    """A folder with a proof for each radius; from 1 on they are wrong."""
    folder = model.parent / "proofs"
    folder.mkdir()
    for k, radius in enumerate(radii):
        lines = statement(model, [0], radius), ranges(0, [-radius], [radius]), {"goal": 1}, {"close": True}
        (folder / f"{k + 9}.proof").write_bytes(packed(*lines))
    return folder


def test_accepted(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = proofs(model, 0.25, 0.5)
    assert main(["check", str(folder), "--model", str(model), "--jobs", "2"]) == 0
    about = (
        f"sample {hashlib.sha256(bytes(8)).hexdigest()[:16]} (1 input in [-10, 10]) of class 0 against any other class"
    )
    assert capsys.readouterr().out.splitlines() == [
        f"{folder / '9.proof'}: accepted: no adversary within linf 0.25 (exact arithmetic); {about}",
        f"{folder / '10.proof'}: accepted: no adversary within linf 0.5 (exact arithmetic); {about}",
    ]


def test_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = proofs(model, 0.25, 2)
    assert main(["check", str(folder), "--model", str(model), "--arithmetic", "float", "--json"]) == 1
    good, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (good["accepted"], good["arithmetic"], good["proven"]) == (True, "float", "no adversary within linf 0.25")
    assert (bad["accepted"], bad["line"]) == (False, 4)
    assert "not closed" in bad["why"]


def test_claims_are_no_full_acceptance(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model.parent / "claimed.proof"
    path.write_bytes(packed(statement(model, [0], 2), ranges(0, [-2], [2]), {"goal": 1}, {"claim": "solver"}))
    assert main(["check", str(path), "--model", str(model)]) == 1
    assert "accepted but for 1 claim: no adversary within linf 2" in capsys.readouterr().out


def test_what_cannot_be_checked(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = proofs(model, 0.25)
    other = model.parent / "other.onnx"
    other.write_bytes(b"no model")
    empty = model.parent / "empty"
    empty.mkdir()
    for arguments in ([folder, "--model", model.parent / "none.onnx"], [empty, folder, "--model", model]):
        assert main(["check", *map(str, arguments)]) == 2
        assert "cannot be checked" in capsys.readouterr().out
    for name, why in (("none.proof", "there is no such file"), ("other.onnx", "no proof file")):
        path = model.parent / name
        assert main(["check", str(path), "--model", str(model)]) == 2
        assert f"{path}: cannot be checked: " in (said := capsys.readouterr().out)
        assert why in said
    assert main(["check", str(folder), "--model", str(other)]) == 1
    assert "another file" in capsys.readouterr().out


def test_the_module_by_itself(model: Path) -> None:
    folder = proofs(model, 0.25)
    ran = subprocess.run(
        [sys.executable, "-m", "verifier.checker", str(folder / "9.proof"), "--model", str(model)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0
    assert "accepted: no adversary within linf 0.25" in ran.stdout
