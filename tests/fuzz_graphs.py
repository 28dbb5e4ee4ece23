"""Random operator graphs for as long as one likes: python -m tests.fuzz_graphs --seconds 600 --seed 1

Each graph is read and compared with onnxruntime; of the smallest, verdicts too. Graphs run in a child process: a file
that makes onnxruntime crash, or never end, costs the child and is reported as any other failure. One seed again:
--seed THAT --count 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from tests.generated_graphs import Generated, described, generate, shrunk
from tests.reading import Held, Reading, hold
from tests.sampled_adversaries import judge

JUDGED = 25  # every so many graphs is small and is asked for a verdict
SMALL = 3  # inputs of those
PATIENCE = 120.0  # seconds for one graph
DONE = "done"


@dataclass(frozen=True)
class Outcome:
    """What became of the graph of one seed; `held` is None where its process died or was stopped."""

    seed: int
    operators: str = ""
    held: Held | None = None

    @property
    def failed(self) -> bool:
        return self.held is None or self.held.failed


def check(seed: int, folder: Path) -> tuple[Generated, Held]:
    """The graph of this seed, read and, if its turn, judged."""
    if seed % JUDGED:
        made = generate(seed)
        return made, hold(made.proto, folder, made.inputs)
    made = generate(seed, SMALL)
    held = hold(made.proto, folder, made.inputs)
    return made, judge(made.proto, folder, np.random.default_rng(seed)) if held.reading is Reading.AGREED else held


def explained(made: Generated, held: Held, folder: Path, out: Path) -> Held:
    """The failure with a smaller graph that fails alike; both files are kept."""
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(made.proto, str(out / f"{made.seed}.onnx"))
    small, inputs = shrunk(made, lambda proto, given: hold(proto, folder, given).reading is held.reading)
    onnx.save(small, str(out / f"{made.seed}-small.onnx"))
    why = hold(small, folder, inputs).why or held.why
    return Held(held.reading, f"{why}\n  {described(small)}")


def work(seeds: Sequence[int], out: Path, pipe: Connection) -> None:
    """What the child does: says which seed it starts and what became of it."""
    with TemporaryDirectory() as folder:
        for seed in seeds:
            pipe.send(seed)
            made, held = check(seed, Path(folder))
            if held.failed:
                held = explained(made, held, Path(folder), out)
            pipe.send(Outcome(seed, made.operators, held))
    pipe.send(DONE)


def fuzz(first: int, count: int, seconds: float, out: Path, worker: Callable[..., None] = work) -> list[Outcome]:
    """Graph after graph until the time or the seeds are used up; failures are printed as they come."""
    context = multiprocessing.get_context("spawn")
    outcomes: list[Outcome] = []
    end = time.monotonic() + seconds
    while len(outcomes) < count and time.monotonic() < end:
        ours, theirs = context.Pipe(duplex=False)
        seeds = range(first + len(outcomes), first + count)
        child = context.Process(target=worker, args=(seeds, out, theirs), daemon=True)
        child.start()
        theirs.close()
        for outcome in _heard(ours, seeds[0], end):
            outcomes.append(outcome)
            if outcome.failed:
                print(line(outcome), flush=True)
        child.kill()
        child.join()
    return outcomes


def _heard(pipe: Connection, current: int, end: float) -> Iterator[Outcome]:
    """The outcomes a child tells of, until it has no more, the time is used up, or it dies or hangs over a graph."""
    while (left := end - time.monotonic()) > 0.0:
        try:
            said = pipe.recv() if pipe.poll(min(PATIENCE, left)) else None
        except EOFError:
            yield Outcome(current)
            return
        if said == DONE:
            return
        if isinstance(said, int):
            current = said
        elif said is not None:
            yield said
        elif left > PATIENCE:
            yield Outcome(current)
            return


def line(outcome: Outcome) -> str:
    held = outcome.held
    return f"seed {outcome.seed}: " + (f"{held.reading.value}: {held.why}" if held else "THE PROCESS DIED OR HANGS")


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """How many graphs, of which seeds, and how they ended."""
    if not outcomes:
        return "no graph in this time; give it more --seconds"
    counts = Counter(outcome.held.reading.value if outcome.held else "died" for outcome in outcomes)
    ends = ", ".join(f"{name} {number} ({number / len(outcomes):.0%})" for name, number in counts.most_common())
    seeds = f"seeds {outcomes[0].seed} to {outcomes[-1].seed}"
    return f"{len(outcomes)} graphs ({60.0 * len(outcomes) / seconds:.0f} a minute), {seeds}: {ends}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold random operator graphs against onnxruntime.")
    parser.add_argument("--seconds", type=float, default=60.0, help="stop after so long (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="the first graph's (default 0); the others follow")
    parser.add_argument("--count", type=int, default=10**9, help="stop after so many graphs")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="where failing files go (default out/fuzz)")
    options = parser.parse_args()
    started = time.monotonic()
    outcomes = fuzz(options.seed, options.count, options.seconds, options.out)
    print(summary(outcomes, time.monotonic() - started))
    failures = [outcome for outcome in outcomes if outcome.failed]
    if failures:
        print(f"{len(failures)} failures, files in {options.out}: {' '.join(str(each.seed) for each in failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
