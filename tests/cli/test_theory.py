"""``initlab theory``, as it is typed."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

HEAVY = {"numpy", "numba", "scipy", "sklearn", "pandas", "matplotlib"}

MODULE = """
import numpy as np

def bent(x):
    return np.where(x > 0, x, 0.25 * x)

class Inner:
    @staticmethod
    def cubed(x):
        return x**3

jumps = np.sign
scalar = lambda x: x if x > 0 else 0.0
number = 3
"""


def moment(f: Callable[[float], float]) -> float:
    """Return E[f(z)], z standard normal, by SciPy's quadrature on either side of 0."""
    parts = ((-np.inf, 0), (0, np.inf))
    return sum(integrate.quad(lambda z: f(z) * stats.norm.pdf(z), *part)[0] for part in parts)


GAINS: Mapping[str, tuple[Callable[[float], float], float | None]] = {
    "gelu": (lambda x: x * special.ndtr(x), None),
    "tanh": (math.tanh, torch.nn.init.calculate_gain("tanh")),
    "leaky_relu(0.2)": (
        lambda x: x if x > 0 else 0.2 * x,
        torch.nn.init.calculate_gain("leaky_relu", 0.2),
    ),
}


@pytest.mark.parametrize(("name", "known"), GAINS.items(), ids=GAINS)
def test_gain(initlab: Callable[..., Any], name: str, known: tuple[Any, float | None]):
    f, in_torch = known
    document = initlab("theory", "gain", name, "--json").document
    mean, second = moment(f), moment(lambda z: f(z) ** 2)
    slope = moment(lambda z: ((f(z + 1e-6) - f(z - 1e-6)) / 2e-6) ** 2)
    assert document == {
        "moments": {
            "f": pytest.approx(mean, abs=1e-9),
            "f2": pytest.approx(second, rel=1e-9),
            "var": pytest.approx(second - mean**2, rel=1e-8),
            "df2": pytest.approx(slope, rel=1e-5),
        },
        "gain_second_moment": pytest.approx(second**-0.5, rel=1e-9),
        "gain_variance": pytest.approx((second - mean**2) ** -0.5, rel=1e-8),
        "torch_gain": in_torch,
    }
    answer = initlab("theory", "gain", name)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith(f"{name}   φ(x) = ")
    words = ("E[φ]", "E[φ²]", "Var φ", "E[φ'²]", "E[zφφ']", "E[φ²]^-1/2", "Var(φ)^-1/2")
    assert all(f"  {word} " in answer.out for word in words)
    for value in (document["gain_second_moment"], document["gain_variance"]):
        assert f" {value:.8f}"[:-1] in answer.out
    shown = re.search(r"PyTorch +(\S+) ", answer.out)
    assert shown is not None
    assert shown[1] == ("none" if in_torch is None else f"{in_torch:.10f}".rstrip("0"))


# Schoenholz et al.'s quantities, computed with 40 digits for these two networks.
POINTS: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "ordered": (
        ("--weight-var", "1.5", "--bias-var", "0.05"),
        {
            "q_star": 0.4180372005335,
            "chi_1": 0.9386362681989,
            "c_star": 1.0,
            "xi_c": 15.79099403412,
        },
    ),
    "chaotic": (
        ("--weight-var=4", "--bias-var=.3"),
        {
            "q_star": 2.54836202765,
            "chi_1": 1.256871689706,
            "c_star": 0.5753947743412,
            "xi_c": 6.549682747667,
        },
    ),
}


@pytest.mark.parametrize("regime", POINTS)
def test_point(initlab: Callable[..., Any], regime: str):
    words, known = POINTS[regime]
    document = initlab("theory", "point", "tanh", *words, "--json").document
    assert {name: document[name] for name in known} == {
        name: pytest.approx(value, rel=1e-10) for name, value in known.items()
    }
    assert (document["stable"], document["regime"]) == (True, regime)
    (only,) = document["fixed_points"]
    assert document["xi_q"] == pytest.approx(-1 / math.log(only["slope"]))
    answer = initlab("theory", "point", "tanh", *words)
    assert (answer.status, answer.err) == (0, "")
    assert f"\n{regime}: " in answer.out
    for symbol, name in (("q*", "q_star"), ("χ1", "chi_1"), ("c*", "c_star"), ("ξc", "xi_c")):
        shown = re.search(rf"^  {re.escape(symbol)} +(\S+) ", answer.out, re.MULTILINE)
        assert shown is not None
        assert float(shown[1]) == pytest.approx(known[name], abs=1e-9)


def test_a_point_that_diverges(initlab: Callable[..., Any]):
    """ReLU halves: σw² / 2 is what the variance grows by."""
    words = ["theory", "point", "relu", "--weight-var", "3", "--bias-var", "0.1"]
    document = initlab(*words, "--json").document
    assert document["regime"] == "diverges"
    assert document["growth"] == pytest.approx(1.5)
    assert document["stable"] is False
    assert [document[n] for n in ("q_star", "chi_1", "c_star", "xi_q", "xi_c")] == [None] * 5
    assert "diverges: the variance grows without end, in the long run by 1.5 a layer" in (
        initlab(*words).out
    )


def test_what_is_infinite_is_text_in_json(initlab: Callable[..., Any]):
    document = initlab("theory", "point", "relu", "--weight-var", "2", "--json").document
    assert (document["regime"], document["xi_c"], document["xi_q"]) == ("critical", "inf", "inf")
    assert document["law"] == {"coefficient": pytest.approx(4.5 * math.pi**2), "power": 2}
    words = ["--init", "zeros", "--depth", "2", "--width", "4", "--draws", "1", "--json"]
    layer = initlab("theory", "signal", "relu", *words).document["layers"][0]
    assert layer["predicted"]["correlation"] == layer["measured"]["correlation"]["mean"] == "nan"


def test_where_a_point_starts_decides_where_it_ends(initlab: Callable[..., Any]):
    """GELU at σw² = 2.2 without biases: small signals vanish, large ones grow for ever."""
    words = ["theory", "point", "gelu", "--weight-var", "2.2", "--json"]
    assert initlab(*words, "--start", "0.1").document["q_star"] == 0
    assert initlab(*words, "--start", "1e4").document["regime"] == "diverges"


def test_edge(initlab: Callable[..., Any]):
    words = ["theory", "edge", "tanh", "--bias-var", "0.05"]
    document = initlab(*words, "--json").document
    assert set(document) == {"weight_var", "bias_var", "q_star"}
    assert document["weight_var"] == pytest.approx(1.76095463961, rel=1e-11)
    assert document["bias_var"] == 0.05
    # It is the edge: χ1 = 1 there, by the other command.
    at = ["--weight-var", repr(document["weight_var"]), "--bias-var", "0.05", "--json"]
    point = initlab("theory", "point", "tanh", *at).document
    assert point["chi_1"] == pytest.approx(1, abs=1e-9)
    assert point["q_star"] == pytest.approx(document["q_star"])
    answer = initlab(*words)
    assert (answer.status, answer.err) == (0, "")
    assert re.search(r"^  σw² +1\.7609546396 ", answer.out, re.MULTILINE)
    assert re.search(r"^  σw +1\.3270096607 ", answer.out, re.MULTILINE)


NO_EDGE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "far off": (("sigmoid",), ("no edge of chaos up to q = 25", "103.008", "45.62")),
    "none": (("softplus",), ("negative bias variance", "there is no edge of chaos")),
    "a point": (("relu", "--bias-var", "0.1"), ("weight variance 2,", "it never settles")),
    "unstable": (("gelu",), ("weight variance 4 at q = 0, is unstable", "next order grows")),
}


@pytest.mark.parametrize(("words", "said"), NO_EDGE.values(), ids=NO_EDGE)
def test_why_there_is_no_edge(
    initlab: Callable[..., Any], words: tuple[str, ...], said: tuple[str, ...]
):
    document = initlab("theory", "edge", *words, "--json").document
    assert set(document) == {"weight_var", "why"}
    assert document["weight_var"] is None
    assert all(part in document["why"] for part in said)
    answer = initlab("theory", "edge", *words)
    assert (answer.status, answer.err) == (0, "")
    assert f"None: {document['why']}." in " ".join(answer.out.split())


def test_an_edge_farther_out(initlab: Callable[..., Any]):
    words = ["theory", "edge", "sigmoid", "--largest-q", "100", "--json"]
    document = initlab(*words).document
    assert document["weight_var"] == pytest.approx(103.008, abs=1e-3)
    assert document["q_star"] == pytest.approx(45.62, abs=0.01)


def picture(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG file."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def settled(weight_var: float, bias_var: float) -> float:
    """Return tanh's q*, by running the variance through 400 layers."""
    z, w = np.polynomial.hermite_e.hermegauss(100)
    q = 1.0
    for _ in range(400):
        q = weight_var * float(w @ np.tanh(math.sqrt(q) * z) ** 2 / w.sum()) + bias_var
    return q


def test_map(initlab: Callable[..., Any], empty_folder: Path):
    answer = initlab("theory", "map", "tanh", "--size", "12")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("tanh   weight variance 0 to 4, bias variance 0 to 0.5\n")
    shares = [float(share) for share in re.findall(r"([\d.]+) %", answer.out)]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert answer.out.endswith("\n\nFigure: theory-map-tanh.png\n")
    assert list(empty_folder.iterdir()) == [empty_folder / "theory-map-tanh.png"]
    assert min(picture(Path("theory-map-tanh.png"))) > 500


def test_map_document(initlab: Callable[..., Any], empty_folder: Path):
    words = ["--size", "12", "--weight-var", "0.5:3.8", "--bias-var=0.1:0.43", "--json"]
    document = initlab("theory", "map", "tanh", *words).document
    assert not list(empty_folder.iterdir())
    assert document["activation"] == "tanh"
    assert document["weight_var"] == pytest.approx(np.linspace(0.5, 3.8, 12))
    assert document["bias_var"] == pytest.approx(np.linspace(0.1, 0.43, 12))
    for name in ("q_star", "chi_1", "c_star", "xi_c"):
        assert np.shape(document[name]) == (12, 12)
    for row, column in ((0, 0), (0, 11), (11, 0), (5, 7)):
        expected = settled(document["weight_var"][column], document["bias_var"][row])
        assert document["q_star"][row][column] == pytest.approx(expected, rel=1e-4)
    assert set(document["edge"][0]) == {"q", "weight_var", "bias_var", "slope"}


def test_signal(initlab: Callable[..., Any], empty_folder: Path):
    words = ["theory", "signal", "relu", "--depth", "5", "--width", "40", "--draws", "2"]
    answer = initlab(*words)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("he_normal   5 layers of 40 units, relu\n")
    assert "measured: mean of 2 random networks." in answer.out
    assert answer.out.endswith("\n\nFigure: theory-signal-relu.png\n")
    assert list(empty_folder.iterdir()) == [empty_folder / "theory-signal-relu.png"]
    assert min(picture(Path("theory-signal-relu.png"))) > 500
    document = initlab(*words, "--json").document
    assert (document["init"], document["draws"]) == ("he_normal", 2)
    correlation = 0.5
    for number, layer in enumerate(document["layers"], start=1):
        assert layer["layer"] == number
        assert layer["weight_std"] == pytest.approx(math.sqrt(2 / 40))
        assert layer["predicted"]["variance"] == pytest.approx(2)
        assert layer["predicted"]["gradient"] == pytest.approx(1)
        assert layer["predicted"]["correlation"] == pytest.approx(correlation)
        # The arc-cosine kernel, Cho & Saul 2009.
        angle = math.acos(correlation)
        correlation = (math.sin(angle) + (math.pi - angle) * correlation) / math.pi
        assert set(layer["measured"]) == set(layer["predicted"]) - {"fluctuation"}
        row = next(line for line in answer.out.splitlines() if line.split()[:1] == [str(number)])
        assert f"{layer['measured']['variance']['mean']:.3f}" in row
    assert len(document["layers"]) == 5


def test_signal_options(initlab: Callable[..., Any]):
    words = ["theory", "signal", "tanh", "--init", "orthogonal", "--depth", "3", "--width", "30"]
    words += ["--bias-var", "0.2", "--correlation=-0.25", "--draws", "1", "--json"]
    document = initlab(*words, "--seed", "4").document
    assert (document["init"], document["bias_var"]) == ("orthogonal", 0.2)
    assert document["input_correlation"] == -0.25
    first = document["layers"][0]["predicted"]
    assert first["variance"] == pytest.approx(1.2)
    assert first["correlation"] == pytest.approx((-0.25 + 0.2) / 1.2)
    assert document["layers"][0]["measured"]["variance"]["std"] is None
    assert initlab(*words, "--seed", "4").document == document
    assert initlab(*words, "--seed", "5").document != document


def test_one_of_each_is_no_plural(initlab: Callable[..., Any]):
    words = ["--depth", "1", "--width", "1", "--draws", "1"]
    out = initlab("theory", "signal", "relu", *words).out
    assert out.startswith("he_normal   1 layer of 1 unit, relu\n")
    assert "measured: one random network." in out


def test_figures_go_where_they_are_asked_to(initlab: Callable[..., Any], empty_folder: Path):
    small = ["--depth", "2", "--width", "5", "--draws", "1"]
    Path("über uns").mkdir()
    answer = initlab("theory", "signal", "relu", *small, "--out", "über uns/a b.png")
    assert answer.out.endswith("\nFigure: über uns/a b.png\n")
    assert picture(Path("über uns/a b.png"))
    document = initlab("theory", "signal", "relu", *small, "--json", "-o", "x.PNG").document
    assert len(document["layers"]) == 2
    assert picture(Path("x.PNG"))
    name = "leaky_relu(0.2)"
    assert "Figure: theory-signal-leaky_relu-0.2.png" in (
        initlab("theory", "signal", name, *small).out
    )
    initlab("theory", "map", "relu", "--size", "4", "--out", "x.PNG")  # over the one before
    assert {path.name for path in empty_folder.rglob("*.*")} == {
        "a b.png",
        "x.PNG",
        "theory-signal-leaky_relu-0.2.png",
    }


def test_home_is_understood(
    initlab: Callable[..., Any], empty_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(empty_folder / "home"))
    monkeypatch.setenv("USERPROFILE", str(empty_folder / "home"))
    Path("home").mkdir()
    assert initlab("theory", "map", "relu", "--size", "3", "--out=~/a.png").status == 0
    assert picture(empty_folder / "home" / "a.png")


def test_a_full_disk_costs_the_figure_but_not_the_results(
    initlab: Callable[..., Any], empty_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = initlab("theory", "map", "relu", "--size", "3")
    assert answer.status == 2
    assert answer.err == f"initlab: cannot write theory-map-relu.png: {os.strerror(28)}\n"
    assert "ordered" in answer.out
    assert "Figure" not in answer.out
    assert not list(empty_folder.iterdir())


SHOWN: Mapping[str, tuple[str, ...]] = {
    "gain": ("gain", "leaky_relu(0.2)"),
    "point": ("point", "tanh", "--weight-var", "2"),
    "diverging point": ("point", "relu", "--weight-var", "3", "--bias-var", "0.1"),
    "edge": ("edge", "tanh", "--bias-var", "0.05"),
    "no edge": ("edge", "sigmoid"),
    "map": ("map", "relu", "--size", "3"),
    "signal": ("signal", "relu", "--depth", "20", "--width", "10", "--draws", "2"),
    "faint signal": ("signal", "relu", "--init", "normal(std=1e-9)", "--depth", "9", "--width=9"),
    "odd signal": ("signal", "relu", "--depth", "30", "--width", "1", "--draws", "2"),
}


@pytest.mark.parametrize("words", SHOWN.values(), ids=SHOWN)
def test_text_fits_and_nothing_is_lost_on_a_narrow_terminal(
    initlab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
):
    free = initlab("theory", *words).out
    assert max(map(len, free.splitlines())) <= 100
    assert "\x1b" not in free
    assert not any(line != line.rstrip() for line in free.splitlines())
    # A terminal of 60 columns.
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    narrow = re.sub(r"\x1b\[[\d;]*m", "", initlab("theory", *words).out)
    assert max(map(len, narrow.splitlines())) <= 60
    assert "…" not in free + narrow
    # Every word and number of one is in the other, whole; rules are as long as their table.
    assert {*re.findall(r"[^\s─]+", narrow)} == {*re.findall(r"[^\s─]+", free)}


@pytest.fixture
def modules(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put modules of the user's in this folder; forget them afterwards."""
    files = {
        "mine_1.py": MODULE,
        "fails_1.py": "1 / 0\n",
        "leaves_1.py": "import sys\nsys.exit(5)\n",
        "needs_1.py": "import nosuchthing\n",
        "wrong_1.py": "def f(:\n",
        "lines_1.py": 'raise ValueError("two\\nlines")\n',
    }
    for name, content in files.items():
        Path(name).write_text(content)
    package = Path("parts_1")
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "functions.py").write_text(MODULE)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0].endswith("_1"):
            del sys.modules[name]
    assert {path.name for path in empty_folder.iterdir()} <= {*files, "parts_1", "figure.png"}


@pytest.mark.usefixtures("modules")
def test_functions_of_the_users_own(initlab: Callable[..., Any]):
    """E[φ²] of slopes 1 and 1/4 is (1 + 1/16) / 2; x³ has E[x⁶] = 15."""
    for name in ("mine_1:bent", "parts_1.functions:bent"):
        document = initlab("theory", "gain", name, "--json").document
        assert document["moments"]["f2"] == pytest.approx((1 + 1 / 16) / 2, rel=1e-10)
        assert document["moments"]["df2"] == pytest.approx((1 + 1 / 16) / 2, rel=1e-10)
        assert document["torch_gain"] is None
    cubed = initlab("theory", "gain", "mine_1:Inner.cubed", "--json").document
    assert cubed["moments"]["f2"] == pytest.approx(15, rel=1e-10)
    answer = initlab("theory", "gain", "mine_1:bent")
    assert answer.out.startswith("bent   φ(x) = bent(x), a function of the user's\n")
    edge = initlab("theory", "edge", "mine_1:bent", "--json").document
    assert edge["weight_var"] == pytest.approx(2 / (1 + 1 / 16), rel=1e-10)
    words = ["--depth", "2", "--width", "5", "--draws", "1", "--out", "figure.png"]
    answer = initlab("theory", "signal", "mine_1:bent", *words)
    assert (answer.status, answer.err) == (0, "")
    assert "2 layers of 5 units, bent" in answer.out
    # NumPy's own are functions like any other.
    document = initlab("theory", "gain", "numpy:tanh", "--json").document
    assert document["moments"]["f2"] == pytest.approx(moment(lambda z: math.tanh(z) ** 2))


BAD: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "command": (("gian", "gelu"), ("theory command 'gian'", "did you mean gain")),
    "command, far off": (
        ("qqq",),
        ("theory command 'qqq'", "known: edge, gain, map, point, signal"),
    ),
    "command, capital": (("Gain", "gelu"), ("theory command 'Gain'", "did you mean gain?")),
    "no activation": (("gain",), ("Missing argument",)),
    "activation": (("gain", "gelo"), ("activation 'gelo'", "did you mean gelu?")),
    "activation empty": (("edge", ""), ("activation ''",)),
    "activation's argument": (("gain", "leaky_relu(x)"), ("'x'", "is not a number")),
    "two activations": (("gain", "relu", "gelu"), ("unexpected extra argument", "gelu")),
    "option": (("gain", "relu", "--jsn"), ("option '--jsn'", "did you mean --json?")),
    "option of another": (("gain", "relu", "--bias-var", "1"), ("option '--bias-var'", "--json")),
    "no weight variance": (("point", "tanh"), ("Missing option '--weight-var'",)),
    "weight variance below 0": (
        ("point", "tanh", "--weight-var", "-1"),
        ("--weight-var -1.0 is negative", "0 or more"),
    ),
    "bias variance below 0": (
        ("point", "tanh", "--weight-var", "1", "--bias-var=-1"),
        ("--bias-var -1.0 is negative", "0 or more"),
    ),
    "weight variance nan": (
        ("point", "tanh", "--weight-var", "nan"),
        ("--weight-var nan is not a finite number",),
    ),
    "weight variance text": (
        ("point", "tanh", "--weight-var", "much"),
        ("--weight-var 'much'", "valid number"),
    ),
    "weight variance missing": (("point", "tanh", "--weight-var"), ("requires an argument",)),
    "start 0": (
        ("point", "tanh", "--weight-var", "1", "--start", "0"),
        ("--start 0.0 is not above 0",),
    ),
    "edge, bias": (("edge", "tanh", "--bias-var", "-0.1"), ("--bias-var -0.1 is negative",)),
    "edge, inf": (("edge", "tanh", "--bias-var", "inf"), ("--bias-var inf is not a finite",)),
    "edge, q": (("edge", "tanh", "--largest-q", "0"), ("--largest-q 0.0 is not above 0",)),
    "range of one": (("map", "tanh", "--weight-var", "4"), ("--weight-var '4'", "0.5:4")),
    "range of three": (("map", "tanh", "--bias-var", "0:1:2"), ("--bias-var '0:1:2'", "0.5:4")),
    "range of text": (("map", "tanh", "--weight-var", "a:b"), ("--weight-var 'a:b'", "0.5:4")),
    "range empty": (("map", "tanh", "--weight-var", ":"), ("--weight-var ':'", "0.5:4")),
    "range turned round": (
        ("map", "tanh", "--weight-var", "4:0"),
        ("--weight-var (4.0, 0.0)", "a least value below the largest"),
    ),
    "range of nothing": (("map", "tanh", "--bias-var", "1:1"), ("--bias-var (1.0, 1.0)",)),
    "range below 0": (("map", "tanh", "--weight-var=-1:2"), ("--weight-var -1.0 is negative",)),
    "range to inf": (("map", "tanh", "--bias-var", "0:inf"), ("--bias-var inf is not a finite",)),
    "size 0": (("map", "tanh", "--size", "0"), ("--size 0 is not", "at least 1")),
    "size below 0": (("map", "tanh", "--size=-3"), ("--size -3 is not", "at least 1")),
    "size, part": (("map", "tanh", "--size", "1.5"), ("--size '1.5'", "valid integer")),
    "size, many": (("map", "tanh", "--size", "9" * 30), ("size is above 4000",)),
    "depth 0": (("signal", "relu", "--depth", "0"), ("--depth 0 is not", "at least 1")),
    "depth, many": (("signal", "relu", "--depth", "9" * 30), ("depth is above 100000",)),
    "width 0": (("signal", "relu", "--width", "0"), ("--width 0 is not", "at least 1")),
    "width, many": (("signal", "relu", "--width", "9" * 30), ("width is above 100000",)),
    "draws 0": (("signal", "relu", "--draws", "0"), ("--draws 0 is not", "at least 1")),
    "seed": (("signal", "relu", "--seed", "-1"), ("--seed -1 is not", "at least 0")),
    "correlation": (
        ("signal", "relu", "--correlation", "2"),
        ("--correlation 2.0 is not between -1 and 1",),
    ),
    "correlation nan": (("signal", "relu", "--correlation=nan"), ("--correlation nan is not",)),
    "signal, bias": (("signal", "relu", "--bias-var", "-1"), ("--bias-var -1.0 is negative",)),
    "init": (("signal", "relu", "--init", "he_norml"), ("'he_norml'", "did you mean he_normal")),
    "init empty": (("signal", "relu", "--init", ""), ("initializer ''",)),
    "init without its argument": (
        ("signal", "relu", "--init", "constant"),
        ("'constant'", "accepted: constant(value)"),
    ),
    "init that is no draw": (
        ("signal", "relu", "--init", "identity"),
        ("identity", "fixed pattern", "such as he_normal"),
    ),
    "init that takes data": (("signal", "relu", "--init", "lsuv"), ("lsuv adapts", "to data")),
    "no module": (("gain", "nope:tanh"), ("'nope:tanh'", "no module 'nope'", "install it")),
    "no such name": (("gain", "numpy:nothing"), ("'numpy:nothing'", "no attribute 'nothing'")),
    "no name": (("gain", "numpy:"), ("'numpy:'", "module:name")),
    "no module's name": (("gain", ":tanh"), ("':tanh'", "module:name")),
    "relative": (("gain", ".mine_1:bent"), ("'.mine_1:bent'", "relative")),
    "for numbers": (("gain", "math:tanh"), ("tanh fails on an array", "np.tanh")),
    "no function": (("gain", "mine_1:number"), ("f=3", "nor a function")),
    "of one number": (("gain", "mine_1:scalar"), ("fails on an array", "np.where")),
    "jumps": (("gain", "mine_1:jumps"), ("jumps at x = ", "continuous")),
    "importing fails": (("gain", "fails_1:f"), ("importing fails_1 fails", "ZeroDivisionError")),
    "importing leaves": (("gain", "leaves_1:f"), ("importing leaves_1 fails", "SystemExit")),
    "importing needs": (("gain", "needs_1:f"), ("'needs_1:f'", "no module 'nosuchthing'")),
    "no Python": (("gain", "wrong_1:f"), ("importing wrong_1 fails", "SyntaxError")),
    "two lines": (("gain", "lines_1:f"), ("importing lines_1 fails", "two lines")),
    "a file": (("gain", "mine_1.py:bent"), ("'mine_1.py:bent'", "no module 'mine_1.py'")),
    "no folder": (("map", "tanh", "--out", "no/x.png"), ("--out no/x.png", "no folder no")),
    "in a file": (("map", "tanh", "--out", "mine_1.py/x.png"), ("no folder mine_1.py",)),
    "a folder": (("map", "tanh", "--out", "parts_1"), ("--out parts_1", "is a folder")),
    "this folder": (("signal", "relu", "--out", "."), ("--out .", "is a folder")),
    "nowhere": (("signal", "relu", "--out", ""), ("--out .", "is a folder")),
    "no picture": (("map", "tanh", "--out", "x.pdf"), ("--out x.pdf", "ends in .png")),
    "no ending": (("signal", "relu", "--json", "-o", "x"), ("--out x", "ends in .png")),
}


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(("words", "names"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(
    initlab: Callable[..., Any], words: tuple[str, ...], names: tuple[str, ...]
):
    answer = initlab("theory", *words)
    assert (answer.status, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert answer.err == f"{line}\n"
    assert line.startswith("initlab: ")
    assert not [name for name in names if name not in line], line
    assert "fault of initlab" not in line
    assert "Traceback" not in line


def test_where_a_figure_cannot_go_is_said_before_anything_is_computed(
    initlab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    def start(*_: object, **__: object) -> NoReturn:
        raise AssertionError("something was computed")

    monkeypatch.setattr("initlab.theory.phase_diagram", start)
    monkeypatch.setattr("initlab.experiments.measure_signal", start)
    for command in (("map", "tanh"), ("signal", "tanh")):
        answer = initlab("theory", *command, "--out", "no/x.png")
        assert (answer.status, answer.out) == (2, "")


def test_the_traceback_is_one_option_away(initlab: Callable[..., Any]):
    answer = initlab("--debug", "theory", "gain", "gelo")
    assert answer.status == 2
    assert "Traceback" in answer.err
    assert answer.err.endswith("initlab: unknown activation 'gelo'; did you mean gelu?\n")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_alone_it_shows_its_commands(initlab: Callable[..., Any], words: tuple[str, ...]):
    answer = initlab("theory", *words)
    assert (answer.status, answer.err) == (0, "")
    for name in ("gain", "point", "edge", "map", "signal"):
        assert re.search(rf"\W{name} +[A-Z]", answer.out)
    assert "initlab theory gain gelu" in answer.out


def test_it_is_among_the_commands(initlab: Callable[..., Any]):
    assert re.search(r"\Wtheory +The mean-field theory", initlab("--help").out)
    assert "did you mean theory?" in initlab("theroy").err


@pytest.mark.parametrize("command", ["gain", "point", "edge", "map", "signal"])
def test_each_command_has_help(initlab: Callable[..., Any], command: str):
    answer = initlab("theory", command, "--help")
    assert (answer.status, answer.err) == (0, "")
    assert f"Usage: initlab theory {command}" in answer.out
    assert "--json" in answer.out
    assert ("--out" in answer.out) == (command in {"map", "signal"})


@pytest.mark.parametrize(
    "words", [["theory"], ["theory", "map", "--help"], ["theory", "gian"], ["theory", "point", "x"]]
)
def test_help_and_slips_load_nothing_heavy(words: list[str]):
    code = (
        "import json, sys\nfrom initlab.cli import main\n"
        f"main({words})\nprint('\\n' + json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_as_a_program():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "initlab.cli", "theory", "gain", "relu", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["gain_second_moment"] == pytest.approx(math.sqrt(2))
