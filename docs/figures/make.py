"""Draws the figures of docs/theory into docs/_static, as SVG with its text kept as text.

    python docs/figures/make.py              # all of them
    python docs/figures/make.py envelopes    # one

Where a figure shows a bound, the project's own code computes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from bounds.execution_error import FLOAT32, execution_error
from bounds.geometry.relu_over_simplex import above_relu
from bounds.lower import TECHNIQUES, LowerBoundProblem
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm, Region, goals_for
from trainers.datasets import digits
from verifier import distance, load

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES = REPOSITORY / "docs" / "_static"
NETS = REPOSITORY / "trainers" / "nets"
BLUE, RED, GREEN, GREY = "#4477aa", "#cc3311", "#228833", "#888888"
Array = NDArray[np.float64]


def figure(width: float = 6.4, height: float = 3.2, panels: int = 1) -> list[Axes]:
    """Panels side by side in one figure."""
    _, axes = pyplot.subplots(1, panels, figsize=(width, height), layout="constrained", squeeze=False)
    return list(axes[0])


def bracket() -> None:
    """Every lower bound of one digit's distance, the distance itself, and the search's two sides meeting there."""
    model, data = load(NETS / "digits-64-32-32-10.onnx"), digits()
    x = data.x[1].reshape(-1).astype(np.float64)
    exact = distance(model, data.x[1], norm="linf")
    device_graph = device_graph_for(model.graph)
    region = Region(x, np.zeros_like(x), np.ones_like(x))
    problem = LowerBoundProblem(device_graph, (region,), (exact.predicted,), Norm.LINF, (2.0 * exact.upper,))
    techniques = [one() for one in TECHNIQUES if Norm.LINF in one.norms and one().unsupported(model.graph) is None]
    found = [(one.name, float(one.run(problem).nearest[0])) for one in techniques]
    found.sort(key=lambda pair: pair[1])
    (axes,) = figure(height=3.6)
    axes.barh([name for name, _ in found], [value for _, value in found], color=BLUE)
    axes.axvline(exact.upper, color=RED)
    axes.annotate("exact", (exact.upper, 0), xytext=(4, 0), textcoords="offset points", color=RED)
    axes.set_xlim(0, 1.25 * exact.upper)
    axes.set_xlabel("proven L∞ distance of one digit")


def encoding() -> None:
    """An open neuron: its graph, what big-M leaves once the binary is any number, and what s is."""
    lower, upper = -1.0, 2.0
    (axes,) = figure(width=4.8)
    axes.add_patch(Polygon([(lower, 0), (0, 0), (upper, upper)], color=BLUE, alpha=0.2, label="β between 0 and 1"))
    axes.plot([lower, 0], [0, 0], color=RED, lw=2, label="β = 0: z = 0, s = −h")
    axes.plot([0, upper], [0, upper], color=GREEN, lw=2, label="β = 1: z = h, s = 0")
    axes.set(xlabel="h = w·v + b", ylabel="z", xticks=[lower, 0, upper], xticklabels=["l", "0", "u"])
    axes.legend(loc="upper left", frameon=False)


def crown() -> None:
    """Left: the lines of an open neuron. Right: from a line below the goal to the distance of its half-space."""
    lower, upper = -1.0, 2.0
    left, right = figure(panels=2)
    h = np.linspace(lower, upper, 200)
    left.plot(h, np.maximum(h, 0), color="black", lw=2, label="relu(h)")
    left.plot(h, upper / (upper - lower) * (h - lower), color=RED, label="chord")
    for slope, style in ((1.0, "-"), (0.5, "--"), (0.0, ":")):
        left.plot(h, slope * h, style, color=BLUE, label=f"α = {slope:g}")
    left.set(xlabel="h", xticks=[lower, 0, upper], xticklabels=["l", "0", "u"])
    left.legend(frameon=False, fontsize=8)
    normal, value, radius = np.array([-1.0, -0.6]), 0.8, 0.8
    reach = value / np.abs(normal).sum()
    right.add_patch(Rectangle((-radius, -radius), 2 * radius, 2 * radius, fill=False, ls="--", color=GREY))
    right.add_patch(Rectangle((-reach, -reach), 2 * reach, 2 * reach, color=BLUE, alpha=0.25))
    x = np.array([-0.2, 1.0])
    right.plot(x, (value + normal[0] * x) / -normal[1], color=RED)
    right.plot([0], [0], "k+")
    right.annotate("a·d + k = 0", (0.0, 1.05), color=RED)
    right.annotate("r", (reach, -reach), xytext=(3, 0), textcoords="offset points")
    right.annotate("the ball that is bounded", (-radius, -radius), xytext=(0, -12), textcoords="offset points")
    right.set(xlim=(-1.1, 1.3), ylim=(-1.1, 1.3), aspect="equal", xticks=[], yticks=[])


def envelopes() -> None:
    """A neuron of two inputs over an L1 ball: along each axis the envelope is lower than the chord."""
    weights, constant, radius = np.array([1.0, 0.5]), -0.5, 1.0
    rows = torch.tensor(np.concatenate([weights, -weights]))
    above = above_relu(rows, rows.new_tensor(constant), rows.new_tensor(0.0), rows.new_tensor(radius), 4)
    normal = above.normal.reshape(-1).numpy()
    height = float(above.value.reshape(-1)[0])
    low, high = constant - radius * weights.max(), constant + radius * weights.max()
    axes = figure(panels=2)
    d = np.linspace(-radius, radius, 201)
    for k, one in enumerate(axes):
        h = constant + weights[k] * d
        one.plot(d, np.maximum(h, 0), color="black", lw=2, label="relu(h)")
        one.plot(d, high / (high - low) * (h - low), color=RED, label="chord over [l, u]")
        line = height + normal[k] * np.maximum(d, 0) + normal[2 + k] * np.maximum(-d, 0)
        one.plot(d, line, "--", color=BLUE, lw=2, label="envelope over the ball")
        one.set(xlabel=f"d{k + 1}, the other input at rest", ylim=(-0.05, 0.8))
    axes[0].legend(frameon=False, fontsize=8)
    axes[0].set_title("h = d₁ + d₂/2 − 1/2 on |d₁| + |d₂| ≤ 1", loc="left", fontsize=9)


def output_constrained() -> None:
    """One neuron, worked by hand in its test: what φ ≤ 0 leaves of the ball fixes its phase."""
    radius = 0.9
    graph = affine_chain([np.array([[1.0]]), np.array([[-1.0], [0.0]])], [np.zeros(1), np.array([0.5, 0.0])])
    region = Region(np.zeros(1), -np.ones(1), np.ones(1))
    device_graph = device_graph_for(graph)
    bounds = network_bounds(device_graph, region, Norm.LINF, radius)
    engine = NodeBounds(reduce(device_graph, bounds, goals_for(0, 2, None, 0.0)))
    roots = engine.roots()
    seen = engine.evaluate(roots)
    nodes = on_the_cap(engine, roots, seen, radius)
    d = np.linspace(-radius, radius, 200)
    (axes,) = figure()
    axes.plot(d, 0.5 - np.maximum(d, 0), color="black", lw=2, label="goal: 1/2 − relu(d)")
    line = float(seen.height[0]) + float(seen.normal[0, 0]) * d
    axes.plot(d, line, color=RED, label="φ, a first pass: at most zero at every adversary")
    low, high = float(nodes.lower[0, 0]), float(nodes.upper[0, 0])
    axes.axvspan(low, high, color=BLUE, alpha=0.15, label="{φ ≤ 0}: here relu(d) = d")
    second = engine.evaluate(nodes)
    axes.plot([float(seen.distance[0])], [0], "o", color=RED)
    axes.plot([float(second.distance[0])], [0], "o", color="black")
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(xlabel="d, the input's shift on the ball of radius 0.9")
    axes.legend(frameon=False, fontsize=8)


def cross_lipschitz() -> None:
    """A score's lead along one line, and the fastest that it can fall: everywhere, on the ball, and on smaller ones."""
    d = np.linspace(0, 1, 300)

    def lead(t: Array) -> Array:
        return 1.0 - 0.8 * t - 1.6 * np.maximum(t - 0.45, 0) - 4.0 * np.maximum(t - 0.8, 0)

    (axes,) = figure()
    axes.plot(d, lead(d), color="black", lw=2, label="lead of the predicted class")
    for slope, name, style in ((6.4, "global slope", ":"), (2.4, "slope on a ball of 0.8", "--")):
        axes.plot(d, 1.0 - slope * d, style, color=BLUE, label=f"{name}: distance ≥ {1 / slope:.2f}")
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(ylim=(-0.6, 1.05), xlabel="distance from the sample")
    axes.legend(frameon=False, fontsize=8)


def parabola() -> None:
    """Left: a parabola above a ReLU, touching it twice. Right: what an input pays for the curvature."""
    left, right = figure(panels=2)
    h, spread = np.linspace(-2, 2, 200), 0.8
    left.plot(h, np.maximum(h, 0), color="black", lw=2, label="relu(h)")
    left.plot(h, (h + spread) ** 2 / (4 * spread), color=BLUE, label="(h + s)² / 4s")
    left.plot([-spread, spread], [0, spread], "o", color=BLUE)
    left.plot(h, 0.5 * (h + 2), color=RED, label="chord")
    left.set(xlabel="h", ylim=(-0.1, 2.3))
    left.legend(frameon=False, fontsize=8)
    e, price = np.linspace(-1, 1, 200), 0.4
    right.plot(e, price * (e**2 - 1), color=GREEN, label="p·(e² − 1): at most zero on the box")
    right.plot(e, -0.3 * (e + 0.9) ** 2, color=BLUE, label="−q·(h + s)² / 4s: concave")
    right.plot(e, price * (e**2 - 1) - 0.3 * (e + 0.9) ** 2, "--", color="black", label="the sum: convex for p enough")
    right.set(xlabel="an input e, scaled to [−1, 1]", ylim=(-1.2, 0.6))
    right.legend(frameon=False, fontsize=8, loc="upper left")


def anytime() -> None:
    """Both sides of one digit's distance, report by report."""
    model, data = load(NETS / "digits-64-32-32-10.onnx"), digits()
    reports: list[tuple[float, float]] = []
    distance(
        model,
        data.x[3],
        norm="linf",
        time_limit=120,
        progress=lambda running: reports.append((running.lower, running.upper)),
    )
    (axes,) = figure()
    axes.step(range(len(reports)), [upper for _, upper in reports], where="post", color=RED, label="replayed upper")
    axes.step(range(len(reports)), [lower for lower, _ in reports], where="post", color=BLUE, label="proven lower")
    axes.set(xlabel="reports of the search", ylabel="L∞ distance", ylim=(0, None))
    axes.legend(frameon=False)


def execution() -> None:
    """E over the ball beside what onnxruntime was seen to differ by at random points of it, ball by ball."""
    model, data = load(NETS / "digits-64-32-32-10.onnx"), digits()
    x = data.x[0].reshape(-1).astype(np.float64)
    device_graph, region = device_graph_for(model.graph), Region(x, np.zeros_like(x), np.ones_like(x))
    radii, proven, seen = np.geomspace(0.003, 0.3, 9), [], []
    rng = np.random.default_rng(0)
    for radius in radii:
        bounds = network_bounds(device_graph, region, Norm.LINF, float(radius))
        proven.append(float(execution_error(device_graph, bounds, FLOAT32).max()))
        points = np.clip(x + rng.uniform(-radius, radius, (200, x.size)), 0, 1).astype(np.float32)
        real = device_graph.forward(device_graph.tensor(points.astype(np.float64))).numpy()
        seen.append(float(np.abs(model.scores(points) - real).max()))
    (axes,) = figure()
    axes.loglog(radii, proven, "o-", color=BLUE, label="E: no execution is farther off")
    axes.loglog(radii, seen, "s", color=RED, label="most seen at 200 random points")
    axes.set(xlabel="radius of the L∞ ball", ylabel="error of a score")
    axes.legend(frameon=False)


def staircase() -> None:
    """One neuron of the int8 digits net: its level by its accumulator, and lines above and below."""
    model = load(NETS / "digits-int8.onnx")
    assert model.quantised is not None
    layer = model.quantised.layers[0]
    steps = layer.thresholds[0]
    first = int(steps[layer.target.zero + 3])
    sums = np.arange(first - 40, first + 12 * int(steps[9 + layer.target.zero] - steps[8 + layer.target.zero]))
    levels = np.asarray(layer.requantise(np.repeat(sums[:, None], layer.outputs, axis=1)))[:, 0]
    slope = float((levels[-1] - levels[0]) / (sums[-1] - sums[0]))
    (axes,) = figure()
    axes.step(sums, levels, where="post", color="black", label="level")
    axes.plot(sums, slope * sums + (levels - slope * sums).max(), color=RED, label="a line above")
    axes.plot(sums, slope * sums + (levels - slope * sums).min(), color=BLUE, label="a line below")
    axes.set(xlabel="accumulator (int32)", ylabel="level (int8)")
    axes.legend(frameon=False)


def brackets() -> None:
    """Two variants whose brackets are open: the first is ahead only where its proven curve clears the other's."""
    rng = np.random.default_rng(2)
    radii = np.linspace(0, 0.4, 200)
    (axes,) = figure()
    for name, mean, color in (("first", 0.2, BLUE), ("second", 0.12, RED)):
        lower = np.sort(rng.gamma(8, mean / 8, 120))
        upper = np.sort(lower * rng.uniform(1.0, 1.15, 120))
        proven, possible = ((values[:, None] > radii).mean(0) for values in (lower, upper))
        axes.fill_between(radii, proven, possible, color=color, alpha=0.3, label=f"{name}: proven to possible")
    axes.set(xlabel="radius", ylabel="share of samples robust")
    axes.legend(frameon=False)


FIGURES: dict[str, Callable[[], None]] = {
    "bracket": bracket,
    "encoding": encoding,
    "crown": crown,
    "envelopes": envelopes,
    "output-constrained": output_constrained,
    "cross-lipschitz": cross_lipschitz,
    "parabola": parabola,
    "anytime": anytime,
    "execution-error": execution,
    "staircase": staircase,
    "brackets": brackets,
}


def draw(name: str, folder: Path = PICTURES) -> Path:
    """One figure, written into the folder."""
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "plumbline", "font.size": 9})
    FIGURES[name]()
    path = folder / f"theory-{name}.svg"
    pyplot.savefig(path, metadata={"Date": None})
    pyplot.close("all")
    return path


if __name__ == "__main__":
    for chosen in sys.argv[1:] or FIGURES:
        print(draw(chosen))
