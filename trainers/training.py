"""One network, trained: options in; the module and its curves out. On the CPU, the same seed gives the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from pydantic import BeforeValidator, InstanceOf, Strict
from torch import Tensor, nn
from torch.nn import functional

from encoders.errors import OptionError, TrainingError
from encoders.plugins import taking_part
from encoders.validation import PLAIN, Natural, Positive, Whole, built, checked, validated
from trainers.adversarial import Adversarial
from trainers.architectures import ARCHITECTURES, build, check
from trainers.augmentation import Augmentation
from trainers.datasets import SOURCES, Dataset, check_source
from trainers.regularisers import REGULARISERS, Batch, Regulariser, described, from_config
from trainers.schedule import Schedule
from trainers.validation_split import Validation

EVALUATED_AT_ONCE = 1000
MOMENTUM = 0.9


def _text_or(kind: type[Adversarial] | type[Augmentation] | type[Schedule]) -> BeforeValidator:
    """What is none of the kind is its text."""

    def read(given: Any) -> Any:
        return (
            given
            if given is None or isinstance(given, kind)
            else kind.parsed(checked(kind.__name__.lower(), str, given))
        )

    return BeforeValidator(read)


def _validation(given: Any) -> Any:
    """A validation split as a config's table has it."""
    return given if given is None or isinstance(given, Validation) else built("validation", Validation, given)


@validated
class TrainOptions:
    """All that a trained network depends on, validated once; what a finished run must have in common to be kept.

    Regularisers, adversarial training, augmentation, schedule and validation split may be given as the texts and
    tables of a config. `momentum` is SGD's.
    """

    data: str = "digits"
    train_samples: Natural | None = None
    model: str = "fc1"
    widths: tuple[Natural, ...] = ()
    regularisers: tuple[Annotated[InstanceOf[Regulariser], BeforeValidator(from_config)], ...] = ()
    adversarial: Annotated[InstanceOf[Adversarial] | None, _text_or(Adversarial)] = None
    augmentation: Annotated[InstanceOf[Augmentation], _text_or(Augmentation)] = field(default_factory=Augmentation)
    epochs: Natural = 30
    batch: Natural = 64
    learning_rate: Positive = 1e-3
    optimiser: Literal["adam", "sgd"] = "adam"
    momentum: Annotated[float, Strict(), Ge(0), Lt(1), PLAIN] | None = None
    schedule: Annotated[InstanceOf[Schedule], _text_or(Schedule)] = field(default_factory=Schedule)
    validation: Annotated[InstanceOf[Validation] | None, BeforeValidator(_validation)] = None
    seed: Whole = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_source(self.data, self.train_samples)
        check(self.model, self.widths)
        if self.momentum is not None and self.optimiser != "sgd":
            raise OptionError(f"momentum {self.momentum:g} is for sgd; choose that optimiser, or leave it out")
        names = [chosen.name for chosen in self.regularisers]
        if len(set(names)) < len(names):
            raise OptionError(f"regularisers {', '.join(names)}: give each at most once")
        if self.device != "cpu" and not self.device.startswith("cuda"):
            raise OptionError(f"device {self.device!r}: choose from cpu, cuda")
        if self.device != "cpu" and not torch.cuda.is_available():
            raise OptionError(f"device {self.device}: torch sees no GPU here; use cpu")

    @property
    def sgd_momentum(self) -> float | None:
        """What SGD goes by; None for an optimiser that has none."""
        return None if self.optimiser != "sgd" else MOMENTUM if self.momentum is None else self.momentum

    @property
    def record(self) -> dict[str, Any]:
        """The options as the training record holds them."""
        return {
            "data": self.data,
            "train_samples": self.train_samples,
            "model": self.model,
            "widths": list(self.widths or check(self.model, self.widths)[1]),
            "regularisers": [described(chosen) for chosen in self.regularisers],
            "adversarial": None if self.adversarial is None else self.adversarial.text,
            "augmentation": self.augmentation.text,
            "epochs": self.epochs,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "optimiser": self.optimiser,
            "momentum": self.sgd_momentum,
            "schedule": self.schedule.text,
            "validation": None if self.validation is None else asdict(self.validation),
            "seed": self.seed,
            "device": self.device,
            **taking_part(
                data=SOURCES.origins([self.data]),
                architectures=ARCHITECTURES.origins([self.model]),
                regularisers=REGULARISERS.origins_of(type(chosen) for chosen in self.regularisers),
            ),
        }


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training data gave: means over its steps, and accuracies."""

    loss: float
    cross_entropy: float
    penalty: float
    train_accuracy: float
    test_accuracy: float
    validation_accuracy: float | None = None


Progress = Callable[[int, Epoch], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """The module, in the state that is exported, and its curves."""

    module: nn.Module
    curves: tuple[Epoch, ...]

    @property
    def test_accuracy(self) -> float:
        return self.curves[-1].test_accuracy

    @property
    def validation_accuracy(self) -> float | None:
        return self.curves[-1].validation_accuracy


def train(
    options: TrainOptions,
    shape: tuple[int, ...],
    classes: int,
    data: tuple[Dataset, Dataset],
    progress: Progress | None = None,
) -> Trained:
    """One training. `data`: the train split, of which a validation split may be set aside, and the test split."""
    splits = {"train": data[0], "test": data[1]}
    if options.validation is not None:
        splits["train"], splits["validation"] = options.validation.split(data[0])
    tensors = {name: _tensors(split, shape, options.device) for name, split in splits.items()}
    x, labels = tensors.pop("train")
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        module = build(options.model, shape, classes, options.widths)
        for chosen in options.regularisers:
            module = chosen.prepared(module)
        module = module.to(options.device)
        optimiser = optimiser_of(options, module.parameters())
        schedule = options.schedule.on(optimiser, options.epochs * math.ceil(len(x) / options.batch))
        curves: list[Epoch] = []
        for epoch in range(options.epochs):
            curves.append(_epoch(options, module, optimiser, schedule, (x, labels), tensors, epoch))
            if progress is not None:
                progress(epoch, curves[-1])
    return Trained(module.eval(), tuple(curves))


def optimiser_of(options: TrainOptions, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Torch's own, as the options have it."""
    if options.sgd_momentum is None:
        return torch.optim.Adam(parameters, lr=options.learning_rate)
    return torch.optim.SGD(parameters, lr=options.learning_rate, momentum=options.sgd_momentum)


def _epoch(
    options: TrainOptions,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    data: tuple[Tensor, Tensor],
    held_out: Mapping[str, tuple[Tensor, Tensor]],
    epoch: int,
) -> Epoch:
    module.train()
    totals = torch.zeros(4, dtype=torch.float64)
    order = torch.randperm(len(data[0])).to(data[0].device)
    batches = torch.split(order, options.batch)
    for number, rows in enumerate(batches):
        x, labels = options.augmentation.applied(data[0][rows]), data[1][rows]
        done = (epoch + number / len(batches)) / options.epochs
        if options.adversarial is not None:
            x = options.adversarial.applied(module, x, labels, done)
        x = x.detach().requires_grad_()
        outputs = module(x)
        plain = functional.cross_entropy(outputs, labels)
        loss, penalty = _loss(options.regularisers, Batch(module, x, labels, outputs, done), plain)
        if not math.isfinite(loss.item()):
            raise TrainingError(f"the loss is {loss.item():g} in epoch {epoch + 1}; lower --learning-rate")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        right = (outputs.argmax(1) == labels).sum().item()
        totals += torch.tensor([loss.item(), plain.item(), penalty, right / len(rows)]) * len(rows)
    loss_, plain_, penalty_, right_ = (totals / len(order)).tolist()
    right_of = {f"{name}_accuracy": accuracy(module, *split) for name, split in held_out.items()}
    return Epoch(loss_, plain_, penalty_, right_, **right_of)


def _loss(chosen: tuple[Regulariser, ...], batch: Batch, plain: Tensor) -> tuple[Tensor, float]:
    """natural weight · cross-entropy + Σ strength · penalty, and the sum alone."""
    weight = math.prod(one.natural_weight(batch.progress) for one in chosen)
    penalty = torch.stack([one.term(batch) for one in chosen]).sum() if chosen else plain.new_zeros(())
    return weight * plain + penalty, penalty.item()


@torch.no_grad()
def accuracy(module: nn.Module, x: Tensor, labels: Tensor) -> float:
    """The share that the module, as it will be exported, classifies right; leaves it in training mode or out of it."""
    training = module.training
    module.eval()
    parts = zip(torch.split(x, EVALUATED_AT_ONCE), torch.split(labels, EVALUATED_AT_ONCE), strict=True)
    right = sum(int((module(some).argmax(1) == wanted).sum()) for some, wanted in parts)
    module.train(training)
    return right / len(x)


def _tensors(data: Dataset, shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(data.x).reshape(-1, *shape).to(device), torch.from_numpy(data.y).to(device)
