"""Studies, attacks and questions of every kind, stopped at any moment: what is on the disk is true, and a second run
makes of it what an undisturbed one gives."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.layer_graph.graph import affine_chain
from tests.draws import draws
from tests.int8_builder import Int8Layer, write_int8
from tests.onnx_builder import to_onnx
from tests.stopping import SIGNALS, Record, last, lines, signalled
from tests.verifier.studies.comparison.brief import brief_comparison
from verifier.cli.main import main
from verifier.runs.journal import SLACK, apart, brackets

RADIUS = "0.1"
Arguments = list[str]


@dataclass(frozen=True)
class Study:
    """A command: its arguments behind files and folder, and what of a line another run has to say again."""

    arguments: Callable[[Arguments, str], Arguments]
    measured: tuple[str, ...] = ()


def asked(*question: str, net: int = 0) -> Study:
    """One question of every sample."""
    command, *more = question
    return Study(
        lambda files, out: [command, files[net], "--data", files[2], *more, "--batch", "1", "--json", f"{out}/a.jsonl"]
    )


def together(networks: int, *question: str) -> Study:
    """One question of several networks, or of several samples."""
    command, *more = question
    return Study(lambda files, out: [command, *files[:networks], "--data", files[2], *more, "--json", f"{out}/a.jsonl"])


STUDIES = {
    "report": Study(
        lambda files, out: [
            "report", files[0], "--data", files[2], "--radius", RADIUS, "--bounds", "interval,crown",
            "--attacks", "fgsm,deepfool", "--time-limit", "600", "--out", out, "--format", "html,json",
        ],
        ("bounds", "attacks"),
    ),
    "compare": Study(
        lambda files, out: [
            "compare", *files[:2], "--data", files[2], "--samples", "0:4", "--norm", "linf", "--out", out,
        ],
        ("attacks", "cross_lipschitz"),
    ),
    "curve": Study(
        lambda files, out: ["curve", *files[:2], "--data", files[2], "--attack", "pgd", "--out", out], ("attack",)
    ),
    "attack": Study(
        lambda files, out: [
            "attack", files[0], "--data", files[2], "--attack", "fgsm", "pgd", "--batch", "2",
            "--json", f"{out}/a.jsonl",
        ],
        ("attacks", "upper"),
    ),
    "range": asked("range", "--radius", RADIUS),
    "transfer": together(2, "transfer", "--exact", "--samples", "0,1,3"),
    "universal": together(1, "universal", "--exact", "--samples", "1,2"),
    "difference": together(2, "difference", "--radius", RADIUS, "--samples", "1,3", "--tolerance", "1e-4"),
}  # fmt: skip
QUESTIONS = {
    "highs": asked("distance", "--engine", "highs"),
    "highs-decisions": asked("verify", "--engine", "highs", "--radius", RADIUS),
    "l1": asked("distance", "--norm", "l1"),
    "l2": asked("distance", "--norm", "l2"),
    "l0": asked("distance", "--norm", "l0", "--grid", "8"),
    "grid": asked("distance", "--grid", "64"),
    "cpsat": asked("distance", "--grid", "64", "--engine", "cpsat"),
    "executed": asked("distance", "--execution", "float32", "--tolerance", "1e-4"),
    "each": asked("margin", "--each", "--radius", RADIUS),
    "target": asked("distance", "--target", "1", "--margin", "0.01"),
    "int8": Study(
        lambda files, out: ["distance", files[3], "--data", files[4], "--grid", "64", "--json", f"{out}/a.jsonl"]
    ),
    "change": asked("distance", "--change", "0.5", "--output-index", "0"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Arguments:
    """Two small nets, samples that are right but for one, a net of whole numbers, and samples without labels."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    sizes = (6, 12, 12, 3)
    x, nets, labels = (rng.integers(0, 9, (4, 6)) / 8).astype(np.float32), [], np.zeros(4, int)
    matrices = [rng.normal(size=(rows, columns)) for columns, rows in pairwise(sizes)]
    for name in ("one", "two"):
        hidden = np.maximum(np.maximum(x @ matrices[0].T, 0.0) @ matrices[1].T, 0.0) @ matrices[2].T
        graph = affine_chain(matrices, [np.zeros(12), np.zeros(12), -hidden.mean(axis=0)])
        nets.append(str(to_onnx(graph, folder / f"{name}.onnx")))
        labels = labels if len(nets) > 1 else (hidden - hidden.mean(axis=0)).argmax(axis=1)
        matrices = [matrix + 0.05 * rng.normal(size=matrix.shape) for matrix in matrices]
    labels[3] = (labels[3] + 1) % 3
    np.savez(folder / "data.npz", x=x, y=labels)
    np.savez(folder / "unlabelled.npz", x=x)
    whole = [rng.integers(-64, 65, (columns, rows)) for rows, columns in pairwise(sizes)]
    layers = [
        Int8Layer(weight, np.zeros(len(weight)), np.asarray(1 / 64, dtype=np.float32), scale, zero)
        for weight, scale, zero in zip(whole, (1 / 64, 1 / 32, 1 / 16), (0, 0, 128), strict=True)
    ]
    int8 = write_int8(layers, folder / "int8.onnx", 1 / 255)
    return [*nets, str(folder / "data.npz"), str(int8), str(folder / "unlabelled.npz")]


@pytest.fixture(autouse=True)
def cheap_and_repeatable(
    patient_attacks: None, undrawn_charts: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Nothing depends on how busy the machine is, and a process that would be ended goes on."""
    monkeypatch.setattr(os, "_exit", lambda status: None)
    with brief_comparison():
        yield


def journals(out: Path) -> list[Path]:
    return sorted(out.rglob("*.jsonl"))


def held(out: Path) -> dict[str, dict[int, Record]]:
    return {path.name: last(path) for path in journals(out)}


def figures(value: Any, name: str = "") -> dict[str, float]:
    """All figures of a line's part by their names, but for the seconds that they took."""
    if isinstance(value, dict):
        return {k: one for key, part in value.items() for k, one in figures(part, f"{name}/{key}").items()}
    told = value is not None and (value == "inf" or not isinstance(value, str))
    return {name: float(value)} if told and not name.endswith("/seconds") else {}


def true(found: Record, exact: Record) -> bool:
    """Whether all brackets of two lines can be of the same numbers."""
    pairs = zip(brackets(found), brackets(exact), strict=True)
    return not any(apart(low, greatest) or apart(least, high) for (low, high), (least, greatest) in pairs)


def check_going_on(records: list[Record]) -> None:
    """No line about a sample is wider than the one before, or says more firmly what that one said."""
    before: dict[int, Record] = {}
    for record in records:
        earlier = before.get(record["index"])
        if earlier is not None:
            inner = "ranges" in record  # what attains the inner end of a range that is not begun is not replayed yet
            for k, ((low, high), (least, greatest)) in enumerate(zip(brackets(earlier), brackets(record), strict=True)):
                low, high = (low, np.inf) if inner and k % 2 == 0 else (-np.inf, high) if inner else (low, high)
                assert least >= low - SLACK  # an adversary may undercut a proof by as much
                assert greatest <= high
            firmer = (earlier.get("basis"), record.get("basis")) == ("solver", "rigorous")
            assert not (firmer and brackets(record) == brackets(earlier))
        before[record["index"]] = record


def check_page(out: Path, exact: dict[int, Record]) -> None:
    """What a report tells is true of the samples that it tells it of."""
    page = out / "report.json"
    if not page.exists():
        return
    told = json.loads(page.read_text())
    there = [exact[one["index"]] for one in told["samples"]]
    assert all(true(one, exact[one["index"]]) for one in told["samples"])
    for share in told["robust"]:
        robust = sum(float(one["lower"]) > share["radius"] for one in there)
        assert share["samples"] == len(there)
        assert share["proven"] <= robust <= share["not_refuted"]


def stopped_until_done(study: Study, given: Arguments, out: Path, truth: Path, whole: float, seed: int) -> int:
    """Stop at a random moment, go on, stop again; how often, until nothing was left to do."""
    rng, stops, exact = np.random.default_rng(seed), 0, held(truth)
    while True:
        number = int(rng.choice(SIGNALS))
        with signalled(number, float(rng.uniform(0.0, 1.1) * whole * 1.2**stops)):
            status = 128 + number
            status = main(study.arguments(given, str(out)))
        for path in journals(out):
            assert all(true(one, exact[path.name][one["index"]]) for one in lines(path))
            check_going_on(lines(path))
        check_page(out, next(iter(exact.values())))
        if status != 128 + number:
            assert status in (0, 1)
            break
        stops += 1
        assert stops < 60
    found = held(out)
    assert set(found) == set(exact)
    for name, records in exact.items():
        assert set(found[name]) == set(records)
        for index, record in records.items():
            own = found[name][index]
            assert own["verdict"] == record["verdict"]
            for part in study.measured:
                if part in record:
                    assert figures(own[part]) == pytest.approx(figures(record[part]), rel=1e-5)
    return stops


@pytest.fixture
def rounds(files: Arguments, tmp_path: Path) -> Callable[[str, int, int], int]:
    """Rounds of a command, from a first seed on, until it was stopped so often."""

    def until(name: str, seed: int, stops: int) -> int:
        study, truth = (STUDIES | QUESTIONS)[name], tmp_path / "truth"
        truth.mkdir()
        started = time.monotonic()
        assert main(study.arguments(files, str(truth))) in (0, 1)
        whole, done = time.monotonic() - started, 0
        while done < stops:
            out = tmp_path / str(seed)
            out.mkdir()
            done += stopped_until_done(study, files, out, truth, whole, seed)
            seed += 1
        return done

    return until


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.fewer(1)
def test_stopped_studies_go_on(name: str, rounds: Callable[[str, int, int], int]) -> None:
    assert rounds(name, 0, draws(1, 20)) >= 1


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.fewer(3)
def test_stopped_questions_go_on(name: str, rounds: Callable[[str, int, int], int]) -> None:
    assert rounds(name, 0, draws(1, 20)) >= 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [*STUDIES, *QUESTIONS])
def test_studies_stopped_at_hundreds_of_moments(name: str, rounds: Callable[[str, int, int], int]) -> None:
    assert rounds(name, 1000, 200) >= 200
