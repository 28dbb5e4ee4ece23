"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from encoders.errors import OptionError

if TYPE_CHECKING:
    from encoders.question import Norm
    from verifier.options import Options
    from verifier.question.model import Model
    from verifier.runs.run import Jobs

VALUE_TOLERANCE = 1e-4  # float32 inputs come no nearer to the greatest value of real ones
VALUE_CLOSED = "a value is exact once its two sides are this close, relative above 1"


class Renamed(argparse.Action):
    """A flag that has another name now: it is refused with that name."""

    def __init__(self, option_strings: Sequence[str], dest: str, now: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs="?", **more)
        self.now = now

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.error(f"{self.option_strings[0]} is called {self.now} now")


def add_box(group: argparse._ActionsContainer) -> None:
    """`--box LO,HI`."""
    group.add_argument(
        "--box", type=_box, default=(0.0, 1.0), metavar="LO,HI", help="what values inputs may take (default: 0,1)"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """`MODEL`, and which of its numbers are the class scores."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="an ONNX file whose output is the class scores")
    add_scores(parser)


def add_scores(parser: argparse.ArgumentParser) -> None:
    """`--output NAME` and `--threshold T`."""
    scores = parser.add_argument_group("the class scores")
    scores.add_argument("--output", metavar="NAME", help="which output holds them, where a model has several")
    scores.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="make a model with one output two classes: 1 where the output is above T, 0 elsewhere",
    )


def add_source(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """`MODEL`, `--data D` and `--samples S`; returns the group of the latter."""
    add_model(parser)
    return add_samples(parser)


def add_samples(parser: argparse.ArgumentParser, required: bool = True) -> argparse._ArgumentGroup:
    """`--data D` and `--samples S`; returns their group."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", required=required, metavar="D",
        help="`digits` (built in), mnist, fashion-mnist, cifar10, gtsrb (test splits), an .npz with x and, if known, "
        "y, an .npy, or module:Name; uint8 is divided by 255",
    )  # fmt: skip
    data.add_argument("--samples", metavar="S", help="0:100, 0:100:5 or 3,8,11, counted from 0 (default: all)")
    return data


def add_shard(data: argparse._ActionsContainer) -> None:
    """`--shard K/N`."""
    data.add_argument(
        "--shard", type=_shard, metavar="K/N",
        help="of these samples the K-th of N parts, as for a job of an array; plumbline summary joins their files",
    )  # fmt: skip


def chosen_samples(arguments: argparse.Namespace, count: int) -> tuple[int, ...]:
    """The samples that are asked about: those of `--samples`, or this shard's of them."""
    from verifier.runs.samples import parse_samples

    indices = parse_samples(arguments.samples, count)
    if arguments.shard is None:
        return indices
    part, parts = arguments.shard
    if parts > len(indices):
        raise OptionError(f"--shard {part}/{parts}: there are {len(indices)} samples; give no more parts than that")
    return indices[part - 1 :: parts]


def check_cheap(options: Options, arguments: argparse.Namespace) -> None:
    """Refuse what can be refused before a model is loaded: a missing GPU, solver or folder."""
    from bounds.device import pick_device
    from verifier.engines.registry import engine_for

    if getattr(arguments, "cluster", None) is None:
        pick_device(options.device)
    engine_for(options.engine)
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise OptionError(f"--json {arguments.json}: there is no folder {arguments.json.parent}; make it first")
    if arguments.out is not None and arguments.out.exists() and not arguments.out.is_dir():
        raise OptionError(f"--out {arguments.out}: it is a file; name a folder")


def add_effort(
    parser: argparse.ArgumentParser,
    tolerance: float = 1e-6,
    closed: str = "a distance is exact once its two sides are this close",
    per: str = "sample",
) -> None:
    """How a question is worked on: time, tolerance, engine, device, processes."""
    effort = parser.add_argument_group("effort")
    effort.add_argument("--time-limit", type=float, metavar="SECONDS", help=f"per {per} (default: none)")
    effort.add_argument(
        "--tolerance", type=float, default=tolerance, metavar="T", help=f"{closed} (default: {tolerance:g})"
    )
    effort.add_argument(
        "--engine", default="auto", metavar="E",
        help="auto, search, splits, steps, subsets, highs, cpsat, pyomo:NAME, or module:Name (default: auto)",
    )  # fmt: skip
    effort.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda (default: auto)")
    effort.add_argument("--seed", type=int, default=0, metavar="N", help="of the attacks' random starts (default: 0)")
    effort.add_argument(
        "--jobs", type=int, default=1, metavar="N",
        help="processes that work at once; those beyond the samples are cores of each sample (default: 1)",
    )  # fmt: skip
    add_cluster(effort)
    effort.add_argument(
        "--batch", type=int, metavar="N",
        help="samples side by side in each process (default: 16 where nets are small or on a GPU)",
    )  # fmt: skip
    effort.add_argument("--share", action=Renamed, help=argparse.SUPPRESS, now="--batch")


def add_cluster(group: argparse._ActionsContainer) -> None:
    """`--cluster A`."""
    group.add_argument(
        "--cluster", metavar="A",
        help="in place of --jobs, a Dask cluster's workers: tcp://HOST:PORT of its scheduler, or local:N to try it",
    )  # fmt: skip


def jobs_of(arguments: argparse.Namespace) -> Jobs:
    """How many processes, or which cluster; refused where that means nothing, or both are given."""
    from verifier.runs.run import check_jobs

    if arguments.cluster is not None and arguments.jobs != 1:
        raise OptionError("--jobs are processes of this machine, --cluster has its own; leave out one of the two")
    jobs: Jobs = arguments.jobs if arguments.cluster is None else arguments.cluster
    check_jobs(jobs, arguments.batch)
    return jobs


def add_output(parser: argparse.ArgumentParser, saved: str) -> argparse._ArgumentGroup:
    """`--json FILE` and `--out DIR`; returns the group."""
    output = parser.add_argument_group("output")
    output.add_argument(
        "--json", type=Path, metavar="FILE",
        help="one JSON object per sample and line, as each finishes (- is standard output); an existing file of the "
        "same question is gone on with where samples are open",
    )  # fmt: skip
    output.add_argument("--again", metavar="S", help="samples to ask anew, whatever the --json file holds of them")
    output.add_argument("--ordered", action="store_true", help="rows in the order of the samples, not as they finish")
    output.add_argument("--out", type=Path, metavar="DIR", help=f"save {saved}: arrays and a picture")
    return output


def add_proofs(group: argparse._ActionsContainer) -> None:
    """`--proof DIR`."""
    group.add_argument(
        "--proof", type=Path, metavar="DIR",
        help="write a proof of each result, DIR/INDEX.proof, which plumbline check accepts without believing the rest",
    )  # fmt: skip


def add_attacked(parser: argparse.ArgumentParser, norms: str = "linf, l1 or l2") -> None:
    """What is attacked, and how moves are measured."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="D",
        help="digits, mnist, …, an .npz with x and, if known, y, an .npy, or module:Name",
    )
    parser.add_argument("--samples", metavar="S", help="0:100, 0:100:5 or 3,8,11, counted from 0 (default: all)")
    parser.add_argument("--norm", default="linf", metavar="P", help=f"{norms} (default: linf)")
    add_box(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random starts (default: 0)")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda (default: auto)")


def add_grid(group: argparse._ActionsContainer) -> None:
    """`--grid N`, or a file."""
    group.add_argument(
        "--grid", type=_grid, metavar="N",
        help="inputs are integers/N: 255 for 8-bit images; the answer is then exact with no tolerance. Or an .npy or "
        ".npz with an N for each input",
    )  # fmt: skip


def grid_levels(given: int | Path | None) -> Any:
    """The number of levels, or what the file holds."""
    from verifier.runs.samples import load_grid

    return load_grid(given) if isinstance(given, Path) else given


def add_units_and_constraints(group: argparse._ActionsContainer) -> None:
    """`--scale FILE` and `--constraints FILE`."""
    group.add_argument(
        "--scale", type=Path, metavar="FILE",
        help=".npy or .npz: a positive number for each input, the unit that its moves are counted in (linf, l1, l2)",
    )  # fmt: skip
    group.add_argument(
        "--constraints", type=Path, metavar="FILE", help=".npz with A and b: only inputs x with A x <= b count"
    )


def with_units_and_constraints(options: Options, arguments: argparse.Namespace, model: Model) -> Options:
    """The options with what the files of both flags hold, read for the model's input."""
    from verifier.runs.samples import load_constraints, load_scale

    if arguments.scale is not None:
        options = replace(options, scale=load_scale(arguments.scale, model.input_shape))
    if arguments.constraints is not None:
        options = replace(options, constraints=load_constraints(arguments.constraints, model.input_shape))
    return options


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where data sets come from."""
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data sets as files in their original formats")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="where downloads are kept (default: the user's cache folder)"
    )


def add_norms(parser: argparse._ActionsContainer, default: str) -> None:
    """`--norm P`, of which several may be asked for."""
    parser.add_argument(
        "--norm", action="extend", type=_names, metavar="P",
        help=f"linf, l1 or l2, or several: linf,l1 (default: {default})",
    )  # fmt: skip


def add_radii(parser: argparse._ActionsContainer, usual: str) -> None:
    """`--radius R`, where robust accuracy is told."""
    parser.add_argument(
        "--radius", action="append", metavar="R",
        help="tell what is proven at this radius, or at several: 0.05,0.1; where several norms are asked for, "
        f"linf:0.05,0.1; may be repeated (default: {usual})",
    )  # fmt: skip


def radii_by_norm(given: Sequence[str], norms: Sequence[Norm]) -> dict[Norm, tuple[float, ...]]:
    """`0.05,0.1` where one norm is asked for, `linf:0.05,0.1` wherever; sorted, each once."""
    from encoders.question import convex_norm
    from verifier.options import checked_radius

    found: dict[Norm, set[float]] = {}
    for text in given:
        name, colon, numbers = text.rpartition(":")
        if not colon and len(norms) > 1:
            raise OptionError(f"radius {text}: of which norm? Write such as {norms[0]}:{text}")
        norm = convex_norm(name) if colon else norms[0]
        if norm not in norms:
            raise OptionError(f"radius {text}: {norm} is not asked for; add --norm {norm}")
        try:
            radii = [float(number) for number in numbers.split(",")]
        except ValueError:
            raise OptionError(
                f"radius {text}: write numbers such as 0.05,0.1, or a norm and numbers: linf:0.05,0.1"
            ) from None
        found.setdefault(norm, set()).update(map(checked_radius, radii))
    return {norm: tuple(sorted(radii)) for norm, radii in found.items()}


def classes(text: str) -> tuple[int, ...]:
    """`3` or `3,5`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no class; write a number such as 3, or several: 3,5") from None


def _box(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no box; write two numbers such as 0,1") from None
    return low, high


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _shard(text: str) -> tuple[int, int]:
    try:
        part, parts = (int(number) for number in text.split("/"))
        if not 1 <= part <= parts:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no part; write such as 3/16, the third of sixteen") from None
    return part, parts


def _grid(text: str) -> int | Path:
    """A number of levels, or the file that holds one for each input."""
    try:
        return int(text)
    except ValueError:
        return Path(text)
