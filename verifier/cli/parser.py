"""The table of commands, and what all their parsers share.

A command's module imports what is heavy, as torch is, where it is used: `--help` reads all of them, and shall not wait.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn

from verifier import __version__
from verifier.cli import (
    attack,
    check,
    compare,
    completion,
    curve,
    difference,
    distance,
    inspect,
    margin,
    output_range,
    report,
    scale,
    serve,
    summary,
    train,
    transfer,
    universal,
    verify_property,
    vipr,
)

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

  plumbline margin   net.onnx --data images.npz --radius 0.1
      by how much another class can lead within 0.1 of each image

  plumbline distance net.onnx --data images.npz --json results.jsonl --out adversaries
      one line per sample as it finishes, and pictures; the same command again goes on where it stopped

  plumbline summary results-*.jsonl
      what the files of several jobs hold together, and what is missing

  plumbline report  net.onnx --data digits --samples 0:50 --norm linf,l1 --jobs 2
      how tight every bound and attack is against the exact distance, as a page in out/report

  plumbline train   study.toml
  plumbline compare study.toml
      train networks under regularisers, then hold them against each other by their exact distances

  plumbline difference a.onnx b.onnx --data digits --samples 0:10 --radius 0.05
      how far apart two networks' scores can be around each digit, proven

  plumbline attack net.onnx --data digits --samples 0:10 --attack all
      how near each attack comes, beside the others; nothing is proven

exit status:
  0  every sample has its answer          2  bad usage or bad input
  1  some sample is unresolved            3  soundness alarm: two proven facts contradict each other

Ctrl-C and SIGTERM stop within seconds with status 130 and 143. What is finished is kept; distance, verify, margin,
range and report also keep the bracket of every sample in progress, and go on from it. A second signal ends at once.
"""


@dataclass(frozen=True)
class Command:
    """One command: what it is called and does in a line, its arguments, and what takes them and returns the status."""

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS = (
    Command("inspect", "what a model is made of, and what of it is not supported", inspect.add_arguments, inspect.run),
    Command("distance", "the exact minimal perturbation of each sample", distance.add_distance, distance.run),
    Command("verify", "certified, falsified or unresolved within a radius", distance.add_verify, distance.run),
    Command("margin", "the greatest adversarial loss within a radius", margin.add_arguments, margin.run),
    Command("range", "the least and greatest value of outputs", output_range.add_arguments, output_range.run),
    Command(
        "verify-property",
        "is a VNN-LIB property satisfied by some input?",
        verify_property.add_arguments,
        verify_property.run,
    ),
    Command(
        "report", "every bound and attack set against the exact distance, as a page", report.add_arguments, report.run
    ),
    Command("train", "train networks under regularisers, and export them to ONNX", train.add_arguments, train.run),
    Command("compare", "networks held against each other by exact distances", compare.add_arguments, compare.run),
    Command("curve", "robust accuracy over the radius, as CSV, SVG and PNG", curve.add_arguments, curve.run),
    Command("attack", "how near each attack comes; upper bounds, nothing proven", attack.add_arguments, attack.run),
    Command(
        "universal", "one perturbation that fools as many samples as it can", universal.add_arguments, universal.run
    ),
    Command("transfer", "do the adversaries of one network fool the others?", transfer.add_arguments, transfer.run),
    Command("difference", "the greatest difference of two networks' scores", difference.add_arguments, difference.run),
    Command("summary", "what several --json files of one question hold together", summary.add_arguments, summary.run),
    Command("check", "is a proof right? By code that shares nothing with its writer", check.add_arguments, check.run),
    Command("vipr", "a proof for checkers that are not ours, of VIPR certificates", vipr.add_arguments, vipr.run),
    Command("serve", "questions over HTTP, and a page to ask and watch", serve.add_arguments, serve.run),
    Command("scale", "how far apart the classes of a data set lie", scale.add_arguments, scale.run),
    Command(
        "vnncomp",
        "the three calls of the verification competition",
        verify_property.add_competition,
        verify_property.run_competition,
    ),
    Command(
        "completion", "a script that completes commands and flags in a shell", completion.add_arguments, completion.run
    ),
)


class Once(argparse._StoreAction):
    """A flag with one value, which the last of several would take from the first in silence."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        once: set[str] = vars(namespace).setdefault("given_once", set())
        if option is not None and self.dest in once:
            parser.error(f"{option} is given twice: leave one out, or ask in two runs")
        once.add(self.dest)
        super().__call__(parser, namespace, values, option)


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line, and whose flags are given once but for those that may be repeated."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.register("action", None, Once)
        self.register("action", "store", Once)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Complain of arguments that nobody takes, naming the flag that was meant where one is close."""
        known = [flag for action in self._actions for flag in action.option_strings]
        close = get_close_matches(unknown[0].partition("=")[0], known, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of one call; exits with 0 after --help and --version, with 2 on bad usage."""
    parser = build_parser()
    if not argv:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    parsed, unknown = parser.parse_known_args(_with_joined_numbers(argv))
    if unknown:
        parsed.own_parser.refuse(unknown)
    parsed.given = tuple(argv)  # as it was typed: pages say by what they were made
    return parsed


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
    for one in COMMANDS:
        command = commands.add_parser(one.name, help=one.summary, allow_abbrev=False)
        one.add_arguments(command)
        command.set_defaults(run=one.run, own_parser=command, grammar=parser)  # `completion` needs the whole grammar
    return parser


def _with_joined_numbers(argv: Sequence[str]) -> list[str]:
    """`--box -1,1` as `--box=-1,1`: argparse takes a leading minus for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in ("--box", "--output-row") and argument.startswith("-") and "," in argument:
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined
