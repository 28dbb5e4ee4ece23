"""Small sparse matrices that programs are put together from, and the builder that lays them side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from encoders.arrays import FloatArray, IntArray


def wide(table: sparse.csr_array, columns: int) -> sparse.csr_array:
    """The same rows over more columns."""
    return sparse.csr_array((table.data, table.indices, table.indptr), shape=(table.shape[0], columns))


def unit_rows(columns: IntArray, factors: FloatArray | float, width: int) -> sparse.csr_array:
    """Row i is factors[i] times the unit vector of columns[i]."""
    data = np.broadcast_to(np.asarray(factors, dtype=np.float64), columns.shape)
    return sparse.csr_array((data, columns, np.arange(columns.size + 1)), shape=(columns.size, width))


def placed(rows: IntArray, table: sparse.csr_array, size: int) -> sparse.csr_array:
    """A table of `size` rows that holds row i of `table` at rows[i], and is zero elsewhere."""
    chosen = sparse.csr_array((np.ones(rows.size), (rows, np.arange(rows.size))), shape=(size, rows.size))
    return sparse.csr_array(chosen @ table)


def pattern(table: sparse.csr_array) -> sparse.csr_array:
    """1 where the table has an entry."""
    return sparse.csr_array((np.ones(table.nnz), table.indices, table.indptr), shape=table.shape)


def times(factors: FloatArray, table: sparse.csr_array) -> sparse.csr_array:
    """Each row times its factor."""
    return sparse.csr_array(sparse.diags_array(factors) @ table)


def powers_of_two(sizes: FloatArray) -> FloatArray:
    """The power of two just at or above each size, so that dividing by it rounds nothing; 1 for zero."""
    exponents = np.ceil(np.log2(np.where(sizes > 0, sizes, 1.0)))
    return np.asarray(np.exp2(np.clip(exponents, -1000, 1000)))


class Builder:
    """Columns and rows in the order in which they are added; earlier rows are widened at the end."""

    def __init__(self) -> None:
        self.width = 0
        self._columns: list[tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]] = []
        self._rows: list[tuple[sparse.csr_array, FloatArray, FloatArray]] = []

    def columns(
        self, lower: FloatArray | float, upper: FloatArray | float, scale: FloatArray | float, *, integral: bool = False
    ) -> IntArray:
        """New columns, and their positions. `scale` is what one unit of the column stands for."""
        low, high, unit = (np.array(a) for a in np.broadcast_arrays(np.atleast_1d(lower), upper, scale))
        self._columns.append((low, high, unit, np.full(low.size, integral)))
        self.width += low.size
        return np.arange(self.width - low.size, self.width, dtype=np.int64)

    def rows(self, table: sparse.csr_array, lower: FloatArray | float, upper: FloatArray | float) -> None:
        """New rows  lower ≤ table·v ≤ upper."""
        count = table.shape[0]
        low, high = (np.broadcast_to(np.asarray(a, dtype=np.float64), (count,)) for a in (lower, upper))
        self._rows.append((sparse.csr_array(table), low, high))

    def column_arrays(self) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
        """lower, upper, scale, integral of all columns."""
        lower, upper, scale, integral = (np.concatenate(parts) for parts in zip(*self._columns, strict=True))
        return lower.astype(np.float64), upper.astype(np.float64), scale.astype(np.float64), integral

    def row_arrays(self) -> tuple[sparse.csr_array, FloatArray, FloatArray]:
        """matrix, lower, upper of all rows."""
        if not self._rows:
            return sparse.csr_array((0, self.width)), np.zeros(0), np.zeros(0)
        tables, lower, upper = zip(*self._rows, strict=True)
        matrix = sparse.vstack([wide(table, self.width) for table in tables], format="csr")
        return sparse.csr_array(matrix), np.concatenate(lower), np.concatenate(upper)
