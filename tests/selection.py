"""Which cases an ordinary run leaves out: tests marked `slow` or `release`, and most of those marked `fewer`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

Choice = tuple[str, int]  # a parameter, and one of its values


def chosen(cases: Sequence[frozenset[Choice]], most: int | None) -> list[int]:
    """Places of cases in which every value of every parameter occurs; the first of them where `most` are too few."""
    left, seen, kept = list(range(len(cases))), set[Choice](), list[int]()
    while left and (most is None or len(kept) < most):
        best = max(left, key=lambda place: len(cases[place] - seen))  # the first of equals
        if not cases[best] - seen:
            break
        left.remove(best)
        kept.append(best)
        seen |= cases[best]
    return sorted(kept)


def ordinary(items: Iterable[pytest.Item], slow: bool = False) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests of an ordinary run, or of one with those marked `slow`, and those left out; both in their order."""
    held, left, swept = list[pytest.Item](), list[pytest.Item](), dict[str, list[pytest.Item]]()
    for item in items:
        if item.get_closest_marker("release") or (not slow and item.get_closest_marker("slow")):
            left.append(item)
            continue
        held.append(item)
        if item.get_closest_marker("fewer"):
            swept.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in swept.values():
        mark = cases[0].get_closest_marker("fewer")
        places = chosen([choices(case) for case in cases], *(mark.args if mark and mark.args else (None,)))
        left += [case for place, case in enumerate(cases) if place not in places]
    out = set(left)
    return [item for item in held if item not in out], left


def choices(item: pytest.Item) -> frozenset[Choice]:
    """The values of a case's parameters; those of a product of parameters are the same objects in all its cases."""
    call = getattr(item, "callspec", None)
    return frozenset((name, id(value)) for name, value in call.params.items()) if call is not None else frozenset()
