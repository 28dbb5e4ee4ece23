"""The published schema of a record, held against what the commands really write."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from encoders.layer_graph.graph import affine_chain
from tests.onnx_builder import to_onnx
from verifier.cli.main import main

ROOT = Path(__file__).parents[2]
NET = str(ROOT / "trainers" / "nets" / "digits-64-32-32-10.onnx")
SCHEMA = json.loads((ROOT / "docs" / "reference" / "record.schema.json").read_text(encoding="utf-8"))
Record = dict[str, Any]
WRONG = 54  # a sample that the network misclassifies

COMMANDS = {
    "distance": ["distance", NET, "--samples", f"0,{WRONG}"],
    "executed": ["distance", NET, "--samples", "0", "--execution", "float32"],
    "grid": ["distance", NET, "--samples", "1", "--norm", "l0", "--grid", "16"],
    "stopped": ["distance", NET, "--samples", "3", "--time-limit", "0.01"],
    "certified": ["verify", NET, "--samples", "0", "--radius", "0.01"],
    "falsified": ["verify", NET, "--samples", "0", "--radius", "0.2"],
    "change": ["verify", NET, "--samples", "0", "--radius", "0.2", "--change", "0.5", "--output-index", "3"],
    "unmoved": ["verify", NET, "--samples", "0", "--radius", "0.001", "--change", "9", "--output-index", "3"],
    "margin": ["margin", NET, "--samples", f"0,{WRONG}", "--radius", "0.02"],
    "each": ["margin", NET, "--samples", "0", "--radius", "0.01", "--target", "3,5", "--each"],
    "range": ["range", NET, "--samples", "0", "--radius", "0.01", "--output-row", "1,-1,0,0,0,0,0,0,0,0"],
    "attack": ["attack", NET, "--samples", f"0,{WRONG}", "--attack", "fgsm", "portfolio", "--restarts", "2"],
}

# Asked of images of 2x2 and of two networks that read one pixel each.
SMALL_COMMANDS = {
    "perturbed": ["distance", "A", "--samples", "0", "--perturbation", "patch:0:0:1:2"],
    "unperturbed": ["verify", "A", "--samples", "0", "--perturbation", "patch:0:0:1:1", "--radius", "0.01"],
    "transfer": ["transfer", "A", "B", "--exact"],
    "universal": ["universal", "A", "--exact"],
    "never": ["universal", "A", "--exact", "--mask", "MASK"],
    "difference": ["difference", "A", "B", "--samples", "0", "--radius", "0.01"],
    "everywhere": ["difference", "A", "B"],
}


def small(folder: Path) -> dict[str, str]:
    """The files that the words of `SMALL_COMMANDS` stand for."""
    np.savez(folder / "x.npz", x=np.array([[[0.75, 0.625], [0.5, 0.5]]] * 2, dtype=np.float32), y=np.array([0, 0]))
    np.save(folder / "mask.npy", np.array([[False, False], [True, True]]))
    found = {"DATA": str(folder / "x.npz"), "MASK": str(folder / "mask.npy")}
    for name, pixel in (("A", 0), ("B", 1)):
        row = np.eye(4)[pixel]
        graph = affine_chain([np.stack([row, np.zeros(4)])], [np.array([-0.5, 0.0])])
        found[name] = str(to_onnx(graph, folder / f"{name}.onnx", shape=(2, 2)))
    return found


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Record]]:
    """What each command writes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bounds.attacks.ball_search.BALLS", 1)  # what is written is no other for it
        return written(tmp_path_factory.mktemp("records"))


def written(folder: Path) -> dict[str, list[Record]]:
    found = {}
    for name, arguments in COMMANDS.items():
        path = folder / f"{name}.jsonl"
        proofs = ["--proof", str(folder / "proofs")] if name in ("distance", "falsified") else []
        assert main([*arguments, "--data", "digits", "--json", str(path), *proofs]) in (0, 1)
        found[name] = [json.loads(line) for line in path.read_text().splitlines()]
    words = small(folder)
    for name, arguments in SMALL_COMMANDS.items():
        path = folder / f"{name}.jsonl"
        data = [] if name == "everywhere" else ["--data", words["DATA"]]
        call = [words.get(word, word) for word in arguments]
        assert main([*call, *data, "--json", str(path)]) == 0
        found[name] = [json.loads(line) for line in path.read_text().splitlines()]
    report = [
        "report",
        NET,
        "--data",
        "digits",
        "--samples",
        f"0,{WRONG}",
        "--bounds",
        "interval,crown",
        "--attacks",
        "fgsm",
    ]
    assert main([*report, "--proofs", "--format", "json", "--out", str(folder / "report")]) == 0
    journal = folder / "report" / "journal" / "linf.jsonl"
    found["report"] = [json.loads(line) for line in journal.read_text().splitlines()]
    return found


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMMANDS, *SMALL_COMMANDS, "report"])
def test_what_is_written_is_what_the_schema_says(name: str, records: dict[str, list[Record]]) -> None:
    assert records[name]
    for record in records[name]:
        Draft202012Validator(SCHEMA).validate(record)


@pytest.mark.slow
def test_the_records_differ_as_the_schema_knows(records: dict[str, list[Record]]) -> None:
    verdicts = {record["verdict"] for held in records.values() for record in held}
    assert verdicts == {"exact", "certified", "falsified", "unresolved", "misclassified"}
    assert records["certified"][0]["upper"] == "inf"
    assert records["executed"][0]["execution_error"] > 0


FAULTS: list[tuple[str, Callable[[Record], object]]] = [
    ("distance", lambda record: record.pop("upper")),
    ("distance", lambda record: record.pop("lower")),
    ("distance", lambda record: record.update(verdict="certified")),
    ("distance", lambda record: record.update(lower=-1.0)),
    ("distance", lambda record: record.update(upper="infinity")),
    ("distance", lambda record: record.update(radius=0.1)),
    ("distance", lambda record: record.update(another=1)),
    ("distance", lambda record: record["run"].pop("model")),
    ("certified", lambda record: record.update(radius=None)),
    ("falsified", lambda record: record.update(target=None)),
    ("change", lambda record: record.pop("after")),
    ("change", lambda record: record["run"].update(direction="sideways")),
    ("margin", lambda record: record.update(before=0.0, after=1.0)),
    ("margin", lambda record: record.pop("against")),
    ("margin", lambda record: record.update(verdict="certified")),
    ("margin", lambda record: record.update(lower=None)),
    ("margin", lambda record: record.update(open_phases=3)),
    ("each", lambda record: record["by_target"].update({"3": [0.0]})),
    ("range", lambda record: record.update(lower=0.0)),
    ("range", lambda record: record["ranges"][0].pop("least")),
    ("range", lambda record: record.update(ranges=[])),
    ("distance", lambda record: record.update(against=1)),
    ("attack", lambda record: record.update(lower=-0.1)),
    ("attack", lambda record: record["attacks"]["fgsm"].pop("inputs")),
    ("perturbed", lambda record: record.pop("variables")),
    ("perturbed", lambda record: record["run"].pop("perturbation")),
    ("unperturbed", lambda record: record.update(variables=[])),
    ("distance", lambda record: record.pop("label")),
    ("distance", lambda record: record.update(classes=[1])),
    ("distance", lambda record: record["run"].update(data=None)),
    ("transfer", lambda record: record.pop("label")),
    ("transfer", lambda record: record.pop("fooled")),
    ("transfer", lambda record: record.update(predicted=0)),
    ("transfer", lambda record: record.update(samples=[0])),
    ("transfer", lambda record: record["run"]["models"][0].pop("model")),
    ("universal", lambda record: record.pop("samples")),
    ("universal", lambda record: record.update(index=1)),
    ("universal", lambda record: record.update(verdict="certified")),
    ("difference", lambda record: record.pop("output")),
    ("difference", lambda record: record.update(classes=[0, 0])),
    ("everywhere", lambda record: record.update(lower="-inf")),
    ("report", lambda record: record.pop("bounds")),
    ("report", lambda record: record["bounds"]["crown"].update(distance=None)),
    ("report", lambda record: record.update(left_out={"magic": {}})),
    ("report", lambda record: record.update(adversary="AAAA")),
    ("distance", lambda record: record.update(left_out={})),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "spoil"), FAULTS)
def test_a_spoilt_record_is_refused(
    name: str, spoil: Callable[[Record], object], records: dict[str, list[Record]]
) -> None:
    record = copy.deepcopy(next(one for one in records[name] if one["index"] != WRONG))
    spoil(record)
    assert not Draft202012Validator(SCHEMA).is_valid(record)
