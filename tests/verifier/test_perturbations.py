"""Perturbations of few variables, held against their formulas: dense sweeps, samples, and masks where they are one."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import plumbline
from encoders.arrays import FloatArray
from encoders.errors import DataError, OptionError
from encoders.layer_graph.graph import affine_chain
from tests.encoders.nets import random_chain
from tests.onnx_builder import to_onnx
from verifier.answer import distance
from verifier.perturbations import Perturbation, bias_field, brightness, contrast, haze, patch
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict

pytestmark = pytest.mark.usefixtures("quick_attacks")
Formula = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""The images [B, n] of a sample [n] and variables [B, k]."""
ROWS, COLUMNS = (axis.reshape(-1) - 1.0 for axis in np.indices((3, 3)))
FORMULAS: dict[str, Formula] = {
    "brightness": lambda x, v: np.clip(x + v, 0, 1),
    "contrast": lambda x, v: np.clip(0.5 + (1 + v) * (x - 0.5), 0, 1),
    "haze": lambda x, v: (1 - v) * x + v,
    "bias field": lambda x, v: np.clip(x * (1 + v @ np.stack([np.ones(9), ROWS, COLUMNS])), 0, 1),
}
ASKED: dict[str, Callable[[Model, NDArray[Any]], Perturbation]] = {
    "brightness": brightness,
    "contrast": contrast,
    "haze": haze,
    "bias field": lambda model, x: bias_field(model, x, degree=1),
}


def small(tmp_path: Path, seed: int, kind: type[np.floating[Any]] = np.float32) -> tuple[Model, NDArray[Any]]:
    """A net on 3 × 3 pixels, and an image."""
    graph, x = random_chain(seed, (9, 6, 4, 3))
    return load(to_onnx(graph, tmp_path / f"net{seed}.onnx", (1, 3, 3), kind)), x.astype(kind).reshape(1, 3, 3)


def flips(model: Model, images: NDArray[Any], predicted: int) -> NDArray[np.bool_]:
    """Where another class wins or ties, in float64."""
    scores = model.graph.evaluate(images)
    return np.asarray(np.delete(scores, predicted, axis=1).max(axis=1) >= scores[:, predicted])


def check(
    asked: Perturbation, formula: Formula, model: Model, x: NDArray[Any], norm: str = "linf", tolerance: float = 1e-6
) -> Result:
    """No variables of a fine sweep are an adversary below the proven; the witness is one, by formula and by replay."""
    found = asked.distance(norm, tolerance=tolerance)
    base, count = x.reshape(-1).astype(np.float64), asked.model.input_shape[0]
    low, high = asked.model.limits
    if count == 1:
        variables: FloatArray = np.linspace(low, high, 20001)
    else:
        variables = np.random.default_rng(0).uniform(low, high, size=(20000, count))
        variables *= np.random.default_rng(1).random((20000, 1))
    lengths = found.norm.length(variables)
    nearest = lengths[flips(model, formula(base, variables), found.predicted)].min(initial=np.inf)
    assert found.verdict is Verdict.EXACT
    assert found.lower <= nearest + 1e-9
    if nearest == np.inf:
        assert found.adversary is None or count > 1
        return found
    assert found.adversary is not None
    v = found.adversary.input
    assert ((v >= low) & (v <= high)).all()
    assert found.upper == pytest.approx(float(found.norm.length(v.reshape(-1).astype(np.float64))))
    image = asked.image(v)
    assert image.shape == x.shape
    assert image.dtype == x.dtype
    np.testing.assert_allclose(image.reshape(1, -1), formula(base, v[None]), atol=1e-7)
    assert np.argmax(model.scores(image.reshape(1, -1))[0]) == found.adversary.label != found.predicted
    assert flips(model, formula(base, v[None]), found.predicted).all()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["brightness", "contrast", "haze"])
@pytest.mark.parametrize("seed", [1, 7, 9])  # of the first, no change is large enough
@pytest.mark.fewer(2)
def test_one_variable_against_a_sweep(name: str, seed: int, tmp_path: Path) -> None:
    model, x = small(tmp_path, seed)
    asked = ASKED[name](model, x)
    found = check(asked, FORMULAS[name], model, x)
    if np.isfinite(found.upper):
        assert asked.verify(0.98 * found.upper).verdict is Verdict.CERTIFIED
        assert asked.verify(1.02 * found.upper).verdict is Verdict.FALSIFIED
    else:
        assert asked.verify().verdict is Verdict.CERTIFIED


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_a_field_of_three_variables(norm: str, tmp_path: Path) -> None:
    model, x = small(tmp_path, 9)
    check(ASKED["bias field"](model, x), FORMULAS["bias field"], model, x, norm, tolerance=1e-3)


def test_a_file_of_doubles(tmp_path: Path) -> None:
    model, x = small(tmp_path, 9, np.float64)
    check(brightness(model, x), FORMULAS["brightness"], model, x)


def test_brightness_by_hand(tmp_path: Path) -> None:
    """Scores (x1, 2 x2 - 1): from (1/2, 1/4) the first input stops at 1, and the second passes it at 1 too: never.

    With 2 x2 - 3/4 the second needs 2 (1/4 + v) - 3/4 ≥ min(1, 1/2 + v): at v = 5/8, past where the first stops.
    """
    x = np.array([0.5, 0.25], dtype=np.float32)
    for bias, expected in ((-1.0, np.inf), (-0.75, 0.625)):
        graph = affine_chain([np.array([[1.0, 0.0], [0.0, 2.0]])], [np.array([0.0, bias])])
        model = load(to_onnx(graph, tmp_path / f"hand{bias}.onnx"))
        found = brightness(model, x).distance()
        assert found.lower <= expected <= found.upper
        if np.isfinite(expected):
            assert found.upper == pytest.approx(expected, abs=1e-5)
            assert found.adversary is not None
            assert found.adversary.input == pytest.approx([expected], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.fewer(1)
def test_a_patch_is_a_mask(norm: str, tmp_path: Path) -> None:
    model, x = small(tmp_path, 1)
    mask = np.zeros((1, 3, 3), dtype=bool)
    mask[:, 1:3, 0:2] = True
    asked = patch(model, x, top=1, left=0, height=2, width=2)
    found, plain = asked.distance(norm), distance(model, x, norm=norm, mask=mask)
    assert found.verdict is plain.verdict is Verdict.EXACT
    assert found.upper == pytest.approx(plain.upper, abs=3e-6)
    everything = asked.verify(norm=norm).verdict
    assert everything is (Verdict.FALSIFIED if np.isfinite(plain.upper) else Verdict.CERTIFIED)
    if found.adversary is not None:
        image = asked.image(found.adversary.input)
        np.testing.assert_array_equal(image[~mask], x[~mask])


def test_the_sample_stands_at_zero_and_the_box_clips(tmp_path: Path) -> None:
    model, x = small(tmp_path, 1)
    for make in ASKED.values():
        asked = make(model, x)
        np.testing.assert_array_equal(asked.image(asked.start), x)
    assert (plumbline.perturbations.brightness(model, x).image([1.0]) == 1).all()
    assert (contrast(model, x).image([-1.0]) == 0.5).all()
    assert (haze(model, x, colour=0.25).image([1.0]) == 0.25).all()
    # Where no pixel can leave the box there is nothing to clip, and no ReLU for it.
    own = sum(model.graph.nodes[k].size for k in model.graph.relus)
    hazy = haze(model, x).model.graph
    assert sum(hazy.nodes[k].size for k in hazy.relus) == own


@pytest.mark.slow
def test_units_and_constraints_of_variables(tmp_path: Path) -> None:
    model, x = small(tmp_path, 9)
    asked = brightness(model, x)
    plain = asked.distance("l1")
    assert plain.adversary is not None
    halved = asked.distance("l1", scale=[2.0])
    assert halved.upper == pytest.approx(plain.upper / 2, abs=2e-6)
    # Only shifts to the side where the nearest is not.
    side = float(np.sign(plain.adversary.input[0]))
    other = asked.distance("l1", constraints=([[side]], [0.0]))
    shifts = -side * np.linspace(0.0, 1.0, 20001)[:, None]
    flipped = flips(model, FORMULAS["brightness"](x.reshape(-1).astype(np.float64), shifts), plain.predicted)
    nearest = np.abs(shifts[flipped]).min(initial=np.inf)
    assert plain.lower < other.lower <= nearest + 1e-9
    assert other.upper == (pytest.approx(nearest, abs=1e-4) if nearest < np.inf else np.inf)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda m, x: brightness(m, x).distance(box=(0, 1)), "the box of a perturbation"),
        (lambda m, x: brightness(m, x).distance(grid=4), "a perturbation has real variables"),
        (lambda m, x: brightness(m, x).distance(execution="float64"), "a perturbation has real variables"),
        (lambda m, x: brightness(m, x[:, :2]), "does not fit the model's input"),
        (lambda m, x: brightness(m, x + 1), "outside the box"),
        (lambda m, x: brightness(m, x, box=(1, 0)), "lower one first"),
        (lambda m, x: brightness(m, x).image([1.0, 2.0]), "2 values do not fit"),
        (lambda m, x: contrast(m, x, most=-1.0), "contrast: give"),
        (lambda m, x: haze(m, x, colour=2.0), "haze: give a colour inside"),
        (lambda m, x: haze(m, x, colour=[1.0, 0.0]), "haze: give a colour that numpy"),
        (lambda m, x: patch(m, x, 0, 2, 1, 2), "patch: give a rectangle"),
        (lambda m, x: bias_field(m, x, degree=-1), "degree -1"),
        (lambda m, x: bias_field(m, x, most=0.0), "bias field: give"),
    ],
)
def test_what_is_refused(ask: Callable[[Model, NDArray[Any]], Any], words: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, OptionError), match=words):
        ask(*small(tmp_path, 1))


def test_another_process_makes_the_same_view(tmp_path: Path) -> None:
    model, x = small(tmp_path, 1)
    view = brightness(model, x).model
    again = pickle.loads(pickle.dumps(view))
    points = np.array([[0.0], [0.25], [-0.5]])
    np.testing.assert_array_equal(again.scores(points), view.scores(points))
    np.testing.assert_array_equal(again.real(points), view.real(points))
