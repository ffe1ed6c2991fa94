"""What people ran into when they initialised real models, each with the thread that tells it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab.models.plan import make


def start(model: nn.Module, how: str = "auto", **options: object) -> nn.Module:
    make(model, how, seed=0, overwrite_pretrained=True, **options).apply()
    return model.eval()


def near(value: Tensor, expected: float) -> bool:
    """Tell whether a sample's variance is within 5 standard errors of what is expected."""
    return abs(float(value.detach().var()) / expected - 1) < 5 * math.sqrt(2 / value.numel())


def test_packed_projections_by_their_parts():
    # pytorch#166378, #57117: Glorot over the packed matrix gives Var · E = .499, by parts 1.003.
    size = 256
    attention = nn.MultiheadAttention(size, 4)
    nn.init.xavier_uniform_(attention.in_proj_weight)
    assert near(attention.in_proj_weight, 0.5 / size)
    start(attention, "glorot_uniform")
    for part in attention.in_proj_weight.chunk(3):
        assert near(part, 1 / size)


def test_a_transposed_convolution_by_what_it_sums():
    # pytorch#7865, #30079, tensorflow#31192: a fan-in of 2304 is reported where 144 is true.
    layer = nn.ConvTranspose2d(16, 256, 3)
    assert nn.init._calculate_fan_in_and_fan_out(layer.weight)[0] == 2304
    x = torch.randn(4, 16, 60, 60, generator=torch.Generator().manual_seed(0))
    start(layer, "he_normal", batch=x)
    with torch.no_grad():  # taps are missing at the border, and counted so
        assert float(layer(x).square().mean()) == pytest.approx(2, rel=0.1)
    start(layer, "he_normal")
    with torch.no_grad():  # on a map of unknown size
        assert 1.5 < float(layer(x).square().mean()) < 4


def test_a_depthwise_convolution_by_its_groups():
    # pytorch#23854, timm#84, mlx#4536, keras#11773: a fan-out of 576 is reported where 9 is true.
    layer = nn.Conv2d(64, 64, 3, groups=64)
    assert nn.init._calculate_fan_in_and_fan_out(layer.weight) == (9, 576)
    fact = make(layer, "he_normal", batch=torch.randn(2, 64, 40, 40)).facts.parameters["weight"]
    assert fact.fans is not None
    assert fact.fans.fan_in == 9
    assert fact.fans.fan_out == pytest.approx(9 * (38 / 40) ** 2)
    start(layer, "he_normal")
    assert near(layer.weight, 2 / 9)


@pytest.mark.filterwarnings("ignore")  # of transformers, about a configuration this small
def test_the_projections_that_end_the_branches_of_gpt2(monkeypatch: pytest.MonkeyPatch):
    # transformers#47458, llama2.c#579: .02 where .02 / sqrt(2 · layers) was meant.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import transformers  # noqa: PLC0415 - after the variable that it reads

    config = transformers.GPT2Config(vocab_size=99, n_embd=64, n_layer=6, n_head=4, n_positions=32)
    model = transformers.GPT2LMHeadModel(config)
    facts = make(model, "auto").facts.parameters
    ends = {fact.branch.end for fact in facts.values() if fact.branch is not None}
    assert ends == {
        f"transformer.h.{layer}.{part}.c_proj.weight"
        for layer in range(6)
        for part in ("attn", "mlp")
    }
    start(model)
    assert near(model.transformer.wte.weight, 1 / 64)
    for block in model.transformer.h:  # a twelfth of the stream that starts with q
        q = 2 / 64  # tokens, as the head that they are tied to, and positions
        assert near(block.attn.c_proj.weight, q / 12 / 64)
        assert near(block.attn.c_attn.weight, 1 / 64)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_a_scale_for_activations_without_a_gain(name: str):
    # pytorch#54030, digantamisra98/Mish#37: calculate_gain raises.
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain(name)
    activation = {"gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish}[name]()
    model = nn.Sequential(nn.Linear(300, 300), activation, nn.Linear(300, 300))
    start(model)
    z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(1))
    moment = float(activation(z).square().mean())
    assert float(model[2].weight.detach().var()) == pytest.approx(1 / (300 * moment), rel=0.03)


def test_selu_keeps_its_size_over_30_layers():
    # pytorch#54055, #53694, #50664: std .797 after one layer, .206 after 30.
    layers = [module for _ in range(30) for module in (nn.Linear(300, 300), nn.SELU())]
    model = nn.Sequential(*layers)
    start(model)
    with torch.no_grad():
        y = model(torch.randn(300, 300, generator=torch.Generator().manual_seed(2)))
    assert float(y.std()) == pytest.approx(1, abs=0.15)


def test_the_layers_of_an_encoder_differ():
    # pytorch#86274, #72253, #120396: nn.TransformerEncoder copies one layer, bit for bit.
    layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    weights = dict(model.named_parameters())
    assert torch.equal(weights["layers.0.linear1.weight"], weights["layers.1.linear1.weight"])
    start(model)
    for first, second in pairwise(range(3)):
        for own in ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight"):
            a, b = weights[f"layers.{first}.{own}"], weights[f"layers.{second}.{own}"]
            assert not torch.isclose(a, b).any()


class Language(nn.Module):
    """An embedding tied to the head, with a normalisation before that."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width)
        self.mix = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        return self.head(self.norm(x + functional.relu(self.mix(x))))


def test_an_embedding_tied_to_the_head():
    # transformers#26441, t5x#1477, pytorch#3121: logit std 16, start loss 58 against ln V = 8.5.
    words, width = 5000, 256
    ids = torch.randint(words, (4, 64), generator=torch.Generator().manual_seed(3))
    wanted = ids.roll(-1, 1).reshape(-1)
    model = Language(words, width)
    with torch.no_grad():
        before = functional.cross_entropy(model(ids).reshape(-1, words), wanted)
        start(model)
        logits = model(ids).reshape(-1, words)
    assert float(before) > 30
    assert 0.8 < float(logits.std()) < 1.25
    others = logits.scatter(1, ids.reshape(-1, 1), float("-inf"))
    kept = ids.reshape(-1) != wanted
    # A stream that starts with the embedding still knows its own token, and all but predicts it;
    # among the others, the loss is that of random logits of variance 1: ln V + 1/2.
    loss = functional.cross_entropy(others[kept], wanted[kept])
    assert float(loss) == pytest.approx(math.log(words) + 0.5, abs=0.25)
    assert float(functional.cross_entropy(logits, wanted)) < 14


def test_the_default_that_loses_a_factor_of_six():
    # pytorch#15314, #57109, #18182, #6950: .3338, .0563, .0102, .0019 ... with n = 1000.
    n = 500
    model = nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(n, n), nn.ReLU())))
    x = torch.randn(200, n, generator=torch.Generator().manual_seed(4))

    def moments() -> list[float]:
        found: list[float] = []
        y = x
        with torch.no_grad():
            for layer in model:
                y = layer(y)
                if isinstance(layer, nn.Linear):
                    found.append(float(y.square().mean()))
        return found

    torch.manual_seed(0)
    for layer in model[::2]:
        layer.reset_parameters()
    assert moments()[2] < 0.02
    start(model)
    assert all(0.7 < moment < 1.4 for moment in moments())


def test_a_fused_projection_of_gpt2_is_orthogonal_part_by_part(monkeypatch: pytest.MonkeyPatch):
    """pytorch#166378: packed along the columns of (in, out), each projection is drawn by itself."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import transformers  # noqa: PLC0415 - it reads the variable as it loads

    config = transformers.GPT2Config(vocab_size=99, n_embd=64, n_layer=1, n_head=4, n_positions=32)
    model = transformers.GPT2LMHeadModel(config)
    make(model, "orthogonal").apply()
    for part in model.transformer.h[0].attn.c_attn.weight.detach().chunk(3, dim=1):
        torch.testing.assert_close(part.T @ part, torch.eye(64), atol=1e-5, rtol=0)
