"""The names that a user of `pip install plumbline` types; each is explained where it is defined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import verifier
from verifier import __all__ as __all__
from verifier import __version__ as __version__

if TYPE_CHECKING:
    from verifier import Adversary as Adversary
    from verifier import Answers as Answers
    from verifier import Basis as Basis
    from verifier import GreatestDifference as GreatestDifference
    from verifier import GreatestLoss as GreatestLoss
    from verifier import JointDistance as JointDistance
    from verifier import Model as Model
    from verifier import Norm as Norm
    from verifier import Options as Options
    from verifier import OutputRange as OutputRange
    from verifier import Progress as Progress
    from verifier import ProofFile as ProofFile
    from verifier import Result as Result
    from verifier import Results as Results
    from verifier import Verdict as Verdict
    from verifier import ViprFile as ViprFile
    from verifier import connect as connect
    from verifier import difference as difference
    from verifier import distance as distance
    from verifier import distances as distances
    from verifier import load as load
    from verifier import margin as margin
    from verifier import output_range as output_range
    from verifier import perturbations as perturbations
    from verifier import transfer_distance as transfer_distance
    from verifier import universal_distance as universal_distance
    from verifier import verdicts as verdicts
    from verifier import verify as verify
    from verifier import write_proof as write_proof
    from verifier import write_vipr as write_vipr


def __getattr__(name: str) -> Any:
    return getattr(verifier, name)


if __name__ == "__main__":
    from verifier.cli.main import main

    raise SystemExit(main())
