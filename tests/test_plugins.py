"""Parts of others: found by name or by place, held to what Plumbline's own are held to, and named in every record."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import verifier
from bounds.attacks import ATTACKS
from bounds.lower import LOWER_BOUNDS
from encoders.errors import DataError, OptionError, SoundnessError, TrainingError
from encoders.layer_graph.graph import affine_chain
from encoders.plugins import Table
from tests import plugin_parts
from tests.onnx_builder import to_onnx
from trainers import datasets
from trainers.architectures import ARCHITECTURES, build
from trainers.config import Run
from trainers.regularisers import REGULARISERS, parsed, regulariser
from trainers.runs import Trainer
from trainers.training import TrainOptions
from verifier.cli.main import main
from verifier.engines.registry import ENGINES
from verifier.options import Options
from verifier.studies.attacks.replayed import Attacking

HERE = "tests.plugin_parts:"
DIGEST = "sha256:" + hashlib.sha256(Path(str(plugin_parts.__file__)).read_bytes()).hexdigest()[:16]
X = np.array([0.75, 0.25], np.float32)


@pytest.fixture
def swap(tmp_path: Path) -> Path:
    """Class 0 where the first input is the larger one: X lies 0.25 from the other class in L∞."""
    return to_onnx(affine_chain([np.array([[1.0, 0.0], [0.0, 1.0]])], [np.zeros(2)]), tmp_path / "swap.onnx")


@pytest.fixture
def points(tmp_path: Path) -> str:
    np.savez(tmp_path / "points.npz", x=X[None], y=np.array([0]))
    return str(tmp_path / "points.npz")


def offered(folder: Path, *points: str, group: str = "plumbline.attacks") -> None:
    """A distribution called others 1.2 with entry points, as an installer leaves it in `folder`."""
    held = folder / "others-1.2.dist-info"
    held.mkdir()
    (held / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.2\n")
    (held / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(points) + "\n")


# -- honest ones ------------------------------------------------------------------------------------------------------


def test_an_attack_of_others_is_clipped_and_pulled_to_the_boundary(swap: Path) -> None:
    done = Attacking(verifier.load(swap), Options(), (HERE + "Corner",)).sample(X, 0)
    assert done.best is not None
    assert done.best.distance == pytest.approx(0.25, abs=1e-6)
    assert ATTACKS.found(HERE + "Corner") is plugin_parts.Corner


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.release
def test_in_other_processes_and_in_the_record(
    swap: Path, points: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(points, x=np.stack([X, X]), y=np.array([0, 0]))
    out = tmp_path / "out.jsonl"
    command = ["distance", str(swap), "--data", points, "--engine", HERE + "Idle", "--json", str(out), "--jobs", "2"]
    assert main(command) == 1
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["verdict"], line["engine"], line["lower"]) for line in lines] == [("unresolved", "idle", 0.0)] * 2
    assert lines[0]["attempts"][0]["plugins"] == {"engines": {HERE + "Idle": DIGEST}}
    assert verifier.distance(swap, X).verdict == "exact"
    capsys.readouterr()


def test_an_entry_point_goes_by_its_own_name(
    swap: Path, points: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offered(tmp_path, f"far = {HERE}Corner")
    monkeypatch.syspath_prepend(tmp_path)
    assert ATTACKS.found("far") is plugin_parts.Corner
    assert "far" in ATTACKS.names()
    out = tmp_path / "out.jsonl"
    assert main(["attack", str(swap), "--data", points, "--attack", "far", "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert list(record["attacks"]) == ["far"]
    assert record["run"]["plugins"] == {"attacks": {"far": "others 1.2"}}
    capsys.readouterr()


@pytest.mark.slow
def test_a_training_with_parts_of_others_alone(tmp_path: Path) -> None:
    options = TrainOptions(
        data=HERE + "Points", model=HERE + "NARROW", epochs=1,
        regularisers=(f"{HERE}Bias:strength=0.5,power=2",),  # type: ignore[arg-type]
    )  # fmt: skip
    assert options.regularisers == (plugin_parts.Bias(0.5, 2),)
    record = Trainer(tmp_path).train(Run("net", "net", options))
    assert record["options"]["widths"] == [3]
    assert record["options"]["plugins"] == {
        "data": {HERE + "Points": DIGEST}, "architectures": {HERE + "NARROW": DIGEST},
        "regularisers": {HERE + "Bias": DIGEST},
    }  # fmt: skip
    assert "plugins" not in TrainOptions().record


def test_texts_with_a_place_in_them() -> None:
    assert parsed("a.b:C") == ("a.b:C", {})
    assert parsed("a.b:C:norm=l2,reach=3") == ("a.b:C", {"norm": "l2", "reach": 3})
    assert parsed("mmr:norm=l2") == ("mmr", {"norm": "l2"})


# -- liars ------------------------------------------------------------------------------------------------------------


def test_an_attack_that_claims_to_be_nearer_than_it_is(swap: Path) -> None:
    with pytest.raises(SoundnessError, match="boaster claims a distance"):
        Attacking(verifier.load(swap), Options(), (HERE + "Boaster",)).sample(X, 0)


@pytest.mark.slow
def test_a_lower_bound_above_a_replayed_adversary(
    swap: Path, points: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["report", str(swap), "--data", points, "--attacks", "fgsm", "--pictures", "0", "--out"]
    assert main([*command, str(tmp_path / "liar"), "--bounds", HERE + "Everything"]) == 3
    assert "everything-proven claims" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "honest"), "--bounds", HERE + "Nothing"]) == 0
    line = json.loads((tmp_path / "honest" / "journal" / "linf.jsonl").read_text())
    assert line["bounds"][HERE + "Nothing"]["distance"] == 0.0
    assert line["run"]["plugins"] == {"bounds": {HERE + "Nothing": DIGEST}}


def test_an_engine_whose_proof_a_witness_contradicts(swap: Path, points: str, tmp_path: Path) -> None:
    with pytest.raises(SoundnessError, match="soundness alarm"):
        verifier.distance(swap, X, engine=HERE + "Certain")
    assert main(["distance", str(swap), "--data", points, "--engine", HERE + "Certain", "--out", str(tmp_path)]) == 3


@pytest.mark.slow
def test_what_training_is_fed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels from 0 to 3"):
        datasets.load(HERE + "Mislabelled")
    with pytest.raises(OptionError, match="builds a NoneType"):
        build(HERE + "UNBUILT", (1, 1, 2), 2)
    options = TrainOptions(data=HERE + "Points", widths=(2,), regularisers=(regulariser(HERE + "Spoiler"),), epochs=1)
    with pytest.raises(TrainingError, match="spoiler returns nan"):
        Trainer(tmp_path).train(Run("net", "net", options))


# -- refused ----------------------------------------------------------------------------------------------------------

TABLES: tuple[Table[object], ...] = (
    ATTACKS, LOWER_BOUNDS, ENGINES, REGULARISERS, ARCHITECTURES, datasets.SOURCES,
)  # type: ignore[assignment]  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)
def test_what_is_no_part_is_refused_by_name(table: Table[object]) -> None:
    for name, told in (
        ("nothing-like-it", f"{table.word} 'nothing-like-it': choose from {next(iter(table))}"),
        (HERE + "Stranger", f"{table.word} '{HERE}Stranger' ({table.group}) is no {table.base.__name__}"),
        (HERE + "Absent", f"'{HERE}Absent' ({table.group}) cannot be imported"),
        ("no.such.module:Part", f"'no.such.module:Part' ({table.group}) cannot be imported"),
    ):
        with pytest.raises(OptionError) as caught:
            table.check(name)
        assert str(caught.value).startswith(told)
        assert "\n" not in str(caught.value)


def test_what_would_get_around_the_checks_is_refused() -> None:
    with pytest.raises(OptionError, match="overrides on, which Attack keeps to itself"):
        ATTACKS.check(HERE + "Overrider")
    with pytest.raises(OptionError, match="calls itself 'fgsm'"):
        ATTACKS.check(HERE + "Impostor")


@pytest.mark.parametrize("name", ["fgsm", "portfolio"])
def test_a_plugin_never_takes_the_place_of_a_part(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered(tmp_path, f"{name} = {HERE}Corner")
    monkeypatch.syspath_prepend(tmp_path)
    for asked in ("fgsm", "corner"):
        with pytest.raises(OptionError, match=rf"attack '{name}' \(plumbline.attacks, from others 1.2\) has a name of"):
            ATTACKS.found(asked)
    assert ENGINES.check("search") == "search"  # another group is none of its business


def test_a_module_that_breaks_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_parts.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.chdir(tmp_path)  # modules in the current folder are found
    with pytest.raises(OptionError, match=r"cannot be imported from broken_parts:Part \(RuntimeError: two lines\)"):
        ATTACKS.found("broken_parts:Part")
