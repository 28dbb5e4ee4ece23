"""The numbers by which a node is closed, as a line of the proof gives them ("Multipliers" of the page)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from verifier.checker.errors import RefusedError
from verifier.checker.lines import EXPONENT, Scaled, a_list, exponent, integer, integers, only, scaled
from verifier.checker.network import Network

KEYS = (
    "rows", "rows_exponent", "slopes", "slope_bits", "signs", "signs_exponent", "bins", "shares", "share_bits",
    "parabolas", "products",
)  # fmt: skip
SLOPE_BITS = SHARE_BITS = 8
PARABOLAS = 2048  # neurons of a list
SHORT_BITS, SHORT_EXPONENT = 24, 200  # of what parabolas are made with: products of two are float64 numbers
VARIABLES = 4096  # inputs, and neurons whose products are listed
PRICE_BITS, VALUE_BITS, CROSSED_BITS = 30, 18, 34  # of products: a value times a price is a float64 number

ByLayer = dict[int, tuple[list[int], list[Any]]]  # the neurons of a layer that are listed, and what is said of each


@dataclass(frozen=True)
class Parabolas:
    """r and s of each of these neurons of a layer, and c and the point's offset from the sample of each input."""

    layer: int
    neurons: list[int]
    weights: Scaled
    spreads: Scaled
    prices: Scaled
    point: Scaled


@dataclass(frozen=True)
class Products:
    """What is said of each input and of each neuron listed, in that order; see the page."""

    neurons: dict[int, list[int]]  # by layer
    units: list[int]  # exponents
    prices: list[int]
    point: Scaled  # of inputs, less the sample
    values: Scaled  # from here on of neurons alone
    scales: Scaled
    crossed: list[int]
    others: list[int]  # 0 or 1


@dataclass(frozen=True)
class Multipliers:
    """θ of each row, α where it is given, β, and the shares of upper lines; all are right, good ones close a node."""

    rows: list[int]
    rows_exponent: int = 0
    slopes: ByLayer = field(default_factory=dict)
    slope_bits: int = SLOPE_BITS
    signs: ByLayer = field(default_factory=dict)
    signs_exponent: int = 0
    bins: list[int] = field(default_factory=list)  # of each input
    shares: ByLayer = field(default_factory=dict)  # of each neuron a list, with a number for each bin
    share_bits: int = SHARE_BITS
    parabolas: Parabolas | None = None
    products: Products | None = None


def read_multipliers(line: dict[str, Any], network: Network, rows: int) -> Multipliers:
    """What a `close` or a `cap` says, of a goal of so many rows."""
    bits = integer(line.get("slope_bits", SLOPE_BITS), "slope_bits", 0, EXPONENT)
    slopes = _by_layer(line.get("slopes", []), "slopes", network)
    for _, mantissas in slopes.values():
        _parts(mantissas, "a slope", bits)
    share_bits = integer(line.get("share_bits", SHARE_BITS), "share_bits", 0, EXPONENT)
    bins = integers(line.get("bins", [0] * network.inputs), "bins", network.inputs, least=0)
    shares = _by_layer(line.get("shares", []), "shares", network)
    every = [a_list(one, "the shares of a neuron") for _, listed in shares.values() for one in listed]
    count = max([max(bins) + 1, *map(len, every[:1])])
    for of_bins in every:
        _parts(integers(of_bins, "the shares of a neuron", count), "a share", share_bits)
    return Multipliers(
        integers(line["rows"], "rows", rows, least=0) if "rows" in line else [1] * rows,
        exponent(line.get("rows_exponent", 0), "rows_exponent"),
        slopes,
        bits,
        _by_layer(line.get("signs", []), "signs", network),
        exponent(line.get("signs_exponent", 0), "signs_exponent"),
        bins,
        shares,
        share_bits,
        _parabolas(line["parabolas"], network) if "parabolas" in line else None,
        _products(line["products"], network) if "products" in line else None,
    )


def _parabolas(found: Any, network: Network) -> Parabolas:
    if not isinstance(found, dict):
        raise RefusedError("parabolas is no JSON object")
    only(found, ("layer", "neurons", "weights", "spreads", "prices", "point"))
    ((layer, (neurons, _)),) = _by_layer(
        [[found["layer"], found["neurons"], found["neurons"]]], "parabolas", network
    ).items()
    if not 1 <= len(neurons) <= PARABOLAS:
        raise RefusedError(f"parabolas lists no neuron, or more than {PARABOLAS}")
    weights, spreads, prices = (
        scaled(found[what], what, count, SHORT_BITS, SHORT_EXPONENT)
        for what, count in (("weights", len(neurons)), ("spreads", len(neurons)), ("prices", network.inputs))
    )
    return Parabolas(layer, neurons, weights, spreads, prices, scaled(found["point"], "point", network.inputs))


def _products(found: Any, network: Network) -> Products:
    if not isinstance(found, dict):
        raise RefusedError("products is no JSON object")
    only(found, ("neurons", "units", "prices", "point", "values", "scales", "crossed", "others"))
    pairs = [a_list(entry, "the neurons of products", 2) for entry in a_list(found["neurons"], "products")]
    listed = {k: some for k, (some, _) in _by_layer([[*pair, pair[1]] for pair in pairs], "products", network).items()}
    count = sum(map(len, listed.values()))
    every = network.inputs + count
    if not 1 <= count <= PARABOLAS or every > VARIABLES or not all(listed.values()):
        raise RefusedError(f"products lists a layer without neurons, or more than {PARABOLAS}, {VARIABLES} with inputs")
    return Products(
        listed,
        _within(found["units"], "units", every, -SHORT_EXPONENT, SHORT_EXPONENT),
        _within(found["prices"], "prices", every, 0, (1 << PRICE_BITS) - 1),
        scaled(found["point"], "point", network.inputs),
        scaled(found["values"], "values", count, VALUE_BITS, SHORT_EXPONENT),
        scaled(found["scales"], "scales", count, SHORT_BITS, SHORT_EXPONENT),
        _within(found["crossed"], "crossed", count, 1 - (1 << CROSSED_BITS), (1 << CROSSED_BITS) - 1),
        _within(found["others"], "others", count, 0, 1),
    )


def _within(found: Any, what: str, length: int, least: int, greatest: int) -> list[int]:
    listed = integers(found, what, length)
    if listed and not (min(listed) >= least and max(listed) <= greatest):
        raise RefusedError(f"{what} holds a whole number outside {least} … {greatest}")
    return listed


def _parts(mantissas: list[int], what: str, bits: int) -> None:
    if mantissas and not (min(mantissas) >= 0 and max(mantissas) <= 1 << bits):
        raise RefusedError(f"{what} is outside [0, 1]")


def _by_layer(found: Any, what: str, network: Network) -> ByLayer:
    """Lists of neurons and what is said of them, numbers but for shares; each pair (k, j) at most once."""
    listed: ByLayer = {}
    for entry in a_list(found, what):
        layer, neurons, said = a_list(entry, what, 3)
        layer = integer(layer, f"a layer of {what}", 0, len(network.relus) - 1)
        if layer in listed:
            raise RefusedError(f"{what} lists layer {layer} twice")
        neurons = integers(neurons, what, least=0)
        if len(set(neurons)) < len(neurons) or max(neurons, default=0) >= network.neurons(layer):
            raise RefusedError(f"{what} lists a neuron twice, or one that layer {layer} has not")
        read = a_list if what == "shares" else integers
        listed[layer] = neurons, read(said, what, len(neurons))
    return listed
