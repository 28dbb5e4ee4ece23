"""`plumbline universal`: one perturbation that fools as many samples as it can."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError
from verifier.cli.shared_options import add_attacked, add_model

if TYPE_CHECKING:
    from verifier.runs.samples import Samples
    from verifier.studies.attacks.universal import Inputs, Shares

ANSWERED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline universal MODEL`."""
    parser.description = (
        "Looks for one perturbation no longer than the radius that changes the class of many samples at once; each "
        "moved sample is clipped to the box and replayed through onnxruntime. Nothing is proven."
    )
    add_model(parser)
    add_attacked(parser)
    parser.add_argument("--radius", type=float, required=True, metavar="R", help="its longest length, in --norm")
    parser.add_argument("--unseen", metavar="S", help="samples that it is tried on but not made from")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="of the ascent (default: 200)")
    parser.add_argument("--restarts", type=int, default=8, metavar="N", help="ascents side by side (default: 8)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="save it: universal.npy, .json and a picture")


def run(arguments: argparse.Namespace) -> int:
    """Find it, replay it, tell the shares; returns the exit status."""
    import numpy as np

    from bounds.attacks.universal import UniversalOptions
    from verifier.options import Options, check_convex
    from verifier.question.model import load
    from verifier.runs.samples import check_box, load_samples, parse_samples
    from verifier.studies.attacks.universal import find_universal, shares_of

    options = Options(norm=arguments.norm, box=arguments.box, device=arguments.device, seed=arguments.seed)
    check_convex(options)
    effort = UniversalOptions(arguments.seed, arguments.restarts, arguments.steps)
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
    print(f"one perturbation of {options.norm} length {length:.6f} (at most {radius:g})")
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
    (out / "universal.json").write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    save_perturbation(out / "universal.png", delta)


def _flat(samples: Samples, chosen: tuple[int, ...]) -> Inputs:
    return samples.x[list(chosen)].reshape(len(chosen), -1)
