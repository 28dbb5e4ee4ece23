"""The linear maps that a layer graph is made of: plain records over numpy arrays, each with its exact sparse matrix.

All maps act on *flat* vectors; a convolution remembers the shape it works on. `bounds.propagation.device_graph` gives
each of them its torch form. Adding a map means adding a class here and a line in that module's table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray, IntArray


class LinearMap(ABC):
    """y = M x on flat vectors. `input_size` and `output_size` are the sides of M."""

    input_size: int
    output_size: int

    @abstractmethod
    def matrix(self) -> sparse.csr_array:
        """M itself, with explicit zeros left out."""


@dataclass(frozen=True, eq=False)
class Dense(LinearMap):
    """y = weight · x, weight of shape [output, input]."""

    weight: FloatArray

    @property
    def input_size(self) -> int:  # type: ignore[override]
        return int(self.weight.shape[1])

    @property
    def output_size(self) -> int:  # type: ignore[override]
        return int(self.weight.shape[0])

    def matrix(self) -> sparse.csr_array:
        return sparse.csr_array(self.weight)


@dataclass(frozen=True, eq=False)
class Scale(LinearMap):
    """y = factor * x, entry by entry."""

    factor: FloatArray

    @property
    def input_size(self) -> int:  # type: ignore[override]
        return int(self.factor.size)

    @property
    def output_size(self) -> int:  # type: ignore[override]
        return int(self.factor.size)

    def matrix(self) -> sparse.csr_array:
        return sparse.csr_array(sparse.diags_array(self.factor))


@dataclass(frozen=True, eq=False)
class Gather(LinearMap):
    """y[i] = x[index[i]], or 0 where index[i] is -1: reshape, transpose, slice, split, concat and zero padding."""

    index: IntArray
    source_size: int

    @property
    def input_size(self) -> int:  # type: ignore[override]
        return self.source_size

    @property
    def output_size(self) -> int:  # type: ignore[override]
        return int(self.index.size)

    @property
    def is_identity(self) -> bool:
        return self.index.size == self.source_size and bool(np.array_equal(self.index, np.arange(self.source_size)))

    def matrix(self) -> sparse.csr_array:
        rows = np.flatnonzero(self.index >= 0)
        data = np.ones(rows.size)
        return sparse.csr_array((data, (rows, self.index[rows])), shape=(self.output_size, self.input_size))


@dataclass(frozen=True, eq=False)
class Sparse(LinearMap):
    """y = table · x for a scipy sparse table: what no other map says more compactly."""

    table: sparse.csr_array

    @property
    def input_size(self) -> int:  # type: ignore[override]
        return int(self.table.shape[1])

    @property
    def output_size(self) -> int:  # type: ignore[override]
        return int(self.table.shape[0])

    def matrix(self) -> sparse.csr_array:
        return self.table


@dataclass(frozen=True, eq=False)
class Convolution(LinearMap):
    """A 2-D convolution without bias; 1-D is the case of height one.

    weight: [out_channels, in_channels / groups, kernel_h, kernel_w]; image: (channels, height, width);
    stride, dilation: (h, w); padding: (top, left, bottom, right), zeros.
    """

    weight: FloatArray
    image: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def output_image(self) -> tuple[int, int, int]:
        _, height, width = self.image
        top, left, bottom, right = self.padding
        kernel_h, kernel_w = self.weight.shape[2:]
        out_h = (height + top + bottom - self.dilation[0] * (kernel_h - 1) - 1) // self.stride[0] + 1
        out_w = (width + left + right - self.dilation[1] * (kernel_w - 1) - 1) // self.stride[1] + 1
        return int(self.weight.shape[0]), int(out_h), int(out_w)

    @property
    def input_size(self) -> int:  # type: ignore[override]
        return int(np.prod(self.image))

    @property
    def output_size(self) -> int:  # type: ignore[override]
        return int(np.prod(self.output_image))

    def matrix(self) -> sparse.csr_array:
        _, height, width = self.image
        out_c, out_h, out_w = self.output_image
        _, group_in, kernel_h, kernel_w = self.weight.shape
        group_out = out_c // self.groups
        o, i, kh, kw, oh, ow = np.meshgrid(
            np.arange(out_c), np.arange(group_in), np.arange(kernel_h), np.arange(kernel_w),
            np.arange(out_h), np.arange(out_w), indexing="ij",
        )  # fmt: skip
        y = oh * self.stride[0] - self.padding[0] + kh * self.dilation[0]
        x = ow * self.stride[1] - self.padding[1] + kw * self.dilation[1]
        channel = (o // group_out) * group_in + i
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        rows = ((o * out_h + oh) * out_w + ow)[inside]
        columns = ((channel * height + y) * width + x)[inside]
        values = np.broadcast_to(self.weight[:, :, :, :, None, None], o.shape)[inside]
        table = sparse.csr_array((values, (rows, columns)), shape=(self.output_size, self.input_size))
        table.eliminate_zeros()
        return table
