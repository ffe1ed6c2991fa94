"""Recurrent layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.case import Case


class Last(nn.Module):
    """What a recurrence has in the end."""

    def __init__(self, recurrence: nn.Module, units: int, classes: int) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.head = nn.Linear(units, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrence(x)[0][:, -1])


class Tagger(nn.Module):
    """A class for every token, from both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(40, 16, padding_idx=0)
        self.encoder = nn.LSTM(16, 24, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.tokens(tokens))[0])


def lstm() -> tuple[nn.Module, Tensor]:
    """Let two biases add up to about 0: pytorch#20102, pytorch#750."""
    model = Last(nn.LSTM(16, 32, batch_first=True), 32, 4)
    initlab.initialize(model, seed=0)
    for bias in (model.recurrence.bias_ih_l0, model.recurrence.bias_hh_l0):
        nn.init.uniform_(bias, -(32**-0.5), 32**-0.5)
    return model, torch.randn(32, 12, 16)


def tagger() -> tuple[nn.Module, Tensor]:
    model = Tagger()
    initlab.initialize(model, seed=0)
    for name, parameter in model.encoder.named_parameters():
        if "bias" in name:
            nn.init.zeros_(parameter)
    return model, torch.randint(1, 40, (16, 10))


def stacked() -> tuple[nn.Module, Tensor]:
    """Leave the gates with singular values from .0036 to .87: cleanrl#358."""
    model = Last(nn.LSTM(16, 32, batch_first=True), 32, 4)
    initlab.initialize(model, seed=0)
    nn.init.orthogonal_(model.recurrence.weight_hh_l0)
    return model, torch.randn(32, 12, 16)


def default_rnn() -> tuple[nn.Module, Tensor]:
    model = Last(nn.RNN(16, 64, batch_first=True), 64, 4)
    kept = model.recurrence.weight_hh_l0.detach().clone()
    initlab.initialize(model, seed=0)
    model.recurrence.weight_hh_l0.data.copy_(kept)
    return model, torch.randn(32, 12, 16)


def open_gates() -> tuple[nn.Module, Tensor]:
    """Share the forget gate's 1 between both biases; make the gates orthogonal one by one."""
    model = Last(nn.LSTM(16, 32, batch_first=True), 32, 4)
    initlab.initialize(model, seed=0)
    with torch.no_grad():
        for bias in (model.recurrence.bias_ih_l0, model.recurrence.bias_hh_l0):
            bias.zero_()
            bias[32:64] = 0.5
    for gate in model.recurrence.weight_hh_l0.data.chunk(4):
        nn.init.orthogonal_(gate)
    return model, torch.randn(32, 12, 16)


def gru() -> tuple[nn.Module, Tensor]:
    """Take no forget gate: the update gate holds the state."""
    model = Last(nn.GRU(16, 32, batch_first=True), 32, 4)
    initlab.initialize(model, seed=0)
    for parameter in model.recurrence.parameters():
        nn.init.uniform_(parameter, -(32**-0.5), 32**-0.5)
    return model, torch.randn(32, 12, 16)


def identity_rnn() -> tuple[nn.Module, Tensor]:
    """Start at the identity, under ReLU, as Le et al. (2015) do."""
    model = Last(nn.RNN(16, 32, batch_first=True, nonlinearity="relu"), 32, 4)
    initlab.initialize(model, seed=0)
    nn.init.eye_(model.recurrence.weight_hh_l0)
    return model, torch.randn(32, 6, 16)


def reservoir() -> tuple[nn.Module, Tensor]:
    """Make an echo state network: sparse, with spectral radius 0.95."""
    model = Last(nn.RNN(16, 40, batch_first=True), 40, 4)
    initlab.initialize(model, seed=0)
    weight = model.recurrence.weight_hh_l0.data
    weight.normal_().mul_(torch.rand(40, 40) < 0.2)
    weight.mul_(0.95 / torch.linalg.eigvals(weight).abs().max())
    return model, torch.randn(32, 12, 16)


_FOUND = frozenset({"LAYER07"})
_R = "recurrence."

CASES: list[Case] = [
    Case("LAYER07", "lstm", lstm, _FOUND, (_R + "bias_ih_l0", _R + "bias_hh_l0")),
    Case("LAYER07", "tagger", tagger, _FOUND, ("encoder.bias_ih_l0_reverse",)),
    Case("LAYER07", "stacked gates", stacked, _FOUND, (_R + "weight_hh_l0",)),
    Case("LAYER07", "default rnn", default_rnn, _FOUND, (_R + "weight_hh_l0",)),
    Case("LAYER07", "open gates", open_gates),
    Case("LAYER07", "default gru", gru),
    Case("LAYER07", "identity", identity_rnn),
    Case("LAYER07", "reservoir", reservoir),
]
