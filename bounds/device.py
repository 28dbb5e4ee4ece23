"""The device that is computed on, and whether products of float64 numbers are ordinary sums there.

Every proof accounts for the rounding of a sum of products, in some order, in IEEE float64. Two things on a GPU could
take that away. cuDNN may convolve by transforms, and is left aside (`bounds/propagation/device_graph.py`). And cuBLAS
can be told by its environment to emulate float64 by products of integers with as many bits as it pleases: a number that
is small beside the largest of its row is then lost altogether. So a GPU is refused where the environment asks for that,
and where a product shows it, whoever asked. torch's own switches (TF32, reduced precision in sums, which library is
preferred) are about narrower numbers or about who multiplies, and leave float64 alone.
"""

from __future__ import annotations

import os
from functools import cache

import torch

from encoders.errors import OptionError

EMULATE = "CUBLAS_EMULATE_DOUBLE_PRECISION"  # 1 or 0; what else there is means nothing where it is 0
HOW = ("CUBLAS_FIXEDPOINT_EMULATION_MANTISSA_BIT_COUNT", "CUBLAS_EMULATION_STRATEGY")
SIZE = 1024  # of the matrices that are tried: small ones are not worth emulating
FAR = 100  # bits between the numbers of a row that are tried: more than any emulation holds


def pick_device(device: str) -> str:
    """The device asked for; `auto` takes a GPU where there is one. Touches none."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device.startswith("cuda") and not torch.cuda.is_available():
        raise OptionError(f"device {device}: torch sees no GPU here; use device cpu")
    if device != "cpu":
        check_environment()
    return device


def check_environment() -> None:
    """Refuse an environment in which cuBLAS may emulate float64."""
    if os.environ.get(EMULATE) == "0":
        return
    for name in (EMULATE, *HOW):
        if os.environ.get(name):
            raise OptionError(
                f"{name}={os.environ[name]}: proofs need float64 products as they are; unset it, set {EMULATE}=0, "
                "or use device cpu"
            )


def check_products(device: str) -> None:
    """Refuse a GPU whose products of float64 numbers are something else."""
    if device != "cpu" and not multiplies(device):
        raise OptionError(f"device {device}: its float64 products are no ordinary sums; use device cpu")


@cache
@torch.no_grad()
def multiplies(device: str) -> bool:
    """Whether a product that is exact in float64, whatever the order of its sums, comes out so.

    Every row begins with a one that meets a zero; what is left of it, and all of the result, is 2^-FAR · 2^FAR.
    """
    row = torch.full((SIZE, SIZE), 2.0**-FAR, dtype=torch.float64, device=device)
    column = torch.full((SIZE, SIZE), 2.0**FAR, dtype=torch.float64, device=device)
    row[:, 0], column[0] = 1.0, 0.0
    return bool((row @ column == SIZE - 1).all())
