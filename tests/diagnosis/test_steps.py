"""How an optimizer's first step is read, and STEP01."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import initlab
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.diagnosis import diagnose, treat
from initlab.diagnosis.optimizers import read_optimizer

MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd(lr=0.1)": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum(lr=0.1)": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd(lr=0.1, momentum=0.9, nesterov=True)": lambda p: torch.optim.SGD(
        p, lr=0.1, momentum=0.9, nesterov=True
    ),
    "adam": torch.optim.Adam,
    "adamw(lr=0.01, weight_decay=0)": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0),
    "adamax(lr=0.01)": lambda p: torch.optim.Adamax(p, lr=0.01),
    "nadam(lr=0.01)": lambda p: torch.optim.NAdam(p, lr=0.01),
    "adagrad(lr=0.01)": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "rmsprop(lr=0.01)": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


@pytest.mark.parametrize("text", MAKERS)
def test_the_update_is_the_one_that_pytorch_makes(text: str):
    parameter = nn.Parameter(torch.randn(40, 30))
    gradient = 0.01 * torch.randn(40, 30)
    gradient[0] = 0
    optimizer = MAKERS[text]([parameter])
    from_text, from_object = read_optimizer(text), read_optimizer(optimizer)
    before = parameter.detach().clone()
    parameter.grad = gradient.clone()
    optimizer.step()
    moved = float((parameter.detach() - before).norm())
    for step in (from_text, from_object):
        assert step is not None
        rate = step.rate(parameter)
        assert rate is not None
        # NAdam's first step looks ahead by a few percent
        assert rate.norm(gradient) == pytest.approx(moved, rel=0.1 if "nadam" in text else 1e-3)


def test_groups_are_told_apart():
    a, b, c = (nn.Parameter(torch.ones(2)) for _ in range(3))
    step = read_optimizer(torch.optim.SGD([{"params": [a], "lr": 0.5}, {"params": [b]}], lr=0.1))
    assert step is not None
    rates = [step.rate(each) for each in (a, b, c)]
    assert [rate.lr if rate is not None else None for rate in rates] == [0.5, 0.1, None]


def test_a_warm_up_is_judged_by_where_it_leads():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.0)
    step = read_optimizer(optimizer)
    assert step is not None
    rate = step.rate(parameter)
    assert rate is not None
    assert rate.lr == 0.1


def test_an_optimizer_of_an_unknown_kind_is_not_judged():
    parameter = nn.Parameter(torch.ones(2))
    assert read_optimizer(torch.optim.LBFGS([parameter])) is None
    assert read_optimizer(None) is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("sdg(lr=0.1)", UnknownNameError),
        ("sgd(rate=0.1)", InvalidValueError),
        ("sgd(lr=-1)", InvalidValueError),
        ("sgd(lr=", InvalidValueError),
        (0.1, InvalidValueError),
    ],
)
def test_what_is_no_optimizer_is_refused(given: object, error: type[Exception]):
    with pytest.raises(error) as told:
        read_optimizer(given)
    assert "\n" not in str(told.value)


def classifier(width: int = 32) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )
    initlab.initialize(model, "auto", seed=0)
    return model, torch.randn(64, 20), torch.randint(10, (64,))


def test_one_layer_with_a_rate_of_its_own_is_named():
    model, x, targets = classifier()
    groups = [
        {"params": model[2].parameters(), "lr": 30.0},
        {"params": [*model[0].parameters(), *model[4].parameters()]},
    ]
    report = diagnose(model, x, targets, optimizer=torch.optim.SGD(groups, lr=0.1))
    (one,) = report.alarms
    assert (one.code, one.where) == ("STEP01", ("2.weight",))
    assert one.fix.learning_rate == 1


def test_the_treatment_changes_the_optimizer_alone():
    model, x, targets = classifier()
    before = [each.clone() for each in model.state_dict().values()]
    optimizer = torch.optim.SGD(model.parameters(), lr=100.0)
    report = diagnose(model, x, targets, optimizer=optimizer)
    assert report.codes == ("STEP01",)
    treat(model, report)
    assert optimizer.param_groups[0]["lr"] < 10
    assert all(map(torch.equal, before, model.state_dict().values()))


def test_a_made_up_loss_says_nothing_of_plain_gradient_descent():
    model, x, _ = classifier()
    assert "STEP01" in diagnose(model, x, optimizer="sgd(lr=0.1)").not_applicable
    assert "STEP01" not in diagnose(model, x, optimizer="adam(lr=0.001)").not_applicable
    assert "STEP01" in diagnose(model, x).not_applicable
