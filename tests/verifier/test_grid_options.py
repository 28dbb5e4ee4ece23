"""A step per input, pixels as what is counted, and cores for the solver: by hand, through the whole product."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encoders.errors import DataError, OptionError
from encoders.layer_graph.graph import affine_chain
from encoders.programs.integer_program import IntegerProgram, IntegerRow
from encoders.solvers.base import Status
from encoders.solvers.cpsat import satisfy
from tests.onnx_builder import to_onnx
from verifier.answer import distance, verify
from verifier.cli.main import main
from verifier.engines.on_grid.cpsat_decisions import Decisions
from verifier.options import Options
from verifier.question.input_shape import pixels_of
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict
from verifier.runs.job import Job, Outcome
from verifier.runs.processes import Processes
from verifier.runs.run import outcomes
from verifier.runs.samples import Samples

ENGINES = {
    "linf": ["auto", "search", "highs", "cpsat"],
    "l1": ["auto", "search", "steps", "highs", "cpsat"],
    "l2": ["auto", "search", "steps", "cpsat"],
    "l0": ["auto", "subsets", "highs", "cpsat"],
}
X = np.array([0.75, 1 / 3], dtype=np.float32)


@pytest.fixture
def swap(tmp_path: Path) -> Model:
    """Scores (x1 + 0.05, x2): from (3/4, 1/3) the class changes where x2 passes x1 + 0.05."""
    return load(to_onnx(affine_chain([np.eye(2)], [np.array([0.05, 0.0])]), tmp_path / "swap.onnx"))


# x1 in quarters and x2 in thirds, counted in twelfths: 9 and 4 move by 3 and by 4, and must pass by more than 0.6.
# (6, 8) is 3 and 4 away, (3, 4) 6 and none, (9, 12) none and 8.
@pytest.mark.slow
@pytest.mark.parametrize(("norm", "expected"), [("linf", 4 / 12), ("l1", 6 / 12), ("l2", 5 / 12), ("l0", 1.0)])
@pytest.mark.fewer(1)
def test_a_step_for_each_input(swap: Model, norm: str, expected: float) -> None:
    for engine in ENGINES[norm]:
        result = distance(swap, X, norm=norm, engine=engine, grid=np.array([4, 3]))
        assert (engine, result.upper) == (engine, expected)
        assert result.lower <= expected
        if engine != "search":
            assert (engine, result.verdict, result.lower) == (engine, Verdict.EXACT, expected)
        assert result.adversary is not None
        moved = result.adversary.input
        assert moved[0] * 4 == np.round(moved[0] * 4)
        assert moved[1] == np.float32(np.round(moved[1] * 3) / 3)
        assert verify(swap, X, expected, norm=norm, engine=engine, grid=np.array([4, 3])).verdict is Verdict.FALSIFIED
        safe = verify(swap, X, expected - 0.01, norm=norm, engine=engine, grid=np.array([4, 3]))
        assert (engine, safe.verdict) == (engine, Verdict.CERTIFIED) or engine == "search"


def test_a_mask_and_levels(swap: Model) -> None:
    result = distance(swap, np.array([0.71, 1 / 3], dtype=np.float32), grid=np.array([0, 3]), mask=[0, 1])
    assert (result.verdict, result.upper) == (Verdict.EXACT, 2 / 3)
    with pytest.raises(DataError, match=r"entry 0 is 0\.75, which is no multiple of 1/3"):
        distance(swap, X, grid=np.array([3, 3]))
    with pytest.raises(OptionError, match="do not fit the model's input"):
        distance(swap, X, grid=np.array([4, 3, 3]))
    with pytest.raises(OptionError, match="first meet in"):
        distance(swap, X * 0, grid=np.array([257, 1021]))


@pytest.fixture
def colour(tmp_path: Path) -> Model:
    """Three channels of two pixels: class 1 wins where all the inputs together pass 2.5."""
    graph = affine_chain([np.array([[0.0] * 6, [1.0] * 6])], [np.array([2.5, 0.0])])
    return load(to_onnx(graph, tmp_path / "colour.onnx", (3, 1, 2)))


def test_channels_may_come_last(tmp_path: Path) -> None:
    """Levels and masks go with inputs as the sample's entries do: here the second channel alone moves, by halves."""
    graph = affine_chain([np.array([[0.0] * 12, [1.0] * 12])], [np.array([5.3, 0.0])])
    colour = load(to_onnx(graph, tmp_path / "colour.onnx", (3, 2, 2)))
    x = np.zeros((3, 2, 2), dtype=np.float32)
    x[0, 0] = [0.75, 1.0]
    levels, free = (np.broadcast_to(np.reshape(each, (3, 1, 1)), x.shape) for each in ([4, 2, 1], [0, 1, 0]))
    for axis in (0, 2):
        sample, grid, mask = (np.moveaxis(each, 0, axis) for each in (x, levels, free))
        result = distance(colour, sample, norm="l1", grid=grid, mask=mask)
        assert (axis, result.verdict, result.lower) == (axis, Verdict.EXACT, 4.0)
        assert result.adversary is not None
        np.testing.assert_array_equal(result.adversary.input[[0, 2]], x[[0, 2]])


@pytest.mark.slow
@pytest.mark.parametrize("grid", [1, 4, None])
@pytest.mark.fewer(1)
def test_colour_pixels(colour: Model, grid: int | None) -> None:
    x = np.zeros((3, 1, 2), dtype=np.float32)
    for engine in ("auto", "subsets", "highs", "cpsat"):
        if grid is None and engine == "cpsat":
            continue
        inputs = distance(colour, x, norm="l0", engine=engine, grid=grid)
        pixels = distance(colour, x, norm="l0", count="pixels", engine=engine, grid=grid)
        assert (engine, inputs.verdict, inputs.lower) == (engine, Verdict.EXACT, 3.0)
        assert (engine, pixels.verdict, pixels.lower) == (engine, Verdict.EXACT, 1.0)
    mask = np.array([1, 0, 1, 1, 1, 1])  # of the first pixel two channels are left, the second has all: 2.5 need both
    held = distance(colour, x, norm="l0", count="pixels", grid=grid, mask=mask & [1, 1, 1, 0, 1, 1])
    assert (held.verdict, held.lower) == (Verdict.EXACT, 1.0)
    both = distance(colour, x, norm="l0", count="pixels", grid=grid, mask=mask & [1, 1, 1, 1, 0, 1])
    assert (both.verdict, both.lower) == (Verdict.EXACT, 2.0)


def test_what_is_a_pixel(swap: Model) -> None:
    assert pixels_of((3, 1, 2)).tolist() == [0, 1, 0, 1, 0, 1]
    assert pixels_of((1, 2, 3)).tolist() == [0, 1, 2, 3, 4, 5]
    assert pixels_of((2, 2, 3)).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert pixels_of((2, 2)).tolist() == [0, 1, 2, 3]
    for shape in ((2,), (4,), (5, 4, 4)):
        with pytest.raises(OptionError, match="no image"):
            pixels_of(shape)
    with pytest.raises(OptionError, match="no image"):
        distance(swap, X, norm="l0", count="pixels")
    with pytest.raises(OptionError, match="norm l0"):
        Options(count="pixels")
    with pytest.raises(OptionError, match="choose from inputs, pixels"):
        Options(norm="l0", count="colours")  # type: ignore[arg-type]


def test_command_line_and_resume(colour: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, grid, out = tmp_path / "x.npy", tmp_path / "levels.npy", tmp_path / "out.jsonl"
    np.save(data, np.zeros((1, 3, 1, 2), dtype=np.float32))
    np.save(grid, np.array([1, 2, 4]).reshape(3, 1, 1))  # a number for each channel
    command = ["distance", str(colour.path), "--data", str(data), "--norm", "l0", "--json", str(out)]
    assert main([*command, "--grid", str(grid), "--count", "pixels"]) == 0
    line = json.loads(out.read_text())
    assert (line["verdict"], line["lower"], line["upper"]) == ("exact", 1.0, 1.0)
    assert line["run"]["count"] == "pixels"
    assert main([*command, "--grid", str(grid), "--count", "pixels"]) == 0  # resumed
    assert len(out.read_text().splitlines()) == 1
    assert main([*command, "--grid", str(grid)]) == 2
    assert 'count was "pixels", now "inputs"' in capsys.readouterr().err
    np.save(grid, np.array([1, 2, 2]).reshape(3, 1, 1))
    assert main([*command, "--grid", str(grid), "--count", "pixels"]) == 2
    assert "grid was" in capsys.readouterr().err
    np.save(grid, np.array([0.5, 2, 2]))
    assert main([*command, "--grid", str(grid)]) == 2
    assert "whole numbers of levels" in capsys.readouterr().err
    assert main([*command, "--grid", "many"]) == 2
    assert "a grid is a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(("jobs", "expected"), [(1, 1), (5, 2), (6, 3)])
def test_spare_jobs_are_shared_out(swap: Model, monkeypatch: pytest.MonkeyPatch, jobs: int, expected: int) -> None:
    """Two samples: what is left over is the cores of each. In this process, so that it can be seen."""
    seen: list[int] = []

    def parallel(self: Processes, model: Model, job: Job, *more: object) -> Iterator[Outcome[Result]]:
        seen.append(job.workers)
        yield from ()

    monkeypatch.setattr(Processes, "outcomes", parallel)
    samples = Samples("two", np.array([X, X]), None)
    job = Job(Options(engine="cpsat", grid=12))
    found = list(outcomes(swap, job, samples, [0, 1], jobs, lambda *facts: None))
    assert seen == ([] if jobs == 1 else [expected])
    assert len(found) == (2 if jobs == 1 else 0)


def test_one_sample_has_all_the_cores(swap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def none(self: Decisions, seconds: float = 0.0) -> None:
        seen.append(self.problem.workers)
        self.stuck = True

    monkeypatch.setattr(Decisions, "run", none)
    samples = Samples("one", X[None], None)
    list(outcomes(swap, Job(Options(engine="cpsat", grid=12)), samples, [0], 3, lambda *facts: None))
    assert seen == [3]


def test_several_cores_find_what_one_finds() -> None:
    """3·a - 5·b is 7 first at a = 4, b = 1; with a ≤ 3 nowhere."""
    for most, status in ((4, Status.OPTIMAL), (3, Status.INFEASIBLE)):
        program = IntegerProgram((0, 0), (most, 9), (IntegerRow((0, 1), (3, -5), 7, 7),), 2)
        assert {satisfy(program, 20.0, threads).status for threads in (1, 2)} == {status}
