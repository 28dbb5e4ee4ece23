"""Honest proofs of int8 nets: of tiny ones, all of whose points can be executed, and of digits-int8."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import verifier
from benchmarks.common import REPOSITORY
from benchmarks.proof_mutations.judging import Proof
from benchmarks.proof_mutations.proof_lines import Line, Lines, lines_of, packed
from encoders.deadline import Deadline
from tests.grid_claims import Int8Network, grid_claim_of, grid_judged, grid_truth, least_measure
from tests.int8_points import random_points
from trainers.datasets import digits
from verifier.checker import check
from verifier.options import Options
from verifier.proofs.proof import ProofFile, write_proof, written_loss

DIGITS_INT8 = REPOSITORY / "trainers" / "nets" / "digits-int8.onnx"
IMAGES = (("linf", 0), ("linf", 4), ("l1", 4), ("l2", 4), ("l2", 0), ("l0", 0), ("l0", 11))
RADII = {"l2": 0.13}  # decisions: distances take long
LEADS = (("linf", 3, 1 / 16), ("l1", 4, 1 / 8), ("l0", 3, 1.0))
SECONDS = 20.0


def tiny_int8_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """Distances, decisions and losses of random nets of a few inputs; the same with more lines."""
    for seed in seeds:
        points = random_points(seed, folder)
        network = Int8Network(points.path, tiny=True)
        asked = dict(points.asked)
        result = verifier.distance(network.model, points.x, **asked)
        yield from _written("tiny int8 nets", network, points.x, result, asked)
        half = int(points.measures.max()) // 2
        radius = {"l2": np.sqrt(half + 0.5) / asked["grid"], "l0": half}.get(asked["norm"], half / asked["grid"])
        yield from _losses("tiny int8 nets", network, points.x, float(radius), asked)
        if 0.0 < result.lower < np.inf:
            del asked["mask"]
            result = verifier.verify(network.model, points.x, result.lower * 0.9, **asked)
            yield from _written("tiny int8 nets", network, points.x, result, asked)


def digits_int8_proofs() -> Iterator[Proof]:
    """A digit in each norm on the grid of 16."""
    data, network = digits(), Int8Network(DIGITS_INT8, tiny=False)
    for norm, image in IMAGES:
        asked: dict[str, Any] = {"norm": norm, "grid": 16, "time_limit": SECONDS}
        if norm in RADII:
            result = verifier.verify(network.model, data.x[image], RADII[norm], **asked)
        else:
            result = verifier.distance(network.model, data.x[image], **asked)
        yield from _written("digits-int8", network, data.x[image], result, asked)
    for norm, image, radius in LEADS:
        asked = {"norm": norm, "grid": 16, "time_limit": SECONDS}
        yield from _losses("digits-int8", network, data.x[image], radius, asked)


def _written(kind: str, network: Int8Network, x: Any, result: Any, asked: dict[str, Any]) -> Iterator[Proof]:
    with tempfile.TemporaryDirectory() as folder:
        written = write_proof(Path(folder) / "0.proof", network.model, x, result, **asked)
        yield from _kept(kind, network, written, f"{network.path.stem} {asked['norm']} {result.verdict}")


def _losses(kind: str, network: Int8Network, x: Any, radius: float, asked: dict[str, Any]) -> Iterator[Proof]:
    """How far any class leads within a radius, or a target where one is asked about."""
    mask = asked.get("mask")
    options = {name: value for name, value in asked.items() if name not in ("mask", "margin")}
    loss = verifier.margin(network.model, x, radius, mask=mask, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.proof"
        written = written_loss(path, network.model, x, loss, Options(**options), mask, Deadline(SECONDS))
        yield from _kept(kind, network, written, f"{network.path.stem} loss {asked['norm']}", loss.lower)


def _kept(
    kind: str, network: Int8Network, written: ProofFile, name: str, reached: float | None = None
) -> Iterator[Proof]:
    """The proof, where there is one and it rests on no claims; and the same with more lines."""
    if written.path is None or written.claims:
        return
    lines = lines_of(written.path)
    yield of_grid(kind, name, network, lines, reached)
    more = with_more(Random(name), network, lines) if network.tiny else None
    if more is not None:
        yield of_grid(kind, f"{name}, and more", network, more, reached)


def of_grid(kind: str, name: str, network: Int8Network, lines: Lines, reached: float | None = None) -> Proof:
    """An honest proof about the points of a grid, one of which has a lead that was reached."""
    claim = grid_claim_of(lines[0])
    return Proof(
        kind, name, network.path, lines,
        truth=lambda first: grid_truth(grid_claim_of(first), network),
        judge=lambda first: grid_judged(first, claim, network),
        hairs=_hairs(lines[0], network, reached),
    )  # fmt: skip


def _hairs(first: Line, network: Int8Network, reached: float | None) -> tuple[Line, ...]:
    """One measure more than the nearest adversary's, or the witness's; the greatest lead that was reached."""
    if first["below"] is None:
        return ()
    lead = () if reached is None else (first | {"margin": reached.hex()},)
    if network.tiny:
        least = least_measure(grid_claim_of(first), network)
    else:
        least = None if first["witness"] is None else first["witness"]["measure"]
    return lead if least is None else (*lead, first | {"below": least + 1, "witness": None})


def with_more(rng: Random, network: Int8Network, lines: Lines) -> Lines | None:
    """The same with signs, splits and layers bounded again at random, where it is whole all the same."""
    layers = [line for line in lines if "lines" in line]
    found = lines
    for at in reversed(range(len(lines)) if layers else ()):
        for tried, end in _more(rng, found, at, layers):
            whole = [*found[:at], *tried, *found[end:]]
            if check(packed(whole), network.path).whole:
                found = whole
                break
    return None if found is lines else found


def _more(rng: Random, lines: Lines, at: int, layers: Lines) -> Iterator[tuple[Lines, int]]:
    """What may stand in place of a line, or of that and the next; the end of what it replaces."""
    line, follows = lines[at], lines[at + 1 : at + 2]
    sizes = {one["lines"]: len(one["below"]) for one in layers}
    k = rng.choice(sorted(sizes))
    neuron = [k, rng.randrange(sizes[k])]
    if "goal" in line:
        yield [line, copy.deepcopy(rng.choice(layers))], at + 1
    if "narrow" not in line:
        return
    signed = line | {"signs": [[k, neuron[1:], [rng.choice((-3, -1, 1, 2, 1 << 9))]]]}
    if follows == [{"close": True}]:
        sum_or_input = [neuron, [rng.randrange(len(lines[0]["sample"]))]]
        split = {"split": rng.choice(sum_or_input), "at": rng.choice((-99, -1, 0, 1, 2, 99))}
        for first, second in ((True, True), (True, False), (False, True)):
            yield [split, *([signed] * first), *follows, *([line] * second), *follows], at + 2
    yield [signed], at + 1
