"""Pictures of the same few samples under every network: gradients, nearest and large adversaries, paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import Inputs
from encoders.question import Norm
from trainers.adversarial import ascend
from verifier.pages.chart_style import Frame, mark
from verifier.pages.charts import Line, line_chart
from verifier.pages.page import Section, Table
from verifier.pages.pictures import picture, signed_picture
from verifier.pages.wording import NAMES, above, bracket, nearest
from verifier.question.model import Model
from verifier.runs.samples import Samples
from verifier.studies.comparison.measure import Measured
from verifier.studies.data_scale.distances import Scale

LARGE_STEPS = 40
PATH = np.linspace(0.0, 2.0, 9)  # 0 is the image, 1 its nearest adversary
LARGE_PATH = np.linspace(0.0, 1.0, 6)  # 0 is the image, 1 its large adversary
FINE = np.linspace(0.0, 2.0, 81)


def gallery(
    norms: Sequence[Sequence[Measured]], samples: Samples, count: int, scales: Sequence[Scale], baseline: str
) -> Iterator[Section]:
    """Pictures of at most `count` samples in each norm; the first has those that know no norm too."""
    for measured in norms:
        chosen = chosen_samples(measured, count)
        if not chosen:
            continue
        if measured is norms[0]:
            yield gradients(measured, samples, chosen)
            radius = large_radius(scales)
            if radius is not None:
                yield large_adversaries(measured, samples, chosen, radius)
                yield large_paths(extremes(measured, baseline), samples, chosen, radius)
        yield nearest_adversaries(measured, samples, chosen)
        yield paths(measured, samples, chosen[0])


def chosen_samples(measured: Sequence[Measured], count: int) -> list[int]:
    """The first samples that every network classifies right and has an adversary for."""
    shared = [
        index
        for k, index in enumerate(measured[0].indices)
        if all(one.correct[k] and index in one.adversaries for one in measured)
    ]
    return shared[:count]


def _label(samples: Samples, model: Model, index: int) -> int:
    """The sample's class; what the network reads where it is not known."""
    label = samples.label(index)
    return int(model.scores(samples.x[index].reshape(1, -1)).argmax()) if label is None else label


def gradient(model: Model, x: Inputs, label: int) -> NDArray[Any]:
    """The gradient of the cross-entropy at x, pixel by pixel."""
    point = torch.as_tensor(x.reshape(1, -1), dtype=torch.float64).requires_grad_()
    loss = functional.cross_entropy(device_graph_for(model.graph).forward(point), torch.tensor([label]))
    (found,) = torch.autograd.grad(loss, point)
    return np.asarray(found.numpy()[0])


def large(model: Model, x: Inputs, label: int, norm: Norm, radius: float) -> NDArray[Any]:
    """Where the loss is largest within a large radius: what the network takes another class to look like."""
    point = torch.as_tensor(x.reshape(1, -1), dtype=torch.float64)
    device_graph = device_graph_for(model.graph)
    moved = ascend(device_graph.forward, point, torch.tensor([label]), norm, radius, LARGE_STEPS, start=False)
    return np.asarray(moved.numpy()[0])


def gradients(measured: Sequence[Measured], samples: Samples, chosen: Sequence[int]) -> Section:
    """A row for each sample: the image, then the loss gradient of every network."""
    told = "The gradient of the loss at each pixel, each scaled by its largest entry; mid-grey is zero."
    rows = []
    for index in chosen:
        x, shape = samples.x[index], samples.x.shape[1:]
        cells: list[Any] = [picture(x, shape, f"sample {index}")]
        for one in measured:
            model = one.subject.model()
            cells.append(signed_picture(gradient(model, x, _label(samples, model, index)), shape))
        rows.append(cells)
    return Section("Input gradients", told, _beside(measured, rows))


def nearest_adversaries(measured: Sequence[Measured], samples: Samples, chosen: Sequence[int]) -> Section:
    """The nearest adversaries of the same image side by side, and below each what was changed."""
    word = _word(measured, chosen)
    told = f"The {'nearest' if word == 'exact' else word} adversary of the same image under each network, its class "
    told += "and distance (between what is proven and its own, where that is open); below, the change."
    rows = []
    for index in chosen:
        x, shape = samples.x[index], samples.x.shape[1:]
        first: list[Any] = [picture(x, shape, f"class {_label(samples, measured[0].subject.model(), index)}")]
        second: list[Any] = ["change"]
        for one in measured:
            adversary = one.adversaries[index]
            read = int(one.subject.model().scores(adversary[None]).argmax())
            place = one.indices.index(index)
            held = f"at {above(one.upper[place])}"
            if one.open[place]:
                held = f"open: {bracket(one.lower[place], one.upper[place])}"
            first.append(picture(adversary, shape, f"{read}, {held}"))
            second.append(signed_picture(adversary - x.reshape(-1), shape))
        rows += [first, second]
    return Section(f"{_heading(word)} adversaries, {NAMES[measured[0].norm]}", told, _beside(measured, rows))


def large_radius(scales: Sequence[Scale]) -> float | None:
    """The L2 distance at which the data itself has another class, where that is known."""
    found = next((one for one in scales if one.norm is Norm.L2 and np.isfinite(one.other).any()), None)
    return None if found is None else float(np.median(found.other))


def extremes(measured: Sequence[Measured], baseline: str) -> list[Measured]:
    """The baseline's network, where there is one, and of the others the one with the largest mean distance proven."""
    plain = [one for one in measured if one.subject.family == baseline][:1]
    others = [one for one in measured if one.subject.family != baseline]
    return [*plain, *sorted(others, key=lambda one: -float(one.lower.mean()))[:1]]


def large_adversaries(measured: Sequence[Measured], samples: Samples, chosen: Sequence[int], radius: float) -> Section:
    """Adversaries at a distance where the data itself has another class."""
    told = (
        f"Where {LARGE_STEPS} gradient steps lead within an L2 radius of {radius:.3g}, the median distance to the "
        "nearest sample of another class."
    )
    rows = []
    for index in chosen:
        x, shape = samples.x[index], samples.x.shape[1:]
        cells: list[Any] = [picture(x, shape, f"sample {index}")]
        for one in measured:
            model = one.subject.model()
            moved = large(model, x, _label(samples, model, index), Norm.L2, radius)
            cells.append(picture(moved, shape, f"{int(model.scores(moved[None].astype(np.float32)).argmax())}"))
        rows.append(cells)
    return Section("Large adversaries", told, _beside(measured, rows))


def large_paths(measured: Sequence[Measured], samples: Samples, chosen: Sequence[int], radius: float) -> Section:
    """From each image straight to its large adversary, a row for each network, after the gradient at the image."""
    names = " and ".join(one.subject.variant for one in measured)
    told = (
        f"The images under {names}: the gradient of the loss, then straight from the image to where {LARGE_STEPS} "
        f"gradient steps lead within an L2 radius of {radius:.3g}; below each frame the class that is read there."
    )
    rows = []
    for index in chosen:
        x, shape = samples.x[index].reshape(-1), samples.x.shape[1:]
        for one in measured:
            model = one.subject.model()
            label = _label(samples, model, index)
            change = large(model, x, label, Norm.L2, radius) - x
            frames = np.asarray(x + LARGE_PATH[:, None] * change, np.float32)
            read = model.scores(frames).argmax(1)
            rows.append([
                f"sample {index}, {one.subject.variant}", signed_picture(gradient(model, x, label), shape),
                *(picture(frame, shape, str(int(k))) for frame, k in zip(frames, read, strict=True)),
            ])  # fmt: skip
    header = ["network", "gradient", *(f"{t:.0%}" for t in LARGE_PATH)]
    return Section("Paths to large adversaries", told, Table(header, rows))


def paths(measured: Sequence[Measured], samples: Samples, index: int) -> Section:
    """From one image straight through its nearest adversary, and as far again: pictures and probabilities."""
    word = _word(measured, [index])
    told = f"Sample {index}: 0 is the image, 1 its {word} adversary, 2 as far again (clipped to [0, 1])."
    x, shape = samples.x[index].reshape(-1), samples.x.shape[1:]
    rows, charts = [], []
    for one in measured:
        change = one.adversaries[index] - x
        rows.append([one.subject.variant, *(picture(np.clip(x + t * change, 0, 1), shape, f"{t:g}") for t in PATH)])
        model = one.subject.model()
        points = np.clip(x + FINE[:, None] * change, 0, 1).astype(np.float32)
        scores = model.scores(points)
        chances = np.exp(scores - scores.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        own = int(scores[0].argmax())
        target = int(model.scores(one.adversaries[index][None]).argmax())
        lines = [
            Line(f"class {own}", FINE, chances[:, own], mark(0)),
            Line(f"class {target}", FINE, chances[:, target], mark(1)),
        ]
        charts.append(
            line_chart(Frame(one.subject.variant, "along the path", "probability", 260, 170, y_range=(0, 1)), lines)
        )
    table = Table(["network", *[""] * len(PATH)], rows)
    return Section(f"From an image to its adversary, {NAMES[measured[0].norm]}", told, table, charts)


def _word(measured: Sequence[Measured], chosen: Sequence[int]) -> str:
    """What the adversaries of these samples are called."""
    return nearest(any(bool(one.open[one.indices.index(index)]) for one in measured for index in chosen))


def _heading(word: str) -> str:
    return word[:1].upper() + word[1:]


def _beside(measured: Sequence[Measured], rows: Sequence[Sequence[Any]]) -> Table:
    return Table(["image", *(one.subject.variant for one in measured)], rows)
