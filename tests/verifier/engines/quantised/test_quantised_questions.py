"""Questions to quantised nets by hand, through the whole product: engines, options, command line, resume."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import onnx.compose
import pytest

from encoders.errors import ModelError, OptionError, SoundnessError
from encoders.quantised.integer_encoding import Ahead
from encoders.quantised.semantics import QuantisedNet
from encoders.question import Goal
from tests.int8_builder import Int8Layer, write_int8
from trainers.digits_nets import DIRECTORY
from verifier.answer import distance, verify
from verifier.cli.main import main
from verifier.engines.quantised.level_question import wanted_of
from verifier.question.model import Model, QuantisedModel, load
from verifier.question.results import Verdict

SAMPLE = np.array([0.75, 0.25], dtype=np.float32)


@pytest.fixture
def halves(tmp_path: Path) -> Model:
    """Levels (rint((2a - b) / 2), rint((2b - a) / 2)), halves to even, for inputs a/4 and b/4."""
    layer = Int8Layer(np.array([[2, -1], [-1, 2]]), np.zeros(2), np.array([1.0], np.float32), 0.5)
    return load(write_int8([layer], tmp_path / "halves.onnx", 0.25))


# From (3, 1), levels (rint 2.5, 0) = (2, 0), on quarters; ties at (2, 2), (3, 3), (1, 1).
# (1, 3) gives (0, rint 2.5 = 2): two steps each. (2, 3) gives (rint 0.5 = 0, 2): three steps, squares 5; nothing nearer
# wins, for (3, 2) gives (2, rint 0.5 = 0) and (2, 1) gives (rint 1.5 = 2, 0). (0, 1) gives (0, 1): one input moved.
@pytest.mark.parametrize("engine", ["auto", "cpsat", "highs"])
@pytest.mark.parametrize(("norm", "expected"), [("linf", 0.5), ("l1", 0.75), ("l2", np.sqrt(5) / 4), ("l0", 1.0)])
@pytest.mark.fewer
def test_distances_by_hand(halves: Model, engine: str, norm: str, expected: float) -> None:
    if (engine, norm) == ("highs", "l2"):
        with pytest.raises(OptionError, match="engine highs knows no quantised network in l2; take auto or cpsat"):
            distance(halves, SAMPLE, norm=norm, engine=engine, grid=4)
        return
    result = distance(halves, SAMPLE, norm=norm, engine=engine, grid=4)
    assert (result.verdict, result.lower, result.upper, result.target) == (Verdict.EXACT, expected, expected, 1)


@pytest.mark.parametrize("engine", ["auto", "cpsat", "highs"])
@pytest.mark.fewer(1)
def test_radii_and_margins_by_hand(halves: Model, engine: str) -> None:
    assert verify(halves, SAMPLE, 0.49, engine=engine, grid=4).verdict is Verdict.CERTIFIED
    assert verify(halves, SAMPLE, 0.5, engine=engine, grid=4).verdict is Verdict.FALSIFIED
    # A level is worth 0.5. (1, 3) leads by two levels; (0, 3) and (0, 4) by 3 and 4, three steps away.
    assert distance(halves, SAMPLE, engine=engine, grid=4, margin=1.0).upper == 0.5
    assert distance(halves, SAMPLE, engine=engine, grid=4, margin=1.01).upper == 0.75
    assert distance(halves, SAMPLE, engine=engine, grid=4, margin=2.01).lower == float("inf")
    assert distance(halves, SAMPLE, engine=engine, grid=4, mask=[0, 0]).lower == float("inf")
    assert distance(halves, SAMPLE, engine=engine, grid=4, mask=[1, 0]).upper == 0.75
    assert distance(halves, SAMPLE, engine=engine, grid=4, targets=(1,)).upper == 0.5


def test_what_is_refused(halves: Model, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="with grid N"):
        distance(halves, SAMPLE)
    with pytest.raises(OptionError, match="take auto, cpsat or highs"):
        distance(halves, SAMPLE, engine="search", grid=4)
    with pytest.raises(OptionError, match="no layer graph"):
        _ = halves.graph
    assert main(["attack", str(halves.path), "--data", str(_data(tmp_path)), "--attack", "fgsm"]) == 2


def _data(folder: Path) -> Path:
    path = folder / "x.npy"
    np.save(path, np.stack([SAMPLE, SAMPLE[::-1]]))
    return path


@pytest.mark.parametrize(
    ("target", "rows", "offsets"),
    [
        (1, [[1.0, -1.0], [1.0, -1.0]], [-0.5, -0.5]),  # less than a win, against several
        (0, [[1.0, -1.0]], [0.0]),  # another class than the row's
        (1, [[0.0, -1.0]], [0.0]),  # a score alone
        (1, [[2.0, -1.0]], [0.0]),
        (1, [[1.0, -1.0], [1.0, -1.0]], [0.0, 0.5]),
    ],
)
def test_goals_that_are_no_wins_are_refused(
    halves: Model, target: int, rows: list[list[float]], offsets: list[float]
) -> None:
    assert halves.quantised is not None
    assert wanted_of(Goal(1, np.array([[1.0, -1.0]]), np.array([0.5])), halves.quantised).target == 1
    for offset, lead in ((-0.75, -1), (-0.5, -1), (-0.49, 0), (-0.01, 0), (-127.5, -255)):  # a level is 1/2
        below_zero = Goal(1, np.array([[1.0, -1.0]]), np.array([offset]))
        assert wanted_of(below_zero, halves.quantised) == Ahead(1, 0, lead)
    with pytest.raises(OptionError, match="whether a class wins"):
        wanted_of(Goal(target, np.array(rows), np.array(offsets)), halves.quantised)


def test_command_line_and_resume(halves: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(halves.path)]) == 0
    assert "equal to the bit" in capsys.readouterr().out
    out = tmp_path / "out.jsonl"
    command = ["distance", str(halves.path), "--data", str(_data(tmp_path)), "--norm", "l1", "--grid", "4"]
    assert main([*command, "--json", str(out), "--samples", "0:1"]) == 0
    first = out.read_text()
    assert main([*command, "--json", str(out), "--jobs", "2"]) == 0
    assert out.read_text().startswith(first)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["index"], line["lower"], line["upper"]) for line in lines] == [(0, 0.75, 0.75), (1, 0.75, 0.75)]
    capsys.readouterr()
    assert main(command[:-2]) == 2
    assert "with grid N" in capsys.readouterr().err


def test_another_output_of_a_quantised_file_is_another_run(halves: Model, tmp_path: Path) -> None:
    file = onnx.load(str(halves.path))
    turned = onnx.compose.add_prefix(file, "other_").graph
    turned.node[0].input[0] = file.graph.input[0].name
    file.graph.node.extend(turned.node)
    file.graph.initializer.extend(turned.initializer)
    file.graph.output.extend(turned.output)
    onnx.save(file, str(tmp_path / "two.onnx"))
    models = [load(tmp_path / "two.onnx", output=name) for name in ("scores", "other_scores")]
    assert models[0].description != models[1].description
    again = pickle.loads(pickle.dumps(models[1]))
    assert again.description == models[1].description


@pytest.mark.release
def test_the_digits_net_in_every_norm() -> None:
    from trainers.datasets import digits

    data = digits("test")
    for norm in ("linf", "l1", "l0"):
        net = DIRECTORY / "digits-int8.onnx"
        found = [distance(net, data.x[5], norm=norm, engine=engine, grid=16) for engine in ("auto", "cpsat")]
        assert [r.verdict for r in found] == [Verdict.EXACT] * 2
        assert found[0].upper == found[1].upper


def test_semantics_that_onnxruntime_denies(halves: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = QuantisedNet.scores
    monkeypatch.setattr(QuantisedNet, "scores", lambda self, x: genuine(self, x) + (x[:, :1] > 0.9))
    with pytest.raises(SoundnessError, match="denies the integer semantics"):
        halves.scores(np.ones((1, 2), dtype=np.float32))
    assert halves.quantised is not None
    with pytest.raises(ModelError, match="on this machine"):
        QuantisedModel(halves.quantised, halves._parsed)
