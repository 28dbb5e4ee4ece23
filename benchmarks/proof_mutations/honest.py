"""Honest proofs of what was found out: of tiny nets, whose distances are known in fractions, and of a digits net."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx

import verifier
from benchmarks.common import REPOSITORY
from benchmarks.proof_mutations.judging import Proof
from benchmarks.proof_mutations.proof_lines import Line, Lines, lines_of
from encoders.deadline import Deadline
from tests.claims import Claim, Network, claim_of, distance, judged, truth
from tests.encoders.nets import random_chain
from tests.exact_pieces import box, difference, pieces
from tests.onnx_builder import to_onnx
from tests.verifier.checker.small_proofs import fully_connected
from trainers.datasets import digits
from verifier.options import Options
from verifier.proofs import parabola_lines, product_lines, proof_search, shared_lines
from verifier.proofs.proof import ProofFile, write_proof, written_loss

DIGITS = REPOSITORY / "trainers" / "nets" / "digits-64-32-32-10.onnx"
IMAGES = (11, 16, 11)
TINY = ((2, 4, 3, 2), (3, 4, 3, 3))
NORMS = ("linf", "l1", "l2")
LINES = {"shares": shared_lines, "parabolas": parabola_lines, "products": product_lines}


def of_real_inputs(kind: str, name: str, network: Network, lines: Lines) -> Proof:
    """An honest proof about real inputs."""
    claim = claim_of(lines[0])
    return Proof(
        kind, name, network.path, lines,
        truth=lambda first: truth(claim_of(first), network),
        judge=lambda first: judged(first, claim, network),
        hairs=_hairs(lines[0], claim, network),
    )  # fmt: skip


def _hairs(first: Line, claim: Claim, network: Network) -> tuple[Line, ...]:
    """The least radius that reaches an adversary, the nearest or the witness; the greatest lead that there is."""
    if claim.radius is None:
        return ()
    power = 2 if claim.norm == "l2" else 1
    far = distance(claim, network) if network.tiny else None if claim.distance is None else claim.distance**power
    found = []
    if far is not None:
        radius = float(far) ** (1 / power)
        while Fraction(radius) ** power < far:
            radius = math.nextafter(radius, math.inf)
        found.append(first | {"radius": radius.hex(), "witness": None})
    plain = claim.norm == "linf" and claim.targets is None and set(claim.units) == {1} and not claim.constraints
    if network.tiny and plain and claim.margin:
        low = tuple(max(a, c - claim.radius) for a, c in zip(claim.lower, claim.sample, strict=True))
        high = tuple(min(b, c + claim.radius) for b, c in zip(claim.upper, claim.sample, strict=True))
        lead = max(
            part.greatest(difference(scores[t], scores[claim.against]))
            for part, scores in pieces(network.path, box(low, high))
            for t in claim.rivals or range(len(scores))
            if t != claim.against
        )
        margin = float(lead)
        margin = margin if Fraction(margin) <= lead else math.nextafter(margin, -math.inf)
        found.append(first | {"margin": margin.hex(), "witness": None})
    return tuple(found)


def tiny_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """Distances, verdicts and losses of random tiny nets, in each norm, also with targets, units and constraints."""
    for seed in seeds:
        graph, x = random_chain(seed, TINY[seed % 2])
        network, norm = Network(to_onnx(graph, folder / f"chain{seed}.onnx"), tiny=True), NORMS[seed // 2 % 3]
        if seed % 4 == 3:
            _outsourced(network.path)
        sample = x.astype(np.float32)
        for more in ({}, units_and_constraints(seed, x)):
            yield from _distances("distances, verdicts", network, sample, seed, norm, more)
            yield from _losses("losses", network, sample, norm, more)


def grid_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """Distances and verdicts of random tiny nets on grids of three to eight levels."""
    for seed in seeds:
        graph, x = random_chain(seed, TINY[seed % 2])
        network = Network(to_onnx(graph, folder / f"grid{seed}.onnx"), tiny=True)
        levels = 3 + seed % 6
        sample = (np.round(x * levels) / levels).astype(np.float32)
        yield from _distances("on grids", network, sample, seed, NORMS[seed % 3], {"grid": levels})
        yield from _losses("on grids", network, sample, NORMS[seed % 3], {"grid": levels})


def curved_by_search(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """Balls just short of the nearest adversary in L∞, which the search closes with one kind of lines each."""
    for seed in seeds:
        for kind in LINES:
            rng = np.random.default_rng([seed, len(kind)])
            network = Network(sizes_of_sums(rng, folder / f"{kind}{seed}.onnx", kind == "products"), tiny=True)
            x = np.full(2, 0.5, dtype=np.float32)
            found = verifier.distance(network.model, x)
            for share in (0.8, 0.95) if found.lower < np.inf else ():
                result = verifier.verify(network.model, x, found.lower * share)
                yield from _with_lines(kind, "shares, parabolas, products", network, x, result)


def sizes_of_sums(rng: np.random.Generator, path: Path, behind_relus: bool) -> Path:
    """Class 1 has Σ |h| for three sums of both moves from the middle, which cannot all be large; class 0 has most of
    what they can be. Behind ReLUs that are barely open at the middle, the moves are of those."""
    rows = rng.integers(-64, 65, (2, 3)) / 64
    rows = np.concatenate([rows, -rows], axis=1)
    corners = np.array([[1, 1]] if behind_relus else [[1, 1], [1, -1]]) @ rows / 2
    least = 0.8 * float(np.abs(corners).sum(axis=1).max()) / 2
    middle = 0.125 if behind_relus else 0.5
    first_layer = [(np.eye(2), np.full(2, middle - 0.5))] if behind_relus else []
    return fully_connected(path, [*first_layer, (rows, -rows.sum(axis=0) * middle), ([[0, 1]] * 6, [least, 0])])


def _with_lines(chosen: str, kind: str, network: Network, x: Any, result: Any) -> Iterator[Proof]:
    """The proof of a verdict, if lines of the kind that is chosen are in it: all others, and caps, are not tried."""
    with ExitStack() as few:
        few.enter_context(patch.object(proof_search, "TURNS", 1))
        for name, module in LINES.items():
            few.enter_context(patch.object(module, "FEW", 1 if name == chosen else 10**6))
        proofs = list(_written(kind, network, x, result, {}))
    yield from (one for one in proofs if any(chosen in line for line in one.lines))


def digits_proofs() -> Iterator[Proof]:
    """Distances, verdicts, losses and answers on a grid about some images of a digits net."""
    data, network = digits(), Network(DIGITS, tiny=False)
    for at, image in enumerate(IMAGES):
        yield from _distances("digits", network, data.x[image], at, NORMS[at], {})
    yield from _losses("digits", network, data.x[IMAGES[0]], "linf", {})
    yield from _distances("digits", network, data.x[IMAGES[1]], 1, "linf", {"grid": 16})
    for image in IMAGES[:2]:
        x = data.x[image]
        result = verifier.verify(network.model, x, 0.9 * verifier.distance(network.model, x).lower)
        yield from _with_lines("products", "digits", network, x, result)


def units_and_constraints(seed: int, x: Any) -> dict[str, Any]:
    """Odd units, and two rows that hold at the sample; one of them where the seed is even is of one input alone."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(2, x.size))
    matrix[0, 1:] *= seed % 2
    room = rng.random(2) * 0.1
    return {"scale": np.exp2(rng.uniform(-3, 3, x.size)), "constraints": (matrix, matrix @ x + room)}


def _outsourced(path: Path) -> None:
    """The file's constants in a file of their own beside it."""
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location=f"{path.stem}.data", size_threshold=0)


def _distances(kind: str, network: Network, x: Any, seed: int, norm: str, of_inputs: dict[str, Any]) -> Iterator[Proof]:
    """A distance, one with targets or a margin, and verdicts on both sides of it."""
    model = network.model
    second = int(np.argsort(model.scores(x[None])[0])[-2])
    asked: list[dict[str, Any]] = [{}, {"targets": (second,)} if seed % 2 else {"margin": 2.0**-6}]
    for options in asked:
        how = {"norm": norm} | options | of_inputs
        found = verifier.distance(model, x, **how)
        yield from _written(kind, network, x, found, how)
        if not options and found.lower <= found.upper < np.inf:
            for radius in (found.lower * 0.75, found.upper * 1.25):
                yield from _written(kind, network, x, verifier.verify(model, x, radius, **how), how)


def _losses(kind: str, network: Network, x: Any, norm: str, of_inputs: dict[str, Any]) -> Iterator[Proof]:
    """How far any class leads, or one rival, in a small ball and in a large one: a margin below zero, or above."""
    second = int(np.argsort(network.model.scores(x[None])[0])[-2])
    for radius in (0.02, 0.3) if network.tiny else (0.02,):
        for rivals in ({}, {"targets": (second,)}):
            how = {"norm": norm} | rivals | of_inputs
            loss = verifier.margin(network.model, x, radius, **how)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "0.proof"
                written = written_loss(path, network.model, x, loss, Options(**how), None, Deadline(60.0))
                yield from _kept(kind, network, written, f"loss {norm} {list(rivals | of_inputs)}")


def _written(kind: str, network: Network, x: Any, result: Any, options: dict[str, Any]) -> Iterator[Proof]:
    with tempfile.TemporaryDirectory() as folder:
        written = write_proof(Path(folder) / "0.proof", network.model, x, result, **options)
        yield from _kept(kind, network, written, f"{result.norm} {result.verdict} {list(options)}")


def _kept(kind: str, network: Network, written: ProofFile, name: str) -> Iterator[Proof]:
    """The proof, where there is one and it rests on no claims."""
    if written.path is not None and written.claims == 0:
        yield of_real_inputs(kind, f"{network.path.stem} {name}", network, lines_of(written.path))
