"""Real proofs that are changed at random prove nothing false, and float arithmetic accepts none that exact refuses."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from benchmarks.proof_mutations.honest import curved_by_search, digits_proofs, grid_proofs, tiny_proofs
from benchmarks.proof_mutations.honest_by_hand import curved_proofs, furnished_proofs, split_proofs
from benchmarks.proof_mutations.honest_int8 import digits_int8_proofs, tiny_int8_proofs
from benchmarks.proof_mutations.judging import MUTATIONS, Proof, is_honest, mutated, tried
from benchmarks.proof_mutations.numbers import INT8, REAL, places
from benchmarks.proof_mutations.proof_lines import packed
from tests.claims import Truth
from tests.draws import draws, thorough

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> list[Proof]:
    """Of tiny nets of all kinds, and of digits nets in a thorough run."""
    folder = tmp_path_factory.mktemp("nets")
    found = [
        *split_proofs(folder, (1, 8)),
        *furnished_proofs(folder, (1,)),
        *curved_proofs(folder, (0, 1)),
        *curved_by_search(folder, (0,)),
        *tiny_proofs(folder, range(8) if thorough() else (3,)),
        *grid_proofs(folder, (0, 1)),
        *tiny_int8_proofs(folder, range(24 if thorough() else 6)),
    ]
    return found + ([*digits_proofs(), *digits_int8_proofs()] if thorough() else [])


def test_no_change_makes_a_false_claim_accepted(proofs: list[Proof]) -> None:
    rng, found = Random(7), Counter[str]()
    for _ in range(draws(300, 5000)):
        changed = mutated(rng, proofs)
        outcome = tried(changed)
        said = f"{changed.kind} of {changed.proof.name}"
        assert not outcome.stopped, f"{said}: {outcome.stopped}"
        assert outcome.truth is not Truth.FALSE, said
        assert not outcome.float_alone, said
        found[outcome.column] += 1
    assert found["refused"] > 100
    assert found["accepted, claim as before"] > 10


def test_every_kind_of_change_changes_something(proofs: list[Proof]) -> None:
    rng, changed, kept = Random(1), set(), 0
    for _ in range(3000):
        one = mutated(rng, proofs)
        if one.data == packed(one.proof.lines):  # two equal things that changed places
            kept += 1
        else:
            changed.add(one.kind)
    assert changed == set(MUTATIONS)
    assert kept < 150


def test_every_number_of_the_format_is_in_some_proof(proofs: list[Proof]) -> None:
    """What no proof holds is never changed."""
    for names, on_grid in ((REAL, False), (INT8, True)):
        assert set().union(*(places(one.lines) for one in proofs if one.on_grid == on_grid)) == names


def test_honest_proofs_are_true_and_accepted(proofs: list[Proof]) -> None:
    for proof in proofs:
        assert is_honest(proof), proof.name
        assert thorough() or proof.truth(proof.lines[0]) is Truth.TRUE, proof.name


def test_what_is_false_would_be_seen(proofs: list[Proof]) -> None:
    """The oracles of claims know what is false by a hair, and a witness that is none."""
    assert sum(len(proof.hairs) for proof in proofs) > 20
    for proof in proofs:
        for hair in proof.hairs:
            assert proof.truth(hair) is Truth.FALSE, proof.name
        first = proof.lines[0]
        if first["witness"] is not None:
            still = {"steps": [0] * len(first["sample"])} if proof.on_grid else {"input": first["sample"]}
            nearer = {"measure": 0} if proof.on_grid else {"distance": (0.0).hex()}
            for changed in (still, nearer):
                claim = first | {"witness": first["witness"] | changed}
                assert proof.truth(claim) is Truth.FALSE, proof.name
