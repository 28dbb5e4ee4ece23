"""Types of arrays that everything shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Inputs = NDArray[np.floating[Any]]
"""Inputs in the type that a model file takes: float32 or float64."""
InputType = type[np.floating[Any]]
