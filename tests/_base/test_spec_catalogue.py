"""Specs, catalogues, fans and streams: what the two catalogues of the package stand on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlab._base.catalogue import Catalogue
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab._base.fans import fans
from initlab._base.spec import Call, Literal, parse_call
from initlab._base.streams import derive_key, legacy, stream

identifiers = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True).filter(
    lambda name: name not in {"and", "as", "if", "in", "is", "or", "not", "for", "def", "del"}
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10),
)
literals = st.one_of(scalars, st.tuples(scalars), st.tuples(scalars, st.tuples(scalars, scalars)))


@given(
    name=identifiers,
    args=st.lists(literals, max_size=3),
    kwargs=st.dictionaries(identifiers, literals, max_size=3),
)
def test_a_call_prints_and_reads_back(name: str, args: list[Literal], kwargs: dict[str, Literal]):
    call = Call(name, tuple(args), tuple(kwargs.items()))
    assert parse_call(str(call)) == call


def test_what_a_call_may_look_like():
    assert parse_call("relu") == Call("relu")
    assert parse_call(" relu () ") == Call("relu")
    assert parse_call("f(1, -2.5, k='a', t=(1, True, None))") == Call(
        "f", (1, -2.5), (("k", "a"), ("t", (1, True, None)))
    )
    assert parse_call("f([1, [2]])") == Call("f", ((1, (2,)),))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1", "a b", "a.b", "a-b", "f(", "f(1)(2)", "f.g(1)", "f(x)", "f(**{'a': 1})",
        "f(*[1])", "f({1: 2})", "f(1j)", "f(b'x')", "f(1 + 1)", "f(g(1))", "f(lambda: 0)", "f\0",
        "f(a=1, a=2)", "__import__('os')('x')", "f(1); g", "f(" * 300,
    ],
)  # fmt: skip
def test_what_it_may_not(text: str):
    with pytest.raises(InvalidValueError) as caught:
        parse_call(text, "thing")
    message = str(caught.value)
    assert "thing" in message
    assert "\n" not in message


CATALOGUE = Catalogue("colour", {"red": 1, "green": 2}, {"rouge": "red"})


def test_a_catalogue_answers_to_names_and_aliases_in_any_case():
    assert [CATALOGUE[name] for name in ("red", "rouge", "RED", " Rouge ")] == [1] * 4
    assert CATALOGUE.canonical("Rouge") == "red"
    assert list(CATALOGUE) == ["red", "green"]
    assert len(CATALOGUE) == 2
    assert "rouge" in CATALOGUE
    assert "blue" not in CATALOGUE
    assert 1 not in CATALOGUE
    assert tuple(CATALOGUE.names()) == ("red", "green", "rouge")


def test_a_catalogue_suggests_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"unknown colour 'gren'; did you mean green\?"):
        CATALOGUE["gren"]
    with pytest.raises(UnknownNameError, match="known: green, red, rouge"):
        CATALOGUE["xyz"]


def test_fans():
    assert (fans((5, 3)).fan_in, fans((5, 3)).fan_out) == (3, 5)
    assert fans((5, 3)).average == 4
    kernel = fans((8, 4, 3, 5))
    assert (kernel.fan_in, kernel.fan_out, kernel.receptive) == (60, 120, 15)
    depthwise = fans((64, 1, 3, 3), groups=64)
    assert (depthwise.fan_in, depthwise.fan_out) == (9, 9)
    for shape, groups in (((3,), 1), ((), 1), ((3, -1), 1), ((4, 2), 3), ((4, 2), 0)):
        with pytest.raises(InvalidValueError):
            fans(shape, groups=groups)


def test_the_key_of_a_stream_is_blake2b():
    # printf '3\x1finit\x1flayer 1' | b2sum -l 128
    digest = "815b9bb7d48e9135a2f340ca6b476b33"
    assert derive_key(3, "init", "layer 1") == int.from_bytes(bytes.fromhex(digest), "little")


def test_each_part_of_the_key_tells_streams_apart():
    keys = {(s, p, k) for s in (0, 1, 10) for p in ("init", "batch") for k in ("", 0, 1, "x")}
    first = {stream(*key).integers(2**63) for key in keys}
    assert len(first) == len(keys)
    assert stream(1, "init").integers(2**63) == stream(1, "init").integers(2**63)


def test_the_legacy_stream_is_numpys_and_leaves_the_global_one_alone():
    np.random.seed(5)  # noqa: NPY002 - the old interface is what is compared
    drawn = np.random.randn(4)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    np.testing.assert_array_equal(legacy(5).standard_normal((4,)), drawn)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
