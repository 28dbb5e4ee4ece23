"""Two lines about one sample as one: of each side of a bracket what says more, with all that is told of that side.

A sample that is asked anew starts from nothing, and one that is asked again for its proof may have lost its adversary.
Where it is open then, what was known before still holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verifier.question.results import Basis, weakest
from verifier.runs.journal import Record, is_open, number

PROVEN = ("basis", "execution_error")
FOUND = ("target", "found_by", "before", "after", "variables")
Sides = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Joined:
    """The line that counts; `kept` names the witnesses that are the earlier line's."""

    record: Record
    kept: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Bracket:
    """A bracket as two lines have it; the proven side is the lower one, or the upper one where `attained` is lower."""

    before: Sides
    now: Sides
    attained_below: bool = False

    @property
    def proves_more(self) -> bool:
        """Whether the earlier line proves more."""
        return self.before[1] < self.now[1] if self.attained_below else self.before[0] > self.now[0]

    @property
    def attains_more(self) -> bool:
        """Whether the earlier line's witness is better."""
        return self.before[0] > self.now[0] if self.attained_below else self.before[1] < self.now[1]

    @property
    def sides(self) -> list[float | str]:
        """The greater lower side and the lesser upper one; what is proven ends at what replays."""
        lower, upper = max(self.before[0], self.now[0]), min(self.before[1], self.now[1])
        return [number(lower), number(max(lower, upper))] if self.attained_below else [
            number(min(lower, upper)), number(upper)
        ]  # fmt: skip


def joined(before: Record, now: Record) -> Joined:
    """The line of a sample that is open now, and the one before it."""
    if "ranges" in now:
        return _joined_ranges(before, now)
    loss = "against" in now
    bracket = _Bracket(_sides(before), _sides(now), attained_below=loss)
    record = {**now, **dict(zip(("lower", "upper"), bracket.sides, strict=True))}
    if bracket.proves_more:
        record |= {name: before[name] for name in PROVEN if name in before}
        prover = before.get("proven_by") or before["engine"]
        if not loss and prover != now["engine"]:
            record["proven_by"] = prover
    if bracket.attains_more:
        record |= {name: before[name] for name in FOUND if name in before}
    if "by_target" in before:
        record |= _joined_targets(before, now)
    if not is_open(before):
        record["verdict"] = before["verdict"]
        record.pop("why_open", None)
    return Joined(record, {"worst" if loss else "adversary"} if bracket.attains_more else set())


def _joined_targets(before: Record, now: Record) -> Record:
    held: dict[str, Any] = {**before["by_target"]}
    for target, sides in now.get("by_target", {}).items():
        if target in held:
            held[target] = _Bracket(_pair(held[target]), _pair(sides), attained_below=True).sides
    return {"by_target": held, "basis": _weaker(before, now)}


def _joined_ranges(before: Record, now: Record) -> Joined:
    ranges, kept = [], set[str]()
    for k, (old, new) in enumerate(zip(before["ranges"], now["ranges"], strict=True)):
        least = _Bracket(_pair(old["least"]), _pair(new["least"]))
        greatest = _Bracket(_pair(old["greatest"]), _pair(new["greatest"]), attained_below=True)
        one = {**new, "least": least.sides, "greatest": greatest.sides}
        older = {least.proves_more, greatest.proves_more}
        one["basis"] = new["basis"] if older == {False} else old["basis"] if older == {True} else _weaker(old, new)
        if not is_open(old):
            one["verdict"] = old["verdict"]
            one.pop("why_open", None)
        ranges.append(one)
        kept |= {f"lowest-{k}"} if least.attains_more else set()
        kept |= {f"highest-{k}"} if greatest.attains_more else set()
    verdict = now["verdict"] if is_open(before) else before["verdict"]
    basis = str(weakest(Basis(one["basis"]) for one in ranges))
    return Joined({**now, "ranges": ranges, "verdict": verdict, "basis": basis}, kept)


def _weaker(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return str(weakest((Basis(before["basis"]), Basis(now["basis"]))))


def _sides(record: Record) -> Sides:
    return float(record["lower"]), float(record["upper"])


def _pair(sides: Any) -> Sides:
    return float(sides[0]), float(sides[1])
