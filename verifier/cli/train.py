"""`plumbline train`: one network from flags, or all those that a config names."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from encoders.errors import OptionError
from trainers.config import Run
from trainers.datasets import Place
from trainers.regularisers import Regulariser, parsed, regulariser
from trainers.runs import Record, Trainer
from trainers.training import Epoch, TrainOptions
from verifier.studies.comparison.options import read_comparison

DONE = 0


def run(arguments: argparse.Namespace) -> int:
    """Train what is not trained yet; returns the exit status."""
    out, runs = _asked(arguments)
    trainer = Trainer(out, Place(arguments.data_dir, arguments.cache))
    width = max(len(one.stem) for one in runs)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        whole = bars.add_task("all runs", total=len(runs), told="", visible=len(runs) > 1)
        for one in runs:
            record = trainer.finished(one)
            kept = record is not None
            if record is None:
                record = _trained(trainer, one, bars)
            bars.advance(whole)
            print(_line(one, record, width, kept), flush=True)
    return DONE


def _asked(arguments: argparse.Namespace) -> tuple[Path, tuple[Run, ...]]:
    if arguments.config is not None:
        study, _ = read_comparison(arguments.config)  # what compares the networks is checked before they are trained
        return arguments.out or study.out, study.runs
    if arguments.out is None:
        raise OptionError("train needs --out DIR, or a config that says where its networks go")
    chosen = _regularisers(arguments.regularizer or [], arguments.strength or [])
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
        seed=arguments.seed,
        device=arguments.device,
    )
    family = arguments.name or _usual_name(options)
    return arguments.out, (Run(family, family, options),)


def _regularisers(texts: list[str], strengths: list[float]) -> tuple[Regulariser, ...]:
    """The n-th --strength belongs to the n-th --regularizer."""
    if len(strengths) > len(texts):
        raise OptionError(
            f"{len(strengths)} strengths for {len(texts)} regularisers; give --regularizer NAME before each"
        )
    chosen = []
    for number, text in enumerate(texts):
        name, options = parsed(text)
        found = regulariser(name, **options)
        if number < len(strengths):
            found = replace(found, strength=strengths[number])
        chosen.append(found)
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
        bars.update(task, advance=1, told=f"loss {epoch.loss:.3f}, test accuracy {epoch.test_accuracy:.1%}")

    try:
        return trainer.train(one, progress)
    finally:
        bars.remove_task(task)


def _line(one: Run, record: Record, width: int, kept: bool) -> str:
    how = "kept" if kept else f"{record['seconds']:.1f} s"
    return f"{one.stem:<{width}}  test accuracy {record['test_accuracy']:.2%}  {how}"
