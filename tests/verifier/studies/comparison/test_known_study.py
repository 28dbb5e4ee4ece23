"""A study of three nets whose exact distances are known by brute force: from config to page, every number.

Two inputs, three hidden neurons. The nets are drawn, not trained: the config names runs, and their files are there.
The truth comes from `tests/brute_force.py` (every linear piece, one program each) and plain loops.
"""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Norm, Region, goals_for
from tests.exact_distances import exact_distance
from tests.onnx_builder import to_onnx
from tests.verifier.studies.comparison.brief import brief_comparison
from verifier.cli.main import main
from verifier.pages.wording import number

NAMES = ("none", "first", "second")
SEEDS = (1, 13, 9)  # of nets with two classes in the box
RADIUS = 0.1
CLOSE = 3e-5  # distances are exact within 1e-5, means of them as well
CONFIG = """
data = "DATA"
train_samples = 4
widths = [3]
seeds = [0]
out = "OUT"

[[runs]]
name = "none"

[[runs]]
name = "first"

[[runs]]
name = "second"

[compare]
samples = "0:6"
norms = ["linf", "l1"]
radii = { linf = [0.1], l1 = [0.1] }
pictures = 0
resamples = 100
"""


def drawn_net(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 1.5, (3, 2)), rng.normal(0, 1.5, (2, 3))]
    return affine_chain(weights, [rng.normal(0, 0.7, 3), rng.normal(0, 0.3, 2)])  # no tie where all neurons are off


def scores(graph: Graph, x: np.ndarray) -> np.ndarray:
    hidden, last = graph.nodes[1], graph.nodes[-1]
    (first,), (second,) = hidden.maps, last.maps  # type: ignore[union-attr]
    value = np.maximum(first.matrix().toarray() @ x + hidden.bias, 0.0)  # type: ignore[union-attr]
    return np.asarray(second.matrix().toarray() @ value + last.bias)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def nets() -> dict[str, Graph]:
    return {name: drawn_net(seed) for name, seed in zip(NAMES, SEEDS, strict=True)}


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Ten points, of which six are the test split; classes as the first net has them, but for one."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.05, 0.95, (10, 2)).astype(np.float32)
    y = np.array([int(scores(drawn_net(SEEDS[0]), point.astype(np.float64)).argmax()) for point in x])
    y[-1] = 1 - y[-1]
    return x, y


@pytest.fixture(scope="module")
def folder(
    nets: dict[str, Graph], data: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The finished comparison; nobody looks at its charts."""
    place = tmp_path_factory.mktemp("known")
    np.savez(place / "data.npz", x=data[0], y=data[1])
    for name, graph in nets.items():
        to_onnx(graph, place / f"{name}-seed0.onnx")
    config = CONFIG.replace("DATA", str(place / "data.npz")).replace("OUT", str(place))
    (place / "study.toml").write_text(config)
    with brief_comparison() as patched:
        patched.setattr("verifier.pages.drawn_chart.Chart.svg", lambda chart: "")
        assert main(["compare", str(place / "study.toml")]) == 0
    return place / "comparison"


@pytest.fixture(scope="module")
def truth(
    nets: dict[str, Graph], data: tuple[np.ndarray, np.ndarray], folder: Path
) -> dict[tuple[str, str], np.ndarray]:
    """The exact distances of every net in every norm, 0 where it is wrong."""
    x, y = data[0][4:], data[1][4:]
    found = {}
    for name, graph in nets.items():
        for norm in (Norm.LINF, Norm.L1):
            lengths = []
            for point, label in zip(x.astype(np.float64), y, strict=True):
                goals = goals_for(int(label), 2, None, 0.0)
                wrong = scores(graph, point).argmax() != label
                region = Region(point, np.zeros(2), np.ones(2))
                lengths.append(0.0 if wrong else exact_distance(graph, region, norm, goals))
            found[name, str(norm)] = np.array(lengths)
    return found


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.release
def test_the_study_is_worth_its_checks(truth: dict[tuple[str, str], np.ndarray]) -> None:
    lengths = np.concatenate(list(truth.values()))
    assert (lengths == 0).any()
    assert np.isfinite(lengths).sum() > 24


@pytest.mark.slow
def test_every_distance_is_the_true_one(folder: Path, truth: dict[tuple[str, str], np.ndarray]) -> None:
    held = json.loads((folder / "comparison.json").read_text())["samples"]
    for (name, norm), exact in truth.items():
        told = held[f"{name}-seed0 {norm}"]
        lower, upper = (np.array([float(value) for value in told[side]]) for side in ("lower", "upper"))
        np.testing.assert_allclose(lower, exact, atol=CLOSE)
        np.testing.assert_allclose(upper, exact, atol=CLOSE)
        assert (lower <= exact + 1e-7).all()
        assert (np.array(told["cross_lipschitz"]) <= lower).all()  # no proven bound is above the lower side shown
        for attack in ("typical", "strongest"):
            assert (np.array([float(value) for value in told[attack]]) >= upper).all()


@pytest.mark.slow
def test_every_figure_of_the_tables_is_the_true_one(folder: Path, truth: dict[tuple[str, str], np.ndarray]) -> None:
    held = {(row["variant"], row["norm"]): row for row in rows(folder, "comparison.csv")}
    assert set(held) == set(truth)
    for key, exact in truth.items():
        row = held[key]
        for side in ("lower", "upper"):
            assert float(row[f"mean_{side}"]) == pytest.approx(exact.mean(), abs=CLOSE)
            assert float(row[f"median_{side}"]) == pytest.approx(np.median(exact), abs=CLOSE)
        assert float(row["accuracy_on_samples"]) == (exact > 0).mean()
        assert float(row["test_accuracy"]) == (exact > 0).mean()
        for side in ("proven", "possible"):
            assert float(row[f"{side}_robust_at_{RADIUS}"]) == (exact > RADIUS).mean()
        assert int(row["open_samples"]) == 0


@pytest.mark.slow
def test_every_point_of_the_curves_is_the_true_one(folder: Path, truth: dict[tuple[str, str], np.ndarray]) -> None:
    told = rows(folder, "curves.csv")
    assert len(told) == 6 * 121
    for row in told:
        exact, radius = truth[row["variant"], row["norm"]], float(row["radius"])
        if np.abs(exact - radius).min() > CLOSE or radius == 0:
            for side in ("proven", "possible"):
                assert float(row[side]) == pytest.approx((exact > radius).mean())
        assert float(row["band_low"]) <= float(row["proven"]) <= float(row["possible"]) <= float(row["band_high"])
        assert float(row["possible"]) <= float(row["strongest"])


@pytest.mark.slow
def test_differences_and_transfer_are_the_true_ones(
    folder: Path, nets: dict[str, Graph], data: tuple[np.ndarray, np.ndarray], truth: dict[tuple[str, str], np.ndarray]
) -> None:
    for row in rows(folder, "differences.csv"):
        exact = truth[row["network"], row["norm"]].mean() - truth["none", row["norm"]].mean()
        assert float(row["difference_of_means"].split(" to ")[0]) == pytest.approx(exact, abs=1e-4)
        low, high = map(float, row["interval"].split(" to "))
        assert low <= exact + CLOSE
        assert exact <= high + CLOSE
    x, adversaries = data[0][4:], {}
    for name in NAMES:
        lines = [json.loads(line) for line in (folder / "journal" / f"{name}-seed0-linf.jsonl").open()]
        held = {line["index"]: base64.b64decode(line["adversary"]) for line in lines if line["adversary"]}
        adversaries[name] = {index: np.frombuffer(one, "<f4") for index, one in held.items()}
    told = [row for row in rows(folder, "transfer.csv") if row["norm"] == "linf"]
    assert len(told) == 2 * 9
    for row in told:
        fooled = []
        for index, moved in adversaries[row["found_on"]].items():
            if truth[row["shown_to"], "linf"][index] == 0:
                continue
            change = (moved - x[index]).astype(np.float64)
            if row["radius"] != "as found":
                change *= RADIUS / np.abs(change).max()
            read = scores(nets[row["shown_to"]], np.clip(x[index] + change, 0, 1)).argmax()
            fooled.append(read != data[1][4:][index])
        assert int(row["samples"]) == len(fooled)
        assert float(row["share"]) == pytest.approx(np.mean(fooled))


@pytest.mark.slow
def test_the_page_says_what_the_tables_hold(folder: Path, truth: dict[tuple[str, str], np.ndarray]) -> None:
    html = (folder / "index.html").read_text()
    assert "All 18 distances are exact." in html
    assert "nearest found" not in re.sub(r"<p>.*?</p>|<li>.*?</li>|<figcaption>.*?</figcaption>", "", html)
    cells = re.findall(r"<td>([^<]*)</td>", html)
    for key, exact in truth.items():
        near = [number(exact.mean() + shift) for shift in np.linspace(-2e-5, 2e-5, 9)]
        assert any(text in cells for text in near), key
