"""Reading and printing initialisers."""

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlab import initializers
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.initializers import Initializer, catalogue, get, names, require_shape

positive = st.floats(min_value=1e-300, max_value=1e300)
finite = st.floats(min_value=-1e300, max_value=1e300)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("normal(10)", "normal(std=10)"),
        ("normal(10.0)", "normal(std=10)"),
        ("normal(std=1)", "normal"),
        ("normal(mean=2, std=0.5)", "normal(std=0.5, mean=2)"),
        ("normal(1e-3)", "normal(std=0.001)"),
        ("normal(1e22)", "normal(std=1e+22)"),
        ("  normal( std = 10 ) ", "normal(std=10)"),
        ("gaussian(3)", "normal(std=3)"),
        ("He_Normal", "he_normal"),
        ("kaiming_normal", "he_normal"),
        ("kaiming_uniform(0.1)", "he_uniform(slope=0.1)"),
        ("xavier_normal(gain=1.5)", "glorot_normal(gain=1.5)"),
        ("xavier_uniform()", "glorot_uniform"),
        ("constant(value=0.5)", "constant(0.5)"),
        ("constant(-0.0)", "constant(0)"),
        ("he_normal(mode='fan_out')", "he_normal(mode='fan_out')"),
        ('he_normal(mode="fan_in")', "he_normal"),
        ("truncated_normal(0.02, corrected=True)", "truncated_normal(std=0.02, corrected=True)"),
        ("truncated_normal(0.02, low=-2, high=2)", "truncated_normal(std=0.02, low=-2, high=2)"),
        (
            "truncated_normal(mean=0.5, low=0, high=1.0)",
            "truncated_normal(mean=0.5, low=0, high=1)",
        ),
        ("orthogonal(gain=1.4142)", "orthogonal(gain=1.4142)"),
        ("eye(2)", "identity(gain=2)"),
        ("dirac(4)", "dirac(groups=4)"),
        ("sparse(std=0.1, count=15)", "sparse(std=0.1)"),
        ("standard_uniform", "pytorch_default"),
        ("activation_matched(activation='swish')", "activation_matched('silu')"),
        ("activation_matched('leaky_relu(0.20)')", "activation_matched('leaky_relu(0.2)')"),
        (
            "activation_matched('relu', 'variance')",
            "activation_matched('relu', convention='variance')",
        ),
        ("autoinit(0.5)", "autoinit(input_second_moment=0.5)"),
        ("gate_orthogonal(4, 2)", "gate_orthogonal(gain=2)"),
    ],
)
def test_canonical_spec(text: str, spec: str):
    assert get(text).spec == spec
    assert get(spec) == get(text)
    assert repr(get(text)) == f"<initializer {spec}>"


@given(std=positive, mean=finite)
def test_any_normal_reads_back(std: float, mean: float):
    initializer = get(f"normal({std!r}, {mean!r})")
    again = get(initializer.spec)
    assert again == initializer
    assert again.std((3, 4)) == std
    assert again.mean((3, 4)) == mean


@given(value=finite)
def test_any_constant_reads_back(value: float):
    initializer = get(f"constant({value!r})")
    assert get(initializer.spec) == initializer
    assert initializer.mean((2, 2)) == value


@given(
    scale=positive,
    mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
    distribution=st.sampled_from(["normal", "uniform", "truncated_normal"]),
)
def test_any_variance_scaling_reads_back(scale: float, mode: str, distribution: str):
    initializer = get(f"variance_scaling({scale!r}, {mode!r}, distribution={distribution!r})")
    assert get(initializer.spec) == initializer


def test_different_arguments_are_different_initializers():
    texts = ["normal", "normal(2)", "normal(1, 2)", "uniform", "constant(1)", "ones", "zeros"]
    assert len({get(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("normal(std=-1)", ["std=-1", "above 0", "normal(std=1, mean=0)"]),
        ("normal(0)", ["std=0", "above 0"]),
        ("normal(1e999)", ["std=inf", "finite"]),
        ("normal(mean=1e999)", ["mean=inf", "finite"]),
        ("normal(std=True)", ["std=True", "finite number"]),
        ("normal('10')", ["std='10'", "finite number"]),
        ("normal((1, 2))", ["std=(1, 2)", "finite number"]),
        ("normal(sd=1)", ["'sd'", "normal(std=1, mean=0)"]),
        ("normal(1, 2, 3)", ["too many", "normal(std=1, mean=0)"]),
        ("normal(1, std=2)", ["std", "normal(std=1, mean=0)"]),
        ("normal(std=1, std=2)", ["std", "twice"]),
        ("uniform(bound=-0.5)", ["bound=-0.5", "above 0"]),
        ("constant", ["'value'", "constant(value)"]),
        ("zeros(0)", ["too many", "zeros()"]),
        ("he_normal(mode='fan')", ["mode='fan'", "'fan_in', 'fan_out', 'fan_avg'"]),
        ("he_normal(mode=2)", ["mode=2", "'fan_in'"]),
        ("variance_scaling(0)", ["scale=0", "above 0"]),
        ("variance_scaling(distribution='cauchy')", ["'cauchy'", "'truncated_normal'"]),
        ("truncated_normal(cut=0.001)", ["cut=0.001", "uniform(bound)"]),
        ("truncated_normal(corrected=1)", ["corrected=1", "True"]),
        ("truncated_normal(1, 2, True)", ["too many", "*, corrected=False"]),
        ("truncated_normal(low=-2)", ["low=-2", "both bounds"]),
        ("truncated_normal(high=2)", ["high=2", "both bounds"]),
        ("truncated_normal(low=2, high=-2)", ["low=2", "below high=-2"]),
        ("truncated_normal(low=1, high=1)", ["low=1", "below high=1"]),
        ("truncated_normal(cut=3, low=-2, high=2)", ["place of cut"]),
        ("truncated_normal(corrected=True, low=-2, high=2)", ["corrected"]),
        ("truncated_normal(std=0.01, low=1, high=2)", ["more than 10 std", "larger std"]),
        ("truncated_normal(low='a', high=2)", ["low='a'", "finite number"]),
        ("identity(0)", ["gain=0", "above 0"]),
        ("dirac(0)", ["groups=0", "at least 1"]),
        ("dirac(1.5)", ["groups=1.5", "whole number"]),
        ("sparse(True)", ["count=True", "whole number"]),
        ("activation_matched", ["'activation'", "activation_matched(activation"]),
        ("activation_matched(2)", ["activation=2", "'gelu'"]),
        ("activation_matched('relu', 'mean')", ["'mean'", "'second_moment', 'variance'"]),
        ("activation_matched('leaky_relu(2, 3)')", ["leaky_relu(2, 3)"]),
        ("autoinit(0)", ["input_second_moment=0", "above 0"]),
        ("gate_orthogonal(gates=0)", ["gates=0", "at least 1"]),
        ("orthogonal(gain=-1)", ["gain=-1", "above 0"]),
        ("normal(", ["'normal('", "normal(std=10)"]),
        ("", ["''"]),
        ("normal(std=open('x'))", ["open('x')", "not a number"]),
        ("__import__('os').system('true')", ["cannot read"]),
        (f"normal(1{'0' * 400})", ["finite"]),
    ],
)
def test_bad_arguments_are_refused_in_one_line(text: str, words: list[str]):
    with pytest.raises(InvalidValueError) as caught:
        get(text)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("he_norml", "he_normal"),
        ("kaming_normal(1)", "kaiming_normal"),
        ("zero", "zeros"),
        ("activation_matched('gellu')", "gelu"),
    ],
)
def test_unknown_names_suggest_the_nearest(text: str, nearest: str):
    with pytest.raises(UnknownNameError, match=nearest) as caught:
        get(text)
    assert nearest in caught.value.suggestions


def test_unlike_names_list_what_is_known():
    with pytest.raises(UnknownNameError) as caught:
        get("xyzzy")
    assert all(name in str(caught.value) for name in names())


@pytest.mark.parametrize("shape", [(3, -1), (2.0, 3), ("3", 2), 5])
def test_shapes_that_are_none(shape: Any):
    with pytest.raises(InvalidValueError, match="shape"):
        get("normal").std(shape)


@pytest.mark.parametrize(
    "text", ["he_normal", "glorot_uniform", "orthogonal", "sparse", "conv_orthogonal"]
)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_fans_need_two_axes(text: str, shape: tuple[int, ...]):
    with pytest.raises(InvalidValueError, match=r"fan_out, fan_in"):
        get(text).std(shape)


def test_every_name_makes_an_initializer():
    assert all(isinstance(get(catalogue[name].text), Initializer) for name in names())


def test_importing_the_catalogue_loads_no_heavy_package():
    code = (
        "import sys, initlab.initializers as i; i.get('truncated_normal').std((2, 2)); "
        "heavy = {'scipy', 'numba', 'torch', 'pandas', 'matplotlib', 'sklearn'}; "
        "heavy &= set(sys.modules); "
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [None, 3, b"normal", ("normal",)])
def test_what_is_no_text_is_refused(text: Any):
    with pytest.raises(InvalidValueError, match=r"cannot read initializer .*; write a name"):
        get(text)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (5, "shape 5 is not a sequence"),
        ("ab", "shape 'ab' is not a sequence"),
        ((2.0, 2), "not a sequence of whole numbers"),
        ((-1, 2), "negative size"),
        ((10**12, 10**9), "more entries than any array"),
    ],
)
def test_what_is_no_shape(shape: Any, message: str):
    with pytest.raises(InvalidValueError, match=message):
        require_shape(shape)
    with pytest.raises(InvalidValueError, match=message):
        get("normal").std(shape)


def test_shapes_of_numpy_become_pythons():
    assert [type(size) for size in require_shape(np.array([3, 4]))] == [int, int]


def test_parts_of_one_draw_are_marked():
    assert [name for name, entry in catalogue.items() if entry.joint] == ["mimetic"]


def test_what_an_entry_names_can_be_found():
    for name, entry in catalogue.items():
        for function in re.findall(r"initlab\.initializers\.(\w+)", entry.model):
            assert callable(getattr(initializers, function)), name
    assert "initlab.initializers.deepnorm_alpha" in catalogue["deepnorm"].model
    assert "initlab.initializers.mup_attention_scale" in catalogue["mup"].model
