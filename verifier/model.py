"""A model file, loaded: its layer graph or integer semantics, and onnxruntime to replay inputs through the file."""

from __future__ import annotations

import hashlib
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from encoders.errors import ModelError, OptionError, SoundnessError
from encoders.graph import Graph
from encoders.linear_maps import FloatArray
from encoders.onnx_reader import Parsed, parse
from encoders.quantised import TOP, QuantisedNet
from encoders.quantised_file import is_quantised, parse_quantised

# What a quantised file may come to: integers throughout, and what moves them about.
EXECUTED = {"QuantizeLinear", "DequantizeLinear", "QGemm", "QLinearMatMul", "QLinearConv", "Transpose", "Flatten"}
EXECUTED |= {"Reshape", "Squeeze", "Unsqueeze", "Identity", "Softmax", "LogSoftmax", "ArgMax", "Cast"}
CHECKED = 256  # random inputs that a quantised file must replay to the bit when it is loaded


class Model:
    """An ONNX file as the verifier sees it. Pickles as its path: a worker process loads the file again."""

    def __init__(self, path: Path, parsed: Parsed, sha256: str) -> None:
        self.path = path
        self.sha256 = sha256
        self.guide: Graph = parsed.graph  # what attacks follow
        self.input_shape = parsed.graph.input_shape
        self.classes = parsed.graph.classes
        self._parsed = parsed
        self._session = _session(parsed, path)

    @property
    def graph(self) -> Graph:
        """The network that proofs are about."""
        return self.guide

    @property
    def quantised(self) -> QuantisedNet | None:
        """The integer semantics, where the file is a quantised network."""
        return None

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return load, (self.path,)

    @property
    def input_type(self) -> type[np.float32] | type[np.float64]:
        """The numbers that the file computes with: what a sample and an adversary are rounded to, and no further."""
        return np.float64 if self._parsed.double else np.float32

    def scores(self, inputs: NDArray[Any]) -> FloatArray:
        """Class scores [B, classes] of a batch [B, n], by onnxruntime on the file, in the file's own type."""
        batch = np.ascontiguousarray(inputs, dtype=self.input_type)
        shape = self._parsed.feed_shape
        if self._parsed.batched:
            try:
                return self._run(batch.reshape(-1, *shape[1:]), len(batch))
            except ModelError:
                pass  # a fixed batch size is baked into the file after all: one by one, then
        return np.concatenate([self._run(sample.reshape(shape), 1) for sample in batch])

    def real(self, inputs: FloatArray) -> FloatArray:
        """The same scores in float64, by the graph that the proofs are about."""
        import torch

        from bounds.network import lowered_for

        with torch.no_grad():
            scores = lowered_for(self.graph).forward(torch.as_tensor(np.asarray(inputs, dtype=np.float64)))
        return np.asarray(scores.numpy())

    def largest_difference(self, samples: int = 64, seed: int = 0, box: tuple[float, float] = (0.0, 1.0)) -> float:
        """The largest |onnxruntime - real arithmetic| over random inputs in the box."""
        rng = np.random.default_rng(seed)
        inputs = rng.uniform(*box, size=(samples, self.graph.input_size)).astype(np.float32)
        return float(np.abs(self.scores(inputs) - self.real(inputs.astype(np.float64))).max())

    def _run(self, batch: NDArray[Any], count: int) -> FloatArray:
        try:
            (found,) = self._session.run([self._parsed.scores_name], {self._parsed.input_name: batch})
        except Exception as error:  # onnxruntime raises its own family of exceptions
            raise ModelError(f"{self.path}: onnxruntime cannot run it: {str(error).splitlines()[0]}") from None
        scores = np.asarray(found, dtype=np.float64)
        if scores.size != count * self.classes:
            raise ModelError(f"{self.path}: onnxruntime gives scores of shape {scores.shape} for {count} samples")
        return scores.reshape(count, self.classes)


class QuantisedModel(Model):
    """An int8 file. Every replay is held against the integer semantics, to the bit."""

    def __init__(self, path: Path, net: QuantisedNet, parsed: Parsed, sha256: str) -> None:
        super().__init__(path, parsed, sha256)
        self._net = net
        others = _executed(parsed, path) - EXECUTED
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
            f"{self.path}: a quantised network has no layer graph of real numbers; inspect, and distance and verify "
            "with --grid N, can take it"
        )

    @property
    def quantised(self) -> QuantisedNet | None:
        return self._net

    def scores(self, inputs: NDArray[Any]) -> FloatArray:
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


def load(path: str | Path) -> Model:
    """Read a model file; the same unchanged file is read once."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    status = path.stat()
    return _load(path.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _load(path: Path, modified: int, size: int) -> Model:
    del modified, size  # part of the key only
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if is_quantised(path):
        return QuantisedModel(path, *parse_quantised(path), digest)
    return Model(path, parse(path), digest)


def _session(parsed: Parsed, path: Path, written: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on the file, its scores among its outputs; what it executes, once optimised, may be `written`."""
    proto = onnx.ModelProto()
    proto.CopyFrom(parsed.proto)
    if parsed.scores_name not in {output.name for output in proto.graph.output}:
        kind = onnx.TensorProto.DOUBLE if parsed.double else onnx.TensorProto.FLOAT
        proto.graph.output.append(onnx.helper.make_tensor_value_info(parsed.scores_name, kind, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if written is not None:
        options.optimized_model_filepath = str(written)
    try:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own family of exceptions
        raise ModelError(f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from None


def _executed(parsed: Parsed, path: Path) -> set[str]:
    """The operators that onnxruntime executes for a file, after its own fusions."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "optimised.onnx"
        _session(parsed, path, written)
        return {node.op_type for node in onnx.load(written).graph.node}
