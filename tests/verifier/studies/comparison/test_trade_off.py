"""Accuracy against the training radius: which networks are drawn together, and every figure by hand."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from encoders.question import Norm
from verifier.runs.samples import Samples
from verifier.studies.comparison.findings import findings
from verifier.studies.comparison.gallery import extremes
from verifier.studies.comparison.measure import Measured
from verifier.studies.comparison.options import CompareOptions, Subject, read_comparison, subjects_of_study
from verifier.studies.comparison.page import page
from verifier.studies.comparison.statistics import Group, grouped
from verifier.studies.comparison.trade_off import Spread, as_csv, chart, robust, sweeps

OPTIONS = CompareOptions(norms=(Norm.L2, Norm.LINF), radii={Norm.L2: (0.15, 0.3), Norm.LINF: (0.15,)}, pictures=0)

STUDY = """
widths = [5]
seeds = [0, 1]
out = "OUT"

[[runs]]
name = "none"

[[runs]]
name = "adversarial"
adversarial = ["l2:0.5:1", "l2:1:1"]

[[runs]]
name = "decay"
regularisers = [{ name = "weight-decay", strength = 0.1 }]
"""


def measured(
    family: str, setting: str | None, lower: Sequence[float], upper: Sequence[float] | None = None, seed: int = 0,
    norm: Norm = Norm.L2, epochs: int = 30, accuracy: float = 0.9,
) -> Measured:  # fmt: skip
    name = family if setting is None else f"{family} {setting}"
    options = {"adversarial": setting, "epochs": epochs, "seed": seed}
    low, high = np.array(lower), np.array(lower if upper is None else upper)
    empty, count = np.zeros(len(low)), len(low)
    return Measured(
        Subject(family, name, seed, Path(f"{name}-{seed}.onnx"), options=options), norm, tuple(range(count)), accuracy,
        low > 0, low, high, high, high, None, ("search",) * count, ("rigorous",) * count, empty, empty, low < high, {},
    )  # fmt: skip


def study() -> tuple[Group, ...]:
    """Clean nets of two seeds and two training radii in L2, one distance open."""
    return grouped([
        measured("none", None, [0.1, 0.2, 0.1, 0.4], seed=0, accuracy=0.9),
        measured("none", None, [0.1, 0.1, 0.1, 0.2], seed=1, accuracy=0.8),
        measured("madry", "l2:1:1:10", [0.4, 0.4, 0.0, 0.2], [0.4, 0.4, 0.0, 0.35], accuracy=0.7),
        measured("madry", "l2:0.5:1:10", [0.2, 0.2, 0.1, 0.4]),
    ])  # fmt: skip


def test_every_figure_by_hand() -> None:
    (sweep,) = sweeps(study())
    assert (sweep.family, sweep.norm, list(sweep.groups)) == ("madry", Norm.L2, [0.0, 0.5, 1.0])
    assert robust(sweep.groups[0.0], 0.15) == Spread(0.375, 0.375, 0.25, 0.5)
    assert robust(sweep.groups[1.0], 0.3) == Spread(0.5, 0.75, 0.5, 0.75)
    rows = list(csv.DictReader(io.StringIO(as_csv([sweep], OPTIONS))))
    assert len(rows) == 3 * 2
    told = {(float(row["training_radius"]), float(row["radius"])): row for row in rows}
    first, last = told[0.0, 0.15], told[1.0, 0.3]
    names = ("variant", "seeds", "accuracy_least", "accuracy_most", "low", "high", "low_least", "high_most")
    assert [first[name] for name in names] == ["none", "2", "0.8", "0.9", "0.375", "0.375", "0.25", "0.5"]
    assert [last[name] for name in names] == ["madry l2:1:1:10", "1", "0.7", "0.7", "0.5", "0.75", "0.5", "0.75"]
    assert float(last["accuracy_on_samples"]) == 0.75


def test_only_networks_that_differ_in_the_training_radius_alone_are_drawn_together() -> None:
    flat = [0.1, 0.2]
    for others in (
        [measured("a", "l2:0.5:1:10", flat)],  # one radius is no curve
        [measured("a", "l2:0.5:1:10", flat), measured("a", "l2:1:0.5:10", flat)],  # another share of the batch
        [measured("a", "l2:0.5:1:10", flat), measured("a", "l2:1:1:10", flat, epochs=60)],
        [measured("a", f"linf:{r}:1:10", flat) for r in (0.1, 0.2)],  # measured in another norm
    ):
        assert sweeps(grouped([measured("none", None, flat), *others])) == []
    family = [measured("a", f"l2:{r}:1:10", flat) for r in (0.5, 1)]
    (alone,) = sweeps(grouped([measured("none", None, flat, epochs=60), *family]))
    assert list(alone.groups) == [0.5, 1.0]  # the clean net was trained for longer


@pytest.mark.slow
def test_the_chart_and_the_page_hold_every_line() -> None:
    (sweep,) = sweeps(study())
    drawn = chart(sweep, OPTIONS).svg()
    ET.fromstring(drawn)
    for told in ("accuracy", "robust at 0.15", "robust at 0.3", "robust at 0.3: band", "L2 radius of training"):
        assert told in drawn
    found = findings(CompareOptions(norms=(Norm.L2,), pictures=0, resamples=20), "data", study())
    html = page(found, Samples("data", np.zeros((4, 2), np.float32), None), [], [])
    assert "<h2>Accuracy against the training radius</h2>" in html
    without = findings(CompareOptions(norms=(Norm.L2,), pictures=0, resamples=20), "data", study()[:1])
    assert "training radius" not in page(without, Samples("data", np.zeros((4, 2), np.float32), None), [], [])


def test_a_config_says_which_networks_belong_together(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("OUT", str(tmp_path)))
    config, _ = read_comparison(tmp_path / "study.toml")
    for run in config.runs:
        (tmp_path / f"{run.stem}.onnx").touch()
    flat = np.array([0.1, 0.2])
    groups = grouped([
        Measured(one, Norm.L2, (0, 1), 0.9, flat > 0, flat, flat, flat, flat, None, ("", ""), ("", ""), flat, flat,
                 flat < 0, {})
        for one in subjects_of_study(config)
    ])  # fmt: skip
    (sweep,) = sweeps(groups)
    assert {radius: group.variant for radius, group in sweep.groups.items()} == {
        0.0: "none", 0.5: "adversarial l2:0.5:1", 1.0: "adversarial l2:1:1",
    }  # fmt: skip
    assert [len(group.members) for group in sweep.groups.values()] == [2, 2, 2]


def test_the_plain_net_is_shown_beside_the_most_robust_one() -> None:
    nets = [measured(name, None, [mean]) for name, mean in (("a", 0.2), ("none", 0.1), ("b", 0.4), ("c", 0.3))]
    assert [one.subject.family for one in extremes(nets, "none")] == ["none", "b"]
    assert [one.subject.family for one in extremes(nets, "absent")] == ["b"]
