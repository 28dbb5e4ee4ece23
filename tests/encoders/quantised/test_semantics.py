"""The integer semantics of quantised nets: by hand, and against onnxruntime to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from encoders.quantised.file import read_quantised
from encoders.quantised.semantics import QuantisedLayer, QuantisedNet, Scale
from trainers.datasets import digits
from trainers.digits_nets import DIRECTORY
from trainers.quantised_nets import NAME

NET = DIRECTORY / f"{NAME}.onnx"


def replay(path: Path, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0]).astype(np.float64)


def test_random_inputs_replay_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    net = read_quantised(NET)
    grid = (rng.integers(0, 17, (3000, 64)) / 16).astype(np.float32)
    wide = rng.uniform(-0.5, 1.5, (3000, 64)).astype(np.float32)
    extreme = rng.integers(0, 2, (3000, 64)).astype(np.float32)
    for x in (grid, wide, extreme, digits("test").x.reshape(-1, 64)):
        np.testing.assert_array_equal(net.scores(x), replay(NET, x))


def test_coarse_scales_hit_halves_and_saturation(tmp_path: Path) -> None:
    """Scales that are powers of two: a quarter of all accumulators is halfway between two levels."""
    model = onnx.load(NET)
    new = {"input_scale": 1 / 64, "dense1.weight_scale": 1 / 64, "dense1.bias_quantized_scale": 2.0**-12}
    new |= {"relu2_scale": 2.0**-10, "scores.weight_scale": 0.25, "scores.bias_quantized_scale": 2.0**-12}
    new |= {"scores_scale": 2.0**-10 * 2**5}
    for tensor in model.graph.initializer:
        if tensor.name in new:
            shape = numpy_helper.to_array(tensor).shape
            tensor.CopyFrom(numpy_helper.from_array(np.full(shape, new[tensor.name], np.float32), tensor.name))
    path = tmp_path / "coarse.onnx"
    onnx.save(model, path)
    net = read_quantised(path)
    x = np.random.default_rng(1).uniform(-0.2, 4.5, (3000, 64)).astype(np.float32)
    inner = net.layers[0].accumulate(net.layers[0].source.levels(x))
    assert (inner % 4 == 2).any()
    levels = net.layers[0].requantise(inner)
    assert (levels == 0).any()
    assert (levels == 255).any()
    np.testing.assert_array_equal(net.scores(x), replay(path, x))


def test_thresholds_are_the_table() -> None:
    for layer in read_quantised(NET).layers:
        accumulators = np.arange(-int(layer.reach.max()), int(layer.reach.max()) + 1)
        found = layer.requantise(np.repeat(accumulators[:, None], layer.outputs, axis=1))
        for j, thresholds in enumerate(layer.thresholds):
            np.testing.assert_array_equal(np.searchsorted(thresholds, accumulators, side="right"), found[:, j])


def test_by_hand() -> None:
    """Two inputs in quarters, sums (2a - b, 2b - a) halved, halves to even: 2.5 is 2, 1.5 is 2, 0.5 is 0."""
    quarter, half = Scale(np.float32(0.25), 0), Scale(np.float32(0.5), 0)
    layer = QuantisedLayer(
        np.array([[2, -1], [-1, 2]]), np.zeros(2, dtype=np.int64), quarter, np.full(2, 0.5, np.float32), half
    )
    net = QuantisedNet((layer,))
    x = np.array([[0.75, 0.25], [0.5, 0.25], [0.25, 0.5], [1.5, 80.0]], dtype=np.float32)
    np.testing.assert_array_equal(net.levels(x), [[2, 0], [2, 0], [0, 2], [0, 252]])
    np.testing.assert_array_equal(net.scores(x)[0], [1.0, 0.0])
    # (80 / 0.25 saturates at 255: 2 · 255 - 6 = 504, halved.)
    assert layer.thresholds[0, :4].tolist() == [2, 3, 6, 7]
    assert net.winning(0.0)[:3].tolist() == [1, 2, 3]
    assert net.winning(0.75)[:3].tolist() == [2, 3, 4]
    assert net.winning(200.0).tolist() == [256] * 256
