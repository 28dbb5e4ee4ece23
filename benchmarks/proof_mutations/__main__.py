"""Real proofs, changed at random: does the checker ever accept one whose claim is false?

Proofs of distances, verdicts and losses are written: for tiny nets whose distances are known in fractions, for a digits
net, and for int8 nets. Each is changed in one of the ways of `MUTATIONS`. What the checker accepts is judged by
`tests/claims.py` and `tests/grid_claims.py`, which know nothing of proofs. What exact arithmetic refuses, float
arithmetic is asked, too: it may refuse more, never less.

    OMP_NUM_THREADS=1 python -m benchmarks.proof_mutations --count 10000 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.common import conditions, header, row, single_threaded
from benchmarks.proof_mutations.honest import curved_by_search, digits_proofs, grid_proofs, tiny_proofs
from benchmarks.proof_mutations.honest_by_hand import curved_proofs, furnished_proofs, split_proofs
from benchmarks.proof_mutations.honest_int8 import digits_int8_proofs, tiny_int8_proofs
from benchmarks.proof_mutations.judging import COLUMNS, MUTATIONS, Changed, Outcome, Proof, is_honest, mutated, tried
from benchmarks.proof_mutations.numbers import INT8, REAL
from tests.claims import Truth

SHARES = {
    "distances, verdicts": 16,
    "losses": 10,
    "on grids": 8,
    "shares, parabolas, products": 18,
    "trees that split all": 6,
    "trees with any multipliers": 10,
    "digits": 10,
    "tiny int8 nets": 18,
    "digits-int8": 8,
}  # of the changes, by kind of file
EVERY = 250  # changes, after which it is said how far it is


@dataclass
class Tally:
    """What became of all changes: by what was changed, by kind of file, and by name of the number."""

    by_change: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_file: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_name: Counter[tuple[str, str]] = field(default_factory=Counter)
    float_alone: int = 0

    def add(self, changed: Changed, outcome: Outcome) -> None:
        """One more."""
        column = outcome.column
        self.by_change[changed.kind, column] += 1
        self.by_file[changed.proof.kind, column] += 1
        for name in changed.names:
            self.by_name[f"{'int8' if changed.proof.on_grid else 'real'}: {name}", column] += 1
        self.float_alone += outcome.float_alone

    @property
    def sound(self) -> bool:
        """Whether nothing false was accepted, and the checker had a verdict about everything."""
        return not any(column in COLUMNS[-2:] for _, column in self.by_file)

    def told(self) -> str:
        """Three tables, and which numbers were never changed."""
        known = [f"real: {name}" for name in sorted(REAL)] + [f"int8: {name}" for name in sorted(INT8)]
        counted = {name: sum(self.by_name[name, column] for column in COLUMNS) for name in known}
        never = [name for name, count in counted.items() if not count]
        least = min(counted.values())
        return "\n\n".join((
            _table("what is changed", MUTATIONS, self.by_change),
            _table("which number", known, self.by_name, last=False),
            _table("which files", list(SHARES), self.by_file),
            f"{len(known)} numbers of the format's pages, each changed {least} times at least; never: "
            f"{', '.join(never) or 'none'}",
            f"accepted by float arithmetic alone: {self.float_alone}",
        ))  # fmt: skip


def _table(head: str, keys: Sequence[str], found: Counter[tuple[str, str]], last: bool = True) -> str:
    lines = [header([head, "changes", *COLUMNS])]
    for key in keys:
        counts = [found[key, column] for column in COLUMNS]
        lines.append(row([key, sum(counts), *counts]))
    if last:
        totals = [sum(found[key, column] for key in keys) for column in COLUMNS]
        lines.append(row(["all", sum(totals), *totals]))
    return "\n".join(lines)


def honest_proofs(folder: Path) -> list[Proof]:
    """All that are changed."""
    return [
        *tiny_proofs(folder, range(12)),
        *grid_proofs(folder, range(6)),
        *curved_by_search(folder, range(6)),
        *curved_proofs(folder, range(4)),
        *split_proofs(folder, (1, 2, 8, 9)),
        *furnished_proofs(folder, (1, 2, 8, 9)),
        *digits_proofs(),
        *tiny_int8_proofs(folder, range(24)),
        *digits_int8_proofs(),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="changes (default: 10000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(SHARES), metavar="KIND", help=f"of files: {'; '.join(SHARES)}")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to put proofs that should not be accepted")
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    rng, tally, started = Random(options.seed), Tally(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        proofs = honest_proofs(Path(folder))
        by_kind = {kind: [one for one in proofs if one.kind == kind] for kind in SHARES}
        print(f"proofs: {', '.join(f'{len(some)} {kind}' for kind, some in by_kind.items())}", flush=True)
        dishonest = [proof.name for proof in proofs if not is_honest(proof)]
        if dishonest:
            sys.exit(f"these are refused, or false, before anything is changed: {', '.join(dishonest)}")
        print(f"all are accepted as they are, and none is false; {time.process_time() - started:.0f} s\n", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # ended early, the table is of what was done
            for at in range(options.count):
                kind = options.only or rng.choices(list(SHARES), list(SHARES.values()))[0]
                changed = mutated(rng, by_kind[kind])
                outcome = tried(changed)
                tally.add(changed, outcome)
                if outcome.truth is not Truth.TRUE or outcome.float_alone or outcome.stopped:
                    _keep(at, changed, outcome, options.keep)
                if (at + 1) % EVERY == 0:
                    print(f"{at + 1} changes, {time.process_time() - started:.0f} s", file=sys.stderr, flush=True)
    print(tally.told())
    print(f"CPU time of this process: {time.process_time() - started:.0f} s")
    sys.exit(0 if tally.sound else 1)


def _keep(at: int, changed: Changed, outcome: Outcome, folder: Path | None) -> None:
    """What should be looked at: said, and written where there is a folder, with its model."""
    print(f"{at}: {changed.kind} of {changed.proof.name}: {outcome}", file=sys.stderr, flush=True)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{at}.proof").write_bytes(changed.data)
        (folder / f"{at}.onnx").write_bytes(changed.proof.model.read_bytes())


if __name__ == "__main__":
    main()
