"""Samples, labels and masks: what is fitted, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from encoders.errors import DataError
from trainers.datasets import digits
from verifier.question.sample_values import sample_of
from verifier.runs.samples import Samples, check_box, load_mask, load_samples, parse_samples


def saved(tmp_path: Path, **arrays: Any) -> str:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return str(path)


def test_digits_come_by_name_in_the_shape_of_the_model() -> None:
    flat, image = load_samples("digits", (64,), 10), load_samples("digits", (1, 8, 8), 10)
    assert flat.x.shape == (397, 64)
    assert image.x.shape == (397, 1, 8, 8)
    np.testing.assert_array_equal(image.x.reshape(397, 64), flat.x)
    assert [flat.label(i) for i in range(397)] == digits("test").y.tolist()


def test_uint8_is_divided_by_255_in_float32_and_floats_stay(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(64, 4)
    loaded = load_samples(saved(tmp_path, x=pixels), (4,), 10).x
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded.ravel(), np.arange(256).astype(np.float32) / np.float32(255))
    values = np.array([[-3.5, 0.25]])
    np.testing.assert_array_equal(load_samples(saved(tmp_path, x=values), (2,), 10).x, values)


def test_a_model_of_doubles_has_its_samples_in_doubles(tmp_path: Path) -> None:
    values = np.array([[0.1, 0.1 + 2.0**-50]])
    loaded = load_samples(saved(tmp_path, x=values), (2,), 10, np.float64).x
    assert loaded.dtype == np.float64
    assert loaded.tolist() == values.tolist()
    pixels = load_samples(saved(tmp_path, x=np.array([[1, 255]], dtype=np.uint8)), (2,), 10, np.float64).x
    assert pixels.tolist() == [[1 / 255, 1.0]]


def test_npy_and_a_single_sample(tmp_path: Path) -> None:
    path = tmp_path / "one.npy"
    np.save(path, np.arange(6, dtype=np.float32).reshape(2, 3))
    samples = load_samples(str(path), (1, 2, 3), 10)
    assert samples.x.shape == (1, 1, 2, 3)
    assert samples.y is None
    assert samples.label(0) is None
    assert load_samples(str(path), (3,), 10).x.shape == (2, 3)


def test_channels_move_where_the_model_wants_them(tmp_path: Path) -> None:
    last = np.random.default_rng(0).random((2, 4, 5, 3)).astype(np.float32)
    first = load_samples(saved(tmp_path, x=last), (3, 4, 5), 10).x
    np.testing.assert_array_equal(first, np.moveaxis(last, 3, 1))
    back = load_samples(saved(tmp_path, x=first), (4, 5, 3), 10).x
    np.testing.assert_array_equal(back, last)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 7), np.float32)}, r"\(7,\).*\(2, 3\)"),
        ({"x": np.zeros((0, 6), np.float32)}, r"empty.*\(0, 6\)"),
        ({"x": np.float32(1)}, "empty|do not fit"),
        ({"z": np.zeros((2, 6))}, "no array called x, only: z"),
        ({"x": np.zeros((2, 6), np.int64)}, "int64.*uint8"),
        ({"x": np.array([[0, 1, 2, 3, 4, np.nan]])}, r"NaN.*\(0, 5\)"),
        ({"x": np.full((1, 6), 1e300)}, "infinite"),
        ({"x": np.zeros((2, 6)), "y": np.array([0, 3])}, "label 3 of sample 1.*has 3"),
        ({"x": np.zeros((2, 6)), "y": np.array([-1, 0])}, "label -1 of sample 0"),
        ({"x": np.zeros((2, 6)), "y": np.array([0])}, r"shape \(1,\).*each of 2"),
        ({"x": np.zeros((2, 6)), "y": np.array([0.0, 1.0])}, "float64"),
        ({"x": np.array([[None] * 6])}, "pickle"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_samples(saved(tmp_path, **arrays), (2, 3), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["broken.npz", "broken.npy"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"\x93NUMPY\x01\x00", b"hello"])
def test_broken_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_samples(str(path), (6,), 3)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, x=np.zeros((20, 6))))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="not a readable numpy file"):
        load_samples(str(path), (6,), 3)


def test_an_array_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.npy"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 6), }".ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match=r"huge\.npy"):
        load_samples(str(path), (6,), 3)


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(DataError, match=r"nmist: give a data set \(digits, mnist"):
        load_samples("nmist", (6,), 3)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (None, (0, 1, 2, 3, 4)),
        ("0:2", (0, 1)),
        (":2", (0, 1)),
        ("3:", (3, 4)),
        ("3,0,3", (3, 0)),
        ("4,0:2", (4, 0, 1)),
        ("::2", (0, 2, 4)),
        ("1:5:3,0", (1, 4, 0)),
    ],
)
def test_samples_by_hand(text: str | None, chosen: tuple[int, ...]) -> None:
    assert parse_samples(text, 5) == chosen


@pytest.mark.parametrize(
    "text", ["", "2:2", "3:1", "5", "0:6", "-1", "a", "1,,2", "0:4:0", "0:4:x", "0:4:2:1", "1.5", "5:"]
)
def test_bad_samples_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="samples"):
        parse_samples(text, 5)


@given(st.integers(1, 30), st.data())
def test_a_range_is_pythons_range(count: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, count - 1))
    past = data.draw(st.integers(first + 1, count))
    assert parse_samples(f"{first}:{past}", count) == tuple(range(first, past))


@pytest.mark.parametrize("height", [1, 2])
def test_an_image_alone_may_have_its_channels_last(height: int) -> None:
    x = np.arange(3.0 * height * 2).reshape(3, height, 2)
    np.testing.assert_array_equal(sample_of(np.moveaxis(x, 0, 2), x.shape, np.float32), x)
    np.testing.assert_array_equal(sample_of(x[None], x.shape, np.float32), x)


def test_masks_per_input_and_per_pixel(tmp_path: Path) -> None:
    pixels = np.array([[True, False], [False, True]])
    path = tmp_path / "mask.npy"
    np.save(path, pixels)
    np.testing.assert_array_equal(load_mask(path, (4,)), [True, False, False, True])
    np.testing.assert_array_equal(load_mask(path, (3, 2, 2)), np.stack([pixels] * 3))
    full = np.arange(12).reshape(3, 2, 2) % 2
    np.savez(tmp_path / "mask.npz", other=pixels, mask=full.astype(np.uint8))
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.npz", (3, 2, 2)), full == 1)
    np.save(path, np.moveaxis(full, 0, 2))  # as a sample with its channels last
    np.testing.assert_array_equal(load_mask(path, (3, 2, 2)), full == 1)
    Image.fromarray(pixels.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png", (1, 2, 2)), pixels[None])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(4, bool), "no input move"),
        (np.ones(5, bool), r"\(5,\).*\(1, 2, 2\)"),
        (np.full(4, 0.5), "float64"),
        (np.array([0, 1, 2, 1]), "int64"),
    ],
)
def test_bad_masks_are_refused(tmp_path: Path, mask: NDArray[Any], message: str) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, mask)
    with pytest.raises(DataError, match=message):
        load_mask(path, (1, 2, 2))


def test_masks_from_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="not a readable PNG"):
        load_mask(path, (4,))
    with pytest.raises(DataError, match=r"an \.npy, \.npz or \.png"):
        load_mask(tmp_path / "mask.txt", (4,))
    np.savez(tmp_path / "two.npz", a=np.ones(4, bool), b=np.ones(4, bool))
    with pytest.raises(DataError, match="several arrays"):
        load_mask(tmp_path / "two.npz", (4,))


def test_the_first_sample_outside_the_box_is_named() -> None:
    samples = Samples("here", np.array([[0.0, 2.0], [0.0, 1.0], [-0.5, 1.0]], np.float32), None)
    check_box(samples, (1,), (0.0, 1.0))
    check_box(samples, (0, 1, 2), (-0.5, 2.0))
    with pytest.raises(DataError, match=r"sample 2 holds values from -0\.5 to 1"):
        check_box(samples, (1, 2, 0), (0.0, 1.0))


def test_the_digest_sees_values_labels_and_shapes() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y = np.array([0, 1])
    variants = [
        Samples("a", x, y),
        Samples("a", x, None),
        Samples("a", x, y[::-1].copy()),
        Samples("a", x + 1, y),
        Samples("a", x.reshape(1, 6), y),
    ]
    assert len({samples.digest for samples in variants}) == len(variants)
    assert Samples("b", x.copy(), y.copy()).digest == variants[0].digest
