"""A program over integers alone, in Python integers that cannot overflow, refused where a solver's could."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.errors import SolverError

# Every row's largest possible sum. Solvers compute in 64 bits; CP-SAT 9.15 was seen to prove wrong optima where sums
# over Booleans pass 2³¹, so that nothing here comes near it.
LARGEST_SUM = 2**30


@dataclass(frozen=True)
class IntegerRow:
    """low ≤ Σ coefficients · columns ≤ high (None: no such side); only where column `when[0]` is `when[1]`."""

    columns: tuple[int, ...]
    coefficients: tuple[int, ...]
    low: int | None
    high: int | None
    when: tuple[int, bool] | None = None


@dataclass(frozen=True)
class IntegerProgram:
    """Columns between `low` and `high`, and rows. The first `inputs` columns are steps; some points are forbidden."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    rows: tuple[IntegerRow, ...]
    inputs: int
    forbidden: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or any(a > b for a, b in zip(self.low, self.high, strict=True)):
            raise SolverError("the integer program has an empty column; prove it infeasible before building it")
        size = [max(abs(a), abs(b)) for a, b in zip(self.low, self.high, strict=True)]
        for row in self.rows:
            if len(row.columns) != len(row.coefficients):
                raise SolverError("a row of the integer program has columns without coefficients")
            most = sum(abs(c) * size[k] for k, c in zip(row.columns, row.coefficients, strict=True))
            sides = [abs(side) for side in (row.low, row.high) if side is not None]
            if max([most, *sides]) > LARGEST_SUM:
                raise SolverError(
                    f"a row of the integer program could sum to {most}, beyond {LARGEST_SUM}; use a smaller scale"
                )

    def holds(self, point: tuple[int, ...]) -> bool:
        """Whether a point satisfies every bound and row, in exact arithmetic."""
        if len(point) != len(self.low) or any(
            not a <= v <= b for a, v, b in zip(self.low, point, self.high, strict=True)
        ):
            return False
        if point[: self.inputs] in self.forbidden:
            return False
        for row in self.rows:
            if row.when is not None and bool(point[row.when[0]]) != row.when[1]:
                continue
            total = sum(c * point[k] for k, c in zip(row.columns, row.coefficients, strict=True))
            if (row.low is not None and total < row.low) or (row.high is not None and total > row.high):
                return False
        return True


class IntegerBuilder:
    """Columns and rows as they come."""

    def __init__(self) -> None:
        self._low: list[int] = []
        self._high: list[int] = []
        self._rows: list[IntegerRow] = []

    def column(self, low: int, high: int) -> int:
        self._low.append(low)
        self._high.append(high)
        return len(self._low) - 1

    def row(
        self, terms: list[tuple[int, int]], low: int | None, high: int | None, when: tuple[int, bool] | None = None
    ) -> None:
        """low ≤ Σ coefficient · column ≤ high, from pairs (column, coefficient)."""
        used = [(column, coefficient) for column, coefficient in terms if coefficient]
        self._rows.append(IntegerRow(tuple(c for c, _ in used), tuple(a for _, a in used), low, high, when))

    def finish(self, inputs: int) -> IntegerProgram:
        return IntegerProgram(tuple(self._low), tuple(self._high), tuple(self._rows), inputs)
