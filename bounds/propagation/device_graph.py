"""A layer graph on a device: each linear map's torch form, and what rounding can do to it.

`TORCH_MAPS` is the table from a map to its torch form; adding a map means adding a class and a line there.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from bounds.rounding import gamma
from encoders.layer_graph.graph import Affine, Graph, Input, Node, Relu
from encoders.layer_graph.linear_maps import Convolution, Dense, Gather, LinearMap, Scale, Sparse

LARGEST_TABLE = 4_000_000  # entries of a convolution written out as a sparse matrix
# On a GPU, cuDNN may convolve by Fourier or Winograd transforms, whose rounding no count of terms bounds.
ORDINARY_SUMS = partial(torch.backends.cudnn.flags, enabled=False)


def tensor_of(array: NDArray[Any], device: torch.device, dtype: torch.dtype) -> Tensor:
    """An array as a tensor; a file's own bytes, which nobody may write to, are copied."""
    return torch.as_tensor(array if array.flags.writeable else array.copy(), dtype=dtype, device=device)


class TorchMap(ABC):
    """One linear map M on batches of flat vectors."""

    terms: int  # the most products that meet in one sum, of M or of its adjoint
    summands: int  # the same of M alone

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """[B, input] → [B, output]."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """[B, output] → [B, input], by the transpose of M."""

    @abstractmethod
    def magnitude(self, x: Tensor) -> Tensor:
        """|M| x for x ≥ 0."""

    @abstractmethod
    def magnitude_adjoint(self, y: Tensor) -> Tensor:
        """[B, output] → [B, input], by the transpose of |M|, for y ≥ 0."""

    @abstractmethod
    def rows(self, entries: Tensor) -> Tensor:
        """Rows of M [B, input]: the adjoint of unit vectors, without a product."""


class TorchDense(TorchMap):
    def __init__(self, linear: Dense, device: torch.device, dtype: torch.dtype) -> None:
        self.weight = tensor_of(linear.weight, device, dtype)
        self.terms, self.summands = max(self.weight.shape), self.weight.shape[1]

    def apply(self, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.weight

    def magnitude(self, x: Tensor) -> Tensor:
        return x @ self.weight.abs().T

    def magnitude_adjoint(self, y: Tensor) -> Tensor:
        return y @ self.weight.abs()

    def rows(self, entries: Tensor) -> Tensor:
        return self.weight[entries]


class TorchScale(TorchMap):
    terms = summands = 1

    def __init__(self, linear: Scale, device: torch.device, dtype: torch.dtype) -> None:
        self.factor = tensor_of(linear.factor, device, dtype)

    def apply(self, x: Tensor) -> Tensor:
        return x * self.factor

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self.factor

    def magnitude(self, x: Tensor) -> Tensor:
        return x * self.factor.abs()

    def magnitude_adjoint(self, y: Tensor) -> Tensor:
        return y * self.factor.abs()

    def rows(self, entries: Tensor) -> Tensor:
        found = self.factor.new_zeros(len(entries), len(self.factor))
        found[torch.arange(len(entries), device=found.device), entries] = self.factor[entries]
        return found


class TorchGather(TorchMap):
    summands = 1

    def __init__(self, linear: Gather, device: torch.device, dtype: torch.dtype) -> None:
        self.present = torch.as_tensor(linear.index >= 0, device=device)
        self.all_present = bool((linear.index >= 0).all())
        self.index = torch.as_tensor(np.maximum(linear.index, 0), device=device)
        self.source_size = linear.source_size
        self.dtype = dtype
        self.terms = int(np.bincount(linear.index[linear.index >= 0], minlength=1).max())

    def apply(self, x: Tensor) -> Tensor:
        values = x[:, self.index]
        return values if self.all_present else values * self.present

    def adjoint(self, y: Tensor) -> Tensor:
        values = y if self.all_present else y * self.present
        return y.new_zeros(y.shape[0], self.source_size).index_add(1, self.index, values)

    magnitude = apply
    magnitude_adjoint = adjoint

    def rows(self, entries: Tensor) -> Tensor:
        found = torch.zeros(len(entries), self.source_size, dtype=self.dtype, device=self.index.device)
        order = torch.arange(len(entries), device=found.device)
        found[order, self.index[entries]] = self.present[entries].to(self.dtype)
        return found


class SparseRows:
    """A sparse matrix that hands out dense rows."""

    def __init__(self, matrix: sparse.csr_array, device: torch.device, dtype: torch.dtype) -> None:
        matrix = matrix.copy()
        matrix.sum_duplicates()
        self.start = torch.as_tensor(matrix.indptr, dtype=torch.int64, device=device)
        self.column = torch.as_tensor(matrix.indices, dtype=torch.int64, device=device)
        self.value = torch.as_tensor(matrix.data, dtype=dtype, device=device)
        self.width = int(matrix.shape[1])

    def dense(self, entries: Tensor) -> Tensor:
        first, count = self.start[entries], self.start[entries + 1] - self.start[entries]
        row = torch.arange(len(entries), device=entries.device).repeat_interleave(count)
        before = count.cumsum(0) - count
        place = first[row] + torch.arange(len(row), device=entries.device) - before[row]
        found = self.value.new_zeros(len(entries), self.width)
        found[row, self.column[place]] = self.value[place]
        return found


class TorchSparse(TorchMap):
    def __init__(self, linear: Sparse, device: torch.device, dtype: torch.dtype) -> None:
        self.table = SparseRows(linear.matrix(), device, dtype)
        forward, backward = linear.table.tocsr(), linear.table.T.tocsr()
        self.forward, self.backward = (self._tensor(m, device, dtype) for m in (forward, backward))
        self.absolute, self.absolute_backward = (self._tensor(abs(m), device, dtype) for m in (forward, backward))
        self.summands = int(np.diff(forward.indptr).max(initial=0))
        self.terms = max(self.summands, int(np.diff(backward.indptr).max(initial=0)))

    @staticmethod
    def _tensor(m: object, device: torch.device, dtype: torch.dtype) -> Tensor:
        crow, column, data = m.indptr, m.indices, m.data  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch calls its CSR tensors a beta feature, every time
            return torch.sparse_csr_tensor(
                torch.as_tensor(crow, dtype=torch.int64),
                torch.as_tensor(column, dtype=torch.int64),
                torch.as_tensor(data, dtype=dtype),
                size=m.shape,  # type: ignore[attr-defined]
                check_invariants=False,
            ).to(device)

    def apply(self, x: Tensor) -> Tensor:
        return (self.forward @ x.T).T

    def adjoint(self, y: Tensor) -> Tensor:
        return (self.backward @ y.T).T

    def magnitude(self, x: Tensor) -> Tensor:
        return (self.absolute @ x.T).T

    def magnitude_adjoint(self, y: Tensor) -> Tensor:
        return (self.absolute_backward @ y.T).T

    def rows(self, entries: Tensor) -> Tensor:
        return self.table.dense(entries)


class TorchConvolution(TorchMap):
    def __init__(self, linear: Convolution, device: torch.device, dtype: torch.dtype) -> None:
        self.map = linear
        self.weight = tensor_of(linear.weight, device, dtype)
        out_c, group_in, kernel_h, kernel_w = linear.weight.shape
        self.terms = kernel_h * kernel_w * max(group_in, out_c // linear.groups)
        self.summands = kernel_h * kernel_w * group_in

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        top, left, bottom, right = self.map.padding
        image = functional.pad(x.reshape(-1, *self.map.image), (left, right, top, bottom))
        with ORDINARY_SUMS():
            out = functional.conv2d(
                image, weight, stride=self.map.stride, dilation=self.map.dilation, groups=self.map.groups
            )
        return out.flatten(1)

    def apply(self, x: Tensor) -> Tensor:
        return self._convolve(x, self.weight)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._transposed(y, self.weight)

    def _transposed(self, y: Tensor, weight: Tensor) -> Tensor:
        top, left, bottom, right = self.map.padding
        _, height, width = self.map.image
        with ORDINARY_SUMS():
            full = functional.conv_transpose2d(
                y.reshape(-1, *self.map.output_image),
                weight,
                stride=self.map.stride,
                dilation=self.map.dilation,
                groups=self.map.groups,
            )
        # Rows and columns that no kernel position reaches got no value: they are zero.
        missing_h = max(0, height + top + bottom - full.shape[2])
        missing_w = max(0, width + left + right - full.shape[3])
        full = functional.pad(full, (0, missing_w, 0, missing_h))
        return full[:, :, top : top + height, left : left + width].flatten(1)

    def magnitude(self, x: Tensor) -> Tensor:
        return self._convolve(x, self.weight.abs())

    def magnitude_adjoint(self, y: Tensor) -> Tensor:
        return self._transposed(y, self.weight.abs())

    @cached_property
    def table(self) -> SparseRows:
        return SparseRows(self.map.matrix(), self.weight.device, self.weight.dtype)

    def rows(self, entries: Tensor) -> Tensor:
        if self.map.output_size * self.weight[0].numel() <= LARGEST_TABLE:
            return self.table.dense(entries)
        units = self.weight.new_zeros(len(entries), self.map.output_size)
        units[torch.arange(len(entries), device=units.device), entries] = 1.0
        return self.adjoint(units)


TORCH_MAPS: dict[type[LinearMap], type[TorchMap]] = {
    Dense: TorchDense,
    Scale: TorchScale,
    Gather: TorchGather,
    Sparse: TorchSparse,
    Convolution: TorchConvolution,
}


def torch_maps(node: Affine, device: str = "cpu", dtype: torch.dtype = torch.float64) -> tuple[TorchMap, ...]:
    """The torch forms of a node's maps."""
    place = torch.device(device)
    return tuple(TORCH_MAPS[type(linear)](linear, place, dtype) for linear in node.maps)  # type: ignore[call-arg]


def folded(node: Node) -> int:
    """How many roundings a node's numbers have behind them."""
    return node.roundings if isinstance(node, Affine) else 0


class DeviceGraph:
    """A graph whose maps are torch tensors on one device. Float64 for proofs; float32 only to guide."""

    def __init__(self, graph: Graph, device: str = "cpu", dtype: torch.dtype = torch.float64) -> None:
        self.graph = graph
        self.device = torch.device(device)
        self.dtype = dtype
        self.maps: dict[int, tuple[TorchMap, ...]] = {}
        self.bias: dict[int, Tensor] = {}
        self.bias_size: dict[int, Tensor] = {}  # of the terms that a bias was folded of: what its error is relative to
        for position, node in enumerate(graph.nodes):
            if isinstance(node, Affine):
                self.maps[position] = torch_maps(node, device, dtype)
                self.bias[position] = self.tensor(node.bias)
                self.bias_size[position] = self.tensor(node.sizes)
        self.gamma = {
            i: gamma(sum(m.terms for m in maps) + len(graph.nodes) + folded(graph.nodes[i]))
            for i, maps in self.maps.items()
        }

    @property
    def terms(self) -> int:
        """The most products that a sum over all inputs and all neurons can have, and a few more."""
        neurons = sum(node.size for node in self.graph.nodes if isinstance(node, Relu))
        return neurons + self.graph.input_size + self.graph.classes + 64

    @torch.no_grad()
    def gain(self) -> float:
        """The most that any unit in any node could grow to at the scores: products of sizes, layer by layer."""
        gains: list[Tensor] = []
        for position, node in enumerate(self.graph.nodes):
            if isinstance(node, Input):
                gains.append(torch.ones(1, node.size, dtype=self.dtype, device=self.device))
            elif isinstance(node, Relu):
                gains.append(gains[node.source])
            else:
                total = torch.ones(1, node.size, dtype=self.dtype, device=self.device)
                for source, linear in zip(node.sources, self.maps[position], strict=True):
                    total = total + linear.magnitude(gains[source])
                gains.append(total)
        return max(float(gain.nan_to_num(nan=torch.inf).max()) for gain in gains)

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=self.dtype, device=self.device)

    def tensor(self, array: object) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def values(self, x: Tensor) -> list[Tensor]:
        """Value of every node for a batch [B, n]; differentiable."""
        values: list[Tensor] = []
        for position, node in enumerate(self.graph.nodes):
            if isinstance(node, Input):
                values.append(x)
            elif isinstance(node, Relu):
                values.append(values[node.source].relu())
            else:
                total = self.bias[position].expand(x.shape[0], -1)
                for source, linear in zip(node.sources, self.maps[position], strict=True):
                    total = total + linear.apply(values[source])
                values.append(total)
        return values

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [B, classes] of a batch [B, n]; differentiable."""
        return self.values(x)[-1]

    def gradient(self, values: Sequence[Tensor], rows: Tensor) -> Tensor:
        """The gradient [B, n] of rows [B, classes] · scores at the `values` of every node; that of a ReLU is 0 at 0."""
        waiting: dict[int, Tensor] = {len(values) - 1: rows}
        for position in range(len(values) - 1, 0, -1):
            a = waiting.pop(position, None)
            if a is None:
                continue
            node = self.graph.nodes[position]
            if isinstance(node, Relu):
                add_to(waiting, node.source, torch.where(values[position] > 0, a, 0.0))
            elif isinstance(node, Affine):
                for source, linear in zip(node.sources, self.maps[position], strict=True):
                    add_to(waiting, source, linear.adjoint(a))
        return waiting[0] if 0 in waiting else torch.zeros_like(values[0])

    def preactivations(self, x: Tensor) -> dict[int, Tensor]:
        """ReLU node position → its input [B, size]."""
        values = self.values(x)
        return {i: values[self.graph.nodes[i].sources[0]] for i in self.graph.relus}


def add_to(waiting: dict[int, Tensor], position: int, a: Tensor) -> None:
    """One coefficient more of a node's value, on the way back from the scores."""
    waiting[position] = waiting[position] + a if position in waiting else a
