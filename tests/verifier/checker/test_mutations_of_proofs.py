"""Real proofs that are changed at random prove nothing false, and float arithmetic accepts none that exact refuses."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from random import Random

import pytest

from benchmarks.honest_proofs import (
    Proof,
    curved_proofs,
    digits_proofs,
    multiplied_proofs,
    shared_proofs,
    split_proofs,
    tiny_proofs,
)
from benchmarks.proof_mutations import MUTATIONS, mutated, packed, tried
from tests.claims import Truth, claim_of, truth
from tests.draws import draws, thorough
from verifier.checker import check


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> list[Proof]:
    """Of tiny nets, and of a digits net in a thorough run."""
    folder = tmp_path_factory.mktemp("nets")
    found = [
        *split_proofs(folder, (1, 8)),
        *shared_proofs(folder, (8,)),
        *curved_proofs(folder, (0, 1)),
        *multiplied_proofs(folder, (0, 1)),
        *tiny_proofs(folder, range(8) if thorough() else (7,)),
    ]
    return found + list(digits_proofs() if thorough() else ())


@pytest.mark.slow
def test_no_change_makes_a_false_claim_accepted(proofs: list[Proof]) -> None:
    rng, found = Random(7), Counter[str]()
    for _ in range(draws(150, 5000)):
        kind, data, proof = mutated(rng, proofs)
        outcome = tried(kind, data, proof)
        assert not outcome.stopped, f"{kind} of {proof.name}: {outcome.stopped}"
        assert outcome.truth is not Truth.FALSE, f"{kind} of {proof.name}"
        assert not outcome.float_alone, f"{kind} of {proof.name}"
        found[outcome.column] += 1
    assert found["refused"] > 50
    assert found["accepted, claim as before"] > 5


@pytest.mark.slow
def test_every_kind_of_change_changes_something(proofs: list[Proof]) -> None:
    rng, changed, kept = Random(1), set(), 0
    for _ in range(2000):
        kind, data, proof = mutated(rng, proofs)
        if data == packed(proof.lines):  # two equal things that changed places
            kept += 1
        else:
            changed.add(kind)
    assert changed == set(MUTATIONS)
    assert kept < 100


@pytest.mark.slow
def test_honest_proofs_are_true_and_accepted(proofs: list[Proof]) -> None:
    for proof in proofs:
        assert check(packed(proof.lines), proof.network.path).whole
        assert truth(claim_of(proof.lines[0]), proof.network) is Truth.TRUE


@pytest.mark.slow
def test_what_is_false_would_be_seen(proofs: list[Proof]) -> None:
    """The oracle of claims knows a radius that is too large, and a witness that is none."""
    known = [proof for proof in proofs if proof.claim.radius is not None and proof.claim.witness is not None]
    assert known
    for proof in known:
        first = proof.lines[0]
        farther = float.fromhex(first["witness"]["distance"]) + 1e-6
        assert truth(claim_of(first | {"radius": farther.hex()}), proof.network) is Truth.FALSE
        for changed in ({"input": first["sample"]}, {"distance": first["radius"]}):
            claim = claim_of(first | {"witness": first["witness"] | changed})
            assert truth(claim, proof.network) is Truth.FALSE
        assert proof.claim.far(proof.claim.sample) == Fraction(0)
