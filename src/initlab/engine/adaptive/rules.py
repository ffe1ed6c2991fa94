"""What the data-driven initialisers decide from their measurements, whatever measures them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from initlab.engine.adaptive.settings import GradInit, Krahenbuhl, Lsuv, MetaInit

# A variance below this share of the mean square is rounding error: the values are all the same.
NEGLIGIBLE = 1e-12

# Share of its way that a layer goes in one round of the equalisation; 1 is exact for networks whose
# output grows in proportion to each weight, less is stable for others too.
DAMPING = 0.5

# Random losses that a layer's rate of change is the mean over. One alone is a rough estimate where
# few directions carry the gradient, as in a first layer whose inputs share a large mean.
PROJECTIONS = 10

# The gradient quotient's divisor is kept this far from 0 (Dauphin & Schoenholz 2019, eq. 1).
QUOTIENT_EPSILON = 1e-5

# Smallest factor of a weight; a bias may vanish.
SMALLEST_SCALE = 0.01

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Spread(NamedTuple):
    """How a layer's output varies over a batch: a, the product with the weight, and b, its bias.

    Attributes
    ----------
    product, covariance, shift
        Var(a), Cov(a, b) and Var(b), over samples, places and channels.
    square
        E[a²].
    """

    product: float
    covariance: float
    shift: float
    square: float

    @property
    def total(self) -> float:
        """Var(a + b)."""
        return self.product + 2 * self.covariance + self.shift

    @property
    def fault(self) -> str:
        """Why no factor can set the variance; empty if one can."""
        if not (math.isfinite(self.total) and math.isfinite(self.square)):
            return "its output is not finite"
        if self.product <= NEGLIGIBLE * self.square or self.product == 0:
            return "its output does not vary"
        return ""

    def swamped(self, target: float) -> bool:
        """Tell whether the bias alone varies so much that no factor of the weight makes up."""
        return self.shift >= target

    def factor(self, rule: Lsuv) -> float:
        """Return the s with Var(s a + b) = target, or Var(s a) where the bias swamps that."""
        if self.swamped(rule.target):
            return math.sqrt(rule.target / self.product)
        half = self.covariance / self.product
        return math.sqrt(half**2 + (rule.target - self.shift) / self.product) - half

    def distance(self, rule: Lsuv) -> float:
        """Return how far the variance is from its target."""
        reached = self.product if self.swamped(rule.target) else self.total
        return abs(reached - rule.target)

    def remark(self, rule: Lsuv) -> str:
        """Return what is wrong when the rule is done; empty if nothing is."""
        if self.fault:
            return f"left as it is: {self.fault}"
        if self.distance(rule) >= rule.tolerance:
            return f"after {rule.steps} rescalings its output has variance {self.total:.3g}"
        if self.swamped(rule.target):
            return f"its bias alone has variance {self.shift:.3g}; scaled as if it had none"
        return ""


class Equalised(NamedTuple):
    """What became of the layers' rates.

    Attributes
    ----------
    before, after
        Largest over smallest.
    rounds
        How many led there.
    notes
        Whether the layers are still apart, in one line.
    """

    before: float
    after: float
    rounds: int
    notes: tuple[str, ...] = ()


def equalise(
    rule: Krahenbuhl,
    measure: Callable[[], Mapping[str, float]],
    rescale: Callable[[Mapping[str, float]], None],
) -> Equalised:
    """Bring the layers' rates of change together (Krähenbühl et al. 2016, sec. 3.2, alg. 2).

    A layer's rate C is the root mean square of the gradient over that of its weight. Multiplying
    the weight by r, with the product of all r being 1 so that the output keeps its size, divides
    its gradient by r and so C by r². Each round takes r = (C / mean)^(damping / 2) with the
    geometric mean. Where branches and normalisations change the arithmetic, the layers may come
    apart again: what is kept is where they were closest.

    Parameters
    ----------
    rule
        Number of rounds, tolerance.
    measure
        Returns each layer's rate, above 0.
    rescale
        Multiplies the layers' weights by these factors, and biases by what they are to follow.
    """
    logs = best = _logs(measure())
    before = _ratio(logs)
    rounds, kept, since = 0, 0, dict.fromkeys(logs, 0.0)
    while rounds < rule.rounds and _apart(logs) > rule.tolerance:
        mean = math.fsum(logs.values()) / len(logs)
        moves = {name: DAMPING / 2 * (log - mean) for name, log in logs.items()}
        rescale({name: math.exp(move) for name, move in moves.items()})
        logs = _logs(measure())
        rounds += 1
        if _ratio(logs) < _ratio(best):
            best, kept, since = logs, rounds, dict.fromkeys(since, 0.0)
        else:
            since = {name: since[name] + moves.get(name, 0.0) for name in since}
    if any(since.values()):
        rescale({name: math.exp(-move) for name, move in since.items()})
    after = _ratio(best)
    if _apart(best) <= rule.tolerance:
        return Equalised(before, after, kept)
    note = f"in {rounds} rounds the layers' rates of change came within a factor {after:.3g} only"
    return Equalised(before, after, kept, (note,))


def _apart(logs: Mapping[str, float]) -> float:
    """Return how far the farthest is from the mean; 0 without any."""
    mean = math.fsum(logs.values()) / max(len(logs), 1)
    return max((abs(log - mean) for log in logs.values()), default=0.0)


def _logs(rates: Mapping[str, float]) -> dict[str, float]:
    return {name: math.log(rate) for name, rate in rates.items()}


def _ratio(logs: Mapping[str, float]) -> float:
    return math.exp(max(logs.values()) - min(logs.values())) if logs else 1.0


@dataclass(frozen=True)
class Descent:
    """What a descent over factors found.

    Attributes
    ----------
    factors
        The best ones: what each parameter is multiplied by.
    before, after
        The objective without them and with them.
    steps
        Updates made.
    notes
        What is worth knowing, each one line.
    """

    factors: tuple[float, ...]
    before: float
    after: float
    steps: int
    notes: tuple[str, ...] = ()


# From factors to the gradient quotient and its derivative by each factor.
Quotient = Callable[[Sequence[float]], tuple[float, Sequence[float]]]


def descend_quotient(rule: MetaInit, norms: Sequence[float], quotient: Quotient) -> Descent:
    """Minimise the gradient quotient over the norms (Dauphin & Schoenholz 2019, listing 1).

    Momentum on the sign of the derivative by each norm. Steps have a fixed size, so that the end
    may be worse than what lay on the way: the best factors are returned.

    Parameters
    ----------
    rule
        Steps, rate, momentum.
    norms
        Of each parameter that is tuned, above 0.
    quotient
        Evaluates factors.
    """
    current = list(norms)
    memory = [0.0] * len(norms)
    best, before, least, step = (1.0,) * len(norms), math.nan, math.inf, 0
    notes: tuple[str, ...] = ()
    for step in range(rule.steps + 1):
        factors = tuple(now / first for now, first in zip(current, norms, strict=True))
        value, slopes = quotient(factors)
        before = value if step == 0 else before
        if not (math.isfinite(value) and all(map(math.isfinite, slopes))):
            notes = (f"the gradient quotient is not finite after {step} steps; stopped there",)
            break
        if value < least:
            best, least = factors, value
        if step == rule.steps:
            break
        for place, (norm, slope) in enumerate(zip(current, slopes, strict=True)):
            memory[place] = rule.momentum * memory[place] - rule.rate * _sign(slope)
            # A norm is above 0: a change beyond that would turn the weight round.
            current[place] = max(norm + memory[place], norm / 2)
            memory[place] = current[place] - norm
    return Descent(best, before, least if math.isfinite(least) else before, step, notes)


def _sign(value: float) -> float:
    return math.copysign(1.0, value) if value else 0.0


class FirstStep(NamedTuple):
    """What a first step of training would do from scaled parameters.

    Attributes
    ----------
    norm
        Of the gradient that the step is taken along.
    loss
        After the step, on the other samples.
    slopes
        Derivative by each factor: of the norm where it is above gamma, else of the loss.
    """

    norm: float
    loss: float
    slopes: Sequence[float]


def descend_first_step(
    rule: GradInit, floors: Sequence[float], first_step: Callable[[Sequence[float]], FirstStep]
) -> Descent:
    """Minimise the loss after a first step over factors (Zhu et al. 2021, alg. 1).

    Adam on the factors, down the loss; where the gradient's norm is above gamma, down the norm,
    with moments of its own. Of the factors that keep the norm, those with the least loss are
    returned.

    Parameters
    ----------
    rule
        Steps, rate, gamma.
    floors
        Smallest factor of each parameter.
    first_step
        Evaluates factors.
    """
    scales = [1.0] * len(floors)
    down_loss, down_norm = _Adam(rule.rate, len(scales)), _Adam(rule.rate, len(scales))
    best, held, before, step = tuple(scales), (math.inf, math.inf), math.nan, 0
    notes: list[str] = []
    for step in range(rule.steps + 1):
        found = first_step(scales)
        before = found.loss if step == 0 else before
        numbers = (found.norm, found.loss, *found.slopes)
        if not all(map(math.isfinite, numbers)):
            notes.append(f"loss or gradient is not finite after {step} steps; stopped there")
            break
        # First by how far the norm is beyond gamma, then by the loss.
        rank = (max(found.norm - rule.gamma, 0.0), found.loss)
        if rank < held:
            best, held = tuple(scales), rank
        if step == rule.steps:
            break
        moves = (down_loss if found.norm <= rule.gamma else down_norm).moves(found.slopes)
        scales = [
            max(scale - move, floor)
            for scale, move, floor in zip(scales, moves, floors, strict=True)
        ]
    if 0 < held[0] < math.inf:
        notes.append(
            f"the gradient's norm is {held[0] + rule.gamma:.3g}, above gamma={rule.gamma:g}, even "
            f"after {step} steps"
        )
    after = held[1] if math.isfinite(held[1]) else before
    return Descent(best, before, after, step, tuple(notes))


class _Adam:
    """Adam's update (Kingma & Ba 2015) of plain numbers."""

    def __init__(self, rate: float, count: int) -> None:
        self.rate = rate
        self.steps = 0
        self.first = [0.0] * count
        self.second = [0.0] * count

    def moves(self, slopes: Sequence[float]) -> list[float]:
        """Return what to subtract."""
        self.steps += 1
        found: list[float] = []
        for place, slope in enumerate(slopes):
            self.first[place] += (1 - _BETA1) * (slope - self.first[place])
            self.second[place] += (1 - _BETA2) * (slope**2 - self.second[place])
            mean = self.first[place] / (1 - _BETA1**self.steps)
            spread = math.sqrt(self.second[place] / (1 - _BETA2**self.steps))
            found.append(self.rate * mean / (spread + _EPSILON))
        return found


class Split(NamedTuple):
    """Samples of the first step and of the loss after it, by number; half of each are shared."""

    step: list[int]
    after: list[int]


def split(order: Sequence[int]) -> Split:
    """Share out samples, given in random order, in thirds A, B, C: A and B, A and C.

    With fewer than three samples, both get all of them.
    """
    samples = list(order)
    third = len(samples) // 3
    if third == 0:
        return Split(samples, samples)
    return Split(samples[: 2 * third], samples[:third] + samples[2 * third :])
