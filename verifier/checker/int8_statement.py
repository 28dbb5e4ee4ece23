"""What a proof about a quantised network claims ("The statement" of docs/reference/proof-format-int8.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from verifier.checker.errors import RefusedError
from verifier.checker.lines import integer, integers, only
from verifier.checker.statement import ASKED, FOR_PEOPLE, FORMAT, Question, read_question

FINEST = 1 << 16  # levels per unit
GREATEST = 1 << 53  # of measures


@dataclass(frozen=True)
class GridStatement(Question):
    """The claim about the points of a grid: no adversary's measure is `below` one, and a witness has the other.

    Where there are `rivals` an adversary is a lead of any size, and else a win.
    """

    grid: int
    below: int | None
    steps: tuple[int, ...] | None
    measure: int | None

    def sentence(self, reach: int) -> str:
        """What is claimed, in words; `reach` is the greatest measure of all points."""
        denied, least, lead, another = self.words()
        on = f" on the grid of {self.grid}"
        far = "" if self.measure is None else self._length(self.measure)
        if self.below is None:
            return f"one {denied}{lead} at {self.norm} {far}{on}"
        if self.below > reach:
            return f"no {denied}{least} anywhere{on}"
        near = f"no {denied}{least} nearer than {self.norm} {self._length(self.below)}"
        return f"{near}; {another}{'' if lead == least else lead} at {far}{on}" if far else near + on

    def _length(self, measure: int) -> str:
        """The distance that a measure stands for."""
        if self.norm == "l0":
            return str(measure)
        return f"{'√' if self.norm == 'l2' else ''}{measure}/{self.grid}"


def read_grid_statement(line: dict[str, Any]) -> GridStatement:
    """The first line, checked for its shape; whether it is true is asked later."""
    if line.get("format") != FORMAT:
        raise RefusedError(f"the file's first line has no format {FORMAT!r}")
    only(line, (*ASKED, "grid", "below", "witness"), ("rivals", *FOR_PEOPLE))
    question = read_question(line)
    below = None if line["below"] is None else integer(line["below"], "below", 1, GREATEST)
    steps = measure = None
    if line["witness"] is not None:
        if not isinstance(line["witness"], dict):
            raise RefusedError("witness is no object")
        only(line["witness"], ("steps", "measure"))
        steps = tuple(integers(line["witness"]["steps"], "the witness's steps", len(question.sample)))
        measure = integer(line["witness"]["measure"], "the witness's measure", 0, GREATEST)
    if below is None and measure is None:
        raise RefusedError("neither below nor witness: nothing is claimed")
    if below is not None and measure is not None and measure < below:
        raise RefusedError("the witness lies below what shall have no adversary")
    return GridStatement(
        **vars(question), grid=integer(line["grid"], "grid", 1, FINEST), below=below, steps=steps, measure=measure
    )
