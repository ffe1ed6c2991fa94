"""Which loss is taken, and what does not fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab import diagnose
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.diagnosis.losses import settle


def batch(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


class Calls(nn.Module):
    """A linear layer, and whatever is made of its output."""

    def __init__(self, wrap: Callable[..., Any], outputs: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wrap, self.layer = wrap, nn.Linear(6, outputs)

    def forward(self, x: Tensor, **more: Any) -> Any:
        return self.wrap(self.layer(x), **more)


ANY = batch(8, 4)
FITTING = {
    "classes": (batch(8, 4), torch.arange(8) % 4, "cross_entropy"),
    "classes as int32": (batch(8, 4), (torch.arange(8) % 4).int(), "cross_entropy"),
    "probabilities of classes": (batch(8, 4), torch.softmax(batch(8, 4), -1), "regression"),
    "words": (batch(8, 5, 9), torch.arange(40).view(8, 5) % 9, "cross_entropy"),
    "pixels": (batch(2, 3, 4, 4), torch.arange(32).view(2, 4, 4) % 3, "cross_entropy"),
    "sequences": (batch(2, 3, 5), torch.arange(10).view(2, 5) % 3, "cross_entropy"),
    "values": (batch(8, 4), batch(8, 4) * 2, "regression"),
    "values, one axis less": (batch(8, 1), batch(8), "regression"),
    "whole values": (batch(8, 1), torch.arange(8), "regression"),
    "binary": (batch(8, 1), torch.arange(8) % 2, "binary"),
    "binary as numbers": (batch(8), (torch.arange(8) % 2).float(), "binary"),
    "many labels": (batch(8, 4), (batch(8, 4) > 0).float(), "binary"),
    "probabilities": (batch(8, 1).sigmoid(), torch.arange(8) % 2, "regression"),
    "none": (batch(8, 4), None, "projection"),
    "none for one number": (batch(8, 1), None, "projection"),
}


@pytest.mark.parametrize("name", FITTING)
def test_the_loss_follows_from_the_shapes(name: str):
    output, targets, kind = FITTING[name]
    found = settle(output, {}, targets, None, 0)
    assert found.kind == kind
    assert found.value.dim() == 0


@pytest.mark.parametrize("name", ["classes", "words", "pixels", "sequences"])
def test_logits_stand_beside_their_classes(name: str):
    output, targets, _ = FITTING[name]
    found = settle(output, {}, targets, None, 0)
    assert found.logits is not None
    assert found.classes is not None
    assert found.logits.shape == (
        targets.numel(),
        4 if name == "classes" else found.logits.shape[1],
    )
    by_hand = functional.cross_entropy(found.logits, found.classes)
    assert float(found.value) == pytest.approx(float(by_hand), rel=1e-5)


def test_masked_classes_do_not_count():
    targets = torch.tensor([0, 1, -100, -100])
    found = settle(batch(4, 3), {}, targets, None, 0)
    wanted = functional.cross_entropy(batch(4, 3)[:2], targets[:2])
    assert float(found.value) == pytest.approx(float(wanted))
    assert found.classes is not None
    assert found.classes.tolist() == [0, 1]


@pytest.mark.parametrize("targets", [[0, 1, 2, 3], np.arange(4), (0, 1, 2, 3)])
def test_targets_may_be_any_array(targets: Any):
    assert settle(batch(4, 4), {}, targets, None, 0).kind == "cross_entropy"
    assert settle(batch(4, 4), {}, targets, "cross_entropy", 0).kind == "cross_entropy"


@pytest.mark.parametrize("name", ["cross_entropy", "bce_with_logits", "mse", "l1"])
def test_losses_go_by_name(name: str):
    targets = torch.rand(8, 4, generator=torch.Generator().manual_seed(1))
    functions = {
        "cross_entropy": functional.cross_entropy,
        "bce_with_logits": functional.binary_cross_entropy_with_logits,
        "mse": functional.mse_loss,
        "l1": functional.l1_loss,
    }
    found = settle(ANY, {}, targets, name, 0)
    assert float(found.value) == pytest.approx(float(functions[name](ANY, targets)))


def test_a_function_sees_what_the_model_returns():
    def loss(result: Any, targets: Any) -> Tensor:
        return (result["y"] - targets["y"]).abs().mean()

    net = Calls(lambda y: {"y": y})
    report = diagnose(net, batch(8, 6), {"y": torch.zeros(8, 4)}, loss)
    assert report.loss == pytest.approx(float(net.layer(batch(8, 6)).detach().abs().mean()))
    assert report.loss_kind == "given"


def test_a_function_needs_no_targets():
    report = diagnose(Calls(lambda y: y), batch(8, 6), loss=lambda y, _: y.square().mean())
    assert report.loss is not None


def test_pytorchs_cross_entropy_is_known():
    for loss in (nn.CrossEntropyLoss(), functional.cross_entropy):
        report = diagnose(Calls(lambda y: y), batch(8, 6), torch.arange(8) % 4, loss)
        assert report.loss_kind == "cross_entropy"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda loss, _y: loss,
        lambda loss, y: {"loss": loss, "logits": y},
        lambda loss, y: SimpleNamespace(loss=loss, logits=y),
        lambda loss, _y: {"loss_a": loss / 2, "loss_b": loss / 2},
    ],
    ids=["alone", "dict", "object", "parts"],
)
def test_a_models_own_loss_is_taken_at_its_word(wrap: Callable[[Tensor, Tensor], Any]):
    labels = torch.arange(8) % 4
    net = Calls(lambda y, labels: wrap(functional.cross_entropy(y, labels), y))
    report = diagnose(net, {"x": batch(8, 6), "labels": labels})
    wanted = functional.cross_entropy(net.layer(batch(8, 6)), labels)
    assert report.loss == pytest.approx(float(wanted.detach()))


def test_labels_beside_the_logits_make_a_cross_entropy():
    net = Calls(lambda y, labels: {"loss": functional.cross_entropy(y, labels), "logits": y})
    report = diagnose(net, {"x": batch(8, 6), "labels": torch.arange(8) % 4})
    assert report.loss_kind == "cross_entropy"


def test_targets_come_before_the_models_own_loss():
    net = Calls(lambda y, labels: {"loss": y.sum() * 0 * labels.sum(), "logits": y})
    labels = torch.arange(8) % 4
    report = diagnose(net, {"x": batch(8, 6), "labels": labels}, labels)
    assert report.loss == pytest.approx(math.log(4), rel=0.3)


def test_a_projection_follows_from_the_seed():
    output = batch(8, 4)
    one, two, three = (float(settle(output, {}, None, None, seed).value) for seed in (0, 0, 1))
    assert one == two
    assert one != three


MISFITS = {
    "classes of another number": (torch.arange(7) % 4, None, "shape (7,)"),
    "values of another shape": (torch.zeros(8, 3), None, "shape (8, 3)"),
    "a class too many": (torch.arange(8), None, "the class 4"),
    "a class below 0": (torch.arange(8) % 4 - 1, None, "the class -1"),
    "text": ("digits", None, "type str"),
    "an object": (object(), None, "type object"),
    "mse of another shape": (torch.zeros(8, 3), "mse", "shape (8, 3)"),
    "l1 of classes": (torch.arange(8), "l1", "shape (8,)"),
    "cross-entropy of values": (torch.zeros(8, 3), "cross_entropy", "shape (8, 3)"),
    "no targets": (None, "mse", "needs targets"),
    "no function": (None, 3, "type int"),
    "a function that raises": (None, lambda _y, _t: 1 / 0, "ZeroDivisionError"),
    "a function that gives nothing": (None, lambda _y, _t: None, "NoneType"),
    "a function that gives many": (None, lambda y, _t: y, "shape (8, 4)"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_arguments_that_do_not_fit_are_refused_in_one_line(name: str):
    targets, loss, told = MISFITS[name]
    with pytest.raises(InvalidValueError) as caught:
        diagnose(Calls(lambda y: y), batch(8, 6), targets, loss)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_of_no_known_name_is_refused():
    with pytest.raises(UnknownNameError, match="cross_entropy"):
        diagnose(Calls(lambda y: y), batch(8, 6), torch.arange(8) % 4, "cross_entrpy")
