"""What every ReLU reads, and the scores, written out in the input and in what earlier ReLUs give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from verifier.checker.arithmetic import Linear, Part, Span
from verifier.checker.exact import Dyadics, Exact
from verifier.checker.network import Affine, Dense, Network, Relu


@dataclass(frozen=True, eq=False)
class Layer:
    """An affine function of the input and of earlier ReLUs: matrices, each with the value it is of, and a constant."""

    parts: tuple[tuple[Part, int], ...]
    constant: Dyadics

    def span(self, exact: Exact, spans: Mapping[int, Span]) -> Span:
        """Where it lies while what it reads lies where it does."""
        return exact.span(Linear(self.parts, self.constant), [spans[source] for _, source in self.parts])

    def at(self, exact: Exact, values: Mapping[int, Dyadics]) -> Dyadics:
        """What it is of these values."""
        total = self.constant
        for part, source in self.parts:
            total = total + exact.forward(part, values[source])
        return total


def written_out(exact: Exact, network: Network) -> dict[int, Layer]:
    """Each affine value that a ReLU reads, or that is the scores: a matrix for each input and ReLU that it rests on."""
    linear = exact.linear(network)
    sources = {value.source for value in network.values if isinstance(value, Relu)} | {network.scores}
    return {
        index: _written_out(exact, network, linear, index)
        for index in sorted(sources)
        if isinstance(network.values[index], Affine)
    }


def _written_out(exact: Exact, network: Network, linear: dict[int, Linear], index: int) -> Layer:
    size = network.values[index].size
    rows = {index: Dyadics(np.eye(size, dtype=np.int64).astype(object), 0)}
    constant = exact.zeros(size)
    for at in range(index, 0, -1):
        if at not in rows or not isinstance(network.values[at], Affine):
            continue
        here = rows.pop(at)
        bias = linear[at].bias
        if bias is not None:
            constant = constant + exact.total(here * bias)
        for part, source in linear[at].parts:
            more = exact.back(part, here)[0]
            rows[source] = rows[source] + more if source in rows else more
    parts = [
        (Part(Dense(one.ints.T), one.exponent, Dense(np.abs(one.ints.T))), source)
        for source, one in sorted(rows.items())
    ]
    return Layer(tuple(parts), constant)
