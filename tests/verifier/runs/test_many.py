"""Many samples from Python: in order, as they finish, as records and tables; and what is refused before the first."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import plumbline
from encoders.errors import DataError, OptionError, PlumblineError, SolverError
from encoders.layer_graph.graph import affine_chain
from plumbline import Model, Verdict
from tests.onnx_builder import to_onnx
from verifier.cli.main import main
from verifier.engines.auto import AutoEngine

X = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores (x1, x2): half the difference away is the other class."""
    return to_onnx(affine_chain([np.eye(2)], [np.zeros(2)]), tmp_path_factory.mktemp("swap") / "swap.onnx")


@pytest.fixture(scope="module")
def swap(path: Path) -> Model:
    return plumbline.load(path)


def test_distances_by_hand(swap: Model) -> None:
    asked = plumbline.distances(swap, torch.tensor(X), [0, 0, 0])
    assert len(asked) == 3
    next(asked)
    found = asked.collected()
    assert [result.index for result in found] == [0, 1, 2]
    assert [result.upper for result in found] == pytest.approx([0.25, 0.0, 0.25])
    assert [str(result.verdict) for result in found] == ["exact", "misclassified", "exact"]
    assert repr(found).startswith("<Results: 3 samples: 2 exact, 1 misclassified; seconds a sample")
    nearest = found.adversaries[0]
    assert nearest is not None
    assert nearest.shape == swap.input_shape
    assert found.adversaries[1] is None
    assert len(found[1:]) == 2


def test_verdicts_by_hand(swap: Model) -> None:
    with plumbline.verdicts(swap, X[0], 0.2) as asked:
        (alone,) = asked
    assert (alone.verdict, alone.radius) == (Verdict.CERTIFIED, 0.2)
    eight_bit = np.array([191, 64], dtype=np.uint8)
    assert plumbline.verdicts(swap, eight_bit, 0.3).collected()[0].verdict is Verdict.FALSIFIED
    assert plumbline.verify(swap, eight_bit, 0.2).verdict is Verdict.CERTIFIED


def test_records_are_those_of_the_command_line(path: Path, swap: Model, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=[0, 0, 0])
    assert main(["distance", str(path), "--data", str(tmp_path / "x.npz"), "--json", str(tmp_path / "a.jsonl")]) == 0
    theirs = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    ours = [json.loads(line) for line in plumbline.distances(swap, X, [0, 0, 0]).collected().to_json().splitlines()]
    for record in (*theirs, *ours):
        del record["seconds"], record["attempts"][0]["seconds"]
    assert ours == sorted(theirs, key=lambda record: int(record["index"]))


def test_a_data_frame(swap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    found = plumbline.distances(swap, X, mask=[0, 0]).collected()
    frame = found.to_pandas()
    assert frame.lower.tolist() == [float("inf")] * 3
    assert list(frame.index) == [0, 1, 2]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match="pip install pandas"):
        found.to_pandas()


def test_what_is_at_its_target_already_is_counted_by_itself(swap: Model) -> None:
    found = plumbline.distances(swap, X, targets=0).collected()
    assert [result.already_there for result in found] == [True, False, True]
    assert repr(found).startswith("<Results: 3 samples: 1 exact, 2 classified as the target already; seconds")


def test_a_solver_that_fails_costs_its_sample_and_another_error_the_run(
    swap: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(error: PlumblineError) -> Callable[..., Any]:
        async def solve(*_: object) -> Any:
            raise error

        return solve

    monkeypatch.setattr(AutoEngine, "_solve", failing(SolverError("no licence")))
    found = plumbline.distances(swap, X, [0, 0, 0]).collected()
    assert (list(found.failed), [result.index for result in found]) == ([0, 2], [1])
    monkeypatch.setattr(AutoEngine, "_solve", failing(DataError("odd")))
    with pytest.raises(DataError, match="sample 0: odd"):
        plumbline.distances(swap, X).collected()


@pytest.mark.parametrize(
    ("more", "kind", "told"),
    [
        ({"y": [0]}, DataError, "samples: y holds int64 of shape"),
        ({"y": [0, 0, 7]}, DataError, "samples: label 7 of sample 2"),
        ({"x": X[:, :1]}, DataError, "samples of shape .1,. do not fit"),
        ({"x": X + 1}, DataError, "sample 0 holds values from .* give a wider box"),
        ({"x": X * np.nan}, DataError, "NaN"),
        ({"mask": [1]}, DataError, "mask"),
        ({"jobs": 0}, OptionError, "jobs 0"),
        ({"norm": "Linf"}, OptionError, "norm 'Linf'"),
        ({"time_limt": 3}, OptionError, "did you mean time_limit"),
        ({"perturbation": "fog"}, OptionError, "perturbation 'fog': choose from brightness"),
        ({"perturbation": 1}, OptionError, "perturbation 1"),
        ({"perturbation": "patch:0:0:9:9"}, PlumblineError, "is no image"),
        ({"perturbation": "brightness", "mask": [1, 0]}, OptionError, "^mask is about inputs"),
        ({"perturbation": "brightness", "scale": [1, 2]}, OptionError, "^scale is about inputs"),
        ({"perturbation": "brightness", "grid": 4}, OptionError, "^grid is about inputs"),
        ({"perturbation": "brightness", "execution": "float32"}, OptionError, "^execution is about inputs"),
        ({"model": 3}, OptionError, "model: give what plumbline.load returns"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    more: dict[str, Any], kind: type[PlumblineError], told: str, swap: Model
) -> None:
    with pytest.raises(kind, match=told):
        plumbline.distances(**{"model": swap, "x": X, **more})


def test_a_radius_must_be_there(swap: Model) -> None:
    for radius in (None, -1, float("nan"), "a"):
        for ask in (plumbline.verify, plumbline.verdicts, plumbline.margin):
            with pytest.raises(OptionError, match="radius"):
                ask(swap, X[0], radius)  # type: ignore[arg-type]
