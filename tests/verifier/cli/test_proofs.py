"""`--proof` writes files that `plumbline check` accepts, and says where there is none."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from verifier.cli.main import main
from verifier.proofs.proof import ProofFile
from verifier.proofs.why_none import OUT_OF_TIME

pytestmark = pytest.mark.usefixtures("quick_attacks")

NET = str(Path(__file__).parents[3] / "trainers" / "nets" / "digits-64-32-32-10.onnx")
WRONG = 54  # a sample that the network misclassifies
DIGITS = [NET, "--data", "digits", "--samples", f"0,{WRONG}"]


def test_proofs_are_written_and_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, journal = tmp_path / "proofs", tmp_path / "results.jsonl"
    assert main(["distance", *DIGITS, "--proof", str(folder), "--json", str(journal)]) == 0
    told = capsys.readouterr().out
    assert "proofs: 1, none for 1: the sample is classified wrongly" in told
    assert main(["distance", *DIGITS, "--proof", str(folder), "--json", str(journal)]) == 0
    assert "proofs: 1, none for 1: the sample is classified wrongly" in capsys.readouterr().out
    assert len(journal.read_text().splitlines()) == 2  # nothing was asked again
    records = {record["index"]: record for record in map(json.loads, journal.read_text().splitlines())}
    assert records[0]["proof"]["file"] == "0.proof"
    assert records[0]["proof"]["radius"] <= records[0]["lower"]
    assert records[WRONG]["proof"]["file"] is None
    assert main(["check", str(folder), "--model", NET]) == 0
    assert "accepted: no adversary within linf" in capsys.readouterr().out


def test_a_proof_that_is_not_there_is_looked_for_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, journal = tmp_path / "proofs", tmp_path / "results.jsonl"
    asked = ["verify", *DIGITS[:-1], "0", "--radius", "0.03", "--json", str(journal)]
    assert main(asked) == 0  # without proofs
    with monkeypatch.context() as changed:
        changed.setattr("verifier.runs.proven.written", lambda *given: ProofFile(why=OUT_OF_TIME))
        assert main([*asked, "--proof", str(folder)]) == 0
    assert "proofs: 0, none for 1: no proof was found in time" in capsys.readouterr().out
    for again in ("its time was over", "its file is gone"):
        assert main([*asked, "--proof", str(folder)]) == 0
        assert "proofs: 1" in capsys.readouterr().out, again
        (folder / "0.proof").unlink()
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["verdict"] for line in lines] == ["certified"] * 4
    with monkeypatch.context() as changed:
        changed.setattr("verifier.runs.proven.written", lambda *given: ProofFile(why="the checker refuses it"))
        for _ in range(2):
            assert main([*asked, "--proof", str(folder)]) == 0
    assert len(journal.read_text().splitlines()) == 5  # what time does not mend is left


def test_an_answer_is_not_lost_while_its_proof_is_looked_for(tmp_path: Path) -> None:
    journal = tmp_path / "results.jsonl"
    asked = ["verify", *DIGITS[:-1], "0", "--radius", "0.3", "--json", str(journal)]
    assert main(asked) == 0
    shutil.rmtree(f"{journal}.adversaries")
    assert main([*asked, "--proof", str(tmp_path / "proofs"), "--time-limit", "1e-9"]) == 0
    before, after = map(json.loads, journal.read_text().splitlines())
    assert [line["verdict"] for line in (before, after)] == ["falsified"] * 2
    assert after["upper"] == before["upper"] <= 0.3
    assert "why_open" not in after


def test_a_proof_is_held_against_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *DIGITS[:-1], "0", "--radius", "0.01", "--proof", str(tmp_path)]) == 0
    check = ["check", str(tmp_path), "--model", NET, "--data", "digits"]
    capsys.readouterr()
    assert main(check) == 0  # row 0, by the proof's name
    assert capsys.readouterr().out.strip().endswith("(64 inputs in [0, 1]) of class 2 against any other class, row 0")
    assert main([*check, "--sample", "1"]) == 1
    assert "refused: line 1: its sample is not row 1 of digits: " in capsys.readouterr().out
    assert main([*check, "--sample", "1000000"]) == 2
    assert "--sample 1000000: digits holds" in capsys.readouterr().err
    assert main([*check[:-2], "--sample", "0"]) == 2
    assert "Add --data" in capsys.readouterr().err
    (tmp_path / "0.proof").rename(tmp_path / "mine.proof")
    assert main(check) == 2
    assert "say with --sample which row" in capsys.readouterr().err


def test_a_verdict_is_proven_at_its_radius(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *DIGITS[:-1], "0", "--radius", "0.03", "--proof", str(tmp_path)]) == 0
    assert main(["check", str(tmp_path / "0.proof"), "--model", NET]) == 0
    assert "no adversary within linf 0.03" in capsys.readouterr().out


@pytest.mark.slow
def test_a_greatest_loss_is_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tmp_path / "losses.jsonl"
    asked = ["margin", *DIGITS, "--radius", "0.02", "--proof", str(tmp_path), "--json", str(journal)]
    assert main(asked) == 0
    capsys.readouterr()
    assert main(["check", str(tmp_path), "--model", NET]) == 0
    assert capsys.readouterr().out.count("accepted: ") == 2
    for record in map(json.loads, journal.read_text().splitlines()):
        statement = json.loads(gzip.decompress((tmp_path / record["proof"]["file"]).read_bytes()).split(b"\n")[0])
        margin = float.fromhex(statement["margin"])
        assert record["upper"] < margin < record["upper"] + 1e-3
        assert (statement["against"], float.fromhex(statement["radius"])) == (record["against"], 0.02)


def test_a_loss_to_chosen_targets_on_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Less than a sixteenth: the sample is the only point, and the ball a hair; the check names the rivals."""
    asked = ["margin", *DIGITS, "--radius", "0.03", "--target", "3,5", "--grid", "16", "--proof", str(tmp_path)]
    assert main(asked) == 0
    assert "proofs: 2" in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--model", NET]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [re.sub(r"-?\d+\.\d{3,}", "M", line.split("accepted: ")[1].split(" or more")[0]) for line in told] == [
        "no rival (class 3, 5) leads class 2 by M", "no rival (class 3, 5) leads class 9 by M"
    ]  # fmt: skip
    assert all(line.endswith(" against class 3, 5 as the only rivals") for line in told)


@pytest.mark.slow
def test_units_and_constraints_are_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "scale.npy", np.linspace(0.5, 2.0, 64))
    np.savez(tmp_path / "bound.npz", A=np.ones((1, 64)), b=[19.5])
    held = ["--scale", str(tmp_path / "scale.npy"), "--constraints", str(tmp_path / "bound.npz")]
    for question in (["distance"], ["margin", "--radius", "0.02"]):
        folder = tmp_path / question[0]
        assert main([*question, *DIGITS[:-1], "0", *held, "--proof", str(folder)]) == 0
        assert "proofs: 1" in capsys.readouterr().out
        assert main(["check", str(folder), "--model", NET]) == 0
        assert ", in units of a scale, under 1 constraint (exact arithmetic)" in capsys.readouterr().out


def test_on_a_grid_they_are_about_the_real_ball(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two sixteenths are an adversary's distance: the ball of one sixteenth, and a hair, holds none."""
    asked = ["distance", *DIGITS[:-1], "17", "--grid", "16", "--proof", str(tmp_path)]
    assert main(asked) == 0
    assert "proofs: 1" in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--model", NET]) == 0
    told = re.search(r"no adversary within linf ([\d.]+); one at ([\d.]+) ", capsys.readouterr().out)
    assert told is not None
    radius, distance = map(float, told.groups())
    assert distance - 1 / 16 < radius < distance - 1 / 16 + 1e-6


@pytest.mark.parametrize(
    "question",
    [["distance", "--norm", "l0"], ["verify", "--radius", "0.1", "--execution", "float32"]],
)
def test_what_has_no_rules_is_refused_first(
    tmp_path: Path, question: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([question[0], *DIGITS, *question[1:], "--proof", str(tmp_path / "proofs")]) == 2
    assert capsys.readouterr().err.startswith("plumbline: no proofs: ")
    assert not (tmp_path / "proofs").exists()
