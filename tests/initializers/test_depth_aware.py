"""The depth-aware initialisers against their papers' numbers, and against what they promise."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.streams import stream
from initlab.initializers import get
from initlab.initializers.mup import mup_attention_scale, mup_learning_rate
from initlab.initializers.transformer_depth import deepnorm, deepnorm_alpha, deepnorm_beta


@pytest.mark.parametrize(
    ("text", "gain"),
    [
        ("fixup", 1.0),
        ("fixup(blocks=16)", 1 / 4),
        ("fixup(blocks=16, layers=3)", 1 / 2),
        ("fixup(blocks=81, layers=3)", 1 / 3),
        ("fixup(blocks=16, layers=3, last=True)", 0.0),
        ("fixup(blocks=16, layers=1, last=True)", 0.0),
    ],
)
def test_fixup_scales_he(text: str, gain: float):
    he = math.sqrt(2 / (5 * 9))
    assert get(text).std((7, 5, 3, 3)) == pytest.approx(gain * he, rel=1e-14)


def first_step(text: str, blocks: int, rate: float = 1e-6, width: int = 400) -> float:
    """Return how far one gradient step on c · f(x) moves it, over the rate and |c|² |x|².

    f adds ``blocks`` branches W2 relu(W1 x); their last weights W2 start at 0.
    """
    source = stream(0, "fixup", f"{text} {blocks}")
    x, c = source.standard_normal(width), source.standard_normal(width)
    first = get(text).sample((blocks * width, width), source).reshape(blocks, width, width)
    last = np.zeros_like(first)

    def forward() -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        signal, hidden = x, []
        for w1, w2 in zip(first, last, strict=True):
            hidden.append(np.maximum(w1 @ signal, 0))
            signal = signal + w2 @ hidden[-1]
        return signal, hidden

    before, hidden = forward()
    for place, h in enumerate(hidden):
        # The gradient of c · f: as the last weights are 0, it reaches each branch whole.
        last[place] -= rate * np.outer(c, h)
    after, _ = forward()
    return float(c @ (before - after)) / (rate * (c @ c) * (x @ x))


@pytest.mark.parametrize("blocks", [4, 16, 64])
def test_fixup_moves_any_depth_alike(blocks: int):
    # Each unit adds relu(z)², z ~ N(0, s²): mean s²/2, variance 5/4 s⁴.
    error = 5 * math.sqrt(5 / (400 * blocks))
    assert first_step(f"fixup(blocks={blocks})", blocks) == pytest.approx(1, abs=error)
    assert first_step("he_normal", blocks) == pytest.approx(blocks, rel=error)


def test_factors_of_branches():
    for text, value in [("rezero", 0), ("rezero(alpha=0.1)", 0.1), ("skipinit(0.25)", 0.25)]:
        for shape in [(), (1,), (8,)]:
            factor = get(text).sample(shape, stream(0, "unused"))
            np.testing.assert_array_equal(factor, np.full(shape, value))
    np.testing.assert_array_equal(get("zero_gamma").sample((3,), stream(0, "unused")), np.zeros(3))


# 0.67 · 6^(-1/4) and 54^(-1/4) by hand.
@pytest.mark.parametrize(
    ("side", "gain"), [("encoder", 0.428095), ("decoder", 0.368894), ("embedding", 0.368894)]
)
def test_t_fixup(side: str, gain: float):
    initializer = get(f"t_fixup(layers=6, side={side!r})")
    std = 512**-0.5 if side == "embedding" else math.sqrt(2 / (512 + 2048))
    assert initializer.std((2048, 512)) == pytest.approx(gain * std, rel=1e-5)
    assert initializer.mean((2048, 512)) == 0


@pytest.mark.parametrize(
    ("layers", "kind", "decoder_layers", "alpha", "beta"),
    [
        (12, "encoder_only", 1, 24**0.25, 96**-0.25),
        (18, "decoder_only", 1, 2.449490, 0.288675),
        (6, "encoder", 6, 1.417939, 0.496988),
        (18, "encoder", 6, 0.81 * (18**4 * 6) ** 0.0625, 0.87 / (18**4 * 6) ** 0.0625),
        (6, "decoder", 1, 2.059767, 0.343295),
    ],
)
def test_deepnorm_constants(layers: int, kind: str, decoder_layers: int, alpha: float, beta: float):
    assert deepnorm_alpha(layers, kind, decoder_layers) == pytest.approx(alpha, rel=1e-5)
    assert deepnorm_beta(layers, kind, decoder_layers) == pytest.approx(beta, rel=1e-5)
    text = f"deepnorm(layers={layers}, kind={kind!r}, decoder_layers={decoder_layers})"
    assert get(text).std((30, 20)) == pytest.approx(beta * math.sqrt(2 / 50), rel=1e-5)


def test_deepnorm_asks_for_the_decoder_where_it_matters():
    for call in (deepnorm, deepnorm_alpha, deepnorm_beta):
        with pytest.raises(InvalidValueError, match="kind='encoder' asks for decoder_layers"):
            call(6, "encoder")
        with pytest.raises(InvalidValueError, match="kind='encoder-decoder' is not one of"):
            call(6, "encoder-decoder")  # pyright: ignore[reportArgumentType] - that is the test
        with pytest.raises(InvalidValueError, match="layers=0 is not a whole number"):
            call(0, "encoder_only")
        with pytest.raises(InvalidValueError, match="decoder_layers=0 is not a whole number"):
            call(6, "encoder", 0)
    with pytest.raises(InvalidValueError, match="decoder_layers=3 is for kind='encoder'"):
        deepnorm(6, "decoder", 3)
    assert deepnorm(6, "encoder", 1).spec == "deepnorm(layers=6, kind='encoder', decoder_layers=1)"


@pytest.mark.parametrize(("kind", "each"), [("encoder_only", 2), ("decoder", 3)])
@pytest.mark.parametrize("layers", [1, 7, 1000])
def test_deepnorm_bounds_the_update(kind: str, each: int, layers: int):
    # The paper's bound on the update of a stack: branches · (v² + w²) / α² = 1 with v = w = β.
    alpha, beta = deepnorm_alpha(layers, kind), deepnorm_beta(layers, kind)
    assert each * layers * 2 * beta**2 / alpha**2 == pytest.approx(1, rel=1e-12)


def test_gpt2():
    assert get("gpt2").std((768, 768)) == 0.02
    assert get("gpt2(layers=12)").std((768, 3072)) == 0.02
    residual = get("gpt2(layers=12, residual=True)")
    assert residual.std((768, 3072)) == pytest.approx(0.02 / math.sqrt(24), rel=1e-14)


def test_gpt2_keeps_the_sum_of_branches_at_the_size_of_one():
    layers, width = 32, 64
    source = stream(0, "gpt2")
    residual = get(f"gpt2(std=0.125, layers={layers}, residual=True)")  # 0.125 = 1 / sqrt(width)
    total = np.zeros(width)
    for _ in range(2 * layers):
        total += residual.sample((width, width), source) @ source.standard_normal(width)
    # 64 vectors of variance 1/64 add up to variance 1.
    assert np.mean(total**2) == pytest.approx(1, abs=5 * math.sqrt(2 / width))


@pytest.mark.parametrize("layer", [1, 4, 9])
def test_depth_scaled_is_glorot_over_the_root_of_the_layer(layer: int):
    initializer, glorot = get(f"depth_scaled({layer}, alpha=0.5)"), get("glorot_uniform(gain=0.5)")
    weight, whole = (one.sample((6, 5), stream(1, "init")) for one in (initializer, glorot))
    np.testing.assert_allclose(weight, whole / math.sqrt(layer), rtol=1e-14)


def test_mup_is_the_usual_start_at_the_base_width():
    for kind in ("hidden", "input", "readout"):
        for base in ("", ", base_width=256"):
            assert get(f"mup({kind!r}{base})").std((10, 256)) == 1 / 16
    assert get("mup('readout', zero=True)").std((10, 256)) == 0


@pytest.mark.parametrize("ratio", [1, 4, 16])
def test_mup_logits_fall_with_the_width_as_the_root_of_the_ratio(ratio: int):
    # Features of variance 1 that do not depend on the weights: logits of variance 1 / ratio.
    width = 64 * ratio
    readout = get("mup('readout', base_width=64)").sample((3000, width), stream(ratio, "mup"))
    logits = readout @ np.ones(width)
    assert np.mean(logits**2) * ratio == pytest.approx(1, abs=5 * math.sqrt(2 / 3000))


# Table 3 of Tensor Programs V, with fan_in and fan_out relative to the base model.
@pytest.mark.parametrize(
    ("kind", "optimizer", "into", "out", "rate"),
    [
        ("input", "sgd", 1, 8, 8),
        ("input", "adam", 1, 8, 1),
        ("hidden", "sgd", 8, 8, 1),
        ("hidden", "sgd", 8, 16, 2),
        ("hidden", "adam", 8, 8, 1 / 8),
        ("readout", "sgd", 8, 1, 1 / 8),
        ("readout", "adam", 8, 1, 1 / 8),
    ],
)
def test_mup_learning_rates(kind: str, optimizer: str, into: float, out: float, rate: float):
    assert mup_learning_rate(kind, optimizer, into=into, out=out) == rate


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_mup_features_move_alike_at_every_width(optimizer: str):
    """One step of a network input-hidden-readout moves its output by the same at any width."""
    moves = {width: output_move(width, optimizer) for width in (64, 512)}
    assert moves[512] / moves[64] == pytest.approx(1, abs=0.35)
    # With one rate for all weights the move grows with the width.
    assert output_move(512, optimizer, one_rate=True) > 3 * moves[64]


def output_move(width: int, optimizer: str, *, one_rate: bool = False, repeats: int = 60) -> float:
    """Return the mean move of a linear network's output by one small step down its gradient."""
    ratio, rate, inputs = width / 64, 1e-5, 8
    kinds = {"input": (1, ratio), "hidden": (ratio, ratio), "readout": (ratio, 1)}
    moves: list[float] = []
    for repeat in range(repeats):
        source = stream(repeat, "features", width)
        x = source.standard_normal(inputs)
        u = get("mup('input')").sample((width, inputs), source)
        w = get("mup('hidden', base_width=64)").sample((width, width), source)
        v = get("mup('readout', base_width=64)").sample((1, width), source)
        back = w.T @ v[0]
        gradients = {"input": np.outer(back, x), "hidden": np.outer(v[0], u @ x)}
        gradients["readout"] = (w @ (u @ x))[None, :]
        steps: dict[str, NDArray[np.float64]] = {}
        for kind, gradient in gradients.items():
            into, out = kinds[kind]
            factor = 1 if one_rate else mup_learning_rate(kind, optimizer, into=into, out=out)
            direction = np.sign(gradient) if optimizer == "adam" else gradient
            steps[kind] = rate * factor * direction
        after = (v - steps["readout"]) @ (w - steps["hidden"]) @ (u - steps["input"]) @ x
        moves.append(float((v @ w @ u @ x - after)[0]) / rate)
    return float(np.mean(moves))


def test_mup_attention_scale():
    assert mup_attention_scale(64) == 1 / 64
    assert mup_attention_scale(128, 64) == 8 / 128  # 8/d, as the authors write it for a base of 64


@pytest.mark.parametrize(
    "text",
    [
        "fixup(blocks=0)",
        "fixup(blocks=2.5)",
        "fixup(layers=1)",
        "fixup(last=1)",
        "rezero(alpha='a')",
        "t_fixup(side='both')",
        "deepnorm(layers=0)",
        "deepnorm(kind='both')",
        "gpt2(std=0)",
        "gpt2(residual=None)",
        "depth_scaled(layer=0)",
        "depth_scaled(alpha=-1)",
        "mup('output')",
        "mup(base_width=0)",
        "mup(gain=0)",
    ],
)
def test_unfit_arguments_are_refused(text: str):
    with pytest.raises(InvalidValueError, match="accepted: "):
        get(text)


def test_unfit_ratios_are_refused():
    with pytest.raises(InvalidValueError, match="into=0"):
        mup_learning_rate("hidden", "adam", into=0, out=1)
    with pytest.raises(InvalidValueError, match="'adamw'"):
        mup_learning_rate("hidden", "adamw", into=1, out=1)
    with pytest.raises(InvalidValueError, match="no rows"):
        get("t_fixup(side='embedding')").std((5,))
