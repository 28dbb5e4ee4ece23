"""Plumbline: how far away, exactly, is the nearest input that a network classifies differently?

    model = verifier.load("net.onnx")
    result = verifier.distance(model, x, norm="linf")      # result.lower ≤ exact ≤ result.upper
    result = verifier.verify(model, x, radius=0.1)         # certified, falsified or unresolved

Names are looked up on first use, so that importing this package (and `plumbline --help`) costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders.question import Norm as Norm
    from verifier import perturbations as perturbations
    from verifier.answer import distance as distance
    from verifier.answer import verify as verify
    from verifier.margin_answer import GreatestLoss as GreatestLoss
    from verifier.margin_answer import OutputRange as OutputRange
    from verifier.margin_answer import margin as margin
    from verifier.margin_answer import output_range as output_range
    from verifier.network_difference import GreatestDifference as GreatestDifference
    from verifier.network_difference import difference as difference
    from verifier.options import Options as Options
    from verifier.proofs.proof import ProofFile as ProofFile
    from verifier.proofs.proof import write_proof as write_proof
    from verifier.proofs.vipr.vipr_file import ViprFile as ViprFile
    from verifier.proofs.vipr.vipr_file import write_vipr as write_vipr
    from verifier.question.loading import load as load
    from verifier.question.model import Model as Model
    from verifier.question.problem import Progress as Progress
    from verifier.question.results import Adversary as Adversary
    from verifier.question.results import Basis as Basis
    from verifier.question.results import Result as Result
    from verifier.question.results import Verdict as Verdict
    from verifier.runs.many import Answers as Answers
    from verifier.runs.many import distances as distances
    from verifier.runs.many import verdicts as verdicts
    from verifier.runs.results import Results as Results
    from verifier.service.client import connect as connect
    from verifier.several_networks import JointDistance as JointDistance
    from verifier.several_networks import transfer_distance as transfer_distance
    from verifier.several_networks import universal_distance as universal_distance

__version__ = "0.1.0"

# Read when torch is loaded: threads that wait for one another spin, and beside other work that costs a hundredfold.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_HOMES = {
    "Adversary": "verifier.question.results",
    "Answers": "verifier.runs.many",
    "Basis": "verifier.question.results",
    "GreatestDifference": "verifier.network_difference",
    "GreatestLoss": "verifier.margin_answer",
    "JointDistance": "verifier.several_networks",
    "Model": "verifier.question.model",
    "Norm": "encoders.question",
    "Options": "verifier.options",
    "OutputRange": "verifier.margin_answer",
    "Progress": "verifier.question.problem",
    "ProofFile": "verifier.proofs.proof",
    "Result": "verifier.question.results",
    "Results": "verifier.runs.results",
    "Verdict": "verifier.question.results",
    "ViprFile": "verifier.proofs.vipr.vipr_file",
    "difference": "verifier.network_difference",
    "connect": "verifier.service.client",
    "distance": "verifier.answer",
    "distances": "verifier.runs.many",
    "load": "verifier.question.loading",
    "margin": "verifier.margin_answer",
    "output_range": "verifier.margin_answer",
    "transfer_distance": "verifier.several_networks",
    "universal_distance": "verifier.several_networks",
    "verdicts": "verifier.runs.many",
    "verify": "verifier.answer",
    "write_proof": "verifier.proofs.proof",
    "write_vipr": "verifier.proofs.vipr.vipr_file",
}

__all__ = [
    "Adversary",
    "Answers",
    "Basis",
    "GreatestDifference",
    "GreatestLoss",
    "JointDistance",
    "Model",
    "Norm",
    "Options",
    "OutputRange",
    "Progress",
    "ProofFile",
    "Result",
    "Results",
    "Verdict",
    "ViprFile",
    "connect",
    "difference",
    "distance",
    "distances",
    "load",
    "margin",
    "output_range",
    "perturbations",
    "transfer_distance",
    "universal_distance",
    "verdicts",
    "verify",
    "write_proof",
    "write_vipr",
]


def __getattr__(name: str) -> Any:
    if name == "perturbations":  # a module, not a name in one
        return import_module("verifier.perturbations")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "perturbations"})
