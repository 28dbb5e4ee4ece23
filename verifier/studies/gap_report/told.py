"""What a report says in words and tables: the answer in three sentences, shares at radii, techniques, every input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from typing import Any

import numpy as np

from verifier.pages.page import Link, Table
from verifier.pages.wording import above, as_given, bracket, counted, in_decimals, ranges
from verifier.runs.journal import Record
from verifier.studies.gap_report.records import HELD_UNDER, Collected, Kind, Technique, tightness
from verifier.studies.wilson import LEVEL, Share

IN_A_SENTENCE = 3  # radii, at the most
ROUNDED = {Kind.BOUND: ROUND_FLOOR, Kind.ATTACK: ROUND_CEILING, Kind.ESTIMATE: ROUND_HALF_EVEN}
"""To the side that claims less."""


def answer(found: Collected, data: str, radii: Sequence[float]) -> str:
    """Who is right and known exactly; how many are proven at a few radii; how near the nearest adversary is."""
    if not found.indices:
        return "No input is finished yet."
    right, known = int(found.correct.sum()), int((found.closed & found.correct).sum())
    share = Share(right, right, len(found.indices))
    exact = ("it" if right == 1 else "all of them") if known == right else f"{known} of them"
    asked = counted(len(found.indices), "input")
    if not right:
        return f"None of {asked} of {data} is classified right ({_told(share)})."
    sentences = [
        f"Of {asked} of {data}, {right} {'is' if right == 1 else 'are'} classified right ({_told(share)}), and the "
        f"distance to the nearest adversary is known exactly for {exact}."
    ]
    chosen = radii if len(radii) <= IN_A_SENTENCE else [radii[0], radii[len(radii) // 2], radii[-1]]
    if chosen:
        parts = [_robust_in_words(found.robust(radius), radius) for radius in chosen]
        sentences.append(f"Proven to have no adversary are {', '.join(parts)}.")
    return " ".join([*sentences, _nearest(found)])


def _robust_in_words(share: Share, radius: float) -> str:
    undecided = f", {share.high - share.low} undecided" if share.high > share.low else ""
    return f"{share.low} of {share.samples} within {as_given(radius)} ({_told(share)}{undecided})"


def _told(share: Share) -> str:
    """A share with its interval."""
    return f"{share.told()}; {LEVEL:.0%} interval {share.interval_told()}"


def _nearest(found: Collected) -> str:
    right = np.flatnonzero(found.correct)
    middle = bracket(float(np.median(found.lower[right])), float(np.median(found.upper[right])))
    k = int(right[found.upper[right].argmin()])
    if not np.isfinite(found.upper[k]):
        return f"No adversary was found of any of them; their median distance is {middle}."
    record = found.records[k]
    where = f"input {found.indices[k]}, {record['predicted']} read as {record['target']}"
    nearest = above(float(found.upper[k]))
    return f"The nearest adversary found is {nearest} away ({where}); the median distance is {middle}."


def at_radii(found: Collected, radii: Sequence[float]) -> Table:
    """A row for each radius: the share that is proven, its interval, and which inputs are what."""
    rows = [_at(found, 0.0), *(_at(found, radius) for radius in radii)]
    header = (
        "within", "right with no adversary", f"{LEVEL:.0%} interval", "proven", "refuted: an adversary is known",
        "undecided",
    )  # fmt: skip
    return Table(
        header, rows,
        "Numbers are those of the inputs in the data, counted from 0. Proven: right, and proven to have no adversary "
        "within the radius. Refuted: wrong as it is, or with an adversary within the radius that was replayed. The "
        "interval (Wilson's) is what so few inputs tell of all that they were drawn from.",
    )  # fmt: skip


def _at(found: Collected, radius: float) -> tuple[str, ...]:
    indices = np.array(found.indices, int)
    # At 0 there is nothing to prove: an input that is right is right.
    proven = found.lower > radius if radius > 0 else found.correct
    possible = found.upper > radius if radius > 0 else found.correct
    share = found.share(proven, possible)
    return (
        as_given(radius), share.told(), share.interval_told(), ranges(indices[proven].tolist()),
        ranges(indices[~possible].tolist()), ranges(indices[possible & ~proven].tolist()),
    )  # fmt: skip


def techniques(found: Collected) -> Table:
    """A row for each technique: how near it comes, how often it is exact, on how many inputs it ran, at what cost."""
    rows: list[tuple[str, ...]] = []
    right = int(found.correct.sum())
    for technique in found.techniques:
        told = tightness(found, technique)
        rows.append((
            technique.name, str(technique.kind), _ratios(told.median_low, told.median_high),
            f"{_ratio(told.low)} to {_ratio(told.high)}", told.found.told(), told.found.interval_told(),
            f"{int((technique.ran & found.correct).sum())} of {right}", f"{told.seconds:.3f}",
        ))  # fmt: skip
    if right:
        known = int((found.closed & found.correct).sum())
        closed = Share(known, known, right)
        seconds = f"{float(np.median(found.seconds[found.correct])):.3f}"
        rows.append(
            ("exact", "search", "1", "1 to 1", closed.told(), closed.interval_told(), f"{right} of {right}", seconds)
        )
    header = (
        "technique", "kind", "median ratio to exact", "tenth to ninetieth percentile", "exact on",
        f"{LEVEL:.0%} interval", "ran on", "median s",
    )  # fmt: skip
    caption = "Ratios are over the inputs that are right and whose nearest adversary is known."
    if (~found.closed & found.correct).any():
        caption += " Where a distance is open, so is its ratio: both ends are counted."
    return Table(header, rows, caption)


def samples(found: Collected) -> Table:
    """A row for each input: its bracket, who proved it, on what it rests, and the files that say so."""
    header = (
        "input", "label", "read as", "verdict", "proven lower", "replayed upper", "nearest class", "proven by", "basis",
        "found by", "seconds", "adversary", "proof",
    )  # fmt: skip
    rows = [_sample(found, k) for k in range(len(found.indices))]
    return Table(header, rows, anchors=[f"{found.norm}-{index}" for index in found.indices])


def _sample(found: Collected, k: int) -> tuple[Any, ...]:
    record = found.records[k]
    wrong = not found.correct[k]
    return (
        str(found.indices[k]), _or_dash(record["label"]), _or_dash(record["predicted"]), record["verdict"],
        in_decimals(found.lower[k], 6, ROUND_FLOOR), in_decimals(found.upper[k], 6, ROUND_CEILING),
        _or_dash(record["target"]),
        "–" if wrong else record["proven_by"], "–" if wrong else record["basis"], _or_dash(record["found_by"]),
        f"{found.seconds[k]:.2f}", _file(adversary_file(record)), _proof(record),
    )  # fmt: skip


def by_technique(found: Collected, kind: Kind) -> Table:
    """What each technique of a kind says of each input; why one was left out where it was."""
    own = [one for one in found.techniques if one.kind is kind]
    left_out = dict.fromkeys(
        name for record in found.records for name in record.get("left_out", {}).get(HELD_UNDER[kind], ())
    )
    names = list(dict.fromkeys([*(one.name for one in own), *left_out]))
    held: Mapping[str, Technique] = {one.name: one for one in own}
    rows = []
    for k, index in enumerate(found.indices):
        why = found.records[k].get("left_out", {}).get(HELD_UNDER[kind], {})
        cells = [
            in_decimals(held[name].distance[k], 5, ROUNDED[kind])
            if name in held and held[name].ran[k]
            else why.get(name, "–")
            for name in names
        ]
        rows.append((str(index), *cells))
    return Table(("input", *names), rows)


def adversary_file(record: Record) -> str | None:
    """Where the adversary of a line of the journal is, from the report's folder; None where there is none."""
    file: str | None = record.get("adversary")
    return file


def proof_file(record: Record) -> str | None:
    """Where the proof of a line of the journal is, from the report's folder; None where there is none."""
    file: str | None = (record.get("proof") or {}).get("file")
    return file


def _proof(record: Record) -> Link | str:
    """The file, or why there is none."""
    why = (record.get("proof") or {}).get("why")
    return f"none: {why}" if why else _file(proof_file(record))


def _file(path: object) -> Link | str:
    return "–" if path is None else Link(str(path).rpartition("/")[2], str(path))


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def _ratios(low: float, high: float) -> str:
    ends = _ratio(low), _ratio(high)
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _ratio(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.4f}" if np.isfinite(value) else "∞"
