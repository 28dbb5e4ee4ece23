"""Transfer, universal perturbations and differences: by hand, and against every joint activation pattern of tiny nets.

Witnesses are replayed here, by sessions of this file's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

import verifier.several_networks as several
from encoders.deadline import Clock, Stop
from encoders.errors import DataError, OptionError, PlumblineError, SoundnessError
from encoders.layer_graph.graph import Affine, Graph, Input, Relu, affine_chain
from encoders.layer_graph.linear_maps import Dense
from encoders.question import CONVEX, Norm, Region
from tests.draws import draws
from tests.joint_patterns import greatest_difference, least_transfer, least_universal
from tests.onnx_builder import to_onnx
from tests.small_files import f32, node, refusal, written
from trainers.architectures import build
from trainers.export import export
from verifier.answer import distance
from verifier.batching.request import run_alone
from verifier.greatest_value import KnownValue
from verifier.network_difference import difference, difference_asked
from verifier.options import Options
from verifier.question.model import load
from verifier.question.problem import Known
from verifier.question.results import Basis, PerturbedAdversary, Verdict
from verifier.question.side_by_side import SideBySide
from verifier.several_networks import (
    JointDistance,
    transfer_asked,
    transfer_distance,
    universal_asked,
    universal_distance,
)

pytestmark = pytest.mark.usefixtures("brief_questions")

Array = NDArray[np.float64]
CLOSE = 1e-5  # relative, between the two sides of an exact answer: what rounding to float32 may add to the tolerance
SURE = 1e-8  # the oracle's own error
NETS = Path(__file__).parents[2] / "trainers" / "nets"

# y0 - y1 = x1 - 1/2, y0 - y1 = x2 - 1/2, y0 - y1 = |x - 1/2| - 1/4, and y0 = 2·relu(x - 1/2)
FIRST = affine_chain([np.array([[1.0, 0.0], [0.0, 0.0]])], [np.array([-0.5, 0.0])])
SECOND = affine_chain([np.array([[0.0, 1.0], [0.0, 0.0]])], [np.array([-0.5, 0.0])])
OUTER = affine_chain(
    [np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0], [0.0, 0.0]])], [np.array([-0.5, 0.5]), np.array([-0.25, 0.0])]
)
BENT = affine_chain([np.array([[1.0]]), np.array([[2.0], [0.0]])], [np.array([-0.5]), np.zeros(2)])
STRAIGHT = affine_chain([np.array([[0.5], [0.0]])], [np.zeros(2)])


def tiny_net(rng: np.random.Generator, classes: int, inputs: int = 2) -> Graph:
    """Two to four ReLUs, in one layer, in two, or in two with a skip; numbers that float32 holds, some of them zero."""
    kind = rng.choice(["dense", "deep", "skip"])

    def draw(*shape: int) -> Array:
        values = rng.normal(size=shape)
        values[rng.random(shape) < 0.15] = 0.0
        return np.asarray(values, dtype=np.float32).astype(np.float64)

    if kind == "dense":
        width = int(rng.integers(2, 4))
        return affine_chain([draw(width, inputs), draw(classes, width)], [0.3 * draw(width), 0.3 * draw(classes)])
    if kind == "deep":
        weights = [draw(2, inputs), draw(2, 2), draw(classes, 2)]
        return affine_chain(weights, [draw(2), draw(2), draw(classes)])
    nodes = (
        Input(inputs), Affine((0,), (Dense(draw(2, inputs)),), draw(2)), Relu(1, 2),
        Affine((2, 0), (Dense(draw(2, 2)), Dense(draw(2, inputs))), draw(2)), Relu(3, 2),
        Affine((4, 2), (Dense(draw(classes, 2)), Dense(draw(classes, 2))), draw(classes)),
    )  # fmt: skip
    return Graph(nodes, (inputs,))


def rounded(graph: Graph) -> Graph:
    """The graph as a file of float32 numbers holds it."""
    nodes = [
        Affine(n.sources, tuple(Dense(f32(m.matrix().toarray()).astype(np.float64)) for m in n.maps),
               f32(n.bias).astype(np.float64)) if isinstance(n, Affine) else n
        for n in graph.nodes
    ]  # fmt: skip
    return Graph(tuple(nodes), graph.input_shape)


def scores_of(path: Path, inputs: NDArray[Any]) -> Array:
    """One sample through a file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    first = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in first.shape]
    return np.asarray(session.run(None, {first.name: inputs.reshape(shape)})[0], dtype=np.float64).reshape(-1)


def check(
    found: JointDistance, paths: Sequence[Path], samples: Sequence[NDArray[Any]], truth: float,
    mask: NDArray[np.bool_] | None = None, margin: float = 0.0, closed: bool = True,
    box: tuple[float, float] = (0.0, 1.0),
) -> None:  # fmt: skip
    """The bracket holds the truth, is closed where it must be, and its witness does what it says."""
    assert found.lower <= truth + SURE if np.isfinite(truth) else np.isinf(found.upper)
    assert found.upper >= truth - SURE
    if closed:
        assert found.verdict is Verdict.EXACT or found.upper - found.lower <= CLOSE * max(1.0, found.upper)
    before = tuple(int(scores_of(path, x).argmax()) for path, x in zip(paths, samples, strict=True))
    assert found.classes == before
    if np.isinf(found.upper):
        assert (found.perturbation, found.witness, found.fooled) == (None, None, None)
        assert not closed or found.lower == np.inf
        return
    assert found.perturbation is not None
    assert found.witness is not None
    assert found.fooled is not None
    assert float(found.norm.length(found.perturbation)) == found.upper
    for path, x, seen, own, named in zip(paths, samples, found.witness, before, found.fooled, strict=True):
        scores = scores_of(path, seen)
        assert int(scores.argmax()) == named != own
        assert scores[named] - scores[own] >= margin
        assert seen.dtype == x.dtype
        assert box[0] <= seen.astype(np.float64).min()
        assert seen.astype(np.float64).max() <= box[1]
        assert np.abs(seen.astype(np.float64) - x - found.perturbation).max() <= np.finfo(x.dtype).eps
        assert mask is None or (seen[~mask] == x[~mask]).all()


def region_of(x: NDArray[Any], mask: NDArray[np.bool_] | None, box: tuple[float, float] = (0.0, 1.0)) -> Region:
    center = x.astype(np.float64)
    free = np.ones(len(x), dtype=bool) if mask is None else mask
    return Region(center, np.where(free, box[0], center), np.where(free, box[1], center))


@pytest.fixture(params=[1, 100], ids=["maxima", "combinations"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maxima as part of the network, or a goal for every combination of targets."""
    monkeypatch.setattr(several, "MOST_GOALS", request.param)


# -- transfer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", list(CONVEX))
def test_transfer_by_hand(norm: Norm, tmp_path: Path) -> None:
    paths = [to_onnx(FIRST, tmp_path / "first.onnx"), to_onnx(SECOND, tmp_path / "second.onnx")]
    x = f32([0.75, 0.625])  # the first asks for 1/4 of one input, the second for 1/8 of the other
    truth = {Norm.LINF: 0.25, Norm.L1: 0.375, Norm.L2: 0.078125**0.5}[norm]
    check(transfer_distance(paths, x, norm=norm), paths, [x, x], truth)
    mask = np.array([True, False])
    found = transfer_distance(paths, x, norm=norm, mask=mask)
    assert (found.verdict, found.lower, found.upper) == (Verdict.EXACT, np.inf, np.inf)


@pytest.mark.slow
@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.fewer(1)
def test_transfer_against_every_joint_pattern(norm: Norm, tmp_path: Path) -> None:
    for seed in range(draws(2, 20)):
        rng = np.random.default_rng([seed, list(CONVEX).index(norm)])
        kind = np.float64 if seed % 2 else np.float32
        graphs = [tiny_net(rng, 3), tiny_net(rng, 2)] if seed % 4 else [tiny_net(rng, 2) for _ in range(3)]
        paths = [to_onnx(graph, tmp_path / f"{seed}-{k}.onnx", kind=kind) for k, graph in enumerate(graphs)]
        graphs = [rounded(graph) if kind is np.float32 else graph for graph in graphs]
        x: NDArray[Any] = rng.random(2).astype(kind)
        if seed % 3 == 0:
            x = x.round()  # on the border of the box
        mask = np.array([True, False]) if seed % 5 == 4 else None
        margin = 0.125 if seed % 2 else 0.0
        truth = least_transfer(graphs, region_of(x, mask), norm, margin)
        found = transfer_distance(paths, x, norm=norm, mask=mask, margin=margin)
        check(found, paths, [x] * len(paths), truth, mask, margin)


def test_a_convolution_beside_a_dense_net(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    constants = {"k": f32(rng.normal(size=(2, 1, 1, 2))), "w": f32(rng.normal(size=(2, 4))), "b": f32([0.1, 0.0])}
    constants["c"] = f32([0.1, -0.2])
    nodes = [
        node("Conv", ["x", "k", "c"], ["h"]), node("Relu", ["h"], ["r"]), node("Flatten", ["r"], ["t"]),
        node("Gemm", ["t", "w", "b"], ["y"], transB=1),
    ]  # fmt: skip
    convolution = written(tmp_path / "convolution.onnx", nodes, constants, inputs=(1, 1, 1, 3))
    dense = rounded(tiny_net(rng, 2, inputs=3))
    paths = [convolution, to_onnx(dense, tmp_path / "dense.onnx")]
    x = f32([0.5, 0.25, 0.75])
    truth = least_transfer([load(convolution).graph, dense], region_of(x, None), Norm.L1)
    check(transfer_distance(paths, x, norm="l1"), paths, [x, x], truth)


@pytest.mark.release
def test_a_network_beside_itself_is_that_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = to_onnx(rounded(tiny_net(np.random.default_rng(4), 2)), tmp_path / "net.onnx")
    monkeypatch.setattr("verifier.greatest_value.FIRST_TURN", 0.05)  # what is too short is followed by longer turns
    x = f32([0.3, 0.6])
    alone = distance(path, x)
    for found in (
        transfer_distance([path], x), transfer_distance([path, path], x),
        universal_distance(path, [x]), universal_distance(path, [x, x, x]),
    ):  # fmt: skip
        assert found.upper == pytest.approx(alone.upper, rel=CLOSE)
        assert found.lower == pytest.approx(alone.lower, rel=CLOSE)
    same = difference(path, path)
    assert 0.0 == same.lower <= same.upper <= 1e-6


def test_many_classes_are_asked_about_by_maxima(tmp_path: Path) -> None:
    # y0 = 1 and yk = x1 + (k - 1)/128 up to k = 11: the last comes first, and combinations would be 121.
    slopes, values = [[0.0, 0.0]] + [[1.0, 0.0]] * 11, [1.0, *(k / 128 for k in range(11))]
    rising = affine_chain([np.array(slopes)], [np.array(values)])
    path = to_onnx(rising, tmp_path / "rising.onnx")
    x = f32([0.5, 0.5])
    found = transfer_distance([path, path], x)
    check(found, [path, path], [x, x], 0.5 - 10 / 128)
    assert found.fooled == (11, 11)


# -- universal perturbations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "least"),
    [
        ([0.125, 0.625], 0.125),  # the first needs more than 1/8 up, the second as much, or 3/8 down
        ([0.125, 0.5], 0.25),
        ([0.0625, 0.625], 0.1875),
        ([0.125, 0.875], np.inf),  # one up, the other down
        ([0.375, 0.6875], np.inf),  # 3/8 up or 7/16 down, and one of them has no room for it
        ([0.0, 1.0], np.inf),  # no room that they share
        ([0.0, 1.0, 0.5], np.inf),
    ],
)
def test_universal_by_hand(samples: list[float], least: float, tmp_path: Path) -> None:
    path = to_onnx(OUTER, tmp_path / "outer.onnx")
    xs = [f32([value]) for value in samples]
    check(universal_distance(path, xs), [path] * len(xs), xs, least)


@pytest.mark.slow
@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.fewer(1)
def test_universal_against_every_joint_pattern(norm: Norm, tmp_path: Path) -> None:
    for seed in range(draws(2, 20)):
        rng = np.random.default_rng([seed, list(CONVEX).index(norm), 1])
        kind = np.float64 if seed % 2 else np.float32
        graph = rounded(tiny_net(rng, 2 + seed % 2))
        path = to_onnx(graph, tmp_path / f"{seed}.onnx", kind=kind)
        xs = [x.astype(kind) for x in rng.uniform(0.2, 0.8, size=(2 + seed % 2, 2))]
        if seed % 3 == 2:
            xs[0][0] = 1.0  # on the border of the box
        mask = np.array([False, True]) if seed % 5 == 4 else None
        margin = 0.0625 if seed % 4 == 3 else 0.0
        truth = least_universal(graph, [region_of(x, mask) for x in xs], norm, margin)
        found = universal_distance(path, np.stack(xs), norm=norm, mask=mask, margin=margin)
        check(found, [path] * len(xs), xs, truth, mask, margin)


def test_perturbed_samples_are_rounded_into_the_box(tmp_path: Path) -> None:
    # float32 has 0.3 a hair above: only the input next to it wins, and the largest perturbation reaches beyond.
    low, high = float(np.nextafter(np.float32(0.3), np.float32(0))), 0.3
    graph = affine_chain([np.array([[1.0], [0.0]])], [np.array([-(low + 0.25) / 2, 0.0])])
    path = to_onnx(graph, tmp_path / "edge.onnx", kind=np.float32)
    xs = [f32([0.25]), f32([0.125])]
    found = universal_distance(path, xs, box=(0.0, high))
    if found.witness is not None:
        check(found, [path] * 2, xs, found.upper, closed=False, box=(0.0, high))
    networks = SideBySide((load(path),), (Region(np.array([0.25]), np.array([0.0]), np.array([high])),))
    assert float(networks.replayed(np.array([[high - 0.25]]))[0][0, 0]) == low


# -- differences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "radius", "greatest"), [(None, None, 0.5), (0.5, 0.125, 0.25), (0.625, 0.25, 0.3125), (0.625, None, 0.5)]
)
def test_difference_by_hand(x: float | None, radius: float | None, greatest: float, tmp_path: Path) -> None:
    # 2·relu(x - 1/2) - x/2: 0, -1/4 and 1/2 at 0, 1/2 and 1
    paths = [to_onnx(BENT, tmp_path / "bent.onnx"), to_onnx(STRAIGHT, tmp_path / "straight.onnx")]
    for first, second in (paths, paths[::-1]):
        found = difference(first, second, x=None if x is None else f32([x]), radius=radius)
        assert found.lower <= greatest <= found.upper
        assert found.upper - found.lower <= CLOSE
        assert (found.verdict, found.output) == (Verdict.EXACT, 0)


@pytest.mark.slow
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.fewer(1)
def test_differences_against_every_joint_pattern(norm: Norm, tmp_path: Path) -> None:
    for seed in range(draws(3, 20)):
        rng = np.random.default_rng([seed, list(CONVEX).index(norm), 2])
        kind = np.float64 if seed % 2 else np.float32
        graphs = [rounded(tiny_net(rng, 2 + seed % 2)) for _ in range(2)]
        paths = [to_onnx(graph, tmp_path / f"{seed}-{k}.onnx", kind=kind) for k, graph in enumerate(graphs)]
        x: NDArray[Any] = rng.random(2).astype(kind)
        mask = np.array([True, False]) if seed == 2 else None
        radius = None if seed == 0 else float(rng.uniform(0.05, 0.5))
        region = region_of(x, mask)
        reach = region.reach(norm) if radius is None else radius
        truth = greatest_difference(graphs[0], graphs[1], region, norm, reach)
        found = difference(*paths, x=x, radius=radius, norm=norm, mask=mask)
        room = CLOSE * max(1.0, truth)
        assert found.lower <= truth + room
        assert truth - room <= found.upper
        assert found.upper - found.lower <= room
        assert found.worst is not None
        assert found.output is not None
        far = found.worst.input.astype(np.float64) - x
        assert norm.length(far) <= reach
        assert mask is None or not far[~mask].any()
        gaps = np.abs(np.subtract(*(scores_of(path, found.worst.input) for path in paths)))
        assert gaps[found.output] == gaps.max() == pytest.approx(found.lower, abs=room)


# -- time limits, and what is refused ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_brackets_are_true_after_any_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    graphs = [rounded(tiny_net(rng, 3)) for _ in range(2)]
    paths = [to_onnx(graph, tmp_path / f"{k}.onnx") for k, graph in enumerate(graphs)]
    xs = [f32([0.5, 0.25]), f32([0.25, 0.5])]
    regions = [region_of(x, None) for x in xs]
    transfer, universal = least_transfer(graphs, regions[0], Norm.LINF), least_universal(graphs[0], regions, Norm.LINF)
    apart = greatest_difference(graphs[0], graphs[1], regions[0], Norm.LINF, 0.25)
    for seconds in (1e-6, 0.01, 0.05):
        check(transfer_distance(paths, xs[0], time_limit=seconds), paths, [xs[0]] * 2, transfer, closed=False)
        check(universal_distance(paths[0], xs, time_limit=seconds), [paths[0]] * 2, xs, universal, closed=False)
        found = difference(*paths, x=xs[0], radius=0.25, time_limit=seconds)
        assert found.lower <= apart + SURE
        assert apart - SURE <= found.upper


def test_a_class_that_a_softmax_hides_is_no_witness(tmp_path: Path) -> None:
    # Scores 100·(x - 1/2) and 0 in a float32 file whose Softmax makes near ones equal.
    nodes = [node("Gemm", ["x", "w", "b"], ["s"], transB=1), node("Softmax", ["s"], ["y"])]
    constants = {"w": f32([[2.0**-10], [0.0]]), "b": f32([-(2.0**-11), 0.0])}
    path = written(tmp_path / "softmax.onnx", nodes, constants)
    x = f32([0.75])
    check(transfer_distance([path, path], x), [path, path], [x, x], 0.25, closed=False)
    check(universal_distance(path, [x, x]), [path, path], [x, x], 0.25, closed=False)


def test_networks_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    two, one = to_onnx(FIRST, tmp_path / "two.onnx"), to_onnx(OUTER, tmp_path / "one.onnx")
    double = to_onnx(SECOND, tmp_path / "double.onnx", kind=np.float64)
    three = to_onnx(affine_chain([np.ones((3, 2))], [np.zeros(3)]), tmp_path / "three.onnx")
    flat = affine_chain([np.ones((2, 12))], [np.zeros(2)])
    first, last = (load(to_onnx(flat, tmp_path / f"{name}.onnx")) for name in ("first", "last"))
    first.input_shape, last.input_shape = (3, 2, 2), (2, 2, 3)
    softplus = tmp_path / "softplus.onnx"
    export(softplus, build("fc1-softplus", (2,), 2, (3,)), (2,))
    x = f32([0.75, 0.75])

    def refused(error: type[PlumblineError], match: str, *calls: Any) -> None:
        for call in calls:
            with pytest.raises(error, match=match) as caught:
                call()
            refusal(caught.value)

    refused(DataError, "does not fit the model's input", lambda: transfer_distance([two, one], x))
    refused(DataError, "does not fit the model's input", lambda: universal_distance(two, [x, f32([0.5])]))
    refused(
        DataError, "the same input; these read 2, 1 numbers|does not fit", lambda: difference(two, one),
        lambda: difference(one, two),
    )  # fmt: skip
    image = np.zeros((3, 2, 2), dtype=np.float32)  # channels first for one, last for the other
    refused(
        DataError, r"inputs of one shape; these read \(3, 2, 2\), \(2, 2, 3\)",
        lambda: transfer_distance([first, last], image), lambda: difference(first, last, x=image, radius=0.1),
    )  # fmt: skip
    refused(DataError, "as many outputs; these have 2, 3", lambda: difference(two, three))
    refused(
        DataError, "the same numbers; these in float32, float64", lambda: transfer_distance([two, double], x),
        lambda: difference(two, double),
    )  # fmt: skip
    refused(
        OptionError, "softplus", lambda: transfer_distance([two, softplus], x),
        lambda: universal_distance(softplus, [x]), lambda: difference(two, softplus),
    )  # fmt: skip
    int8, digit = NETS / "digits-int8.onnx", np.zeros(64, dtype=np.float32)
    refused(
        OptionError, "quantised networks are asked about one by one", lambda: transfer_distance([int8], digit),
        lambda: universal_distance(int8, [digit]), lambda: difference(int8, int8),
    )  # fmt: skip


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    path = to_onnx(FIRST, tmp_path / "net.onnx")
    x = f32([0.75, 0.75])
    asked: dict[str, Callable[..., object]] = {
        "transfer": lambda **more: transfer_distance([path, path], x, **more),
        "universal": lambda **more: universal_distance(path, [x, x], **more),
        "difference": lambda **more: difference(path, path, x=x, **more),
    }
    for ask in asked.values():
        for more, match in (
            ({"grid": 255}, "grid"), ({"execution": "float32"}, "execution"), ({"targets": [1]}, "targets"),
            ({"norm": "l0"}, "norm l0"), ({"box": (0.0, 0.5)}, "outside the box"), ({"time_limit": -1.0}, "time_limit"),
            ({"mask": np.ones(3)}, "mask"), ({"nonsense": 1}, "nonsense"),
        ):  # fmt: skip
            with pytest.raises(PlumblineError, match=match) as caught:
                ask(**more)
            refusal(caught.value)
    for call, match in (
        (lambda: transfer_distance([], x), "at least one network"),
        (lambda: universal_distance(path, []), "at least one sample"),
        (lambda: difference(path, path, radius=0.5), "radius is around a sample"),
        (lambda: difference(path, path, x=x, radius=-1.0), "radius"),
        (lambda: difference(path, path, margin=0.5), "margin"),
    ):
        with pytest.raises(PlumblineError, match=match) as caught:
            call()
        refusal(caught.value)


def test_scores_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    huge = to_onnx(
        affine_chain([np.array([[3e38, 3e38], [0.0, 0.0]])], [np.zeros(2)]), tmp_path / "huge.onnx", kind=np.float32
    )
    with pytest.raises(PlumblineError):
        transfer_distance([huge], f32([1.0, 1.0]))


# -- going on ---------------------------------------------------------------------------------------------------------


def stopped() -> Clock:
    """The clock of a question that nobody has time for: what is known is all there is."""
    clock = Clock(Stop())
    clock.stop.ask()
    return clock


@pytest.mark.parametrize("basis", list(Basis))
def test_what_is_known_is_the_least_that_is_answered(basis: Basis, tmp_path: Path) -> None:
    paths = [to_onnx(FIRST, tmp_path / "first.onnx"), to_onnx(SECOND, tmp_path / "second.onnx")]
    networks, x = SideBySide(tuple(map(load, paths))), f32([0.75, 0.625])
    known = Known(0.2, basis, f32([0.4375, 0.4375]), "luck")
    found = run_alone(transfer_asked(networks, x, Options(), clock=stopped(), known=known))
    assert (found.verdict, found.lower, found.basis, found.upper) == (Verdict.UNRESOLVED, 0.2, basis, 0.3125)
    assert found.adversary is not None
    assert found.adversary.found_by == "luck"
    closed = run_alone(transfer_asked(networks, x, Options(), known=known))
    check(closed, paths, [x, x], 0.25)
    xs = [f32([0.125]), f32([0.625])]
    outer = load(to_onnx(OUTER, tmp_path / "outer.onnx"))
    known = Known(0.1, basis, np.array([0.1875]))
    found = run_alone(universal_asked(outer, xs, Options(), clock=stopped(), known=known))
    assert (found.lower, found.basis, found.upper) == (0.1, basis, 0.1875)
    assert isinstance(found.adversary, PerturbedAdversary)
    assert found.adversary.input.tolist() == [[0.3125], [0.8125]]
    check(run_alone(universal_asked(outer, xs, Options(), known=known)), [outer.path] * 2, xs, 0.125)
    apart = run_alone(difference_asked(
        networks, x, None, Options(), clock=stopped(), known=KnownValue(1.5, basis, f32([[1.0, 0.25]]))
    ))  # fmt: skip
    assert (apart.upper, apart.basis) == (1.5, basis)
    assert 0.75 <= apart.lower <= 1.0


def test_what_is_known_and_cannot_be_is_an_alarm(tmp_path: Path) -> None:
    networks = SideBySide((load(to_onnx(FIRST, tmp_path / "first.onnx")),) * 2)
    x, near = f32([0.75, 0.625]), f32([0.4375, 0.625])
    for known in (Known(0.35, adversary=near), Known(0.35)):  # found before, or on the way
        with pytest.raises(SoundnessError, match="alarm"):
            run_alone(transfer_asked(networks, x, Options(), known=known))
    with pytest.raises(DataError, match="does not fit the 2"):
        run_alone(transfer_asked(networks, x, Options(), known=Known(0.1, adversary=f32([0.5]))))
    no_witness = run_alone(transfer_asked(networks, x, Options(), clock=stopped(), known=Known(0.1, adversary=x)))
    assert (no_witness.lower, no_witness.upper) == (0.1, np.inf)  # it does not replay
