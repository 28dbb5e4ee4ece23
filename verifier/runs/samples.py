"""Samples, labels and masks from files or by name, fitted to a model's input or refused in one line."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, Inputs, InputType, digest
from encoders.errors import DataError, OptionError
from encoders.input_constraints import InputConstraints, checked_constraints, checked_scale
from encoders.plugins import PLACE
from trainers import datasets
from verifier.question.sample_values import batch_of, mask_of, numbers_of

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs [N, *input_shape] in the type that a model takes, with labels where they are known."""

    name: str
    x: Inputs
    y: NDArray[np.int64] | None

    @property
    def count(self) -> int:
        return len(self.x)

    @property
    def digest(self) -> str:
        """Tells two data sets apart, whatever file they come from."""
        return digest(self.x, *([] if self.y is None else [self.y]))

    def label(self, index: int) -> int | None:
        return None if self.y is None else int(self.y[index])


def load_samples(
    source: str,
    input_shape: tuple[int, ...],
    classes: int | None,
    kind: InputType = np.float32,
    split: str = "test",
    place: datasets.Place | None = None,
) -> Samples:
    """The samples that `--data` names: a data set's split, an .npz with `x` (and `y`), or an .npy of inputs.

    They are rounded to `kind`, the type that the model takes, and no further. Where the question is about no `classes`,
    `y` is left out.
    """
    x, y = _arrays(source, split, place)
    if classes is None:
        return fitted_samples(source, x, None, input_shape, 0, kind)
    return fitted_samples(source, x, y, input_shape, classes, kind)


def load_labelled(
    source: str, split: str = "test", place: datasets.Place | None = None
) -> tuple[Inputs, NDArray[np.int64] | None]:
    """Inputs as they are, and labels where they are known: a split of a data set, or all of an .npz."""
    x, y = _arrays(source, split, place)
    pixels = numbers_of(source, x, np.float32)
    if pixels.ndim < 2 or not len(pixels):
        raise DataError(f"{source}: x of shape {x.shape} holds no samples; give it a first axis that counts them")
    if y is None:
        return pixels, None
    classes = int(y.max(initial=0)) + 1 if y.dtype.kind in "ui" else 0
    return pixels, _labels(source, y, len(pixels), classes)


def _arrays(source: str, split: str = "test", place: datasets.Place | None = None) -> tuple[Array, Array | None]:
    """What a file or a data set holds, unchanged."""
    if Path(source).suffix.lower() in (".npz", ".npy"):
        arrays = _read(Path(source))
        if "x" not in arrays:
            raise DataError(f"{source}: holds no array called x, only: {', '.join(sorted(arrays)) or 'nothing'}")
        return arrays["x"], arrays.get("y")
    if source in datasets.SOURCES.names() or PLACE.fullmatch(source):
        dataset = datasets.load(source, split, place)
        return dataset.x, dataset.y
    known = ", ".join(datasets.SOURCES.names())
    raise DataError(f"{source}: give a data set ({known}), an .npz with x and, if known, y, or an .npy")


def origin_of(source: str) -> dict[str, str]:
    """Where a data set comes from, if it is a plugin."""
    return {} if Path(source).suffix.lower() in (".npz", ".npy") else datasets.SOURCES.origins([source])


def fitted_samples(
    source: str,
    x: Array,
    y: Array | None,
    input_shape: tuple[int, ...],
    classes: int,
    kind: InputType = np.float32,
) -> Samples:
    """Arrays as samples of a model; `source` is what errors call them."""
    fitted = batch_of(source, numbers_of(source, x, kind), input_shape)
    return Samples(source, fitted, None if y is None else _labels(source, y, len(fitted), classes))


def load_mask(path: Path, input_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which inputs may move: an .npy, .npz or .png that is true per input, or per pixel and then for every channel."""
    if path.suffix.lower() == ".png":
        mask = _read_png(path)
    elif path.suffix.lower() in (".npy", ".npz"):
        mask = _one_array(path, "mask")
    else:
        raise DataError(f"{path}: a mask is an .npy, .npz or .png file")
    free = mask_of(str(path), mask, input_shape)
    if not free.any():
        raise DataError(f"{path}: this mask lets no input move; mark with true those that may")
    return free


def load_grid(path: Path) -> Array:
    """How many levels per unit each input has: an .npy, or an .npz with one array or one called grid."""
    if path.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{path}: a grid is a whole number (255 for 8-bit images), or an .npy or .npz file of them")
    return _one_array(path, "grid")


def load_scale(path: Path, input_shape: tuple[int, ...]) -> FloatArray:
    """The unit that each input's moves are counted in: an .npy, or an .npz with one array or one called scale."""
    if path.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{path}: a scale is an .npy or .npz file, a positive number for each input")
    with _named(path):
        scale = checked_scale(_one_array(path, "scale"))
    if scale.size != math.prod(input_shape):
        raise DataError(f"{path}: a scale of {scale.size} entries does not fit the model's input {input_shape}")
    return scale


def load_constraints(path: Path, input_shape: tuple[int, ...]) -> InputConstraints:
    """A x ≤ b on the input: an .npz with A, a row for each constraint and a column for each input, and b."""
    arrays = _read(path)
    if not {"A", "b"} <= set(arrays):
        raise DataError(f"{path}: constraints are an .npz with A and b, for A x ≤ b; this holds {', '.join(arrays)}")
    with _named(path):
        constraints = checked_constraints((arrays["A"], arrays["b"]))
    columns, size = constraints.matrix.shape[1], math.prod(input_shape)
    if columns != size:
        raise DataError(f"{path}: constraints on {columns} inputs do not fit the model's input {input_shape}")
    return constraints


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What is refused inside is refused with the file's name."""
    try:
        yield
    except OptionError as error:
        raise DataError(f"{path}: {error}") from None


def _one_array(path: Path, name: str) -> Array:
    """The one array of a file, or the one of that name."""
    arrays = _read(path)
    if name not in arrays and len(arrays) != 1:
        raise DataError(f"{path}: holds several arrays and none is called {name}: {', '.join(sorted(arrays))}")
    return arrays[name] if name in arrays else next(iter(arrays.values()))


def parse_samples(text: str | None, count: int) -> tuple[int, ...]:
    """Indices from `0:100`, `0:100:5` (every fifth), `3,8,11` or a mixture, in the order given; all for None."""
    if text is None:
        return tuple(range(count))
    chosen: dict[int, None] = {}
    for part, first, end, step in _ranges(text):
        past = count if end is None else end
        if first < 0 or past > count:
            raise DataError(f"samples {text!r}: the data holds {count} samples, 0 to {count - 1}")
        if first >= past:
            raise DataError(f"samples {text!r}: the range {part} is empty")
        chosen |= dict.fromkeys(range(first, past, step))
    return tuple(chosen)


def check_samples(text: str) -> str:
    """The text itself, where it can be read, whatever the data holds."""
    list(_ranges(text))
    return text


def _ranges(text: str) -> Iterator[tuple[str, int, int | None, int]]:
    """Each part of the text with its first number, the one past its last (None: all there are) and its stride."""
    for part in map(str.strip, text.split(",")):
        begin, colon, rest = part.partition(":")
        end, stepped, stride = rest.partition(":")
        try:
            first = int(begin) if begin or not colon else 0
            past = (int(end) if end else None) if colon else first + 1
            step = int(stride) if stepped else 1
            if step < 1:
                raise ValueError
        except ValueError:
            raise DataError(f"samples {text!r}: write a range such as 0:100, or numbers such as 3,8,11") from None
        yield part, first, past, step


def check_box(samples: Samples, indices: tuple[int, ...], box: tuple[float, float]) -> None:
    """Every chosen sample lies in the box, or the first that does not is named before anything is computed."""
    for index in indices:
        low, high = float(samples.x[index].min()), float(samples.x[index].max())
        if low < box[0] or high > box[1]:
            raise DataError(
                f"sample {index} holds values from {low:g} to {high:g}, outside the box {box[0]:g},{box[1]:g}; "
                f"give a wider box, or scale the data"
            )


def _read(path: Path) -> dict[str, Array]:
    """All arrays of an .npz, or of an .npy under the name x; never unpickles."""
    _check_there(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except TypeError:  # an .npy is an array, and no context manager
        pass
    except (ValueError, EOFError, MemoryError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _broken(path, error) from None
    try:
        return {"x": np.asarray(np.load(path, allow_pickle=False))}
    except (ValueError, EOFError, MemoryError) as error:
        raise _broken(path, error) from None


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file")


def _broken(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: not a readable numpy file without pickled objects ({reason})")


def readable(path: Path) -> None:
    """Refuse an .npy, .npz or .png that cannot be read."""
    _ = _read_png(path) if path.suffix.lower() == ".png" else _read(path)


def _read_png(path: Path) -> Array:
    from PIL import Image, UnidentifiedImageError

    _check_there(path)
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L")) > 0
    except (UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable PNG ({error})") from None


def _labels(source: str, y: Array, count: int, classes: int) -> NDArray[np.int64]:
    if y.dtype.kind not in "ui" or y.size != count:
        raise DataError(f"{source}: y holds {y.dtype} of shape {y.shape}; give one whole number for each of {count} x")
    labels = y.reshape(-1)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(f"{source}: label {labels[first]} of sample {first} is not a class: the model has {classes}")
    return labels.astype(np.int64)
