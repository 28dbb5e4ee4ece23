"""The command line's grammar and its help, with nothing heavy imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from verifier import __version__
from verifier.cli.attack_options import add_attack, add_transfer, add_universal
from verifier.cli.shared_options import add_box, add_model, classes
from verifier.cli.study_options import add_compare, add_train

DESCRIPTION = """\
Exact verification of neural networks.

For a trained classifier (an ONNX file) and an input: how far away, exactly, is the nearest input
that it classifies differently? Every answer is bracketed: `lower` is proven, `upper` is a real
adversary that was replayed through onnxruntime, and the exact distance lies between the two.
"""

EXAMPLES = """\
examples:
  plumbline inspect  net.onnx
      what the model is made of, and what of it is not supported

  plumbline distance net.onnx --data digits --samples 0:10 --norm l1
      the smallest L1 change that flips each of ten digits

  plumbline verify   net.onnx --data images.npz --radius 0.1 --time-limit 60 --jobs 4
      is every image safe within 0.1 per pixel? At most a minute an image, four at once

  plumbline distance net.onnx --data images.npz --json results.jsonl --out adversaries
      one line per sample as it finishes, and pictures; the same command again goes on where it stopped

  plumbline report  net.onnx --data digits --samples 0:50 --norm linf --norm l1 --jobs 2
      how tight every bound and attack is against the exact distance, as a page in out/report

  plumbline train   study.toml
  plumbline compare study.toml
      train networks under regularisers, then hold them against each other by their exact distances

  plumbline attack net.onnx --data digits --samples 0:10 --attack all
      how near each attack comes, beside the others; nothing is proven

exit status:
  0  every sample has its answer          2  bad usage or bad input
  1  some sample is unresolved            3  soundness alarm: two proven facts contradict each other

Plumbline stops with status 130 on Ctrl-C; finished results stay in the --json file.
"""


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


class Renamed(argparse.Action):
    """A flag that has another name now: it is refused with that name."""

    def __init__(self, option_strings: Sequence[str], dest: str, now: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs="?", **more)
        self.now = now

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.error(f"{self.option_strings[0]} is called {self.now} now")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # argparse has no public name for it


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of one call; exits with 0 after --help and --version, with 2 on bad usage."""
    return build_parser().parse_args(_with_joined_box(argv))


def build_parser() -> Parser:
    """Every command with its flags; what reads the command line, completes it and documents it."""
    parser = Parser(
        prog="plumbline",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"plumbline {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    _add_inspect(commands)
    _add_distance(commands)
    _add_verify(commands)
    _add_report(commands)
    add_train(commands)
    add_compare(commands)
    add_attack(commands)
    add_universal(commands)
    add_transfer(commands)
    _add_completion(commands)
    return parser


def _add_inspect(commands: Commands) -> None:
    inspect = commands.add_parser("inspect", help="what a model is made of, and what of it is not supported")
    inspect.description = (
        "Operators, layers, ReLUs, parameters, digests, how the file as read compares with onnxruntime, and every node "
        "that is not supported (then the status is 2)."
    )
    inspect.allow_abbrev = False
    add_model(inspect)
    add_box(inspect)


def _add_completion(commands: Commands) -> None:
    completion = commands.add_parser("completion", help="a script that completes commands and flags in a shell")
    completion.description = 'For this shell: eval "$(plumbline completion bash)"'
    completion.add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")


def _add_distance(commands: Commands) -> None:
    distance = commands.add_parser("distance", help="the exact minimal perturbation of each sample")
    distance.description = "The distance from each sample to the nearest input that is classified differently."
    _add_common(distance)


def _add_verify(commands: Commands) -> None:
    verify = commands.add_parser("verify", help="certified, falsified or unresolved within a radius")
    verify.description = "Is every input within the radius of a sample (and inside the box) classified like it?"
    verify.add_argument("--radius", type=float, required=True, metavar="R", help="how far inputs may move, in --norm")
    _add_common(verify)


def _add_report(commands: Commands) -> None:
    report = commands.add_parser("report", help="every bound and attack set against the exact distance, as a page")
    report.description = (
        "Writes report.html (one self-contained page), report.json, report.csv and charts as PNG: for each sample the "
        "exact distance between all lower bounds and all attacks, their gaps and costs, robustness curves, and the "
        "closest adversaries. A stopped report goes on where it stopped, and shows what is finished."
    )
    _add_source(report)
    question = report.add_argument_group("the question")
    question.add_argument(
        "--norm", action="append", metavar="P", help="linf, l1 or l2; repeat it for several (default: linf)"
    )
    add_box(question)
    question.add_argument("--bounds", metavar="NAMES", help="lower bounds, with commas between (default: all)")
    question.add_argument("--attacks", metavar="NAMES", help="attacks, with commas between (default: all)")
    _add_effort(report)
    output = report.add_argument_group("output")
    output.add_argument("--pictures", type=int, default=6, metavar="N", help="adversaries shown (default: 6)")
    output.add_argument(
        "--out", type=Path, default=Path("out/report"), metavar="DIR", help="the folder (default: out/report)"
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    _add_source(parser)
    question = parser.add_argument_group("the question")
    question.add_argument("--norm", default="linf", metavar="P", help="linf, l1, l2 or l0 (default: linf)")
    question.add_argument(
        "--target", type=classes, metavar="K", help="only adversaries classified as K (or as one of K,L,…)"
    )
    question.add_argument(
        "--margin", type=float, default=0.0, metavar="A", help="the adversary must win by at least A (default: 0)"
    )
    add_box(question)
    question.add_argument(
        "--grid", type=_grid, metavar="N",
        help="inputs are integers/N: 255 for 8-bit images; the answer is then exact with no tolerance. Or an .npy or "
        ".npz with an N for each input",
    )  # fmt: skip
    question.add_argument(
        "--count", default="inputs", metavar="W", help="what l0 counts: inputs, or pixels whatever their channels do"
    )
    question.add_argument(
        "--mask", type=Path, metavar="FILE", help=".npy, .npz or .png: which inputs (or pixels) may move"
    )
    question.add_argument(
        "--execution", default="real", metavar="A",
        help="real: the network of the file's numbers in real arithmetic; float32 (or float64, for a file of doubles): "
        "the file as any runtime may execute it, whatever it rounds (default: real)",
    )  # fmt: skip

    _add_effort(parser)

    output = parser.add_argument_group("output")
    output.add_argument(
        "--json", type=Path, metavar="FILE",
        help="one JSON object per sample and line, as each finishes; an existing file of the same run is resumed",
    )  # fmt: skip
    output.add_argument("--out", type=Path, metavar="DIR", help="save each adversary: arrays and a picture")


def _grid(text: str) -> int | Path:
    """A number of levels, or the file that holds one for each input."""
    try:
        return int(text)
    except ValueError:
        return Path(text)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.allow_abbrev = False
    add_model(parser)

    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", required=True, metavar="D",
        help="`digits` (built in), mnist, fashion-mnist, cifar10, gtsrb (test splits), an .npz with x and, if known, "
        "y, or an .npy; uint8 is divided by 255",
    )  # fmt: skip
    data.add_argument("--samples", metavar="S", help="0:100, 0:100:5 or 3,8,11, counted from 0 (default: all)")


def _add_effort(parser: argparse.ArgumentParser) -> None:
    effort = parser.add_argument_group("effort")
    effort.add_argument("--time-limit", type=float, metavar="SECONDS", help="per sample (default: none)")
    effort.add_argument(
        "--tolerance", type=float, default=1e-6, metavar="T",
        help="a distance is exact once its two sides are this close (default: 1e-6)",
    )  # fmt: skip
    effort.add_argument(
        "--engine", default="auto", metavar="E",
        help="auto, search, steps, subsets, highs, cpsat, pyomo:NAME (default: auto)",
    )  # fmt: skip
    effort.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda (default: auto)")
    effort.add_argument("--seed", type=int, default=0, metavar="N", help="of the attacks' random starts (default: 0)")
    effort.add_argument(
        "--jobs", type=int, default=1, metavar="N",
        help="processes that work at once; cores left over go to CP-SAT (default: 1)",
    )  # fmt: skip
    effort.add_argument(
        "--batch", type=int, metavar="N",
        help="samples side by side in each process (default: 16 where nets are small or on a GPU)",
    )  # fmt: skip
    effort.add_argument("--share", action=Renamed, help=argparse.SUPPRESS, now="--batch")


def _with_joined_box(argv: Sequence[str]) -> list[str]:
    """`--box -1,1` as `--box=-1,1`: argparse takes a leading minus for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] == "--box" and argument.startswith("-") and "," in argument:
            joined[-1] = f"--box={argument}"
        else:
            joined.append(argument)
    return joined
