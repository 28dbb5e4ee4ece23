"""The grammar of `plumbline train` and `plumbline compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from verifier.cli.shared_options import add_scores


def add_train(commands: Any) -> None:
    """`plumbline train CONFIG`, or one network from flags."""
    train = commands.add_parser("train", help="train networks under regularisers, and export them to ONNX")
    train.description = (
        "Trains one network as the flags say, or all that a TOML file names, and writes NAME.onnx and NAME.json "
        "(options, versions, curves, test accuracy) for each. What is finished with the same options is kept."
    )
    train.allow_abbrev = False
    train.add_argument("config", type=Path, nargs="?", metavar="CONFIG", help="a TOML file with several runs")
    add_places(train)
    train.add_argument("--out", type=Path, metavar="DIR", help="where networks and records go")

    network = train.add_argument_group("one network (without CONFIG)")
    network.add_argument(
        "--data",
        default="digits",
        metavar="D",
        help="digits, mnist, fashion-mnist, cifar10, gtsrb, or an .npz with x and y (default: digits)",
    )
    network.add_argument(
        "--train-samples",
        type=int,
        metavar="N",
        help="of an .npz, the first N train, the rest test (default: four fifths)",
    )
    network.add_argument(
        "--model", default="fc1", metavar="M", help="fc1, fc2, lenet-small, resnet-small, resnet32 (default: fc1)"
    )
    network.add_argument(
        "--width", type=_widths, metavar="W", help="its widths: 32, or 32,32 (default: the model's own)"
    )
    network.add_argument(
        "--regularizer",
        "--regulariser",
        action="append",
        metavar="R",
        help="NAME or NAME:option=value,…; may be repeated; NAME is none, weight-decay, l1-sparsity, dropout, "
        "cross-lipschitz, cross-lipschitz-margin, mmr, mmr-universal, relu-stability, ibp or crown-ibp",
    )
    network.add_argument(
        "--strength", type=float, action="append", metavar="S", help="of the regulariser named before it"
    )
    network.add_argument(
        "--adversarial", metavar="P:R:S", help="adversarial training: norm, radius, share of each batch (linf:0.1:0.5)"
    )
    network.add_argument("--augment", default="", metavar="A", help="data augmentation: shift:1,flip,noise:0.05")
    network.add_argument(
        "--epochs", type=int, default=30, metavar="N", help="passes over the training data (default: 30)"
    )
    network.add_argument("--batch", type=int, default=64, metavar="N", help="samples a step (default: 64)")
    network.add_argument(
        "--learning-rate", type=float, default=1e-3, metavar="L", help="of Adam, at the start (default: 0.001)"
    )
    network.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and order (default: 0)")
    network.add_argument("--device", default="cpu", metavar="D", help="cpu or cuda (default: cpu)")
    network.add_argument("--name", metavar="NAME", help="what its files are called (default: from the options)")


def add_compare(commands: Any) -> None:
    """`plumbline compare CONFIG`, or model files."""
    compare = commands.add_parser("compare", help="networks held against each other by exact distances")
    compare.description = (
        "Exact minimal perturbations of the same samples under each network, with tables (Markdown, CSV, JSON) and a "
        "page of charts and pictures. Flags go before the config's [compare]. Interrupted, it goes on where it stopped."
    )
    compare.allow_abbrev = False
    compare.add_argument(
        "subjects", type=Path, nargs="+", metavar="CONFIG|MODEL", help="a study's TOML file, or ONNX files"
    )
    add_scores(compare)
    compare.add_argument("--data", metavar="D", help="the samples, for model files: digits, an .npz, …")
    add_places(compare)
    compare.add_argument("--samples", metavar="S", help="0:100, 0:100:5 or 3,8,11 of the test split (default: 0:100)")
    compare.add_argument(
        "--norm", action="append", metavar="P", help="linf, l1 or l2; may be repeated (default: linf and l1)"
    )
    compare.add_argument(
        "--radius",
        action="append",
        type=_radius,
        metavar="P:R",
        help="tell robust accuracy at linf:0.1; may be repeated",
    )
    compare.add_argument("--time-limit", type=float, metavar="SECONDS", help="per sample (default: 60)")
    compare.add_argument(
        "--tolerance", type=float, metavar="T", help="a distance is exact once its sides are this close (default: 1e-5)"
    )
    compare.add_argument("--engine", metavar="E", help="how brackets are closed (default: auto)")
    compare.add_argument("--device", metavar="D", help="auto, cpu or cuda (default: auto)")
    compare.add_argument("--seed", type=int, metavar="N", help="of attacks and intervals (default: 0)")
    compare.add_argument("--jobs", type=int, metavar="N", help="networks worked on at once (default: 1)")
    compare.add_argument(
        "--attack", metavar="A", help="whose curve is drawn beside the exact one (default: pgd-by-radius)"
    )
    compare.add_argument("--baseline", metavar="NAME", help="the run that the others are held against (default: none)")
    compare.add_argument("--pictures", type=int, metavar="N", help="samples shown in pictures (default: 3)")
    compare.add_argument(
        "--out", type=Path, metavar="DIR", help="tables, page and journals (default: in the study's folder)"
    )


def _radius(text: str) -> tuple[str, float]:
    norm, _, radius = text.partition(":")
    try:
        return norm, float(radius)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no norm and radius; write such as linf:0.1") from None


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where data sets come from."""
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data sets as files in their original formats")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="where downloads are kept (default: the user's cache folder)"
    )


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no width; write a number such as 32, or several: 32,32"
        ) from None
