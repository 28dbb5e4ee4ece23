"""Training: repeatable, honest about what it did, resumed from the disk; configs; what regularisers are for."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import verifier
from encoders.errors import DataError, ModelError, OptionError, PlumblineError, TrainingError
from encoders.question import CONVEX, Norm
from trainers.adversarial import Adversarial, ascend, linearised, projected
from trainers.architectures import ARCHITECTURES
from trainers.augmentation import Augmentation, rotated
from trainers.choice import choices
from trainers.config import Run, read_study
from trainers.datasets import DATASETS, Dataset, digits
from trainers.export import export
from trainers.regularisers import REGULARISERS, regulariser
from trainers.runs import Trainer, in_todays_words
from trainers.schedule import Schedule
from trainers.training import TrainOptions, optimiser_of, train
from trainers.validation_split import Validation
from verifier.cli.main import main
from verifier.studies.comparison.options import read_comparison, subjects_of_study

SHAPE = (1, 8, 8)


def few(count: int = 128) -> tuple[Dataset, Dataset]:
    first, second = digits("train"), digits("test")
    return Dataset(first.x[:count], first.y[:count]), Dataset(second.x[:50], second.y[:50])


def weights(options: TrainOptions) -> list[torch.Tensor]:
    return list(train(options, SHAPE, 10, few()).module.state_dict().values())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REGULARISERS))
@pytest.mark.fewer(7)
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
     {"regularisers": (regulariser("mmr"), regulariser("mmr"))}, {"optimiser": "lbfgs"}, {"momentum": 0.9},
     {"optimiser": "sgd", "momentum": 1.0}, {"schedule": "step"}, {"schedule": "step:0.5,0.25:0.1"},
     {"schedule": "step:0.5,1.0"}, {"schedule": "step:0.5:0"}, {"schedule": "cosine:2"}, {"validation": {"share": 1.0}},
     {"validation": {"part": 0.1}}],
)  # fmt: skip
def test_options_are_refused_before_anything_is_trained(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        TrainOptions(**options)  # type: ignore[arg-type]


def test_sgd_steps_by_hand() -> None:
    # One weight of each update is (last step · momentum + gradient) · rate; the rate falls to a tenth halfway.
    parameter = nn.Parameter(torch.zeros(1))
    options = TrainOptions(optimiser="sgd", momentum=0.5, learning_rate=1.0, schedule="step:0.5:0.1")  # type: ignore[arg-type]
    assert options.sgd_momentum == 0.5
    optimiser = optimiser_of(options, [parameter])
    schedule, path = options.schedule.on(optimiser, 4), []
    for _ in range(4):
        parameter.grad = torch.ones(1)
        optimiser.step()
        schedule.step()
        path.append(parameter.item())
    # Steps 1, 1.5 at rate 1; then 1.75, 1.875 at 0.1.
    assert path == pytest.approx([-1.0, -2.5, -2.675, -2.8625])


def test_schedules_in_text() -> None:
    for text in ("cosine", "constant", "step:0.5,0.75:0.1"):
        assert Schedule.parsed(text).text == text
    assert Schedule.parsed("step:0.5") == Schedule(False, (0.5,), 0.1)
    assert TrainOptions().record["schedule"] == "cosine"


def test_sgd_trains_and_is_told_in_the_record() -> None:
    options = TrainOptions(widths=(8,), epochs=6, batch=16, optimiser="sgd", learning_rate=0.05)
    assert (options.record["optimiser"], options.record["momentum"]) == ("sgd", 0.9)
    trained = train(options, SHAPE, 10, few())
    assert trained.curves[-1].loss < 0.8 * trained.curves[0].loss


# -- a validation split -----------------------------------------------------------------------------------------------


def numbered(count: int) -> Dataset:
    return Dataset((np.arange(count) / count).astype(np.float32).reshape(-1, 1), np.arange(count) % 2)


def test_a_validation_split_is_drawn_by_its_seed_and_kept_out_of_training() -> None:
    data = numbered(50)
    (left, aside), (again, _), (other, _) = (Validation(0.2, seed).split(data) for seed in (3, 3, 4))
    assert (len(left.y), len(aside.y)) == (40, 10)
    assert sorted([*left.x[:, 0], *aside.x[:, 0]]) == data.x[:, 0].tolist()
    np.testing.assert_array_equal(left.x, again.x)
    assert not np.array_equal(left.x, other.x)
    assert (left.y == (left.x[:, 0] * 50).round().astype(int) % 2).all()
    with pytest.raises(DataError, match="leave some"):
        Validation(0.001).split(data)


def test_no_validation_sample_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def spy(augmentation: Augmentation, x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x

    monkeypatch.setattr(Augmentation, "applied", spy)
    data, validation = few(), Validation(0.25, 1)
    trained = train(TrainOptions(widths=(4,), epochs=2, validation=validation), SHAPE, 10, data)
    kept, aside = validation.split(data[0])
    used = {row.numpy().tobytes() for row in torch.cat(seen).flatten(1)}
    assert used == {row.tobytes() for row in kept.x.reshape(len(kept.x), -1)}
    x = torch.from_numpy(aside.x).reshape(-1, *SHAPE)
    right = (trained.module(x).argmax(1).numpy() == aside.y).mean()
    assert trained.validation_accuracy == pytest.approx(right)


CHOOSING = """
data = "digits"
widths = [2]
epochs = 1
seeds = [0, 1]
out = "OUT"

[validation]
share = 0.2
seed = 5
cost = 0.02

[[runs]]
name = "plain"

[[runs]]
name = "decay"
regularisers = [{ name = "weight-decay", strength = [0.1, 1, 10] }]

[compare]
variants = "chosen"
"""


def test_the_strongest_that_costs_no_more_on_the_validation_split_is_chosen_and_one_as_accurate_as_the_baseline(
    tmp_path: Path,
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(CHOOSING.replace("OUT", str(tmp_path)))
    study = read_study(path)
    assert {run.options.validation for run in study.runs} == {Validation(0.2, 5)}
    with pytest.raises(ModelError, match="plumbline train"):
        choices(study)
    # Means over both seeds: 0.90, 0.885, 0.87; at a cost of 0.02 the second is the last that may be, and the first the
    # last that is as accurate as the plain one with 0.91. The test accuracies would choose the third.
    told = {"plain": (0.91, 0.91), "decay 0.1": (0.95, 0.85), "decay 1": (0.887, 0.883), "decay 10": (0.86, 0.88)}
    for run in study.runs:
        accuracy = told[run.variant][run.options.seed]
        record = {"validation_accuracy": accuracy, "test_accuracy": 1.0 if run.variant == "decay 10" else 0.5}
        (tmp_path / f"{run.stem}.json").write_text(json.dumps(record))
        (tmp_path / f"{run.stem}.onnx").touch()
    assert [one.variant for one in choices(study)] == ["plain", "decay 1"]
    assert [one.matched for one in choices(study, baseline="plain")] == ["plain", "decay 0.1"]
    assert [one.matched for one in choices(study, baseline="decay")] == ["plain", "decay 1"]
    assert [one.matched for one in choices(study, baseline="nobody")] == [None, None]
    _, options = read_comparison(path)
    compared = subjects_of_study(study, options.variants)
    assert [one.stem for one in compared] == ["plain-seed0", "plain-seed1", "decay-1-seed0", "decay-1-seed1"]
    beside = subjects_of_study(study, options.variants, "plain")
    assert [(one.variant, one.matched) for one in beside[::2]] == [
        ("plain", True), ("decay 0.1", True), ("decay 1", False),
    ]  # fmt: skip
    assert len(subjects_of_study(study)) == 8
    told["decay 0.1"] = told["decay 1"] = (0.8, 0.8)
    for run in study.runs:
        record = {"validation_accuracy": told[run.variant][run.options.seed]}
        (tmp_path / f"{run.stem}.json").write_text(json.dumps(record))
    assert [one.matched for one in choices(study, baseline="plain")] == ["plain", None]


def test_a_study_with_a_validation_split_tells_and_chooses_by_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(CHOOSING.replace("OUT", str(tmp_path / "nets")))
    assert main(["train", str(path)]) == 0
    *trained, chosen = capsys.readouterr().out.splitlines()
    assert all("validation accuracy" in line and "test accuracy" not in line for line in trained)
    assert chosen.startswith("chosen: decay ")
    path.write_text(path.read_text().replace("[validation]\nshare = 0.2\nseed = 5\ncost = 0.02\n", ""))
    with pytest.raises(OptionError, match=r"\[validation\] table"):
        read_comparison(path)


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
    "text",
    [
        "linf",
        "l7:0.1:0.5",
        "linf:x",
        "linf:0:0.5",
        "linf:0.1:0",
        "linf:0.1:2",
        "linf:0.1:0.5:0",
        "linf:1:1:1:1",
        "linearised:l2:1:0.5:3",
        "linearised:l2",
        "fgsm:l2:1",
        "linf:0.1:grows=2",
        "linf:0.1:grows=",
        "linf:0.1:grows=soon",
        "linf:0.1:grows=0.5:1",
    ],
)
def test_adversarial_texts_that_are_refused(text: str) -> None:
    with pytest.raises(OptionError):
        Adversarial.parsed(text)


def test_adversarial_texts() -> None:
    assert Adversarial.parsed("l1:2") == Adversarial(Norm.L1, 2.0, 0.5, 10)
    assert Adversarial.parsed("pgd:l2:0.5:1:7").text == "l2:0.5:1:7"
    one = Adversarial.parsed("linearised:l2:1.5")
    assert (one.method, one.norm, one.radius, one.text) == ("linearised", Norm.L2, 1.5, "linearised:l2:1.5:0.5")
    growing = Adversarial.parsed("linf:0.3:1:grows=0.5")
    assert growing == Adversarial(Norm.LINF, 0.3, 1.0, grows=0.5)
    assert growing.text == "linf:0.3:1:10:grows=0.5"
    assert Adversarial.parsed(growing.text) == growing


@pytest.mark.parametrize("method", ["", "linearised:"])
def test_the_radius_grows_with_the_training(method: str) -> None:
    # Classes 0 and 1 draw level where the one input is 0: from 1 an attack goes as far as it may.
    module = nn.Linear(1, 2, bias=False)
    module.weight.data = torch.tensor([[1.0], [0.0]])
    growing = Adversarial.parsed(f"{method}linf:0.8:1:grows=0.5")
    x, labels = torch.ones(1, 1), torch.tensor([0])
    found = [float(growing.applied(module, x, labels, done)) for done in (0.0, 0.125, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([1.0, 0.8, 0.6, 0.2, 0.2])


def test_a_linearised_step_by_hand() -> None:
    # f_0 - f_1 = 3 x1 + 4 x2 - 2; at (0.5, 0.5) it leads by 1.5, and the nearest level point is 0.3 away: (0.32, 0.26).
    # At (0.9, 0.1) it leads by 1.1: free, x2 would fall by 0.176; at 0.1 it stops, and x1 falls by 0.7 / 3 alone.
    module = nn.Linear(2, 2)
    module.weight.data, module.bias.data = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([-2.0, 0.0])
    x, labels = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.1, 0.1]]), torch.tensor([0, 0, 0])
    found = linearised(module, x, labels, Norm.L2, 1.0)
    assert found[0].tolist() == pytest.approx([0.32, 0.26], abs=1e-5)
    assert found[1].tolist() == pytest.approx([0.9 - 0.7 / 3, 0.0], abs=1e-5)
    assert found[2].tolist() == pytest.approx([0.1, 0.1])  # classified as 1 already
    # Within 0.1 of the first: a third of the way.
    near = linearised(module, x[:1], labels[:1], Norm.L2, 0.1)
    assert near[0].tolist() == pytest.approx([0.44, 0.42], abs=1e-5)


@pytest.mark.parametrize("norm", CONVEX)
def test_linearised_examples_stay_in_ball_and_box_and_raise_the_loss(norm: Norm) -> None:
    module = train(TrainOptions(widths=(16,), epochs=5, learning_rate=0.01), SHAPE, 10, few(400)).module
    data = few()[1]
    x, labels = torch.from_numpy(data.x).reshape(-1, *SHAPE), torch.from_numpy(data.y)
    radius = {Norm.LINF: 0.1, Norm.L2: 0.5, Norm.L1: 2.0}[norm]
    moved = linearised(module, x, labels, norm, radius)
    assert moved.dtype == torch.float32
    assert (norm.length((moved - x).flatten(1).numpy()) <= radius * (1 + 1e-5)).all()
    assert 0 <= moved.min() <= moved.max() <= 1
    loss = nn.functional.cross_entropy
    assert loss(module(moved), labels) > loss(module(x), labels) + 0.1


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
    assert Augmentation.parsed("rotate:10,flip").text == "flip,rotate:10"
    turned = Augmentation.parsed("rotate:30").applied(x)
    assert torch.allclose(turned[:, 0] * 2, turned[:, 1])
    assert len(np.unique(turned.numpy(), axis=0)) == len(x)
    for wrong in ("shift", "shift:x", "turn:3", "rotate:x", "rotate:200", "flip:2", "shift:-1"):
        with pytest.raises(OptionError):
            Augmentation.parsed(wrong)


def test_a_quarter_turn_is_the_quarter_turn() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4, 4)
    found = rotated(x, torch.tensor([math.pi / 2, 0.0]))
    torch.testing.assert_close(found[0], x[0].rot90(1, (1, 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], x[1], atol=1e-5, rtol=0)
    # Of a bar in a wide image: a dot two to the right of the middle is two above it, pixels staying square.
    wide = torch.zeros(1, 1, 5, 9)
    wide[0, 0, 2, 6] = 1.0
    assert rotated(wide, torch.tensor([math.pi / 2]))[0, 0].round().nonzero().tolist() == [[0, 4]]


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


def test_a_record_from_before_there_was_a_choice_is_still_good(tmp_path: Path) -> None:
    def run(**options: object) -> Run:
        return Run("one", "one", TrainOptions(widths=(2,), epochs=1, **options))  # type: ignore[arg-type]

    margin = regulariser("cross-lipschitz-margin", power=1)
    path, trainer = tmp_path / "one-seed0.json", Trainer(tmp_path)
    record = trainer.train(run(regularisers=(margin,)))
    for key in ("optimiser", "momentum", "schedule", "validation"):
        del record["options"][key]
    del record["validation_accuracy"], record["options"]["regularisers"][0]["power"]
    path.write_text(json.dumps(record))
    assert trainer.finished(run(regularisers=(margin,))) == record
    assert trainer.finished(run(regularisers=(regulariser("cross-lipschitz-margin"),))) is None
    assert trainer.finished(run(regularisers=(margin,), optimiser="sgd")) is None


def test_dropout_of_an_older_residual_net_is_not_that_of_today() -> None:
    options = TrainOptions(model="resnet-small", regularisers=(regulariser("dropout"),)).record
    old = {
        key: value for key, value in options.items() if key not in ("optimiser", "momentum", "schedule", "validation")
    }
    assert in_todays_words(options) == options
    assert in_todays_words(old) != options
    assert in_todays_words({**old, "model": "fc1"}) == {**options, "model": "fc1"}


CONFIG = """
data = "digits"
widths = [4]
epochs = 1
batch = 400
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


@pytest.mark.slow
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
        ("[[runs]]\nschedule = 'stp:1'", "schedule 'stp:1': write cosine"),
        ("[[runs]]\noptimiser = 'sdg'", "optimiser 'sdg': choose from adam, sgd"),
        ("[[runs]]\nvalidation = { share = 0.2 }", "option 'validation'"),
        ("validation = 0.2\n[[runs]]", "validation 0.2: it should be a table"),
        ("[validation]\nseed = 1\n[[runs]]", "give the share"),
        ("[validation]\nshare = 1.5\n[[runs]]", "share 1.5"),
        ("[validation]\nshare = 0.2\ncosts = 1\n[[runs]]", "did you mean|option 'costs'"),
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


def test_a_strength_is_of_the_regulariser_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["train", "--width", "4", "--epochs", "1", "--name", "both", "--out", str(tmp_path)]
    assert main([*flags, "--regularizer", "mmr", "--regularizer", "weight-decay", "--strength", "0.25"]) == 0
    record = json.loads((tmp_path / "both-seed0.json").read_text())
    assert [one["strength"] for one in record["options"]["regularisers"]] == [regulariser("mmr").strength, 0.25]
    for wrong in (["--strength", "1", "--regularizer", "mmr"], ["--regularizer", "mmr", *["--strength", "1"] * 2]):
        assert main([*flags, *wrong]) == 2
        assert "before each --strength" in capsys.readouterr().err


def test_flags_write_over_no_network_with_other_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["train", "--width", "4", "--epochs", "1", "--out", str(tmp_path), "--adversarial"]
    assert main([*flags, "linf:0.1:0.5"]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main([*flags, "linf:0.1:1"]) == 2
    assert "(adversarial)" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert main([*flags, "linf:0.1:0.5"]) == 0
    assert capsys.readouterr().out.endswith("kept\n")
    assert main([*flags, "linf:0.1:1", "--name", "more"]) == 0


def test_a_config_takes_no_flag_of_one_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.toml"
    path.write_text(CONFIG)
    for flags, named in ((["--epochs", "30"], "--epochs"), (["--regularizer", "mmr"], "--regulariser")):
        assert main(["train", str(path), *flags]) == 2
        assert f"{named} beside a config" in capsys.readouterr().err


# -- what it is for ---------------------------------------------------------------------------------------------------


def exact_mean(path: Path, count: int) -> float:
    data, total = digits("test"), 0.0
    for index in range(count):
        result = verifier.distance(path, data.x[index], label=int(data.y[index]), tolerance=1e-3)
        assert result.upper - result.lower <= 1e-3
        total += result.lower
    return total / count


@pytest.mark.release
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ibp", "mmr", "cross-lipschitz"])
@pytest.mark.fewer
def test_a_residual_net_with_batch_norm_is_trained_exported_and_verified(name: str, tmp_path: Path) -> None:
    chosen = (regulariser(name, strength=0.01),)
    options = TrainOptions(
        model="resnet-small", widths=(2, 3), epochs=1, batch=32, learning_rate=0.02, regularisers=chosen
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
