"""Certificates as files: of what is written about random nets, changed, and what a file says of itself."""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import ProofError
from tests.claims import Network, claim_of, distance
from tests.small_files import f32
from tests.verifier.checker.small_proofs import (
    Layers,
    Line,
    Writer,
    fully_connected,
    hexadecimal,
    packed,
    random_layers,
    ranges,
    statement,
)
from tests.verifier.proofs.vipr.translated import VIPRCHK, accepted, by_viprchk, translated
from tests.vipr_checker import Vipr
from verifier.proofs.vipr.vipr_file import write_vipr

SUM: Layers = [([[1], [1]], [0]), ([[0, 1]], [1, 0])]  # relu(x0 + x1) against 1
TREE = ranges(0, [-1], [1]), {"goal": 1}, {"split": [0, 0]}, {"close": True}, {"close": True}
WITNESS = {"input": hexadecimal([0.75, 0.5]), "distance": hexadecimal(0.75)}


@pytest.fixture
def text(tmp_path: Path) -> str:
    """The certificate of a bracket, with a split."""
    model = fully_connected(tmp_path / "sum.onnx", SUM)
    return translated(model, statement(model, [0, 0], 0.484375, witness=WITNESS), *TREE)


@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"targets": [2]},
        {"scale": [1.5, 0.375, 1.0]},
        {"constraints": ([[1.0, -1.0, 0.5]], [0.125])},
        {"margin": 0.125},
    ],
)
def test_what_is_written_of_random_nets(tmp_path: Path, norm: str, options: dict[str, Any]) -> None:
    layers = random_layers(np.random.default_rng(len(options)), (3, 6, 5, 3))
    model = verifier.load(fully_connected(tmp_path / "net.onnx", layers))
    x, asked = f32([0.5, 0.375, 0.25]), {"norm": norm, **options}
    result = verifier.distance(model, x, **asked)
    proof = verifier.write_proof(tmp_path / "0.proof", model, x, result, **asked)
    assert proof.path is not None, proof.why
    found = write_vipr(tmp_path / "0.vipr", proof.path, model.path)
    assert found.size == found.path.stat().st_size
    said = accepted(found.path.read_text(), tmp_path)
    if np.isinf(result.upper):
        assert said == "infeasible"
        return
    low, high = said.removeprefix("within [").removesuffix("]").split(", ")
    assert Fraction(low) == Fraction(proof.radius or 0.0)
    assert float(Fraction(high)) == pytest.approx(result.upper)


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("seed", [14, 18, 19])
def test_trees_that_split_every_neuron(tmp_path: Path, norm: str, seed: int) -> None:
    """Up to 99 of 100 parts of the least distance, by brute force; nothing is proven of a ball that is larger."""
    layers = random_layers(np.random.default_rng(seed), (2, 3, 2, 2))
    model = fully_connected(tmp_path / "net.onnx", layers)
    first = statement(model, [0.25, -0.25], 1.0, box=hexadecimal([-2, 2]))
    network = Network(model, tiny=True)
    scores = network.scores((Fraction(1, 4), Fraction(-1, 4)))
    first["against"] = scores.index(max(scores))
    least, far = (distance(claim_of(first | {"norm": one}), network) for one in ("linf", norm))
    assert least is not None
    assert far is not None
    near = first | {"radius": float(least * Fraction(99, 100)).hex()}
    lines = Writer(model, layers, near).written()
    assert any("split" in line for line in lines)
    assert accepted(translated(model, near | {"norm": norm}, *lines[1:]), tmp_path) == "infeasible"
    with pytest.raises(ProofError):
        translated(model, first | {"norm": norm, "radius": float(far * Fraction(101, 100)).hex()}, *lines[1:])


CHANGES = {
    "a radius that was not proven": (r"RTP range 31/64", "RTP range 1/2"),
    "the witness is worse": ("RTP range 31/64 3/4", "RTP range 31/64 5/8"),
    "a larger ball": ("within L 31/64 2 2 1", "within L 1/2 2 2 1"),
    "a weaker goal": ("goal_1_0 L", "goal_1_0 E"),
    "a ReLU that may be more": ("y_0_0_on L 3/2", "y_0_0_on L 2"),
    "a neuron that is more": ("h_0_0_is E 0", "h_0_0_is E 1/8"),
    "a case that is missing": ("{ uns ", "{ lin 0 } #"),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_certificate_that_is_changed(text: str, what: str) -> None:
    before, after = CHANGES[what]
    assert before in text
    changed = text.replace(before, after, 1)
    with pytest.raises((ValueError, StopIteration)):
        Vipr(changed).check()


def test_every_multiplier_matters(text: str) -> None:
    rng, lines = Random(3), text.splitlines()
    derived = [at for at, line in enumerate(lines) if "{ lin " in line]
    for _ in range(200):
        at = rng.choice(derived)
        words = lines[at].split()
        first = words.index("lin") + 2
        place = first + 1 + 2 * rng.randrange(int(words[first - 1]))
        words[place] = str(Fraction(words[place]) * rng.choice([Fraction(-1), Fraction(1, 2), Fraction(1025, 1024)]))
        with pytest.raises(ValueError, match=r"does not follow|wrong sign"):
            Vipr("\n".join([*lines[:at], " ".join(words), *lines[at + 1 :]])).check()


@pytest.mark.skipif(VIPRCHK is None, reason="viprchk (https://github.com/scipopt/vipr) is not on the PATH")
def test_viprchk_says_the_same(text: str, tmp_path: Path) -> None:
    assert VIPRCHK is not None
    assert by_viprchk(VIPRCHK, text, tmp_path)
    for before, after in CHANGES.values():
        assert not by_viprchk(VIPRCHK, text.replace(before, after, 1), tmp_path)


def test_lines_on_which_nothing_rests_are_left_out(text: str) -> None:
    """Every derived line is used later, and its last use is where the file says it is."""
    lines = [line.split() for line in text.splitlines() if "{" in line]
    first = len(Vipr(text).constraints)
    for at, words in enumerate(lines[:-1], first):
        last = int(words[-1])
        assert last > at
        uses = [first + k for k, other in enumerate(lines) if str(at) in _references(other)]
        assert max(uses) == last
    assert lines[-1][-1] == "-1"


def test_only_the_rules_that_nobody_doubts_are_used(text: str) -> None:
    """No rounding, and a solution where an upper end is claimed: a checker that is lax about these changes nothing."""
    reasons = {line.split()[line.split().index("{") + 1] for line in text.splitlines() if "{" in line}
    assert reasons == {"asm", "lin", "uns"}
    assert len(Vipr(text).solutions) == 1


def _references(words: list[str]) -> list[str]:
    reason = words[words.index("{") + 1 : words.index("}")]
    return reason[2::2] if reason[0] == "lin" else reason[1:]


def test_comments_are_one_line_each_whatever_a_proof_holds(tmp_path: Path) -> None:
    model = fully_connected(tmp_path / "sum.onnx", SUM)
    first = statement(model, [0, 0], 0.25)
    first["model"]["name"] = "a\nVER 1.1\x85VAR 0\u2028"
    text = translated(model, first, ranges(0, [-1], [1]), {"goal": 1}, {"close": True})
    comments = text[: text.index("\nVER 1.1\n")].splitlines()
    assert all(line.startswith("% ") for line in comments)
    assert "Claim: no adversary within linf 0.25." in text
    assert first["model"]["sha256"] in text
    assert Vipr(text).check() == "infeasible"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"norm": "l2"}, "line 1: the ball of l2 has no linear form"),
        ({"grid": 16}, "line 1: a proof of an int8 net"),
        ({"radius": None}, "line 1: neither radius nor witness"),
        ({"model": {"name": "other", "sha256": "0" * 64}}, "line 1: the model is another file"),
    ],
)
def test_what_has_no_certificate(tmp_path: Path, changed: Line, why: str) -> None:
    model = fully_connected(tmp_path / "sum.onnx", SUM)
    with pytest.raises(ProofError, match=why):
        translated(model, statement(model, [0, 0], 0.25) | changed, *TREE)
    assert not (tmp_path / "sum.vipr").exists()


def test_external_data_that_is_not_there(tmp_path: Path) -> None:
    model = fully_connected(tmp_path / "sum.onnx", SUM)
    first = statement(model, [0, 0], 0.25)
    first["model"]["external"] = {"sum.data": "0" * 64}
    with pytest.raises(ProofError, match=r"line 1: .*sum\.data: No such file"):
        translated(model, first, *TREE)


def test_files_that_are_no_proofs(tmp_path: Path) -> None:
    model, proof = fully_connected(tmp_path / "sum.onnx", SUM), tmp_path / "sum.proof"
    for content, why in (
        (b"not packed", "line 1: it is no proof file"),
        (gzip.compress(b""), "line 1: the file is empty"),
        (packed(statement(model, [0, 0], 0.25))[:-9], "no whole gzip file"),
    ):
        proof.write_bytes(content)
        with pytest.raises(ProofError, match=why):
            write_vipr(tmp_path / "sum.vipr", proof, model)
    with pytest.raises(FileNotFoundError):
        write_vipr(tmp_path / "sum.vipr", tmp_path / "none.proof", model)
