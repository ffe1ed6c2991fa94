"""A plan as plain PyTorch draws what the plan draws."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab.models import initialize, preview


def run(code: str, model: nn.Module, *args: Any, **kwargs: Any):
    space = {}
    exec(compile(code, "written", "exec"), space)  # noqa: S102 - the code under test
    space["initialize"](model, *args, **kwargs)


def ruff(code: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *options, "--line-length=100", "--isolated", "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def checked(code: str) -> str:
    """Hold the code to the formatter, and to its imports."""
    assert "initlab" not in code
    assert ruff(code, "format") == code
    return code


def assert_equal_bits(first: nn.Module, second: nn.Module):
    for name, value in first.named_parameters():
        assert torch.equal(value, second.get_parameter(name)), name


def assert_alike(first: nn.Module, second: nn.Module):
    """Compare mean and std of every parameter, within 5 standard errors of a normal sample."""
    for name, value in first.named_parameters():
        other = second.get_parameter(name)
        assert other.shape == value.shape
        std, count = value.std(correction=0).item(), value.numel()
        if std == 0:
            assert torch.equal(value, other), name
            continue
        assert abs(value.mean() - other.mean()) < 5 * std * (2 / count) ** 0.5, name
        assert abs(other.std(correction=0) / std - 1) < 5 / count**0.5, name
        assert ((value == 0) == (other == 0)).float().mean() > 0.5, name


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(120, 48, padding_idx=5)
        layer = nn.TransformerEncoderLayer(48, 4, 96, norm_first=True, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(48, 120, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: torch.Tensor):
        return self.head(self.layers(self.tokens(x)))


def recurrent():
    return nn.LSTM(12, 16, num_layers=2)


def convolutional():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, groups=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(8 * 14 * 14, 10),
    )


def dense():
    layers = [module for _ in range(3) for module in (nn.Linear(40, 40), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(40, 10))


@pytest.mark.parametrize("make", [Language, recurrent, convolutional, dense])
@pytest.mark.parametrize(
    "how", ["auto", "he_normal", "glorot_uniform", "truncated_normal(0.02)", "orthogonal"]
)
def test_the_code_draws_from_the_same_distributions(make: Any, how: str):
    model, other = make(), make()
    plan = preview(model, how)
    code = checked(plan.as_code())
    plan.apply()
    run(code, other)
    assert_alike(model, other)
    first = copy.deepcopy(other)
    run(code, other)
    assert_equal_bits(first, other)
    run(code, other, seed=1)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("make", [Language, recurrent, convolutional, dense])
@pytest.mark.parametrize(
    "how",
    [
        "auto",
        "normal(std=0.02, mean=0.5)",
        "glorot_uniform",
        "truncated_normal(0.02, corrected=True)",
        "truncated_normal(0.5, low=-0.2, high=1)",
        "zeros",
    ],
)
def test_the_exact_code_draws_the_very_bits(make: Any, how: str):
    if how == "auto" and make is recurrent:
        how = "lecun_normal"  # auto gives orthogonal weights, whose code is never exact
    model, other = make(), make()
    plan = preview(model, how, seed=11)
    plan.apply()
    code = checked(plan.as_code(exact=True))
    run(code, other)
    assert_equal_bits(model, other)
    initialize(model, how, seed=12)
    run(code, other, seed=12)
    assert_equal_bits(model, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_come_out_the_same(dtype: torch.dtype):
    for how in ("truncated_normal(0.02)", "orthogonal"):
        model, other = dense().to(dtype), dense().to(dtype)
        plan = preview(model, how)
        plan.apply()
        run(checked(plan.as_code()), other)
        if how == "orthogonal":
            for value in (model[0].weight.double(), other[0].weight.double()):
                error = (value.T @ value - torch.eye(40)).abs().max()
                assert error < {torch.float64: 1e-6, torch.float16: 2e-3}.get(dtype, 2e-2)
        else:
            assert_alike(model.float(), other.float())
            assert other[0].weight.abs().max() < 0.0402  # bfloat16 rounds 0.04 up
            exact = dense().to(dtype)
            run(plan.as_code(exact=True), exact)
            assert_equal_bits(model.to(dtype), exact)


def test_the_code_passes_a_linter():
    for make, how in ((Language, "auto"), (convolutional, "glorot_uniform")):
        for exact in (False, True):
            code = preview(make(), how).as_code(exact=exact)
            ruff(code, "check", "--select=F,E,I,UP,B,D1", "--stdin-filename=written.py")
    code = preview(dense(), "lsuv", batch=torch.randn(8, 40)).as_code()
    ruff(code, "check", "--select=F,E,I,UP,B,D1", "--stdin-filename=written.py")


def test_repeated_layers_share_a_loop():
    code = preview(Language(), "auto").as_code()
    assert 'f"layers.layers.{i}.linear1.weight" for i in range(4)' in code
    assert code.count("linear1.weight") == 1


@pytest.mark.parametrize("name", initializers.names())
def test_every_entry_has_code_that_draws_alike_or_refuses(name: str):
    entry = initializers.catalogue[name]
    model = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 32), nn.ReLU()
    )
    other = copy.deepcopy(model)
    batch = torch.randn(64, 16, 4, 4)
    try:
        plan = preview(model, entry.text, batch=batch)
    except InvalidValueError:
        return  # it does not fit such a model
    try:
        code = checked(plan.as_code())
    except InvalidValueError as error:
        assert "as_code: " in str(error)  # noqa: PT017 - either is right
        return
    plan.apply()
    if name == "lsuv":  # what it makes of another draw follows from that draw
        run(code, other, batch)
        outputs = [net[0](batch).var().item() for net in (model, other)]
        assert outputs == pytest.approx([1, 1], abs=0.1)
    else:
        run(code, other)
        assert_alike(model, other)


@pytest.mark.parametrize(
    ("how", "make"),
    [
        ("identity", lambda: nn.Linear(8, 12)),
        ("identity(gain=2)", lambda: nn.Linear(8, 8)),
        ("dirac", lambda: nn.Conv1d(8, 8, 3)),
        ("zero_hadamard", lambda: nn.Linear(8, 12)),
        ("irnn", lambda: nn.RNN(8, 8, nonlinearity="relu")),
    ],
)
def test_what_is_no_matter_of_chance_is_exact_too(how: str, make: Any):
    model, other = nn.Sequential(make()), nn.Sequential(make())
    plan = preview(model, how)
    plan.apply()
    run(checked(plan.as_code(exact=True)), other)
    assert_equal_bits(model, other)


@pytest.mark.parametrize("make", [dense, convolutional])
def test_lsuv_code_does_what_lsuv_does_from_the_same_draw(make: Any):
    model = make()
    batch = torch.randn(64, 40) if make is dense else torch.randn(32, 3, 8, 8)
    plan = preview(model, "lsuv", batch=batch)
    code = checked(plan.as_code())
    start = make()
    initialize(start, "orthogonal")
    space = {}
    exec(compile(code, "written", "exec"), space)  # noqa: S102 - the code under test
    names = [name for name, value in start.named_parameters() if value.dim() > 1]
    with torch.no_grad():
        space["lsuv"](start, batch, names, tolerance=0.1, steps=10, target=1.0)
    plan.apply()
    for name in names:
        ratio = start.get_parameter(name).norm() / model.get_parameter(name).norm()
        assert ratio.item() == pytest.approx(1, rel=1e-4), name
    assert all(module.training for module in start.modules())


def test_a_parametrised_weight_is_set_through_its_parametrisation():
    make = lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(20, 30)))  # noqa: E731
    model, other = make(), make()
    plan = preview(model, "he_normal")
    plan.apply()
    run(checked(plan.as_code(exact=True)), other)
    assert_equal_bits(model, other)
    assert torch.equal(model[0].weight, other[0].weight)
    run(checked(plan.as_code()), other)
    assert not torch.equal(model[0].weight, other[0].weight)
    assert other[0].weight.std().item() == pytest.approx(
        (2 / 20) ** 0.5, rel=0.15
    )  # 5 standard errors


def test_the_prior_of_a_few_classes_is_written_out():
    model, other = nn.Sequential(nn.Linear(4, 3)), nn.Sequential(nn.Linear(4, 3))
    targets = torch.tensor([0] * 9 + [1])
    plan = preview(model, "auto", targets=targets)
    plan.apply()
    for exact in (False, True):
        run(checked(plan.as_code(exact=exact)), other)
        assert torch.equal(model[0].bias, other[0].bias)
    wide = nn.Sequential(nn.Linear(4, 60))
    checked(preview(wide, "auto", targets=torch.arange(50)).as_code())


@pytest.mark.parametrize(
    ("how", "exact", "said"),
    [
        ("orthogonal", True, "rests on linear algebra"),
        ("metainit", False, "metainit searches with the data"),
        ("lsuv", False, "lsuv scales '0.weight_ih_l0' of RNN"),
        ("sparse(count=3)", False, "no plain PyTorch for 'sparse"),
    ],
)
def test_what_has_no_plain_form_is_refused(how: str, *, exact: bool, said: str):
    recurrent_first = said.endswith("RNN")
    model = nn.Sequential(nn.RNN(4, 4) if recurrent_first else nn.Linear(4, 4))
    plan = preview(model, how, batch=torch.randn(8, 4))
    with pytest.raises(InvalidValueError, match=said):
        plan.as_code(exact=exact)
