r"""Fixed points of the recursion, at which the kernels of deep equilibrium models stand.

The pre-activations of an implicit network (:mod:`hntk.theory.architecture`) have the kernel
$\Sigma = \sigma_w^2K + \sigma_x^2XX^\top + \sigma_b^2$, and K is the layer's own output at Σ. At infinite width the
repeated layer acts as one drawn anew at each step (Gao et al., 2023), so that this is the fixed point of the recursion.
For a sample of norm τ_0, with $g(Q) = E[(\sigma(\sqrt Q\xi) - m)^2]$ and $s = \sigma_x^2\tau_0^2 + \sigma_b^2$,

$$q = g(Q),\qquad Q = \sigma_w^2q + s.$$

A small change of the state dies out in a wide network where $\sigma_w^2E[\sigma'(u)^2] < 1$, and one of its variance
where $\sigma_w^2g'(Q) < 1$. Along the solutions $\sigma_w^2(Q) = (Q - s)/g(Q)$, which begin at $Q = s$, the scale
$\sigma_w$ grows with Q while the second holds. So the first Q at which either ends gives the largest scale of the
weights, and below it q is unique on this branch: it is what the iteration from z = 0 reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import scipy

from hntk.activations import Moments
from hntk.activations.smoothing import PairDerivatives
from hntk.theory.architecture import Architecture

Numbers = TypeVar("Numbers", bound=tuple)

# powers of 2 between which Q/s − 1 is looked for; in float64 a fixed point beyond is none
DOUBLINGS = (-10, 53)
# Newton steps and sweeps that are more than enough: both end at rounding
STEPS = 100
SWEEPS = 3
EPSILON = float(np.finfo(np.float64).eps)


class Equilibrium(NamedTuple):
    """Where the variance of an implicit network's state stays.

    Attributes
    ----------
    variance : float
        Q, the variance of the pre-activations.
    centre : float
        Constant m that is subtracted from the activation.
    """

    variance: float
    centre: float


class _Point(NamedTuple):
    """A point of the branch of solutions: Q, the σ_w² that it belongs to, and how much of a change remains."""

    variance: float
    square: float
    remaining: float
    mean: float


def equilibrium(
    net: Architecture, square: float, moments: Callable[[float], Moments], centre: float | None = None
) -> Equilibrium:
    """Return the fixed point of the variance of an implicit network.

    Parameters
    ----------
    net : Architecture
        An implicit network.
    square : float
        Squared norm τ_0² of a sample.
    moments : callable
        The activation's checked moments as a function of its input's variance.
    centre : float, optional
        Constant that is subtracted from the activation. By default its mean at the fixed point for a centred network,
        and 0 for others.

    Returns
    -------
    Equilibrium
        The fixed point.

    Raises
    ------
    ValueError
        If the iteration does not contract; the message gives the largest ``weight_std``.
    """
    scale = net.scales[0]
    fixed = net.input_std * net.input_std * square + scale.bias_std * scale.bias_std
    wanted = scale.weight_std * scale.weight_std

    def at(variance: float) -> _Point:
        m = moments(variance)
        gap = 0.0 if net.centred and centre is None else m.mean - (centre or 0.0)
        value = m.variance + gap * gap
        square = (variance - fixed) / value
        return _Point(variance, square, square * max(m.d, abs(m.s2 / 2 + gap * m.e2)), m.mean)

    before, after = _bracket(at, fixed, wanted)
    if after.square >= wanted:
        found = at(_root(lambda q: at(q).square - wanted, before.variance, after.variance))
        if found.remaining < 1:
            mean = found.mean if net.centred else 0.0
            return Equilibrium(found.variance, mean if centre is None else centre)
    last = after
    if after.remaining > 1:
        last = at(_root(lambda q: at(q).remaining - 1, before.variance, after.variance))
    raise ValueError(
        f"{net!r} does not settle at tau0 = {math.sqrt(square):.6g}: its iteration contracts for a weight_std below "
        f"{math.sqrt(last.square):.6g} alone. Give a smaller weight_std."
    )


def _bracket(at: Callable[[float], _Point], fixed: float, wanted: float) -> tuple[_Point, _Point]:
    """Return neighbouring points of the branch, between which σ_w² is reached or the contraction ends, or its last."""
    before = after = at(fixed)
    for doubling in range(*DOUBLINGS):
        before, after = after, at(fixed * (1 + 2.0**doubling))
        if after.square >= wanted or after.remaining >= 1:
            break
    return before, after


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the root of an increasing function between two points."""
    found: Any = scipy.optimize.brentq(function, low, high, xtol=EPSILON * low, rtol=np.float64(4 * EPSILON))
    return float(found)


def fixed_covariance(derivatives: Callable[[float], PairDerivatives], weights: float) -> float:
    """Return the covariance c = k(c) of the states of two samples without overlap.

    Parameters
    ----------
    derivatives : callable
        The kernel map and its derivatives where the states have the covariance c. As a function of c ≥ 0 the map is
        convex and its slope stays below 1, so that Newton's iteration rises from 0 to the only root.
    weights : float
        Square σ_w² of their scale, the slope of the pre-activations' covariance in c.

    Returns
    -------
    float
        The covariance, at least 0.
    """
    c = 0.0
    for _ in range(STEPS):
        k = derivatives(c)
        rest = 1 - weights * k.k_c
        change = (k.k - c) / rest
        c = max(c + change, 0.0)
        # what is left of the gap by rounding
        if change * rest <= 4 * EPSILON * k.g:
            break
    return c


def solve_affine(step: Callable[[Numbers], Numbers], start: Numbers, rates: Numbers) -> Numbers:
    """Return x with x = step(x), for affine equations that are triangular.

    Parameters
    ----------
    step : callable
        An affine function of a named tuple of numbers. Each result depends on its own number by a rate, and on others
        that do not depend on it.
    start : tuple
        Any numbers.
    rates : tuple
        The rates, all below 1.

    Returns
    -------
    tuple
        The solution. Three sweeps give it, as coefficients of second order depend on those of first order, and these
        on the constants.
    """
    x = start
    for _ in range(SWEEPS):
        solved = ((y - r * old) / (1 - r) for y, r, old in zip(step(x), rates, x, strict=True))
        x = type(start)(*solved)
    return x
