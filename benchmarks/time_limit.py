"""By how much --time-limit is overshot, in seconds: the widest of a few samples of each net, with every core busy.

python -m benchmarks.time_limit --nets rsl18a,wk17a,cifar10_resnet2b --samples 0:8
python -m benchmarks.time_limit --nets wk17a --data FOLDER --busy 3 --time-limit 60

Exact L∞ distances, as `plumbline distance --time-limit 10` asks for them, `--busy` samples at a time. `seconds` is what
the record says, `wall` what a clock on the wall saw of the same question.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import SHARED, conditions, header, row, single_threaded, span
from verifier.answer import ask
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.runs.processes import one_thread_each

MNIST, CIFAR = "mnist_test.npz", "cifar10_300.npz"


@dataclass(frozen=True)
class Asked:
    """One net's samples, and the limit of each question."""

    net: Path
    images: Path
    options: Options


@dataclass(frozen=True)
class Took:
    """How long one question took, by the record and on the wall."""

    index: int
    seconds: float
    wall: float
    gap: float  # of the upper side


_held: list[tuple[Asked, Model, NDArray[np.float32]]] = []


def hold(asked: Asked) -> None:
    """What every process begins with: the net and the images, loaded before any clock runs."""
    single_threaded()
    images = np.load(asked.images)["x"].astype(np.float32) / np.float32(255)
    _held[:] = [(asked, load(asked.net), images)]


def took(index: int) -> Took:
    """The seconds of one sample's question."""
    asked, model, images = _held[0]
    started = time.monotonic()
    result = ask(model, images[index], None, asked.options, index=index)
    wall = time.monotonic() - started
    gap = (result.upper - result.lower) / result.upper if np.isfinite(result.upper) else float("inf")
    return Took(index, result.seconds, wall, gap if result.upper else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="rsl18a,wk17a,cifar10_resnet2b", help="of the data folder; CIFAR by name")
    parser.add_argument("--samples", type=span, default=range(8))
    parser.add_argument("--time-limit", type=float, default=10.0)
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--busy", type=int, default=2, help="samples at a time: at least as many as there are cores")
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of nets and images")
    given = parser.parse_args()
    one_thread_each()
    print(conditions(), f"; limit {given.time_limit:g} s, {given.busy} samples at a time")
    print(header(["net", "samples", "widest overshoot by seconds", "on the wall", "seconds of each", "mean gap"]))
    options = Options(time_limit=given.time_limit, norm=given.norm, engine=given.engine, device="cpu")
    for net in given.nets.split(","):
        images = given.data / (CIFAR if net.startswith("cifar") else MNIST)
        context = multiprocessing.get_context("spawn")
        with context.Pool(given.busy, hold, (Asked(given.data / f"{net}.onnx", images, options),)) as pool:
            found = list(pool.imap(took, given.samples))
        over = [max(getattr(one, name) for one in found) - given.time_limit for name in ("seconds", "wall")]
        each = " ".join(f"{one.seconds:.1f}" for one in found)
        print(row([net, len(found), *(f"{s:+.2f}" for s in over), each, f"{np.mean([one.gap for one in found]):.3f}"]),
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
