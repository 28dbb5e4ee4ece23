"""Ten million samples on a thousand workers, on paper: what breaks first, by measured costs and a simulation.

python -m benchmarks.scale
python -m benchmarks.scale --seconds 60 --hours 2

Costs are rows of docs/benchmarks/runs.csv. Seconds of a sample are drawn so that their median and their ninth decile
are the measured ones. Workers die at random and lose the sample that they have; some are slower than the others. Every
sample is taken from one place and its answer is put down there, which serves one after the other: a database, or the
process that hands out tasks to a cluster. A share of the samples is simulated, with the same number of workers.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.record import read

SAMPLES, WORKERS = 10_000_000, 1_000
SHARE = 0.02  # of the samples that are simulated
NINTH = 1.2816  # standard deviations of a normal law up to its ninth decile
LEASE = 10.0  # seconds after which a dead worker's sample is given to another one
OPERATIONS = 4  # of which the figure of the store is made: taken, two heartbeats, finished
BEATS = (0.5, 10.0)  # seconds between a worker's heartbeats: those of the service, and fewer
RESTART = 15.0  # seconds until a worker that died is back


@dataclass(frozen=True)
class Load:
    """What is simulated: so many samples and workers, what a sample takes, what one place has to do for each."""

    samples: int
    workers: int
    median: float  # seconds of a sample
    ninth: float
    central: float  # seconds of the one place for each sample
    life: float = float("inf")  # seconds that a worker lives, on the average
    slow: float = 0.0  # share of workers that are three times as slow


@dataclass(frozen=True)
class Told:
    """How it went: hours in all, the share of them in which the one place was busy, and what was lost."""

    hours: float
    busy: float
    solving: float  # share of the workers' time
    lost: float  # share of the solving that was done twice
    tail: float  # hours at the end in which not all workers had work


def simulated(load: Load, seed: int = 0) -> Told:
    """A share of the samples on as many workers, told for all of them."""
    rng = np.random.default_rng(seed)
    count = max(1, round(load.samples * SHARE))
    spread = np.log(load.ninth / load.median) / NINTH
    seconds = load.median * np.exp(spread * rng.standard_normal(count))
    pace = np.where(rng.random(load.workers) < load.slow, 3.0, 1.0)
    dies = rng.exponential(load.life, load.workers) if np.isfinite(load.life) else np.full(load.workers, np.inf)
    waiting = [(0.0, number) for number in range(count)]  # when each can be taken
    events = [(0.0, worker, -1) for worker in range(load.workers)]  # when, who, and with which sample's answer
    heapq.heapify(events)
    place = solved = lost = finished = 0.0
    idle = None
    spells: list[tuple[float, float]] = []  # from when to when a sample was solved
    while finished == 0.0 or events:
        now, worker, number = heapq.heappop(events)
        if number >= 0:  # an answer is put down, and its worker goes on
            place = max(place, now) + load.central
            finished = place
            heapq.heappush(events, (place, worker, -1))
            continue
        if not waiting:
            idle = now if idle is None else idle
            continue
        ready, number = heapq.heappop(waiting)
        now = max(now, ready)
        takes = seconds[number] * pace[worker]
        if now + takes > dies[worker]:
            died = max(now, dies[worker])
            lost += died - now
            heapq.heappush(waiting, (died + LEASE, number))
            heapq.heappush(events, (died + RESTART, worker, -1))
            dies[worker] = died + RESTART + rng.exponential(load.life)
            continue
        solved += takes
        spells.append((now, now + takes))
        heapq.heappush(events, (now + takes, worker, number))
    begins = finished if idle is None else idle
    tail = finished - begins  # is as long with all samples; what comes before it is not
    seconds_in_all = begins / SHARE + tail
    late = sum(end - max(start, begins) for start, end in spells if end > begins)
    return Told(
        seconds_in_all / 3600.0,
        min(1.0, load.samples * load.central / seconds_in_all),
        ((solved - late) / SHARE + late) / (seconds_in_all * load.workers),
        lost / max(solved, 1e-12),
        tail / 3600.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="of the median sample (default: digits-linf.5)")
    parser.add_argument("--hours", type=float, default=24.0, help="that a worker lives, on the average")
    parser.add_argument("--slow", type=float, default=0.02, help="share of the workers that are three times as slow")
    given = parser.parse_args()
    figures = {figure.id: figure.numbers[0] for figure in read() if figure.numbers}
    median, ninth = figures["digits-linf.5"], figures["digits-linf.6"]
    if given.seconds is not None:
        median, ninth = given.seconds, given.seconds * ninth / median
    store = figures["service-statements.1"] / 1000.0
    usual = Load(SAMPLES, WORKERS, median, ninth, 0.0, 3600.0 * given.hours, given.slow)
    print(f"{SAMPLES:,} samples on {WORKERS:,} workers; a sample: median {median:g} s, ninth decile {ninth:g} s")
    print(f"a worker lives {given.hours:g} h on the average, {given.slow:.0%} are three times as slow")
    places = {
        "no central place": 0.0,
        f"the database of the service, {1000 * store:g} ms a sample (service-statements.1)": store,
        "the same with eight samples a transaction": store / 8.0,
        "the same in ten services of their own": store / 10.0,
    }
    if "cluster-quiet.3" in figures:
        task = figures["cluster-quiet.3"] / 1000.0
        places[f"one command with --cluster, {1000 * task:g} ms a sample (cluster-quiet.3)"] = task
    for name, central in places.items():
        told = simulated(replace(usual, central=central))
        print(
            f"{name}: {told.hours:.1f} h, its place busy {told.busy:.0%}, workers solving {told.solving:.0%}, "
            f"done twice {told.lost:.3%}"
        )
        if central:
            print(f"  enough for {median_workers(median, ninth, central):,.0f} workers at this median")
    for beat in BEATS:
        kept = beat * OPERATIONS / store
        print(f"heartbeats each {beat:g} s alone keep the database busy with {kept:,.0f} workers")
    work = mean(median, ninth)
    both = f"{1e6 * work / 3600:,.0f} core hours of solving, {1e6 * store / 3600:.1f} h of the database"
    print(f"a million verdicts: {both}")
    print(f"the same with a median of a minute: {1e6 * mean(60.0, 60.0 * ninth / median) / 3600:,.0f} core hours")
    kilobytes = figures["proofs-linf.6"]
    proofs = f"{SAMPLES * kilobytes / 1e6:.0f} GB, were each of the median's {kilobytes:g} kB"
    print(f"proofs of digits: {proofs} (proofs-linf.6)")
    for row, what in (("cluster-files.1", "lines of a journal"), ("cluster-files.2", "adversaries beside it")):
        if row in figures:
            print(f"{what}: {SAMPLES * figures[row] / 1e9:.1f} GB in all, {figures[row]:,.0f} bytes each ({row})")


def mean(median: float, ninth: float) -> float:
    """The mean of the law that durations are drawn from."""
    return float(median * np.exp(0.5 * (np.log(ninth / median) / NINTH) ** 2))


def median_workers(median: float, ninth: float, central: float) -> float:
    """So many workers keep the one place busy all the time."""
    return mean(median, ninth) / central


if __name__ == "__main__":
    main()
