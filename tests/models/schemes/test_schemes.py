"""What catalogue names mean for a whole model, on facts written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from initlab import initializers
from initlab._base import fans as read
from initlab._base.errors import InvalidValueError
from initlab.initializers.transformer_depth import deepnorm_alpha
from initlab.models.assignment import Assignment, Decision, Kept
from initlab.models.facts import Attention, Branch, ModelFacts, ParameterFact, Part
from initlab.models.schemes import SCHEMES, mup_learning_rates
from initlab.sampling import CounterStream, Key

BASE = ParameterFact("", "", "Linear", "unknown", ())


def fact(name: str, kind: Any, shape: tuple[int, ...], **more: Any) -> ParameterFact:
    """Write down a parameter of one part; linear ones with their fans."""
    fans = read.fans(shape) if len(shape) >= 2 else None
    parts = (Part("", 0, shape[0] if shape else 1, fans),)
    module = name.rpartition(".")[0]
    known = {"name": name, "module": module, "kind": kind, "shape": shape, "parts": parts}
    return replace(BASE, **(known | more))


def model(*held: ParameterFact) -> ModelFacts:
    """Put parameters together, in execution order unless they have one of their own."""
    ordered = [
        one if one.order is not None else replace(one, order=place)
        for place, one in enumerate(held)
    ]
    return ModelFacts({one.name: one for one in ordered})


def apply(text: str, facts: ModelFacts) -> dict[str, Decision]:
    """Apply a scheme, and check that it decides about every parameter and covers its rows."""
    initializer = initializers.get(text)
    decisions = SCHEMES[initializer.name](facts, initializer)
    assert list(decisions) == list(facts.parameters)
    for name, decision in decisions.items():
        assert decision.name == name
        assert decision.reason
        if isinstance(decision, Assignment):
            shape = facts.parameters[name].shape
            rows = [row for one in decision.pieces for row in range(one.start, one.stop)]
            assert rows == list(range(shape[0] if shape else 1))
    return decisions


def specs(decisions: dict[str, Decision]) -> dict[str, Any]:
    """Return the initialiser of each parameter; several if it has parts; None if it is kept."""
    found: dict[str, Any] = {}
    for name, decision in decisions.items():
        if isinstance(decision, Kept):
            found[name] = None
        else:
            texts = tuple(piece.initializer.spec for piece in decision.pieces)
            found[name] = texts[0] if len(texts) == 1 else texts
    return found


def residual_net(blocks: int = 4, *, end: str = "weight") -> ModelFacts:
    """Write down a stem, branches of two convolutions, and a head; a branch may end in a scale."""
    held = [fact("stem.weight", "convolution", (8, 3, 3, 3))]
    for place in range(blocks):
        names = [f"blocks.{place}.conv{i}.weight" for i in (1, 2)]
        scale = f"blocks.{place}.{end}"
        branch = Branch(
            stream=0,
            index=place,
            count=blocks,
            weights=tuple(names),
            scales=() if end == "weight" else (scale,),
            end=names[1] if end == "weight" else scale,
            normalised=end == "norm",
            post_norm=False,
        )
        held += [fact(name, "convolution", (8, 8, 3, 3), branch=branch) for name in names]
        if end != "weight":
            kind, shape = ("norm_scale", (8,)) if end == "norm" else ("scale", ())
            held.append(fact(scale, kind, shape, branch=branch))
    head = fact("head.weight", "linear", (10, 8), output=True)
    bias = fact("head.bias", "bias", (10,), bias_of="head.weight", output=True)
    return model(*held, head, bias)


def attention(
    prefix: str, branch: Branch, width: int, *, heads: int | None = 2, packed: bool = False
) -> list[ParameterFact]:
    """Write down the projections of one attention."""
    output = fact(
        f"{prefix}.out.weight",
        "linear",
        (width, width),
        branch=branch,
        attention=Attention(prefix, ("output",), heads),
    )
    if packed:
        fans = read.fans((width, width))
        labels = ("query", "key", "value")
        parts = tuple(
            Part(label, width * place, width * (place + 1), fans)
            for place, label in enumerate(labels)
        )
        known = Attention(prefix, labels, heads)
        name = f"{prefix}.in_proj_weight"
        qkv = [
            fact(name, "linear", (3 * width, width), parts=parts, branch=branch, attention=known)
        ]
    else:
        qkv = [
            fact(
                f"{prefix}.{role}.weight",
                "linear",
                (width, width),
                branch=branch,
                attention=Attention(prefix, (role,), heads),
            )
            for role in ("query", "key", "value")
        ]
    return [*qkv, output]


def stack(
    prefix: str, layers: int, *, stream: int = 0, cross: bool = False, width: int = 8, **more: Any
) -> list[ParameterFact]:
    """Write down a transformer stack: attention, in a decoder cross-attention, feed-forward."""
    each = 3 if cross else 2
    held: list[ParameterFact] = []
    for layer in range(layers):
        kinds = ["self", "cross", "mlp"] if cross else ["self", "mlp"]
        for place, kind in enumerate(kinds):
            path = f"{prefix}.{layer}.{kind}"
            branch = Branch(stream, each * layer + place, each * layers, (), (), None, True, False)
            if kind == "mlp":
                inside = [
                    fact(f"{path}.up.weight", "linear", (4 * width, width)),
                    fact(f"{path}.down.weight", "linear", (width, 4 * width)),
                ]
            else:
                inside = attention(path, branch, width, **more)
            names = tuple(one.name for one in inside)
            branch = replace(branch, weights=names, end=names[-1])
            held += [replace(one, branch=branch) for one in inside]
    return held


def language_model(layers: int = 3, **more: Any) -> ModelFacts:
    """Write down a decoder with a token table, positions, normalisations and an untied head."""
    return model(
        fact(
            "tokens.weight", "embedding", (50, 8), parts=(Part("", 0, 50, read.embedding((50, 8))),)
        ),
        fact("positions", "position", (16, 8)),
        *stack("layers", layers, **more),
        fact("norm.weight", "norm_scale", (8,)),
        fact("norm.bias", "norm_shift", (8,)),
        fact("head.weight", "linear", (50, 8), output=True),
        fact("head.bias", "bias", (50,), bias_of="head.weight", output=True),
    )


def lstm(gates: str = "lstm", rows: int = 4) -> ModelFacts:
    """Write down a recurrent layer of 3 units between an embedding and a head."""
    parts = tuple(Part(str(g), 3 * g, 3 * g + 3, read.fans((3, 3))) for g in range(rows))
    known: dict[str, Any] = {"gates": gates, "parts": parts}
    hidden = {**known, "hidden_to_hidden": True}
    return model(
        fact("tokens.weight", "embedding", (5, 3), padding=2),
        fact("rnn.weight_ih_l0", "recurrent", (3 * rows, 3), **known),
        fact("rnn.weight_hh_l0", "recurrent", (3 * rows, 3), **hidden),
        fact("rnn.bias_ih_l0", "bias", (3 * rows,), bias_of="rnn.weight_ih_l0", **known),
        fact("rnn.bias_hh_l0", "bias", (3 * rows,), bias_of="rnn.weight_hh_l0", **hidden),
        fact("head.weight", "linear", (4, 3), output=True),
        fact("head.bias", "bias", (4,), bias_of="head.weight", output=True),
    )


def test_schemes_are_names_of_the_catalogue():
    assert set(SCHEMES) <= set(initializers.catalogue)
    documented = {name for name in SCHEMES if initializers.catalogue[name].model}
    assert documented | {"gate_orthogonal"} == set(SCHEMES)


# Fixup


def test_fixup_closes_branches_and_scales_by_their_number():
    found = specs(apply("fixup", residual_net(16)))
    assert found["stem.weight"] == "he_normal"
    assert found["blocks.3.conv1.weight"] == "fixup(blocks=16)"
    assert found["blocks.3.conv2.weight"] == "zeros"
    assert found["head.weight"] == found["head.bias"] == "zeros"


def test_fixup_takes_what_the_user_says():
    found = specs(apply("fixup(blocks=81, layers=3)", residual_net(2)))
    assert found["blocks.0.conv1.weight"] == "fixup(blocks=81, layers=3)"
    assert set(specs(apply("fixup(last=True)", residual_net(2))).values()) == {
        "fixup(last=True)",
        "zeros",
    }


def test_fixup_counts_the_branches_of_all_streams():
    first, second = (
        Branch(stream, 0, 1, (f"{stream}.a", f"{stream}.b"), (), f"{stream}.b", False, False)
        for stream in (0, 1)
    )
    facts = model(
        *(fact(name, "linear", (4, 4), branch=first) for name in first.weights),
        *(fact(name, "linear", (4, 4), branch=second) for name in second.weights),
    )
    found = specs(apply("fixup", facts))
    assert found == {
        "0.a": "fixup(blocks=2)",
        "0.b": "zeros",
        "1.a": "fixup(blocks=2)",
        "1.b": "zeros",
    }


# ReZero, SkipInit, zero γ


@pytest.mark.parametrize(
    ("text", "base"), [("rezero", "glorot_uniform"), ("skipinit(alpha=0.25)", "he_normal")]
)
def test_factors_that_end_a_branch(text: str, base: str):
    found = specs(apply(text, residual_net(2, end="alpha")))
    assert found["blocks.0.alpha"] == found["blocks.1.alpha"] == text
    assert found["blocks.0.conv2.weight"] == found["stem.weight"] == base


def test_a_factor_elsewhere_is_left_alone():
    facts = residual_net(2, end="alpha")
    other = fact("temperature", "scale", (), order=99)
    facts = replace(facts, parameters={**facts.parameters, "temperature": other})
    assert specs(apply("rezero", facts))["temperature"] is None


def test_zero_gamma_closes_by_the_last_normalisation():
    facts = residual_net(2, end="norm")
    other = fact("norm.weight", "norm_scale", (8,), order=99)
    facts = replace(facts, parameters={**facts.parameters, "norm.weight": other})
    found = specs(apply("zero_gamma", facts))
    assert found["blocks.0.norm"] == found["blocks.1.norm"] == "zero_gamma"
    assert found["norm.weight"] == "ones"
    assert found["blocks.0.conv2.weight"] == "he_normal"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("rezero", "trainable factor"),
        ("skipinit", "trainable factor"),
        ("zero_gamma", "ends in a normalisation"),
        ("t_fixup", "with an attention"),
        ("deepnorm", "with an attention"),
        ("mimetic", "no attention"),
        ("irnn", "no recurrent layer without gates"),
        ("forget_bias", "no LSTM"),
        ("gate_orthogonal", "no hidden-to-hidden"),
        ("embedding", "no embedding"),
        ("tied_embedding", "no embedding"),
    ],
)
def test_a_model_without_what_a_scheme_is_for_is_refused(text: str, missing: str):
    with pytest.raises(InvalidValueError, match=missing) as caught:
        apply(text, residual_net(2))
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["fixup", "gpt2", "depth_scaled"])
def test_a_model_without_branches_is_refused(text: str):
    with pytest.raises(InvalidValueError, match="no residual branch"):
        apply(text, lstm())


# Transformers


def test_gpt2_scales_the_end_of_each_branch_by_the_number_of_additions():
    found = specs(apply("gpt2", language_model(3)))
    for name in ("tokens.weight", "positions", "head.weight", "layers.1.self.query.weight"):
        assert found[name] == "normal(std=0.02)"
    for name in ("layers.0.self.out.weight", "layers.2.mlp.down.weight"):
        std = initializers.get(found[name]).std((8, 8))
        assert std == pytest.approx(0.02 / np.sqrt(6), rel=1e-12)
    assert (found["norm.weight"], found["head.bias"]) == ("ones", "zeros")


def test_gpt2_takes_what_the_user_says():
    found = specs(apply("gpt2(std=0.1, layers=50)", language_model(3)))
    assert found["tokens.weight"] == "normal(std=0.1)"
    assert found["layers.0.self.out.weight"] == "normal(std=0.01)"
    direct = specs(apply("gpt2(residual=True)", language_model(1)))
    assert direct["layers.0.mlp.up.weight"] == "gpt2(residual=True)"


@pytest.mark.parametrize("packed", [False, True])
def test_t_fixup_scales_values_outputs_and_feed_forward(packed: bool):  # noqa: FBT001 - a case
    found = specs(apply("t_fixup", language_model(3, packed=packed)))
    scaled, rest = "t_fixup(layers=3)", "glorot_uniform"
    if packed:
        assert found["layers.0.self.in_proj_weight"] == (rest, rest, scaled)
    else:
        assert found["layers.0.self.query.weight"] == found["layers.0.self.key.weight"] == rest
        assert found["layers.0.self.value.weight"] == scaled
    for name in ("self.out", "mlp.up", "mlp.down"):
        assert found[f"layers.2.{name}.weight"] == scaled
    assert found["tokens.weight"] == "t_fixup(layers=3, side='embedding')"
    assert found["head.weight"] == rest


def encoder_decoder(encoder: int, decoder: int) -> ModelFacts:
    return model(
        fact("source.weight", "embedding", (9, 8)),
        *stack("encoder", encoder),
        fact("target.weight", "embedding", (9, 8)),
        *stack("decoder", decoder, stream=1, cross=True),
        fact("head.weight", "linear", (9, 8), output=True),
    )


def test_t_fixup_tells_a_decoder_by_its_cross_attention():
    found = specs(apply("t_fixup", encoder_decoder(4, 2)))
    assert found["encoder.3.mlp.up.weight"] == "t_fixup(layers=4)"
    assert found["decoder.1.cross.value.weight"] == "t_fixup(layers=2, side='decoder')"
    assert found["decoder.1.cross.query.weight"] == "glorot_uniform"
    assert found["source.weight"] == "t_fixup(layers=4, side='embedding')"
    assert found["target.weight"] == "t_fixup(layers=2, side='embedding')"


def test_deepnorm_of_one_stack_and_of_two():
    facts = language_model(3)
    decisions = apply("deepnorm", facts)
    found = specs(decisions)
    assert found["layers.0.self.value.weight"] == "deepnorm(layers=3)"
    assert found["layers.0.self.query.weight"] == found["head.weight"] == "glorot_normal"
    assert f"{deepnorm_alpha(3, 'encoder_only'):.6g}" in decisions["layers.0.mlp.up.weight"].reason
    both = specs(apply("deepnorm", encoder_decoder(4, 2)))
    encoder = "deepnorm(layers=4, kind='encoder', decoder_layers=2)"
    assert both["encoder.0.mlp.up.weight"] == encoder
    assert both["decoder.0.self.out.weight"] == "deepnorm(layers=2, kind='decoder')"


def test_deepnorm_takes_what_the_user_says():
    found = specs(apply("deepnorm(layers=9, kind='decoder')", language_model(3)))
    assert found["layers.0.mlp.up.weight"] == "deepnorm(layers=9, kind='decoder')"


def test_a_packed_projection_that_is_not_cut_is_refused():
    facts = language_model(1, packed=True)
    name = "layers.0.self.in_proj_weight"
    uncut = replace(facts.parameters[name], parts=(Part("", 0, 24, read.fans((24, 8))),))
    facts = replace(facts, parameters={**facts.parameters, name: uncut})
    with pytest.raises(InvalidValueError, match="cannot be told apart"):
        apply("deepnorm", facts)


def post_norm(facts: ModelFacts) -> ModelFacts:
    """Let every branch start a stream of its own, as a normalisation after each sum does."""
    held: dict[str, ParameterFact] = {}
    for name, one in facts.parameters.items():
        branch = one.branch
        if branch is not None:
            stream = 100 * branch.stream + branch.index
            branch = replace(branch, stream=stream, index=0, count=1, post_norm=True)
        held[name] = replace(one, branch=branch)
    return replace(facts, parameters=held)


def test_post_norm_stacks_are_told_by_their_lists():
    facts = post_norm(encoder_decoder(4, 2))
    deep = apply("deepnorm", facts)
    encoder = "deepnorm(layers=4, kind='encoder', decoder_layers=2)"
    assert specs(deep)["encoder.3.mlp.up.weight"] == encoder
    assert specs(deep)["decoder.1.cross.value.weight"] == "deepnorm(layers=2, kind='decoder')"
    assert "normalise" not in deep["encoder.3.mlp.up.weight"].reason
    assert "normalise" in apply("deepnorm", language_model(1))["layers.0.mlp.up.weight"].reason
    scaled = specs(apply("depth_scaled", facts))
    assert scaled["encoder.3.self.key.weight"] == "depth_scaled(layer=4)"
    assert scaled["decoder.1.cross.key.weight"] == "depth_scaled(layer=2)"


def test_the_last_sum_of_a_pre_norm_stack_is_normalised_and_stays_in_it():
    facts = language_model(3)
    held = {
        name: replace(one, branch=replace(one.branch, post_norm=True))
        if one.branch is not None and one.branch.index == 5
        else one
        for name, one in facts.parameters.items()
    }
    deep = apply("deepnorm", replace(facts, parameters=held))
    assert specs(deep)["layers.2.mlp.up.weight"] == "deepnorm(layers=3)"
    assert "normalise" in deep["layers.2.mlp.up.weight"].reason


def test_depth_scaled_counts_layers_not_branches():
    found = specs(apply("depth_scaled", encoder_decoder(3, 2)))
    assert found["encoder.0.self.query.weight"] == "depth_scaled"
    assert found["encoder.2.mlp.up.weight"] == "depth_scaled(layer=3)"
    assert found["decoder.1.self.query.weight"] == "depth_scaled(layer=2)"
    assert found["decoder.1.mlp.up.weight"] == "depth_scaled(layer=2)"
    assert found["head.weight"] == "glorot_uniform"
    plain = specs(apply("depth_scaled(alpha=0.5)", residual_net(3)))
    assert plain["blocks.2.conv1.weight"] == "depth_scaled(layer=3, alpha=0.5)"


# muP


def test_mup_kinds():
    perceptron = model(
        fact("0.weight", "linear", (32, 7)),
        fact("0.bias", "bias", (32,), bias_of="0.weight"),
        fact("1.weight", "linear", (32, 32)),
        fact("2.weight", "linear", (4, 32), output=True),
    )
    assert specs(apply("mup(base_width=8)", perceptron)) == {
        "0.weight": "mup(kind='input')",
        "0.bias": "zeros",
        "1.weight": "mup",
        "2.weight": "mup(kind='readout', base_width=8)",
    }
    assert (
        specs(apply("mup(zero=True)", perceptron))["2.weight"] == "mup(kind='readout', zero=True)"
    )
    assert specs(apply("mup(gain=2)", perceptron))["1.weight"] == "mup(gain=2)"
    assert specs(apply("mup('hidden', gain=2)", perceptron))["2.weight"] != "mup(gain=2)"


def test_mup_learning_rates_of_a_language_model():
    facts = language_model(1)  # width 8, a base of 2: ratio 4
    adam = mup_learning_rates(facts, 2)
    assert adam["tokens.weight"] == adam["positions"] == adam["norm.weight"] == 1
    assert adam["layers.0.mlp.down.weight"] == adam["head.weight"] == 1 / 4
    sgd = mup_learning_rates(facts, 2, "sgd")
    assert sgd["tokens.weight"] == sgd["norm.bias"] == 4
    assert sgd["layers.0.mlp.down.weight"] == sgd["head.bias"] == 1
    assert sgd["head.weight"] == 1 / 4


def test_mup_of_a_tied_embedding_has_one_size_at_every_width():
    facts = language_model(1)
    held = {name: one for name, one in facts.parameters.items() if not name.startswith("head")}
    held["tokens.weight"] = replace(held["tokens.weight"], tied=("head.weight",), output=True)
    tied = replace(facts, parameters=held)  # width 8
    decision = apply("mup(base_width=4)", tied)["tokens.weight"]
    assert specs({"": decision})[""] == "embedding(std=0.5)"
    assert "multiply its logits by 0.5" in decision.reason
    assert mup_learning_rates(tied, 4)["tokens.weight"] == 1


def test_mup_needs_a_width():
    facts = model(fact("0.weight", "linear", (4, 4)), fact("1.weight", "linear", (4, 4)))
    with pytest.raises(InvalidValueError, match="width"):
        mup_learning_rates(facts, 2)
    with pytest.raises(InvalidValueError, match="leave base_width out"):
        apply("mup(base_width=2)", facts)
    assert specs(apply("mup", facts)) == {"0.weight": "mup(kind='input')", "1.weight": "mup"}


# Mimetic


def values(decision: Decision, shape: tuple[int, ...]) -> np.ndarray:
    """Draw the pieces of a plan as a model would be filled: each from the stream it names."""
    assert isinstance(decision, Assignment)
    blocks: list[np.ndarray] = []
    for piece in decision.pieces:
        key = Key.derive(0, piece.stream or decision.name)
        rows = (piece.stop - piece.start, *shape[1:])
        rows = (rows[1], rows[0], *rows[2:]) if piece.swapped else rows
        weight = piece.initializer.sample(rows, CounterStream(key))
        blocks.append(weight.swapaxes(0, 1) if piece.swapped else weight)
    return np.concatenate(blocks)


@pytest.mark.parametrize("packed", [False, True])
def test_mimetic_draws_the_four_projections_together(packed: bool):  # noqa: FBT001 - a case
    width = 48
    facts = language_model(1, width=width, packed=packed)
    decisions = apply("mimetic", facts)
    path = "layers.0.self"
    if packed:
        name = f"{path}.in_proj_weight"
        query, key, value = np.split(values(decisions[name], (3 * width, width)), 3)
    else:
        names = [f"{path}.{role}.weight" for role in ("query", "key", "value")]
        query, key, value = (values(decisions[name], (width, width)) for name in names)
    output = values(decisions[f"{path}.out.weight"], (width, width))
    assert np.diagonal(output @ value).mean() == pytest.approx(-0.4, abs=5 * 0.4 / width)
    half = width // 2  # of two heads
    for head in (slice(None, half), slice(half, None)):
        product = query[head].T @ key[head]
        assert np.linalg.matrix_rank(product) == half
        assert np.diagonal(product).mean() > 0.3
    assert specs(decisions)["layers.0.mlp.up.weight"] == "truncated_normal(std=0.02)"


def test_mimetic_attentions_differ_and_take_what_the_user_says():
    decisions = apply("mimetic(heads=4, beta_qk=1)", language_model(2))
    first, second = (f"layers.{layer}.self.query.weight" for layer in range(2))
    assert specs(decisions)[first] == "mimetic(heads=4, beta_qk=1)"
    assert (values(decisions[first], (8, 8)) != values(decisions[second], (8, 8))).any()


def test_mimetic_reads_a_weight_that_is_kept_input_first():
    facts = language_model(1, width=24)
    name = "layers.0.self.value.weight"
    swapped = replace(facts.parameters[name], input_first=True)
    facts = replace(facts, parameters={**facts.parameters, name: swapped})
    decisions = apply("mimetic", facts)
    value = values(decisions[name], (24, 24)).T
    output = values(decisions["layers.0.self.out.weight"], (24, 24))
    assert np.diagonal(output @ value).mean() == pytest.approx(-0.4, abs=5 * 0.4 / 24)


def test_mimetic_leaves_grouped_queries_to_the_base():
    facts = language_model(2)
    name = "layers.0.self.key.weight"
    narrow = replace(
        facts.parameters[name], shape=(4, 8), parts=(Part("", 0, 4, read.fans((4, 8))),)
    )
    facts = replace(facts, parameters={**facts.parameters, name: narrow})
    decisions = apply("mimetic", facts)
    assert specs(decisions)["layers.0.self.query.weight"] == "truncated_normal(std=0.02)"
    assert specs(decisions)["layers.1.self.query.weight"] == "mimetic(heads=2)"
    assert "differ in shape" in decisions[name].reason
    alone = {key: one for key, one in facts.parameters.items() if not key.startswith("layers.1")}
    with pytest.raises(InvalidValueError, match="none of its attentions fits"):
        apply("mimetic", replace(facts, parameters=alone))


def test_mimetic_leaves_cross_attention_to_the_base():
    found = specs(apply("mimetic", encoder_decoder(1, 1)))
    assert found["encoder.0.self.query.weight"] == "mimetic(heads=2)"
    assert found["decoder.0.self.query.weight"] == "mimetic(heads=2)"
    assert found["decoder.0.cross.query.weight"] == "truncated_normal(std=0.02)"


def test_mimetic_asks_for_unknown_heads():
    with pytest.raises(InvalidValueError, match=r"mimetic\(heads=8\)"):
        apply("mimetic", language_model(1, heads=None))
    found = specs(apply("mimetic(heads=2)", language_model(1, heads=None)))
    assert found["layers.0.self.key.weight"] == "mimetic(part='key', heads=2)"


# One kind of network


def test_siren_knows_the_first_layer():
    facts = model(
        fact("z.weight", "linear", (8, 8), order=2),
        fact("z.bias", "bias", (8,), order=3),
        fact("a.weight", "linear", (8, 2), order=0),
    )
    found = specs(apply("siren(omega=20)", facts))
    assert found == {
        "z.weight": "siren(omega=20)",
        "z.bias": "zeros",
        "a.weight": "siren(omega=20, first=True)",
    }


def test_random_walk_follows_the_activation():
    facts = model(
        fact("0.weight", "linear", (8, 8), activation="relu"),
        fact("1.weight", "linear", (8, 8), activation="tanh"),
        fact("2.weight", "linear", (8, 8), output=True),
    )
    linear = "random_walk(activation='linear')"
    assert list(specs(apply("random_walk", facts)).values()) == ["random_walk", linear, linear]
    assert set(specs(apply(linear, facts)).values()) == {linear}


def test_zero_hadamard_closes_branches_and_draws_groups_one_by_one():
    facts = residual_net(1)
    grouped = fact("grouped.weight", "convolution", (8, 2, 3, 3), groups=4, order=99)
    facts = replace(facts, parameters={**facts.parameters, "grouped.weight": grouped})
    decisions = apply("zero_hadamard", facts)
    found = specs(decisions)
    assert found["blocks.0.conv1.weight"] == "zero_hadamard"
    assert found["blocks.0.conv2.weight"] == "zeros"
    kernel = values(decisions["grouped.weight"], (8, 2, 3, 3))
    np.testing.assert_array_equal(kernel[:, :, 1, 1], np.tile(np.eye(2), (4, 1)))


# Recurrent layers and both ends


def test_forget_bias_goes_into_one_of_the_two_biases():
    found = specs(apply("forget_bias(2)", lstm()))
    assert found.pop("rnn.bias_ih_l0") == "forget_bias(value=2)"
    assert found.pop("rnn.bias_hh_l0") == "zeros"
    assert set(found.values()) == {None}


def test_irnn_is_for_layers_without_gates():
    found = specs(apply("irnn(scale=0.5)", lstm("rnn", 1)))
    assert found["rnn.weight_hh_l0"] == "irnn(scale=0.5)"
    assert found["rnn.weight_ih_l0"] == "normal(std=0.001)"
    assert found["rnn.bias_ih_l0"] == found["rnn.bias_hh_l0"] == "zeros"
    assert found["head.weight"] is found["tokens.weight"] is None
    with pytest.raises(InvalidValueError, match="only GRU"):
        apply("irnn", lstm("gru", 3))


@pytest.mark.parametrize(("gates", "rows"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_gate_orthogonal_draws_each_gate_of_the_hidden_weight(gates: str, rows: int):
    decisions = apply("gate_orthogonal(gain=2)", lstm(gates, rows))
    weight = values(decisions["rnn.weight_hh_l0"], (3 * rows, 3))
    for gate in np.split(weight, rows):
        np.testing.assert_allclose(gate @ gate.T, 4 * np.eye(3), atol=1e-6)
    assert isinstance(decisions["rnn.weight_ih_l0"], Kept)


@pytest.mark.parametrize("text", ["embedding(std=0.5)", "tied_embedding"])
def test_embeddings_keep_their_padding_and_leave_the_rest(text: str):
    found = specs(apply(text, lstm()))
    assert found.pop("tokens.weight") == (text, "zeros", text)
    assert set(found.values()) == {None}


def test_prior_bias_sets_the_output_alone():
    prior = "prior_bias(prior=(4, 3, 2, 1))"
    found = specs(apply(prior, lstm()))
    assert found.pop("head.bias") == prior
    assert set(found.values()) == {None}
    with pytest.raises(InvalidValueError, match="each of its 4 classes"):
        apply("prior_bias((0.5, 0.5))", lstm())
    with pytest.raises(InvalidValueError, match="no bias of an output layer"):
        apply("prior_bias", model(fact("0.weight", "linear", (4, 4), output=True)))


def test_the_end_of_a_branch_is_no_output_layer():
    """Without a head, what ends a branch may count as the model's output."""
    facts = residual_net(2)
    held = {name: one for name, one in facts.parameters.items() if not name.startswith("head")}
    last = replace(held["blocks.1.conv2.weight"], output=True)
    bias = fact("blocks.1.conv2.bias", "bias", (8,), bias_of=last.name, output=True)
    held |= {last.name: last, bias.name: replace(bias, branch=last.branch, order=98)}
    headless = replace(facts, parameters=held)
    assert specs(apply("mup", headless))[last.name] == "mup"
    with pytest.raises(InvalidValueError, match="no bias of an output layer"):
        apply("prior_bias", headless)
