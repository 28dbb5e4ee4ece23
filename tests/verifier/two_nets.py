"""Two networks of two neurons in files, and samples: what commands are asked where the answer is not the point.

x1 ─►(slope) h1 ─► relu ─►(-1)─► y0 = 1 - h1⁺ - h2⁺       y1 = 0, inputs in [0, 1]²
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoders.layer_graph.graph import affine_chain
from tests.onnx_builder import to_onnx


def two_nets(folder: Path) -> tuple[list[str], str]:
    """plain.onnx, steep.onnx, and data.npz of four samples, the last of which is misclassified."""
    last, biases = np.array([[-1.0, -1.0], [0.0, 0.0]]), [np.zeros(2), np.array([1.0, 0.0])]
    nets = [
        str(to_onnx(affine_chain([slope * np.eye(2), last], biases), folder / f"{name}.onnx"))
        for name, slope in (("plain", 1.0), ("steep", 1.5))
    ]
    x = np.array([[0.25, 0.25], [0.1, 0.4], [0.0, 0.2], [0.9, 0.9]], dtype=np.float32)
    np.savez(folder / "data.npz", x=x, y=np.zeros(4, dtype=int))
    return nets, str(folder / "data.npz")
