"""The part of a proof's first line that says what was asked, of whichever network."""

from __future__ import annotations

from encoders.arrays import FloatArray
from encoders.question import Norm, Region
from verifier.proofs.proof_file import Line
from verifier.question.model import Model

FORMAT = "plumbline-proof-1"


def asked_line(
    model: Model, region: Region, norm: Norm, against: int, targets: tuple[int, ...] | None, margin: float
) -> Line:
    """The model by its digests, the sample and its box, and what counts as an adversary."""
    files = model.files
    others = {name: digest for name, digest in files.items() if name}
    return {
        "format": FORMAT,
        "model": {"name": model.path.name, "sha256": files[""], **({"external": others} if others else {})},
        "norm": str(norm),
        "sample": hexadecimal(region.center),
        "box": [_side(region.lower), _side(region.upper)],
        "against": against,
        "targets": None if targets is None else list(targets),
        "margin": float(margin).hex(),
    }


def hexadecimal(values: FloatArray) -> list[str]:
    """Numbers exactly, as the format writes them."""
    return [float(value).hex() for value in values]


def _side(values: FloatArray) -> str | list[str]:
    """A side of the box: one number where it is the same for all inputs."""
    return float(values[0]).hex() if (values == values[0]).all() else hexadecimal(values)
