"""The built-in data: which samples, in which order, on which scale."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from encoders.errors import DataError
from trainers.datasets import digits, load


def test_digits_are_sixteenths_in_their_own_order() -> None:
    raw = load_digits()
    train, test = digits("train"), digits("test")
    assert train.x.shape == (1400, 64)
    assert test.x.shape == (397, 64)
    assert train.x.dtype == test.x.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([train.x, test.x]) * 16, raw.data)
    np.testing.assert_array_equal(np.concatenate([train.y, test.y]), raw.target)
    assert min(train.x.min(), test.x.min()) == 0.0
    assert max(train.x.max(), test.x.max()) == 1.0


def test_load_knows_digits_by_name_and_defaults_to_the_test_split() -> None:
    np.testing.assert_array_equal(load("digits").x, digits("test").x)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(DataError, match=r"'mnist'.*digits"):
        load("mnist")
    with pytest.raises(DataError, match=r"'validation'.*train, test"):
        load("digits", "validation")
