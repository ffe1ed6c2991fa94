"""Initialisers of one size for every shape: constants, normal, uniform, truncated normal."""

from __future__ import annotations

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import finite, positive
from initlab.initializers._arguments import flag, spec
from initlab.initializers._definition import Initializer
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.distributions import (
    BoundedNormal,
    Normal,
    One,
    TruncatedNormal,
    Uniform,
)
from initlab.initializers.scales import Fixed
from initlab.sampling.fill import FURTHEST, NARROWEST

# Below it the formula for the std cancels, and the distribution is a uniform one in all but name.
SMALLEST_CUT = 0.01
DEFAULT_CUT = 2.0


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


def truncated_normal(
    std: float = 1.0,
    cut: float = 2.0,
    *,
    corrected: bool = False,
    mean: float = 0.0,
    low: float | None = None,
    high: float | None = None,
) -> Initializer:
    """Draw from N(mean, std²) what lies within ``cut`` standard deviations, or between bounds.

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
    mean
        Mean of the normal distribution before it is cut; that of the weights too, unless the
        bounds lie askew.
    low, high
        Absolute bounds in place of ``cut``, as PyTorch's ``trunc_normal_`` has them (-2 and 2 by
        default); both or none.

    Raises
    ------
    InvalidValueError
        If an argument is out of range, if only one bound is given, if bounds come together with
        ``cut`` or ``corrected``, are less than 0.001 std apart or lie more than 10 std off the
        mean.

    Examples
    --------
    >>> round(truncated_normal(0.02).std((64, 64)), 6)
    0.017593
    >>> round(truncated_normal(0.02, corrected=True).std((64, 64)), 6)
    0.02

    PyTorch's ``trunc_normal_(w, std=0.02)`` cuts nothing:

    >>> round(truncated_normal(0.02, low=-2, high=2).std((64, 64)), 6)
    0.02
    """
    std, cut = positive("std", std), positive("cut", cut)
    mean, corrected = finite("mean", mean), flag("corrected", corrected)
    if low is not None or high is not None:
        return _bounded(std, cut, corrected, mean, low, high)
    if cut < SMALLEST_CUT:
        raise InvalidValueError(
            f"cut={cut:g} is below {SMALLEST_CUT:g}, where a truncated normal is a uniform "
            "distribution; use uniform(bound)"
        )
    distribution = TruncatedNormal(cut)
    factor = std / distribution.std if corrected else std
    text = spec(
        truncated_normal, std=std, cut=cut, corrected=corrected, mean=mean, low=None, high=None
    )
    return Initializer(text, distribution, Fixed(factor), shift=mean)


def _bounded(
    std: float,
    cut: float,
    corrected: bool,  # noqa: FBT001 - passed on as it came
    mean: float,
    low: float | None,
    high: float | None,
) -> Initializer:
    if low is None or high is None:
        raise InvalidValueError(f"low={low}, high={high} leave one side open; give both bounds")
    if cut != DEFAULT_CUT or corrected:
        raise InvalidValueError(
            "low and high take the place of cut and corrected; give the bounds or these"
        )
    low, high = finite("low", low), finite("high", high)
    distribution = BoundedNormal((low - mean) / std, (high - mean) / std)
    if not distribution.low < distribution.high:
        raise InvalidValueError(f"low={low:g} is not below high={high:g}")
    if distribution.high - distribution.low < NARROWEST:
        raise InvalidValueError(
            f"low={low!r} and high={high!r} are less than {NARROWEST:g} std apart, where a "
            "truncated normal is a uniform distribution; use a smaller std"
        )
    if distribution.low > FURTHEST or distribution.high < -FURTHEST:
        raise InvalidValueError(
            f"both bounds lie more than {FURTHEST:g} std on one side of the mean; use a larger std"
        )
    text = spec(
        truncated_normal, std=std, cut=cut, corrected=corrected, mean=mean, low=low, high=high
    )
    return Initializer(text, distribution, Fixed(std), shift=mean)


_SYMMETRY = (
    "Rumelhart, Hinton & Williams 1986, Learning Internal Representations by Error Propagation, in "
    "Parallel Distributed Processing vol. 1, ch. 8 (symmetry breaking)"
)

ENTRIES = (
    Entry(
        make=zeros,
        family="elementary",
        formula="w = 0",
        std="0",
        assumes="something else breaks the symmetry of the units: other weights, or the data",
        reference=_SYMMETRY,
        cites=("rumelhart1986learning",),
        when="the last weight of a residual branch, which then starts as the identity; a readout "
        "that should start neutral; as the control that shows why weights are drawn at random",
        when_not="hidden layers: the units of a layer stay alike, and under an activation with "
        "φ(0) = 0 every gradient but that of the last bias is exactly 0",
        variants={
            "pytorch": Variant("zeros_ is the same", "w = nn.init.zeros_(torch.empty(shape))"),
            "keras": Variant("Zeros is the same", "w = keras.initializers.Zeros()(shape)"),
            "jax": Variant("zeros is the same", "w = jax.nn.initializers.zeros(key, shape)"),
        },
    ),
    Entry(
        make=ones,
        family="elementary",
        formula="w = 1",
        std="0",
        assumes="the parameter is a factor for each unit, not a matrix that mixes units",
        reference="Ioffe & Szegedy 2015, Batch Normalization: Accelerating Deep Network Training "
        "by Reducing Internal Covariate Shift, ICML (γ starts at 1)",
        cites=("ioffe2015batch",),
        when="the gain of a normalisation layer; as a control for the symmetry of constants",
        when_not="weight matrices: the units of a layer stay alike, and sums grow with the fan-in",
        variants={
            "pytorch": Variant("ones_ is the same", "w = nn.init.ones_(torch.empty(shape))"),
            "keras": Variant("Ones is the same", "w = keras.initializers.Ones()(shape)"),
            "jax": Variant("ones is the same", "w = jax.nn.initializers.ones(key, shape)"),
        },
    ),
    Entry(
        make=constant,
        family="elementary",
        formula="w = value",
        std="0",
        assumes="the units of the layer differ by something else than this parameter",
        reference=_SYMMETRY,
        cites=("rumelhart1986learning",),
        when="gates and gains with a known good start; as a control: it tells symmetry, which it "
        "shares with zeros, from missing gradients, which it does not",
        when_not="weight matrices: the units of a layer get the same gradient and stay alike, so "
        "a layer is worth one unit",
        variants={
            "pytorch": Variant(
                "constant_ is the same", "w = nn.init.constant_(torch.empty(shape), 0.5)"
            ),
            "keras": Variant(
                "Constant is the same; its default value is 0",
                "w = keras.initializers.Constant(0.5)(shape)",
            ),
            "jax": Variant(
                "constant is the same", "w = jax.nn.initializers.constant(0.5)(key, shape)"
            ),
        },
        example="constant(0.5)",
    ),
    Entry(
        make=normal,
        family="elementary",
        formula="w ~ N(mean, std²)",
        std="std",
        assumes="the std suits the fan of the layer: nothing adapts it",
        reference="Krizhevsky, Sutskever & Hinton 2012, ImageNet Classification with Deep "
        "Convolutional Neural Networks, NeurIPS, sec. 5 (std 0.01)",
        cites=("krizhevsky2012imagenet",),
        when="shallow networks, embeddings, and to study scale: the right std is found by hand",
        when_not="deep networks: the right std depends on the fan; too small and the signal "
        "vanishes layer by layer, too large and it saturates or explodes",
        variants={
            "pytorch": Variant(
                "normal_ is the same, std 1 by default", "w = nn.init.normal_(torch.empty(shape))"
            ),
            "keras": Variant(
                "RandomNormal has std 0.05 by default",
                "w = keras.initializers.RandomNormal(stddev=1.0)(shape)",
            ),
            "jax": Variant(
                "normal has std 0.01 by default, and no mean",
                "w = jax.nn.initializers.normal(1.0)(key, shape)",
            ),
        },
    ),
    Entry(
        make=uniform,
        family="elementary",
        formula="w ~ U(-bound, bound)",
        std="bound / sqrt(3)",
        assumes="the bound suits the fan of the layer: nothing adapts it",
        reference="Thimm & Fiesler 1997, High-Order and Multilayer Perceptron Initialization, "
        "IEEE Transactions on Neural Networks 8(2) (uniform ranges compared)",
        cites=("thimm1997high",),
        when="shallow networks, and wherever no weight may be large",
        when_not="deep networks, as for normal; bound is not the std, which is 0.577 of it",
        variants={
            "pytorch": Variant(
                "uniform_ draws from U(0, 1) by default, which has a mean of 1/2",
                "w = nn.init.uniform_(torch.empty(shape), -1.0, 1.0)",
            ),
            "keras": Variant(
                "RandomUniform draws from U(-0.05, 0.05) by default",
                "w = keras.initializers.RandomUniform(-1.0, 1.0)(shape)",
            ),
            "jax": Variant(
                "jax.nn.initializers.uniform(scale) draws from U(0, scale), which has a mean of "
                "scale / 2",
                "w = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)",
            ),
        },
    ),
    Entry(
        make=truncated_normal,
        family="elementary",
        formula="w ~ N(mean, std²) given |w - mean| <= cut · std; corrected: std is divided by "
        "that of N(0, 1) cut at ±cut; with bounds: given low <= w <= high",
        std="std · sqrt(1 - 2 cut φ(cut) / (2 Φ(cut) - 1)), for cut = 2: 0.87962566 std; "
        "corrected: std; with bounds, a = (low - mean) / std and b = (high - mean) / std: "
        "std · sqrt(1 + (a φ(a) - b φ(b)) / Z - ((φ(a) - φ(b)) / Z)²), Z = Φ(b) - Φ(a)",
        assumes="the std suits the fan of the layer, and the reader knows whether it is that "
        "before or after the cut",
        reference="Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions vol. 1, "
        "ch. 13 (moments); Abadi et al. 2016, TensorFlow: A System for Large-Scale Machine "
        "Learning, OSDI (its use for weights)",
        cites=("johnson1994continuous", "abadi2016tensorflow"),
        when="transformers (std 0.02) and wherever a rare large weight would hurt",
        when_not="a std that has to be exact, unless corrected: a cut of 2 takes 12 % of it",
        variants={
            "pytorch": Variant(
                "trunc_normal_ cuts at absolute a = -2 and b = 2, not in stds: with std 0.02 it "
                "cuts nothing; it does not correct",
                "w = nn.init.trunc_normal_(torch.empty(shape), std=1.0, a=-2.0, b=2.0)",
            ),
            "keras": Variant(
                "TruncatedNormal cuts at 2 stds and does not correct (variance scaling does); its "
                "default std is 0.05",
                "w = keras.initializers.TruncatedNormal(stddev=1.0)(shape)",
            ),
            "jax": Variant(
                "truncated_normal cuts at 2 stds and does not correct (variance scaling does); its "
                "default std is 0.01",
                "w = jax.nn.initializers.truncated_normal(1.0)(key, shape)",
            ),
        },
    ),
)
