"""The lines of a proof as a file's bytes, and what a change of them is."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

Line = dict[str, Any]
Lines = list[Line]
Mutation = Callable[[Random, Lines], Lines | bytes | None]  # None where there is nothing of the kind to change
COMPRESSION = 1  # the quickest


def text(lines: Lines) -> bytes:
    """A line of JSON each."""
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def zipped(data: bytes) -> bytes:
    """The same for the same bytes."""
    return gzip.compress(data, mtime=0, compresslevel=COMPRESSION)


def packed(lines: Lines) -> bytes:
    """A proof file of these lines."""
    return zipped(text(lines))


def lines_of(proof: Path | bytes) -> Lines:
    """The lines of a proof file."""
    data = proof if isinstance(proof, bytes) else proof.read_bytes()
    return [json.loads(line) for line in gzip.decompress(data).splitlines()]
