"""Two runs beside each other: samples that both asked about, paired, and which run's bracket is the higher one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from verifier.service.pages.wording import number, status

Item = dict[str, Any]
NEAR = 1e-6  # relative: both sides of one number


@dataclass(frozen=True)
class Pair:
    """One sample as two runs answer it; `lead` is `first`, `second`, `same`, or `open` where brackets overlap."""

    index: int
    first: Item
    second: Item
    lead: str

    def differs(self, verdicts: bool) -> bool:
        """Whether one bracket lies above the other; with `verdicts`, those of one question, whether they differ."""
        return self.lead in ("first", "second") or (verdicts and status(self.first) != status(self.second))


def paired(first: Iterable[Item], second: Iterable[Item]) -> list[Pair]:
    """The samples that both runs have, by index."""
    others = {item["index"]: item for item in second}
    return [Pair(one["index"], one, others[one["index"]], _lead(one, others[one["index"]]))
            for one in sorted(first, key=lambda item: item["index"]) if one["index"] in others]  # fmt: skip


def leads(pairs: Iterable[Pair]) -> Counter[str]:
    """How many samples each run leads on."""
    return Counter(pair.lead for pair in pairs)


def _lead(first: Item, second: Item) -> str:
    (low, high), (other_low, other_high) = ((number(item["lower"]), number(item["upper"])) for item in (first, second))
    if _above(low, other_high):
        return "first"
    if _above(other_low, high):
        return "second"
    closed = not (_above(high, low) or _above(other_high, other_low))
    return "same" if closed else "open"


def _above(high: float, low: float) -> bool:
    return high > low + NEAR * max(1e-9, abs(low)) if isfinite(low) else high > low
