"""The numbers by which a node is closed, as a line of the proof gives them ("Multipliers" of the page)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from verifier.checker.errors import RefusedError
from verifier.checker.lines import EXPONENT, a_list, exponent, integer, integers
from verifier.checker.network import Network

KEYS = ("rows", "rows_exponent", "slopes", "slope_bits", "signs", "signs_exponent")
SLOPE_BITS = 8

ByLayer = dict[int, tuple[list[int], list[int]]]  # the neurons of a layer that are listed, and a number for each


@dataclass(frozen=True)
class Multipliers:
    """θ of each row, α where it is given, and β; any of these are right, good ones close a node."""

    rows: list[int]
    rows_exponent: int = 0
    slopes: ByLayer = field(default_factory=dict)
    slope_bits: int = SLOPE_BITS
    signs: ByLayer = field(default_factory=dict)
    signs_exponent: int = 0


def read_multipliers(line: dict[str, Any], network: Network, rows: int) -> Multipliers:
    """What a `close` or a `cap` says, of a goal of so many rows."""
    bits = integer(line.get("slope_bits", SLOPE_BITS), "slope_bits", 0, EXPONENT)
    slopes = _by_layer(line.get("slopes", []), "slopes", network)
    for _, mantissas in slopes.values():
        if mantissas and not (min(mantissas) >= 0 and max(mantissas) <= 1 << bits):
            raise RefusedError("a slope is outside [0, 1]")
    return Multipliers(
        integers(line["rows"], "rows", rows, least=0) if "rows" in line else [1] * rows,
        exponent(line.get("rows_exponent", 0), "rows_exponent"),
        slopes,
        bits,
        _by_layer(line.get("signs", []), "signs", network),
        exponent(line.get("signs_exponent", 0), "signs_exponent"),
    )


def _by_layer(found: Any, what: str, network: Network) -> ByLayer:
    """Lists of neurons and numbers, each pair (k, j) at most once."""
    listed: ByLayer = {}
    for entry in a_list(found, what):
        layer, neurons, mantissas = a_list(entry, what, 3)
        layer = integer(layer, f"a layer of {what}", 0, len(network.relus) - 1)
        if layer in listed:
            raise RefusedError(f"{what} lists layer {layer} twice")
        neurons = integers(neurons, what, least=0)
        if len(set(neurons)) < len(neurons) or max(neurons, default=0) >= network.neurons(layer):
            raise RefusedError(f"{what} lists a neuron twice, or one that layer {layer} has not")
        listed[layer] = neurons, integers(mantissas, what, len(neurons))
    return listed
