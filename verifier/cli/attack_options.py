"""The grammar of `plumbline attack`, `plumbline universal` and `plumbline transfer`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from verifier.cli.shared_options import add_box, add_model, add_scores, classes


def add_attack(commands: Any) -> None:
    """`plumbline attack MODEL`."""
    attack = commands.add_parser("attack", help="how near each attack comes; upper bounds, nothing proven")
    attack.description = (
        "The nearest adversary that each attack finds of each sample, replayed through onnxruntime, and how the "
        "attacks compare. An attack that finds nothing says nothing: for a proof ask `distance` or `verify`."
    )
    attack.allow_abbrev = False
    add_model(attack)
    _add_question(attack)
    attack.add_argument("--target", type=classes, metavar="K", help="only adversaries classified as K (or one of K,L)")
    attack.add_argument(
        "--margin", type=float, default=0.0, metavar="A", help="the adversary must win by at least A (default: 0)"
    )
    attack.add_argument("--mask", type=Path, metavar="FILE", help="which inputs (or pixels) may move")
    attack.add_argument(
        "--attack",
        nargs="+",
        default=["portfolio"],
        metavar="NAME",
        help="fgsm, iterated-fgsm, linearised, deepfool, pgd, apgd-ce, apgd-dlr, carlini-wagner, elastic-net, "
        "pixel-greedy (L0), fab, region-descent; portfolio, the ones that `distance` starts with (default); or all "
        "that are made for the norm",
    )
    attack.add_argument("--steps", type=int, default=24, metavar="N", help="of each run of an attack (default: 24)")
    attack.add_argument("--restarts", type=int, default=32, metavar="N", help="random starts a sample (default: 32)")
    attack.add_argument("--time-limit", type=float, metavar="SECONDS", help="per sample and attack (default: none)")
    attack.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="samples attacked at once; no answer depends on it (default: what keeps the device busy, at most 64)",
    )
    attack.add_argument(
        "--json", type=Path, metavar="FILE", help="one JSON object per sample; an existing file is resumed"
    )
    attack.add_argument("--out", type=Path, metavar="DIR", help="save each sample's nearest adversary")


def add_universal(commands: Any) -> None:
    """`plumbline universal MODEL`."""
    universal = commands.add_parser("universal", help="one perturbation that fools as many samples as it can")
    universal.description = (
        "Looks for one perturbation no longer than the radius that changes the class of many samples at once; each "
        "moved sample is clipped to the box and replayed through onnxruntime. Nothing is proven."
    )
    universal.allow_abbrev = False
    add_model(universal)
    _add_question(universal)
    universal.add_argument("--radius", type=float, required=True, metavar="R", help="its longest length, in --norm")
    universal.add_argument("--unseen", metavar="S", help="samples that it is tried on but not made from")
    universal.add_argument("--steps", type=int, default=200, metavar="N", help="of the ascent (default: 200)")
    universal.add_argument("--restarts", type=int, default=8, metavar="N", help="ascents side by side (default: 8)")
    universal.add_argument("--out", type=Path, metavar="DIR", help="save it: universal.npy, .json and a picture")


def add_transfer(commands: Any) -> None:
    """`plumbline transfer A B …`."""
    transfer = commands.add_parser("transfer", help="do the adversaries of one network fool the others?")
    transfer.description = (
        "The nearest adversaries that the portfolio finds for each network, shown to every other one: as they are, "
        "and moved further from their sample by each factor. Of samples that both classify right."
    )
    transfer.allow_abbrev = False
    transfer.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="two or more ONNX files")
    add_scores(transfer)
    _add_question(transfer)
    transfer.add_argument(
        "--factor",
        type=float,
        action="append",
        metavar="F",
        help="how much further, relative to the nearest; may be repeated (default: 1 and 1.5)",
    )
    transfer.add_argument("--out", type=Path, metavar="DIR", help="save the tables: transfer.json and transfer.csv")


def _add_question(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="D", help="digits, mnist, …, an .npz with x and, if known, y, or an .npy"
    )
    parser.add_argument("--samples", metavar="S", help="0:100, 0:100:5 or 3,8,11, counted from 0 (default: all)")
    parser.add_argument("--norm", default="linf", metavar="P", help="linf, l1 or l2 (default: linf)")
    add_box(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random starts (default: 0)")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda (default: auto)")
