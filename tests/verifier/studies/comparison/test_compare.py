"""A whole small comparison: measured, resumed, told; and its parts on nets drawn by hand."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import OptionError
from encoders.files import one_writer
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.onnx_builder import to_onnx
from tests.verifier.studies.comparison.brief import brief_comparison
from trainers.datasets import digits
from verifier.cli.main import main
from verifier.options import Options
from verifier.question.model import load
from verifier.runs import run as runner
from verifier.studies.comparison.drawn_attacks import BY_RADIUS, IN_WORDS, RADII, drawn_attack
from verifier.studies.comparison.options import (
    CompareOptions,
    Subject,
    baseline_of,
    check_subjects,
    subjects_of_files,
)
from verifier.studies.comparison.parallel import measure
from verifier.studies.comparison.test_data import TestData
from verifier.studies.comparison.transfer import transfer

STUDY = """
widths = [5]
epochs = 4
batch = 32
learning_rate = 0.02
seeds = [0, 1]
out = "OUT"

[[runs]]
name = "none"

[[runs]]
name = "lipschitz"
regularisers = [{ name = "cross-lipschitz", strength = [0.01, 0.1] }]

[compare]
samples = "0:3"
radii = { linf = [0.05] }
pictures = 2
resamples = 50
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained and compared study; its folder."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.toml").write_text(STUDY.replace("OUT", str(folder / "nets")))
    assert main(["train", str(folder / "study.toml")]) == 0
    with brief_comparison():
        assert main(["compare", str(folder / "study.toml")]) == 0
    return folder


@pytest.mark.release
def test_every_figure_is_the_distance_that_the_verifier_gives(study: Path) -> None:
    held = json.loads((study / "nets" / "comparison" / "comparison.json").read_text())
    data = digits("test")
    for name, norm in (("none-seed1", "linf"), ("lipschitz-0.1-seed0", "l1")):
        told = held["samples"][f"{name} {norm}"]
        for place, index in enumerate(told["index"]):
            model, label = study / "nets" / f"{name}.onnx", int(data.y[index])
            found = verifier.distance(model, data.x[index], norm=norm, label=label)
            assert told["lower"][place] == pytest.approx(found.lower, abs=2e-5)
            for attack in ("typical", "strongest"):
                assert told["lower"][place] <= told["upper"][place] <= float(told[attack][place]) * (1 + 1e-6)


@pytest.mark.slow
def test_the_tables_agree_with_one_another(study: Path) -> None:
    folder = study / "nets" / "comparison"
    held = json.loads((folder / "comparison.json").read_text())
    with (folder / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(held["networks"]) == 3 * 2 * 2
    for row, network in zip(rows, held["networks"], strict=True):
        told = held["samples"][f"{network['variant'].replace(' ', '-')}-seed{network['seed']} {network['norm']}"]
        assert float(row["mean_lower"]) == pytest.approx(np.mean(told["lower"]))
        if row["norm"] == "linf":
            assert float(row["proven_robust_at_0.05"]) == pytest.approx(np.mean(np.array(told["lower"]) > 0.05))
    assert len(held["tests"]) == 2 * 3
    text = (folder / "comparison.md").read_text()
    for variant in ("none", "lipschitz 0.01", "lipschitz 0.1"):
        assert len(re.findall(rf"^\| {re.escape(variant)} \| 2 \|", text, re.MULTILINE)) == 2
    assert "Against none, L∞" in text


@pytest.mark.slow
def test_the_page_stands_alone_and_has_every_part(study: Path) -> None:
    html = (study / "nets" / "comparison" / "index.html").read_text()
    for part in (
        "Findings", "Figures, L∞", "Figures, L1", "Against the baseline", "Robustness curves, L∞", "Where curves cross",
        "What attacks overestimate", "Accuracy against robustness", "The scale of the data",
        "Transfer of exact adversaries, L1", "Input gradients", "Large adversaries", "Paths to large adversaries",
        "Exact adversaries, L∞", "From an image to its adversary, L1",
    ):  # fmt: skip
        assert f"<h2>{part}</h2>" in html
    charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    for chart in charts:
        ET.fromstring(chart)
    assert len(charts) > 15
    assert html.count("http") == len(charts)
    assert len(html) < 500_000


@pytest.mark.usefixtures("undrawn_charts")
@pytest.mark.release
def test_a_second_comparison_computes_nothing_and_a_cut_one_goes_on(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = study / "nets" / "comparison"
    before = (folder / "comparison.json").read_text()
    asked: list[int] = []
    true = runner.outcomes

    def counted(*arguments: object) -> object:
        asked.extend(arguments[3])  # type: ignore[arg-type]
        return true(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("verifier.runs.journalled.outcomes", counted)
    assert main(["compare", str(study / "study.toml")]) == 0
    assert asked == []
    assert (folder / "comparison.json").read_text() == before
    journal = folder / "journal" / "lipschitz-0.1-seed1-l1.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])  # as a crash leaves it
    assert main(["compare", str(study / "study.toml")]) == 0
    assert asked == [2]
    capsys.readouterr()
    assert main(["compare", str(study / "study.toml"), "--tolerance", "1e-4"]) == 2
    assert "tolerance" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts")
def test_a_full_disk_leaves_whole_files(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nets = [str(study / "nets" / f"none-seed{seed}.onnx") for seed in (0, 1)]
    flags = ["compare", *nets, "--data", "digits", "--samples", "1", "--norm", "linf", "--pictures", "0",
             "--attack", "fab", "--out", str(tmp_path)]  # fmt: skip
    with brief_comparison():
        assert main(flags) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    true = Path.replace

    def full(path: Path, target: Path) -> Path:
        if target.name == "index.html":
            raise OSError(28, "No space left on device")
        return true(path, target)

    monkeypatch.setattr(Path, "replace", full)
    assert main(flags) == 2
    assert "index.html: no space left on device" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    with one_writer(tmp_path):
        assert main(flags) == 2
    assert "another run is writing there" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn_charts")
@pytest.mark.release
def test_model_files_and_flags(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nets = [str(study / "nets" / f"{name}.onnx") for name in ("none-seed0", "none-seed1")]
    flags = ["compare", *nets, "--data", "digits", "--samples", "3,1", "--norm", "linf", "--radius", "linf:0.07",
             "--pictures", "0", "--attack", "fab", "--out", str(tmp_path)]  # fmt: skip
    assert main(flags) == 0
    assert "robust at 0.07" in capsys.readouterr().out
    held = json.loads((tmp_path / "comparison.json").read_text())
    assert [(n["variant"], n["seed"], n["samples"]) for n in held["networks"]] == [("none", 0, 2), ("none", 1, 2)]
    assert main(["compare", *nets]) == 2
    assert "--data" in capsys.readouterr().err
    assert main(["compare", nets[0], str(study / "study.toml")]) == 2
    (study / "untrained.toml").write_text('out = "nowhere"\n[[runs]]\n')
    assert main(["compare", str(study / "untrained.toml")]) == 2
    assert "plumbline train" in capsys.readouterr().err


@pytest.mark.parametrize(
    "table",
    [{"norm": ["linf"]}, {"norms": ["l7"]}, {"norms": []}, {"norms": ["l1", "l1"]}, {"radii": {"linf": ["x"]}},
     {"radii": {"linf": [-1.0]}}, {"radii": 3}, {"attack": "magic"}, {"jobs": 0}, {"level": 1.0}],
)  # fmt: skip
def test_options_that_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        CompareOptions(**table)  # type: ignore[arg-type]


def test_names_of_model_files(tmp_path: Path) -> None:
    found = subjects_of_files([tmp_path / "a-seed3.onnx", tmp_path / "b.onnx"])
    assert [(one.family, one.seed) for one in found] == [("a", 3), ("b", 0)]
    with pytest.raises(OptionError, match="rename"):
        check_subjects([found[0], found[0]])


# Two nets of one input: class 1 from a threshold on, f = (0, x - threshold).


def threshold_net(folder: Path, name: str, threshold: float) -> Subject:
    graph = affine_chain([np.array([[0.0], [1.0]])], [np.array([0.0, -threshold])])
    return Subject(name, name, 0, to_onnx(graph, folder / f"{name}.onnx"))


@pytest.mark.slow
def test_transfer_by_hand(tmp_path: Path) -> None:
    # Samples 0.1 and 0.2 of class 0, thresholds 0.4 and 0.5. Adversaries of the first lie at 0.4, which the second
    # still reads as 0. Those of the second, at 0.5, fool the first.
    # Sample 0.45 (class 0) is misclassified by the first, and does not count where the first is involved.
    subjects = (threshold_net(tmp_path, "first", 0.4), threshold_net(tmp_path, "second", 0.5))
    x = np.array([[0.1], [0.2], [0.45]], np.float32)
    np.savez(tmp_path / "line.npz", x=x, y=np.array([0, 0, 0]))
    data = TestData(str(tmp_path / "line.npz"))
    samples = data.samples(load(subjects[0].path))
    options = CompareOptions(norms=(Norm.LINF,))
    found = list(measure(subjects, options, data, (0, 1, 2), tmp_path / "j", lambda *told: None))
    assert found[0].lower == pytest.approx([0.3, 0.2, 0.0], abs=1e-4)
    assert found[1].upper == pytest.approx([0.4, 0.3, 0.05], abs=1e-4)
    assert found[0].correct.tolist() == [True, True, False]
    assert transfer(found, samples, None).shares.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert transfer(found, samples, None).counts.tolist() == [[2, 2], [2, 3]]
    # Moved to 0.35 they lie at 0.45 and 0.55, of which the second reads one as class 1; its own third is at 0.8.
    assert transfer(found, samples, 0.35).shares.tolist() == [[1.0, 0.5], [1.0, pytest.approx(2 / 3)]]


@pytest.mark.parametrize("attack", [*IN_WORDS, "fab"])
@pytest.mark.fewer(2)
def test_attacks_on_a_line(attack: str, tmp_path: Path) -> None:
    # On a line there is one way to go: from the exact distance 0.3 at the most one step of 6 % further.
    model = load(threshold_net(tmp_path, "net", 0.4).path)
    x, question = np.array([0.1], np.float32), Options(norm=Norm.LINF)
    found = drawn_attack(attack, model, x, question)
    assert 0.3 - 1e-6 <= found.distance <= 0.3 * 1.06
    assert found.adversary is not None
    assert model.scores(found.adversary.input[None]).argmax() == 1


def test_the_typical_attack_is_told_nothing_of_the_distance(tmp_path: Path) -> None:
    # Its radii are shares of the way to the corner at 1, which is 0.9: it finds the next of these beyond 0.3.
    model = load(threshold_net(tmp_path, "net", 0.4).path)
    question = Options(norm=Norm.LINF)
    found = drawn_attack(BY_RADIUS, model, np.array([0.1], np.float32), question)
    wanted = min(radius for radius in 0.9 * RADII if radius > 0.3)
    assert found.distance == pytest.approx(wanted, rel=1e-5)


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.release
def test_several_processes_find_what_one_finds(study: Path, tmp_path: Path) -> None:
    subjects = subjects_of_files([study / "nets" / "none-seed0.onnx", study / "nets" / "none-seed1.onnx"])
    data, indices = TestData("digits"), (0, 2)
    found = [
        list(measure(subjects, CompareOptions(jobs=jobs), data, indices, tmp_path / str(jobs), lambda *told: None))
        for jobs in (1, 2)
    ]
    assert len(found[0]) == len(found[1]) == 4
    for one, other in zip(*found, strict=True):
        assert (one.subject, one.norm, one.indices) == (other.subject, other.norm, other.indices)
        np.testing.assert_array_equal(one.lower, other.lower)
        np.testing.assert_array_equal(one.typical, other.typical)
        np.testing.assert_array_equal(one.strongest, other.strongest)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [None, [0, 0], [1, 1]])
@pytest.mark.fewer(1)
def test_odd_comparisons_are_told_all_the_same(labels: list[int] | None, tmp_path: Path) -> None:
    # One network; no picture to draw; labels unknown, right or all wrong; an adversary in the box or none.
    subject = threshold_net(tmp_path, "net", 0.4)
    arrays = {"x": np.array([[0.1], [0.3]], np.float32)} | ({} if labels is None else {"y": np.array(labels)})
    np.savez(tmp_path / "line.npz", **arrays)
    flags = ["--data", str(tmp_path / "line.npz"), "--samples", "0:2", "--norm", "l2", "--norm", "linf"]
    with brief_comparison():
        status = main(["compare", str(subject.path), *flags, "--time-limit", "5", "--out", str(tmp_path / "out")])
    assert status in (0, 1)
    held = json.loads((tmp_path / "out" / "comparison.json").read_text())
    wrong = labels == [1, 1]
    assert held["networks"][1]["mean_lower"] == pytest.approx(0.0 if wrong else 0.2, abs=1e-4)
    assert held["tests"] == []
    for chart in re.findall(r"<svg.*?</svg>", (tmp_path / "out" / "index.html").read_text(), re.DOTALL):
        ET.fromstring(chart)


@pytest.mark.usefixtures("undrawn_charts")
@pytest.mark.release
def test_a_network_without_adversaries_has_infinite_distances(tmp_path: Path) -> None:
    # The threshold 2 lies outside the box: nothing in [0, 1] is read as class 1.
    subjects = [threshold_net(tmp_path, "never", 2.0), threshold_net(tmp_path, "some", 0.5)]
    np.savez(tmp_path / "line.npz", x=np.array([[0.1], [0.3]], np.float32), y=np.array([0, 0]))
    nets = [str(one.path) for one in subjects]
    flags = ["--data", str(tmp_path / "line.npz"), "--samples", "0:2", "--norm", "linf", "--out", str(tmp_path / "out")]
    assert main(["compare", *nets, *flags]) == 0
    held = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [network["mean_lower"] for network in held["networks"]] == ["inf", pytest.approx(0.3, abs=1e-4)]
    assert "∞" in (tmp_path / "out" / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("runs", "named", "expected"),
    [
        ([("plain", {}), ("l1", {"regularisers": ["x"]})], None, "plain"),
        ([("none", {"adversarial": "linf:0.1"}), ("plain", {})], None, "none"),
        ([("a", {}), ("b", {})], None, "none"),  # two are plain: neither is what the other is held against
        ([("a", None), ("b", {"adversarial": "linf:0.1:1"})], None, "none"),
        ([("a", {}), ("b", {})], "b", "b"),
    ],
)
def test_the_baseline_is_named_or_called_none_or_the_one_trained_plainly(
    runs: list[tuple[str, dict[str, object] | None]], named: str | None, expected: str
) -> None:
    assert baseline_of(runs, named) == expected


def test_a_baseline_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(OptionError, match="baseline 'c': choose from a, b"):
        baseline_of([("a", {}), ("b", {})], "c")


@pytest.mark.usefixtures("undrawn_charts")
@pytest.mark.release
def test_a_stopped_comparison_is_of_what_all_have_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subjects = [threshold_net(tmp_path, "first", 0.4), threshold_net(tmp_path, "second", 0.5)]
    np.savez(tmp_path / "line.npz", x=np.array([[0.1], [0.2], [0.3]], np.float32), y=np.array([0, 0, 0]))
    flags = ["--data", str(tmp_path / "line.npz"), "--samples", "0:3", "--norm", "linf", "--pictures", "0"]
    command = ["compare", *(str(one.path) for one in subjects), *flags, "--out", str(tmp_path / "out")]
    true, asked = runner.outcomes, list[int]()

    def stopped(*arguments: Any) -> Any:
        """All of the first network, one sample of the second; after the stop nothing new is begun."""
        for outcome in true(*arguments) if len(asked) < 4 else ():
            if len(asked) == 4:
                raise KeyboardInterrupt
            asked.append(outcome.index)
            yield outcome

    monkeypatch.setattr("verifier.runs.journalled.outcomes", stopped)
    with brief_comparison():
        assert main(command) == 1
    assert "2 samples that not every network has: 1, 2" in capsys.readouterr().err
    held = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {one["samples"] for one in held["networks"]} == {1}
    assert held["missing"] in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("attack", [BY_RADIUS])
def test_with_no_time_for_a_search_a_backward_pass_proves_something(attack: str, tmp_path: Path) -> None:
    subject = threshold_net(tmp_path, "net", 0.4)
    np.savez(tmp_path / "line.npz", x=np.array([[0.1]], np.float32), y=np.array([0]))
    options = CompareOptions(norms=(Norm.LINF,), time_limit=1e-9, attack=attack)
    with brief_comparison():
        (found,) = measure(
            (subject,), options, TestData(str(tmp_path / "line.npz")), (0,), tmp_path, lambda *told: None
        )
    assert 0.29 < found.lower[0] <= 0.3 + 1e-6
