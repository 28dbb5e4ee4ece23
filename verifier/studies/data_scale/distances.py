"""Distances within and between the classes of a data set: what a radius asks of a classifier, without any network.

A radius beyond half the least distance between two classes cannot be kept free of adversaries by any classifier that
is right on both samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.arrays import FloatArray, Inputs
from encoders.question import Norm

ORDERS = {Norm.LINF: float("inf"), Norm.L1: 1.0, Norm.L2: 2.0}
ROWS = 128  # samples that are held against all others at once


@dataclass(frozen=True, eq=False)
class Scale:
    """Of each sample the distance to the nearest *other* sample of each class [samples, classes]; inf if none is.

    `own` are the samples' classes as places in `classes`, the labels that there are.
    """

    norm: Norm
    classes: NDArray[np.int64]
    own: NDArray[np.int64]
    nearest: FloatArray

    @property
    def same(self) -> FloatArray:
        """To the nearest other sample of its own class [samples]."""
        return np.asarray(self.nearest[np.arange(len(self.own)), self.own])

    @property
    def other(self) -> FloatArray:
        """To the nearest sample of another class [samples]."""
        same = np.arange(len(self.classes)) == self.own[:, None]
        return np.asarray(np.where(same, np.inf, self.nearest).min(axis=1, initial=np.inf))


def scale(x: Inputs, labels: NDArray[np.int64], norm: Norm) -> Scale:
    """Nearest neighbours of every sample among all of them."""
    flat = torch.as_tensor(np.asarray(x, dtype=np.float64).reshape(len(x), -1))
    classes, own = np.unique(labels, return_inverse=True)
    found = np.full((len(flat), len(classes)), np.inf)
    for first in range(0, len(flat), ROWS):  # each pair once: with what comes after
        rows = flat[first : first + ROWS]
        lengths = torch.cdist(rows, flat[first:], p=ORDERS[norm], compute_mode="donot_use_mm_for_euclid_dist").numpy()
        lengths[np.arange(len(rows)), np.arange(len(rows))] = np.inf
        for k in range(len(classes)):
            here, after = found[first : first + len(rows), k], found[first:, k]
            np.minimum(here, lengths[:, own[first:] == k].min(axis=1, initial=np.inf), out=here)
            np.minimum(after, lengths[own[first : first + len(rows)] == k].min(axis=0, initial=np.inf), out=after)
    return Scale(norm, classes, own, found)
