"""Why there is no proof of a result, where somebody goes by it."""

from __future__ import annotations

OUT_OF_TIME = "no proof was found in time"
MISCLASSIFIED = "the sample is classified wrongly: there is nothing to prove"
NEITHER_SIDE = "neither side of the bracket is known"
NOT_FOUND = "no proof was found"
RADIUS_ZERO = "a radius of 0 holds the sample alone: ask with a larger radius for a proof"
BETWEEN_LEVELS = "real inputs between the grid's levels lead by more, and a proof is about these, too"
