"""Honest proofs written by hand: trees that split all, those with any multipliers, and lines that a goal needs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np

from benchmarks.proof_mutations.honest import of_real_inputs
from benchmarks.proof_mutations.judging import Proof
from benchmarks.proof_mutations.proof_lines import Line, Lines, packed
from tests.claims import Network, claim_of, distance
from tests.verifier.checker.small_proofs import Writer, fully_connected, random_layers, ranges, statement
from verifier.checker import check

PARABOLAS: Line = {
    "neurons": [0, 1, 2, 3],
    "weights": [[40, 40, 40, 40], -6],
    "spreads": [[28, 25, 28, 25], -6],
    "prices": [[1330, 1330], -10],
}
PRODUCTS: Line = {
    "units": [1] * 6,
    "prices": [1 << 25, 1 << 25, *[1 << 18] * 4],
    "point": [[0, 0], 0],
    "values": [[20, 18, 20, 18], -6],
    "scales": [[1] * 4, 0],
    "crossed": [7 << 23] * 4,
    "others": [0] * 4,
}


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
        yield of_real_inputs("trees that split all", f"{network.path.stem} by splits", network, lines)


def furnished_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """The same trees with shares, parabolas and products at random in every node that closes with them all the same,
    and with a cap before it where the checker takes one."""
    for proof in split_proofs(folder, seeds):
        for kind in ("shares", "parabolas", "products"):
            rng, lines = Random(f"{proof.name} {kind}"), copy.deepcopy(proof.lines)
            sizes = [len(line["lower"]) for line in lines if "ranges" in line]
            for at in reversed(range(len(lines))):
                if "close" not in lines[at]:
                    continue
                more = {"shares": _shares, "parabolas": _parabolas, "products": _products}[kind](rng, sizes)
                cap = _cap(rng, lines, sizes)
                stable = [rng.randrange(len(sizes)), rng.randrange(min(sizes))]
                ends: list[Lines] = [[{"split": stable}, {"empty": stable}, lines[at]]]
                ends += [[{"split": stable}, lines[at], {"empty": stable}]]
                ends += [[cap | more, lines[at] | more], [cap, lines[at] | more], [lines[at] | more], [cap, lines[at]]]
                for tried in ends:
                    whole = [*lines[:at], *tried, *lines[at + 1 :]]
                    if check(packed(whole), proof.model).whole:
                        lines = whole
                        break
            if any(kind in line for line in lines):
                name = f"{proof.name}, {kind}"
                yield replace(proof, kind="trees with any multipliers", name=name, lines=lines)


def _shares(rng: Random, sizes: list[int]) -> Line:
    shares = [
        [k, list(range(size)), [[rng.randrange(257) for _ in range(2)] for _ in range(size)]]
        for k, size in enumerate(sizes)
    ]
    return {"bins": [rng.randrange(2) for _ in range(2)], "shares": shares, "share_bits": 8}


def _parabolas(rng: Random, sizes: list[int]) -> Line:
    """Small ones that inputs pay dearly for."""
    layer = rng.randrange(len(sizes))
    listed = rng.sample(range(sizes[layer]), rng.randrange(1, sizes[layer] + 1))
    return {
        "parabolas": {
            "layer": layer,
            "neurons": listed,
            "weights": [[rng.randrange(64) for _ in listed], -9],
            "spreads": [[rng.randrange(64) for _ in listed], -9],
            "prices": [[rng.randrange(200, 400) for _ in range(2)], -9],
            "point": [[rng.randrange(-9, 10) for _ in range(2)], -6],
        }
    }


def _products(rng: Random, sizes: list[int]) -> Line:
    """Small ones of neurons of all layers."""
    listed = [sorted(rng.sample(range(size), rng.randrange(1, size + 1))) for size in sizes]
    count = sum(map(len, listed))
    return {
        "products": {
            "neurons": [[k, of_layer] for k, of_layer in enumerate(listed)],
            "units": [rng.choice((-4, -5)) for _ in range(2 + count)],
            "prices": [rng.randrange(1 << 22, 1 << 26) for _ in range(2 + count)],
            "point": [[rng.randrange(-9, 10) for _ in range(2)], -6],
            "values": [[rng.randrange(64) for _ in range(count)], -6],
            "scales": [[rng.randrange(4) for _ in range(count)], -7],
            "crossed": [rng.randrange(-(1 << 18), 1 << 20) for _ in range(count)],
            "others": [rng.randrange(2) for _ in range(count)],
        }
    }


def _cap(rng: Random, lines: Lines, sizes: list[int]) -> Line:
    """A bound of some neurons that is barely looser than their range."""
    first = {line["ranges"]: line for line in lines if "ranges" in line}
    k = rng.randrange(len(sizes))
    listed, side = sorted(rng.sample(range(sizes[k]), rng.randrange(1, sizes[k] + 1))), rng.choice(("lower", "upper"))
    loose = (1 << 20) * (-1 if side == "lower" else 1)
    values = [first[k][side][j] * 2 + loose for j in listed]
    weights = [rng.randrange(3) for _ in listed]
    return {
        "cap": [[k, listed, side, values, weights]],
        "exponent": first[k]["exponent"] - rng.choice((0, 1)),
        "weights_exponent": -20,
    }


def curved_proofs(folder: Path, seeds: Iterable[int]) -> Iterator[Proof]:
    """Proofs that need parabolas or products: of 9/8 |x + y| + |x - y| about 0, nearly; with odd seeds behind a layer
    that has no open neuron. Chords think that it can be twice as large as it is. Also below a split, and with a cap
    that is bounded by the same line."""
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
        layer = len(first_layer)
        lines = [
            first | {"radius": float(far * Fraction(5, 8)).hex()},
            *(ranges(k, [1.0, 1.0], [3.0, 3.0]) for k in range(layer)),
            ranges(layer, [-1.25] * 4, [1.25] * 4),
            {"goal": 1},
        ]
        parabolas = PARABOLAS | {"layer": layer, "point": [rng.integers(-9, 10, 2).tolist(), -6]}
        for kind, numbers in (("parabolas", parabolas), ("products", PRODUCTS | {"neurons": [[layer, [0, 1, 2, 3]]]})):
            yield from _with_the_line(f"{network.path.stem} by {kind}", network, lines, {kind: numbers}, layer)


def _with_the_line(name: str, network: Network, lines: Lines, more: Line, layer: int) -> Iterator[Proof]:
    """One line that closes the goal; two of them below a split; one behind a cap by the same function."""
    closing: Line = {"close": True} | more
    cap = {
        "cap": [[layer, [0, 2], "upper", [5, 5], [0, 1]], [layer, [1], "lower", [-5], [1]]],
        "exponent": -2,
        "weights_exponent": -16,
        **more,
    }
    for end in ([closing], [{"split": [layer, 0]}, closing, closing], [cap, closing]):
        written = copy.deepcopy([*lines, *end])
        if check(packed(written), network.path).whole:
            yield of_real_inputs("shares, parabolas, products", f"{name}, {len(end)} lines", network, written)
