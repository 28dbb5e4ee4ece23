"""`plumbline attack`: samples in; each attack's replayed distance, and how the attacks compare."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.deadline import EVERYTHING
from encoders.errors import OptionError
from verifier.cli.shared_options import add_attacked, add_model, classes

if TYPE_CHECKING:
    from verifier.runs.journal import Record
    from verifier.runs.journalled import Fresh
    from verifier.runs.samples import Samples
    from verifier.studies.attacks.replayed import Attacked, Attacking

ANSWERED, UNRESOLVED = 0, 1
WIDTH = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline attack MODEL`."""
    parser.description = (
        "The nearest adversary that each attack finds of each sample, replayed through onnxruntime, and how the "
        "attacks compare. An attack that finds nothing says nothing: for a proof ask `distance` or `verify`."
    )
    add_model(parser)
    add_attacked(parser, "linf, l1, l2, or l0: how many inputs differ")
    parser.add_argument(
        "--count", default="inputs", metavar="W", help="what l0 counts: inputs, or pixels whatever their channels do"
    )
    parser.add_argument("--target", type=classes, metavar="K", help="only adversaries classified as K (or one of K,L)")
    parser.add_argument(
        "--margin", type=float, default=0.0, metavar="A", help="the adversary must win by at least A (default: 0)"
    )
    parser.add_argument("--mask", type=Path, metavar="FILE", help="which inputs (or pixels) may move")
    parser.add_argument(
        "--attack",
        nargs="+",
        default=["portfolio"],
        metavar="NAME",
        help="fgsm, iterated-fgsm, ilcm, linearised, deepfool, pgd, apgd-ce, apgd-dlr, l-bfgs, carlini-wagner, "
        "elastic-net, square, hopskipjump, pixel-greedy and one-pixel (L0), fab, region-descent, or module:Name; "
        "portfolio, the ones that `distance` starts with (default); or all that are made for the norm",
    )
    parser.add_argument("--steps", type=int, default=24, metavar="N", help="of each run of an attack (default: 24)")
    parser.add_argument("--restarts", type=int, default=32, metavar="N", help="random starts a sample (default: 32)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="per sample and attack (default: none)")
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="samples attacked at once; no answer depends on it (default: what keeps the device busy, at most 64)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="one JSON object per sample; an existing file is resumed"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="save each sample's nearest adversary")


def run(arguments: argparse.Namespace) -> int:
    """Attack every chosen sample; returns the exit status."""
    from bounds.attacks import AttackOptions
    from encoders.arrays import digest
    from verifier.options import Options
    from verifier.question.model import load
    from verifier.runs.journal import Journal
    from verifier.runs.journalled import Finished, Run, journalled
    from verifier.runs.samples import check_box, load_mask, load_samples, parse_samples
    from verifier.runs.saved_adversary import save_adversary
    from verifier.studies.attacks.replayed import Attacking, Sample, attacks_named

    options = Options(
        norm=arguments.norm, targets=arguments.target, margin=arguments.margin, box=arguments.box,
        device=arguments.device, seed=arguments.seed, count=arguments.count,
    )  # fmt: skip
    effort = AttackOptions(arguments.seed, arguments.time_limit, arguments.restarts, arguments.steps)
    names = attacks_named(arguments.attack, options.norm)
    model = load(arguments.model, arguments.output, arguments.threshold)
    samples = load_samples(arguments.data, model.input_shape, model.classes, model.input_type)
    indices = parse_samples(arguments.samples, samples.count)
    check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, model.input_shape)
    if arguments.batch is not None and arguments.batch < 1:
        raise OptionError(f"batch {arguments.batch}: give a whole number, one or more")
    attacking = Attacking(model, options, names, effort)
    run = Run("attack", model, samples, depending_on(attacking, samples, None if mask is None else digest(mask)))

    def fresh(left: list[int]) -> Fresh:
        waiting = (Sample(samples.x[index], samples.label(index), index) for index in left)
        for done in chain.from_iterable(attacking.batches(waiting, mask, arguments.batch)):
            if EVERYTHING.asked:  # attacks that a stop cut short are no answer
                return
            if arguments.out is not None and done.best is not None and done.best.adversary is not None:
                save_adversary(arguments.out, done.index, samples.x[done.index], done.best.adversary, options.box)
            yield Finished(done.index, record_of(done, run.record))

    records: list[Record] = []
    with ExitStack() as stack:
        journal = None if arguments.json is None else stack.enter_context(Journal(arguments.json, run.record))
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
        print(header(names), flush=True)
        for one in journalled(journal, indices, fresh):
            if one.record is not None:
                records.append(one.record)
                print(row(one.record, names), flush=True)
    print()
    print(summary(records, names))
    open_ = any(record["verdict"] == "unresolved" for record in records)
    return UNRESOLVED if open_ else ANSWERED


def depending_on(attacking: Attacking, samples: Samples, mask: str | None) -> dict[str, Any]:
    """What of the options an answer depends on."""
    from bounds.attacks import ATTACKS
    from encoders.plugins import taking_part
    from verifier.runs.samples import origin_of

    options, effort = attacking.options, attacking.effort
    return {
        "mask": mask, **options.record("norm", "targets", "margin", "box", "device", "seed", "count"),
        "attacks": list(attacking.attacks), "steps": effort.steps, "restarts": effort.restarts,
        "time_limit": effort.time_limit,
        **taking_part(data=origin_of(samples.name), attacks=ATTACKS.origins(attacking.attacks)),
    }  # fmt: skip


def record_of(done: Attacked, run: dict[str, Any]) -> Record:
    """One sample's line: `falsified` where an adversary was found, else `unresolved`: attacks prove nothing."""
    best = done.best
    verdict = "misclassified" if done.misclassified else "unresolved" if best is None else "falsified"
    upper = 0.0 if done.misclassified else math.inf if best is None else best.distance
    return {
        "index": done.index,
        "label": done.label,
        "predicted": done.predicted,
        "norm": run["norm"],
        "verdict": verdict,
        **({} if done.lower is None else {"lower": done.lower}),
        "upper": upper if math.isfinite(upper) else "inf",
        "best": None if best is None else best.attack,
        "target": None if best is None or best.adversary is None else best.adversary.label,
        "found_by": None if best is None or best.adversary is None else best.adversary.found_by,
        "attacks": {
            one.attack: {
                "distance": one.distance if one.adversary else "inf",
                "target": one.adversary.label if one.adversary else None,
                "found_by": one.adversary.found_by if one.adversary else None,
                "inputs": one.inputs,
                "pixels": one.pixels,
                "seconds": round(one.seconds, 6),
            }
            for one in done.found
        },
        "run": run,
    }


def header(names: Sequence[str]) -> str:
    columns = " ".join(f"{name:>{max(WIDTH, len(name))}}" for name in names)
    return f"{'sample':>6} {'label':>5} {'class':>5}  {columns}  nearest"


def row(record: Record, names: Sequence[str]) -> str:
    """One sample's line, distances rounded up."""
    from verifier.cli.display import rounded

    cells = []
    for name in names:
        told = record["attacks"].get(name)
        shown = "-" if told is None else rounded(float(told["distance"]), math.ceil)
        cells.append(f"{shown:>{max(WIDTH, len(name))}}")
    label = "-" if record["label"] is None else record["label"]
    proven = f" (proven: {rounded(record['lower'], math.floor)})" if "lower" in record else ""
    return f"{record['index']:>6} {label:>5} {record['predicted']:>5}  {' '.join(cells)}  {_nearest(record)}{proven}"


def _nearest(record: Record) -> str:
    """Which attack came nearest; of the portfolio, which of its members."""
    best = record["best"]
    if best is None:
        return "misclassified" if record["verdict"] == "misclassified" else "nothing found"
    return str(best) if best == record["found_by"] else f"{best} ({record['found_by']})"


def summary(records: Sequence[Record], names: Sequence[str]) -> str:
    """A line per attack, over the samples that are classified right: nothing found counts as infinitely far."""
    from statistics import median

    from verifier.cli.display import rounded

    attacked = [record for record in records if record["attacks"]]
    if not attacked:
        return "no sample was attacked"
    lines = [f"{'attack':<16} {'found':>9} {'median':>10} {'of the nearest':>14} {'changed inputs':>14} {'seconds':>8}"]
    for name in names:
        told = [record["attacks"][name] for record in attacked]
        distances = [float(one["distance"]) for one in told]
        hit = [one for one, distance in zip(told, distances, strict=True) if math.isfinite(distance)]
        ratios = [
            _ratio(distance, float(record["upper"])) for distance, record in zip(distances, attacked, strict=True)
        ]
        changed = f"{median(one['inputs'] for one in hit):g}" if hit else "-"
        lines.append(
            f"{name:<16} {len(hit):>4}/{len(told):<4} {rounded(median(distances), math.ceil):>10} "
            f"{median(ratios):>14.4f} {changed:>14} {median(one['seconds'] for one in told):>8.3f}"
        )
    lines.append(f"{len(attacked)} of {len(records)} samples attacked; medians over them")
    return "\n".join(lines)


def _ratio(distance: float, nearest: float) -> float:
    if not math.isfinite(distance):
        return math.inf
    return distance / nearest if nearest > 0 else 1.0
