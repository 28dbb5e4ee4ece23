"""A model file, loaded: its layer graph or integer semantics, and onnxruntime to replay inputs through the file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from encoders.errors import ModelError, OptionError, SoundnessError, UnsupportedOperatorError
from encoders.layer_graph.graph import Graph
from encoders.onnx.class_scores import one_output
from encoders.onnx.model_file import digest_of, read_model_file
from encoders.onnx.reader import Parsed, parse
from encoders.onnx.runtime_worker import session_of
from encoders.onnx.softplus_file import SoftplusFile, is_softplus, parse_softplus
from encoders.quantised.file import is_quantised, parse_quantised
from encoders.quantised.semantics import TOP, QuantisedNet
from encoders.question import Norm, Region
from encoders.validation import Number, checked
from verifier.question.code_version import code_version
from verifier.question.onnxruntime_comparison import Comparison, compare, exposing, with_classes

if TYPE_CHECKING:
    from bounds.propagation.device_graph import DeviceGraph

Array = NDArray[Any]

# What a quantised file may come to: integers throughout, and what moves them about.
EXECUTED = {"QuantizeLinear", "DequantizeLinear", "QGemm", "QLinearMatMul", "QLinearConv", "Transpose", "Flatten"}
EXECUTED |= {"Reshape", "Squeeze", "Unsqueeze", "Identity", "Softmax", "LogSoftmax", "ArgMax", "Cast"}
RELATIVE = {np.float32: 1e-4, np.float64: 1e-9}  # of what a softplus file sums up: far more than rounding
CHECKED = 256  # random inputs that a quantised file must replay to the bit when it is loaded


@dataclass(frozen=True)
class Reference:
    """A model file as another process is told of it."""

    path: Path
    digest: str
    output: str | None = None
    threshold: float | None = None
    comparison: Comparison | None = None


class Model:
    """An ONNX file as the verifier sees it, compared with onnxruntime. A worker process loads the same file again."""

    def __init__(self, parsed: Parsed, comparison: Comparison | None) -> None:
        self.path = parsed.file.path
        self.digest = parsed.file.digest  # of the file and all external data
        self.comparison = comparison
        self.threshold: float | None = None
        self.output: str | None = None
        self.input_shape = parsed.graph.input_shape
        self.classes = parsed.graph.classes
        self._parsed = parsed
        self._together = parsed.batched and comparison is not None and comparison.batched
        self._session = _session(parsed, [parsed.scores_name, parsed.output_name])

    @property
    def guide(self) -> Graph:
        """What a search's attacks follow."""
        return self._parsed.graph

    @property
    def graph(self) -> Graph:
        """The network that proofs are about."""
        return self.guide

    def attacked(self, device: str = "cpu") -> DeviceGraph:
        """The network that attacks by themselves follow, on a device."""
        from bounds.propagation.neuron_bounds import device_graph_for

        return device_graph_for(self.graph, device)

    def lower_bound(self, region: Region, norm: Norm, predicted: int) -> float | None:
        """A bound that is proven without an engine, for a network that no engine takes; None for all others."""
        del region, norm, predicted
        return None

    @property
    def quantised(self) -> QuantisedNet | None:
        """The integer semantics, where the file is a quantised network."""
        return None

    def __reduce__(self) -> tuple[object, tuple[Reference]]:
        return reopened, (self.reference,)

    @property
    def reference(self) -> Reference:
        """What another process needs to load the same file again."""
        return Reference(self.path, self.digest, self.output, self.threshold, self.comparison)

    @property
    def description(self) -> dict[str, Any]:
        """What every record says of the network that it is about, and of the code that read it."""
        told: dict[str, Any] = {"version": code_version(), "model": self.digest}
        told["output"], told["threshold"] = self.output, self.threshold
        if len(self.files) > 1:
            told["files"] = {name or self.path.name: digest for name, digest in self.files.items()}
        return told

    @property
    def files(self) -> dict[str, str]:
        """The digests of all that was read, by name; the model file itself has none."""
        return dict(self._parsed.file.files)

    @property
    def reach(self) -> float:
        """The largest inputs, in size, that the network was read for."""
        return float("inf") if self.comparison is None else self.comparison.reach

    @property
    def left_out(self) -> tuple[str, ...]:
        """Operators behind the scores that proofs leave out: they do not change which class comes first."""
        return self._parsed.left_out

    @property
    def rounded_after(self) -> tuple[str, ...]:
        """Operators behind the scores that round where the file is executed, and may make different scores equal."""
        return self._parsed.rounding

    @property
    def input_type(self) -> type[np.float32] | type[np.float64]:
        """The numbers that the file computes with: what a sample and an adversary are rounded to, and no further."""
        return np.float64 if self._parsed.double else np.float32

    def check_classifier(self) -> None:
        """Refuse a question about classes where there is one output."""
        if self.classes < 2:
            raise one_output(self.path, self._parsed.output_name)

    def scores(self, inputs: Array) -> FloatArray:
        """Class scores [B, classes] of a batch [B, n], by onnxruntime on the file, in the file's own type."""
        return self._replayed(inputs, self._parsed.scores_name, self._of_scores)

    def outputs(self, inputs: Array) -> FloatArray:
        """The file's own output [B, classes], with what is left out behind the scores; an ArgMax' class counts 1."""
        return self._replayed(inputs, self._parsed.output_name, self._of_output)

    def real(self, inputs: FloatArray) -> FloatArray:
        """The same scores in float64, by the graph that the proofs are about."""
        import torch

        with torch.no_grad():
            scores = self.attacked().forward(torch.as_tensor(np.asarray(inputs, dtype=np.float64)))
        return np.asarray(scores.numpy())

    def _replayed(self, inputs: Array, name: str, classes: Callable[[Array, int], FloatArray]) -> FloatArray:
        """A tensor of the file as onnxruntime computes it, as numbers [B, classes]."""
        batch = np.ascontiguousarray(inputs, dtype=self.input_type)
        shape = self._parsed.feed_shape
        if self._together:
            return classes(self._run(batch.reshape(-1, *shape[1:]), name), len(batch))
        return np.concatenate([classes(self._run(sample.reshape(shape), name), 1) for sample in batch])

    def _run(self, batch: Array, name: str) -> Array:
        try:
            (found,) = self._session.run([name], {self._parsed.input_name: batch})
        except Exception as error:  # onnxruntime raises its own family of exceptions
            raise ModelError(f"{self.path}: onnxruntime cannot run it: {str(error).splitlines()[0]}") from None
        return np.asarray(found)

    def _of_scores(self, found: Array, count: int) -> FloatArray:
        scores = np.asarray(found, dtype=np.float64)
        if not scores.size % count:
            scores = with_classes(self._parsed, scores.reshape(count, -1))
        if scores.shape != (count, self.classes):
            raise ModelError(f"{self.path}: onnxruntime gives scores of shape {found.shape} for {count} samples")
        return scores

    def _of_output(self, found: Array, count: int) -> FloatArray:
        if self.left_out[-1:] == ("ArgMax",):
            if found.size == count:
                return np.eye(self.classes)[found.reshape(count).astype(np.int64)]
        elif self.threshold is not None:
            if found.size == count:
                return beside_threshold(found.reshape(count), self.threshold)
        elif found.size == count * self.classes:
            return np.asarray(found.reshape(count, -1), dtype=np.float64)
        raise ModelError(f"{self.path}: onnxruntime gives an output of shape {found.shape} for {count} samples")


def beside_threshold(outputs: Array, threshold: float) -> FloatArray:
    """Two columns, the threshold and the outputs [B]; where the nearest number of their type is one side of it, a tie.

    `output > T` is asked of T as it is by some, and of T rounded to the output's type by others.
    """
    rounded = float(outputs.dtype.type(threshold))
    values = outputs.astype(np.float64)
    low, high = min(threshold, rounded), max(threshold, rounded)
    values[(values >= low) & (values <= high)] = threshold
    return np.stack([np.full(len(values), threshold), values], axis=1)


class QuantisedModel(Model):
    """An int8 file. Every replay is held against the integer semantics, to the bit."""

    def __init__(self, net: QuantisedNet, parsed: Parsed) -> None:
        super().__init__(parsed, None)
        path = parsed.file.path
        self._net = net
        self._together = parsed.batched
        others = _executed(parsed) - EXECUTED
        if others:
            raise ModelError(
                f"{path}: onnxruntime does not fuse all of it into integer operators: {', '.join(sorted(others))} stay "
                "as they are; quantise it with quantize_static, QDQ or QOperator, and try again"
            )
        rng = np.random.default_rng(0)
        source = net.layers[0].source
        low, high = source.values(np.array([-TOP // 4, TOP + TOP // 4])).tolist()
        inputs = rng.uniform(low, high, size=(CHECKED, net.inputs)).astype(np.float32)
        inputs[::2] = source.values(rng.choice([0, TOP], size=inputs[::2].shape)).astype(np.float32)
        if not np.array_equal(super().scores(inputs), net.scores(inputs)):
            raise ModelError(
                f"{path}: onnxruntime computes something else on this machine than exact integer sums, rounded half "
                "to even; quantise it with reduce_range=True, QDQ or QOperator format, and try again"
            )

    @property
    def graph(self) -> Graph:
        raise OptionError(
            f"{self.path}: a quantised network has no layer graph of real numbers; inspect, and distance, verify, "
            "margin and curve with grid N, can take it"
        )

    @property
    def quantised(self) -> QuantisedNet | None:
        return self._net

    def scores(self, inputs: Array) -> FloatArray:
        """Class scores by onnxruntime; an alarm where the integer semantics says otherwise."""
        found = super().scores(inputs)
        if not np.array_equal(found, self._net.scores(np.asarray(inputs, dtype=np.float32))):
            raise SoundnessError(
                f"soundness alarm: {self.path}: onnxruntime denies the integer semantics of this input"
            )
        return found

    def real(self, inputs: FloatArray) -> FloatArray:
        """The integer semantics: there are no real numbers between the levels."""
        return self._net.scores(np.asarray(inputs).astype(np.float32))


class SoftplusModel(Model):
    """A net with one hidden layer of softplus: attacked, and bounded by cross-Lipschitz; it has no exact distance."""

    def __init__(self, read: SoftplusFile, comparisons: Sequence[Comparison]) -> None:
        super().__init__(read.whole, None)
        self._net = read.net
        self._together = read.whole.batched and all(one.batched for one in comparisons)
        inputs = np.random.default_rng(0).uniform(size=(CHECKED, self._net.hidden.shape[1]))
        inputs = inputs.astype(self.input_type).astype(np.float64)
        sizes = np.abs(self._net.output) @ np.logaddexp(0.0, np.abs(inputs @ self._net.hidden.T)).T
        room = RELATIVE[self.input_type] * (
            sizes.T + np.abs(self._net.output_bias) + np.abs(self._net.hidden_bias).max()
        )
        if not (np.abs(self.scores(inputs) - self.real(inputs)) <= room).all():
            raise ModelError(
                f"{self.path}: onnxruntime computes something else than what was read; report this as a bug"
            )

    @property
    def guide(self) -> Graph:
        raise OptionError(
            f"{self.path}: a softplus network is smooth, and its exact distance out of scope; ask `plumbline attack`, "
            "which shows attacks and the cross-Lipschitz lower bound, or train with ReLUs in its place"
        )

    def attacked(self, device: str = "cpu") -> DeviceGraph:
        from bounds.attacks.softplus_graph import softplus_graph_for

        return softplus_graph_for(self._parsed.graph, device)

    def lower_bound(self, region: Region, norm: Norm, predicted: int) -> float:
        """The bound of Hein & Andriushchenko (2017), over all classes."""
        from bounds.lower.smooth import smooth_cross_lipschitz

        return float(smooth_cross_lipschitz(self._net, region, norm, predicted).min())


def load(path: str | Path, output: str | None = None, threshold: float | None = None, classifier: bool = True) -> Model:
    """Read a model file and compare it with onnxruntime; a file with the same content is read once.

    `output` names the output that holds the scores, where there are several. `threshold` makes a model with one output
    a classifier of two classes: class 1 where the output is above it, class 0 elsewhere. Without one it is refused as
    a `classifier`.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    model = _load(Reference(path.absolute(), digest_of(path), output, threshold))
    if classifier:
        model.check_classifier()
    return model


def checked_threshold(threshold: float | None) -> float | None:
    """A threshold that means something, or none."""
    found: float | None = checked("threshold", Number | None, threshold)
    return found


def opened(model: Model | str | Path) -> Model:
    """A model as it was loaded, or the file of that name."""
    if isinstance(model, Model):
        return model
    if not isinstance(model, str | Path):
        raise OptionError(f"model: give what plumbline.load returns, not {type(model).__name__}")
    return load(model, classifier=False)


def load_network(path: str | Path, output: str | None = None) -> Model:
    """Read a model file as `load` does, for questions about its outputs as they are: one is enough.

    Nothing is left out behind them: a file that ends in a Softmax is refused.
    """
    if not isinstance(path, str | Path):
        raise OptionError(f"path: give the path of an ONNX file, not {type(path).__name__}")
    model = load(path, output, classifier=False)
    if model.quantised is not None:
        raise ModelError(f"{path}: a quantised network can be asked about its classes only: verify with grid N")
    if model.left_out:
        raise ModelError(
            f"{path}: it ends in {', '.join(model.left_out)}, which is not piecewise linear; name the scores before it "
            "with output NAME, or export the model without it"
        )
    return model


def reopened(reference: Reference) -> Model:
    """The same file in another process, where it was compared already; an error if it has changed since."""
    if digest_of(reference.path) != reference.digest:
        raise ModelError(f"{reference.path}: it changed while it was in use; start again")
    return _load(reference)


@lru_cache(maxsize=32)
def _load(reference: Reference) -> Model:
    path, output, threshold = reference.path, reference.output, reference.threshold
    file = read_model_file(path)
    if reference.digest != file.digest:
        raise ModelError(f"{path}: it changed while it was read; try again")
    if is_quantised(file):
        if threshold is not None:
            raise ModelError(f"{path}: a quantised model takes no threshold; export it with one score for each class")
        model: Model = QuantisedModel(*parse_quantised(file, output))
    else:
        try:
            parsed = parse(file, output, threshold)
        except UnsupportedOperatorError:
            if threshold is not None or not is_softplus(file):
                raise
            return _softplus(parse_softplus(file, output), output)
        model = Model(parsed, reference.comparison or compare(parsed))
    model.output, model.threshold = output, threshold
    return model


def _softplus(found: SoftplusFile, output: str | None) -> Model:
    if found.whole.graph.classes < 2:
        raise one_output(found.whole.file.path, found.whole.output_name)
    model = SoftplusModel(found, [compare(half) for half in found.halves])
    model.output = output
    return model


def _session(parsed: Parsed, tensors: Sequence[str], written: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on the file with these tensors as its outputs; what it executes, once optimised, may be `written`."""
    try:
        return session_of(exposing(parsed, tensors), written=written)
    except Exception as error:  # onnxruntime raises its own family of exceptions
        raise ModelError(f"{parsed.file.path}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from None


def _executed(parsed: Parsed) -> set[str]:
    """The operators that onnxruntime executes for a file, after its own fusions."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "optimised.onnx"
        _session(parsed, [parsed.scores_name], written)
        return {node.op_type for node in onnx.load(written).graph.node}
