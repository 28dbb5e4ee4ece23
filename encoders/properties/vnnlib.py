"""Reads VNN-LIB queries, of version 2.0 by the format's own parser, and of version 1.0 as queries of one network.

Numbers are taken as they are written, as exact fractions. Version 1.0, SMT-LIB's syntax with the variables X_i and
Y_i, is written again as version 2.0 first. Queries about hidden layers, products of variables and networks of several
inputs or outputs are refused by name. Networks that are isomorphic are asked about as any others.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

import vnnlib

from encoders.errors import DataError
from encoders.properties.property import Case, Declared, Inequality, Property, Variable

KINDS = {"F32": "float32", "F64": "float64", "Real": "real"}  # of numbers, as the parser and the format call them
VERSION_1, VERSION_2 = "1.0", "2.0"
MOST_CASES = 100_000  # of a property in disjunctive normal form
TOKEN = re.compile(r"[()]|[^\s()]+")
COMMENT = re.compile(r";[^\n]*")
STRAY = re.compile(r"[^\t\n\v\f\r -~]")  # the format's parser ends at a NUL, and drops what stands behind it
VARIABLE = re.compile(r"([XY])_(0|[1-9]\d*)")
MOST_DIGITS = 400  # of an exponent's size: beyond it no double is


def read_vnnlib(path: str | Path) -> Property:
    """The property of a file, which may be compressed by gzip."""
    path = Path(path)
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read it as a VNN-LIB file: {error}") from None
    try:
        return parse_vnnlib(text)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def parse_vnnlib(text: str) -> Property:
    """The property that a query's text asks about."""
    text, again = COMMENT.sub("", text), ""
    stray = STRAY.search(text)
    if stray is not None:
        raise DataError(f"{stray[0]!a} outside a comment: a query is written in plain ASCII; remove it")
    first = "declare-network" not in text
    if first:
        text, again = _as_version_2(text), " (version 1.0, as written again in version 2.0)"
    try:
        found = _read(vnnlib.parse_query_string(text))
        return replace(found, version=VERSION_1) if first else found
    except DataError:
        raise
    except vnnlib.VNNLibException as error:
        raise DataError(f"no VNN-LIB query that is known: {_first(str(error))}{again}; see www.vnnlib.org") from None
    except RecursionError:
        raise DataError("a formula that is nested too deeply; flatten its sums, ands and ors") from None
    except (IndexError, ValueError) as error:  # the parser's own, of numbers that no double holds
        raise DataError(f"a number that is beyond float64 ({error}); write one that is not") from None


def _read(query: Any) -> Property:
    networks = tuple(_declared(network) for network in query.networks)
    variables = _Variables.of(networks)
    cases: list[Case] = [()]
    for assertion in query.assertions:
        cases = [before + more for before, more in _product(cases, _cases(assertion.expr, variables))]
    return Property(networks, tuple(cases))


def _declared(network: Any) -> Declared:
    if network.hidden:
        raise DataError(f"{network.hidden[0].name} is a hidden layer; ask about inputs and outputs")
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise DataError(f"{network.name}: a network with several inputs or outputs; ask about one of each")
    return Declared(network.name, _variable(network.inputs[0]), _variable(network.outputs[0]), network.equal_to or None)


def _variable(tensor: Any) -> Variable:
    if tensor.dtype.name not in KINDS:
        raise DataError(f"{tensor.name} is declared as {tensor.dtype}; only real, float32 and float64 are known")
    return Variable(tensor.name, KINDS[tensor.dtype.name], tuple(tensor.shape))


def _first(message: str) -> str:
    """What the parser complains of first, in one line."""
    try:
        error = json.loads(message)["errors"][0]
        return f"line {error['line']}: {error['message']}: {error['offendingSymbol']} ({error['hint']})"
    except (ValueError, LookupError, TypeError):
        return message.splitlines()[0]


@dataclass(frozen=True)
class _Variables:
    """Where the entries of each tensor start, by its name: among the inputs or the outputs of all networks."""

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]

    @classmethod
    def of(cls, networks: Sequence[Declared]) -> _Variables:
        def starts(tensors: Sequence[Variable]) -> dict[str, int]:
            ends = itertools.accumulate(tensor.size for tensor in tensors)
            return {tensor.name: end - tensor.size for tensor, end in zip(tensors, ends, strict=True)}

        return cls(starts([network.input for network in networks]), starts([network.output for network in networks]))

    def place(self, variable: Any) -> tuple[bool, int]:
        """Whether it is an input, and which one of all."""
        place = 0
        for index, side in zip(variable.indices, variable.shape, strict=True):
            if not 0 <= index < side:
                raise DataError(f"{variable.name}{variable.indices}: an index that is not in {variable.shape}")
            place = place * side + index
        is_input = variable.name in self.inputs
        return is_input, place + (self.inputs if is_input else self.outputs)[variable.name]


def _product(some: list[Case], others: list[Case]) -> Iterator[tuple[Case, Case]]:
    if len(some) * len(others) > MOST_CASES:
        raise DataError(f"more than {MOST_CASES:,} cases in disjunctive normal form; split the query")
    return itertools.product(some, others)


def _cases(formula: Any, variables: _Variables) -> list[Case]:
    """A formula in disjunctive normal form."""
    if isinstance(formula, vnnlib.Or):
        found = [case for part in formula.args for case in _cases(part, variables)]
        if len(found) > MOST_CASES:
            raise DataError(f"more than {MOST_CASES:,} cases in disjunctive normal form; split the query")
        return found
    if isinstance(formula, vnnlib.And):
        cases: list[Case] = [()]
        for part in formula.args:
            cases = [before + more for before, more in _product(cases, _cases(part, variables))]
        return cases
    return _comparison(formula, variables)


def _comparison(formula: Any, variables: _Variables) -> list[Case]:
    left, right = (_linear(side, variables) for side in (formula.lhs, formula.rhs))
    below = _sum(left, _times(right, Fraction(-1)))  # left - right
    above = _times(below, Fraction(-1))
    if isinstance(formula, vnnlib.LessEqual):
        return [(below,)]
    if isinstance(formula, vnnlib.GreaterEqual):
        return [(above,)]
    strictly_below, strictly_above = replace(below, strict=True), replace(above, strict=True)
    if isinstance(formula, vnnlib.LessThan):
        return [(strictly_below,)]
    if isinstance(formula, vnnlib.GreaterThan):
        return [(strictly_above,)]
    if isinstance(formula, vnnlib.Equal):
        return [(below, above)]
    if isinstance(formula, vnnlib.NotEqual):
        return [(strictly_below,), (strictly_above,)]
    raise DataError(f"{formula}: no comparison that is known")


def _linear(term: Any, variables: _Variables) -> Inequality:
    """An arithmetic term as a linear function."""
    if isinstance(term, vnnlib.Var):
        is_input, place = variables.place(term)
        one = {place: Fraction(1)}
        return Inequality(inputs=one) if is_input else Inequality(outputs=one)
    if isinstance(term, vnnlib.Literal):
        return Inequality(constant=Fraction(term.lexeme))
    if isinstance(term, vnnlib.Negate):
        return _times(_linear(term.expr, variables), Fraction(-1))
    if isinstance(term, vnnlib.Plus):
        return _sum(*(_linear(part, variables) for part in term.args))
    if isinstance(term, vnnlib.Minus):
        rest = [_times(_linear(part, variables), Fraction(-1)) for part in term.rest]
        return _sum(_linear(term.head, variables), *rest)
    if isinstance(term, vnnlib.Multiply):
        found = Inequality(constant=Fraction(1))
        for factor in (_linear(part, variables) for part in term.args):
            if found.inputs or found.outputs:
                if factor.inputs or factor.outputs:
                    raise DataError(f"{term}: a product of variables is not linear; only linear terms can be asked")
                found = _times(found, factor.constant)
            else:
                found = _times(factor, found.constant)
        return found
    raise DataError(f"{term}: no term that is known; only linear terms can be asked")


def _times(row: Inequality, factor: Fraction) -> Inequality:
    def scaled(terms: Mapping[int, Fraction]) -> dict[int, Fraction]:
        return {place: factor * weight for place, weight in terms.items() if factor * weight}

    return Inequality(scaled(row.inputs), scaled(row.outputs), factor * row.constant)


def _sum(*rows: Inequality) -> Inequality:
    inputs: dict[int, Fraction] = {}
    outputs: dict[int, Fraction] = {}
    for row in rows:
        for total, terms in ((inputs, row.inputs), (outputs, row.outputs)):
            for place, weight in terms.items():
                total[place] = total.get(place, Fraction(0)) + weight
    return _times(Inequality(inputs, outputs, sum((row.constant for row in rows), Fraction(0))), Fraction(1))


def _as_version_2(text: str) -> str:
    """A query of version 1.0 as one of version 2.0, its variables as the entries of two vectors."""
    tokens = TOKEN.findall(text)
    sizes = {"X": 0, "Y": 0}
    written: list[str] = []
    place = 0
    while place < len(tokens):
        if tokens[place : place + 2] in (["(", "declare-const"], ["(", "declare-fun"]):
            empty = [] if tokens[place + 1] == "declare-const" else ["(", ")"]  # a function of no arguments
            end = place + len(empty) + 4
            if tokens[place + 3 : end - 1] != empty or tokens[end : end + 1] != [")"]:
                raise DataError(f"{' '.join(tokens[place : end + 1])}: no declaration; write (declare-const X_0 Real)")
            name, kind = tokens[place + 2], tokens[end - 1]
            match = VARIABLE.fullmatch(name)
            if match is None:
                raise DataError(f"{name}: a variable of version 1.0 is called X_i or Y_i")
            if kind != "Real":
                raise DataError(f"{name} is declared as {kind}; variables of version 1.0 are Real")
            if int(match[2]) != sizes[match[1]]:
                raise DataError(f"{name} is declared where {match[1]}_{sizes[match[1]]} is due: number them in order")
            sizes[match[1]] += 1
            place = end + 1
            continue
        written.append(_token(tokens[place]))
        place += 1
    if not all(sizes.values()):
        raise DataError("no VNN-LIB query: it declares no network, and no variables X_0 … and Y_0 …")
    declared = f"(declare-input X real [{sizes['X']}]) (declare-output Y real [{sizes['Y']}])"
    return f"(vnnlib-version <2.0>) (declare-network N {declared})\n{' '.join(written).replace('( ', '(')}"


def _token(token: str) -> str:
    match = VARIABLE.fullmatch(token)
    if match is not None:
        return f"{match[1]}[{match[2]}]"
    if token == "=":
        return "=="
    if token[0].isdigit() or (token[0] in "+-." and len(token) > 1):
        try:
            value = Decimal(token.replace("_", "?"))  # Python's own grouping of digits is not the format's
        except InvalidOperation:
            raise DataError(f"{token}: no number") from None
        if value and abs(value.adjusted()) >= MOST_DIGITS:
            raise DataError(f"{token}: a number that is beyond float64; write one that is not")
        number = format(value, "f")
        return number if "." in number else f"{number}.0"
    return token
