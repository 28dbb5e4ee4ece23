"""Readers of witness files that share nothing with their writer: names of entries, and the numbers that stand there."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

HEAD = re.compile(r"([A-Za-z]\w*) (real|float32|float64) \[((?:\d+(?:,\d+)*)?)\]")
NUMBER = re.compile(r"-?\d+\.\d+")


def pairs(text: str) -> dict[str, Fraction]:
    """VNN-LIB 1.0: one list of pairs, X_0 … and then Y_0 …."""
    assert re.fullmatch(r"\(\s*(\([XY]_\d+ [^\s()]+\)\s*)+\)\s*", text), text
    found = {name: Fraction(Decimal(number)) for name, number in re.findall(r"\(([XY]_\d+) ([^\s()]+)\)", text)}
    letters = [name[0] for name in found]
    assert letters == sorted(letters)
    assert list(found) == [f"{letter}_{k}" for letter in "XY" for k in range(letters.count(letter))]
    return found


def tensors(text: str) -> dict[str, tuple[str, tuple[int, ...], list[Fraction]]]:
    """VNN-LIB 2.0: each tensor's name, type and shape on a line, then each entry on its own."""
    lines, found = text.removesuffix("\n").split("\n"), {}
    while lines:
        head = HEAD.fullmatch(lines.pop(0))
        assert head is not None
        shape = tuple(int(side) for side in head[3].split(",") if side)
        count = 1
        for side in shape:
            count *= side
        numbers, lines = lines[:count], lines[count:]
        assert len(numbers) == count
        assert all(NUMBER.fullmatch(number) for number in numbers), numbers
        assert head[1] not in found
        found[head[1]] = (head[2], shape, [Fraction(number) for number in numbers])
    return found
