"""Random operator graphs, each an ONNX file that onnxruntime runs, and smaller files that fail as a failing one does.

A graph grows node by node: an operator of `tests/generated_operators.py` is tried on its own in onnxruntime with the
values that its inputs have at a first random input, and stays if it runs and gives modest numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.reading import IR, Array, newest_opset, session_for

OLDEST_OPSET = 7
LARGEST = 160  # elements of a value
MODEST = 200.0  # and how large they may be at the first input
MOST_NODES = 6
INPUTS = 4  # random inputs for each graph


class UnfitError(Exception):
    """This operator cannot stand here: another is tried."""


@dataclass(frozen=True, eq=False)
class Generated:
    """One random file and inputs for it [B, n]; `values` are what its nodes compute at the first of them."""

    seed: int
    proto: onnx.ModelProto
    inputs: Array
    values: dict[str, Array] = field(repr=False)

    @property
    def operators(self) -> str:
        """What it is made of, in order."""
        return " ".join(node.op_type for node in self.proto.graph.node)


@dataclass(eq=False)
class Draft:
    """A graph that grows: every value is known at the first input."""

    rng: np.random.Generator
    opset: int
    kind: np.dtype[Any]
    values: dict[str, Array] = field(default_factory=dict)  # they depend on the input
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def integer(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, *choices: Any) -> Any:
        return choices[self.integer(0, len(choices) - 1)]

    def axis(self, rank: int) -> int:
        """Any axis, counted from the end as often as not."""
        if rank < 1:
            raise UnfitError
        return self.integer(-rank, rank - 1)

    def weights(self, *shape: int) -> Array:
        """Normal, now and then rounded: zeros and ties."""
        found = self.rng.normal(size=shape)
        return np.asarray(np.round(found) if self.chance(0.15) else found, dtype=self.kind)

    def below(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts to this one: axes of one, and the first ones left out."""
        kept = [1 if self.chance(0.4) else side for side in shape]
        return tuple(kept[self.integer(0, len(kept)) if self.chance(0.5) else 0 :])

    def pick(self, *ranks: int) -> str:
        """The name of a value, the newest as a rule, of one of these ranks."""
        names = [
            name
            for name, value in self.values.items()
            if value.dtype == self.kind and (not ranks or value.ndim in ranks)
        ]
        if not names:
            raise UnfitError
        return names[-1] if self.chance(0.75) else names[self.integer(0, len(names) - 1)]

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self[name].shape)

    def __getitem__(self, name: str) -> Array:
        return self.values[name] if name in self.values else self.constants[name]

    def add(self, operator: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """One node more, if onnxruntime runs it; the names of what it gives."""
        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        if any(
            isinstance(value, list) and not value for value in given.values()
        ):  # helper.make_node cannot tell the type of an empty list
            raise UnfitError
        node = helper.make_node(operator, list(inputs), names, name=f"n{len(self.nodes)}", **given)
        results = self._results(node, [name for name in inputs if name])
        moving = any(name in self.values for name in inputs) and operator not in ("Shape", "Size")
        for value in results:
            if value.dtype.kind not in "biuf" or (moving and not 0 < value.size <= LARGEST):
                raise UnfitError
            if value.dtype.kind == "f" and not np.abs(value).max(initial=0.0) < MODEST:
                raise UnfitError
        self.nodes.append(node)
        (self.values if moving else self.constants).update(zip(names, results, strict=True))
        return names

    def tried(self, operator: Callable[[Draft], object]) -> bool:
        """Whether this operator could be added; nothing of it is left if not."""
        nodes, initializers = len(self.nodes), len(self.initializers)
        values, constants = dict(self.values), dict(self.constants)
        try:
            operator(self)
        except UnfitError:
            del self.nodes[nodes:], self.initializers[initializers:]
            self.values, self.constants = values, constants
            return False
        return True

    def _results(self, node: onnx.NodeProto, inputs: list[str]) -> list[Array]:
        varying = sorted({name for name in inputs if name in self.values})
        sides = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(self[name].dtype), self.shape(name))
            for name in varying
        ]
        results = [onnx.ValueInfoProto(name=name) for name in node.output]
        held = [numpy_helper.from_array(self[name], name) for name in sorted(set(inputs) - set(varying))]
        graph = helper.make_graph([node], "one", sides, results, held)
        session = session_for(self.model(graph))
        if isinstance(session, str):
            raise UnfitError(session)
        try:
            found = session.run(None, {name: self[name] for name in varying})
        except Exception as error:  # onnxruntime raises its own family of exceptions
            raise UnfitError(str(error)) from None
        if not all(isinstance(value, np.ndarray) for value in found):
            raise UnfitError
        return list(found)

    def model(self, graph: onnx.GraphProto, ir: int = IR) -> onnx.ModelProto:
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=ir)

    def raw(self, value: Array) -> str:
        """A constant as an initializer, its numbers as bytes or as a list."""
        value = np.ascontiguousarray(value).reshape(np.shape(value))
        name = f"c{len(self.constants)}"
        if self.chance(0.7):
            tensor = numpy_helper.from_array(value, name)
        else:
            of = helper.np_dtype_to_tensor_dtype(value.dtype)
            tensor = helper.make_tensor(name, of, value.shape, value.ravel().tolist())
        self.initializers.append(tensor)
        self.constants[name] = value
        return name

    def constant(self, value: Any) -> str:
        """A constant in any of the forms that files have: stored, a node, or computed from others."""
        value = np.asarray(value)
        value = value.astype(self.kind) if value.dtype.kind == "f" else value
        if value.dtype == bool or self.chance(0.6):
            return self.raw(value)
        forms: list[Callable[[Array], str]] = [self._as_node, self._as_identity, self._as_reshaped, self._as_cast]
        if value.dtype.kind == "f":
            forms += [self._as_sum, self._as_transposed, self._as_negated, self._as_filled]
        if self.opset >= 12 and value.ndim <= 1 and value.dtype in (np.float32, np.int64):
            forms.append(self._as_listed_node)
        return forms[self.integer(0, len(forms) - 1)](value)

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, dtype=self.kind))

    def _as_node(self, value: Array) -> str:
        return self.add(
            "Constant", [], value=numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape))
        )[0]

    def _as_listed_node(self, value: Array) -> str:
        kind = "float" if value.dtype.kind == "f" else "int"
        return self.add("Constant", [], **{f"value_{kind}{'s' if value.ndim else ''}": value.tolist()})[0]

    def _as_identity(self, value: Array) -> str:
        return self.add("Identity", [self.raw(value)])[0]

    def _as_reshaped(self, value: Array) -> str:
        shape = self.raw(np.array(value.shape, dtype=np.int64))
        return self.add("Reshape", [self.raw(value.reshape(-1, 1)), shape])[0]

    def _as_cast(self, value: Array) -> str:
        other = {np.dtype(np.int64): np.int32, np.dtype(np.float32): np.float64}.get(value.dtype, value.dtype)
        to = helper.np_dtype_to_tensor_dtype(value.dtype)
        return self.add("Cast", [self.raw(value.astype(other))], to=to)[0]

    def _as_sum(self, value: Array) -> str:
        part = self.weights(*value.shape)
        return self.add("Add", [self.raw(part), self.raw(value - part)])[0]

    def _as_transposed(self, value: Array) -> str:
        return self.add("Transpose", [self.raw(value.T)])[0]

    def _as_negated(self, value: Array) -> str:
        return self.add("Neg", [self.raw(-value)])[0]

    def _as_filled(self, value: Array) -> str:
        if self.opset < 9:
            return self.raw(value)
        filler = numpy_helper.from_array(np.array([value.ravel()[0] if value.size else 0.0], dtype=self.kind))
        shape = self.raw(np.array(value.shape, dtype=np.int64))
        return self.add("ConstantOfShape", [shape], value=filler)[0]


def generate(seed: int, most_inputs: int = 40) -> Generated:
    """The random graph of this seed: the same one again for the same versions of onnxruntime."""
    for attempt in itertools.count():
        try:
            return _generated(seed, np.random.default_rng([seed, attempt]), most_inputs)
        except UnfitError:  # its last value cannot be made class scores
            continue
    raise AssertionError("unreachable")


def _generated(seed: int, rng: np.random.Generator, most_inputs: int) -> Generated:
    from tests.generated_operators import OPERATORS, RARE, classes, tail

    opset = int(rng.integers(OLDEST_OPSET, newest_opset() + 1)) if rng.random() < 0.7 else newest_opset()
    draft = Draft(rng, opset, np.dtype(np.float64 if rng.random() < 0.08 else np.float32))
    shape = _input_shape(draft, most_inputs)
    inputs = rng.uniform(-1.0, 1.5, size=(INPUTS, int(np.prod(shape)))).astype(draft.kind)
    draft.values["image"] = inputs[0].reshape(shape)
    wanted, grown = draft.integer(1, MOST_NODES), 0
    for _ in range(4 * MOST_NODES):
        table = RARE if draft.chance(0.03) else OPERATORS
        grown += draft.tried(table[draft.integer(0, len(table) - 1)])
        if grown == wanted:
            break
    open_side = shape[0] == 1 and len(shape) > 1 and draft.chance(0.4)
    result = tail(draft, classes(draft))
    return Generated(seed, _file(draft, shape, result, open_side), inputs, dict(draft.values))


def _input_shape(draft: Draft, most: int) -> tuple[int, ...]:
    """Mostly one sample of one to four axes; rarely no axis for samples at all."""
    while True:
        rank = draft.one_of(1, 1, 2, 2, 3, 3, 3, 4)
        sides = tuple(draft.integer(1, 5 if rank > 1 else 8) for _ in range(rank))
        if 1 <= np.prod(sides) <= most:
            return sides if draft.chance(0.03) else (1, *sides)


def _file(draft: Draft, shape: tuple[int, ...], result: str, open_side: bool) -> onnx.ModelProto:
    of = helper.np_dtype_to_tensor_dtype(draft.kind)
    source = helper.make_tensor_value_info("image", of, ["N", *shape[1:]] if open_side else shape)
    value = draft[result]
    sides: list[Any] = list(value.shape)
    if open_side and sides:
        sides[0] = "N"
    of = helper.np_dtype_to_tensor_dtype(value.dtype)
    output = helper.make_tensor_value_info(result, of, [None] * len(sides) if draft.chance(0.3) else sides)
    old = draft.chance(0.05)  # files of old list their constants among the inputs
    listed = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in draft.initializers
        if old
    ]
    nodes = draft.nodes if old or draft.chance(0.9) else _hidden(draft)
    graph = helper.make_graph(nodes, "generated", [source, *listed], [output], draft.initializers)
    proto = draft.model(graph, 3 if old else IR)
    if draft.chance(0.05) and not old:
        _functional(draft, proto)
    return proto


def _hidden(draft: Draft) -> list[onnx.NodeProto]:
    """One node put into both branches of an If whose condition is constant; the branch not taken changes its sign."""
    place = draft.integer(0, len(draft.nodes) - 1)
    node = draft.nodes[place]
    if len(node.output) > 1 or draft[node.output[0]].dtype != draft.kind:
        return draft.nodes
    kept, turned = onnx.NodeProto(), onnx.NodeProto()
    kept.CopyFrom(node)
    turned.CopyFrom(node)
    kept.output[0], turned.output[0] = "kept", "turning"
    of = helper.np_dtype_to_tensor_dtype(draft.kind)
    side = [helper.make_tensor_value_info(name, of, [None] * draft[node.output[0]].ndim) for name in ("kept", "turned")]
    branches = [
        helper.make_graph([kept], "as it is", [], side[:1]),
        helper.make_graph([turned, helper.make_node("Neg", ["turning"], ["turned"])], "turned", [], side[1:]),
    ]
    taken = draft.chance(0.5)
    yes, no = branches if taken else branches[::-1]
    condition = draft.raw(np.array(taken))
    choice = helper.make_node("If", [condition], node.output, name="choice", then_branch=yes, else_branch=no)
    return [*draft.nodes[:place], choice, *draft.nodes[place + 1 :]]


def _functional(draft: Draft, proto: onnx.ModelProto) -> None:
    """One node made the call of a function in the file, whose body is that node."""
    node = proto.graph.node[draft.integer(0, len(proto.graph.node) - 1)]
    if not node.input or "" in node.input or len(set(node.input)) < len(node.input) or node.op_type == "If":
        return
    body = onnx.NodeProto()
    body.CopyFrom(node)
    inputs, outputs = [f"given{k}" for k in range(len(node.input))], [f"made{k}" for k in range(len(node.output))]
    for k, name in enumerate(inputs):
        body.input[k] = name
    for k, name in enumerate(outputs):
        body.output[k] = name
    opsets = [helper.make_opsetid("", draft.opset)]
    proto.functions.append(helper.make_function("local", "Own", inputs, outputs, [body], opsets))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    node.CopyFrom(helper.make_node("Own", node.input, node.output, name=node.name, domain="local"))


def shrunk(made: Generated, fails: Callable[[onnx.ModelProto, Array], bool]) -> tuple[onnx.ModelProto, Array]:
    """A smaller file that fails as well: the first value that is wrong, made of the last one that is right."""
    floats = [name for name, value in made.values.items() if value.dtype.kind == "f" and name != "image"]
    proto, inputs = _needed(made.proto), made.inputs
    if not fails(proto, inputs):
        proto = made.proto
    for name in floats:
        cut = _ending(made, proto, name)
        if fails(cut, inputs):
            proto = cut
            break
    for name in reversed(floats):
        cut, others = _starting(made, proto, name)
        if fails(cut, others):
            return cut, others
    return proto, inputs


def _ending(made: Generated, proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The file up to one value, whose numbers become the scores."""
    cut = onnx.ModelProto()
    cut.CopyFrom(proto)
    value = made.values[name]
    cut.graph.node.extend(_reshaped(name, "scores", (-1, value.size)))
    cut.graph.output[0].CopyFrom(_side("scores", value, [None, value.size]))
    return _needed(cut)


def _starting(made: Generated, proto: onnx.ModelProto, name: str) -> tuple[onnx.ModelProto, Array]:
    """The file from one value on, which becomes the input."""
    cut = onnx.ModelProto()
    cut.CopyFrom(proto)
    value = made.values[name]
    kept = [node for node in cut.graph.node if name not in node.output]
    del cut.graph.node[:]
    cut.graph.node.extend([*_reshaped("start", name, value.shape), *kept])
    cut.graph.input[0].CopyFrom(_side("start", value, [1, value.size]))
    spread = np.random.default_rng(0).normal(size=(INPUTS, value.size))
    return _needed(cut), np.asarray(value.reshape(1, -1) + spread, dtype=value.dtype)


def _reshaped(source: str, result: str, shape: tuple[int, ...]) -> list[onnx.NodeProto]:
    wanted = numpy_helper.from_array(np.array(shape, dtype=np.int64))
    return [
        helper.make_node("Constant", [], [f"{result}_shape"], value=wanted),
        helper.make_node("Reshape", [source, f"{result}_shape"], [result], name=f"{result}_made"),
    ]


def _side(name: str, value: Array, shape: list[int | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)


def _needed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The file without what its output has no need of."""
    wanted = {proto.graph.output[0].name}
    kept = []
    for node in reversed(proto.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
            wanted |= {name for attribute in node.attribute for each in attribute.g.node for name in each.input}
    held = [tensor for tensor in proto.graph.initializer if tensor.name in wanted]
    listed = [side for side in proto.graph.input[1:] if side.name in wanted]
    graph = helper.make_graph(kept[::-1], "cut", [proto.graph.input[0], *listed], proto.graph.output, held)
    return helper.make_model(
        graph, opset_imports=proto.opset_import, functions=proto.functions, ir_version=proto.ir_version
    )


def described(proto: onnx.ModelProto) -> str:
    """The file in one line for each node: what to read when it fails."""
    lines = [
        f"opset {proto.opset_import[0].version}, input {[d.dim_value or 'N' for d in _dims(proto.graph.input[0])]}"
    ]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        inputs = ", ".join(f"{name}{list(shapes[name])}" if name in shapes else name or "-" for name in node.input)
        options = ", ".join(f"{each.name}={_shown(each)}" for each in node.attribute)
        lines.append(f"{', '.join(node.output)} = {node.op_type}({inputs}){' ' if options else ''}{options}")
    return "\n  ".join(lines)


def _dims(side: onnx.ValueInfoProto) -> Sequence[Any]:
    return list(side.type.tensor_type.shape.dim)


def _shown(attribute: onnx.AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return f"{numpy_helper.to_array(value).tolist()}"
    return value.decode() if isinstance(value, bytes) else str(value)
