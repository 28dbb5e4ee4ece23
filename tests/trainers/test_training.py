"""Training: repeatable, honest about what it did, resumed from the disk; configs; what regularisers are for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import verifier
from encoders.errors import OptionError, PlumblineError, TrainingError
from encoders.question import CONVEX, Norm
from trainers.adversarial import Adversarial, ascend, projected
from trainers.architectures import ARCHITECTURES
from trainers.augmentation import Augmentation
from trainers.config import Run, read_study
from trainers.datasets import DATASETS, Dataset, digits
from trainers.export import export
from trainers.regularisers import REGULARISERS, regulariser
from trainers.runs import Trainer
from trainers.training import TrainOptions, train
from verifier.cli.main import main

SHAPE = (1, 8, 8)


def few(count: int = 128) -> tuple[Dataset, Dataset]:
    first, second = digits("train"), digits("test")
    return Dataset(first.x[:count], first.y[:count]), Dataset(second.x[:50], second.y[:50])


def weights(options: TrainOptions) -> list[torch.Tensor]:
    return list(train(options, SHAPE, 10, few()).module.state_dict().values())


@pytest.mark.parametrize("name", sorted(REGULARISERS))
def test_training_is_deterministic_given_the_seed(name: str) -> None:
    options = TrainOptions(
        widths=(6,), epochs=2, seed=3, regularisers=(regulariser(name),), adversarial=Adversarial(Norm.L2, 0.3, 0.5, 2),
        augmentation=Augmentation(1, True, 0.1),
    )  # fmt: skip
    torch.manual_seed(17)
    first = weights(options)
    after = torch.rand(1)
    torch.manual_seed(18)
    second = weights(options)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.manual_seed(17)
    assert torch.equal(after, torch.rand(1)), "training must leave the caller's random state alone"


def test_the_seed_matters() -> None:
    first, second = (weights(TrainOptions(widths=(6,), epochs=1, seed=seed)) for seed in (0, 1))
    assert not torch.equal(first[0], second[0])


def test_the_curves_tell_what_was_minimised() -> None:
    chosen = (regulariser("weight-decay", strength=0.01), regulariser("cross-lipschitz", strength=0.1))
    trained = train(
        TrainOptions(widths=(16,), epochs=8, batch=16, learning_rate=0.01, regularisers=chosen), SHAPE, 10, few()
    )
    assert len(trained.curves) == 8
    for epoch in trained.curves:
        assert epoch.loss == pytest.approx(epoch.cross_entropy + epoch.penalty, rel=1e-5)
    assert trained.curves[-1].loss < trained.curves[0].loss
    assert trained.test_accuracy > 0.3
    x = torch.from_numpy(few()[1].x).reshape(-1, *SHAPE)
    right = (trained.module(x).argmax(1).numpy() == few()[1].y).mean()
    assert trained.test_accuracy == pytest.approx(right)


def test_a_loss_that_is_no_number_ends_the_training_in_one_line() -> None:
    with pytest.raises(TrainingError, match=r"learning.rate"):
        train(TrainOptions(widths=(6,), learning_rate=1e30, epochs=3), SHAPE, 10, few())


@pytest.mark.parametrize(
    "options",
    [{"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"model": "fc7"}, {"widths": (1, 2)}, {"device": "tpu"},
     {"regularisers": (regulariser("mmr"), regulariser("mmr"))}],
)  # fmt: skip
def test_options_are_refused_before_anything_is_trained(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        TrainOptions(**options)  # type: ignore[arg-type]


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", CONVEX)
def test_adversarial_examples_stay_in_ball_and_box_and_raise_the_loss(norm: Norm) -> None:
    torch.manual_seed(0)
    module = train(TrainOptions(widths=(16,), epochs=5, learning_rate=0.01), SHAPE, 10, few(400)).module
    data = few()[1]
    x, labels = torch.from_numpy(data.x).reshape(-1, *SHAPE), torch.from_numpy(data.y)
    radius = {Norm.LINF: 0.1, Norm.L2: 0.5, Norm.L1: 2.0}[norm]
    moved = ascend(module, x, labels, norm, radius, 10)
    assert (norm.length((moved - x).flatten(1).numpy()) <= radius * (1 + 1e-5)).all()
    assert moved.min() >= 0
    assert moved.max() <= 1
    loss = nn.functional.cross_entropy
    assert loss(module(moved), labels) > loss(module(x), labels) + 0.2


def test_projections_by_hand() -> None:
    # From (0.5, 0.5, 1): the difference (0.4, -0.2, 0.3) is cut to (0.4, -0.2, 0) by the box.
    x, step = torch.tensor([[0.5, 0.5, 1.0]]), torch.tensor([[0.4, -0.2, 0.3]])
    assert projected(x, step, Norm.LINF, 0.3)[0].tolist() == pytest.approx([0.8, 0.3, 1.0])
    assert projected(x, step, Norm.L1, 0.4)[0].tolist() == pytest.approx([0.8, 0.4, 1.0])  # each 0.1 less
    half = 0.5 / np.sqrt(0.2) / 2
    assert projected(x, step, Norm.L2, 0.25)[0].tolist() == pytest.approx([0.5 + 0.4 * half, 0.5 - 0.2 * half, 1.0])


def test_a_share_of_the_batch_is_attacked() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    x = torch.full((8, 1, 2, 2), 0.5)
    moved = Adversarial.parsed("linf:0.1:0.25").applied(module, x, torch.zeros(8, dtype=torch.int64))
    assert (moved != x).flatten(1).any(1).tolist() == [True] * 2 + [False] * 6


@pytest.mark.parametrize(
    "text", ["linf", "l7:0.1:0.5", "linf:x", "linf:0:0.5", "linf:0.1:0", "linf:0.1:2", "linf:0.1:0.5:0", "linf:1:1:1:1"]
)
def test_adversarial_texts_that_are_refused(text: str) -> None:
    with pytest.raises(OptionError):
        Adversarial.parsed(text)


def test_adversarial_texts() -> None:
    assert Adversarial.parsed("l1:2") == Adversarial(Norm.L1, 2.0, 0.5, 10)
    assert Adversarial.parsed("l2:0.5:1:7").text == "l2:0.5:1:7"


def test_augmentation_moves_whole_images() -> None:
    torch.manual_seed(1)
    x = torch.zeros(64, 2, 5, 5)
    x[:, :, 2, 1] = torch.tensor([0.5, 1.0])
    moved = Augmentation.parsed("shift:1,flip").applied(x)
    assert torch.equal(moved[:, 0] * 2, moved[:, 1])
    found = {tuple(place.tolist()) for place in moved[:, 1].nonzero()[:, 1:]}
    assert found == {(row, column) for row in (1, 2, 3) for column in (0, 1, 2, 3, 4)}
    noisy = Augmentation.parsed("noise:0.1").applied(x)
    assert 0 <= noisy.min() < noisy.max() <= 1
    assert torch.equal(Augmentation.parsed("").applied(x), x)
    assert Augmentation.parsed("noise:0.1,shift:2").text == "shift:2,noise:0.1"
    for wrong in ("shift", "shift:x", "turn:3", "flip:2", "shift:-1"):
        with pytest.raises(OptionError):
            Augmentation.parsed(wrong)


# -- runs on the disk -------------------------------------------------------------------------------------------------


def test_a_run_leaves_a_network_and_a_record_that_agree(tmp_path: Path) -> None:
    run = Run("plain", "plain", TrainOptions(widths=(8,), epochs=2, batch=32))
    record = Trainer(tmp_path).train(run)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain-seed0.json", "plain-seed0.onnx"]
    assert json.loads((tmp_path / "plain-seed0.json").read_text()) == record
    assert {"options", "versions", "curves", "test_accuracy", "seconds"} <= record.keys()
    assert record["options"]["seed"] == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "plain-seed0.onnx"), providers=["CPUExecutionProvider"])
    data = digits("test")
    scores = np.asarray(session.run(None, {"input": data.x.reshape(-1, *SHAPE)})[0])
    assert (scores.argmax(1) == data.y).mean() == pytest.approx(record["test_accuracy"], abs=2 / len(data.y))


CONFIG = """
data = "digits"
widths = [4]
epochs = 1
seeds = [0, 1]
out = "OUT"

[[runs]]

[[runs]]
name = "lipschitz"
regularisers = [{ name = "cross-lipschitz", strength = [0.1, 1] }, "weight-decay:strength=0.01"]

[[runs]]
name = "adversarial"
adversarial = ["linf:0.1:0.5", "l1:1"]
epochs = 2
seeds = [5]
"""


def test_a_config_trains_all_its_runs_and_then_only_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(CONFIG.replace("OUT", str(tmp_path / "nets")))
    names = [
        "none-seed0", "none-seed1", "lipschitz-0.1-seed0", "lipschitz-0.1-seed1", "lipschitz-1-seed0",
        "lipschitz-1-seed1", "adversarial-linf-0.1-0.5-seed5", "adversarial-l1-1-seed5",
    ]  # fmt: skip
    assert main(["train", str(path)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names
    (tmp_path / "nets" / "lipschitz-1-seed0.json").unlink()
    (tmp_path / "nets" / "none-seed1.onnx").write_bytes(b"half a file")
    assert main(["train", str(path)]) == 0
    again = [line.split()[0] for line in capsys.readouterr().out.splitlines() if not line.endswith("kept")]
    assert again == ["none-seed1", "lipschitz-1-seed0"]
    path.write_text(path.read_text().replace("epochs = 2", "epochs = 3"))
    assert main(["train", str(path)]) == 0
    again = [line.split()[0] for line in capsys.readouterr().out.splitlines() if not line.endswith("kept")]
    assert again == ["adversarial-linf-0.1-0.5-seed5", "adversarial-l1-1-seed5"]


def test_a_config_in_python(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(CONFIG)
    runs = read_study(path).runs
    assert {run.family for run in runs} == {"none", "lipschitz", "adversarial"}
    both = next(run for run in runs if run.variant == "lipschitz 1").options.regularisers
    assert [(one.name, one.strength) for one in both] == [("cross-lipschitz", 1.0), ("weight-decay", 0.01)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epochs = 1", "runs"),
        ("x = [", "not a TOML file"),
        ("[[runs]]\nepoch = 3", "'epoch'"),
        ("[[runs]]\nepochs = 'many'", "epochs 'many': it should be a whole number"),
        ("[[runs]]\nepochs = true", "epochs True"),
        ("seeds = 3\n[[runs]]", "seeds 3: it should be a list"),
        ("seeds = []\n[[runs]]", "seeds"),
        ("[[runs]]\nseed = 3", "did you mean seeds"),
        ("[[runs]]\nname = 3", "name 3"),
        ("out = 3\n[[runs]]", "out 3"),
        ("runs = [3]", "runs 3: it should be a table"),
        ("[[runs]]\nwidths = 3", "widths 3: it should be a list"),
        ("[[runs]]\nwidths = ['x']", r"widths\[0\] 'x'"),
        ("[[runs]]\ndata = 'digitz'", "'digitz': choose from digits"),
        ("[[runs]]\ndata = 'nowhere.npz'", "no such file"),
        ("[[runs]]\nmodel = 'fc7'", "'fc7': choose from fc1"),
        ("[[runs]]\nadversarial = 3", "adversarial 3: it should be a text"),
        ("[[runs]]\nadversarial = []", "empty"),
        ("[[runs]]\naugmentation = 'shft:1'", "'shft:1'"),
        ("[[runs]]\nregularisers = 'mmr'", "regularisers 'mmr': it should be a list"),
        ("[[runs]]\nregularisers = [{ name = 'mmr', strenght = 1 }]", "did you mean strength"),
        ("[[runs]]\nregularisers = [{ name = 'mmr', strength = ['x'] }]", "regulariser mmr: strength 'x'"),
        ("[[runs]]\n[[runs]]", "two runs"),
        ("[[runs]]\nregularisers = [3]", "not 3"),
        ("[[runs]]\nregularisers = ['mmx']", "'mmx'"),
    ],
)
def test_configs_that_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(content)
    with pytest.raises(PlumblineError, match=said) as caught:
        read_study(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("norm = ['linf']", "option 'norm': did you mean norms?"),
        ("norms = ['l0']", "norm 'l0': choose from linf, l1, l2"),
        ("samples = '0:x'", "samples '0:x'"),
        ("engine = 'magic'", "engine 'magic': choose from search"),
        ("device = 'tpu'", "device 'tpu'"),
        ("time_limit = 'x'", "time_limit 'x'"),
        ("baseline = 'nome'", "baseline 'nome': choose from none"),
    ],
)
def test_a_typo_in_the_comparison_stops_the_training_before_it_begins(
    tmp_path: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(f"out = '{tmp_path / 'nets'}'\n[[runs]]\nepochs = 1\nwidths = [2]\n[compare]\n{content}")
    assert main(["train", str(path)]) == 2
    told = capsys.readouterr().err
    assert f"{path}: [compare]: {said}" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "nets").exists()


def test_options_of_a_training_from_texts_and_tables() -> None:
    options = TrainOptions(adversarial="linf:0.1", regularisers=["mmr", {"name": "dropout", "strength": 0.1}])  # type: ignore[arg-type]
    assert options.adversarial == Adversarial(Norm.LINF, 0.1)
    assert options.regularisers == (regulariser("mmr"), regulariser("dropout", strength=0.1))


def test_one_network_from_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["train", "--width", "4", "--epochs", "1", "--regularizer", "cross-lipschitz", "--strength", "1e-4"]
    flags += ["--regulariser", "mmr:norm=l2", "--adversarial", "linf:0.1:0.5", "--seed", "2", "--out", str(tmp_path)]
    assert main(flags) == 0
    name = "digits-fc1-cross-lipschitz-mmr-adversarial-linf-0.1-seed2"
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert [(one["name"], one["strength"]) for one in record["options"]["regularisers"]] == [
        ("cross-lipschitz", 1e-4), ("mmr", 0.5),
    ]  # fmt: skip
    assert record["options"]["adversarial"] == "linf:0.1:0.5:10"
    assert verifier.load(tmp_path / f"{name}.onnx").classes == 10
    assert capsys.readouterr().out.startswith(name)
    assert main(flags[:-2]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["train", "--strength", "1", "--out", str(tmp_path)]) == 2


# -- what it is for ---------------------------------------------------------------------------------------------------


def exact_mean(path: Path, count: int) -> float:
    data, total = digits("test"), 0.0
    for index in range(count):
        result = verifier.distance(path, data.x[index], label=int(data.y[index]), tolerance=1e-3)
        assert result.upper - result.lower <= 1e-3
        total += result.lower
    return total / count


def test_what_claims_to_help_raises_the_exact_mean_distance_on_digits(tmp_path: Path) -> None:
    claims = {
        "cross-lipschitz": {"regularisers": (regulariser("cross-lipschitz", strength=0.03),)},
        "mmr": {"regularisers": (regulariser("mmr", strength=0.3, boundary_reach=0.15, decision_reach=0.15),)},
        "adversarial": {"adversarial": Adversarial(Norm.LINF, 0.1, 0.5, 5)},
    }
    trainer, found = Trainer(tmp_path), {}
    for name, more in {"none": {}, **claims}.items():
        options = TrainOptions(widths=(12,), epochs=12, batch=32, learning_rate=0.01, **more)  # type: ignore[arg-type]
        record = trainer.train(Run(name, name, options))
        assert record["test_accuracy"] > 0.8
        found[name] = exact_mean(tmp_path / f"{name}-seed0.onnx", 12)
    for name in claims:
        assert found[name] > 1.15 * found["none"], found


@pytest.mark.parametrize("name", ["ibp", "mmr", "cross-lipschitz"])
def test_a_residual_net_with_batch_norm_is_trained_exported_and_verified(name: str, tmp_path: Path) -> None:
    chosen = (regulariser(name, strength=0.01),)
    options = TrainOptions(
        model="resnet-small", widths=(2, 3), epochs=2, batch=32, learning_rate=0.02, regularisers=chosen
    )
    trained = train(options, SHAPE, 10, few())
    path = tmp_path / "net.onnx"
    export(path, trained.module, SHAPE)
    x = few()[1].x[:3]
    with torch.no_grad():
        expected = trained.module(torch.from_numpy(x).reshape(-1, *SHAPE)).numpy()
    model = verifier.load(path)
    np.testing.assert_allclose(model.scores(x), expected, atol=1e-4)
    np.testing.assert_allclose(model.real(x.astype(np.float64)), expected, atol=1e-4)
    assert verifier.verify(model, x[0], 1e-4).verdict == "certified"


def test_resnet32_is_trained(tmp_path: Path) -> None:
    options = TrainOptions(model="resnet32", widths=(2, 2, 2), epochs=1, batch=32)
    assert train(options, SHAPE, 10, few(64)).curves[0].loss > 0


def test_the_help_names_what_the_tables_hold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "4000")
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    for name in (*REGULARISERS, *ARCHITECTURES, *DATASETS):
        assert name in told.replace(",", " ").replace(")", " ").split(), name
