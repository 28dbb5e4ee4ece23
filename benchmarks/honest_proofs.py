"""Honest proofs to change at random: of tiny nets, whose distances brute force knows, and of a digits net."""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import verifier
from benchmarks.claim_mutations import NORMS, Lines
from benchmarks.common import REPOSITORY
from encoders.deadline import Deadline
from tests.claims import Claim, Network, claim_of, distance
from tests.encoders.nets import random_chain
from tests.onnx_builder import to_onnx
from tests.verifier.checker.small_proofs import Writer, fully_connected, packed, random_layers, ranges, statement
from trainers.datasets import digits
from verifier.checker import check
from verifier.margin_answer import TOLERANCE
from verifier.options import Options
from verifier.proofs.proof import write_proof, written_loss
from verifier.question.results import Result

DIGITS = REPOSITORY / "trainers" / "nets" / "digits-64-32-32-10.onnx"
IMAGES = (11, 16, 11)
TINY = ((2, 4, 3, 2), (3, 4, 3, 3))
LOSS_RADIUS = 1 / 16


@dataclass(frozen=True, eq=False)
class Proof:
    """An honest proof."""

    name: str
    network: Network
    lines: Lines
    claim: Claim


def tiny_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """Distances and verdicts of random tiny nets, in each norm, also with targets, margins, units and constraints."""
    for seed in seeds:
        graph, x = random_chain(seed, TINY[seed % 2])
        network, norm = Network(to_onnx(graph, folder / f"{seed}.onnx"), tiny=True), NORMS[seed // 2 % 3]
        yield from _proofs(network, x.astype(np.float32), seed, norm)
        yield from _proofs(network, x.astype(np.float32), seed, norm, **units_and_constraints(seed, x))


def units_and_constraints(seed: int, x: Any) -> dict[str, Any]:
    """Odd units, and two rows that hold at the sample; one of them where the seed is even is of one input alone."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(2, x.size))
    matrix[0, 1:] *= seed % 2
    room = rng.random(2) * 0.1
    return {"scale": np.exp2(rng.uniform(-3, 3, x.size)), "constraints": (matrix, matrix @ x + room)}


def split_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """Trees that split every open neuron, of balls that reach nearly to the adversary that brute force knows."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        layers = random_layers(rng, (2, 4, 3, 3))
        network = Network(fully_connected(folder / f"split{seed}.onnx", layers), tiny=True)
        x = [float(one) for one in rng.integers(-16, 17, 2) / 16]
        against = int(network.model.scores(np.array([x], np.float32))[0].argmax())
        first = statement(network.path, x, None, against=against, box=[(-4.0).hex(), (4.0).hex()])
        found = distance(claim_of(first), network)
        if found is None:
            continue
        lines = Writer(network.path, layers, first | {"radius": float(found * Fraction(99, 100)).hex()}).written()
        yield Proof(f"{network.path.stem} by splits", network, lines, claim_of(lines[0]))


def shared_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """The same trees with shares of upper lines, at random, in every node that closes with them all the same."""
    for proof in split_proofs(folder, seeds):
        rng, lines = Random(len(proof.lines)), copy.deepcopy(proof.lines)
        sizes = [len(line["lower"]) for line in lines if "ranges" in line]
        for at, line in enumerate(lines):
            bins = [rng.randrange(2) for _ in lines[0]["sample"]]
            shares = [
                [k, list(range(size)), [[rng.randrange(257) for _ in range(2)] for _ in range(size)]]
                for k, size in enumerate(sizes)
            ]
            if "close" in line:
                tried = [*lines[:at], line | {"bins": bins, "shares": shares}, *lines[at + 1 :]]
                lines = tried if check(packed(*tried), proof.network.path).whole else lines
        yield Proof(f"{proof.name}, shared", proof.network, lines, proof.claim)


def curved_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """Proofs that need parabolas: of 9/8 |x + y| + |x - y| about 0, nearly; with odd seeds behind a layer that has no
    open neuron. Chords think that it can be twice as large as it is."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows = np.array([[1, 1, -1, -1], [1, -1, -1, 1]]) + rng.integers(-2, 3, (2, 4)) / 64
        ends = [[0, 1.125], [0, 1], [0, 1.125], [0, 1]]
        first_layer = [(np.eye(2), [2, 2])] if seed % 2 else []
        layers = [*first_layer, (rows, -2 * len(first_layer) * rows.sum(axis=0)), (ends, [1.5, 0])]
        network = Network(fully_connected(folder / f"curved{seed}.onnx", layers), tiny=True)
        first = statement(network.path, [0, 0], None, box=[(-1.0).hex(), (1.0).hex()])
        far = distance(claim_of(first), network)
        if far is None:
            continue
        parabolas = {
            "layer": len(first_layer),
            "neurons": [0, 1, 2, 3],
            "weights": [[40, 40, 40, 40], -6],
            "spreads": [[28, 25, 28, 25], -6],
            "prices": [[1330, 1330], -10],
            "point": [rng.integers(-9, 10, 2).tolist(), -6],
        }
        lines = [
            first | {"radius": float(far * Fraction(5, 8)).hex()},
            *(ranges(k, [1.0, 1.0], [3.0, 3.0]) for k in range(len(first_layer))),
            ranges(len(first_layer), [-1.25] * 4, [1.25] * 4),
            {"goal": 1},
            {"close": True, "parabolas": parabolas},
        ]
        yield Proof(f"{network.path.stem} by parabolas", network, lines, claim_of(lines[0]))


def multiplied_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """The same proofs with products of neurons and inputs in place of parabolas."""
    for proof in curved_proofs(folder, seeds):
        lines = copy.deepcopy(proof.lines)
        lines[-1] = {
            "close": True,
            "products": {
                "neurons": [[len(lines) - 4, [0, 1, 2, 3]]],
                "units": [1] * 6,
                "prices": [1 << 25, 1 << 25, *[1 << 18] * 4],
                "point": [[0, 0], 0],
                "values": [[20, 18, 20, 18], -6],
                "scales": [[1] * 4, 0],
                "crossed": [7 << 23] * 4,
                "others": [0] * 4,
            },
        }
        yield Proof(f"{proof.network.path.stem} by products", proof.network, lines, proof.claim)


def digits_proofs() -> Iterator[Proof]:
    """The same of some images of a digits net."""
    data, network = digits(), Network(DIGITS, tiny=False)
    for at, image in enumerate(IMAGES):
        yield from _proofs(network, data.x[image], at, NORMS[at])


def _proofs(network: Network, x: Any, seed: int, norm: str, **of_inputs: Any) -> Iterator[Proof]:
    """A distance, one with targets or a margin, verdicts on both sides of it, and a greatest loss to one class."""
    model = network.model
    scores = model.scores(x[None])[0]
    second = int(np.argsort(scores)[-2])
    asked: list[dict[str, Any]] = [{}, {"targets": (second,)} if seed % 2 else {"margin": 2.0**-6}]
    for options in asked:
        how = options | of_inputs
        found = verifier.distance(model, x, norm=norm, **how)
        yield from _proof(network, x, found, norm, how)
        if not options and found.lower < found.upper < np.inf:
            for radius in (found.lower * 0.75, found.upper * 1.25):
                yield from _proof(network, x, verifier.verify(model, x, radius, norm=norm, **how), norm, how)
    yield from _loss_proof(network, x, norm, {"targets": (second,)} | of_inputs)


def _proof(network: Network, x: Any, result: Result, norm: str, options: dict[str, Any]) -> Iterator[Proof]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_proof(Path(folder) / "0.proof", network.model, x, result, norm=norm, **options).path
        yield from _read(path, network, f"{norm} {result.verdict} {list(options)}")


def _loss_proof(network: Network, x: Any, norm: str, options: dict[str, Any]) -> Iterator[Proof]:
    loss = verifier.margin(network.model, x, LOSS_RADIUS, norm=norm, **options)
    chosen = Options(**{"norm": norm, "tolerance": TOLERANCE, **options})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.proof"
        found = written_loss(path, network.model, x, loss, chosen, None, Deadline(None)).path
        yield from _read(found, network, f"{norm} loss {list(options)}")


def _read(path: Path | None, network: Network, what: str) -> Iterator[Proof]:
    """The proof that was written, if one was."""
    if path is not None:
        lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        yield Proof(f"{network.path.stem} {what}", network, lines, claim_of(lines[0]))
