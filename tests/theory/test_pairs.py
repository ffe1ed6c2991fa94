"""Expectations over correlated Gaussians, against kernels in closed form, cubature and series."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import integrate, special, stats

from initlab import activations
from initlab._base.errors import InvalidValueError
from initlab.activations import Activation
from initlab.theory import as_activation, moments
from initlab.theory.pairs import Pair, pair

NAMES = [*activations.catalogue, "leaky_relu(-0.5)", "elu(2)"]
EPS = np.finfo(np.float64).eps

# From -1 to 1 - 1e-7, by 1 - c; on both sides of 0, where another way is taken.
GAPS = [2.0, 1.999, 1.7, 1 + 1e-9, 1.0, 1 - 1e-9, 0.4, 1e-2, 1e-5, 1e-7]

Kernel = Callable[[Any, Any], tuple[Any, Any]]


def arc_cosine(q: Any, c: Any) -> tuple[Any, Any]:
    """Return E[φ φ'] and that of the slopes for ReLU (Cho & Saul 2009, degrees 1 and 0)."""
    pi, angle = mpmath.pi, mpmath.acos(c)
    value = q / (2 * pi) * (mpmath.sin(angle) + (pi - angle) * c)
    return value, (pi - angle) / (2 * pi)


def arc_cosine_of_degree_2(q: Any, c: Any) -> tuple[Any, Any]:
    """Return those of max(0, x)² (Cho & Saul 2009)."""
    pi, angle = mpmath.pi, mpmath.acos(c)
    value = 3 * mpmath.sin(angle) * c + (pi - angle) * (1 + 2 * c * c)
    return q * q / (2 * pi) * value, 4 * arc_cosine(q, c)[0]


def leaky(slope: float) -> Kernel:
    """Return the kernel of a x + (1 - a) max(0, x); E[u max(0, u')] is half of E[u u']."""

    def kernel(q: Any, c: Any) -> tuple[Any, Any]:
        a = mpmath.mpf(slope)
        value, slopes = arc_cosine(q, c)
        return a * c * q + (1 - a) ** 2 * value, a + (1 - a) ** 2 * slopes

    return kernel


def erf_kernel(q: Any, c: Any) -> tuple[Any, Any]:
    """Return that of Williams 1997, and its derivative by the covariance, which is the slopes'."""
    wide, covariance = 1 + 2 * q, 2 * c * q
    slopes = 4 / mpmath.pi / mpmath.sqrt(wide**2 - covariance**2)
    return 2 / mpmath.pi * mpmath.asin(covariance / wide), slopes


def gelu_kernel(q: Any, c: Any) -> tuple[Any, Any]:
    """Return E[u Φ(u) u' Φ(u')] and its derivative by the covariance k, by Stein's lemma.

    With p the density, P = E[p p'], D = E[u p Φ'] = k P / (1 + q) and B = E[Φ Φ']:
    E[u Φ u' Φ'] = q (q P - k D) + k (B + D) (Tsuchida et al. 2021).
    """
    k = c * q
    determinant = (1 + q) ** 2 - k**2
    p = 1 / (2 * mpmath.pi * mpmath.sqrt(determinant))
    d = k * p / (1 + q)
    b = mpmath.mpf("0.25") + mpmath.asin(k / (1 + q)) / (2 * mpmath.pi)
    return q * (q * p - k * d) + k * (b + d), b + 2 * d + k * p / determinant


CLOSED: dict[str, Kernel] = {
    "identity": lambda q, c: (c * q, mpmath.mpf(1)),
    "relu": arc_cosine,
    "leaky_relu": leaky(0.01),
    "leaky_relu(-0.5)": leaky(-0.5),
    "erf": erf_kernel,
    "sin": lambda q, c: (
        mpmath.exp(-q) * mpmath.sinh(c * q),
        mpmath.exp(-q) * mpmath.cosh(c * q),
    ),
    "gelu": gelu_kernel,
}

# Functions with derivatives of their own; the moments of Gaussians are elementary.
OWN: dict[str, tuple[Activation, Kernel]] = {
    "square": (
        as_activation(np.square, derivative=lambda x: 2 * x, kinks=()),
        lambda q, c: (q * q * (1 + 2 * c * c), 4 * c * q),
    ),
    "cube": (
        as_activation(lambda x: x**3, derivative=lambda x: 3 * x**2, kinks=()),
        lambda q, c: (q**3 * (9 * c + 6 * c**3), 9 * q * q * (1 + 2 * c * c)),
    ),
    "cos": (
        as_activation(np.cos, derivative=lambda x: -np.sin(x), kinks=()),
        lambda q, c: (
            mpmath.exp(-q) * mpmath.cosh(c * q),
            mpmath.exp(-q) * mpmath.sinh(c * q),
        ),
    ),
    "squared relu": (
        as_activation(
            lambda x: np.maximum(x, 0) ** 2, derivative=lambda x: 2 * np.maximum(x, 0), kinks=()
        ),
        arc_cosine_of_degree_2,
    ),
}


def hold(found: Pair, kernel: Kernel, q: float, gap: float) -> None:
    """Hold all four expectations to a kernel, the distances relative to themselves.

    What rounding of φ makes of a difference whose square is E[(φ - φ')²] is a few eps, relative to
    E[φ²]: no formula on float64 values of φ knows more.
    """
    with mpmath.workdps(60):
        exact = mpmath.mpf(q)
        at_1, here = kernel(exact, mpmath.mpf(1)), kernel(exact, 1 - mpmath.mpf(gap))
        for one, c, distance, product in zip(
            at_1,
            here,
            (found.distance, found.slope_distance),
            (found.product, found.slope_product),
            strict=True,
        ):
            whole, apart = float(one), float(one - c)
            assert product == pytest.approx(float(c), rel=0, abs=1e-13 * whole)
            rounding = 32 * EPS * math.sqrt(whole * apart) + (8 * EPS) ** 2 * whole
            assert distance == pytest.approx(apart, rel=2e-12, abs=rounding)


@pytest.mark.parametrize("q", [1e-12, 1e-6, 1e-2, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("name", CLOSED)
def test_kernels_in_closed_form(name: str, q: float):
    for gap in GAPS:
        if name == "sin" and q > 100:
            continue  # some thousands of periods in two dimensions
        hold(pair(activations.get(name), q, gap), CLOSED[name], q, gap)


@pytest.mark.parametrize("q", [1e-6, 1.0, 30.0])
@pytest.mark.parametrize("name", OWN)
def test_kernels_of_other_functions(name: str, q: float):
    activation, kernel = OWN[name]
    for gap in GAPS:
        hold(pair(activation, q, gap), kernel, q, gap)


def test_a_rectifier_at_a_gap_of_rounding():
    for gap in (1e-9, 1e-12):
        hold(pair(activations.get("relu"), 2.0, gap), arc_cosine, 2.0, gap)


@pytest.mark.parametrize("q", [0.1, 4.0])
def test_exponential_growth_reaches_beyond_the_density(q: float):
    exponential = as_activation(np.exp, derivative=np.exp, kinks=())
    for gap in (2.0, 1.3, 0.5, 1e-3):
        found = pair(exponential, q, gap)
        expected = math.exp(q * (2 - gap))
        for product in (found.product, found.slope_product):
            assert product == pytest.approx(expected, rel=0, abs=1e-12 * math.exp(2 * q))
        for distance in (found.distance, found.slope_distance):
            assert distance == pytest.approx(expected * math.expm1(gap * q), rel=1e-11)


def growing(rate: float) -> Activation:
    """Return e^(rate x²)."""
    return Activation(
        f"exp({rate} x²)",
        "",
        "",
        value=lambda x, ops: ops.exp(rate * x * x),
        derivative=lambda x, ops: 2 * rate * x * ops.exp(rate * x * x),
    )


def test_growth_that_leaves_the_density_little():
    rate, q, c = 0.1, 1.2, 0.4
    # E exp(x' A x) = det(1 - 2 A Σ)^(-1/2)
    expected = 1 / math.sqrt((1 - 2 * rate * q) ** 2 - (2 * rate * c * q) ** 2)
    assert pair(growing(rate), q, 1 - c).product == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("gap", [1e-5, 0.4, 1.0, 1.8])
@pytest.mark.parametrize("rate", [0.235, 0.24, 0.3])
def test_growth_that_leaves_the_density_nothing_is_refused(rate: float, gap: float):
    # E[φ²] is finite up to a rate of 0.25, but not within 38 standard deviations.
    with pytest.raises(InvalidValueError, match=r"do not (converge|exist)") as caught:
        pair(growing(rate), 1.0, gap)
    assert "\n" not in str(caught.value)


def test_what_oscillates_too_fast_is_refused():
    fast = Activation("fast", "", "", lambda x, ops: ops.sin(x), lambda x, ops: ops.cos(x))
    with pytest.raises(InvalidValueError, match="do not converge"):
        pair(fast, 1e12, 0.5)


def test_a_function_that_is_not_0_only_far_out():
    kink = 10.0
    far = as_activation(
        lambda x: np.maximum(x - kink, 0),
        derivative=lambda x: np.where(x > kink, 1.0, 0.0),
        kinks=(kink,),
    )
    found = pair(far, 1.0, 0.5)
    # Both are above the kink with a probability that is 1e-7 of that for one.
    assert found.slope_distance == pytest.approx(stats.norm.sf(kink), rel=1e-6)
    second = integrate.quad(lambda x: (x - kink) ** 2 * stats.norm.pdf(x), kink, 20)[0]
    assert found.distance == pytest.approx(second, rel=1e-6)


def expectation(function: Callable[[float], float], q: float, bends: Sequence[float] = ()) -> float:
    """Integrate with QUADPACK against the density, between 0, ±1, where else it bends, and far."""
    root = math.sqrt(q)
    points = {-9 * root, -3 * root, -1.0, 0.0, 1.0, 3 * root, 9 * root, *bends}
    return math.fsum(
        integrate.quad(
            lambda u: function(u) * stats.norm.pdf(u, scale=root),
            *(left, right),
            epsabs=1e-15,
            epsrel=1e-13,
        )[0]
        for left, right in itertools.pairwise(sorted(x for x in points if abs(x) <= 9 * root))
    )


def by_cubature(function: Callable[[Any], Any], kinks: set[float], q: float, c: float) -> float:
    """Integrate f(u) f(u') against the density of u and u', between the kinks of both."""
    far = 9 * math.sqrt(q)
    cuts = [-far, *sorted(kink for kink in kinks if abs(kink) < far), far]
    determinant = q * q * (1 - c * c)

    def integrand(points: np.ndarray) -> np.ndarray:
        u, other = points[:, 0], points[:, 1]
        exponent = -q * (u * u - 2 * c * u * other + other * other) / (2 * determinant)
        density = np.exp(exponent) / (2 * math.pi * math.sqrt(determinant))
        return function(u) * function(other) * density

    total = 0.0
    for (left, right), (low, high) in itertools.product(itertools.pairwise(cuts), repeat=2):
        found = integrate.cubature(integrand, [left, low], [right, high], rtol=1e-11, atol=1e-13)
        assert found.status == "converged"
        total += float(found.estimate)
    return total


@pytest.mark.parametrize(("q", "c"), [(0.5, 0.6), (4.0, -0.7), (30.0, 0.9), (1.0, 0.0)])
@pytest.mark.parametrize("name", NAMES)
def test_every_activation_against_cubature(name: str, q: float, c: float):
    activation = activations.get(name)
    kinks = {0.0, *activation.kinks}
    found = pair(activation, q, 1 - c)
    second, slope_second = pair(activation, q, 0)[2:]
    expected = by_cubature(activation, kinks, q, c)
    assert found.product == pytest.approx(expected, rel=0, abs=1e-12 * second)
    assert found.distance == pytest.approx(second - expected, rel=1e-11)
    expected = by_cubature(activation.slope, kinks, q, c)
    assert found.slope_product == pytest.approx(expected, rel=0, abs=1e-12 * slope_second)
    assert found.slope_distance == pytest.approx(slope_second - expected, rel=1e-11, abs=1e-14)


def clipped(mean: float, spread: float) -> float:
    """Return E[min(1, max(-1, u))] of a normal u."""
    low, high = (-1 - mean) / spread, (1 - mean) / spread
    inner = mean * (special.ndtr(high) - special.ndtr(low))
    inner += spread * (stats.norm.pdf(low) - stats.norm.pdf(high))
    return float(inner + special.ndtr(-high) - special.ndtr(low))


def inside(mean: float, spread: float) -> float:
    """Return P(|u| < 1) of a normal u, without cancellation in the tail."""
    near, far = (1 - abs(mean)) / spread, (-1 - abs(mean)) / spread
    return float(special.ndtr(near) - special.ndtr(far))


@pytest.mark.parametrize("q", [0.1, 1.0, 25.0])
@pytest.mark.parametrize("c", [-0.999, -0.4, 0.3, 0.95, 0.99999])
def test_hardtanh_given_one_of_the_two(q: float, c: float):
    # Given u, u' is normal with mean c u and variance q (1 - c²).
    spread = math.sqrt(q * (1 - c * c))
    bends = [k / c + m * spread for k in (-1, 1) for m in (-8, -3, 0, 3, 8)]
    found = pair(activations.get("hardtanh"), q, 1 - c)
    product = expectation(lambda u: min(1.0, max(-1.0, u)) * clipped(c * u, spread), q, bends)
    assert found.product == pytest.approx(product, rel=1e-11)
    slopes = expectation(lambda u: inside(c * u, spread) if abs(u) < 1 else 0.0, q, bends)
    assert found.slope_product == pytest.approx(slopes, rel=1e-11)
    both = stats.multivariate_normal(cov=[[q, c * q], [c * q, q]])
    assert found.slope_product == pytest.approx(both.cdf([1, 1], lower_limit=[-1, -1]), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_small_gaps_against_the_series(name: str):
    # With g = 1 - c: 1/2 E[(φ - φ')²] = g q E[φ'²] - g² q² E[φ''²] / 2 + ..., if φ has no kinks,
    # and else the second term is -2/3 (g q)^(3/2) / √π Σ J² p(k): the jumps J of φ' at the kinks k.
    activation, q = activations.get(name), 0.7
    first = q * expectation(lambda u: float(activation.slope(u)) ** 2, q)
    if activation.kinks:
        kinks = np.array(activation.kinks)
        jumps = activation.slope(kinks + 1e-9) - activation.slope(kinks - 1e-9)
        density = stats.norm.pdf(kinks, scale=math.sqrt(q))
        second = 2 / 3 * (jumps**2 @ density) * q**1.5 / math.sqrt(math.pi)
        power = 1.5
    else:
        second = q * q / 2 * expectation(lambda u: float(activation.curvature(u)) ** 2, q)
        power = 2.0
    for gap in (1e-4, 1e-7):
        found = pair(activation, q, gap)
        series = first * gap - second * gap**power
        assert found.distance == pytest.approx(series, rel=3 * gap ** (power - 0.5) + 2e-12)
        # The next term is as small as that; the one that is there is met far closer.
        left = first * gap - found.distance
        assert left == pytest.approx(second * gap**power, rel=0.05, abs=2e-12 * first * gap)
    # By Price's theorem the slopes' distance, times q, is the derivative of the second term.
    slopes = q * pair(activation, q, gap).slope_distance
    assert slopes == pytest.approx(power * second * gap ** (power - 1), rel=1e-2, abs=1e-14)


@pytest.mark.parametrize("q", [0.3, 5.0])
@pytest.mark.parametrize("name", NAMES)
def test_price(name: str, q: float):
    # d E[φ(u) φ(u')] / dc = q E[φ'(u) φ'(u')] (Price 1958).
    activation, h = activations.get(name), 1e-3
    second = pair(activation, q, 0).product
    for gap in (1.8, 0.3):
        one, two = (
            [pair(activation, q, gap + sign * step).product for sign in (-1, 1)]
            for step in (h, 2 * h)
        )
        slope = (8 * (one[0] - one[1]) - (two[0] - two[1])) / (12 * h)
        expected = q * pair(activation, q, gap).slope_product
        assert slope == pytest.approx(expected, rel=1e-8, abs=1e-11 * second / h)


@pytest.mark.parametrize("name", ["tanh", "elu", "hardtanh", "softsign"])
@pytest.mark.parametrize("accuracy", [1e-9, 1e-6])
def test_a_rougher_accuracy_is_kept(name: str, accuracy: float):
    activation = activations.get(name)
    for q, gap in ((0.5, 0.3), (20.0, 1e-4), (1.0, 1.5)):
        exact, found = pair(activation, q, gap), pair(activation, q, gap, accuracy=accuracy)
        # It is that of a panel, of which there may be a hundred.
        assert found.distance == pytest.approx(exact.distance, rel=100 * accuracy)
        assert found.slope_distance == pytest.approx(exact.slope_distance, rel=100 * accuracy)


@pytest.mark.parametrize("name", NAMES)
def test_equal_inputs_have_no_distance(name: str):
    activation = activations.get(name)
    found = pair(activation, 1.3, 0.0)
    assert found.distance == found.slope_distance == 0
    expected = expectation(lambda u: float(activation(u)) ** 2, 1.3)
    assert found.product == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["tanh", "erf", "sin", "softsign", "hardtanh", "identity"])
def test_opposite_inputs_of_an_odd_function_are_opposite(name: str):
    activation = activations.get(name)
    second, slope_second = pair(activation, 2.0, 0.0)[2:]
    opposite = pair(activation, 2.0, 2.0)
    assert opposite.product == pytest.approx(-second, rel=1e-13)
    assert opposite.slope_product == pytest.approx(slope_second, rel=1e-13)
    for gap in (0.1, 0.7):
        near, far = pair(activation, 2.0, gap), pair(activation, 2.0, 2 - gap)
        assert far.product == pytest.approx(-near.product, rel=1e-12)
        assert far.slope_product == pytest.approx(near.slope_product, rel=1e-12)


@pytest.mark.parametrize("gap", [1e-3, 0.3, 1.0, 1.9])
@pytest.mark.parametrize("q", [1e5, 1e6, 1e8])
def test_a_function_that_is_a_step_to_its_inputs(q: float, gap: float):
    # Williams 1997; where φ bends within a share of 1e-4 of the inputs, on either side of u = 0.
    c = 1 - gap
    found = pair(activations.get("erf"), q, gap)
    kernel = 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q))
    slope = 4 / math.pi / math.sqrt((1 + 2 * q) ** 2 - (2 * q * c) ** 2)
    assert found.product == pytest.approx(kernel, rel=0, abs=1e-12)
    assert found.slope_product == pytest.approx(slope, rel=1e-8)


def test_a_negative_correlation_whose_slopes_are_the_same():
    # φ' of the sigmoid is even: at c = -1 only the rounding of y (1 - y) is left of a difference.
    found = pair(activations.get("sigmoid"), 30.0, 2.0)
    assert found.slope_distance == pytest.approx(0, abs=1e-25)
    assert found.product == pytest.approx(0.5 - moments("sigmoid", 30.0).f2)
