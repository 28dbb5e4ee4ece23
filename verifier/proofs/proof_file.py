"""A proof as the lines of its file (docs/reference/proof-format.md): all numbers exact, compressed by gzip."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bounds.reduced_net.reduced_net import Reduced
from encoders.arrays import FloatArray
from verifier.proofs.proof_tree import (
    Bounded,
    Cap,
    Claimed,
    Close,
    Empty,
    Multipliers,
    ParabolaTerms,
    ProductTerms,
    ProofNode,
    ProofTree,
    Split,
    UpperShares,
)

Line = dict[str, Any]


def dyadic(values: Iterable[float]) -> tuple[list[int], int]:
    """Whole numbers m and one exponent e with  value = m · 2^e  exactly."""
    ratios = [float(value).as_integer_ratio() for value in values]
    most = max((below.bit_length() - 1 for _, below in ratios), default=0)
    return [above << (most - below.bit_length() + 1) for above, below in ratios], -most


def short(values: Iterable[float]) -> tuple[list[int], int]:
    """The same with whole numbers that are as small as they can be."""
    numbers, exponent = dyadic(values)
    common = reduce(or_, numbers, 0)
    spare = max(0, (common & -common).bit_length() - 1)
    return [one >> spare for one in numbers], exponent + spare


def ranges_line(layer: int, lower: FloatArray, upper: FloatArray) -> Line:
    """The ranges of a layer's neurons."""
    numbers, exponent = dyadic([*lower, *upper])
    return {"ranges": layer, "exponent": exponent, "lower": numbers[: len(lower)], "upper": numbers[len(lower) :]}


class TreeLines:
    """The lines of trees over a reduced net, whose open neurons are named by layer and entry."""

    def __init__(self, net: Reduced, relus: Sequence[int]) -> None:
        layers = {position: k for k, position in enumerate(relus)}
        self.layer = np.concatenate([np.full(len(e), layers[p]) for p, e in net.neurons] or [np.zeros(0, np.int64)])
        self.entry = np.concatenate([e.cpu().numpy() for _, e in net.neurons] or [np.zeros(0, np.int64)])

    def of(self, tree: ProofTree, targets: Sequence[int]) -> Iterator[Line]:
        """Every goal's nodes, in the order in which they are checked."""
        for goal, target in enumerate(targets):
            yield {"goal": int(target)}
            for node in tree.walk(goal):
                yield from self._node(node)

    def _node(self, node: ProofNode) -> Iterator[Line]:
        for cap in node.caps:
            yield self._cap(cap)
        match node.end:
            case Close(function):
                yield {"close": True, **self._multipliers(function)}
            case Empty(neuron):
                yield {"empty": self._name(neuron)}
            case Claimed(solver):
                yield {"claim": solver}
            case Split(neuron):
                yield {"split": self._name(neuron)}

    def _name(self, neuron: int) -> list[int]:
        return [int(self.layer[neuron]), int(self.entry[neuron])]

    def _cap(self, cap: Cap) -> Line:
        values, exponent = dyadic(torch.cat([part.values for part in cap.bounds]).tolist())
        weights, weights_exponent = dyadic(torch.cat([part.weights for part in cap.bounds]).tolist())
        entries, first = [], 0
        for part in cap.bounds:
            last = first + len(part.neurons)
            entries.append([*self._neurons(part), values[first:last], weights[first:last]])
            first = last
        told = {"cap": entries, "exponent": exponent, "weights_exponent": weights_exponent}
        return told | self._multipliers(cap.function)

    def _neurons(self, part: Bounded) -> list[Any]:
        chosen = part.neurons.cpu().numpy()
        return [int(self.layer[chosen[0]]), self.entry[chosen].tolist(), "lower" if part.sign > 0 else "upper"]

    def _multipliers(self, function: Multipliers) -> Line:
        told: Line = {}
        if len(function.weight) > 1:
            rows, exponent = dyadic(function.weight.tolist())
            told |= {"rows": rows, "rows_exponent": exponent}
        slopes, exponent = self._by_layer(function.slope, function.is_open)
        if slopes:
            told |= {"slopes": slopes, "slope_bits": -exponent}
        signs, exponent = self._by_layer(function.sign, function.sign != 0)
        if signs:
            told |= {"signs": signs, "signs_exponent": exponent}
        if function.upper is not None:
            told |= self._upper(function.upper)
        if function.parabolas is not None:
            told["parabolas"] = self._parabolas(function.parabolas)
        if function.products is not None:
            told["products"] = self._products(function.products)
        return told

    def _parabolas(self, terms: ParabolaTerms) -> Line:
        chosen = terms.neurons.cpu().numpy()
        return {
            "layer": int(self.layer[chosen[0]]),
            "neurons": self.entry[chosen].tolist(),
            "weights": short(terms.weight.tolist()),
            "spreads": short(terms.spread.tolist()),
            "prices": short(terms.price.tolist()),
            "point": short(terms.point.tolist()),
        }

    def _products(self, terms: ProductTerms) -> Line:
        chosen = terms.neurons.cpu().numpy()
        layers = self.layer[chosen]
        return {
            "neurons": [[int(layer), self.entry[chosen[layers == layer]].tolist()] for layer in np.unique(layers)],
            "units": terms.units.tolist(),
            "prices": terms.prices.tolist(),
            "point": short(terms.point.tolist()),
            "values": short(terms.values.tolist()),
            "scales": short(terms.scales.tolist()),
            "crossed": terms.crossed.tolist(),
            "others": terms.others.int().tolist(),
        }

    def _upper(self, upper: UpperShares) -> Line:
        """Shares by layer, with the bins of the inputs."""
        chosen, share = upper.neurons.cpu().numpy(), upper.share.cpu().numpy()
        numbers, exponent = dyadic(share.ravel().tolist())
        rows = np.array(numbers, dtype=object).reshape(share.shape)
        shares = []
        for layer in np.unique(self.layer[chosen]):
            of = self.layer[chosen] == layer
            shares.append([int(layer), self.entry[chosen[of]].tolist(), rows[of].tolist()])
        return {"bins": upper.bins.tolist(), "shares": shares, "share_bits": -exponent}

    def _by_layer(self, values: Tensor, chosen: Tensor) -> tuple[list[Any], int]:
        """[[layer, [entries], [whole numbers]], …] of the chosen neurons."""
        places = torch.nonzero(chosen).flatten().cpu().numpy()
        numbers, exponent = dyadic(values[chosen].tolist())
        found = []
        for layer in np.unique(self.layer[places]):
            of = self.layer[places] == layer
            found.append(
                [int(layer), self.entry[places[of]].tolist(), [m for m, kept in zip(numbers, of, strict=True) if kept]]
            )
        return found, exponent


def packed(lines: Iterable[Line]) -> bytes:
    """The file's bytes: the same for the same lines."""
    told = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    return gzip.compress(told.encode(), mtime=0)
