"""What stops a check: a proof that is refused, or a file that cannot be checked at all.

Neither is an `encoders.errors.PlumblineError`: this package imports nothing of ours, and lets neither of them out.
"""

from __future__ import annotations


class RefusedError(Exception):
    """The proof is not right: a line does not follow, has another shape, or is missing; the text says which."""


class UncheckableError(Exception):
    """Nothing can be said of the proof: the model cannot be read here, or holds what this checker does not know."""
