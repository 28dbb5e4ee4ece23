"""`transfer --exact`, `universal --exact` and `difference`: rows, journals, files, statuses, and errors before work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import verifier.several_networks
from encoders.errors import SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.onnx_builder import to_onnx
from tests.small_files import f32
from verifier.cli.main import main
from verifier.several_networks import JointDistance

pytestmark = pytest.mark.usefixtures("quick_attacks")

# Images of 2x2: y0 - y1 = x1 - 1/2 and x2 - 1/2.
FIRST = affine_chain([np.array([[1.0, 0, 0, 0], [0.0] * 4])], [np.array([-0.5, 0.0])])
SECOND = affine_chain([np.array([[0, 1.0, 0, 0], [0.0] * 4])], [np.array([-0.5, 0.0])])
X = f32([[0.75, 0.625, 0.5, 0.5], [0.875, 0.75, 0.5, 0.5], [0.25, 0.75, 0.0, 0.0]]).reshape(3, 2, 2)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    data, wide = tmp_path / "x.npz", tmp_path / "wide.npz"
    np.savez(data, x=X, y=np.array([0, 0, 1]))
    np.savez(wide, x=2 * X)
    first, second = (
        to_onnx(graph, tmp_path / f"{name}.onnx", shape=(2, 2)) for name, graph in (("a", FIRST), ("b", SECOND))
    )
    return {"a": str(first), "b": str(second), "data": str(data), "wide": str(wide)}


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_transfer(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, out = tmp_path / "rows.jsonl", tmp_path / "out"
    call = ["transfer", files["a"], files["b"], "--data", files["data"], "--samples", "0:2", "--norm", "l1", "--exact"]
    call += ["--json", str(journal), "--out", str(out)]
    assert main(call) == 0
    shown = capsys.readouterr().out
    assert [word for word in ("0.375", "0.625", "2 exact") if word not in shown] == []
    rows = rows_of(journal)
    assert [(row["index"], row["label"], row["classes"], row["fooled"]) for row in rows] == [
        (0, 0, [0, 0], [1, 1]), (1, 0, [0, 0], [1, 1]),
    ]  # fmt: skip
    assert [row["lower"] for row in rows] == pytest.approx([0.375, 0.625], rel=1e-5)
    with np.load(out / "perturbation-0.npz") as saved:
        assert Norm.L1.length(saved["perturbation"].reshape(-1)) == saved["distance"] == rows[0]["upper"]
        assert (saved["originals"] == X[:1]).all()
        assert saved["witnesses"].reshape(-1, 4)[0, :2].max() < 0.5
    assert (out / "perturbation-0.png").read_bytes().startswith(b"\x89PNG")
    assert main(call) == 0  # resumed
    assert rows_of(journal) == rows
    assert main([*call[:-4], "--json", str(journal), "--margin", "0.1"]) == 2
    assert "another run" in capsys.readouterr().err


def test_universal(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, out = tmp_path / "rows.jsonl", tmp_path / "out"
    call = ["universal", files["a"], "--data", files["data"], "--exact", "--json", str(journal), "--out", str(out)]
    assert main([*call, "--samples", "0,1"]) == 0
    assert "0.375" in capsys.readouterr().out
    (row,) = rows_of(journal)
    assert (row["samples"], row["classes"], row["fooled"]) == ([0, 1], [0, 0], [1, 1])
    with np.load(out / "perturbation-0.npz") as saved:
        assert saved["witnesses"].shape == (2, 2, 2)
        assert (saved["witnesses"][:, 0, 0] < 0.5).all()
    # The third asks for the opposite: nothing fools all.
    assert main([*call[:5], "--samples", "0:3"]) == 0
    assert "inf" in capsys.readouterr().out


def test_difference(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, out = tmp_path / "rows.jsonl", tmp_path / "out"
    call = ["difference", files["a"], files["b"], "--out", str(out), "--json"]
    assert main([*call, str(journal), "--data", files["data"], "--samples", "0,2", "--radius", "0.125"]) == 0
    assert "2 exact" in capsys.readouterr().out
    rows = rows_of(journal)
    assert [row["output"] for row in rows] == [0, 0]
    assert [row["lower"] for row in rows] == pytest.approx([0.375, 0.75], rel=1e-5)
    with np.load(out / "difference-2.npz") as saved:
        assert abs(np.subtract(*saved["scores"])).max() == pytest.approx(rows[1]["lower"])
        assert abs(saved["worst"] - saved["original"]).max() <= 0.125
    assert (out / "difference-2.png").is_file()
    assert main([*call, str(tmp_path / "box.jsonl")]) == 0
    assert rows_of(tmp_path / "box.jsonl")[0]["upper"] == pytest.approx(1.0, rel=1e-5)


def test_open_rows_and_alarms(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["transfer", files["a"], files["b"], "--data", files["data"], "--samples", "0", "--exact"]
    found = verifier.several_networks.transfer_distance([files["a"], files["b"]], X[0], time_limit=1e-9)
    assert isinstance(found, JointDistance)
    if found.verdict == "unresolved":
        assert main([*call, "--time-limit", "1e-9"]) == 1

    def alarmed(*given: object, **more: object) -> None:
        raise SoundnessError("two facts contradict each other")

    monkeypatch.setattr("verifier.runs.several_networks.transfer_asked", alarmed)
    assert main([*call, "--out", str(tmp_path)]) == 3
    assert "trust nothing of this run" in capsys.readouterr().err
    told = json.loads((tmp_path / "alarm-0.json").read_text())
    assert told["model"] == f"{files['a']}, {files['b']}"
    assert len(told["run"]["models"]) == 2


def test_what_is_refused_before_any_work(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, data = files["a"], files["b"], ["--data", files["data"]]
    for call, said in (
        (["transfer", a, b, *data, "--json", "rows"], "--json is about proofs"),
        (["transfer", a, b, *data, "--exact", "--factor", "2"], "--factor is about attacks"),
        (["transfer", a, a, *data, "--exact"], "the same model twice"),
        (["transfer", a, b, *data, "--exact", "--norm", "l0"], "norm l0"),
        (["transfer", a, b, "--data", files["wide"], "--exact"], "outside the box"),
        (["universal", a, *data], "--radius R"),
        (["universal", a, *data, "--radius", "0.1", "--time-limit", "3"], "--time-limit is about proofs"),
        (["universal", a, *data, "--exact", "--unseen", "2"], "--unseen is about attacks"),
        (["universal", a, *data, "--exact", "--steps", "2"], "--steps is about attacks"),
        (["universal", a, *data, "--exact", "--time-limit", "-1"], "time_limit"),
        (["difference", a, b, "--radius", "0.1"], "--radius is about samples"),
        (["difference", a, b, "--samples", "0"], "--samples is about samples"),
        (["difference", a, b, *data, "--radius", "-1"], "radius"),
        (["difference", a, str(tmp_path / "none.onnx")], "none.onnx"),
    ):
        assert main(call) == 2
        error = capsys.readouterr()
        assert said in error.err, call
        assert (error.err.count("\n"), error.out) == (1, ""), call
