"""`plumbline universal`: one perturbation that fools as many samples as it can."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from decimal import ROUND_CEILING
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError
from encoders.files import write_whole
from verifier.cli.several_networks import (
    JOINT_HEADER,
    add_exact,
    asked,
    exact,
    joint_row,
    options_of,
)
from verifier.cli.shared_options import add_attacked, add_model

if TYPE_CHECKING:
    from verifier.runs.samples import Samples
    from verifier.studies.attacks.universal import Inputs, Shares

ANSWERED = 0
STEPS, RESTARTS = 200, 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline universal MODEL`."""
    parser.description = (
        "Looks for one perturbation no longer than the radius that changes the class of many samples at once; each "
        "moved sample is clipped to the box and replayed through onnxruntime. Nothing is proven. With --exact: the "
        "least perturbation that changes the class of every sample, proven; all perturbed samples stay in the box."
    )
    add_model(parser)
    add_attacked(parser)
    parser.add_argument(
        "--radius", type=float, metavar="R", help="its longest length, in --norm; needed, but for --exact"
    )
    parser.add_argument("--unseen", metavar="S", help="samples that it is tried on but not made from")
    parser.add_argument("--steps", type=int, metavar="N", help=f"of the ascent (default: {STEPS})")
    parser.add_argument("--restarts", type=int, metavar="N", help=f"ascents side by side (default: {RESTARTS})")
    add_exact(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="save it: universal.npy, .json and a picture; with --exact the perturbed samples too",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Find it, replay it, tell the shares; or exactly, prove it. Returns the exit status."""
    if exact(arguments, "radius", "unseen", "steps", "restarts"):
        return _exactly(arguments)
    import numpy as np

    from bounds.attacks.universal import UniversalOptions
    from verifier.options import Options, check_convex
    from verifier.pages.wording import in_decimals
    from verifier.question.model import load
    from verifier.runs.samples import check_box, load_samples, parse_samples
    from verifier.studies.attacks.universal import find_universal, shares_of

    options = Options(norm=arguments.norm, box=arguments.box, device=arguments.device, seed=arguments.seed)
    check_convex(options)
    restarts = RESTARTS if arguments.restarts is None else arguments.restarts
    effort = UniversalOptions(arguments.seed, restarts, STEPS if arguments.steps is None else arguments.steps)
    if arguments.radius is None:
        raise OptionError("give --radius R, how long the perturbation may be, or --exact")
    radius = float(arguments.radius)
    if not (math.isfinite(radius) and radius > 0):
        raise OptionError(f"radius {radius}: give a positive number")
    model = load(arguments.model, arguments.output, arguments.threshold)
    samples = load_samples(arguments.data, model.input_shape, model.classes)
    indices = parse_samples(arguments.samples, samples.count)
    unseen = () if arguments.unseen is None else parse_samples(arguments.unseen, samples.count)
    if set(unseen) & set(indices):
        raise OptionError("--unseen names samples that --samples names too")
    check_box(samples, indices + unseen, options.box)
    delta = find_universal(model, _flat(samples, indices), radius, options, effort)
    length = float(options.norm.length(delta.astype(np.float64)))
    print(f"one perturbation of {options.norm} length {in_decimals(length, 6, ROUND_CEILING)} (at most {radius:g})")
    told: dict[str, Shares] = {}
    for name, chosen in (("made from", indices), ("unseen", unseen)):
        if chosen:
            y = None if samples.y is None else samples.y[list(chosen)]
            told[name] = shares_of(model, _flat(samples, chosen), y, delta, options)
            print(line(name, told[name]))
    if arguments.out is not None:
        record = {
            **model.description, "data": samples.digest, **options.record("norm", "box", "seed"),
            "radius": radius, "length": length, "samples": list(indices),
            "unseen": list(unseen), "steps": effort.steps, "restarts": effort.restarts,
            "shares": {name: asdict(shares) for name, shares in told.items()},
        }  # fmt: skip
        save(arguments.out, delta.reshape(model.input_shape), record)
    return ANSWERED


def _exactly(arguments: argparse.Namespace) -> int:
    """The least perturbation that fools every chosen sample: one row."""
    from verifier.cli.many_samples import Table
    from verifier.question.model import load
    from verifier.runs.samples import Samples, check_box, load_mask, load_samples, parse_samples
    from verifier.runs.several_networks import UniversalJob

    options = options_of(arguments)
    model = load(arguments.model, arguments.output, arguments.threshold)
    samples = load_samples(arguments.data, model.input_shape, model.classes, model.input_type)
    indices = parse_samples(arguments.samples, samples.count)
    check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, model.input_shape)
    job = UniversalJob(options, mask=mask, models=(model,) * len(indices), samples=indices)
    table = Table(JOINT_HEADER, partial(joint_row, name=arguments.samples or "all"))
    together = Samples(samples.name, samples.x[list(indices)][None], None)
    return asked("universal", (model,), together, job, table, arguments, samples).ask((0,), 1, 1)


def line(name: str, shares: Shares) -> str:
    """One group of samples in words."""
    text = (
        f"{name} ({shares.samples} samples): {100 * shares.fooled:.1f} % change their class; "
        f"by noise of the same length {100 * shares.noise:.1f} %"
    )
    if shares.clean_accuracy is not None and shares.accuracy is not None:
        text += f"; accuracy {100 * shares.clean_accuracy:.1f} % falls to {100 * shares.accuracy:.1f} %"
    return text


def save(out: Path, delta: Inputs, record: dict[str, object]) -> None:
    """universal.npy, universal.json, and universal.png where inputs look like images."""
    import numpy as np

    from verifier.runs.saved_adversary import save_perturbation

    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "universal.npy", delta)
    write_whole(out / "universal.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
    save_perturbation(out / "universal.png", delta)


def _flat(samples: Samples, chosen: tuple[int, ...]) -> Inputs:
    return samples.x[list(chosen)].reshape(len(chosen), -1)
