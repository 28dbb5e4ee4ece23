"""What every benchmark prints and looks up."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers.datasets import digits
from verifier.question.model import Model, load

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"


def conditions() -> str:
    """One line that says where and with what a figure was measured."""
    import torch

    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "highspy", "onnxruntime", "numpy"))
    return (
        f"conditions: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {packages}; "
        f"torch threads {torch.get_num_threads()}"
    )


def single_threaded() -> None:
    """One thread for torch; the environment does the same for BLAS where it is set before the start."""
    import torch

    torch.set_num_threads(1)


def shared_file(name: str) -> Path:
    """A file of ../shared/data; ends the program with one line where it is absent."""
    path = SHARED / name
    if not path.exists():
        sys.exit(f"{path} is not here: this benchmark needs the real nets and images beside the repository")
    return path


def mnist() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """MNIST's test images in [0, 1] and their labels."""
    data = np.load(shared_file("mnist_test.npz"))
    return data["x"].astype(np.float32) / np.float32(255), data["y"].astype(np.int64)


@dataclass(frozen=True, eq=False)
class NetAndImages:
    """A net with the images that it reads; `own` where the repository holds both."""

    model: Model
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    own: bool


def net_and_images(name: str) -> NetAndImages:
    """A net of trainers/nets with scikit-learn's digits, or one of ../shared/data with MNIST's test images."""
    path = REPOSITORY / "trainers" / "nets" / f"{name}.onnx"
    if path.exists():
        data = digits()
        return NetAndImages(load(path), data.x, data.y, own=True)
    return NetAndImages(load(shared_file(f"{name}.onnx")), *mnist(), own=False)


def span(text: str) -> range:
    """0:100 as a range."""
    start, _, stop = text.partition(":")
    return range(int(start), int(stop)) if stop else range(int(start), int(start) + 1)


def chosen(text: str) -> list[int]:
    """0:100, or 3,17,40:50, as a list."""
    return [index for part in text.split(",") for index in span(part)]


def row(cells: Sequence[object]) -> str:
    """One line of a Markdown table."""
    shown = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
    return "| " + " | ".join(shown) + " |"


def header(cells: Sequence[str]) -> str:
    return row(cells) + "\n" + row(["---"] * len(cells))
