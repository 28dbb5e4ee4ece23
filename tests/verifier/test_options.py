"""What records hold of the options: the same keys and values as ever, so that journals written before are resumed."""

from __future__ import annotations

import json
import pickle

import numpy as np

from encoders.question import Norm
from verifier.options import Options
from verifier.studies.gap_report.options import ReportOptions

RECORD = {
    "norm": "l1", "targets": [1, 3], "margin": 0.5, "box": [-1.0, 1.0], "time_limit": 60.0, "tolerance": 1e-06,
    "engine": "highs", "device": "cpu", "seed": 7, "grid": None, "count": "inputs", "execution": "float32",
    "scale": None, "constraints": None, "change": None, "direction": "either", "output_index": None,
}  # fmt: skip


def test_a_record_of_all_options() -> None:
    asked = Options(
        norm=Norm.L1, targets=(3, 1), margin=0.5, box=(-1.0, 1.0), time_limit=60, engine="highs", device="cpu", seed=7,
        execution="float32",
    )  # fmt: skip
    assert json.loads(json.dumps(asked.record())) == RECORD
    assert pickle.loads(pickle.dumps(asked)) == asked


def test_a_record_of_some_options() -> None:
    assert Options().record("seed", "norm") == {"norm": "linf", "seed": 0}
    assert Options().record("targets", "time_limit") == {"targets": None, "time_limit": None}


def test_a_record_holds_a_grid_or_the_digest_of_one() -> None:
    assert Options(grid=255).record("grid") == {"grid": 255}
    assert Options(grid=np.array([1, 2])).record("grid") == {"grid": "35b1fcddab3e45ab"}


def test_a_record_of_what_a_report_measures() -> None:
    assert ReportOptions(bounds=("crown",), pictures=1).record() == {
        "bounds": ("crown",), "attacks": None, "effort": {"balls": 8, "steps": 60},
    }  # fmt: skip
