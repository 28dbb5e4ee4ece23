"""`plumbline train`: one network from flags, or all those that a config names."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import OptionError
from verifier.cli.shared_options import add_places

if TYPE_CHECKING:
    from rich.progress import Progress

    from trainers.config import Run, Study
    from trainers.regularisers import Regulariser
    from trainers.runs import Record, Trainer
    from trainers.training import Epoch, TrainOptions

DONE = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline train CONFIG`, or one network from flags."""
    parser.description = (
        "Trains one network as the flags say, or all that a TOML file names, and writes NAME.onnx and NAME.json "
        "(options, versions, curves, test accuracy) for each. What is finished with the same options is kept; flags "
        "write over no network with other options."
    )
    parser.add_argument("config", type=Path, nargs="?", metavar="CONFIG", help="a TOML file with several runs")
    add_places(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where networks and records go")

    network = parser.add_argument_group("one network (without CONFIG)")
    network.add_argument(
        "--data",
        default="digits",
        metavar="D",
        help="digits, mnist, fashion-mnist, cifar10, gtsrb, an .npz with x and y, or module:Name (default: digits)",
    )
    network.add_argument(
        "--train-samples",
        type=int,
        metavar="N",
        help="of an .npz, the first N train, the rest test (default: four fifths)",
    )
    network.add_argument(
        "--model",
        default="fc1",
        metavar="M",
        help="fc1, fc2, fc4, fc6, fc1-softplus, lenet-small, resnet-small, resnet32, resnet32-a, or module:Name "
        "(default: fc1)",
    )
    network.add_argument(
        "--width", type=_widths, metavar="W", help="its widths: 32, or 32,32 (default: the model's own)"
    )
    network.add_argument(
        "--regularizer",
        "--regulariser",
        dest="regularisers",
        action="append",
        metavar="R",
        help="NAME or NAME:option=value,…; may be repeated; NAME is none, weight-decay, l1-sparsity, dropout, "
        "cross-lipschitz, cross-lipschitz-margin, mmr, mmr-universal, relu-stability, ibp, crown-ibp or module:Name",
    )
    network.add_argument(
        "--strength",
        dest="regularisers",  # in one list, as it is typed: each strength stands behind its regulariser
        type=float,
        action="append",
        metavar="S",
        help="of the regulariser named before it",
    )
    network.add_argument(
        "--adversarial",
        metavar="P:R:S",
        help="adversarial training: norm, radius, share of each batch (linf:0.1:0.5), by projected gradient steps; or "
        "by one step of the linearised attack (linearised:l2:1:0.5); with :grows=0.5 behind it, the radius grows from "
        "0 on over the first half of the training",
    )
    network.add_argument(
        "--augment", default="", metavar="A", help="data augmentation: rotate:10,shift:1,flip,noise:0.05"
    )
    network.add_argument(
        "--epochs", type=int, default=30, metavar="N", help="passes over the training data (default: 30)"
    )
    network.add_argument("--batch", type=int, default=64, metavar="N", help="samples a step (default: 64)")
    network.add_argument("--learning-rate", type=float, default=1e-3, metavar="L", help="at the start (default: 0.001)")
    network.add_argument("--optimiser", "--optimizer", default="adam", metavar="O", help="adam or sgd (default: adam)")
    network.add_argument("--momentum", type=float, metavar="M", help="of sgd (default: 0.9)")
    network.add_argument(
        "--schedule",
        default="cosine",
        metavar="S",
        help="of the learning rate: cosine, constant, or step:0.5,0.75:0.1 (at half and at three quarters of the "
        "training to a tenth; default: cosine)",
    )
    network.add_argument(
        "--validation",
        type=float,
        metavar="SHARE",
        help="of the training samples, set aside to choose by (default: none)",
    )
    network.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and order (default: 0)")
    network.add_argument("--device", default="cpu", metavar="D", help="cpu or cuda (default: cpu)")
    network.add_argument("--name", metavar="NAME", help="what its files are called (default: from the options)")


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no width; write a number such as 32, or several: 32,32"
        ) from None


def run(arguments: argparse.Namespace) -> int:
    """Train what is not trained yet; returns the exit status."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from trainers.choice import choices
    from trainers.datasets import Place
    from trainers.runs import Trainer

    study, out, runs = _asked(arguments)
    trainer = Trainer(out, Place(arguments.data_dir, arguments.cache))
    width = max(len(one.stem) for one in runs)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        whole = bars.add_task("all runs", total=len(runs), told="", visible=len(runs) > 1)
        for one in runs:
            record = trainer.finished(one)
            kept = record is not None
            if record is None:
                if study is None:
                    trainer.check_name(one)
                record = _trained(trainer, one, bars)
            bars.advance(whole)
            print(_line(one, record, width, kept), flush=True)
    if study is not None and study.validation is not None:
        for choice in choices(study, out):
            if len(choice.accuracies) > 1:
                print(f"chosen: {choice.variant}, of {len(choice.accuracies)}, by validation accuracy")
    return DONE


def _asked(arguments: argparse.Namespace) -> tuple[Study | None, Path, tuple[Run, ...]]:
    from trainers.config import Run
    from trainers.training import TrainOptions
    from trainers.validation_split import Validation
    from verifier.studies.comparison.options import read_comparison

    if arguments.config is not None:
        _check_alone(arguments)
        study, _ = read_comparison(arguments.config)  # what compares the networks is checked before they are trained
        return study, arguments.out or study.out, study.runs
    if arguments.out is None:
        raise OptionError("train needs --out DIR, or a config that says where its networks go")
    chosen = _regularisers(arguments.regularisers or [])
    options = TrainOptions(
        data=arguments.data,
        train_samples=arguments.train_samples,
        model=arguments.model,
        widths=arguments.width or (),
        regularisers=chosen,
        adversarial=arguments.adversarial,
        augmentation=arguments.augment,
        epochs=arguments.epochs,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        optimiser=arguments.optimiser,
        momentum=arguments.momentum,
        schedule=arguments.schedule,
        validation=None if arguments.validation is None else Validation(arguments.validation),
        seed=arguments.seed,
        device=arguments.device,
    )
    family = arguments.name or _usual_name(options)
    return None, arguments.out, (Run(family, family, options),)


def _check_alone(arguments: argparse.Namespace) -> None:
    """A config says all about its networks: a flag of one network beside it would mean nothing."""
    given = set(arguments.given_once) | ({"regulariser"} if arguments.regularisers else set())
    stray = sorted(given - {"config", "data_dir", "cache", "out"})
    if stray:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in stray)
        raise OptionError(f"{flags} beside a config: write it into {arguments.config}, or leave the config out")


def _regularisers(given: list[str | float]) -> tuple[Regulariser, ...]:
    """Names and strengths as they were typed, each strength behind the name of its regulariser."""
    from trainers.regularisers import parsed, regulariser

    chosen: list[Regulariser] = []
    before: str | float = 0.0
    for one in given:
        if isinstance(one, str):
            name, options = parsed(one)
            chosen.append(regulariser(name, **options))
        elif isinstance(before, str):
            chosen[-1] = replace(chosen[-1], strength=one)
        else:
            raise OptionError(
                f"strength {one:g}: it has no regulariser; give --regularizer NAME before each --strength"
            )
        before = one
    return tuple(chosen)


def _usual_name(options: TrainOptions) -> str:
    names = [one.name for one in options.regularisers] or ["none"]
    parts: list[Any] = [Path(options.data).stem, options.model, *names]
    if options.adversarial is not None:
        parts.append(f"adversarial-{options.adversarial.norm}-{options.adversarial.radius:g}")
    return "-".join(parts)


def _trained(trainer: Trainer, one: Run, bars: Progress) -> Record:
    task = bars.add_task(one.stem, total=one.options.epochs, told="")

    def progress(number: int, epoch: Epoch) -> None:
        del number
        bars.update(task, advance=1, told=f"loss {epoch.loss:.3f}, {_accuracy(vars(epoch), 1)}")

    try:
        return trainer.train(one, progress)
    finally:
        bars.remove_task(task)


def _line(one: Run, record: Record, width: int, kept: bool) -> str:
    how = "kept" if kept else f"{record['seconds']:.1f} s"
    return f"{one.stem:<{width}}  {_accuracy(record, 2)}  {how}"


def _accuracy(told: Record, digits: int) -> str:
    """On the validation split where there is one: who looks at the other chooses by it."""
    which = "test" if told.get("validation_accuracy") is None else "validation"
    return f"{which} accuracy {told[f'{which}_accuracy']:.{digits}%}"
