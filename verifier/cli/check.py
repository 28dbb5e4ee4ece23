"""`plumbline check PROOF… --model FILE`: the same as `python -m verifier.checker`, which needs nothing else of ours."""

from __future__ import annotations

from verifier.checker.command import add_arguments as add_arguments
from verifier.checker.command import run as run
