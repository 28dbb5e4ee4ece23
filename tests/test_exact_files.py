"""Verdicts about random small files against exact rational arithmetic on the files themselves."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import verifier
from tests.draws import draws
from tests.file_exact import ExactFile
from tests.random_files import random_file
from tests.small_files import check_bracket, exact, f32, gemm, head, node, written


def test_the_oracle_knows_a_distance_by_hand(tmp_path: Path) -> None:
    # Scores 3/4 - x/2 and relu(2x - 1): on [1/2, 1] they meet where 3/4 - x/2 = 2x - 1, at x = 7/10.
    nodes = [node("Gemm", ["x", "v", "c"], ["h"], transB=1), node("Relu", ["h"], ["t"]), gemm()]
    constants = {"v": f32([[2], [1]]), "c": f32([-1, 0]), **head([[0, -0.5], [1, 0]], [0.75, 0])}
    file = ExactFile.read(written(tmp_path / "net.onnx", nodes, constants))
    assert file.at(Fraction(3, 4)).tolist() == [Fraction(3, 8), Fraction(1, 2)]
    assert len(file.pieces(Fraction(0), Fraction(1))) == 2
    assert file.distance(Fraction(1, 10), 0) == Fraction(6, 10)
    assert file.distance(Fraction(9, 10), 1) == Fraction(2, 10)
    assert file.distance(Fraction(1, 10), 0, high=Fraction(1, 2)) is None


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(draws(12, 600)))
@pytest.mark.fewer(7)
def test_random_files(seed: int, tmp_path: Path) -> None:
    path = random_file(tmp_path / "net.onnx", seed)
    file, model = ExactFile.read(path), verifier.load(path)
    sample = f32(np.random.default_rng(seed).choice([0.0, 0.3, 1.0], size=1))
    scores = np.array([float(score) for score in file.at(exact(sample[0]))])
    size = max(1.0, float(np.abs(scores).max()))
    np.testing.assert_allclose(model.scores(sample[None])[0], scores, atol=1e-3 * size)
    result = verifier.distance(model, sample, time_limit=0.5)
    truth = file.distance(exact(sample[0]), result.predicted)
    check_bracket(result, truth)
