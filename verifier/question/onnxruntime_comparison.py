"""Holds a file as it was read against the file as onnxruntime runs it: no verdict is given of a file that was misread.

Two comparisons, on inputs at zero, at corners and at random. *Operator by operator*: with onnxruntime's own value of
every tensor that a node reads, the layer graph's value of what it makes may differ by the rounding of that one
operator, propagated through the graph nodes that stand for it; so a wrong sign or a pad of one shows whatever comes
after it. *As a whole*: the scores of the final graph, one by one and in a batch, at onnxruntime's default optimisation
level and without any, twice in a row, within the rounding that the whole network can have.

What differs is refused, with the first tensor, in the file's order, that does. onnxruntime runs in a process of its
own: a file on which it crashes costs one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from bounds.execution_error import ARITHMETICS, Arithmetic, error_at_points
from bounds.propagation.device_graph import DeviceGraph, torch_maps
from bounds.propagation.neuron_bounds import device_graph_for
from bounds.rounding import LARGEST_GAIN
from encoders.arrays import FloatArray
from encoders.errors import ModelError
from encoders.layer_graph.graph import Affine, Node, Relu
from encoders.onnx.node import node_name
from encoders.onnx.reader import Parsed, Step
from encoders.onnx.runtime import ExecutionError, execute

Array = NDArray[Any]
MOST_VALUES = 2**26  # numbers that are asked of onnxruntime at once
SPARE = 16  # roundings that an executor may add to each operator: fused constants, a scale applied by itself
MARGIN = 1.0 + 1e-6  # for the float64 rounding of the comparison itself
NEARLY_EQUAL = 1e-4  # of a tensor's largest number: what a batch may round otherwise
PLAIN, OPTIMISED = "without optimisation", "at its default level"


@dataclass(frozen=True)
class Comparison:
    """How a file compared: over all scores, the largest difference, and the rounding allowed where it was largest."""

    inputs: int
    tensors: int
    difference: float
    allowed: float
    batched: bool  # whether several samples may be run at once
    reach: float = float("inf")  # inputs no larger meet no limit that was read as none


def compare(parsed: Parsed, seed: int = 0) -> Comparison:
    """Compare a file with onnxruntime on a few inputs; a ModelError names the first tensor that differs."""
    path = parsed.file.path
    device_graph = device_graph_for(parsed.graph)
    if not device_graph.gain() <= LARGEST_GAIN:
        raise ModelError(
            f"{path}: its weights multiply to more than {LARGEST_GAIN:g} from layer to layer, beyond the range that "
            "float64 can bound; scale the layers so that they do not"
        )
    probes = probe_inputs(parsed, seed)
    try:
        replies = _Replays(parsed, probes).run()
    except ExecutionError as error:
        raise ModelError(f"{path}: onnxruntime cannot compute {parsed.output_name!r}: {error}") from None
    _check_functions(parsed, replies)
    _OperatorByOperator(parsed, probes).check(replies.tensors)
    return replace(_as_a_whole(parsed, device_graph, probes, replies), reach=reach(parsed))


@torch.no_grad()
def reach(parsed: Parsed) -> float:
    """How large inputs may be so that no value meets a limit at the end of its type, which was read as none."""
    builder = parsed.builder
    if builder is None or not builder.unlimited:
        return float("inf")
    sizes: list[Tensor] = []  # of each node: what is added for each unit of input size, and without any
    for node in builder.nodes[: max(builder.unlimited) + 1]:
        if isinstance(node, Affine):
            size = torch.stack([torch.zeros(node.size, dtype=torch.float64), torch.as_tensor(node.sizes)])
            for source, linear in zip(node.sources, torch_maps(node), strict=True):
                size = size + linear.magnitude(sizes[source])
            sizes.append(size)
        elif isinstance(node, Relu):
            sizes.append(sizes[node.source])
        else:
            sizes.append(torch.tensor([[1.0], [0.0]], dtype=torch.float64).expand(2, node.size))
    found = [
        ((limit / MARGIN - sizes[k][1]) / sizes[k][0]).nan_to_num(nan=0.0) for k, limit in builder.unlimited.items()
    ]
    return max(0.0, min(float(room.min()) for room in found))


def probe_inputs(parsed: Parsed, seed: int) -> Array:
    """Inputs [P, n] to compare on: zero, a corner of the unit box, and random ones, near and far."""
    size = int(np.prod(parsed.feed_shape))
    rng = np.random.default_rng(seed)
    rows = [
        np.zeros(size),
        rng.integers(0, 2, size=size).astype(np.float64),
        rng.uniform(size=size),
        rng.normal(size=size),
        4.0 * rng.normal(size=size),
        rng.choice([-1.0, 1.0], size=size),
    ]
    most = max(2, MOST_VALUES // max(1, sum(view.index.size for step in parsed.steps for _, view in step.outputs)))
    return np.array(rows[-most:], dtype=np.float64 if parsed.double else np.float32)


@dataclass(frozen=True, eq=False)
class Replies:
    """What onnxruntime gave: every tensor of each probe without optimisation, and scores and output of each run."""

    tensors: Mapping[str, FloatArray]  # [P, size]
    scores: Mapping[str, FloatArray]  # how it was run → [P, scores]
    outputs: Mapping[str, Array]
    batch: FloatArray | None  # the scores of all probes in one run, where the file takes them
    called: Array | None  # the output where local functions are called and not written out, if the file has any


class _Replays:
    """The file, run in all the ways in which it may be run."""

    def __init__(self, parsed: Parsed, probes: Array) -> None:
        self.parsed, self.probes = parsed, probes
        self.feeds = [{parsed.input_name: probe.reshape(parsed.feed_shape)} for probe in probes]
        made = {output for node in parsed.proto.graph.node for output in node.output}
        names = dict.fromkeys(name for step in parsed.steps for name, _ in step.outputs)
        self.names = [name for name in names if name in made]

    def run(self) -> Replies:
        parsed = self.parsed
        ends = list(dict.fromkeys([parsed.scores_name, parsed.output_name]))
        exposed = exposing(parsed, [*self.names, *ends])
        plain = exposing(parsed, ends)
        found = execute(exposed, self.feeds, self.names)
        tensors = {
            name: np.array([np.asarray(row[k], dtype=np.float64).reshape(-1) for row in found])
            for k, name in enumerate(self.names)
        }
        scores: dict[str, FloatArray] = {}
        outputs: dict[str, Array] = {}
        for optimised in (False, True):
            told = OPTIMISED if optimised else PLAIN
            runs = execute(plain, [*self.feeds, *self.feeds], ends, optimised)
            for k, when in enumerate(("", ", again")):
                part = runs[k * len(self.feeds) : (k + 1) * len(self.feeds)]
                scores[told + when] = np.array([np.asarray(row[0], dtype=np.float64).reshape(-1) for row in part])
                outputs[told + when] = np.array([np.asarray(row[-1]).reshape(-1) for row in part])
        called = None
        if parsed.file.given is not None:
            rows = execute(parsed.file.given.SerializeToString(), self.feeds, [parsed.output_name])
            called = np.array([np.asarray(row[0]).reshape(-1) for row in rows])
        batch = self._batch(exposed, plain, ends, found) if parsed.batched else None
        return Replies(tensors, scores, outputs, batch, called)

    def _batch(
        self, exposed: bytes, plain: bytes, ends: Sequence[str], alone: Sequence[Sequence[Array]]
    ) -> FloatArray | None:
        """All probes in one run, where the file leaves its leading dimension open; None where it cannot.

        Neither where some tensor of the batch is not those of the probes one after the other: what reads it may mix
        samples, though it need not show on these.
        """
        batch = self.probes.reshape(-1, *self.parsed.feed_shape[1:])
        feeds = [{self.parsed.input_name: batch}]
        try:
            together = execute(exposed, feeds, self.names)[0]
            runs = [execute(plain, feeds, ends, level)[0][0] for level in (False, True)]
        except ExecutionError:
            return None
        if not all(_stacked(whole, parts) for whole, parts in zip(together, zip(*alone, strict=True), strict=True)):
            return None
        found = [np.asarray(run, dtype=np.float64) for run in runs]
        if any(run.size != found[0].size or run.size % len(batch) for run in found):
            return None
        return np.concatenate([run.reshape(len(batch), -1) for run in found])


def exposing(parsed: Parsed, names: Sequence[str]) -> bytes:
    """The file with the named tensors as its outputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(parsed.proto)
    known = {output.name: output for output in parsed.proto.graph.output}
    del proto.graph.output[:]
    for name in dict.fromkeys(names):
        proto.graph.output.append(known.get(name, onnx.ValueInfoProto(name=name)))
    content: bytes = proto.SerializeToString()
    return content


def _check_functions(parsed: Parsed, replies: Replies) -> None:
    """Local functions written out must be, to the bit, what onnxruntime makes of calling them."""
    if replies.called is not None and not np.array_equal(replies.called, replies.outputs[PLAIN]):
        raise ModelError(
            f"{parsed.file.path}: its output {parsed.output_name!r} changes when its local functions are written out; "
            "export it without local functions"
        )


def _stacked(whole: Array, parts: Sequence[Array]) -> bool:
    """Whether a tensor of a batch is its samples' tensors one after the other, but for rounding."""
    if not parts[0].ndim:
        return False
    expected = np.concatenate(parts)
    if whole.shape != expected.shape:
        return False
    near = NEARLY_EQUAL * float(np.abs(expected).max(initial=0.0))
    return bool(np.allclose(whole, expected, rtol=0.0, atol=near, equal_nan=True))


# -- operator by operator ---------------------------------------------------------------------------------------------


class _OperatorByOperator:
    """Each operator of the file by itself, on onnxruntime's own values of what it reads."""

    def __init__(self, parsed: Parsed, probes: Array) -> None:
        self.parsed = parsed
        builder = parsed.builder
        self.nodes: Sequence[Node] = () if builder is None else builder.nodes
        self.arithmetic = arithmetic_of(parsed)
        start = torch.as_tensor(np.asarray(probes, dtype=np.float64))
        self.values: dict[int, Tensor] = {0: start}
        self.errors: dict[int, Tensor] = {0: torch.zeros_like(start)}

    @torch.no_grad()
    def check(self, tensors: Mapping[str, FloatArray]) -> None:
        ends = [*(step.first for step in self.parsed.steps[1:]), len(self.nodes)][: len(self.parsed.steps)]
        for step, end in zip(self.parsed.steps, ends, strict=True):
            for position in range(step.first, end):
                self._compute(position)
            for name, view in step.outputs:
                if name in tensors:
                    self._settle(step, name, view.node, view.index, tensors[name])

    def _compute(self, position: int) -> None:
        """A graph node's value, and how far the executed one may be from it."""
        node = self.nodes[position]
        if isinstance(node, Relu):
            self.values[position] = self.values[node.source].relu()
            self.errors[position] = self.errors[node.source]
            return
        if not isinstance(node, Affine):
            return
        maps = torch_maps(node)
        total = torch.as_tensor(node.bias)[None]
        size = torch.as_tensor(node.sizes)[None]
        error = torch.zeros_like(size)
        for source, linear in zip(node.sources, maps, strict=True):
            total = total + linear.apply(self.values[source])
            size = size + linear.magnitude(self.values[source].abs() + self.errors[source])
            error = error + linear.magnitude(self.errors[source])
        terms = sum(linear.terms for linear in maps) + node.roundings + SPARE
        share = self.arithmetic.gamma(torch.tensor(float(terms), dtype=torch.float64))
        self.values[position] = total
        self.errors[position] = (error + share * size) * MARGIN + 4.0 * terms * self.arithmetic.least

    def _settle(self, step: Step, name: str, node: int, index: NDArray[np.int64], given: FloatArray) -> None:
        """Compare a tensor, and go on from what onnxruntime has for it."""
        path = self.parsed.file.path
        told = f"{path}: tensor {name!r} of {node_name(step.node)}"
        if given.shape[1] != index.size:
            raise ModelError(
                f"{told} has {given.shape[1]} entries in onnxruntime, and {index.size} as read; the file is refused"
            )
        if not np.isfinite(given).all():
            raise ModelError(f"{told} is not finite in onnxruntime on ordinary inputs; repair the model file")
        place = torch.as_tensor(np.maximum(index, 0))
        shown = torch.as_tensor(index >= 0)
        theirs = torch.as_tensor(given)
        ours, error = (part[node][:, place] * shown for part in (self.values, self.errors))
        apart = (ours - theirs).abs()
        wrong = ~(apart <= error)
        if wrong.any():
            row, column = (int(k) for k in torch.nonzero(wrong)[0])
            raise ModelError(
                f"{told} is {float(theirs[row, column]):.9g} in onnxruntime and {float(ours[row, column]):.9g} as "
                f"read (entry {column}; rounding allows {float(error[row, column]):.3g}): the file does not mean what "
                "was read of it, and is refused; please report it"
            )
        if not shown.all():
            place, theirs = place[shown], theirs[:, shown]
        for part, fresh in ((self.values, theirs), (self.errors, torch.zeros_like(theirs))):
            changed = part[node].clone()
            changed[:, place] = fresh
            part[node] = changed


# -- as a whole -------------------------------------------------------------------------------------------------------


def _as_a_whole(parsed: Parsed, device_graph: DeviceGraph, probes: Array, replies: Replies) -> Comparison:
    """The scores of the final graph against every run of the file."""
    path = parsed.file.path
    real, allowed = scores_and_rounding(parsed, device_graph, probes)
    worst, at = 0.0, 0.0
    for told, found in replies.scores.items():
        scores = with_classes(parsed, found)
        if scores.shape != real.shape:
            raise ModelError(
                f"{path}: tensor {parsed.scores_name!r} has {scores.shape[1]} scores in onnxruntime {told}, and "
                f"{real.shape[1]} as read; the file is refused"
            )
        apart = np.abs(scores - real)
        if not (apart <= allowed).all():
            row, column = (int(k) for k in np.argwhere(~(apart <= allowed))[0])
            raise ModelError(
                f"{path}: tensor {parsed.scores_name!r} is {scores[row, column]:.9g} in onnxruntime {told} and "
                f"{real[row, column]:.9g} as read (score {column}; rounding allows {allowed[row, column]:.3g}): "
                + _why(told)
            )
        place = np.unravel_index(int(apart.argmax()), apart.shape)
        if apart[place] >= worst:
            worst, at = float(apart[place]), float(allowed[place])
        _check_classes(parsed, found, replies.outputs[told], allowed)
    batched = False
    if replies.batch is not None and replies.batch.shape[1] * 2 * len(probes) == replies.batch.size:
        both = with_classes(parsed, replies.batch).reshape(2, len(probes), -1)
        batched = both.shape[2] == real.shape[1] and bool((np.abs(both - real) <= allowed).all())
    return Comparison(len(probes), len(replies.tensors), worst, at, batched)


def _why(told: str) -> str:
    """What a difference in this run says of the file: runs without optimisation came first, and agreed."""
    if told.startswith(OPTIMISED):
        return (
            "its optimisation computes something else than the file, with quantised values perhaps, and the file is "
            "refused; export it with float weights"
        )
    return "the file does not mean what was read of it, and is refused; please report it"


def _check_classes(parsed: Parsed, scores: FloatArray, outputs: Array, allowed: FloatArray) -> None:
    """What was left out at the end must not change which class comes first."""
    if not parsed.left_out or parsed.threshold is not None:
        return
    for row, (mine, whole) in enumerate(zip(scores, outputs, strict=True)):
        close = np.flatnonzero(mine >= mine.max() - 2.0 * float(allowed[row].max()))
        if parsed.left_out[-1] == "ArgMax":
            agrees = whole.size == 1 and int(whole[0]) in close
        else:
            near = 1e-5 * abs(float(whole.max())) + 1e-6  # of the largest: saturated scores are equal in float32
            agrees = whole.size == mine.size and bool((whole[close] >= whole.max() - near).any())
        if not agrees:
            raise ModelError(
                f"{parsed.file.path}: its output {parsed.output_name!r} names another class than "
                f"{parsed.scores_name!r} does: the operators at its end cannot be left out"
            )


def scores_and_rounding(parsed: Parsed, device_graph: DeviceGraph, probes: Array) -> tuple[FloatArray, FloatArray]:
    """The scores of the graph in float64 [P, classes], and how far executed ones may be from them."""
    points = torch.as_tensor(np.asarray(probes, dtype=np.float64))
    with torch.no_grad():
        scores, errors = device_graph.forward(points), error_at_points(device_graph, points, arithmetic_of(parsed))
    return np.asarray(scores.numpy()), np.asarray(errors.numpy())


def arithmetic_of(parsed: Parsed) -> Arithmetic:
    """The numbers that the file computes with."""
    return ARITHMETICS["float64" if parsed.double else "float32"]


def with_classes(parsed: Parsed, scores: FloatArray) -> FloatArray:
    """Scores [B, classes] of what the scores tensor holds: a threshold stands before a single output."""
    if parsed.threshold is None:
        return scores
    return np.concatenate([np.full((len(scores), 1), parsed.threshold), scores.reshape(len(scores), 1)], axis=1)
