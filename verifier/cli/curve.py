"""`plumbline curve`: robust accuracy over the radius, of one or several models, by exact distances."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError
from encoders.files import one_writer, write_whole
from verifier.cli.shared_options import (
    add_box,
    add_effort,
    add_grid,
    add_norms,
    add_places,
    add_radii,
    add_samples,
    add_scores,
    grid_levels,
    jobs_of,
    radii_by_norm,
)

if TYPE_CHECKING:
    from encoders.question import Norm
    from verifier.options import Options
    from verifier.question.model import Model
    from verifier.runs.run import Jobs
    from verifier.runs.samples import Samples
    from verifier.studies.curve.measure import Distances
    from verifier.studies.curve.options import CurveOptions

ANSWERED, UNRESOLVED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline curve MODEL …`."""
    parser.description = (
        "The share of samples that a model classifies right with no adversary up to the radius, for every radius: "
        "from exact distances, with both ends where some stayed open, and with a band over other samples like these. "
        "Written as CSV, SVG and PNG. Interrupted, it goes on where it stopped."
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="one or several ONNX files")
    add_scores(parser)
    add_samples(parser)
    parser.add_argument("--split", default="test", metavar="SPLIT", help="train or test, of a data set (default: test)")
    add_places(parser)
    add_norms(parser, "linf")
    add_radii(parser, "a few round ones, chosen from the distances")
    add_box(parser)
    add_grid(parser)
    parser.add_argument(
        "--attack", metavar="NAME", help="draw this attack's curve beside: pgd-by-radius, portfolio, all, fab, …"
    )
    add_effort(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("out/curve"), metavar="DIR", help="curves and journals (default: out/curve)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure what is not measured yet, print a table for each norm, and write the files; returns the exit status."""
    from encoders.question import convex_norm
    from trainers.datasets import Place
    from verifier.options import Options
    from verifier.question.model import load
    from verifier.runs.samples import check_box, load_samples, parse_samples
    from verifier.studies.curve.options import CurveOptions

    norms = tuple(convex_norm(name) for name in arguments.norm or ["linf"])
    radii = radii_by_norm(arguments.radius or (), norms)
    options = CurveOptions(norms, radii, attack=arguments.attack, seed=arguments.seed)
    questions = [
        Options(
            norm=norm, box=arguments.box, time_limit=arguments.time_limit, tolerance=arguments.tolerance,
            engine=arguments.engine, device=arguments.device, seed=arguments.seed, grid=grid_levels(arguments.grid),
        )
        for norm in options.norms
    ]  # fmt: skip
    jobs = jobs_of(arguments)
    _check_names(arguments.models)
    place = Place(arguments.data_dir, arguments.cache)
    networks: list[tuple[Model, Samples]] = []
    for path in arguments.models:
        model = load(path, arguments.output, arguments.threshold)
        if options.attack is not None and model.quantised is not None:
            raise OptionError(f"{path}: it is quantised, and attacks follow real numbers; leave out --attack")
        shape, classes, kind = model.input_shape, model.classes, model.input_type
        networks.append((model, load_samples(arguments.data, shape, classes, kind, arguments.split, place)))
    indices = parse_samples(arguments.samples, networks[0][1].count)
    for _, samples in networks:
        check_box(samples, indices, arguments.box)
    with one_writer(arguments.out):
        found = _measured(networks, questions, indices, options, jobs, arguments)
        for norm, distances in found.items():
            _tell(distances, networks[0][1], options, norm, arguments.out)
    return UNRESOLVED if any(one.open for distances in found.values() for one in distances) else ANSWERED


def _check_names(paths: Sequence[Path]) -> None:
    stems = [path.stem for path in paths]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise OptionError(f"two models are called {twice}; rename one, or give each once")


def _measured(
    networks: Sequence[tuple[Model, Samples]],
    questions: Sequence[Options],
    indices: tuple[int, ...],
    options: CurveOptions,
    jobs: Jobs,
    arguments: argparse.Namespace,
) -> dict[Norm, list[Distances]]:
    from verifier.cli.display import progress_bar
    from verifier.studies.curve.measure import measured, run_of

    folder = arguments.out / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[Norm, list[Distances]] = {question.norm: [] for question in questions}
    with progress_bar() as bar:
        for question in questions:
            for model, samples in networks:
                stem = f"{model.path.stem}-{question.norm}"
                task = bar.add_task(stem, total=len(indices))

                def progress(done: int, task: int = task) -> None:
                    bar.update(task, completed=done)  # type: ignore[arg-type]

                run = run_of(model, samples, question, options.attack)
                journal = folder / f"{stem}.jsonl"
                found[question.norm].append(measured(run, question, indices, journal, jobs, arguments.batch, progress))
    return found


def _tell(distances: list[Distances], samples: Samples, options: CurveOptions, norm: Norm, out: Path) -> None:
    from verifier.pages.wording import NAMES
    from verifier.studies.curve.told import as_csv, chart, curves, table

    what = "robust accuracy" if samples.y is not None else "share that keeps its class"
    found = curves(distances, options.radii.get(norm, ()), options.resampling)
    shown = table(found)
    print(f"{NAMES[norm]}: {what} of {len(distances[0].lower)} samples of {samples.name}", end="")
    print(f" ({options.level:.0%} band, all radii and networks together)")
    if samples.y is None:
        print("no labels are known: the class that a network reads of a sample counts as right")
    for line in (shown.header, *shown.rows):
        print(" | ".join(line))
    drawn = chart(found, what, samples.name, options.attack)
    write_whole(out / f"curve-{norm}.csv", as_csv(found))
    print(out / f"curve-{norm}.csv")
    for kind in ("svg", "png"):
        drawn.save(out / f"curve-{norm}.{kind}")
        print(out / f"curve-{norm}.{kind}")
