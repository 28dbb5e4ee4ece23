"""A proof file as a VIPR certificate, a text file that checkers which are not ours accept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.errors import ProofError
from encoders.files import write_whole
from verifier.checker import RefusedError, Statement, UncheckableError, load, read_statement
from verifier.checker.lines import read_lines
from verifier.proofs.vipr.certificate import Certificate
from verifier.proofs.vipr.translation import Translation

NAME = 200  # characters of a model's name that are told


@dataclass(frozen=True)
class ViprFile:
    """What was written: the file, what it claims in words, and its size in bytes."""

    path: Path
    claim: str
    size: int


def write_vipr(path: Path | str, proof: Path | str, model: Path | str) -> ViprFile:
    """Write a proof in linf or l1 as a VIPR 1.1 certificate; `model` is the ONNX file that it is about.

    The certificate is a mixed-integer program, its point with the witness, and the derivation that no point is nearer
    than the radius. Raises `ProofError` where the proof is not right, or has a line without a linear form.
    """
    progress = _Progress(read_lines(Path(proof)))
    try:
        statement, certificate = _translated(progress, Path(model))
    except (RefusedError, UncheckableError, ProofError) as error:
        raise ProofError(f"{proof}: line {max(progress.line, 1)}: {error}") from None
    content = "".join(certificate.written(_comments(statement)))
    write_whole(Path(path), content)
    return ViprFile(Path(path), statement.sentence(), len(content))


class _Progress:
    """The lines of a proof, and at which we are."""

    def __init__(self, lines: Iterator[dict[str, Any]]) -> None:
        self._lines = lines
        self.line = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        self.line += 1
        return next(self._lines)


def _translated(lines: Iterator[dict[str, Any]], model: Path) -> tuple[Statement, Certificate]:
    first = next(lines, None)
    if first is None:
        raise RefusedError("the file is empty")
    if "grid" in first:
        raise ProofError("a proof of an int8 net is about the points of a grid, and has no certificate")
    statement = read_statement(first)
    if statement.norm == "l2":
        raise ProofError("the ball of l2 has no linear form, and so no certificate: ask in linf or l1")
    try:
        network = load(model, statement)
    except OSError as error:  # of external data, as the proof names it
        raise ProofError(f"{error.filename}: {error.strerror}") from None
    translation = Translation(statement, network)
    for line in lines:
        translation.take(line)
    translation.finish()
    return statement, translation.certificate


def _comments(statement: Statement) -> Iterator[str]:
    """What the file says, for people; each is one line whatever the proof holds."""
    yield "A VIPR 1.1 certificate, written from a proof of Plumbline (docs/reference/proof-format.md)."
    yield f"Claim: {statement.sentence()}."
    yield f"About: {statement.about()}."
    yield f"Model: {statement.model[:NAME]!a}, sha256 {statement.sha256}."
    yield "Variables: x_i inputs, r the distance or more, h_k_j what neuron j of layer k reads, y_k_j its ReLU, z_k_j"
    yield "whether it is on, f_t scores, g_t whether class t is reached, b whether r exceeds the radius; in l1 t_i how"
    yield "far input i moves. An adversary within the largest r is a point of the program, and the other way round."
    if statement.radius is not None and statement.distance is not None:
        yield "Proven: where b is 0 there is no point, so the least r is above the radius; SOL is the witness."
    elif statement.radius is not None:
        yield "Proven: there is no point, so there is no adversary within the radius."
    else:
        yield "Proven: SOL, the witness, is a point; nothing is derived."
    yield "Not proven here, but read: that the constraints are those of the model file and of the sample. The numbers"
    yield "are the file's, exactly. U and L in y_k_j_off and y_k_j_on, and the one before g_t, are bounds by intervals."
