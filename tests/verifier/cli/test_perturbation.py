"""`--perturbation` of distance and verify: by hand, in records and files, as part of a run, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plumbline
from encoders.errors import OptionError
from encoders.layer_graph.graph import affine_chain
from tests.onnx_builder import to_onnx
from tests.small_files import f32
from verifier.cli.main import main
from verifier.options import Options
from verifier.question.results import PerturbedAdversary
from verifier.runs.perturbed import KINDS, Chosen, PerturbedJob

pytestmark = pytest.mark.usefixtures("quick_attacks")

# Images of 2x2: class 1 from where x2 reaches 3/4; brightness moves all, and the first pixel stops at 1.
NET = affine_chain([np.array([[0.0] * 4, [0, 1.0, 0, 0]])], [np.array([0.75, 0.0])])
X = f32([[1.0, 0.5, 0.25, 0.0], [0.0, 0.25, 0.0, 0.5]]).reshape(2, 2, 2)
HELD = f32([[1.0, 0.0, 0.0, 0.0]]).reshape(1, 2, 2)


@pytest.fixture
def call(tmp_path: Path) -> list[str]:
    np.savez(tmp_path / "x.npz", x=X)
    np.savez(tmp_path / "held.npz", x=HELD)
    return [str(to_onnx(NET, tmp_path / "net.onnx", shape=(2, 2))), "--data", str(tmp_path / "x.npz")]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda row: row["index"])


@pytest.mark.slow
def test_python_says_the_same(call: list[str], tmp_path: Path) -> None:
    found = plumbline.distances(call[0], X, perturbation="brightness").collected()
    assert main(["distance", *call, "--perturbation", "brightness", "--json", str(tmp_path / "rows.jsonl")]) == 0
    ours = [json.loads(line) for line in found.to_json().splitlines()]
    for one, theirs in zip(ours, rows_of(tmp_path / "rows.jsonl"), strict=True):
        for record in (one, theirs):
            del record["seconds"], record["attempts"][0]["seconds"]
        assert one == theirs
    assert [one["variables"] for one in ours] == [pytest.approx([0.25], abs=1e-5), pytest.approx([0.5], abs=1e-5)]
    assert all(isinstance(one.adversary, PerturbedAdversary) for one in found)
    verdicts = plumbline.verdicts(call[0], X, 0.375, perturbation="brightness").collected()
    assert [str(one.verdict) for one in verdicts] == ["falsified", "certified"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("perturbation", "distances"),
    [
        ("brightness", [0.25, 0.5]),
        ("haze", [0.5, 2 / 3]),  # (1 - v) / 2 + v = 3/4, (1 - v) / 4 + v = 3/4
        ("haze:0.5", [np.inf, np.inf]),
        ("contrast", [np.inf, np.inf]),
        ("patch:0:1:2:1", [0.25, 0.5]),
        ("patch:1:0:1:2", [np.inf, np.inf]),
        ("bias-field:0", [0.5, np.inf]),  # x2 · (1 + v), v at most 1
        ("bias-field:0:3", [0.5, 2.0]),
    ],
)
@pytest.mark.fewer(1)
def test_distances_by_hand(perturbation: str, distances: list[float], call: list[str], tmp_path: Path) -> None:
    journal = tmp_path / "rows.jsonl"
    assert main(["distance", *call, "--perturbation", perturbation, "--json", str(journal)]) == 0
    for row, distance in zip(rows_of(journal), distances, strict=True):
        assert row["verdict"] == "exact"
        assert float(row["lower"]) <= distance + 1e-9
        assert float(row["upper"]) == pytest.approx(distance, abs=1e-5)
        assert row["run"]["perturbation"] == Chosen.parse(perturbation).text
        assert (row["variables"] is None) == (distance == np.inf)
        if row["variables"] is not None:
            assert np.abs(row["variables"]).max() == row["upper"]


def test_within_a_radius(call: list[str], tmp_path: Path) -> None:
    journal = tmp_path / "rows.jsonl"
    asked = ["verify", *call, "--perturbation", "brightness", "--radius", "0.375", "--json"]
    assert main([*asked, str(journal)]) == 0
    assert [row["verdict"] for row in rows_of(journal)] == ["falsified", "certified"]


def test_another_process_is_asked_the_same() -> None:
    job = PerturbedJob(Options(), 0.5, perturbation=Chosen.parse("patch:0:1:2:3"))
    assert pickle.loads(pickle.dumps(job)).identity == job.identity
    assert job.identity["perturbation"] == "patch:0:1:2:3"


def test_files_hold_the_image_and_the_variables(call: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["distance", *call, "--samples", "0", "--perturbation", "brightness", "--out", str(out)]) == 0
    with np.load(out / "adversary-0.npz") as saved:
        (v,) = saved["variables"]
        assert saved["distance"] == v >= 0.25
        np.testing.assert_allclose(saved["adversary"], np.clip(X[0] + v, 0, 1), atol=1e-7)
        assert saved["adversary"].dtype == np.float32
        assert saved["label"] == 1
    assert (out / "adversary-0.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_another_perturbation_is_another_run(
    call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["distance", *call, "--json", str(tmp_path / "rows.jsonl")]
    assert main([*asked, "--perturbation", "brightness"]) == 0
    rows = rows_of(tmp_path / "rows.jsonl")
    assert main([*asked, "--perturbation", "brightness"]) == 0
    assert rows_of(tmp_path / "rows.jsonl") == rows
    for other in (["--perturbation", "haze"], []):
        assert main([*asked, *other]) == 2
        assert 'perturbation was "brightness"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--perturbation", "fog"], "perturbation 'fog': choose from brightness"),
        (["--perturbation", "patch:0:0:1"], "write it as patch:TOP:LEFT:HEIGHT:WIDTH"),
        (["--perturbation", "patch:0:0:1:x"], "write it as patch:TOP:LEFT:HEIGHT:WIDTH"),
        (["--perturbation", "brightness:1"], "write it as brightness"),
        (["--perturbation", "patch:0:0:3:1"], "inside the image of 2 rows and 2 columns"),
        (["--perturbation", "bias-field:-1"], "degree -1"),
        (["--perturbation", "haze:2"], "a colour inside the box"),
        (["--perturbation", "haze", "--mask", "mask.npy"], "--mask is about inputs"),
        (["--perturbation", "haze", "--scale", "scale.npy"], "--scale is about inputs"),
        (["--perturbation", "haze", "--constraints", "a.npz"], "--constraints is about inputs"),
        (["--perturbation", "haze", "--grid", "4"], "--grid is about inputs"),
        (["--perturbation", "haze", "--norm", "l0", "--count", "pixels"], "--count is about inputs"),
        (["--perturbation", "haze", "--execution", "float32"], "--execution is about inputs"),
    ],
)
def test_what_is_refused(more: list[str], words: str, call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distance", *call, *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("plumbline: ")
    assert words in line


def test_every_kind_is_read_back_from_its_text() -> None:
    for name, kind in KINDS.items():
        for count in range(kind.needed, len(kind.numbers) + 1):
            chosen = Chosen(name, tuple(range(count)))
            assert Chosen.parse(chosen.text) == chosen
    with pytest.raises(OptionError):
        Chosen.parse("")
