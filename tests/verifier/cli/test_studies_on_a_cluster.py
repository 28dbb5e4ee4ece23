"""`report` and `compare` with `--cluster local:2`: what their pages tell is what this process finds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.dask_cluster import PATIENCE
from tests.verifier.two_nets import two_nets
from verifier.cli.main import main
from verifier.runs import cluster

pytest.importorskip("distributed", reason="distributed is not installed: there is no cluster to ask")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn_charts")]
MEASURED = ("index", "label", "predicted", "verdict", "lower", "upper", "target", "basis")
NUMBER = re.compile(r"-?\d+\.\d+(e[-+]?\d+)?")
FIRST = ("index", "verdict", "lower", "upper", "attacks", "cross_lipschitz")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WAIT_FOR_WORKERS", PATIENCE)


@pytest.fixture
def files(tmp_path: Path) -> tuple[list[str], str]:
    return two_nets(tmp_path)


def lines(path: Path, names: tuple[str, ...]) -> list[list[Any]]:
    """What was measured of each sample, without how long it took."""
    held = {one["index"]: one for one in map(json.loads, path.read_text().splitlines())}
    return [[_untimed(held[index].get(name)) for name in names] for index in sorted(held)]


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(one) for name, one in value.items() if name != "seconds"}
    return value


def rounded(text: str) -> str:
    """A text whose numbers have nine digits: sums in another order differ in the last of theirs."""
    return NUMBER.sub(lambda found: f"{float(found[0]):.9g}", text)


@pytest.mark.release
def test_a_report_is_that_of_this_process(files: tuple[list[str], str], tmp_path: Path) -> None:
    (net, _), data = files
    asked = ["report", net, "--data", data, "--bounds", "crown", "--attacks", "fab", "--proofs", "--format", "json,csv"]
    for name, more in (("here", []), ("there", ["--cluster", "local:2"])):
        assert main([*asked, "--out", str(tmp_path / name), *more]) == 0
    here, there = (tmp_path / name for name in ("here", "there"))
    told = [lines(folder / "journal" / "linf.jsonl", (*MEASURED, "bounds", "attacks")) for folder in (here, there)]
    assert rounded(json.dumps(told[0])) == rounded(json.dumps(told[1]))
    shares = [json.loads((folder / "report.json").read_text())["robust"] for folder in (here, there)]
    assert shares[0] == shares[1]
    assert rounded((here / "curves.csv").read_text()) == rounded((there / "curves.csv").read_text())
    written = [sorted(path.name for path in (folder / "proofs" / "linf").iterdir()) for folder in (here, there)]
    assert written[0] == written[1] == ["0.proof", "1.proof", "2.proof"]
    assert main(["check", str(there / "proofs" / "linf"), "--model", net]) == 0


@pytest.mark.release
def test_a_comparison_is_that_of_this_process(files: tuple[list[str], str], tmp_path: Path) -> None:
    nets, data = files
    asked = ["compare", *nets, "--data", data, "--samples", "0:4", "--norm", "linf", "--attack", "fab"]
    asked += ["--pictures", "0", "--baseline", "plain"]
    for name, more in (("here", []), ("there", ["--cluster", "local:2"])):
        assert main([*asked, "--out", str(tmp_path / name), *more]) == 0
    for stem in ("plain", "steep"):
        told = [lines(tmp_path / name / "journal" / f"{stem}-linf.jsonl", FIRST) for name in ("here", "there")]
        assert rounded(json.dumps(told[0])) == rounded(json.dumps(told[1]))
    for file in ("curves.csv", "differences.csv", "transfer.csv"):
        texts = [(tmp_path / name / file).read_text() for name in ("here", "there")]
        assert rounded(texts[0]) == rounded(texts[1])
