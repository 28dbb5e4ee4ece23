"""Penalties against values worked out by hand and numerical differentiation; the table, the options, the check."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from encoders.errors import ModelError, OptionError, TrainingError
from encoders.question import Norm
from trainers.architectures import build
from trainers.certified import box_around, crown_margins, interval_margins, intervals
from trainers.layers import Residual, adjoint, linear, steps_of, values_of
from trainers.regularisers import REGULARISERS, Batch, Regulariser, parsed, regulariser
from trainers.regularisers.base import ramp, score_gradients, weights_of
from trainers.regularisers.geometry import boundary_distances, decision_distances

# The hand-worked net: two inputs, two neurons, two classes.
#
#     h1 = relu(  x1 + 2 x2 - 1 )        f_0 = 3 h1 + h2
#     h2 = relu( -x1 +   x2 + 1 )        f_1 =   h1 - h2
#
# At x = (1, 0.5): pre-activations 1 and 0.5, both open upwards, so f = (3.5, 0.5) and
#     ∇f_0 = 3 (1, 2) + (-1, 1) = (2, 7)      ∇f_1 = (1, 2) - (-1, 1) = (2, 1)      their difference (0, 6).
# At x = (0, 0): pre-activations -1 and 1: h1 is dead, f = (1, -1), ∇f_0 = (-1, 1), ∇f_1 = (1, -1): (-2, 2) apart.


def hand_net() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    values = ([[1, 2], [-1, 1]], [-1, 1], [[3, 1], [1, -1]], [0, 0])
    for parameter, value in zip(module.parameters(), values, strict=True):
        parameter.data = torch.tensor(value, dtype=torch.float64)
    return module


def batch(module: nn.Module, x: Tensor, labels: list[int], progress: float = 1.0) -> Batch:
    x = x.detach().requires_grad_()
    return Batch(module, x, torch.tensor(labels), module(x), progress)


def hand_batch(labels: tuple[int, int] = (0, 0)) -> Batch:
    return batch(hand_net(), torch.tensor([[1, 0.5], [0, 0]], dtype=torch.float64), list(labels))


def test_cross_lipschitz_by_hand() -> None:
    # Σ_{l,m} counts each pair twice: 2·36 and 2·8; the mean over two samples over K² = 4: (72 + 16) / 2 / 4 = 11.
    assert regulariser("cross-lipschitz").penalty(hand_batch()).item() == pytest.approx(11.0)


def test_margin_cross_lipschitz_by_hand() -> None:
    # Squared: 36 / (3.5 - 0.5) = 12 and 8 / 2 = 4; for L∞ the dual length is L1: 36 / 3 and 16 / 2.
    assert regulariser("cross-lipschitz-margin").penalty(hand_batch()).item() == pytest.approx(8.0)
    assert regulariser("cross-lipschitz-margin", norm="linf").penalty(hand_batch()).item() == pytest.approx(10.0)
    # Not squared: 6 / 3 and √8 / 2.
    plain = regulariser("cross-lipschitz-margin", power=1)
    assert plain.penalty(hand_batch()).item() == pytest.approx((2 + math.sqrt(2)) / 2)
    # A misclassified second sample has margin -2: the least margin takes its place.
    wrong = regulariser("cross-lipschitz-margin", norm="linf", least_margin=0.5).penalty(hand_batch((0, 1)))
    assert wrong.item() == pytest.approx((12 + 16 / 0.5) / 2)


def test_maximum_margin_by_hand() -> None:
    # Region boundaries, L∞ (dual length L1 of the rows (1, 2) and (-1, 1)): |1|/3, |0.5|/2 and |-1|/3, |1|/2.
    # Decision planes: 3/6 and 2/4.
    found = hand_batch()
    (regions,) = boundary_distances(steps_of(found.module), found.inputs, (Norm.LINF,))
    assert regions.flatten().tolist() == pytest.approx([1 / 3, 1 / 4, 1 / 3, 1 / 2])
    planes = decision_distances(found.outputs, score_gradients(found), found.labels, Norm.LINF)
    assert planes.flatten().tolist() == pytest.approx([0.5, 0.5])
    assert decision_distances(
        found.outputs, score_gradients(found), torch.tensor([0, 1]), Norm.LINF
    ).flatten().tolist() == pytest.approx([0.5, -0.5])
    # γ = 1 for both; the nearest 5 % of two neurons is one: 1 - (1/4 + 1/3)/2 + 1 - 1/2.
    one = regulariser("mmr", boundary_reach=1.0, decision_reach=1.0)
    assert one.penalty(found).item() == pytest.approx(1 - (1 / 4 + 1 / 3) / 2 + 0.5)
    # All neurons near: the mean over the four distances; γ_D = 0.5 is just reached.
    both = regulariser("mmr", boundary_reach=1.0, decision_reach=0.5, first_share=1.0, last_share=1.0)
    assert both.penalty(found).item() == pytest.approx(1 - (1 / 3 + 1 / 4 + 1 / 3 + 1 / 2) / 4)


def test_universal_maximum_margin_is_the_sum_over_both_norms() -> None:
    # L1 (dual length: the largest entry): regions 1/2, 1/2 | 1/2, 1; decisions 3/6, 2/2.
    found = hand_batch()
    both = regulariser("mmr-universal", reach_l1=2.0, reach_linf=1.0).penalty(found).item()
    first = regulariser("mmr", norm="l1", boundary_reach=2.0, decision_reach=2.0).penalty(found).item()
    second = regulariser("mmr", norm="linf", boundary_reach=1.0, decision_reach=1.0).penalty(found).item()
    assert both == pytest.approx(first + second)
    assert first == pytest.approx(1 - (0.25 + 0.25) / 2 + 1 - (0.25 + 0.5) / 2)


def test_region_distances_beyond_the_first_layer_are_those_along_the_gradient() -> None:
    # In float64, through two hidden layers and convolutions: row by row from autograd.
    torch.manual_seed(0)
    module = build("lenet-small", (1, 8, 8), 3, (2, 3, 4)).double()
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    steps = steps_of(module)
    (found,) = boundary_distances(steps, x, (Norm.L1,))
    expected = []
    for k, step in enumerate(steps):
        if isinstance(step.module, nn.ReLU):
            value = values_of(steps[:k], x)[-1].flatten(1)
            for neuron in range(value.shape[1]):
                (row,) = torch.autograd.grad(value[:, neuron].sum(), x, retain_graph=True)
                expected.append(value[:, neuron].abs() / row.flatten(1).abs().amax(1))
    torch.testing.assert_close(found, torch.stack(expected, 1))


def test_relu_stability_by_hand() -> None:
    # Radius 0.1 around (1, 0.5) inside [0, 1]: x1 in [0.9, 1], x2 in [0.4, 0.6]: h1 in [0.7, 1.2], h2 in [0.4, 0.7].
    found = batch(hand_net(), torch.tensor([[1, 0.5]], dtype=torch.float64), [0])
    expected = -math.tanh(1 + 0.7 * 1.2) - math.tanh(1 + 0.4 * 0.7)
    assert regulariser("relu-stability", radius=0.1).penalty(found).item() == pytest.approx(expected)


def test_interval_and_crown_margins_by_hand() -> None:
    # Around (1, 0.5), radius 0.5: x1 in [0.5, 1], x2 in [0, 1]; h1 in [-0.5, 2], h2 in [0, 1.5].
    # f_0 - f_1 = 2 h1 + 2 h2 ≥ 0 by intervals. CROWN: h1 ≥ x1 + 2 x2 - 1 (slope 1, as 2 > 0.5), h2 is itself:
    # 2 (x1 + 2 x2 - 1) + 2 (-x1 + x2 + 1) = 6 x2 ≥ 0 at x2 = 0.
    module, x = hand_net(), torch.tensor([[1, 0.5]], dtype=torch.float64)
    known = intervals(steps_of(module), box_around(x, 0.5))
    assert known[1].low.tolist() == [[-0.5, 0.0]]
    assert known[1].high.tolist() == [[2.0, 1.5]]
    labels = torch.tensor([0])
    assert interval_margins(steps_of(module), known, labels).tolist() == [[0.0, 0.0]]
    assert crown_margins(steps_of(module), known, labels).tolist() == [[0.0, 0.0]]
    # f_1 - f_0 = -2 h1 - 2 h2, h1 ≤ 0.8 (x1 + 2 x2 - 1) + 0.4 by its chord: 0.4 x1 - 5.2 x2 - 1.2 at (0.5, 1).
    assert crown_margins(steps_of(module), known, torch.tensor([1]))[0, 0].item() == pytest.approx(-6.2)
    # With x2 in [0.25, 0.75]: intervals 2·0 + 2·0.25, CROWN 6·0.25.
    known = intervals(steps_of(module), box_around(x, 0.25))
    assert interval_margins(steps_of(module), known, labels)[0, 1].item() == pytest.approx(2 * 0.25 + 2 * 0.25)
    assert crown_margins(steps_of(module), known, labels)[0, 1].item() == pytest.approx(1.5)


@pytest.mark.parametrize("name", ["fc2", "lenet-small", "resnet-small"])
def test_margins_over_a_ball_are_below_every_sampled_margin(name: str) -> None:
    torch.manual_seed(3)
    widths = {"fc2": (6, 5), "lenet-small": (2, 3, 5), "resnet-small": (2, 3)}[name]
    module = build(name, (1, 8, 8), 4, widths).eval()
    x, labels = torch.rand(3, 1, 8, 8), torch.tensor([0, 3, 1])
    steps = steps_of(module)
    known = intervals(steps, box_around(x, 0.05))
    lowest = torch.maximum(interval_margins(steps, known, labels), crown_margins(steps, known, labels))
    with torch.no_grad():
        for _ in range(100):
            inside = (x + 0.05 * (2 * torch.rand_like(x) - 1).sign()).clamp(0, 1)
            values = values_of(steps, inside)
            for value, bound in zip(values, known, strict=True):
                assert (value >= bound.low - 1e-5).all()
                assert (value <= bound.high + 1e-5).all()
            scores = values[-1]
            assert (scores.gather(1, labels[:, None]) - scores >= lowest - 1e-5).all()


def test_the_adjoint_is_the_transpose() -> None:
    torch.manual_seed(0)
    for module, shape in (
        (nn.Linear(6, 4), (6,)),
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 5, 5)),
        (nn.AvgPool2d(2), (1, 4, 4)),
    ):
        x = torch.rand(1, *shape)
        forward = linear(module, x)
        y = torch.rand_like(forward)
        torch.testing.assert_close((forward * y).sum(), (x * adjoint(module, y, shape)).sum())


def test_ibp_follows_its_schedule() -> None:
    chosen = regulariser("ibp", radius=0.5, start=0.2, end=0.6, last_natural_weight=0.25)
    x = torch.tensor([[1, 0.5]], dtype=torch.float64)
    assert [chosen.natural_weight(p) for p in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([1, 1, 0.625, 0.25, 0.25])
    assert [ramp(p, 0.2, 0.6) for p in (0.1, 0.3, 0.9)] == pytest.approx([0, 0.25, 1])
    assert chosen.penalty(batch(hand_net().float(), x.float(), [0], 0.1)).item() == 0.0
    # At the end the radius is 0.5 and the margin's bound 0 (see above): 0.75 · log 2.
    assert chosen.penalty(batch(hand_net().float(), x.float(), [0], 1.0)).item() == pytest.approx(0.75 * math.log(2))


def test_weights_are_counted_without_biases() -> None:
    # Σ w² = 1+4+1+1 + 9+1+1+1 = 19, Σ |w| = 5 + 6.
    assert [tuple(w.shape) for w in weights_of(hand_net())] == [(2, 2), (2, 2)]
    assert regulariser("weight-decay").penalty(hand_batch()).item() == pytest.approx(9.5)
    assert regulariser("l1-sparsity").penalty(hand_batch()).item() == pytest.approx(11.0)


@pytest.mark.parametrize(("name", "widths", "count"), [("fc2", (4, 4), 2), ("fc1-softplus", (4,), 1)])
def test_dropout_is_put_after_every_activation_and_leaves_no_step(
    name: str, widths: tuple[int, ...], count: int
) -> None:
    module = regulariser("dropout", strength=0.25).prepare(build(name, (1, 8, 8), 3, widths))
    assert [m.p for m in module.modules() if isinstance(m, nn.Dropout)] == [0.25] * count
    assert not any(isinstance(step.module, nn.Dropout) for step in steps_of(module))


def test_dropout_in_a_residual_net_is_between_the_convolutions_of_a_block() -> None:
    module = regulariser("dropout", strength=0.25).prepare(build("resnet-small", (1, 8, 8), 3, (2, 3)))
    blocks = [m for m in module.modules() if isinstance(m, Residual)]
    assert len(blocks) == sum(isinstance(m, nn.Dropout) for m in module.modules()) == 2
    for block in blocks:
        kinds = [type(m) for m in block.main.modules() if not isinstance(m, nn.Sequential)]
        assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Dropout, nn.Conv2d, nn.BatchNorm2d]


@pytest.mark.parametrize("name", ["mmr", "mmr-universal", "relu-stability", "crown-ibp"])
def test_what_needs_linear_pieces_refuses_a_smooth_net(name: str) -> None:
    with pytest.raises(ModelError, match=rf"{name} needs a net of ReLUs.*choose another model"):
        regulariser(name).prepared(build("fc1-softplus", (1, 2, 2), 3, (4,)))


@pytest.mark.parametrize("name", sorted({*REGULARISERS} - {"none", "dropout"}))
def test_the_gradient_of_every_penalty_is_its_numerical_derivative(name: str) -> None:
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    try:
        module = build("fc2", (1, 2, 3), 3, (7, 6))
        x, labels = torch.rand(4, 1, 2, 3), [0, 2, 1, 1]
        options = {"mmr": {"boundary_reach": 1.0, "decision_reach": 2.0}}.get(name, {})
        chosen = regulariser(name, **options)
        value = chosen.term(batch(module, x, labels))
        assert value.item() != 0.0
        parameters = list(module.parameters())
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        directions = [torch.randn_like(p) for p in parameters]
        step = 1e-6
        sides = []
        for sign in (1, -1):
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.data.add_(sign * step * direction)
            sides.append(chosen.term(batch(module, x, labels)).item())
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.data.sub_(sign * step * direction)
        expected = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True) if g is not None)
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(expected, rel=1e-4, abs=1e-7)
    finally:
        torch.set_default_dtype(torch.float32)


def test_cross_lipschitz_against_numerical_gradients_of_the_scores() -> None:
    torch.manual_seed(2)
    module = build("fc2", (1, 2, 2), 3, (5, 4)).double()
    x = torch.rand(2, 1, 2, 2, dtype=torch.float64)
    step, total = 1e-6, 0.0
    for sample in x:
        rows = []
        for k in range(4):
            shift = torch.zeros(4, dtype=torch.float64)
            shift[k] = step
            up, down = (module((sample + sign * shift.reshape(1, 2, 2))[None])[0] for sign in (1, -1))
            rows.append((up - down) / (2 * step))
        gradient = torch.stack(rows, 1)
        total += sum((gradient[a] - gradient[b]).square().sum().item() for a in range(3) for b in range(3))
    assert regulariser("cross-lipschitz").penalty(batch(module, x, [0, 1])).item() == pytest.approx(total / 2 / 9)


@dataclass(frozen=True)
class Broken(Regulariser):
    name: ClassVar[str] = "broken"
    value: float = math.nan

    def penalty(self, batch: Batch) -> Tensor:
        return batch.outputs.sum(1) if self.value == 0 else batch.outputs.new_tensor(self.value)


@pytest.mark.parametrize(("value", "said"), [(math.nan, "broken returns nan"), (math.inf, "inf"), (0.0, "shape")])
def test_a_penalty_that_is_no_number_is_refused_by_name(value: float, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        Broken(value=value).term(hand_batch())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mmx", {}, r"'mmx'.*mmr"),
        ("mmr", {"gamma": 1.0}, "regulariser mmr: option 'gamma': choose from strength"),
        ("mmr", {"norm": "l7"}, "'l7'"),
        ("mmr", {"boundary_reach": 0.0}, "boundary_reach"),
        ("cross-lipschitz-margin", {"power": 3}, "power"),
        ("mmr", {"first_share": 0.0}, "first_share"),
        ("mmr", {"strength": "much"}, "strength 'much': it should be a number"),
        ("dropout", {"strength": 1.0}, "rate"),
        ("ibp", {"start": 0.5, "end": 0.4}, "end"),
        ("ibp", {"radius": 0.0}, "radius"),
        ("crown-ibp", {"last_crown_share": 2.0}, "last_crown_share"),
        ("weight-decay", {"strength": -1.0}, "strength"),
    ],
)  # fmt: skip
def test_options_are_validated_once(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        regulariser(name, **options)


def test_options_in_text() -> None:
    assert parsed("mmr:norm=l2,decision_reach=0.2") == ("mmr", {"norm": "l2", "decision_reach": 0.2})
    assert parsed("none") == ("none", {})
    with pytest.raises(OptionError, match="option=value"):
        parsed("mmr:l2")
