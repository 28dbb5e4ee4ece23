"""The cross-Lipschitz lower bound of one sample: THE place to plug it in.

Return its guarantee, in the units of the norm, and the column of the tables, the journal and the page fill themselves;
a value above the exact distance raises the alarm in verifier/compare/measure.py. None means that there is none yet.
"""

from __future__ import annotations

from encoders.question import Norm, Region
from verifier.model import Model


def cross_lipschitz_lower(model: Model, region: Region, norm: Norm, predicted: int) -> float | None:
    """A proven lower bound on the distance, or None where none is available."""
    del model, region, norm, predicted
    return None
