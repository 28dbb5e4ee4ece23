"""The tests' own checker of VIPR certificates: the paper's example, by hand, and what the specification forbids."""

from __future__ import annotations

import pytest

from tests.vipr_checker import Vipr

# Two whole numbers with 2x + 3y ≥ 1, 3x - 4y ≤ 2 and -x + 6y ≤ 3: there are none (Cheung, Gleixner, Steffy, example 3).
PAPER = """\
% whole numbers that are not there
VER 1.1
VAR 2
x y
INT 2
0 1
OBJ min
0
CON 3 0
C1 G 1 2 0 2 1 3
C2 L 2 2 0 3 1 -4
C3 L 3 2 0 -1 1 6
RTP infeas
SOL 0
DER 11
A1 L 0 1 0 1 { asm } -1
A2 G 1 1 0 1 { asm } -1
A3 L 0 1 1 1 { asm } -1
C4 G 1 0 { lin 3 0 1 3 -2 5 -3 } 12
A4 G 1 1 1 1 { asm } -1
C5 G 1 0 { lin 3 2 -1/3 3 -1/3 7 2 } 12
C6 G 1/4 1 1 1 { lin 2 1 -1/4 4 3/4 } 10
C7 G 1 1 1 1 { rnd 1 9 1 } 11
C8 G 1 0 { lin 3 1 -1/3 2 -1 10 14/3 } 13
C9 G 1 0 { uns 6 5 8 7 } 13
C10 G 1 0 { uns 11 4 12 3 } -1
"""


def test_the_paper_s_example() -> None:
    assert Vipr(PAPER).check() == "infeasible"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("C6 G 1/4", "C6 G 1/2", "C6 does not follow"),
        ("3 0 1 3 -2 5 -3", "3 0 1 3 -2 5 3", "wrong sign"),
        ("lin 2 1 -1/4 4 3/4 } 10", "lin 2 1 -1/4 4 3/4 } 9", "last use is before it"),
        ("{ lin 2 1 -1/4 4 3/4 }", "{ lin 2 1 -1/4 10 3/4 }", "not before it"),
        ("{ rnd 1 9 1 }", "{ lin 1 9 1 }", "C7 does not follow"),
        ("A4 G 1 1 1 1", "A4 G 2 1 1 1", "no integer lies in either case"),
        ("{ uns 11 4 12 3 }", "{ uns 11 3 12 3 }", "no integer lies in either case"),
        ("C10 G 1 0 { uns 11 4 12 3 } -1\n", "", "no section|StopIteration|rests on"),
        ("C9 G 1 0 { uns 6 5 8 7 } 13", "C9 G 1 0 { uns 6 5 3 7 } 13", "a case is weaker"),
        ("INT 2\n0 1", "INT 1\n0", "no integer|is rounded"),
        ("C4 G 1 0 { lin 3", "C4 G 1 0 { lin 4 0 1", "names a line twice"),
        ("C10 G", "C9 G", "name occurs twice"),
        ("RTP infeas", "RTP range 1 inf", "is not the bound|no section"),
    ],
)
def test_what_is_refused(before: str, after: str, why: str) -> None:
    assert before in PAPER
    text = PAPER.replace(before, after)
    if not after:
        text = text.replace("DER 11", "DER 10")
    if why.startswith("is not the bound"):  # what is absurd dominates all: it may be a bound
        assert Vipr(text).check() == "within [1, inf]"
        return
    with pytest.raises(ValueError, match=why):
        Vipr(text).check()


RANGE = """\
VER 1.1
VAR 1
x
INT 0
OBJ min
1 0 1
CON 1 1
low G 1/2 1 0 2
RTP range {}
SOL 1
best 1 0 1/4
DER 1
bound G {} OBJ {{ lin 1 0 1/2 }} -1
"""


@pytest.mark.parametrize(
    ("asked", "derived", "why"),
    [
        ("1/4 1/4", "1/4", None),
        ("1/8 inf", "1/4", None),
        ("1/4 1/4", "1/8", "not the bound"),
        ("1/8 1/8", "1/4", "no solution is that good"),
        ("1/2 1/2", "1/2", "does not follow"),
    ],
)
def test_a_range(asked: str, derived: str, why: str | None) -> None:
    checked = Vipr(RANGE.format(asked, derived))
    if why is None:
        assert checked.check().startswith("within")
        return
    with pytest.raises(ValueError, match=why):
        checked.check()


def test_a_solution_that_breaks_a_constraint() -> None:
    with pytest.raises(ValueError, match="a solution breaks low"):
        Vipr(RANGE.format("1/4 1/4", "1/4").replace("best 1 0 1/4", "best 1 0 1/5")).check()
