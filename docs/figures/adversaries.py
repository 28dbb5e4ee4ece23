"""Draw docs/_static/adversaries.png: digits, their nearest adversaries in L∞, and what changed.

python docs/figures/adversaries.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

import plumbline
from trainers.datasets import digits

ROOT = Path(__file__).parents[2]
NET = ROOT / "trainers" / "nets" / "digits-64-64-64-10.onnx"
SAMPLES = (0, 1, 4, 6)
GREY, SIGNED = {"cmap": "gray_r", "vmin": 0.0, "vmax": 1.0}, {"cmap": "RdBu_r"}


def main() -> None:
    """Ask for each sample's exact distance, and draw a row of three images for it."""
    model, data = plumbline.load(NET), digits()
    figure, axes = plt.subplots(2, 6, figsize=(9.6, 3.9), layout="constrained")
    for index, (left, middle, right) in zip(SAMPLES, axes.reshape(4, 3), strict=True):
        result = plumbline.distance(model, data.x[index], norm="linf")
        if result.adversary is None:
            raise SystemExit(f"sample {index} has no adversary; choose another")
        original, changed = data.x[index].reshape(8, 8), result.adversary.input.reshape(8, 8)
        left.imshow(original, **GREY)
        left.set_title(f"read as {result.predicted}")
        middle.imshow(changed, **GREY)
        middle.set_title(f"read as {result.adversary.label}")
        right.imshow(changed - original, vmin=-result.upper, vmax=result.upper, **SIGNED)
        right.set_title(f"{result.verdict}: {result.upper:.5f}")
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(ROOT / "docs" / "_static" / "adversaries.png", dpi=110)


if __name__ == "__main__":
    main()
