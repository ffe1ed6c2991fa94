"""What looks trained, and what does not.

None of some 500 starting weights here is taken for a trained one; of the digit networks, the hidden
layers are, which alone are large enough to tell.
"""

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab.models import initialize, pretrained
from initlab.models.report import Report
from initlab.sampling import Key

SHAPES = [(64, 64), (256, 64), (64, 300), (128, 128), (32, 32, 3, 3), (16, 96)]


def digits():
    table = load_digits()
    x = torch.tensor(table.data / 16, dtype=torch.float32)
    return (x - x.mean()) / x.std(), torch.tensor(table.target)


def train(model: nn.Module, steps: int):
    torch.manual_seed(0)
    x, y = digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        chosen = torch.randint(len(x), (128,))
        optimizer.zero_grad()
        functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return model


def dense():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )


def kept(report: Report):
    return {one.name for one in report.kept if "looks pretrained" in one.reason}


def test_a_trained_dense_network_is_kept_and_the_report_says_so():
    model = train(dense(), 200)
    before = model[2].weight.detach().clone()
    report = initialize(model, "he_normal")
    assert {"0.weight", "0.bias", "2.weight", "2.bias", "4.bias"} - kept(report) <= {"4.bias"}
    assert torch.equal(before, model[2].weight)
    assert "looks pretrained: its largest singular value is" in str(report)
    initialize(model, "he_normal", overwrite_pretrained=True)
    assert not torch.equal(before, model[2].weight)


def test_a_trained_convolutional_network_is_kept_with_its_normalisations():
    report = initialize(train(convolutional(), 300), "he_normal")
    assert {"2.weight", "2.bias", "4.weight", "4.bias", "5.weight"} <= kept(report)
    assert "running statistics have moved" in str(report)


def test_a_new_head_on_a_trained_body_is_drawn_and_a_note_tells_of_both():
    body = train(dense(), 200)
    body[4] = nn.Linear(128, 32)
    report = initialize(body, "he_normal")
    assert "2.weight" in kept(report)
    assert "4.weight" in {change.name for change in report.changes}
    assert any("of 3 weights look pretrained and are kept" in note for note in report.notes)


def test_a_forward_pass_alone_does_not_look_like_training():
    model = convolutional()
    model(digits()[0][:64])
    assert model[2].running_mean.abs().max() > 0
    assert kept(initialize(model, "he_normal")) == set()
    # As DCGAN has its scales: random, but not trained.
    model = convolutional()
    nn.init.normal_(model[2].weight, 1.0, 0.02)
    assert kept(initialize(model, "he_normal")) == set()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(256, 128),
        lambda: nn.Conv1d(32, 64, 5),
        lambda: nn.Conv2d(32, 64, 3, groups=2),
        lambda: nn.Conv3d(8, 16, 3),
        lambda: nn.ConvTranspose2d(64, 32, 4),
        lambda: nn.Bilinear(16, 16, 32),
        lambda: nn.Embedding(100, 64, padding_idx=0),
        lambda: nn.LSTM(48, 48, num_layers=2, bidirectional=True),
        lambda: nn.GRU(48, 32),
        lambda: nn.MultiheadAttention(64, 4, kdim=48, vdim=32),
        lambda: nn.Transformer(32, 4, 2, 2, 64, batch_first=True),
        lambda: nn.Sequential(nn.Conv2d(3, 64, 7), nn.BatchNorm2d(64), nn.PReLU(64)),
    ],
)
def test_what_pytorch_starts_with_does_not_look_trained(make: Any):
    for seed in range(4):
        torch.manual_seed(seed)
        model = make()
        for name, value in model.named_parameters():
            assert pretrained.sign(value) == "", (seed, name)
    assert kept(initialize(model, "he_normal")) == set()


@pytest.mark.parametrize("name", initializers.names())
def test_no_draw_of_the_catalogue_looks_trained(name: str):
    initializer = initializers.get(initializers.catalogue[name].text)
    for number, shape in enumerate(SHAPES):
        weight = torch.empty(shape)
        try:
            initializer.fill(weight.numpy(), Key((number, 0, 0, 0)), shape=shape)
        except InvalidValueError:
            continue  # it does not make weights of this shape
        assert pretrained.sign(weight) == "", shape
        assert pretrained.sign(weight.bfloat16()) == "", shape


def test_parts_of_different_size_do_not_look_trained():
    torch.manual_seed(0)
    weight = torch.randn(384, 128)
    weight[:128] *= 0.01
    weight[256:] *= 5
    assert pretrained.sign(weight) == ""
    assert pretrained.sign(torch.full((64, 64), torch.nan)) == ""


def test_a_low_rank_change_and_heavy_tails_are_signs():
    torch.manual_seed(0)
    random = torch.randn(256, 128)
    change = torch.randn(256, 1) @ torch.randn(1, 128)
    assert "singular value" in pretrained.sign(random + 0.3 * change)
    tails = torch.distributions.StudentT(3.0).sample((256, 128))
    assert "times that of random" in pretrained.sign(tails) or "kurtosis" in pretrained.sign(tails)
