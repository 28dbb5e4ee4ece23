"""Torch modules as models: small nets whose distances are known by hand, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import plumbline
from encoders.errors import DataError, ModelError, OptionError, PlumblineError, UnsupportedOperatorError
from verifier.question import torch_module
from verifier.question.model import Model


class Of(nn.Module):
    """A linear layer of two inputs, and what a test makes of it."""

    def __init__(self, made: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.layer, self.made = nn.Linear(2, 2), made

    def forward(self, x: Tensor) -> object:
        return self.made(self.layer, x)


class Skip(nn.Module):
    """relu(x + norm(conv(x))) by a 1 x 1 convolution of weight w, then the greatest of 2 x 2 pixels, against 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0)
        self.pool, self.scores = nn.MaxPool2d(2), nn.Linear(1, 2)
        with torch.no_grad():
            self.conv.weight.fill_(2.0)
            self.norm.running_mean.fill_(0.5)  # type: ignore[union-attr]
            self.norm.running_var.fill_(4.0)  # type: ignore[union-attr]
            self.scores.weight.copy_(torch.tensor([[1.0], [0.0]]))
            self.scores.bias.copy_(torch.tensor([0.0, 0.5]))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(torch.relu(x + self.norm(self.conv(x))))
        return torch.softmax(self.scores(pooled.flatten(1)), dim=1)


@pytest.mark.slow
def test_convolution_norm_skip_pool_and_softmax_by_hand() -> None:
    # A pixel x becomes x + (2x - 1/2)/2 = 2x - 1/4, which is 1/2 at x = 3/8: the greatest pixel moves from 3/4 there.
    net = Skip()
    net.norm.train()
    net.conv.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [part.training for part in net.modules()]
    x = np.array([[[[0.75, 0.0], [0.25, 0.125]]]], dtype=np.float32)
    model = plumbline.load(net, x)
    assert [part.training for part in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert (model.input_shape, model.left_out) == ((1, 2, 2), ("Softmax",))
    found = plumbline.distance(model, x[0])
    assert found.verdict is plumbline.Verdict.EXACT
    assert found.upper == pytest.approx(0.375, abs=1e-6)
    assert found.adversary is not None
    assert found.adversary.input.shape == (1, 2, 2)


@pytest.mark.slow
def test_doubles_samples_one_by_one_and_the_file_that_is_kept(tmp_path: Path) -> None:
    # Scores (x1, x2), of one sample alone: from (0.75, 0.25) both move by a quarter.
    net = Of(lambda layer, x: layer(x.view(1, 2))).double()
    with torch.no_grad():
        net.layer.weight.copy_(torch.eye(2))
        net.layer.bias.zero_()
    x = torch.tensor([[0.75, 0.25], [0.0, 1.0]])
    model = plumbline.load(net, x, save_as=tmp_path / "kept.onnx")
    assert model.input_type is np.float64
    assert [result.upper for result in plumbline.distances(model, x).collected()] == pytest.approx([0.25, 0.5])
    again = plumbline.load(tmp_path / "kept.onnx")
    assert again.digest == model.digest


REFUSED: list[tuple[Callable[[], Model], type[PlumblineError], str]] = [
    (lambda: plumbline.load(nn.Linear(2, 2)), OptionError, "example_input: Linear has no shape"),
    (lambda: plumbline.load(nn.Linear(2, 2), torch.zeros(2)), DataError, "example_input: shape .2,.; its first axis"),
    (lambda: plumbline.load(nn.Linear(2, 2), torch.zeros(1, 3)), ModelError, "Linear: it fails on one sample of shape"),
    (lambda: plumbline.load(nn.Linear(2, 2), [[1, 2]]), DataError, "example_input: x holds int64"),
    (lambda: plumbline.load(nn.Linear(2, 2), [torch.zeros(1, 2)] * 2), DataError, "must take one input"),
    (lambda: plumbline.load(nn.Linear(2, 2).half(), torch.zeros(1, 2)), ModelError, "it computes in float16"),
    (lambda: plumbline.load(nn.Linear(2, 2), torch.zeros(1, 2), output="a"), OptionError, "output is for a file"),
    (lambda: plumbline.load("net.onnx", torch.zeros(1, 2)), OptionError, "example_input is for a torch module"),
    (lambda: plumbline.load(3), OptionError, "model: give the path"),  # type: ignore[arg-type]
]
OF: list[tuple[Callable[[nn.Module, Tensor], object], type[PlumblineError], str]] = [
    (lambda layer, x: (layer(x), x), ModelError, "Of: it returns a tuple of 2; wrap it"),
    (lambda layer, x: layer(x).argmax(1), ModelError, "Of: it returns int64; return the class scores"),
    (lambda layer, x: layer(x)[0], ModelError, "Of: it makes .2,. of one sample"),
    (lambda layer, x: nn.functional.dropout(layer(x)), ModelError, "Of: two runs on one input differ by"),
    (lambda layer, x: layer(x) / 0.0, ModelError, "Of: its output is not finite"),
    (lambda layer, x: layer(x) if x.sum() > 0 else x, ModelError, "Of: torch cannot export it: Could not guard"),
    (lambda layer, x: torch.sin(layer(x)), UnsupportedOperatorError, "Of, exported: node .* Sin is smooth"),
]


@pytest.mark.parametrize(("load", "kind", "told"), REFUSED)
def test_what_cannot_be_loaded_is_named(load: Callable[[], Model], kind: type[PlumblineError], told: str) -> None:
    with pytest.raises(kind, match=told) as caught:
        load()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("made", "kind", "told"), OF)
def test_what_cannot_be_exported_is_named(
    made: Callable[[nn.Module, Tensor], object], kind: type[PlumblineError], told: str
) -> None:
    with pytest.raises(kind, match=told) as caught:
        plumbline.load(Of(made), torch.full((1, 2), 0.5))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_export_of_another_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)
    with torch.no_grad():
        other.weight.copy_(net.weight)
        other.bias.copy_(net.bias + torch.tensor([0.0, 1e-3]))
    by_torch = torch_module._by_torch
    monkeypatch.setattr(torch_module, "_by_torch", lambda module, *rest: by_torch(other, *rest))
    with pytest.raises(ModelError, match=r"Linear: its export differs from the module by 0\.001 in output 1"):
        plumbline.load(net, torch.zeros(1, 2))
