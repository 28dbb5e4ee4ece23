"""The bound-gap report: figures by hand, files that agree, resuming, stopping, and the alarm.

x1 ─►(+1) h1 ─► relu ─►(-1)─► y0 = 1 - h1⁺ - h2⁺       y1 = 0, inputs in [0, 1]²
x2 ─►(+1) h2 ─► relu ─►(-1)─┘    around x = (0.25, 0.25): L∞ 0.25 at (0.5, 0.5), L1 0.5, L2 0.25·√2
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
from collections.abc import Sequence
from decimal import ROUND_CEILING
from functools import partial
from html import unescape
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
from encoders.files import one_writer
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.onnx_builder import to_onnx
from verifier import answer as query
from verifier.cli.main import main
from verifier.pages.wording import in_decimals
from verifier.runs import run as runner
from verifier.runs.job import Job
from verifier.studies.gap_report.options import ReportOptions, default_bounds
from verifier.studies.gap_report.records import Kind, best, collected, tightness, within
from verifier.studies.wilson import Share

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
        patched.setattr("bounds.attacks.carlini_wagner_linf.THRESHOLDS", 3)
        patched.setattr("bounds.attacks.lbfgs.WEIGHTS", 3)
        patched.setattr("bounds.attacks.square.LONGER", 2)
        patched.setattr("verifier.pages.drawn_chart.Chart.svg", lambda chart: "")  # the same charts are drawn as files
        assert report(written(folder), "--samples", "0,2", "--norm", "linf", "--norm", "l1", "--norm", "l2") == 0
    return folder / "out"


def report(files: tuple[Path, Path], *more: str) -> int:
    model, data = files
    return main(["report", str(model), "--data", str(data), "--out", str(data.parent / "out"), *more])


def said(out: Path) -> str:
    """The page as it is read: no tags, and texts as they were before they were escaped."""
    return unescape(re.sub(r"<[^>]*>", "", (out / "report.html").read_text()))


@pytest.mark.slow
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
        assert sample["left_out"] == {}
        with np.load(whole / sample["adversary"]) as held:  # beside the page, and as near as it says
            moved = held["adversary"].astype(float) - held["original"]
            assert Norm(sample["norm"]).length(moved.reshape(1, -1))[0] == pytest.approx(sample["upper"], rel=1e-6)
        assert sample["proven_by"] in {"search", "auto", *sample["bounds"]}
        # Both neurons are active wherever an adversary is nearest: the local gradient is exact.
        assert sample["bounds"]["crown"]["distance"] == pytest.approx(sample["upper"], rel=1e-4)


@pytest.mark.slow
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
        assert f"<td>{in_decimals(float(line['upper']), 6, ROUND_CEILING) if line['basis'] else '0'}</td>" in page
    assert not re.findall(r'src="(?!data:)|<link|url\((?!#)', page)
    for href in re.findall(r'<a href="([^"]*)"', page):
        assert (whole / href).is_file()
    for path in whole.glob("*.png"):
        assert Image.open(path).size[0] > 300
    assert len(list(whole.glob("*.png"))) == 3 * 4
    with (whole / "curves.csv").open() as file:
        points = [row for row in csv.DictReader(file) if row["norm"] == "l1"]
    for point in points:  # the two inputs: one at 0.5 in L1, one wrong as it is
        assert float(point["proven"]) == (0.5 if float(point["radius"]) < 0.5 - 1e-6 else 0.0)
        assert float(point["interval_low"]) <= float(point["proven"]) <= float(point["interval_high"])


@pytest.mark.usefixtures("undrawn_charts")
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


@pytest.mark.slow
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
    stopped = (out / "report.html").read_text()
    assert "2 inputs are not finished yet (1, 2)" in stopped
    assert re.search(r"missing samples</td>\s*<td>L∞: 1, 2 \(2 of 3\)", stopped)
    assert json.loads((out / "report.json").read_text())["missing"] == {"linf": [1, 2]}
    asked = []

    def counted(*arguments: Any) -> object:
        asked.append(arguments[5])
        return genuine(*arguments)

    monkeypatch.setattr("verifier.runs.job.asked", counted)
    assert report(files, *QUICK) == 0
    assert asked == [1, 2]
    assert "not finished" not in (out / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts", "warm_workers")
def test_workers_measure_the_same(files: tuple[Path, Path]) -> None:
    out = files[1].parent / "out"
    assert report(files, *QUICK, "--jobs", "2") == 0
    together = json.loads((out / "report.json").read_text())["samples"]
    for path in (out / "journal").glob("*.jsonl"):
        path.unlink()
    assert report(files, *QUICK) == 0
    alone = json.loads((out / "report.json").read_text())["samples"]
    for one, other in zip(together, alone, strict=True):
        assert set(one["bounds"]) == (set() if one["index"] == 2 else {"crown", "interval"})
        for key in ("bounds", "attacks"):
            found, expected = ({name: held["distance"] for name, held in it[key].items()} for it in (one, other))
            assert found == pytest.approx(expected, rel=1e-6)  # sums in a batch may be in another order


@pytest.mark.usefixtures("undrawn_charts")
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
            line(2, "unresolved", 1.0, 3.0, 0.1, 3.0),
            line(3, "misclassified", 0.0, 0.0, 0.0, 0.0),
        ],
    )
    bound, attack = found.techniques
    assert (bound.kind, attack.kind) == (Kind.BOUND, Kind.ATTACK)
    low, high = found.ratios(bound)  # of the third the exact distance lies in [1, 3]
    assert low.tolist() == [0.5, 1.0, pytest.approx(0.1 / 3)]
    assert high.tolist() == [0.5, 1.0, 0.1]
    low, high = found.ratios(attack)
    assert low.tolist() == [1.0, np.inf, 1.0]
    assert high.tolist() == [1.0, np.inf, 3.0]
    assert tightness(found, bound).found == Share(1, 1, 3)
    assert tightness(found, attack).found == Share(1, 2, 3)  # the third may be the nearest, or three times too far
    assert tightness(found, attack).high == np.inf
    assert tightness(found, attack).seconds == 2.0
    assert found.robust(1.0) == Share(1, 2, 4)  # the second; the third perhaps; the first has one at 1


def test_an_open_sample_of_which_nothing_is_proven_has_ratios() -> None:
    record = {
        "index": 0, "verdict": "unresolved", "lower": 0.0, "upper": 2.0, "seconds": 1.0, "estimates": {},
        "bounds": {"b": {"distance": 0.0, "seconds": 1.0}}, "attacks": {"a": {"distance": 2.0, "seconds": 1.0}},
    }  # fmt: skip
    found = collected(Norm.LINF, [record])
    bound, attack = found.techniques
    assert [side.tolist() for side in found.ratios(bound)] == [[0.0], [1.0]]
    assert [side.tolist() for side in found.ratios(attack)] == [[1.0], [np.inf]]
    assert best(found, Kind.BOUND) is bound


def test_a_technique_that_did_not_run_says_what_it_can_without_running() -> None:
    def record(index: int, **bounds: float) -> dict[str, object]:
        held = {name: {"distance": distance, "seconds": 1.0} for name, distance in bounds.items()}
        return {
            "index": index, "verdict": "exact", "lower": 1.0, "upper": 1.0, "seconds": 1.0, "estimates": {},
            "bounds": held, "attacks": held,
        }  # fmt: skip

    found = collected(Norm.LINF, [record(0, a=1.0), record(1, b=1.0)])
    by_name = {(one.name, one.kind): one for one in found.techniques}
    assert by_name["a", Kind.BOUND].distance.tolist() == [1.0, 0.0]
    assert by_name["b", Kind.ATTACK].distance.tolist() == [np.inf, 1.0]
    assert tightness(found, by_name["b", Kind.BOUND]).found == Share(1, 1, 1)


@pytest.mark.parametrize(
    ("farthest", "expected"), [(0.11, (0.02, 0.04, 0.06, 0.08, 0.1)), (4.2, (1.0, 2.0, 3.0, 4.0)), (0.0, ())]
)
def test_radii_are_round_and_reach_the_curve(farthest: float, expected: tuple[float, ...]) -> None:
    records = [
        {"index": 0, "verdict": "exact", "lower": farthest, "upper": farthest, "seconds": 0.0, "bounds": {},
         "attacks": {}, "estimates": {}}
    ]  # fmt: skip
    assert collected(Norm.LINF, records).round_radii() == expected


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_radii_that_are_named_say_which_inputs_are_proven(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = files[1].parent / "out"
    assert report(files, *QUICK, "--radius", "0.3,0.2", "--radius", "linf:0.3", "--format", "html,json") == 0
    told = {one["radius"]: one for one in json.loads((out / "report.json").read_text())["robust"]}
    shares = {radius: (one["proven"], one["not_refuted"]) for radius, one in told.items()}
    assert shares == {0.0: (2, 2), 0.2: (2, 2), 0.3: (0, 0)}  # as the page has them
    page = (out / "report.html").read_text()
    assert re.search(r"<td>0.2</td>\s*<td>66.7%</td>\s*<td>20.7% to 93.9%</td>\s*<td>0, 1</td>\s*<td>2</td>", page)
    assert "plumbline report" in page
    assert {path.name for path in out.iterdir()} == {"report.html", "report.json", "journal", "adversaries"}
    assert report(files, *QUICK, "--norm", "l1,linf", "--radius", "0.2,0.3") == 2
    assert "write such as l1:0.2,0.3" in capsys.readouterr().err.lower()
    for given, wanted in (("l2:1", "add --norm l2"), ("x", "write numbers"), ("-1", "radius")):
        assert report(files, *QUICK, f"--radius={given}") == 2
        assert wanted in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_proofs_lie_beside_the_page_and_are_accepted(files: tuple[Path, Path]) -> None:
    out = files[1].parent / "out"
    assert report(files, *QUICK) == 0
    assert report(files, *QUICK, "--proofs") == 0  # what was answered without is asked again
    told = json.loads((out / "report.json").read_text())["samples"]
    files_told = [(one.get("proof") or {}).get("file") for one in told]
    assert files_told == ["proofs/linf/0.proof", "proofs/linf/1.proof", None]
    assert main(["check", str(out / "proofs" / "linf"), "--model", str(files[0])]) == 0
    page = said(out)
    assert "Every proven claim about them has a proof file." in page
    assert "Nothing that is claimed of an input has to be believed." in page
    assert "proof that is missing" not in page
    (check,) = re.findall(r"^plumbline (check .*--sample 0)$", page, re.MULTILINE)
    assert main(shlex.split(check)) == 0
    with (out / "report.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["proof"] for line in lines] == ["proofs/linf/0.proof", "proofs/linf/1.proof", ""]
    assert (lines[2]["proven_by"], lines[2]["basis"]) == ("", "")  # misclassified: nobody proved anything


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_a_proof_has_a_time_of_its_own_and_a_page_without_one_says_so(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []

    async def too_slow(model: object, job: Job, x: object, result: object) -> dict[str, Any]:
        limits.append(job.options.time_limit)
        return {"proof": {"file": None, "why": "no proof was found in time", "seconds": 0.0}}

    with monkeypatch.context() as changed:
        changed.setattr("verifier.studies.gap_report.measure.proof_beside", too_slow)
        assert report(files, *QUICK, "--proofs", "--time-limit", "60") == 0
    assert limits == [60.0, 60.0]  # whatever the named techniques took
    page = said(files[1].parent / "out")
    assert page.count("none¹") == 2
    assert "¹ Proven by what the row names, no file written: no proof was found in time." in page
    assert "Proof files hold what is proven of 0 of the 2; what is said of the others rests on this program" in page
    assert "has to be believed" not in page
    assert re.search(
        r"here of input 0 in L∞ \(missing: 0, 1 in L∞\):\s*plumbline distance .* --proof .*/linf$", page, re.M
    )
    assert re.search(r"--samples 0 --norm linf --time-limit 60$", page, re.M)
    assert re.search(r"--samples 0 --norm linf$", page, re.M)
    assert report(files, *QUICK, "--proofs", "--time-limit", "60") == 0  # the same command looks for them again
    assert "proof that is missing" not in said(files[1].parent / "out")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_what_is_refused_leaves_the_page_that_is_there(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = files[1].parent / "out"
    assert report(files, *QUICK) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert report(files, *QUICK, "--norm", "l1,linf", "--tolerance", "1e-3") == 2  # one of them has a journal
    assert "holds results of another run" in capsys.readouterr().err
    with one_writer(out):
        assert report(files, *QUICK, "--norm", "l2") == 2
    assert "another run is writing there" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


@pytest.mark.usefixtures("undrawn_charts")
def test_the_lines_that_check_an_input_do(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = files[1].parent / "out"
    np.savez(files[1], x=np.array([[[51, 102]], [[230, 230]]], np.uint8), y=np.array([0, 0]))  # pixels
    assert report(files, *QUICK) == 0
    page = said(out)
    (replayed,) = re.findall(r"^import numpy, onnxruntime\n.*?row\.reshape\(-1\)\)\)$", page, re.M | re.S)
    capsys.readouterr()
    exec(replayed, {})
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("original is read as 0")
    assert told[1].startswith("adversary is read as 1")
    assert float(told[2].removeprefix("distance: ")) == pytest.approx(0.2, abs=1e-6)
    assert told[3:] == ["in the box: True", "original is the row of the data: True"]
    (command,) = re.findall(r"^python -c '(.*)'$", page, re.M)
    exec(command, {})
    conditions = json.loads((out / "report.json").read_text())["conditions"]
    assert capsys.readouterr().out.strip() == conditions["digest of the data"]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_a_page_of_one_input_speaks_of_one(files: tuple[Path, Path]) -> None:
    assert report(files, *QUICK, "--samples", "0") == 0
    page = (files[1].parent / "out" / "report.html").read_text()
    assert "Of 1 input of data.npz, 1 is classified right" in page
    assert "1 inputs" not in page


def test_formats_are_checked_before_anything_is_measured(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(files, *QUICK, "--format", "html,doc") == 2
    assert "format 'doc': choose from html, pdf, csv, json, png" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    monkeypatch.setattr("verifier.pages.pdf.find_spec", lambda name: None)
    assert report(files, *QUICK, "--format", "pdf") == 2
    assert "pip install 'plumbline[pdf]'" in capsys.readouterr().err
    assert not (files[1].parent / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_a_pdf_is_made_of_the_page(files: tuple[Path, Path]) -> None:
    try:
        pytest.importorskip("weasyprint", reason="WeasyPrint is not installed")
    except OSError as error:
        pytest.skip(f"WeasyPrint lacks a library of the system: {error}")
    assert report(files, *QUICK, "--samples", "0", "--format", "pdf") == 0
    out = files[1].parent / "out"
    made = (out / "report.pdf").read_bytes()
    assert made.startswith(b"%PDF-")
    assert len(made) > 10_000
    assert not (out / "report.html").exists()


@pytest.mark.usefixtures("undrawn_charts")
@pytest.mark.release
def test_under_a_limit_what_does_not_fit_is_left_out_by_name_and_measured_later(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = files[1].parent / "out"
    monkeypatch.setattr("verifier.studies.gap_report.measure.OF_THE_ATTACKS", 0.0)  # no time for any attack
    assert report(files, "--bounds", "crown", "--time-limit", "60") in (0, 1)
    told = json.loads((out / "report.json").read_text())["samples"]
    assert set(told[0]["left_out"]["attacks"]) == set(ReportOptions().attacks_for(Norm.LINF))
    assert told[0]["attacks"] == {}
    assert set(told[0]["bounds"]) == {"crown"}  # it was named
    monkeypatch.undo()
    assert report(files, "--bounds", "crown") == 0
    told = json.loads((out / "report.json").read_text())["samples"]
    assert told[0]["left_out"] == {}
    assert "fab" in told[0]["attacks"]
