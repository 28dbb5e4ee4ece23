"""What may be offered to a question, and what of it counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, Inputs
from encoders.question import Norm, Region
from verifier.question.incumbent import Incumbent


def scores_of(inputs: FloatArray) -> FloatArray:
    """Scores (1/2 - x, 0): class 1 from x = 1/2 on."""
    return np.concatenate([0.5 - inputs, np.zeros_like(inputs)], axis=1)


def wins(scores: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(scores[:, 1] > scores[:, 0])


def test_what_wins_only_in_a_batch_is_no_adversary() -> None:
    def scrambled(inputs: Inputs) -> FloatArray:
        """Of several inputs at once, what the last one gives."""
        found = scores_of(inputs.astype(np.float64))
        return np.repeat(found[-1:], len(inputs), axis=0)

    region = Region(np.zeros(1), np.zeros(1), np.ones(1))
    incumbent = Incumbent(region, Norm.LINF, scrambled, lambda x: scores_of(np.maximum(x, 0.75)), wins)
    assert incumbent.offer(np.array([[0.25], [0.75]]), "test")
    assert incumbent.best is not None
    assert incumbent.best.distance == 0.75
    np.testing.assert_array_equal(incumbent.best.scores, [-0.25, 0.0])
    assert not incumbent.offer(np.array([[0.25], [0.375]]), "test")
