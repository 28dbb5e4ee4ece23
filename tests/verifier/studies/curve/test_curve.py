"""Robustness curves: every number by hand from journals with known distances, and the whole command on small nets."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainers
from encoders.errors import OptionError
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.onnx_builder import to_onnx
from verifier.cli.main import main
from verifier.options import Options
from verifier.question.model import load
from verifier.runs import run as runner
from verifier.runs.samples import load_samples
from verifier.studies.comparison.bands import RULE_OF_THREE, Resampling
from verifier.studies.curve.measure import collected, run_of
from verifier.studies.curve.options import CurveOptions
from verifier.studies.curve.told import curves, table

INT8 = str(Path(trainers.__file__).parent / "nets" / "digits-int8.onnx")
LINE = np.array([[0.1], [0.2], [0.3], [0.9]], np.float32)


def threshold_net(folder: Path, name: str, threshold: float) -> Path:
    """Class 1 from the threshold on: the distance of x is |x - threshold| in every norm."""
    graph = affine_chain([np.array([[0.0], [1.0]])], [np.array([0.0, -threshold])])
    return to_onnx(graph, folder / f"{name}.onnx")


def data(folder: Path, labels: Sequence[int] | None = (0, 0, 0, 0)) -> str:
    arrays: dict[str, Any] = {"x": LINE} if labels is None else {"x": LINE, "y": np.array(labels)}
    np.savez(folder / "line.npz", **arrays)
    return str(folder / "line.npz")


def line(index: int, verdict: str, lower: float, upper: float | str, **more: Any) -> dict[str, Any]:
    """One sample's line of a journal, as far as a curve reads it."""
    return {"index": index, "verdict": verdict, "lower": lower, "upper": upper, **more}


KNOWN = (
    line(0, "misclassified", 0.0, 0.0, attack=0.0),
    line(1, "exact", 0.2, 0.2, attack=0.25),
    line(2, "unresolved", 0.1, 0.4, attack="inf"),
    line(3, "unresolved", 0.3, "inf", attack=0.6),
)


@pytest.fixture
def as_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a journal holds is told as it is, open samples too."""
    monkeypatch.setattr("verifier.studies.curve.measure.is_unfinished", lambda record: False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def journal(path: Path, net: Path, source: str, question: Options, attack: str | None = None) -> None:
    """The known distances as a journal that the command resumes."""
    model = load(net)
    run = run_of(model, load_samples(source, model.input_shape, model.classes), question, attack)
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(one | {"run": run.record}) + "\n" for one in KNOWN))


def test_every_number_of_the_file_is_counted_from_the_journal(tmp_path: Path, as_known: None) -> None:
    net, source = threshold_net(tmp_path, "net", 0.4), data(tmp_path)
    journal(tmp_path / "out" / "journal" / "net-l2.jsonl", net, source, Options(norm=Norm.L2), "fab")
    flags = ["--data", source, "--norm", "l2", "--radius", "0.15,0.2", "--attack", "fab"]
    assert main(["curve", str(net), *flags, "--out", str(tmp_path / "out")]) == 1
    found = rows(tmp_path / "out" / "curve-l2.csv")
    radii = [float(row["radius"]) for row in found]
    assert radii[0] == 0.0
    assert {0.15, 0.2} <= set(radii)
    assert radii[-1] == pytest.approx(0.4, rel=0.02)  # the largest end that is finite, but for a quantile
    for row, radius in zip(found, radii, strict=True):
        assert (row["network"], row["samples"]) == ("net", "4")
        for column, distances in (
            ("low", [0.0, 0.2, 0.1, 0.3]), ("high", [0.0, 0.2, 0.4, np.inf]), ("attack", [0.0, 0.25, np.inf, 0.6]),
        ):  # fmt: skip
            assert float(row[column]) == sum(one > radius for one in distances) / 4
        # Four samples show little: the rule of three alone allows three quarters on both sides.
        assert float(row["band_low"]) <= max(0.0, float(row["low"]) - RULE_OF_THREE / 4)
        assert float(row["band_high"]) >= min(1.0, float(row["high"]) + RULE_OF_THREE / 4)
    ET.parse(tmp_path / "out" / "curve-l2.svg")
    assert (tmp_path / "out" / "curve-l2.png").read_bytes().startswith(b"\x89PNG")


def test_bands_hold_the_curve_and_narrow_with_samples() -> None:
    widths = []
    for count in (100, 900):
        records = [line(k, "exact", (k + 1) / count, (k + 1) / count) for k in range(count)]
        (one,) = curves([collected("net", Norm.L2, records)], (0.5,), Resampling(200, 0.95, 0)).curves
        middle = int(np.searchsorted(one.radii, 0.5))
        assert one.band[0][middle] < one.low[middle] == one.high[middle] < one.band[1][middle]
        widths.append(one.band[1][middle] - one.band[0][middle])
    assert widths[0] > 2 * widths[1]  # a ninth of the samples, three times the standard error


def test_the_table_tells_the_radii_that_are_given_or_round_ones() -> None:
    found = [collected("net", Norm.L2, KNOWN)]
    told = table(curves(found, (0.2,), Resampling(50, 0.95, 0)))
    assert told.header == ("network", "at 0", "at 0.2", "open samples")
    assert [cell.split(" (")[0] for cell in told.rows[0]] == ["net", "75.0%", "25.0% to 50.0%", "2 of 4"]
    assert curves(found, (), Resampling(50, 0.95, 0)).told == pytest.approx(
        (0.0, 0.08, 0.16, 0.24, 0.32, 0.4), abs=6e-3
    )


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_two_models_and_no_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nets = [str(threshold_net(tmp_path, name, at)) for name, at in (("near", 0.4), ("far", 0.6))]
    source, out = data(tmp_path, None), tmp_path / "out"
    assert main(["curve", *nets, "--data", source, "--radius", "linf:0.25", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "share that keeps its class of 4 samples" in told
    assert "no labels are known" in told
    low = {row["network"]: float(row["low"]) for row in rows(out / "curve-linf.csv") if row["radius"] == "0.25"}
    assert low == {"near": 0.5, "far": 1.0}  # of 0.3, 0.2, 0.1, 0.5 and of 0.5, 0.4, 0.3, 0.3


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_a_cut_run_goes_on_and_another_question_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [str(threshold_net(tmp_path, "net", 0.4)), "--data", data(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["curve", *flags, "--attack", "fab"]) == 0
    before = (tmp_path / "out" / "curve-linf.csv").read_text()
    asked: list[int] = []
    true = runner.outcomes

    def counted(*arguments: Any) -> object:
        asked.extend(arguments[3])
        return true(*arguments)

    monkeypatch.setattr("verifier.runs.journalled.outcomes", counted)
    held = tmp_path / "out" / "journal" / "net-linf.jsonl"
    held.write_bytes(held.read_bytes()[:-30])  # as a crash leaves it
    assert main(["curve", *flags, "--attack", "fab"]) == 0
    assert len(asked) == 1
    assert (tmp_path / "out" / "curve-linf.csv").read_text() == before
    assert {row["attack"] for row in rows(tmp_path / "out" / "curve-linf.csv")} == {"0.25", "0.5", "0.75"}
    capsys.readouterr()
    assert main(["curve", *flags]) == 2
    assert "attack was" in capsys.readouterr().err


def test_what_cannot_be_drawn_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, source = str(threshold_net(tmp_path, "net", 0.4)), data(tmp_path)
    for flags, named in (
        ([net, net, "--data", source], "called net"),
        ([net, "--data", source, "--norm", "l0"], "l0"),
        ([net, "--data", source, "--radius", "l2:0.1"], "radius l2:0.1"),
        ([net, "--data", source, "--attack", "magic"], "magic"),
        ([net, "--data", source, "--samples", "0:9"], "4 samples"),
        ([net, "--data", "digits", "--split", "all"], "all"),
        ([INT8, "--data", "digits", "--grid", "16", "--attack", "fab"], "quantised"),
    ):
        assert main(["curve", *flags, "--out", str(tmp_path / "out")]) == 2
        assert named in capsys.readouterr().err
    with pytest.raises(OptionError):
        CurveOptions(level=1.0)
