"""`plumbline margin` and `plumbline range`: rows, journal, saved inputs, exit statuses, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import SolverError, SoundnessError
from tests.onnx_builder import to_onnx
from tests.verifier.test_margin_answer import VALLEY
from verifier.cli.main import main
from verifier.cli.parser import parse
from verifier.margin_answer import margin_asked

X = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]], dtype=np.float32)


@pytest.fixture
def net(tmp_path: Path) -> str:
    return str(to_onnx(VALLEY, tmp_path / "valley.onnx"))


@pytest.fixture
def data(tmp_path: Path) -> str:
    np.savez(tmp_path / "data.npz", x=X, y=np.array([0, 0, 2]))
    return str(tmp_path / "data.npz")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run, check status 2 and one single line on stderr, and return that line."""
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = int(str(exit_.code))
    error = capsys.readouterr().err
    assert status == 2, error
    assert error.count("\n") == 1
    return error


# Class 2 leads class 0 by 1/2 - relu(x1 - x2), class 1 leads it by x2 - x1; sample 1 has the label 0, not its class.
LOSSES = [(0.2, 2), (0.7, 1), (-0.3, 0)]


def test_margins_as_rows_and_records(net: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, out = tmp_path / "margins.jsonl", tmp_path / "out"
    asked = ["margin", net, "--data", data, "--radius", "0.1", "--json", str(journal), "--out", str(out)]
    assert main([*asked, "--each"]) == 0
    shown = capsys.readouterr().out
    found = sorted(lines(journal), key=lambda line: line["index"])
    assert [line["index"] for line in found] == [0, 1, 2]
    for line, (loss, target) in zip(found, LOSSES, strict=True):
        assert line["verdict"] == "exact"
        assert line["lower"] - 1e-7 <= loss <= line["upper"] + 1e-7
        assert line["upper"] - line["lower"] <= 1e-4
        assert line["against"] == line["label"]
        assert len(line["by_target"]) == 2
        assert max(lower for lower, _ in line["by_target"].values()) == line["lower"]
        if line["index"] < 2:
            assert line["target"] == target
        with np.load(out / f"worst-{line['index']}.npz") as arrays:
            assert np.abs(arrays["adversary"].astype(np.float64) - X[line["index"]]).max() <= 0.1
            assert float(np.delete(arrays["scores"], line["label"]).max() - arrays["scores"][line["label"]]) >= (
                line["lower"] - 1e-6
            )
    assert "3 samples: 3 exact" in shown
    assert shown.splitlines()[0].split() == [
        "sample", "label", "class", "verdict", "lower", "upper", "target", "seconds", "engine", "basis"
    ]  # fmt: skip


def test_a_second_run_resumes_and_another_question_is_refused(
    net: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "margins.jsonl"
    asked = ["margin", net, "--data", data, "--json", str(journal)]
    assert main([*asked, "--radius", "0.1", "--samples", "0:2"]) == 0
    before, seen = journal.read_bytes(), []

    def counting(*given: Any) -> Any:
        seen.append(given[5])
        return margin_asked(*given)

    monkeypatch.setattr("verifier.runs.greatest_values.margin_asked", counting)
    assert main([*asked, "--radius", "0.1"]) == 0
    assert seen == [2]
    assert journal.read_bytes().startswith(before)
    capsys.readouterr()
    assert "radius was 0.1, now 0.2" in refused(capsys, *asked, "--radius", "0.2")
    assert "each was false, now true" in refused(capsys, *asked, "--radius", "0.1", "--each")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_processes_find_the_same(net: str, data: str, tmp_path: Path) -> None:
    found = []
    for jobs in ("1", "2"):
        journal = tmp_path / f"{jobs}.jsonl"
        assert main(["margin", net, "--data", data, "--radius", "0.1", "--jobs", jobs, "--json", str(journal)]) == 0
        found.append({line["index"]: (line["lower"], line["upper"]) for line in lines(journal)})
    assert found[0] == found[1]


def failing(error: Exception) -> Any:
    async def raising(*given: Any) -> Any:
        raise error

    return raising


def test_exit_statuses(
    net: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["margin", net, "--data", data, "--radius", "0.4", "--samples", "0", "--json", str(tmp_path / "a.jsonl")]
    monkeypatch.setattr("verifier.greatest_value.GreatestValue._decide", failing(AssertionError("no time for it")))
    monkeypatch.setattr("verifier.greatest_value.GreatestValue._bound", lambda self: None)
    assert main([*asked, "--time-limit", "1e-6"]) == 1
    assert lines(tmp_path / "a.jsonl")[0]["upper"] == "inf"
    monkeypatch.undo()
    place = "verifier.runs.greatest_values.margin_asked"
    monkeypatch.setattr(place, failing(SolverError("out of memory")))
    assert main([*asked[:-2]]) == 2
    monkeypatch.setattr(place, failing(SoundnessError("soundness alarm: two proven facts")))
    monkeypatch.chdir(tmp_path)
    assert main([*asked[:-2]]) == 3
    assert json.loads((tmp_path / "alarm-0.json").read_text())["run"]["command"] == "margin"
    monkeypatch.setattr(place, failing(KeyboardInterrupt()))  # type: ignore[arg-type]
    assert main([*asked[:-2]]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_ranges_of_every_output_over_the_whole_box(
    net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal, out = tmp_path / "ranges.jsonl", tmp_path / "out"
    assert main(["range", net, "--json", str(journal), "--out", str(out)]) == 0
    (found,) = lines(journal)
    expected = [(0.0, 1.0), (0.0, 1.0), (0.5, 0.5)]
    for one, (least, greatest) in zip(found["ranges"], expected, strict=True):
        assert one["least"][0] - 1e-7 <= least <= one["least"][1] + 1e-7
        assert one["greatest"][0] - 1e-7 <= greatest <= one["greatest"][1] + 1e-7
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:4]] == ["y0", "y1", "y2"]
    assert (out / "highest-0-0.npz").is_file()
    assert (out / "lowest-1-0.npz").is_file()


def test_a_combination_around_samples(net: str, data: str, tmp_path: Path) -> None:
    journal = tmp_path / "ranges.jsonl"
    asked = ["range", net, "--data", data, "--samples", "0,2", "--radius", "0.1", "--output-row", "-1,1,0"]
    assert main([*asked, "--json", str(journal)]) == 0
    found = {line["index"]: line["ranges"][0] for line in lines(journal)}
    assert found[0]["least"][1] == pytest.approx(-0.7, abs=2e-5)
    assert found[2]["greatest"][0] == pytest.approx(0.2, abs=2e-5)


def test_arguments_by_hand() -> None:
    arguments = parse(["range", "m.onnx", "--output-row", "-1,2", "--output-row", "1,0"])
    assert arguments.output_row == [(-1.0, 2.0), (1.0, 0.0)]
    assert parse(["margin", "m", "--data", "d", "--radius", "1"]).tolerance == 1e-4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["margin", "--radius", "0.1", "--norm", "l0"], "l0"),
        (["margin", "--radius", "-1"], "radius"),
        (["margin"], "--radius"),
        (["margin", "--radius", "0.1", "--engine", "steps"], "steps"),
        (["margin", "--radius", "0.1", "--target", "9"], "target 9"),
        (["range", "--output-row", "1,0"], "each of the 3 outputs"),
        (["range", "--output-row", "a"], "'a' is no combination"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    arguments: list[str], named: str, net: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in refused(capsys, arguments[0], net, "--data", data, *arguments[1:])


def test_a_radius_needs_samples(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--data" in refused(capsys, "range", net, "--radius", "0.1")
