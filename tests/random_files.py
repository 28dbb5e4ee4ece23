"""Random small files of one input, of the operators that the oracle of `file_exact` knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.small_files import f32, i64, node, written

SIZES = (0.1, 1.0, 1.0, 1.0, 10.0)


class Writer:
    """Grows a file layer by layer, each on top of the last."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.top = "x"
        self.width = 1

    def numbers(self, *shape: int) -> str:
        """A constant of random numbers, now and then all large or all small."""
        return self.constant(f32(self.rng.normal(size=shape) * self.rng.choice(SIZES)))

    def constant(self, value: np.ndarray) -> str:
        """The name of a new constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def add(self, operator: str, *constants: str, **attributes: Any) -> None:
        """One node on top."""
        target = f"v{len(self.nodes)}"
        self.nodes.append(node(operator, [self.top, *constants], [target], **attributes))
        self.top = target

    def dense(self, width: int) -> None:
        """A matrix, by Gemm or by MatMul and Add."""
        if self.rng.random() < 0.5:
            attributes = {"alpha": float(self.rng.choice([1.0, 0.3])), "beta": float(self.rng.choice([1.0, -0.7]))}
            self.add("Gemm", self.numbers(width, self.width), self.numbers(width), transB=1, **attributes)
        else:
            self.add("MatMul", self.numbers(self.width, width))
            self.add("Add", self.numbers(width))
        self.width = width

    def activation(self) -> None:
        """Any of the piecewise linear ones."""
        kind = self.rng.integers(6)
        if kind < 2:
            self.add("Relu")
        elif kind == 2:
            self.add("LeakyRelu", **({} if self.rng.random() < 0.5 else {"alpha": float(self.rng.normal() * 3)}))
        elif kind == 3:
            self.add("PRelu", self.numbers(self.width))
        elif kind == 4:
            low, high = np.sort(f32(self.rng.normal(size=2)))
            self.add("Clip", self.constant(low), self.constant(high))
        else:
            self.add("HardSigmoid")

    def affine(self) -> None:
        """A layer that can be folded into the one before."""
        if self.rng.random() < 0.4:
            mean = self.rng.normal(size=self.width) * 3
            variance = self.rng.uniform(0.1, 2.0, size=self.width)
            names = [self.numbers(self.width), self.numbers(self.width), self.constant(f32(mean))]
            self.add("BatchNormalization", *names, self.constant(f32(variance)))
        else:
            operator = str(self.rng.choice(["Add", "Sub", "Mul", "Div"]))
            self.add(operator, self.constant(f32(self.rng.uniform(0.2, 2.0, size=self.width))))

    def image(self) -> None:
        """Six values as a picture: padded, convolved or pooled, and flat again."""
        self.dense(6)
        self.add("Reshape", self.constant(i64(1, 1, 2, 3)))
        height, width, channels = 2, 3, 1  # a Conv keeps the size
        if self.rng.random() < 0.6:
            pads = self.rng.integers(0, 2, size=4)
            filling = self.constant(f32(self.rng.normal()))
            self.add("Pad", self.constant(i64(0, 0, int(pads[0]), int(pads[1]), 0, 0, *pads[2:].tolist())), filling)
            height, width = height + int(pads[0] + pads[2]), width + int(pads[1] + pads[3])
        if self.rng.random() < 0.6:
            channels = 2
            self.add("Conv", self.numbers(2, 1, 2, 2), self.numbers(2), pads=[1, 0, 0, 1])
        kind = str(self.rng.choice(["MaxPool", "AveragePool"]))
        counted = {"count_include_pad": int(self.rng.integers(2))} if kind == "AveragePool" else {}
        self.add(kind, kernel_shape=[2, 3], strides=[2, 1], pads=[0, 1, 1, 0], **counted)
        self.add("Flatten")
        self.width = channels * ((height + 1 - 2) // 2 + 1) * ((width + 1 - 3) // 1 + 1)


def random_file(path: Path, seed: int) -> Path:
    """One or two layers and two or three classes."""
    rng = np.random.default_rng(seed)
    writer = Writer(rng)
    for _ in range(int(rng.integers(1, 3))):
        if rng.random() < 0.25:
            writer.image()
        else:
            writer.dense(int(rng.integers(2, 4)))
        if rng.random() < 0.5:
            writer.affine()
        writer.activation()
    classes = int(rng.integers(2, 4))
    writer.dense(classes)
    return written(path, writer.nodes, writer.constants, outputs={writer.top: (1, classes)})
