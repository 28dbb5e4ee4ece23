"""A random graph that grows: every node is tried in onnxruntime, and every value is known at a first input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.reading import IR, Array, session_for

LARGEST = 160  # elements of a value
MODEST = 200.0  # and how large they may be at the first input


class UnfitError(Exception):
    """This operator cannot stand here: another is tried."""


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
