"""The scale of a data set: by hand, against plain loops, and through the command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from encoders.question import CONVEX, Norm
from verifier.cli.main import main
from verifier.studies.data_scale.distances import scale
from verifier.studies.data_scale.told import quantiles

POINTS = np.array([[0, 0], [3, 4], [3, 0]], np.float32)  # the last one is of another class
LABELS = np.array([4, 4, 7])


@pytest.mark.parametrize(
    ("norm", "same", "other"), [(Norm.L2, 5, [3, 4, 3]), (Norm.L1, 7, [3, 4, 3]), (Norm.LINF, 4, [3, 4, 3])]
)
def test_three_points_by_hand(norm: Norm, same: float, other: list[float]) -> None:
    found = scale(POINTS, LABELS, norm)
    assert found.same.tolist() == [same, same, np.inf]
    assert found.other.tolist() == other
    assert quantiles(found) == (same, same, 3, 3, 1.5)


@pytest.mark.parametrize("norm", CONVEX)
def test_many_points_against_plain_loops(norm: Norm) -> None:
    rng = np.random.default_rng(1)
    x, labels = rng.uniform(size=(150, 5)).astype(np.float32), rng.integers(0, 3, 150)  # more than one batch of rows
    found = scale(x, labels, norm)
    for k in (0, 77, 149):
        lengths = norm.length(x.astype(np.float64) - x[k])
        lengths[k] = np.inf
        assert found.same[k] == pytest.approx(lengths[labels == labels[k]].min())
        assert found.other[k] == pytest.approx(lengths[labels != labels[k]].min())


def test_the_command_tells_the_whole_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "tables" / "scale.csv"
    assert main(["scale", "digits", "--norm", "linf", "--csv", str(table), "--out", str(tmp_path / "charts")]) == 0
    assert "L∞ | " in capsys.readouterr().out
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100
    between = [float(row["least"]) for row in rows if row["class"] != row["other_class"]]
    assert min(between) == 0.5
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == ["scale-linf.png", "scale-linf.svg"]


def test_what_cannot_be_told_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "bare.npz", x=POINTS)
    assert main(["scale", str(tmp_path / "bare.npz")]) == 2
    assert "no labels" in capsys.readouterr().err
    assert main(["scale", "digits", "--split", "all"]) == 2
    assert main(["scale", "digits", "--norm", "l0"]) == 2
    assert main(["scale", "nowhere"]) == 2
