"""A softplus file from training to attack: read in two halves, bounded from below, attacked from above, never exact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import verifier
from encoders.errors import ModelError, OptionError
from encoders.onnx.model_file import read_model_file
from encoders.onnx.softplus_file import parse_softplus
from encoders.question import CONVEX, Norm, Region
from trainers.architectures import build
from trainers.export import export
from verifier.cli.main import main

SHAPE = (1, 3, 3)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(4)
    return build("fc1-softplus", SHAPE, 3, (6,))


@pytest.fixture(scope="module")
def path(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("softplus") / "net.onnx"
    export(path, module, SHAPE)
    return path


def test_both_halves_make_the_module(module: nn.Module, path: Path) -> None:
    net = parse_softplus(read_model_file(path)).net
    x = torch.rand(5, *SHAPE)
    expected = module(x).detach().numpy()
    found = [net.scores(row) for row in x.flatten(1).numpy().astype(np.float64)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    model = verifier.load(path)
    np.testing.assert_allclose(model.scores(x.flatten(1).numpy()), expected, atol=1e-5)
    np.testing.assert_allclose(model.real(x.flatten(1).numpy().astype(np.float64)), found, atol=1e-12)


@pytest.mark.parametrize("norm", CONVEX)
def test_no_sampled_change_of_class_is_nearer_than_the_bound(path: Path, norm: Norm) -> None:
    model, rng = verifier.load(path), np.random.default_rng(1)
    center = rng.uniform(size=9)
    region = Region(center, np.zeros(9), np.ones(9))
    predicted = int(model.real(center[None])[0].argmax())
    bound = model.lower_bound(region, norm, predicted)
    assert bound is not None
    assert bound > 0
    points = rng.choice([0.0, 1.0], size=(4000, 9)) * rng.uniform(size=(4000, 1)) + center * rng.uniform(size=(4000, 1))
    points = points.clip(0, 1)
    nearest = norm.length(points - center)[model.real(points).argmax(1) != predicted].min()
    assert bound < nearest < 40 * bound


def test_it_is_attacked_beside_its_bound_and_refused_an_exact_distance(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.npz"
    rng = np.random.default_rng(2)
    np.savez(data, x=rng.uniform(size=(2, *SHAPE)).astype(np.float32))
    journal = tmp_path / "found.jsonl"
    asked = [str(path), "--data", str(data), "--norm", "l2"]
    assert main(["attack", *asked, "--attack", "linearised", "fgsm", "portfolio", "--json", str(journal)]) == 0
    assert "(proven: " in capsys.readouterr().out
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(records) == 2
    for record in records:
        assert 0 < record["lower"] <= record["upper"] < 10 * record["lower"]
    for command in (["distance", *asked], ["verify", *asked, "--radius", "0.01"], ["report", *asked]):
        assert main(command) == 2, command
        told = capsys.readouterr().err
        assert "softplus network is smooth" in told
        assert "plumbline attack" in told


def test_other_nets_with_a_softplus_are_refused(tmp_path: Path) -> None:
    deep = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 3))
    export(tmp_path / "deep.onnx", deep, SHAPE)
    with pytest.raises(ModelError, match="one hidden layer"):
        verifier.load(tmp_path / "deep.onnx")
    one = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Softplus(2.0), nn.Linear(4, 1))
    export(tmp_path / "one.onnx", one, SHAPE)
    with pytest.raises((ModelError, OptionError)):
        verifier.load(tmp_path / "one.onnx", threshold=0.5)
