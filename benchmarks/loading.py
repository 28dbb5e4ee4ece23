"""How long loading a model file takes: reading it, and comparing it with onnxruntime.

    OMP_NUM_THREADS=1 python -m benchmarks.loading --repeat 5

Each file is loaded in this process after another one, so that imports and the start of onnxruntime's process (once for
each process) are not in the figures; they are told by themselves. A file is copied for each repetition: the same
content is read only once.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import onnx

import verifier
from benchmarks.common import REPOSITORY, SHARED

NETS = "wk17a,cifar10_resnet2b,rsl18a,kw_fashion_mnist,mnist_fc_3layer,cifar_marabou_small"


def copied(path: Path, target: Path, number: int) -> Path:
    """The same network under another digest: the name of who made it tells how often it was copied."""
    proto = onnx.load(str(path))
    proto.producer_version = f"copy {number}"
    onnx.save(proto, str(target))
    return target


def main() -> None:
    """Print the median and the extremes of each net."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=NETS, help="of the data folder")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of nets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        verifier.load(REPOSITORY / "trainers" / "nets" / "digits-64-32-32-10.onnx")
        print(f"the first file of a process, imports included: {time.perf_counter() - started:.3f} s")
        for name in options.nets.split(","):
            seconds = []
            for number in range(options.repeat):
                path = copied(options.data / f"{name}.onnx", Path(folder) / f"{name}-{number}.onnx", number)
                started = time.perf_counter()
                verifier.load(path)
                seconds.append(time.perf_counter() - started)
            print(f"{name:22} median {statistics.median(seconds):.3f} s, {min(seconds):.3f} to {max(seconds):.3f}")


if __name__ == "__main__":
    main()
