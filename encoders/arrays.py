"""Types of arrays that everything shares."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Inputs = NDArray[np.floating[Any]]
"""Inputs in the type that a model file takes: float32 or float64."""
InputType = type[np.floating[Any]]


def digest(*arrays: NDArray[Any]) -> str:
    """A short hash of the arrays' shapes, types and values."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()[:16]
