"""Make the int8 digits net that the repository holds: python -m trainers.quantised_nets [DIRECTORY].

A float net trained as `trainers.digits_nets` does, quantised statically by onnxruntime: QuantizeLinear and
DequantizeLinear around each layer, one scale per tensor, 7-bit weights, biases in int32.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from trainers.datasets import digits
from trainers.digits_nets import DIRECTORY, EPOCHS, mlp, train
from trainers.export import export

NAME = "digits-int8"
WIDTHS = (64, 16, 10)
CALIBRATION = 500  # training images that the ranges of the activations are taken from


class _Calibration:
    """Training images one by one, as onnxruntime's quantiser asks for them."""

    def __init__(self, x: NDArray[np.float32]) -> None:
        self._rows: Iterator[NDArray[np.float32]] = iter(x)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        row = next(self._rows, None)
        return None if row is None else {"input": row[None]}


def make(path: Path, widths: tuple[int, ...] = WIDTHS, epochs: int = EPOCHS) -> None:
    """Train, quantise, and save as QDQ: uint8 activations, int8 weights."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    net = train(lambda: mlp(*widths), (widths[0],), epochs)
    data = digits("train").x.reshape(-1, widths[0])[:CALIBRATION]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        export(plain, net, (widths[0],))
        quantize_static(
            plain,
            path,
            _Calibration(data),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=False,
            reduce_range=True,  # 7-bit weights: no CPU saturates their pairwise products in 16 bits
        )
    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, path)


def main() -> None:
    """Make the net."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    torch.set_num_threads(1)
    path = directory / f"{NAME}.onnx"
    make(path)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
