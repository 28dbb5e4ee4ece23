"""What a report says in words and tables: the answer in a few sentences, shares at radii, techniques, every input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from typing import Any

import numpy as np

from verifier.pages.page import Link, Table
from verifier.pages.wording import above, as_given, bracket, counted, in_decimals, number, ranges
from verifier.question.results import Verdict
from verifier.runs.journal import Record
from verifier.studies.gap_report.records import HELD_UNDER, SAME, Collected, Kind, Technique, median, tightness
from verifier.studies.wilson import LEVEL, Share

IN_A_SENTENCE = 3  # radii, at the most
ROUNDED = {Kind.BOUND: ROUND_FLOOR, Kind.ATTACK: ROUND_CEILING, Kind.ESTIMATE: ROUND_HALF_EVEN}
"""To the side that claims less."""
UNDECIDED = "undecided"  # what a page calls a sample whose verdict is `unresolved`
MARKS = "¹²³⁴⁵⁶⁷⁸⁹"


def answer(found: Collected, data: str, radii: Sequence[float], tolerance: float) -> str:
    """Who is right and known exactly; how many are proven at a few radii; how near adversaries are; which proofs."""
    if not found.indices:
        return "No input is finished yet."
    right, known = found.right, found.exact.low
    share = Share(right, right, len(found.indices))
    asked = counted(len(found.indices), "input")
    if not right:
        return f"None of {asked} of {data} is classified right ({_told(share)})."
    exact = ("it" if right == 1 else "all of them") if known == right else f"{known} of them"
    undecided = f" and undecided for {right - known}" if known < right else ""
    sentences = [
        f"Of {asked} of {data}, {right} {'is' if right == 1 else 'are'} classified right ({_told(share)}), and the "
        f"distance to the nearest adversary is known exactly, to within {as_given(tolerance)}, for {exact}{undecided}."
    ]
    chosen = radii if len(radii) <= IN_A_SENTENCE else [radii[0], radii[len(radii) // 2], radii[-1]]
    if chosen:
        parts = [_robust_in_words(found.robust(radius), radius) for radius in chosen]
        sentences.append(f"Proven to have no adversary are {', '.join(parts)}.")
    return " ".join([*sentences, _nearest(found), _proofs(found)])


def _robust_in_words(share: Share, radius: float) -> str:
    undecided = f", {share.high - share.low} undecided" if share.high > share.low else ""
    return f"{share.low} of {share.samples} within {as_given(radius)} ({_told(share)}{undecided})"


def _told(share: Share) -> str:
    """A share with its interval."""
    return f"{share.told()}; {LEVEL:.0%} interval {share.interval_told()}"


def _nearest(found: Collected) -> str:
    right = np.flatnonzero(found.correct)
    of = "Of the one classified right" if len(right) == 1 else f"Of the {len(right)} classified right"
    middle = bracket(median(found.lower[right]), median(found.upper[right]))
    k = int(right[found.upper[right].argmin()])
    if not np.isfinite(found.upper[k]):
        return f"{of} no adversary was found; the median distance is {middle}."
    record = found.records[k]
    where = f"input {found.indices[k]}, {record['predicted']} read as {record['target']}"
    nearest = above(float(found.upper[k]))
    return f"{of} the nearest adversary found is {nearest} away ({where}), and the median distance is {middle}."


def _proofs(found: Collected) -> str:
    """How many of the proven claims have a proof file, where there are any."""
    held = [record.get("proof") for record, right in zip(found.records, found.correct, strict=True) if right]
    written = sum(proof is not None and proof["file"] is not None for proof in held)
    if all(proof is None for proof in held):
        return "No proof files were asked for (--proofs)."
    claimed = sum(bool(proof is not None and proof.get("claims")) for proof in held)
    partly = f", of {claimed} in part on a solver's word" if claimed else ""
    if written == len(held):
        return f"Every proven claim about them has a proof file{partly}."
    return (
        f"Proof files hold what is proven of {written} of the {len(held)}{partly}; what is said of the others rests on "
        "this program until one is written (see “How to check an input”)."
    )


def at_radii(found: Collected, radii: Sequence[float]) -> Table:
    """A row for each radius: the share that is proven, its interval, and which inputs are what."""
    rows = [_at(found, radius) for radius in (0.0, *radii)]
    header = (
        "within", "right with no adversary", f"{LEVEL:.0%} interval", "proven", "refuted: an adversary is known",
        UNDECIDED,
    )  # fmt: skip
    sides = "; where inputs are undecided, its ends come from the proven and from the not refuted count"
    return Table(
        header, rows,
        "Numbers are those of the inputs in the data, counted from 0. Proven: right, and proven to have no adversary "
        "within the radius. Refuted: wrong as it is, or with an adversary within the radius that was replayed. The "
        f"interval is Wilson's: if these inputs were drawn at random, what they tell of all that they were drawn from"
        f"{sides if any(found.robust(radius).low < found.robust(radius).high for radius in radii) else ''}.",
    )  # fmt: skip


def _at(found: Collected, radius: float) -> tuple[str, ...]:
    indices, share = np.array(found.indices, int), found.robust(radius)
    proven, possible = found.sides(radius)
    return (
        as_given(radius), share.told(), share.interval_told(), ranges(indices[proven].tolist()),
        ranges(indices[~possible].tolist()), ranges(indices[possible & ~proven].tolist()),
    )  # fmt: skip


def techniques(found: Collected, balls: int) -> Table:
    """A row for each technique: how near it comes, how often it is exact, on how many inputs it ran, at what cost."""
    rows: list[tuple[str, ...]] = []
    right, closed = found.right, found.exact
    for technique in found.techniques:
        told, kind = tightness(found, technique), technique.kind
        rows.append((
            technique.name, str(kind), _ratios(told.median_low, told.median_high, kind),
            f"{_ratio(told.low, ROUND_FLOOR)} to {_ratio(told.high, ROUND_CEILING)}", told.found.told(),
            told.found.interval_told(), f"{int((technique.ran & found.correct).sum())} of {right}",
            f"{told.seconds:.3f}",
        ))  # fmt: skip
    if right:
        rows.append((
            "exact", "search", "1", "1 to 1", closed.told(), closed.interval_told(), f"{right} of {right}",
            f"{found.exact_seconds:.3f}",
        ))  # fmt: skip
    header = (
        "technique", "kind", "median ratio to exact", "tenth to ninetieth percentile", "exact on",
        f"{LEVEL:.0%} interval", "ran on", "median s",
    )  # fmt: skip
    return Table(header, rows, _of_ratios(found, balls))


def _of_ratios(found: Collected, balls: int) -> str:
    """What is to be known of the ratios: over which inputs, with which ends, and how finely bounds are looked for."""
    said = [
        "Ratios are over the inputs that are right and whose nearest adversary is known. A median of an even number is "
        f"the mean of the middle two, a percentile the nearest of the values. Exact on: within {SAME:.2%} of the exact "
        "distance."
    ]
    if (~found.closed & found.correct).any():
        said.append(
            f"Where a distance is undecided, so is its ratio, and both ends are counted. The exact search closed "
            f"{found.exact.low} of {found.right}; its seconds are over all {found.right}."
        )
    if any(one.kind is Kind.BOUND for one in found.techniques):
        said.append(
            f"A bound is looked for on {counted(balls, 'ball')}, by bisection below the nearest adversary: a ratio may "
            f"be short of what the technique can prove by up to 1/{2 ** (balls - 1)}."
        )
    return " ".join(said)


def samples(found: Collected) -> Table:
    """A row for each input: its bracket, who proved it, on what it rests, and the files that say so."""
    header = (
        "input", "label", "read as", "verdict", "proven lower", "replayed upper", "nearest class", "proven by", "basis",
        "found by", "seconds", "adversary", "proof",
    )  # fmt: skip
    whys = dict.fromkeys(why for record in found.records if (why := _no_proof(record)))
    marks = {why: MARKS[min(k, len(MARKS) - 1)] for k, why in enumerate(whys)}
    rows = [_sample(found, k, marks) for k in range(len(found.indices))]
    notes = [
        f"{mark} Proven by what the row names, no file written: {why}. “How to check an input” says how to write it."
        for why, mark in marks.items()
    ]
    caption = " ".join(["What is proven is rounded down, what was replayed rounded up.", *notes])
    return Table(header, rows, caption, [f"{found.norm}-{index}" for index in found.indices])


def _sample(found: Collected, k: int, marks: Mapping[str, str]) -> tuple[Any, ...]:
    record = found.records[k]
    wrong = not found.correct[k]
    verdict = UNDECIDED if record["verdict"] == Verdict.UNRESOLVED else record["verdict"]
    lower, upper = _figure(found.lower[k], 6, ROUND_FLOOR), _figure(found.upper[k], 6, ROUND_CEILING)
    why = _no_proof(record)
    return (
        str(found.indices[k]), _or_dash(record["label"]), _or_dash(record["predicted"]), verdict,
        "0" if wrong else lower, "0" if wrong else upper, _or_dash(record["target"]),
        "–" if wrong else record["proven_by"], "–" if wrong else record["basis"], _or_dash(record["found_by"]),
        f"{found.seconds[k]:.2f}", _file(adversary_file(record)),
        f"none{marks[why]}" if why else _file(proof_file(record)),
    )  # fmt: skip


def undecided(found: Collected) -> Table:
    """A row for each input whose distance is not known exactly, and what stands in the way."""
    open_ones = [record for record, closed in zip(found.records, found.closed, strict=True) if not closed]
    rows = [(str(one["index"]), one.get("why_open") or "the attempt was stopped on its way") for one in open_ones]
    return Table(("input", "why it is undecided"), rows)


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
            _figure(held[name].distance[k], 5, ROUNDED[kind])
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


def _no_proof(record: Record) -> str | None:
    """Why there is no proof file where one was asked for."""
    why: str | None = (record.get("proof") or {}).get("why")
    return why or None


def _file(path: object) -> Link | str:
    return "–" if path is None else Link(str(path).rpartition("/")[2], str(path))


def _figure(value: float, decimals: int, rounding: str) -> str:
    return in_decimals(value, decimals, rounding) if np.isfinite(value) else number(value)


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def _ratios(low: float, high: float, kind: Kind) -> str:
    """A ratio, rounded as its kind is; where it lies between two ends that differ visibly, those rounded outward."""
    ends = _ratio(low, ROUNDED[kind]), _ratio(high, ROUNDED[kind])
    return ends[0] if ends[0] == ends[1] else f"{_ratio(low, ROUND_FLOOR)} to {_ratio(high, ROUND_CEILING)}"


def _ratio(value: float, rounding: str) -> str:
    return "–" if np.isnan(value) else _figure(value, 4, rounding)
