"""Questions on the grid by hand, through the whole product: options, engines, float32, witnesses, command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from encoders.errors import DataError, OptionError, SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.onnx_builder import to_onnx
from verifier.answer import distance, verify
from verifier.cli.main import main
from verifier.engines.adapters import SearchEngine
from verifier.engines.base import Proof
from verifier.options import Options
from verifier.question.grid_incumbent import GridIncumbent
from verifier.question.model import Model, load
from verifier.question.results import Basis, Verdict

ENGINES = ["auto", "search", "highs", "cpsat"]


def sample(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.fixture
def swap(tmp_path: Path) -> Model:
    """Scores (x1, x2): from (0.75, 0.25) the class changes where x2 passes x1."""
    return load(to_onnx(affine_chain([np.eye(2)], [np.array([0.05, 0.0])]), tmp_path / "swap.onnx"))


# On quarters, x2 must win by more than 0.05: x2 ≥ x1 + 1/4, three quarters to go together.
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("norm", "expected"), [("linf", 0.5), ("l1", 0.75), ("l2", np.sqrt(5) / 4), ("l0", 1.0)])
@pytest.mark.fewer
def test_distances_by_hand(swap: Model, engine: str, norm: str, expected: float) -> None:
    if (engine, norm) in {("search", "l0"), ("highs", "l2")}:
        with pytest.raises(OptionError, match="cannot minimise"):
            distance(swap, sample(0.75, 0.25), norm=norm, engine=engine, grid=4)
        return
    result = distance(swap, sample(0.75, 0.25), norm=norm, engine=engine, grid=4)
    assert result.upper == expected
    assert result.lower <= expected
    if engine != "search":
        assert (result.verdict, result.lower) == (Verdict.EXACT, result.upper)
    assert result.adversary is not None
    assert (result.adversary.input * 4 == np.round(result.adversary.input * 4)).all()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.fewer(3)
def test_radii_by_hand(swap: Model, engine: str) -> None:
    inside = sample(0.75, 0.25)
    assert verify(swap, inside, 0.49, engine=engine, grid=4).verdict is Verdict.CERTIFIED
    assert verify(swap, inside, 0.49, engine=engine, grid=4).lower == 0.5
    assert verify(swap, inside, 0.5, engine=engine, grid=4).verdict is Verdict.FALSIFIED
    assert verify(swap, inside, 0.0, engine=engine, grid=4).verdict is Verdict.CERTIFIED
    held = distance(swap, inside, engine=engine, grid=4, mask=[0, 0])
    assert (held.verdict, held.lower) == (Verdict.EXACT, float("inf"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "highs"])
def test_fewest_pixels_off_the_grid(swap: Model, engine: str) -> None:
    """One pixel alone is enough: x1 = 0 loses to 0.25."""
    assert verify(swap, sample(0.75, 0.25), 0.5, norm="l0", engine=engine).verdict is Verdict.CERTIFIED
    assert verify(swap, sample(0.75, 0.25), 1.0, norm="l0", engine=engine).verdict is Verdict.FALSIFIED
    result = distance(swap, sample(0.75, 0.25), norm="l0", engine=engine)
    assert (result.verdict, result.lower, result.upper) == (Verdict.EXACT, 1.0, 1.0)


def test_8_bit_levels_are_as_readers_make_them(swap: Model) -> None:
    x = (np.array([191, 64], dtype=np.uint8) / np.float32(255)).astype(np.float32)
    for norm, steps in (("linf", 70), ("l1", 140)):  # 127 apart and 0.05 · 255 = 12.75 ahead
        result = distance(swap, x, norm=norm, grid=255)
        assert (result.verdict, result.upper) == (Verdict.EXACT, steps / 255)
        assert result.adversary is not None
        levels = np.round(result.adversary.input.astype(np.float64) * 255)
        assert (result.adversary.input == (levels / 255).astype(np.float32)).all()


def test_a_flip_that_only_float32_makes(tmp_path: Path) -> None:
    """At x = 1, float32 rounds relu(x + 2²⁴ + 2) - 2²⁴ - 2 up to 2; really it is 1, and below 1.5."""
    big = 2.0**24 + 2
    graph = affine_chain([np.array([[1.0]]), np.array([[1.0], [0.0]])], [np.array([big]), np.array([-big, 1.5])])
    model = load(to_onnx(graph, tmp_path / "up.onnx"))
    assert np.argmax(model.scores(sample(1.0)[None])[0]) == 0
    for engine in ("auto", "cpsat"):
        result = distance(model, sample(0.0), engine=engine, grid=1)
        assert (result.verdict, result.lower, result.upper) == (Verdict.EXACT, float("inf"), float("inf"))


@pytest.mark.slow
def test_a_flip_that_float32_hides(tmp_path: Path) -> None:
    """Really x = 1/2 passes 0.3; float32 loses x beside 2²⁴: nothing replays, and nothing more is claimed."""
    big = 2.0**24
    graph = affine_chain([np.array([[1.0]]), np.array([[1.0], [0.0]])], [np.array([big]), np.array([-big, 0.3])])
    model = load(to_onnx(graph, tmp_path / "down.onnx"))
    for engine in ("auto", "cpsat", "search"):
        result = distance(model, sample(0.0), engine=engine, grid=4, box=(0.0, 1.0), time_limit=20.0)
        assert result.verdict is Verdict.UNRESOLVED
        assert result.lower <= 0.5
        assert result.upper == float("inf")


def test_what_has_no_meaning_is_refused(swap: Model) -> None:
    with pytest.raises(DataError, match="not on the grid"):
        distance(swap, sample(0.7, 0.25), grid=4)
    with pytest.raises(OptionError, match="give grid"):
        distance(swap, sample(0.75, 0.25), engine="cpsat")
    for bad in (0, -1, 10**6):
        with pytest.raises(OptionError, match="grid"):
            Options(grid=bad)


def test_a_proven_level_above_a_witness_is_an_alarm(swap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    async def overstated(self: SearchEngine, *question: object) -> Proof:
        return Proof(0.75, Basis.RIGOROUS)

    monkeypatch.setattr(SearchEngine, "_solve", overstated)
    with pytest.raises(SoundnessError, match="alarm"):
        distance(swap, sample(0.75, 0.25), engine="search", grid=4)


@pytest.mark.slow
def test_the_walk_ends_where_nothing_is_nearer(swap: Model) -> None:
    for norm in Norm:
        result = distance(swap, sample(0.75, 0.25), norm=norm, engine="cpsat", grid=16)
        assert result.verdict is Verdict.EXACT
    assert GridIncumbent.__doc__


def test_command_line_and_resume(swap: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "x.npy", tmp_path / "out.jsonl"
    np.save(data, np.array([[0.75, 0.25], [1.0, 0.0]], dtype=np.float32))
    command = ["distance", str(swap.path), "--data", str(data), "--json", str(out)]
    assert main([*command, "--grid", "4"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["verdict"] for line in lines] == ["exact", "exact"]
    assert all(line["lower"] == line["upper"] and line["run"]["grid"] == 4 for line in lines)
    assert main([*command, "--grid", "8"]) == 2
    assert "grid was 4, now 8" in capsys.readouterr().err


# x0 ─► h = n·x0 - n + 1/2, less what x1 is away from k/n: only x0 = 1 and x1 = k/n together win, n - 1 and x1's steps
# from the sample at 1/n; 1 - float32(1/n) is a hair less than (n - 1)/n. CP-SAT counts steps, and many take it long.
@pytest.mark.parametrize(
    ("engine", "n", "x1", "k"), [("highs", 255, 128, 40), ("auto", 255, 128, 40), ("cpsat", 5, 4, 2)]
)
@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.fewer(1)
def test_the_farthest_level_is_not_lost(norm: str, engine: str, n: int, x1: int, k: int, tmp_path: Path) -> None:
    graph = affine_chain(
        [np.array([[n, 0.0], [0.0, n], [0.0, -n]]), np.array([[1.0, -10.0, -10.0]]), np.array([[0.0], [1.0]])],
        [np.array([0.5 - n, -k, k]), np.array([-0.25]), np.array([0.1, 0.0])],
    )
    model = load(to_onnx(graph, tmp_path / "corner.onnx"))
    x, steps = np.array([1 / n, x1 / n], dtype=np.float32), n - 1 + (x1 - k) * (norm == "l1")
    found = distance(model, x, norm=norm, engine=engine, grid=n, time_limit=30.0)
    assert found.lower <= steps / n <= found.upper
    for radius in (1.0, 2.0):
        asked = verify(model, x, radius, norm=norm, engine=engine, grid=n, time_limit=30.0)
        assert asked.verdict is not Verdict.CERTIFIED or radius < steps / n


def test_measures_that_64_bits_do_not_hold_are_refused(tmp_path: Path) -> None:
    graph = affine_chain([np.ones((2, 8)), np.eye(2)], [np.zeros(2), np.array([1.0, 0.0])])
    model = load(to_onnx(graph, tmp_path / "wide.onnx"))
    levels = np.array([3, 5, 7, 11, 13, 1, 1, 1])
    with pytest.raises(OptionError, match=r"past 2\^53"):
        distance(model, np.zeros(8, dtype=np.float32), norm="l2", grid=levels, box=(-80000.0, 80000.0))
