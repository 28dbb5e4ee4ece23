"""Which code gave an answer: the version, and a digest of the source files that answers rest on."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from verifier import __version__

PACKAGES = ("encoders", "bounds", "verifier")


@cache
def code_version() -> str:
    """The version and the first digits of the digest: what a resumed run must have been answered by, too."""
    root = Path(__file__).resolve().parents[2]
    sha = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            sha.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"{__version__}+{sha.hexdigest()[:12]}"
