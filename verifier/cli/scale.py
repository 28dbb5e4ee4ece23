"""`plumbline scale`: how far apart the classes of a data set lie, without any network."""

from __future__ import annotations

import argparse
from pathlib import Path

from encoders.errors import DataError, OptionError
from encoders.files import write_whole
from verifier.cli.shared_options import add_norms, add_places

ANSWERED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline scale DATA`."""
    parser.description = (
        "Each sample's distance to the nearest sample of its own class and of another one, over a whole split: no "
        "classifier that is right on all of it is robust beyond half of the least distance between classes."
    )
    parser.add_argument("data", metavar="DATA", help="digits, mnist, …, an .npz with x and y, or module:Name")
    add_places(parser)
    parser.add_argument("--split", default="test", metavar="SPLIT", help="train or test, of a data set (default: test)")
    add_norms(parser, "all three")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="least and median distances by pairs of classes")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a chart of each norm, as SVG and PNG")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and write what was asked for; returns the exit status."""
    from encoders.question import CONVEX, convex_norm
    from trainers.datasets import Place
    from verifier.runs.samples import load_labelled
    from verifier.studies.data_scale.distances import scale
    from verifier.studies.data_scale.told import as_csv, scale_chart, scale_table

    norms = tuple(dict.fromkeys(convex_norm(name) for name in arguments.norm or CONVEX))
    if arguments.split not in ("train", "test"):
        raise OptionError(f"split {arguments.split!r}: choose from train, test")
    x, labels = load_labelled(arguments.data, arguments.split, Place(arguments.data_dir, arguments.cache))
    if labels is None:
        raise DataError(f"{arguments.data}: holds no labels; scale needs them to tell classes apart, as an array y")
    scales = [scale(x, labels, norm) for norm in norms]
    table = scale_table(scales)
    print(f"{len(x)} samples of {arguments.data}")
    for line in (table.header, *table.rows):
        print(" | ".join(line))
    if arguments.csv is not None:
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        write_whole(arguments.csv, as_csv(scales))
        print(arguments.csv)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for one in scales:
            for kind in ("svg", "png"):
                path = arguments.out / f"scale-{one.norm}.{kind}"
                scale_chart(one).save(path)
                print(path)
    return ANSWERED
