"""Cases from the field that concern applying an initialisation; each names its thread."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from initlab.models import initialize


class PreNorm(nn.Module):
    """Two residual branches that end in a normalisation, and a readout."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.BatchNorm2d(width),
            )
            for _ in range(2)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor):
        x = self.stem(x)
        for branch in self.branches:
            x = torch.relu(x + branch(x))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_transformers_47225_pytorch_9315_orthogonal_in_half_precision(dtype: torch.dtype):
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32)).to(dtype)
    initialize(model, "orthogonal")
    for layer, width in ((model[0], 64), (model[2], 32)):
        weight = layer.weight.detach().double()
        gram = weight.T @ weight if len(weight) > width else weight @ weight.T
        # Each of 96 products carries the rounding of its factors, 2^-11 or 2^-8.
        error = {torch.float16: 2**-11, torch.bfloat16: 2**-8}[dtype]
        assert (gram - torch.eye(width)).abs().max() < 2 * error


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_cleanrl_358_each_gate_is_orthogonal_by_itself(make: Any):
    model = make(16, 32, num_layers=2)
    initialize(model, "orthogonal")
    for name in ("weight_hh_l0", "weight_hh_l1"):
        for gate in model.get_parameter(name).detach().split(32):
            values = torch.linalg.svdvals(gate)
            assert values.min() > 1 - 1e-5
            assert values.max() < 1 + 1e-5


def test_pytorch_20102_750_the_two_forget_biases_add_up_to_one():
    model = nn.LSTM(8, 16, num_layers=2)
    initialize(model, "auto")
    for layer in (0, 1):
        total = getattr(model, f"bias_ih_l{layer}") + getattr(model, f"bias_hh_l{layer}")
        assert (total[16:32] == 1).all()
        assert not total[:16].any()
        assert not total[32:].any()


@pytest.mark.parametrize("how", ["auto", "he_normal", "normal(std=0.02)", "lsuv"])
def test_pytorch_6411_the_padding_row_stays_zero(how: str):
    model = nn.Sequential(nn.Embedding(20, 16, padding_idx=3), nn.Linear(16, 20))
    initialize(model, how, batch=torch.randint(20, (8, 5)))
    assert not model[0].weight[3].any()
    assert model[0].weight[[0, 1, 2, 4]].all()


@pytest.mark.parametrize("how", ["auto", "he_normal", "normal(std=0.02)"])
def test_bert_port_143_scales_of_normalisations_are_never_drawn(how: str):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 0, 0.02)
    initialize(model, how)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
            assert not module.bias.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_pytorch_155588_145498_timm_1286_bounds_are_in_stds(dtype: torch.dtype):
    model = nn.Linear(1000, 1000).to(dtype)
    initialize(model, "truncated_normal(std=0.02)")
    weight = model.weight.detach().double()
    # The bound itself, rounded to the parameter's dtype.
    assert weight.abs().max() <= torch.tensor(0.04).to(dtype).double()
    # 0.8796 of 0.02; the std of a million entries is right to 5 / sqrt(2e6), and rounding adds.
    assert weight.std().item() == pytest.approx(0.02 * 0.87962566, rel=4e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_algorithmic_efficiency_819_flax_4091_tfjs_8594_corrected_std(dtype: torch.dtype):
    model = nn.Linear(1000, 1000).to(dtype)
    initialize(model, "truncated_normal(std=0.02, corrected=True)")
    assert model.weight.detach().double().std().item() == pytest.approx(0.02, rel=4e-3)


def test_efficientdet_285_the_head_knows_how_rare_a_class_is():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1))
    initialize(model, rules=[("2.bias", "prior_bias(0.01)"), ("*", "auto")])
    torch.testing.assert_close(model[2].bias.detach(), torch.full((5,), -math.log(99)))
    # The same from targets: 8 in 998 positive, counted once more each way, are 1 in 100.
    targets = torch.zeros(898, 5)
    targets[:8] = 1
    initialize(model, "auto", targets=targets)
    torch.testing.assert_close(
        model[2].bias.detach(), torch.full((5,), -math.log(99)), atol=1e-4, rtol=0
    )


def test_lsuv_goes_by_execution_not_by_registration():
    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.middle, self.first = (nn.Linear(64, 64) for _ in range(3))

        def forward(self, x: torch.Tensor) -> Any:
            return self.last(torch.relu(self.middle(torch.relu(self.first(x)))))

    torch.manual_seed(0)
    model, batch = Reversed(), torch.randn(512, 64)
    initialize(model, "lsuv(tolerance=0.01)", batch=batch)
    seen = {}
    for name, module in model.named_children():
        module.register_forward_hook(
            lambda _module, _args, out, name=name: seen.update({name: out.std().item()})
        )
    model(batch)
    assert seen == pytest.approx({"first": 1, "middle": 1, "last": 1}, abs=0.01)


@pytest.mark.parametrize(("inputs", "outputs"), [(128, 512), (512, 128)])
def test_scale_corrected_orthogonal_keeps_the_second_moment(inputs: int, outputs: int):
    torch.manual_seed(0)
    model = nn.Linear(inputs, outputs)
    initialize(model, "scaled_orthogonal")
    x = torch.randn(2000, inputs)
    with torch.no_grad():
        ratio = model(x).square().mean() / x.square().mean()
    # Of 2000 × 512 and 2000 × 128 independent squares: 5 standard errors.
    assert ratio.item() == pytest.approx(1, abs=5 * (2 / (2000 * min(inputs, outputs))) ** 0.5)


def test_tensorpack_420_mup_13_intended_zeros_are_kept_or_made():
    model = PreNorm()
    initialize(model, "zero_gamma")
    for branch in model.branches:
        assert not branch[4].weight.any()
        assert (branch[1].weight == 1).all()
    # A zero readout of one's own stays, if told so.
    nn.init.zeros_(model.head.weight)
    report = initialize(model, "auto", keep="head.weight")
    assert not model.head.weight.any()
    assert [one.name for one in report.kept] == ["head.weight"]
    # A zero-initialised output convolution by a rule.
    initialize(model, rules=[("branches.*.3", "zeros"), ("*", "he_normal")])
    assert not any(branch[3].weight.any() for branch in model.branches)
    assert all(branch[0].weight.any() for branch in model.branches)


def test_vision_232_368_a_network_with_no_init_of_its_own():
    torch.manual_seed(0)
    layers = [part for _ in range(20) for part in (nn.Linear(256, 256), nn.ReLU())]
    model, x = nn.Sequential(*layers), torch.randn(64, 256)
    before = model(x).square().mean().item()
    initialize(model, "auto")
    assert before < 0.01
    assert 0.2 < model(x).square().mean().item() < 1.5


def test_deepspeed_2650_pytorch_104187_timm_2605_the_rule_is_what_stays():
    model = nn.Sequential(
        nn.Linear(64, 64), nn.MultiheadAttention(64, 4, batch_first=True), nn.Linear(64, 64)
    )
    rules = [("1.out_proj", "zeros"), ("0", "normal(std=0.5)"), ("*", "he_normal")]
    report = initialize(model, rules=rules)
    names = [change.name for change in report.changes]
    assert len(names) == len(set(names)) == len(list(model.parameters()))
    assert not model[1].out_proj.weight.any()
    assert model[0].weight.std().item() == pytest.approx(0.5, rel=5 / 8192**0.5)
    assert model[2].weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=5 / 8192**0.5)
    for change in report.changes:
        value = model.get_parameter(change.name).detach()
        assert change.after.std == pytest.approx(value.std(correction=0).item(), rel=1e-3, abs=1e-9)
