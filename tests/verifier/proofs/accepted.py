"""Proofs that both arithmetics of the checker accept."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Literal

from verifier.checker import check
from verifier.proofs.proof import ProofFile
from verifier.question.model import Model


def accepted(path: Path, model: Path | str) -> None:
    arithmetic: Literal["exact", "float"]
    for arithmetic in ("exact", "float"):
        verdict = check(path, model, arithmetic)
        assert verdict.whole, verdict.told()


def accepted_lines(found: ProofFile, model: Model) -> list[dict[str, Any]]:
    """The lines of a proof that was written, once it is accepted."""
    assert found.path is not None, found.why
    accepted(found.path, model.path)
    return [json.loads(line) for line in gzip.decompress(found.path.read_bytes()).splitlines()]
