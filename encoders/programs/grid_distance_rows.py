"""Rows that keep the steps of all inputs together within an integer measure (see `encoders.grid`)."""

from __future__ import annotations

from collections.abc import Sequence

from encoders.arrays import IntArray
from encoders.programs.integer_program import IntegerBuilder
from encoders.question import Norm


def limit_measure(
    add: IntegerBuilder,
    norm: Norm,
    columns: Sequence[int],
    down: IntArray,
    up: IntArray,
    measure: int,
    stride: IntArray | None = None,
    pixels: IntArray | None = None,
) -> None:
    """All steps together stay within the measure; in L∞ their bounds already say so.

    `stride`: how many units a step of each input is, one without it. `pixels`: what L0 counts instead of inputs.
    """
    if norm is not Norm.LINF:
        add.row(_costs(add, norm, columns, down, up, stride, pixels), None, measure)


def measure_column(
    add: IntegerBuilder, norm: Norm, columns: Sequence[int], down: IntArray, up: IntArray, measure: int
) -> int:
    """A column that is at least the measure of the steps, and at most `measure`."""
    total = add.column(0, measure)
    if norm is Norm.LINF:
        for column in columns:
            add.row([(total, 1), (column, -1)], 0, None)
            add.row([(total, 1), (column, 1)], 0, None)
    else:
        add.row([*_costs(add, norm, columns, down, up), (total, -1)], None, 0)
    return total


def _costs(
    add: IntegerBuilder,
    norm: Norm,
    columns: Sequence[int],
    down: IntArray,
    up: IntArray,
    stride: IntArray | None = None,
    pixels: IntArray | None = None,
) -> list[tuple[int, int]]:
    """The terms whose sum is the measure: one per input, or pixel, that may move."""
    costs: list[tuple[int, int]] = []
    moved: dict[int, int] = {}
    strides = [1] * len(columns) if stride is None else stride.tolist()
    for k, (column, low, high, units) in enumerate(zip(columns, down.tolist(), up.tolist(), strides, strict=True)):
        if low == high == 0:
            continue
        if norm is Norm.L0:
            pixel = k if pixels is None else int(pixels[k])
            if pixel not in moved:
                moved[pixel] = add.column(0, 1)
                costs.append((moved[pixel], 1))
            add.row([(column, 1), (moved[pixel], -high)], None, 0)
            add.row([(column, 1), (moved[pixel], -low)], 0, None)
            continue
        if low >= 0 or high <= 0:
            size, sign = column, 1 if low >= 0 else -1
        else:
            size, sign = add.column(0, max(-low, high)), 1
            add.row([(size, 1), (column, -1)], 0, None)
            add.row([(size, 1), (column, 1)], 0, None)
        if norm is Norm.L1:
            costs.append((size, sign * units))
            continue
        far = max(-low, high)
        square = add.column(0, far * far)
        for step in range(far):  # the chords between whole numbers: exact at each of them
            add.row([(square, 1), (size, -sign * (2 * step + 1))], -step * (step + 1), None)
        costs.append((square, units * units))
    return costs
