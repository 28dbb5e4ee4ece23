"""The formulas of docs/theory hold: each on random numbers, and against the code where the code has it."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from bounds.geometry.halfspace_distance import lowest_value
from bounds.propagation.backward_pass import chords
from bounds.rounding import gamma
from encoders.arrays import FloatArray
from encoders.grid import Grid
from encoders.programs.mixed_integer_encoding import encode
from encoders.question import Norm, Region, goals_for
from encoders.solvers.base import Status
from encoders.solvers.highs import HighsSolver
from tests.encoders.nets import interval_bounds, two_two_two, unit_box
from verifier.studies.comparison.paired import holm

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted((DOCS / "theory").glob("*.md"))


def relu(h: FloatArray) -> FloatArray:
    return np.maximum(h, 0.0)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_figures_tests_and_modules_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert (page.parent / target).exists(), target
    for path, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        file = DOCS.parent / path
        assert file.exists(), path
        assert not test or f"def {test}(" in file.read_text(encoding="utf-8"), test
    for path in re.findall(r"`((?:bounds|encoders|verifier|trainers)/[\w/]+\.py)`", text):
        assert (DOCS.parent / path).exists(), path
    assert text.count("$$") % 2 == 0


def test_every_page_is_on_the_map() -> None:
    index = (DOCS / "theory" / "index.md").read_text(encoding="utf-8")
    assert all(f"({page.name})" in index for page in PAGES if page.stem != "index")


def test_the_glossary_is_in_order_and_says_each_word_once() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8").partition("## Retired words")[0]
    words = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")][1:]
    plain = [re.sub(r"[^a-z0-9 ]", "", word.replace("α", "alpha").replace("-", " ").lower()) for word in words]
    assert plain == sorted(set(plain))


def test_the_binary_decides_the_neuron() -> None:
    graph, center = two_two_two()
    region = unit_box(center)
    (goal,) = goals_for(0, 2, None, 0.0)
    program = encode(graph, region, Norm.LINF, goal, interval_bounds(graph, region), np.inf)
    solution = HighsSolver().solve(program)
    assert solution.status is Status.OPTIMAL
    assert solution.lower == pytest.approx(1 / 8)
    assert program.binaries == 2


def test_any_slope_is_below_and_the_chord_above() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        lower, upper = -rng.uniform(0.1, 3), rng.uniform(0.1, 3)
        h = rng.uniform(lower, upper, 50)
        slope, offset, _ = chords(*torch.tensor([[lower], [upper]], dtype=torch.float64))
        assert (float(slope) * h + float(offset) >= relu(h)).all()
        assert float(slope) * lower + float(offset) == pytest.approx(0.0, abs=1e-9)
        assert (rng.uniform(0, 1, 50) * h <= relu(h)).all()


def test_any_shares_are_above_the_relu() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        a, k, s = rng.normal(size=4), rng.normal(), rng.uniform(0, 1, 4)
        down, up = rng.uniform(0, 1, (2, 4))
        least, most = np.minimum(-a * down, a * up), np.maximum(-a * down, a * up)
        d = rng.uniform(-down, up, (40, 4))
        line = (s * (a * d - least)).sum(1) + max(0.0, k + (s * least).sum() + ((1 - s) * most).sum())
        assert (line >= relu(d @ a + k) - 1e-12).all()


def test_an_envelope_meets_the_relu_at_the_corners_of_the_simplex() -> None:
    rng = np.random.default_rng(2)
    a, k, radius = rng.normal(size=6), 0.3, 0.7
    normal = (relu(k + radius * a) - relu(np.array(k))) / radius
    p = rng.dirichlet(np.ones(7), 50)[:, :6] * radius
    assert (max(0.0, k) + p @ normal >= relu(p @ a + k) - 1e-12).all()
    corners = radius * np.eye(6)
    assert max(0.0, k) + corners @ normal == pytest.approx(relu(corners @ a + k))


def test_any_price_of_the_cut_is_valid() -> None:
    rng = np.random.default_rng(3)
    row, normal = rng.normal(size=(2, 5))
    height, room = 0.4, torch.ones(5).double()
    known = linprog(row, normal[None], [-height], bounds=[(-1, 1)] * 5).fun
    best = -np.inf
    for price in np.linspace(0, 3, 60):
        combined = torch.tensor(row + price * normal)
        value = torch.tensor(price * height)
        found = float(lowest_value(combined, value, room, room, Norm.LINF, torch.tensor(1.0).double()))
        assert found <= known + 1e-9
        best = max(best, found)
    assert best == pytest.approx(known, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_a_lead_over_its_fastest_fall_is_a_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hidden, bias, output = rng.normal(size=(6, 3)), rng.normal(size=6), rng.normal(size=6)
    fastest = float(np.abs(output) @ np.abs(hidden).sum(1))  # in L∞: the dual norm of a row is its L1 norm
    lead = 0.2
    points = rng.uniform(-2, 2, (4000, 3))
    leads = lead + (relu(points @ hidden.T + bias) - relu(bias)) @ output
    assert (leads <= 0).any()
    assert np.abs(points[leads <= 0]).max(1).min() >= lead / fastest


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_a_parabola_is_above_its_relu(spread: float) -> None:
    h = np.linspace(-10, 10, 401)
    parabola = (h + spread) ** 2 / (4 * spread)
    assert (parabola >= relu(h) - 1e-12).all()
    assert ((np.array([-spread, spread]) + spread) ** 2 / (4 * spread)).tolist() == pytest.approx([0.0, spread])


def test_the_facts_of_a_neuron() -> None:
    h = np.random.default_rng(5).uniform(-2, 3, 200)
    y, w, u = relu(h), 2.0, 3.0
    z = y - h
    assert y * (y - h) == pytest.approx(0.0)
    assert (y * (y - u) <= 0).all()
    assert (z * (z - w) <= 0).all()
    assert z * (z - w) == pytest.approx(h**2 - y * h + w * (h - y))


def test_a_sum_is_within_gamma_of_its_sizes() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 300)) * 10.0 ** rng.integers(-8, 8, (2, 300))
    exact = sum((Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)), Fraction(0))
    assert abs(Fraction(float(a @ b)) - exact) <= Fraction(gamma(300) * float(np.abs(a) @ np.abs(b)))


def test_squares_are_exact_at_whole_numbers_and_below_between() -> None:
    steps = np.arange(6)
    chord = np.max([(2 * k + 1) * steps - k * (k + 1) for k in range(6)], axis=0)
    assert chord.tolist() == (steps**2).tolist()


@pytest.mark.parametrize(("norm", "length"), [(Norm.LINF, 2 / 255), (Norm.L1, 2 / 255), (Norm.L2, 2**0.5 / 255)])
def test_a_measure_has_a_length(norm: Norm, length: float) -> None:
    region = Region(np.zeros(2), np.zeros(2), np.ones(2))
    assert Grid.of(region, norm, 255).length(2) == pytest.approx(length)


def test_corrected_tests_by_the_formula_of_the_page() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
