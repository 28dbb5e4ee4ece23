"""Matrices of whole numbers that have no negative eigenvalue, shown by a factor that is not believed.

("The eigenvalues" of docs/reference/proof-format.md.) What the factor misses is known exactly, and its diagonal must
outweigh the rest of each row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = 26  # of entries of a matrix that is squared: sums of products of its rows stay within float64's 53
HALF = BITS // 2

Whole = NDArray[np.int64]


def no_negative_eigenvalue(matrix: Whole, room: float, kind: type[np.generic]) -> bool:
    """Whether it can be shown that 2^-53 times a symmetric matrix has no negative eigenvalue.

    Matrices are multiplied as numbers of this kind, which loses nothing. The factor is one of the matrix less `room`
    on its diagonal, for its rounding.
    """
    rough = np.ldexp(matrix.astype(np.float64), -2 * BITS - 1)
    try:
        factor = np.linalg.cholesky(rough - room * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        return False
    squared = gram(np.rint(np.ldexp(factor, BITS)).astype(np.int64), kind) if np.isfinite(factor).all() else None
    if squared is None:
        return False
    missed = (matrix - 2 * squared).astype(object)
    return bool((2 * missed.diagonal() >= np.abs(missed).sum(axis=1)).all())


def gram(matrix: Whole, kind: type[np.generic]) -> NDArray[Any] | None:
    """All products of two rows, exactly; None where a row is so long that float64 might not hold them."""
    sizes = (np.abs(matrix) >> HALF) + 1  # in units whose squares, summed, 64 bits hold
    if not ((sizes > 0) & (sizes < 1 << HALF + 2)).all() or ((sizes * sizes).sum(axis=1) > 2 << BITS).any():
        return None
    rows = matrix.astype(kind, order="C")  # row by row: int64 is many times slower else
    return (rows @ rows.T).astype(np.int64)
