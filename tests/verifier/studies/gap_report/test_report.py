"""The bound-gap report: figures by hand, files that agree, resuming, stopping, and the alarm.

x1 ─►(+1) h1 ─► relu ─►(-1)─► y0 = 1 - h1⁺ - h2⁺       y1 = 0, inputs in [0, 1]²
x2 ─►(+1) h2 ─► relu ─►(-1)─┘    around x = (0.25, 0.25): L∞ 0.25 at (0.5, 0.5), L1 0.5, L2 0.25·√2
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bounds.lower import LOWER_BOUNDS, LowerBoundOptions
from bounds.lower.base import Sample
from bounds.lower.relaxations import Crown
from encoders.arrays import FloatArray
from encoders.errors import OptionError
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.onnx_builder import to_onnx
from verifier import answer as query
from verifier.cli.main import main
from verifier.runs import run as runner
from verifier.studies.gap_report.options import ReportOptions, default_bounds
from verifier.studies.gap_report.records import Kind, collected, tightness, within

EXACT = {"linf": 0.25, "l1": 0.5, "l2": 0.25 * 2**0.5}


QUICK = ("--bounds", "crown,interval", "--attacks", "fab")


def written(folder: Path) -> tuple[Path, Path]:
    graph = affine_chain([np.eye(2), np.array([[-1.0, -1.0], [0.0, 0.0]])], [np.zeros(2), np.array([1.0, 0.0])])
    model = to_onnx(graph, folder / "net.onnx")
    x = np.array([[0.25, 0.25], [0.1, 0.4], [0.9, 0.9]], dtype=np.float32)
    np.savez(folder / "data.npz", x=x, y=np.array([0, 0, 0]))  # the last one is misclassified
    return model, folder / "data.npz"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return written(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report of every bound and attack in every norm; few steps of an ascent do, on a net so small."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        quick = partial(ReportOptions, effort=LowerBoundOptions(balls=2, steps=3))
        patched.setattr("verifier.studies.gap_report.options.ReportOptions", quick)
        patched.setattr("bounds.lower.relaxations.CAP_ROUNDS", 2)
        patched.setattr("bounds.attacks.ball_search.BALLS", 1)
        patched.setattr("bounds.attacks.carlini_wagner.WEIGHTS", 3)
        patched.setattr("verifier.pages.charts.Chart.svg", lambda chart: "")  # the same charts are drawn as files
        assert report(written(folder), "--samples", "0,2", "--norm", "linf", "--norm", "l1", "--norm", "l2") == 0
    return folder / "out"


def report(files: tuple[Path, Path], *more: str) -> int:
    model, data = files
    return main(["report", str(model), "--data", str(data), "--out", str(data.parent / "out"), *more])


def test_the_sandwich_by_hand(whole: Path) -> None:
    told = json.loads((whole / "report.json").read_text())
    assert len(told["samples"]) == 6
    for sample in told["samples"]:
        if sample["index"] == 2:
            assert (sample["verdict"], sample["lower"], sample["upper"]) == ("misclassified", 0.0, 0.0)
            continue
        assert sample["upper"] == pytest.approx(EXACT[sample["norm"]], abs=2e-6)
        assert sample["verdict"] == "exact"
        wanted = {name for name in default_bounds() if Norm(sample["norm"]) in LOWER_BOUNDS[name].norms}
        assert set(sample["bounds"]) == wanted
        assert set(sample["attacks"]) == set(ReportOptions().attacks_for(Norm(sample["norm"])))
        # Both pieces that matter are linear: there even the estimate is right.
        assert sample["estimates"]["sampled-cross-lipschitz"]["distance"] == pytest.approx(sample["upper"], rel=1e-4)
        for one in sample["bounds"].values():  # no bound that is shown is above the lower side that is shown
            assert 0 <= one["distance"] <= sample["lower"] + 1e-12
        for one in sample["attacks"].values():
            assert float(one["distance"]) >= sample["upper"]
        assert sample["proven_by"] in {"search", "auto", *sample["bounds"]}
        # Both neurons are active wherever an adversary is nearest: the local gradient is exact.
        assert sample["bounds"]["crown"]["distance"] == pytest.approx(sample["upper"], rel=1e-4)


def test_the_files_agree_and_stand_alone(whole: Path) -> None:
    told = json.loads((whole / "report.json").read_text())
    with (whole / "report.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["upper"]) for line in lines] == [sample["upper"] for sample in told["samples"]]
    assert float(lines[0]["crown"]) == told["samples"][0]["bounds"]["crown"]["distance"]
    page = (whole / "report.html").read_text()
    for norm in ("L∞", "L1", "L2"):
        assert f"Distances in {norm}" in page
    for line in lines:
        assert f"{float(line['upper']):.6f}" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    for path in whole.glob("*.png"):
        assert Image.open(path).size[0] > 300
    assert len(list(whole.glob("*.png"))) == 3 * 5


def test_bounds_and_attacks_close_what_the_search_left_open(files: tuple[Path, Path]) -> None:
    # No time for a search: CROWN is exact on this net and region descent finds the nearest, so that the two meet.
    assert report(files, "--bounds", "crown", "--attacks", "region-descent", "--time-limit", "1e-9") in (0, 1)
    told = json.loads((files[1].parent / "out" / "report.json").read_text())["samples"]
    for sample in told[:2]:
        assert sample["lower"] >= sample["bounds"]["crown"]["distance"] - 1e-12 > 0.1
        assert sample["upper"] == sample["attacks"]["region-descent"]["distance"]
        assert (sample["proven_by"], sample["found_by"]) == ("crown", "region-descent")
        near = sample["upper"] - sample["lower"] <= 1e-6
        assert (sample["verdict"] == "exact") == near
    page = (files[1].parent / "out" / "report.html").read_text()
    assert ("nearest found" in page) == any(sample["verdict"] == "unresolved" for sample in told)


@pytest.mark.usefixtures("undrawn_charts")
def test_a_report_goes_on_where_it_stopped(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out = files[1].parent / "out"
    genuine = query.asked
    monkeypatch.setattr(runner, "slots_for", lambda *anything: 1)

    def interrupted(*arguments: Any) -> object:
        if arguments[5] == 1:
            raise KeyboardInterrupt
        return genuine(*arguments)

    monkeypatch.setattr("verifier.runs.job.asked", interrupted)
    assert report(files, *QUICK) == 130
    assert "2 inputs are not finished yet" in (out / "report.html").read_text()
    asked = []

    def counted(*arguments: Any) -> object:
        asked.append(arguments[5])
        return genuine(*arguments)

    monkeypatch.setattr("verifier.runs.job.asked", counted)
    assert report(files, *QUICK) == 0
    assert asked == [1, 2]
    assert "not finished" not in (out / "report.html").read_text()


@pytest.mark.usefixtures("undrawn_charts", "warm_workers")
def test_workers_measure_the_same(files: tuple[Path, Path]) -> None:
    out = files[1].parent / "out"
    assert report(files, *QUICK, "--jobs", "2") == 0
    together = json.loads((out / "report.json").read_text())["samples"]
    for path in (out / "journal").iterdir():
        path.unlink()
    assert report(files, *QUICK) == 0
    alone = json.loads((out / "report.json").read_text())["samples"]
    for one, other in zip(together, alone, strict=True):
        assert set(one["bounds"]) == (set() if one["index"] == 2 else {"crown", "interval"})
        for key in ("bounds", "attacks"):
            found, expected = ({name: held["distance"] for name, held in it[key].items()} for it in (one, other))
            assert found == pytest.approx(expected, rel=1e-6)  # sums in a batch may be in another order


def test_a_bound_that_overstates_itself_stops_the_report(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def boastful(self: Crown, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        return [np.full(len(sample.goals), np.inf) for sample in samples]

    # On the ball of the adversary itself inf is clipped to what is true; a ball beyond it shows the overstatement.
    monkeypatch.setattr(Crown, "_on_balls", boastful)
    assert report(files, "--bounds", "crown", "--attacks", "fab") == 3
    assert "crown claims" in capsys.readouterr().err


def test_a_quantised_net_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Path(__file__).parents[4] / "trainers" / "nets" / "digits-int8.onnx"
    arguments = ["report", str(net), "--data", "digits", "--samples", "0"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "ask distance or verify" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_options_are_named(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert report(files, "--bounds", "magic") == 2
    assert "bound 'magic': choose from" in capsys.readouterr().err
    assert report(files, "--norm", "l7") == 2
    assert "choose from linf, l1, l2" in capsys.readouterr().err
    with pytest.raises(OptionError, match="attack 'none'"):
        ReportOptions(attacks=("none",))


def test_shares_and_ratios_by_hand() -> None:
    assert within(np.array([0.0, 1.0, 2.0, np.inf]), np.array([0.0, 1.0, 5.0])) == pytest.approx([0.25, 0.5, 0.75])

    def line(
        index: int, verdict: str, lower: float, upper: float | str, bound: float, attack: float | str
    ) -> dict[str, object]:
        bounds, attacks = {"b": {"distance": bound, "seconds": 1.0}}, {"a": {"distance": attack, "seconds": 2.0}}
        wrong = verdict == "misclassified"
        return {
            "index": index, "verdict": verdict, "lower": lower, "upper": upper, "seconds": 0.5,
            "bounds": {} if wrong else bounds, "attacks": {} if wrong else attacks, "estimates": {},
        }  # fmt: skip

    found = collected(
        Norm.LINF,
        [
            line(0, "exact", 1.0, 1.0, 0.5, 1.0),
            line(1, "exact", 2.0, 2.0, 2.0, "inf"),
            line(2, "unresolved", 1.0, 3.0, 0.1, 3.0),  # its exact distance is unknown: in no ratio
            line(3, "misclassified", 0.0, 0.0, 0.0, 0.0),
        ],
    )
    bound, attack = found.techniques
    assert (bound.kind, attack.kind) == (Kind.BOUND, Kind.ATTACK)
    assert found.ratios(bound).tolist() == [0.5, 1.0]
    assert found.ratios(attack).tolist() == [1.0, np.inf]
    assert tightness(found, bound).found == 0.5
    assert tightness(found, attack).high == np.inf
    assert tightness(found, attack).seconds == 2.0
