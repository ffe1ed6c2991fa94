"""Initialisers of one size for every shape: constants, normal, uniform, truncated normal."""

from __future__ import annotations

from initlab._base.errors import InvalidValueError
from initlab.initializers._arguments import finite, flag, positive, spec
from initlab.initializers._definition import Entry, Initializer
from initlab.initializers.distributions import Normal, One, TruncatedNormal, Uniform
from initlab.initializers.scales import Fixed

# Below it the formula for the std cancels, and the distribution is a uniform one in all but name.
SMALLEST_CUT = 0.01


def zeros() -> Initializer:
    """Set every weight to 0; nothing is drawn from the stream."""
    return Initializer(spec(zeros), One(), Fixed(0.0))


def ones() -> Initializer:
    """Set every weight to 1; nothing is drawn from the stream."""
    return Initializer(spec(ones), One(), Fixed(1.0))


def constant(value: float) -> Initializer:
    """Set every weight to ``value``; nothing is drawn from the stream.

    Raises
    ------
    InvalidValueError
        If the value is not a finite number.
    """
    value = finite("value", value)
    return Initializer(spec(constant, value=value), One(), Fixed(value))


def normal(std: float = 1.0, mean: float = 0.0) -> Initializer:
    """Draw from N(mean, std²), the same for every shape.

    Parameters
    ----------
    std
        Standard deviation, above 0.
    mean
        Mean.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> normal(std=10).std((5, 10))
    10.0
    """
    std, mean = positive("std", std), finite("mean", mean)
    return Initializer(spec(normal, std=std, mean=mean), Normal(), Fixed(std), shift=mean)


def uniform(bound: float = 1.0) -> Initializer:
    """Draw from U(-bound, bound), the same for every shape.

    Parameters
    ----------
    bound
        Half the width, above 0.

    Raises
    ------
    InvalidValueError
        If the bound is out of range.
    """
    bound = positive("bound", bound)
    return Initializer(spec(uniform, bound=bound), Uniform(), Fixed(bound))


def truncated_normal(std: float = 1.0, cut: float = 2.0, *, corrected: bool = False) -> Initializer:
    """Draw from N(0, std²) what lies within ``cut`` standard deviations of 0.

    Parameters
    ----------
    std
        Standard deviation of the normal distribution before it is cut, above 0. The weights' own,
        which :meth:`Initializer.std` returns, is smaller: by 0.8796 for a cut of 2.
    cut
        In units of ``std``, at least 0.01.
    corrected
        Make ``std`` that of the weights instead, as variance scaling in Keras and JAX does. The
        weights then reach ``cut`` times the std of the wider normal distribution that is cut.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> round(truncated_normal(0.02).std((64, 64)), 6)
    0.017593
    >>> round(truncated_normal(0.02, corrected=True).std((64, 64)), 6)
    0.02
    """
    std, cut = positive("std", std), positive("cut", cut)
    if cut < SMALLEST_CUT:
        raise InvalidValueError(
            f"cut={cut:g} is below {SMALLEST_CUT:g}, where a truncated normal is a uniform "
            "distribution; use uniform(bound)"
        )
    corrected = flag("corrected", corrected)
    distribution = TruncatedNormal(cut)
    factor = std / distribution.std if corrected else std
    text = spec(truncated_normal, std=std, cut=cut, corrected=corrected)
    return Initializer(text, distribution, Fixed(factor))


ENTRIES = (
    Entry(
        zeros,
        formula="w = 0",
        std="0",
        reference="Rumelhart, Hinton & Williams 1986, Learning Internal Representations by Error "
        "Propagation, in Parallel Distributed Processing vol. 1, ch. 8 (symmetry breaking)",
        when="the last weight of a residual branch, which then starts as the identity; a readout "
        "that should start neutral; as the control that shows why weights are drawn at random",
        when_not="hidden layers: the units of a layer stay alike, and under an activation with "
        "φ(0) = 0 every gradient but that of the last bias is exactly 0",
        differs="the same in PyTorch (zeros_), Keras (Zeros) and JAX (zeros)",
    ),
    Entry(
        ones,
        formula="w = 1",
        std="0",
        reference="Ioffe & Szegedy 2015, Batch Normalization: Accelerating Deep Network Training "
        "by Reducing Internal Covariate Shift, ICML (γ starts at 1)",
        when="the gain of a normalisation layer; as a control for the symmetry of constants",
        when_not="weight matrices: the units of a layer stay alike, and sums grow with the fan-in",
        differs="the same in PyTorch (ones_), Keras (Ones) and JAX (ones)",
    ),
    Entry(
        constant,
        formula="w = value",
        std="0",
        reference="Rumelhart, Hinton & Williams 1986, Learning Internal Representations by Error "
        "Propagation, in Parallel Distributed Processing vol. 1, ch. 8 (symmetry breaking)",
        when="gates and gains with a known good start; as a control: it tells symmetry, which it "
        "shares with zeros, from missing gradients, which it does not",
        when_not="weight matrices: the units of a layer get the same gradient and stay alike, so "
        "a layer is worth one unit",
        differs="the same in PyTorch (constant_), Keras (Constant, default 0) and JAX (constant)",
    ),
    Entry(
        normal,
        formula="w ~ N(mean, std²)",
        std="std",
        reference="Krizhevsky, Sutskever & Hinton 2012, ImageNet Classification with Deep "
        "Convolutional Neural Networks, NeurIPS, sec. 5 (std 0.01)",
        when="shallow networks, embeddings, and to study scale: the right std is found by hand",
        when_not="deep networks: the right std depends on the fan; too small and the signal "
        "vanishes layer by layer, too large and it saturates or explodes",
        differs="the same distribution everywhere; the default std is 1 in PyTorch (normal_), "
        "0.05 in Keras (RandomNormal) and 0.01 in JAX (normal)",
    ),
    Entry(
        uniform,
        formula="w ~ U(-bound, bound)",
        std="bound / sqrt(3)",
        reference="Thimm & Fiesler 1997, High-Order and Multilayer Perceptron Initialization, "
        "IEEE Transactions on Neural Networks 8(2) (uniform ranges compared)",
        when="shallow networks, and wherever no weight may be large",
        when_not="deep networks, as for normal; bound is not the std, which is 0.577 of it",
        differs="PyTorch's uniform_ draws from U(0, 1) by default, Keras' RandomUniform from "
        "U(-0.05, 0.05), JAX's uniform(scale) from U(0, scale), which has a mean of scale / 2",
    ),
    Entry(
        truncated_normal,
        formula="w ~ N(0, std²) given |w| <= cut · std; corrected: std is divided by that of "
        "N(0, 1) cut at ±cut",
        std="std · sqrt(1 - 2 cut φ(cut) / (2 Φ(cut) - 1)), for cut = 2: 0.87962566 std; "
        "corrected: std",
        reference="Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions vol. 1, "
        "ch. 13 (moments); Abadi et al. 2016, TensorFlow: A System for Large-Scale Machine "
        "Learning, OSDI (its use for weights)",
        when="transformers (std 0.02) and wherever a rare large weight would hurt",
        when_not="a std that has to be exact, unless corrected: a cut of 2 takes 12 % of it",
        differs="PyTorch's trunc_normal_ cuts at absolute a = -2 and b = 2, not in stds: with std "
        "0.02 it cuts nothing; Keras (TruncatedNormal) and JAX (truncated_normal) cut at 2 stds "
        "and do not correct; their variance scaling does",
    ),
)
