"""Adversaries on the disk: arrays that say it all, and strips that show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from verifier.question.input_shape import image_shape
from verifier.question.results import Adversary
from verifier.runs.saved_adversary import GAP, SIDE, as_image, save_adversary, strip


def adversary(values: list[float]) -> Adversary:
    return Adversary(np.array(values, np.float32), 0.5, 1, np.array([0.25, 0.75]), "fab")


def test_arrays_and_picture_of_a_two_by_two_image(tmp_path: Path) -> None:
    # original  0   1      adversary  0.5  1       difference  0.5   0      magnified: white     grey
    #           0.5 0.5               0.25 0.5                -0.25  0                 a quarter grey
    original = np.array([[[0, 1], [0.5, 0.5]]], np.float32)
    written = save_adversary(tmp_path / "new", 7, original, adversary([0.5, 1, 0.25, 0.5]), (0.0, 1.0))
    assert [path.name for path in written] == ["adversary-7.npz", "adversary-7.png"]
    with np.load(written[0]) as arrays:
        np.testing.assert_array_equal(arrays["original"], original)
        np.testing.assert_array_equal(arrays["adversary"], [[[0.5, 1], [0.25, 0.5]]])
        np.testing.assert_array_equal(arrays["difference"], [[[0.5, 0], [-0.25, 0]]])
        np.testing.assert_array_equal(arrays["scores"], [0.25, 0.75])
        assert (int(arrays["label"]), float(arrays["distance"])) == (1, 0.5)
    with Image.open(written[1]) as picture:
        assert picture.size == (3 * SIDE + 2 * GAP, SIDE)
        near, far = SIDE // 4, 3 * SIDE // 4
        second, third = SIDE + GAP, 2 * (SIDE + GAP)
        shown = {
            x: [picture.getpixel((x + dx, dy)) for dy in (near, far) for dx in (near, far)] for x in (0, second, third)
        }
    assert shown[0] == [(v, v, v) for v in (0, 255, 128, 128)]
    assert shown[second] == [(v, v, v) for v in (128, 255, 64, 128)]
    assert shown[third] == [(v, v, v) for v in (255, 128, 64, 128)]


def test_colours_keep_their_channel() -> None:
    # two pixels, the left red, the right green: channels first, then channels last
    first = as_image(np.array([1, 0, 0, 1, 0, 0]), (3, 1, 2))
    last = as_image(np.array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), (2, 2, 3))
    assert first.tolist() == [[[1, 0, 0], [0, 1, 0]]]
    assert last[0].tolist() == first[0].tolist()


def test_the_box_sets_the_scale_and_no_change_is_grey() -> None:
    image = as_image(np.array([-1.0, 3.0, 1.0, 1.0]), (2, 2))
    panels = strip(image, image, (-1.0, 3.0))
    assert panels[0, 0, 0] == 0
    assert panels[0, SIDE - 1, 0] == 255
    assert (panels[:, -SIDE:] == 128).all()
    assert strip(image, image, (1.0, 1.0)).shape == panels.shape


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((64,), (8, 8)),
        ((1, 64), (8, 8)),
        ((1, 8, 8), (1, 8, 8)),
        ((8, 6, 3), (8, 6, 3)),
        ((3, 32, 32), (3, 32, 32)),
        ((5, 6), (5, 6)),
        ((63,), None),
        ((1,), None),
        ((2, 4, 4), None),
        ((4, 2, 2, 2), None),
    ],
)
def test_what_looks_like_an_image(shape: tuple[int, ...], image: tuple[int, ...] | None) -> None:
    assert image_shape(shape) == image


def test_what_does_not_look_like_an_image_keeps_its_arrays(tmp_path: Path) -> None:
    written = save_adversary(tmp_path, 0, np.zeros(3, np.float32), adversary([0, 0, 0.5]), (0.0, 1.0))
    assert [path.name for path in written] == ["adversary-0.npz"]
    assert [path.name for path in tmp_path.iterdir()] == ["adversary-0.npz"]
